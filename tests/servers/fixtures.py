"""pytest fixtures of the servers; a test that uses one is marked ``@pytest.mark.server("mosquitto")`` or the like."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import AlertmanagerServer, InfluxServer, Mosquitto, Snmpd


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A fresh broker for one test, its queues unlimited."""
    with Mosquitto(tmp_path / "mosquitto", "max_queued_messages 0\nmax_inflight_messages 0") as broker:
        yield broker


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[AlertmanagerServer]:
    """A fresh Alertmanager for one test."""
    with AlertmanagerServer(tmp_path / "alertmanager") as server:
        yield server


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


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A CA of our own (ca.pem), and what it signed for 127.0.0.1: server.pem and client.pem, each with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    folder = tmp_path / "certificates"
    folder.mkdir()

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA")
    for name in ("server", "client"):
        (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1\n")
        run("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = (
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            f"{name}.ext",
        )
        run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return folder
