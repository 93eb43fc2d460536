"""What tests of device families read: the vendors' MIBs, and where a profile differs from them for a reason."""

from pathlib import Path

import pytest
import yaml

from tests.recordings.snmp.mib_facts import library


@pytest.fixture(scope="session")
def mibs(testdata):
    return library(testdata / "mibs")


@pytest.fixture(scope="session")
def differs():
    return yaml.safe_load(Path(__file__).with_name("mib_differs.yaml").read_text())
