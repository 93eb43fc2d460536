"""The list of parts that wear, from what a real store keeps of weeks of a simulated plant."""

import numpy as np
import pytest

from analytics.anomaly import indicators
from analytics.live.gather import PlantReader
from analytics.live.upkeep import DAY_MS, HOUR_MS, Upkeep
from domain.batch import Batch
from domain.plant.cdu import CduModel
from domain.points import Point, PointRegistry
from storage.latest import LatestValues
from storage.open import open_store
from storage.plant import PlantView
from storage.settings import StorageSettings
from tests.unit.analytics.anomaly_factory import shipped_site

NOW = 1_780_012_800_000 // DAY_MS * DAY_MS
DAYS = 20


def history(
    cdus: tuple[str, ...], clogging: np.ndarray, wear: np.ndarray
) -> dict[tuple[str, tuple[str, ...]], np.ndarray]:
    """Hourly readings of CDUs whose filters clog and whose pumps wear, shape (cdus, hours) each."""
    rng, model = np.random.default_rng(0), CduModel()
    flow = (
        500.0
        + 150.0 * np.sin(np.arange(DAYS * 24) / 24 * 2 * np.pi)
        + rng.normal(0, 20, (len(cdus), DAYS * 24))
    )
    dp = np.full_like(flow, model.dp_setpoint)
    speed = model.speed(dp, flow, wear, clogging)
    return {
        ("LiquidFlow", ("Secondary",)): flow,
        ("LiquidDifferentialPressure", ("Secondary",)): dp,
        ("LiquidDifferentialPressure", ("Secondary", "Filter1")): model.filter_dp(flow, clogging) * rng.normal(1, 0.01, flow.shape),
        ("PumpSpeed", ("Secondary", "Pump1")): speed,
    }  # fmt: skip


@pytest.fixture
def upkeep(tmp_path):
    site = shipped_site()
    cdus = site.cdus
    day = np.arange(DAYS * 24) / 24
    clogging, wear = np.ones((len(cdus), len(day))), np.ones((len(cdus), len(day)))
    clogging[3] += day * 0.05  # 2.5 times clean 30 days after its beginning: 10 days from now
    wear[7] -= day * 0.005  # a quarter of the head lost after 50 days: 30 days from now
    registry = PointRegistry()
    store = open_store(StorageSettings(path=tmp_path), registry)
    times = NOW - DAYS * DAY_MS + np.arange(DAYS * 24) * HOUR_MS + HOUR_MS // 2
    for (kind, area), table in history(cdus, clogging, wear).items():
        units = {"LiquidFlow": "L/min", "PumpSpeed": "1"}
        for i, cdu in enumerate(cdus):
            index = registry.register(
                Point(
                    f"CDU/{kind}/{cdu}/{'/'.join(area)}",
                    "CDU",
                    kind,
                    cdu,
                    unit=units.get(kind, "Pa"),
                    process_area=area,
                )
            )
            store.save_points([(index, registry[index])])
            store.write(Batch.of(np.full(len(times), index, np.int32), times, table[i]))
    store.maintain(NOW)
    plant = PlantView(site, registry, LatestValues(registry), store)
    yield Upkeep(plant, PlantReader(plant))
    store.close()


def test_worn_parts_are_listed_by_the_time_that_is_left(upkeep):
    found = upkeep.look(NOW)
    assert [(p.object_id, p.indicator) for p in found] == [
        ("P02-CDU2", indicators.FILTER.name),
        ("P04-CDU2", indicators.PUMP.name),
    ]
    clogged, worn = (p.remaining for p in found)
    assert clogged.low <= 10 <= clogged.high
    assert clogged.middle == pytest.approx(10, abs=2)
    assert worn.middle == pytest.approx(30, abs=6)
    (first, _) = indicators.as_text(found, indicators.ADVICE)
    assert first["advice"] == indicators.FILTER.advice


def test_without_a_past_there_is_no_list(tmp_path):
    registry = PointRegistry()
    store = open_store(StorageSettings(path=tmp_path), registry)
    plant = PlantView(shipped_site(), registry, LatestValues(registry), store)
    assert Upkeep(plant, PlantReader(plant)).look(NOW) == []
    store.close()


def test_a_valve_that_sticks_strays_from_its_curve():
    rng = np.random.default_rng(1)
    load = rng.uniform(40e3, 130e3, (3, 10, 24))
    position = 0.29 * np.log(load) - 2.6
    position[1, 5:] = np.repeat(position[1, 5:, ::8], 8, axis=1)  # it moves every eighth hour only
    off = indicators.valves(position, load)
    assert off[[0, 2]].max() < 0.03
    assert off[1, 5:].min() > indicators.VALVE.limit / 2


def test_a_cold_plate_that_fouls_stands_out_from_what_load_and_weather_do_to_all():
    rng = np.random.default_rng(2)
    days = np.arange(15.0)
    power = rng.uniform(500, 1000, 15) * np.ones((8, 1))
    resistance = np.full((8, 15), 0.028)
    resistance[4] *= 1 + 0.02 * days
    coolant = 38 + rng.normal(0, 1, 15) * np.ones((8, 1))
    grown = indicators.plates(coolant + resistance * power + rng.normal(0, 0.1, (8, 15)), coolant, power)
    (part,) = indicators.worn(indicators.PLATE, [f"G{i}" for i in range(8)], days, grown)
    assert part.object_id == "G4"
    # 1.35 times the first days' 1.02 is reached on day 18.85
    assert part.remaining.low <= 4.85 <= part.remaining.high
