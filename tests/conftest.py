"""What every test may ask for: third-party recordings, server programs, free ports."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from benchmarks._server_process import free_port as find_free_port

pytest_plugins = ["tests.nvml_standin.fixtures", "tests.servers.fixtures", "tests.system.console_fixtures"]

# how long an example takes says what else the machine does; in CI the library's own profile is the parent
settings.register_profile(
    "busy machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machine")

ROOT = Path(__file__).parent.parent
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups
def pytest_collection_modifyitems(items):
    for item in items:
        if _shares_with_its_module(item) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))
        for mark in item.iter_markers("server"):
            program = mark.args[0]
            if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
                if IN_CI:
                    raise pytest.UsageError(
                        f"{item.nodeid} needs {program}, and in CI nothing may be skipped"
                    )
                item.add_marker(pytest.mark.skip(reason=f"{program} is not installed"))


def pytest_collection_finish(session):
    if getattr(session.config.option, "loadgroup", False):
        scattered = [
            i.nodeid for i in session.items if i.get_closest_marker("xdist_group") and "@" not in i.nodeid
        ]
        if scattered:
            raise pytest.UsageError(f"pytest-xdist does not group with this pytest: {scattered[0]}")


def _shares_with_its_module(item):
    """Return whether a test uses a fixture that its module has for all, which two workers would each make for themselves."""
    return any(
        known[-1].scope in {"module", "session"} and known[-1].func.__module__ == item.module.__name__
        for known in item._fixtureinfo.name2fixturedefs.values()
    )


@pytest.fixture(scope="session")
def testdata() -> Path:
    """Third-party recordings and data sets (HALLWATCH_TESTDATA, default ../shared); skips where absent."""
    folder = Path(os.environ.get("HALLWATCH_TESTDATA", ROOT.parent / "shared"))
    if not (folder / "snmp-walks").is_dir():
        if IN_CI:
            pytest.fail(f"no test data in {folder}, and in CI nothing may be skipped; set HALLWATCH_TESTDATA")
        pytest.skip(f"no third-party test data in {folder} (set HALLWATCH_TESTDATA)")
    return folder


@pytest.fixture
def free_port() -> int:
    """Return a TCP port on loopback that nothing listens on."""
    return find_free_port()
