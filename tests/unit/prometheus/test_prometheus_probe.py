"""`hallwatch probe prometheus` and the look that `doctor` takes, on a real HTTP server."""

import http.server
import json
import shutil
import threading

import pytest
from typer.testing import CliRunner

from collectors.prometheus.probe import examine, examine_all
from collectors.prometheus.settings import ExporterMapping, PrometheusSettings, Target
from service.cli import app
from service.configuration import SHIPPED, load

MAPPING = load(SHIPPED / "prometheus" / "dcgm-exporter.yaml", ExporterMapping)
PAGE = """DCGM_FI_DEV_GPU_TEMP{gpu="0",Hostname="n1"} 50
DCGM_FI_DEV_GPU_TEMP{gpu="1",Hostname="n1"} 4000
DCGM_FI_DEV_POWER_USAGE{gpu="0",Hostname="n1"} 400
DCGM_FI_DEV_POWER_USAGE{gpu="0",Hostname="n1"} 410
DCGM_FI_DEV_GPU_UTIL{gpu="0",Hostname="n1"} 9223372036854775794
DCGM_FI_DEV_SM_CLOCK{gpu="0",Hostname="n1" 5
process_cpu_seconds_total 5
"""


@pytest.fixture
def served():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(self.server.page.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.page, server.status = PAGE, 200
    server.url = f"http://127.0.0.1:{server.server_port}/metrics"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


async def test_a_look_tells_what_is_read_set_aside_doubtful_and_missing(served):
    found = await examine(
        Target(url=served.url, rack="R1", tray="T1"), PrometheusSettings(), MAPPING, pause=0
    )
    told = {(r["objectId"], r["pointType"]): r for r in found.readings}
    assert told["R1-T1-G0", "GpuTemperature"]["doubt"] == ""
    assert "4000 °C cannot be" in told["R1-T1-G1", "GpuTemperature"]["doubt"]
    aside = {a.reason for a in found.set_aside}
    assert "metrics that the mapping does not name" in aside
    assert "lines that are none of the text format" in aside
    assert "GpuMemoryUsed" in found.missing
    texts = " ".join(finding.text for finding in found.findings)
    assert "rows of one GPU contradict each other" in texts
    assert not found.ok


async def test_a_look_at_nodes_without_a_place_says_what_to_do(served):
    served.page = 'DCGM_FI_DEV_GPU_TEMP{gpu="0",Hostname="n1"} 50\n'
    found = await examine(Target(url=served.url), PrometheusSettings(), MAPPING, pause=0)
    assert [f.about for f in found.findings if f.level == "problem"] == ["place"]
    assert found.readings[0]["objectId"] == "RACK-TRAY-G0"


async def test_a_look_at_all_targets_tells_of_each(served, tmp_path):
    file = tmp_path / "sd.json"
    file.write_text(json.dumps([5, {"targets": ["127.0.0.1:1"], "labels": {"rack": "R1", "tray": "T2"}}]))
    served.page = 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 50\n'
    settings = PrometheusSettings(targets=(Target(url=served.url, rack="R1", tray="T1"),), files=(file,))
    found = await examine_all(settings, MAPPING, ["R1"], pause=0)
    assert [(look.ok, look.findings[0].about) for look in found] == [
        (False, "discovery"),
        (True, "reachability"),
        (False, "reachability"),
    ]


async def test_a_refusal_is_told_as_one_of_credentials(served):
    served.status = 401
    found = await examine(Target(url=served.url), PrometheusSettings(), MAPPING, pause=0)
    assert found.findings[0].about == "credentials"


def test_the_command_prints_what_was_found_and_ends_with_1_where_something_is_wrong(served):
    command = ["probe", "prometheus", served.url, "--rack", "R1", "--tray", "T1", "--pause", "0"]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 1
    assert "R1-T1-G0" in told.output
    assert "problem: readings" in told.output
    served.page = 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 50\n'
    told = CliRunner().invoke(app, [*command, "--json"])
    assert told.exit_code == 0
    assert json.loads(told.output)["readings"][0]["value"] == 50


def test_without_an_exporter_the_command_looks_at_all_targets_of_a_configuration(served, tmp_path):
    shutil.copy(SHIPPED / "site.yaml", tmp_path)
    (tmp_path / "alerts.yaml").write_text("rules: []\n")
    targets = [{"url": served.url, "rack": "R001", "tray": "T01"}, {"url": "http://127.0.0.1:1/metrics"}]
    settings = {"prometheus": [{"name": "gpus", "targets": targets}], "data": str(tmp_path / "data")}
    (tmp_path / "hallwatch.yaml").write_text(json.dumps(settings))
    served.page = 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 50\n'
    command = ["probe", "prometheus", "-c", str(tmp_path), "--pause", "0"]
    told = CliRunner().invoke(app, [*command, "--json"])
    assert told.exit_code == 1
    assert [target["ok"] for target in json.loads(told.output)["targets"]] == [True, False]
    assert "R001-T01-G0" in CliRunner().invoke(app, command).output
