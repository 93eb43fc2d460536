"""`hallwatch contract`: the month and an event, from what the meters told, along the way that a user takes."""

import asyncio
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import yaml

from domain.batch import Batch, now_ms
from domain.errors import InputError
from domain.points import Point, Quality
from service.contract import Contract
from service.system import open_ingest
from tests.servers.hallwatch import SITE, Service, command, write_configuration

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config/examples/tariffs/taiwan-illustrative.yaml"
TAIPEI = ZoneInfo("Asia/Taipei")
QUARTER_MS, DAYS = 900_000, 40


def power_at(time):
    """Return what one of the two feeds draws, W: 200 kW by day, 150 at night."""
    local = datetime.fromtimestamp(time / 1000, TAIPEI)
    return 200e3 if 8 <= local.hour < 22 else 150e3


async def fill(config, data):
    """Store readings of each feed, five minutes apart, for some weeks."""
    async with open_ingest(config, data) as (registry, ingest):
        feeds = [
            registry.register(
                Point(
                    f"PowerMeter/ActivePower/{feed}",
                    "PowerMeter",
                    "ActivePower",
                    feed,
                    unit="W",
                    source="dsx:bms",
                )
            )
            for feed in SITE["meters"]
        ]
        end = now_ms() - now_ms() % QUARTER_MS
        times = np.arange(end - DAYS * 86_400_000, end, 300_000, dtype=np.int64)
        for part in np.array_split(times, 4):
            values = np.array([power_at(int(t)) for t in part])
            points = np.repeat(np.array(feeds, np.int32), len(part))
            both = np.tile(part, len(feeds)), np.tile(values, len(feeds))
            await ingest.accept(Batch.of(points, *both, Quality.GOOD, now_ms()))


def event(config, start, end):
    return json.loads(command("contract", "event", start, end, "-c", config, "--json"))


def wait_for_rollups(config):
    """Wait until what came late, all of it here, is in the rollups: the service makes them after its start."""
    day = datetime.now(TAIPEI).date() - timedelta(days=1)
    deadline = monotonic() + 60
    while True:
        try:
            return event(config, f"{day}T00:00+08:00", f"{day + timedelta(days=1)}T00:00+08:00")
        except InputError:
            if monotonic() > deadline:
                raise
            sleep(0.2)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract")
    config = write_configuration(folder / "config", {"tariff": "tariff.yaml"}, SITE, {})
    tariff = yaml.safe_load(EXAMPLE.read_text()) | {"demand": []}
    tariff["demand"] = [
        {"name": "all", "contracted": "390 kW", "prices": [{"price": 100}], "excess": [{"factor": 2}]}
    ]
    (config / "tariff.yaml").write_text(yaml.safe_dump(tariff))
    asyncio.run(fill(config, folder / "data"))
    service = Service(config)
    service.start(timeout=240)
    wait_for_rollups(config)
    yield service
    service.stop()


def test_the_month_tells_its_highest_demand_against_the_contract_and_what_that_costs(service):
    told = json.loads(command("contract", "month", "-c", service.config, "--json"))
    (peak,) = told["peaks"]
    assert told["contract"].startswith("High voltage")
    assert peak["so_far"] == pytest.approx(400e3, rel=1e-3)
    assert peak["exceeds"] == 1.0
    assert peak["excess_so_far"] == pytest.approx(10 * 100 * 2, rel=1e-2)
    assert peak["end"][2] == pytest.approx(400e3, rel=1e-2)
    printed = command("contract", "month", "-c", service.config)
    assert re.search(r"Now \S+ at [\d.]+ TWD/kWh, until ", printed)
    assert "390.0 kW" in printed
    assert "TWD" in printed


def test_an_event_is_told_with_its_baseline_and_days(service):
    day = datetime.now(TAIPEI).date() - timedelta(days=1)
    start, end = f"{day}T23:00+08:00", f"{day + timedelta(days=1)}T00:00+08:00"
    told = event(service.config, start, end)
    assert told["baseline"] == pytest.approx(300e3, rel=1e-3)
    assert told["counted"] == pytest.approx(0, abs=1)
    assert len(told["days"]) == 5
    with pytest.raises(InputError, match="ends after it begins"):
        command("contract", "event", end, start, "-c", service.config)


def test_energy_is_told_by_day_and_month_with_what_is_not_known_left_out(service):
    day = datetime.now(TAIPEI).date() - timedelta(days=1)
    told = json.loads(
        command("contract", "energy", "--from", day, "--to", day, "-c", service.config, "--json")
    )
    (one,) = told["periods"]
    assert one["energy"] == pytest.approx((14 * 400e3 + 10 * 300e3) * 3600, rel=1e-3)
    assert (one["name"], one["measured"], one["highest"]) == (day.isoformat(), 1.0, pytest.approx(400e3))
    assert (one["it_energy"], one["pue"], one["carbon"]) == (None, None, None)
    printed = command("contract", "energy", "--by", "month", "-c", service.config)
    assert f"{datetime.now(TAIPEI):%Y-%m}" in printed
    assert "Carbon needs the grid's emission factors" in printed
    with pytest.raises(InputError, match="--by year"):
        command("contract", "energy", "--by", "year", "-c", service.config)


def test_without_a_contract_it_is_said_what_to_write():
    none = Contract(None, None, None)
    with pytest.raises(InputError, match=r"tariff: tariff\.yaml"):
        none.month(now_ms())
