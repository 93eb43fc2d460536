"""The walk-through of docs/how-to/first-site.md, its files and commands as they stand there, against four real devices.

Of the page only addresses, ports and the dates of the planned job are replaced.
"""

import json
import re
import shlex
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from playwright.sync_api import expect, sync_playwright

from benchmarks._server_process import ServerProcess, free_port, listening
from tests.servers.hallwatch import Service, hallwatch
from tests.servers.snmpsim import Snmpsim
from tests.system.console_fixtures import ARGUMENTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "first-site.md").read_text()
PASSWORD = "five minutes is enough"
RACK = {"rackLocationId": "A07", "rackLocationName": "A07"}
POINTS = {
    "PowerMeter/ActivePower/main": (
        {"objectType": "PowerMeter", "pointType": "ActivePower", "engUnit": "kW", "objectId": "MAIN"},
        21.5,
    ),
    "Rack/RackLiquidSupplyTemperature/a07": (
        {"objectType": "Rack", "pointType": "RackLiquidSupplyTemperature", "engUnit": "C", **RACK},
        32.0,
    ),
    "Rack/RackLiquidReturnTemperature/a07": (
        {"objectType": "Rack", "pointType": "RackLiquidReturnTemperature", "engUnit": "C", **RACK},
        43.0,
    ),
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


class Building:
    """A building system that tells its points every two seconds."""

    def __init__(self, port):
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell)

    def _tell(self):
        for tag, (told, _) in POINTS.items():
            self.client.publish(f"BMS/v1/PUB/Metadata/{tag}", json.dumps(told), qos=1, retain=True)
        while not self._over.wait(2):
            for tag, (_, value) in POINTS.items():
                told = {"value": value, "timestamp": int(time.time() * 1000), "quality": 1}
                self.client.publish(f"BMS/v1/PUB/Value/{tag}", json.dumps(told), qos=1)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def exporter(tmp_path):
    """A page of dcgm-exporter, served as a file."""
    folder = tmp_path / "exporter"
    folder.mkdir()
    metrics = {"DCGM_FI_DEV_POWER_USAGE": 950.5, "DCGM_FI_DEV_GPU_TEMP": 61}
    lines = [
        f'{name}{{gpu="{gpu}",UUID="GPU-{gpu}",Hostname="a07-n1"}} {value}'
        for name, value in metrics.items()
        for gpu in range(4)
    ]
    (folder / "metrics").write_text("\n".join(lines) + "\n")
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with ServerProcess(command, folder, lambda: listening(port)):
        yield port


@pytest.mark.server("mosquitto")
@pytest.mark.server("chromium")
@pytest.mark.xdist_group("console")
def test_the_first_site_as_its_page_says(testdata, tmp_path, mosquitto, exporter, monkeypatch):
    monkeypatch.setenv("HALLWATCH_PASSWORD", PASSWORD)
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(clone)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    walk = testdata / "snmp-walks" / "raritan-pdu_px3.snmprec"
    with Snmpsim(tmp_path / "pdu", {"public": walk}) as pdu, Building(mosquitto.port):
        replaced = {
            "host: 10.0.8.11": f"host: 127.0.0.1, port: {pdu.port}",
            "10.0.8.11": f"127.0.0.1:{pdu.port}",
            "bms.example.net:1883": f"127.0.0.1:{mosquitto.port}",
            "a07-n1.example.net:9400": f"127.0.0.1:{exporter}",
            "port: 8050": "port: 0",
            "2026-12-01": f"{tomorrow:%Y-%m-%d}",
            "2026-12-02": f"{tomorrow + timedelta(days=1):%Y-%m-%d}",
        }

        def here(text):
            for old, new in replaced.items():
                text = text.replace(old, new)
            return text

        def run(command):
            program, *arguments = shlex.split(here(command))
            if program == "hallwatch":
                return hallwatch(*arguments).stdout
            return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout

        began = time.monotonic()
        said = {}
        lines = [line for block in blocks("bash") for line in block.splitlines()]
        assert lines.pop() == "hallwatch run -c my-site"
        for line in lines:
            said[line] = run(line)
            if line.startswith("cp "):
                for content in blocks("yaml"):
                    name = re.match(r"# (my-site/\w+\.yaml)", content)[1]
                    (clone / name).write_text(here(content))
        assert "1.67 kW" in said["hallwatch probe snmp 10.0.8.11 --community public"]
        (told,) = blocks("text")
        assert said["hallwatch check -c my-site"] == told
        found = said["hallwatch doctor -c my-site"]
        assert "nothing seen tells anything of 3 of 4 racks: A05, A06, A08" in found
        assert "site power: the sum of MAIN" in found
        assert "PROBLEM" not in found

        service = Service(clone / "my-site")
        service.data = clone / "my-site" / "data"
        with service, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(60_000)
            page.goto(f"{service.url}/rack/A07")
            page.fill("#name", "ops")
            page.fill("#password", PASSWORD)
            page.click("#log-in")
            expect(page.locator("#rack-paths")).to_contain_text("1.67 kW")
            print(
                f"from the first probe to the PDU's power on its rack's page: {time.monotonic() - began:.0f} s"
            )
            expect(page.locator("#rack-supply")).to_contain_text("32.0")
            expect(page.locator("#site-power")).to_contain_text("21.50 kW")
            expect(page.locator("body")).to_contain_text("61")
            page.screenshot(path=tmp_path / "rack.png")
            browser.close()
