"""What the site usually draws at a time that is to come: the baseline that a relative dispatch starts from."""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from analytics.contract.tariff import Tariff
from domain.batch import Batch
from domain.errors import InputError
from domain.grid import GridRequest, Kind, Part, Standing
from domain.points import Point, PointRegistry, Quality
from domain.site import Site
from service.configuration import load
from service.contract import Contract
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings
from tests.servers.hallwatch import SITE
from tests.unit.contract.test_tariff import EXAMPLE

TAIPEI = ZoneInfo("Asia/Taipei")
HOUR = 3_600_000
FLAT, EVENT_DAY = 150e3, 50e3


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=TAIPEI).timestamp() * 1000)


@pytest.fixture
def contract(tmp_path):
    """Two feeds with 150 kW each in June 2026, but for the 22nd with 50."""
    registry = PointRegistry()
    settings = StorageSettings(path=tmp_path)
    store = open_store(settings, registry)
    records = Records(f"sqlite:///{tmp_path}/records.sqlite")
    feeds = [
        registry.register(
            Point(f"PowerMeter/ActivePower/{f}", "PowerMeter", "ActivePower", f, unit="W", source="dsx:bms")
        )
        for f in SITE["meters"]
    ]
    times = np.arange(ms("2026-06-08T00:00"), ms("2026-06-24T00:00"), 300_000, dtype=np.int64)
    low = (times >= ms("2026-06-22T00:00")) & (times < ms("2026-06-23T00:00"))

    async def fill():
        ingest = Ingest.open(settings, registry, store)
        for feed in feeds:
            batch = Batch.of(
                np.full(len(times), feed, np.int32),
                times,
                np.where(low, EVENT_DAY, FLAT),
                Quality.GOOD,
                int(times[-1]),
            )
            await ingest.accept(batch)
        await ingest.close()
        return ingest.latest

    latest = asyncio.run(fill())
    store.maintain(int(times[-1]))
    plant = PlantView(Site.model_validate(SITE), registry, latest, store, lambda: int(times[-1]))
    yield Contract(plant, records, load(EXAMPLE, Tariff)), records
    records.close()
    store.close()


def test_it_is_known_before_the_time_comes_and_without_the_days_of_events(contract):
    usual, records = contract[0].usual, contract[1]
    start, end = ms("2026-06-24T16:00"), ms("2026-06-24T18:00")
    # the 19th is Dragon Boat Festival, the 20th and 21st a weekend: 16, 17, 18, 22, 23
    assert usual(start, end) == pytest.approx(2 * (4 * FLAT + EVENT_DAY) / 5)
    parts = (
        Part("lab", ms("2026-06-22T16:00"), ms("2026-06-22T18:00"), 200e3),
        Part("lab", ms("2026-06-01T00:00"), ms("2027-06-01T00:00"), 500e3),
    )
    records.keep_grid_request(
        GridRequest(0, "vtn", "u", "e", "e", 0, Kind.LIMIT, parts, "W", "", False, start, Standing.AGREED),
        "d",
    )
    assert usual(start, end) == pytest.approx(2 * FLAT)  # the capacity that holds for a year is no event


def test_too_few_days_are_told(contract):
    with pytest.raises(InputError, match="only 2 of the 5 eligible days"):
        contract[0].usual(ms("2026-06-10T16:00"), ms("2026-06-10T18:00"))
