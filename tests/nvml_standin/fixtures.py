"""The C stand-in for NVML, compiled once a session."""

import shutil

import pytest

from tests.nvml_standin import Standin, build


@pytest.fixture(scope="session")
def loaded_standin(tmp_path_factory):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return Standin(build(tmp_path_factory.mktemp("nvml")))


@pytest.fixture
def standin(loaded_standin):
    loaded_standin.fresh()
    return loaded_standin
