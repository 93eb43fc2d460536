"""The scraper against real HTTP servers on loopback."""

import asyncio
import http.server
import json
import threading
from pathlib import Path

import pytest

from collectors.prometheus.collector import PrometheusCollector, load_mapping
from collectors.prometheus.settings import PrometheusSettings, Target
from domain.points import PointRegistry

ROOT = Path(__file__).parents[3]
MAPPING = ROOT / "config/prometheus/dcgm-exporter.yaml"
SCRAPES = [(ROOT / f"tests/recordings/prometheus/plain/{n}.prom").read_bytes() for n in (1, 2)]


@pytest.fixture
def exporter():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(SCRAPES[min(self.server.asked, 1)])
            self.server.asked += 1

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


async def collected(settings, until):
    registry, batches = PointRegistry(), []
    enough = asyncio.Event()

    async def sink(batch):
        batches.append(batch)
        if len(batches) >= until:
            enough.set()

    collector = PrometheusCollector(settings, load_mapping(MAPPING), registry, sink)
    running = asyncio.create_task(collector.run())
    await asyncio.wait_for(enough.wait(), 60)
    running.cancel()
    await asyncio.wait([running])
    told = {registry[int(p)].key: float(v) for b in batches for p, v in zip(b.point, b.value, strict=True)}
    return told, registry, collector


async def test_metrics_become_the_points_that_the_tray_agent_tells(exporter):
    url = f"http://127.0.0.1:{exporter.server_port}/metrics"
    settings = PrometheusSettings(targets=(Target(url=url, rack="R001", tray="T01"),), interval=1)
    told, registry, collector = await collected(settings, until=2)
    assert told["GPU/GpuPowerAverage/nvml/R001/T01/G0"] == 1050
    assert told["GPU/GpuPower/nvml/R001/T01/G0"] == pytest.approx(10_480 / 1.0, rel=0.3)
    assert told[f"Device/DeviceUp/prometheus/{url}"] == 1
    point = registry[registry.index("GPU/GpuPowerAverage/nvml/R001/T01/G0")]
    assert (point.object_id, point.associate, point.unit) == ("R001-T01-G0", "R001", "W")
    assert collector.stats()["scrapes"] >= 2


async def test_an_exporter_that_is_away_is_told_as_down_and_the_others_are_scraped(exporter, free_port):
    targets = (
        Target(url=f"http://127.0.0.1:{free_port}/metrics", rack="R001", tray="T01"),
        Target(url=f"http://127.0.0.1:{exporter.server_port}/metrics", rack="R001", tray="T02"),
    )
    told, _, collector = await collected(PrometheusSettings(targets=targets, interval=1), until=2)
    assert told[f"Device/DeviceUp/prometheus/{targets[0].url}"] == 0
    assert told[f"Device/DeviceUp/prometheus/{targets[1].url}"] == 1
    assert list(collector.stats()["errors"]) == [targets[0].url]


def test_targets_are_discovered_from_files_and_kept_while_a_file_is_broken(tmp_path):
    file = tmp_path / "dcgm.json"
    group = {"targets": ["n1:9400", "n2:9400"], "labels": {"rack": "R001", "tray": "T01"}}
    file.write_text(json.dumps([group]))
    collector = PrometheusCollector(
        PrometheusSettings(files=(file,)), load_mapping(MAPPING), PointRegistry(), lambda b: asyncio.sleep(0)
    )
    assert [t.url for t in collector.targets()] == ["http://n1:9400/metrics", "http://n2:9400/metrics"]
    assert collector.targets()[0].rack == "R001"
    file.write_text("[{")
    import os

    os.utime(file, (1, 1))
    assert len(collector.targets()) == 2
    assert collector.stats()["discovery_failures"] >= 1
