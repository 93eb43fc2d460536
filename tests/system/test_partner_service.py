"""The partner API of the running service: the quick start as it stands, every route, and schemathesis against the specification."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from domain.batch import Batch, now_ms
from domain.points import Point, Quality
from service.system import open_ingest
from tests.servers.hallwatch import SITE, Service, eventually, hallwatch, write_configuration

ROOT = Path(__file__).parents[2]
QUICK_START = ROOT / "docs/how-to/partner-quick-start.md"
TARIFF = ROOT / "config/examples/tariffs/taiwan-illustrative.yaml"
DAYS, QUARTER_MS = 9, 900_000
SHOWS = ["forecasts", "demand", "limits", "plans", "contract", "site", "energy", "tokens"]
PARTNERS = {"contracts": [{"name": "Grid", "shows": SHOWS, "published": ["Pod1C-E01"]}]}
EXCLUDED = "/api/v1/events"
"""A stream has no end that a test of requests and answers could wait for; `tests/unit/partners/test_events.py` has it."""

pytestmark = pytest.mark.xdist_group("partner service")


async def fill(config, data):
    """Store readings of both meters, five minutes apart, for some days, up to now."""
    async with open_ingest(config, data) as (registry, ingest):
        end = now_ms()
        times = np.arange(end - DAYS * 86_400_000, end, 300_000, dtype=np.int64)
        values = 180e3 + 30e3 * np.sin(2 * np.pi * (times % 86_400_000) / 86_400_000)
        for meter in SITE["meters"]:
            key = f"PowerMeter/ActivePower/{meter}"
            point = registry.register(
                Point(key, "PowerMeter", "ActivePower", meter, unit="W", source="dsx:bms")
            )
            batch = Batch.of(np.full(len(times), point), times, values, Quality.GOOD, end)
            await ingest.accept(batch)


@pytest.fixture(scope="module")
def partner(tmp_path_factory):
    """A running service that has issued a forecast; its address and a key are what a partner is given."""
    folder = tmp_path_factory.mktemp("partner")
    settings = {"partners": PARTNERS, "tariff": "tariff.yaml", "analytics": {"processes": 1}}
    config = write_configuration(folder / "config", settings, SITE, {})
    (config / "tariff.yaml").write_text(yaml.safe_dump(yaml.safe_load(TARIFF.read_text())))
    asyncio.run(fill(config, folder / "data"))
    service = Service(config)
    service.start(timeout=240)
    key = hallwatch("apikey", "add", "Grid", "-c", config).stdout.strip()
    client = httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
    eventually(lambda: client.get("/api/v1/forecasts/power").status_code == 200, 200)
    client.service, client.key = service, key
    yield client
    client.close()
    service.stop()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", QUICK_START.read_text(), re.MULTILINE | re.DOTALL)


def test_a_new_partner_gets_from_key_to_plot_with_the_quick_start_alone(partner, tmp_path):
    environment = {
        **os.environ, "SITE": partner.service.url, "KEY": partner.key, "MPLBACKEND": "Agg",
    }  # fmt: skip
    first, *shell = blocks("sh")
    assert first.startswith("export SITE=")
    said = ""
    for code in shell:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, code + done.stderr
        said += done.stdout
    assert len(json.loads((tmp_path / "forecast.json").read_text())["intervals"]) == 192
    assert len((tmp_path / "forecast.csv").read_text().splitlines()) == 193
    assert "\n304\n" in said
    assert "access_token" in said
    for code in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, code + done.stderr
    picture = (tmp_path / "forecast.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000


def test_every_route_tells_what_the_service_knows(partner):
    def told(path, **parameters):
        answer = partner.get(f"/api/v1{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    rows = told("/demand")["intervals"]
    assert len(rows) in (95, 96)
    assert rows[10]["power"] == pytest.approx(360e3, rel=0.2)
    assert told("/limits")["limit"] == 600e3
    assert told("/plans") == {"object_id": "lab", "unit": "W", "changes": [], "work": []}
    assert told("/site")["shows"] == sorted(SHOWS)
    assert told("/contract/month")["peaks"][0]["contracted"] > 0
    days = told("/energy")["periods"]
    assert days[-2]["energy"] == pytest.approx(360e3 * 86_400, rel=0.05)
    assert told("/tokens")["intervals"] == []
    running = partner.get("/api/v1/demand/running")  # its meters are silent since the start
    assert running.status_code in (200, 503)
    assert told("/forecasts/power/issues")["issues"][0]["seal"]["number"] >= 1
    found = hallwatch("forecasts", "verify", "-c", partner.service.config).stdout
    assert "0 faults" in found


def test_the_running_api_keeps_to_its_specification(partner, tmp_path):
    """All checks of schemathesis; a valid parameter may still be answered 400, for what several of them say together."""
    issue = partner.get("/api/v1/forecasts/power/issues").json()["issues"][0]["issue_time"]
    (tmp_path / "schemathesis.toml").write_text(
        f"""
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 406, 503]
[checks.negative_data_rejection]
expected-statuses = ["4xx"]
[[operations]]
include-path = "/api/v1/forecasts/power/issues/{{issue_time}}"
parameters = {{ issue_time = "{issue}" }}
"""
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{partner.service.url}/api/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {partner.key}", "--exclude-path", EXCLUDED),
            *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "15"),
            *("--seed", "1", "--no-color", "--request-timeout", "60", "--suppress-health-check", "all"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    assert "Tested: 13" in done.stdout
