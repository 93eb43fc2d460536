"""pytest fixtures of the servers; a test that uses one is marked ``@pytest.mark.server("mosquitto")`` or the like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import InfluxServer, Mosquitto, Snmpd


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A fresh broker for one test, its queues unlimited."""
    with Mosquitto(tmp_path / "mosquitto", "max_queued_messages 0\nmax_inflight_messages 0") as broker:
        yield broker


@pytest.fixture
def snmpd(tmp_path: Path) -> Iterator[Snmpd]:
    """A fresh SNMP agent for one test."""
    with Snmpd(tmp_path / "snmpd") as agent:
        yield agent


@pytest.fixture(scope="session")
def shared_influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """One InfluxDB for the whole session; each test writes into a database of its own name."""
    with InfluxServer(tmp_path_factory.mktemp("influxdb")) as server:
        yield server


@pytest.fixture
def influxdb(tmp_path: Path) -> Iterator[InfluxServer]:
    """An InfluxDB of one test's own, which it may stop and start."""
    with InfluxServer(tmp_path / "influxdb") as server:
        yield server
