"""The whole service on a real InfluxDB: collects, forecasts, alerts and shows the console."""

import asyncio
import json
import subprocess
import sys
import time

import httpx
import pytest
import yaml

from domain.batch import now_ms
from domain.configuration import validated
from domain.site import Site
from service.configuration import SHIPPED, load
from service.system import open_ingest
from simulator.factory import Factory
from simulator.history import RECENT_MS, history
from simulator.sizing import first_racks
from simulator.snmp.agents import devices
from storage.records import Records
from tests.servers.hallwatch import Service, eventually, hallwatch, write_configuration

pytestmark = [pytest.mark.server("influxd"), pytest.mark.server("nginx")]


@pytest.fixture
def simulated(tmp_path):
    """A factory of two racks behind real protocols."""
    site = first_racks(load(SHIPPED / "site.yaml", Site), 2)
    start = now_ms() // 1000 * 1000 - RECENT_MS
    (tmp_path / "sim-site.yaml").write_text(yaml.safe_dump(site.model_dump(mode="json")))
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "service.simulated",
            "--site",
            str(tmp_path / "sim-site.yaml"),
            "--mqtt-port",
            "0",
            "--snmp-base-port",
            "0",
            "--start-ms",
            str(start),
        ],
        stdout=subprocess.PIPE,
    )
    ports = json.loads(process.stdout.readline())
    yield site, start, ports
    process.terminate()
    process.wait(60)


def lay_down_history(config, site, start):
    async def run():
        async with open_ingest(config, config) as (registry, ingest):
            for batch in history(Factory(site, 1, start), registry, now_ms() // 1000 * 1000):
                await ingest.accept(batch)

    asyncio.run(run())


def test_the_whole_service_runs_on_influxdb(tmp_path, influxdb, simulated, monkeypatch):
    site, start, ports = simulated
    monkeypatch.setenv("HALLWATCH_INFLUXDB_TOKEN", influxdb.token)
    targets = [
        {"host": "127.0.0.1", "port": ports["snmp"] + i, "object_id": d.object_id, "serves": list(d.serves)}
        for i, d in enumerate(devices(site))
    ]
    config = write_configuration(
        tmp_path / "config",
        {
            "storage": {"kind": "influxdb", "influxdb": {"url": influxdb.url}},
            "mqtt": [{"name": "bms", "broker": {"url": f"mqtt://127.0.0.1:{ports['mqtt']}"}}],
            "snmp": {"targets": targets},
        },
        site.model_dump(mode="json"),
        yaml.safe_load((SHIPPED / "alerts.yaml").read_text()),
    )
    lay_down_history(config, site, start)
    assert validated(Site, yaml.safe_load((config / "site.yaml").read_text()), "site.yaml") == site
    with Service(config) as service:
        data = service.data

        def fresh(point):
            found = service.query(point, "--since", "30s")
            return bool(found) and all(entry["value"] for entry in found)

        for point in ("FEED-A/ActivePower", "R001-T01-G0/GpuPower", "R001-PDU-A/ActivePower"):
            eventually(lambda point=point: fresh(point))
        health = service.health()
        assert health["store"]["kind"] == "influxdb"
        assert health["store"]["version"].startswith("InfluxDB 1.6")
        assert health["ingest"]["spooled"] == health["ingest"]["quarantined"] == 0

        records = Records(f"sqlite:///{data / 'records.sqlite'}")
        forecast = eventually(lambda: records.latest_forecast(site.id, "ActivePower"), timeout=300)
        assert forecast.quality in ("good",) or "history" in forecast.quality
        assert forecast.model.startswith("PowerForecaster")

        httpx.post(
            f"http://127.0.0.1:{ports['control']}/faults", json={"name": "leak", "target": "R001"}, timeout=60
        ).raise_for_status()
        eventually(lambda: any(a.condition.key == "leak/R001" for a in records.active_alerts()))

        (tmp_path / "password").write_text("correct horse battery")
        hallwatch("user", "add", "ann", "--password-file", tmp_path / "password", "-c", config)
        with httpx.Client(
            base_url=service.url, follow_redirects=True, headers={"Accept": "text/html"}, timeout=60
        ) as browser:
            assert "password" in browser.get("/").text
            page = browser.post(
                "/login",
                data={"name": "ann", "password": "correct horse battery", "next": "/"},
                headers={"Origin": service.url},
            )
            assert page.status_code == 200
            assert "_dash" in page.text
        points = len(service.query("R001/*", "--since", "1min"))
        assert points > 5

        # InfluxDB goes away for a while: nothing is lost, and it catches up
        influxdb.stop()
        eventually(lambda: service.health()["ingest"]["spooled"] > 0)
        away = now_ms()
        time.sleep(3)
        influxdb.start()
        eventually(lambda: service.health()["ingest"]["spool_waiting"] == 0)
        counters = service.health()["ingest"]
        assert counters["dropped"] == counters["failed"] == 0
        assert counters["drained"] == counters["spooled"]
        between = service.query("FEED-A/ActivePower", "--since", "10min")[0]["time"]
        assert any(away - 5000 < t < away + 3000 for t in between), "the outage left no hole"
