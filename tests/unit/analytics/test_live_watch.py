"""The watch as the service runs it: readings in the latest values, what was found as readings of our own."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import yaml

from analytics.live.analytics import LiveAnalytics
from analytics.live.substitutes import Substitutes
from analytics.settings import AnalyticsSettings
from domain.batch import Batch
from domain.errors import InputError
from domain.points import Point, PointRegistry, Quality
from domain.site import Site
from simulator.bms import Bms
from simulator.factory import Factory
from storage.latest import LatestValues
from storage.open import open_store
from storage.plant import PlantView
from storage.settings import StorageSettings

START = 1_780_000_000_000
STEP_S = 10


class Watched:
    """A simulated factory, seen by the service's analytics."""

    def __init__(self, folder: Path) -> None:
        site = Site.model_validate(
            yaml.safe_load((Path(__file__).parents[3] / "config" / "site.yaml").read_text())
        )
        self.factory = Factory(site, 5, START)
        self.bms = Bms(self.factory)
        self.registry = PointRegistry()
        self.index = np.array([self.registry.register(p.point) for p in self.bms.points], np.int32)
        self.latest = LatestValues(self.registry)
        store = open_store(StorageSettings(path=folder), self.registry)
        plant = PlantView(site, self.registry, self.latest, store, lambda: self.factory.time_ms)
        self.plant, self.folder = plant, folder
        self.substitutes = Substitutes(self.registry, self._sink)
        self.live = self.started()

    def started(self) -> LiveAnalytics:
        """Analytics as after a start of the service."""
        return LiveAnalytics(
            AnalyticsSettings(),
            self.plant,
            self._sink,
            lambda: self.factory.time_ms,
            folder=self.folder / "watch",
            substitutes=self.substitutes,
        )

    async def _sink(self, batch: Batch) -> None:
        self.latest.update(batch)

    def run(self, rounds: int) -> None:
        for _ in range(rounds):
            self.factory.step(STEP_S)
            reading = self.bms.read()
            value = reading.value * self.bms.scale + self.bms.offset
            known = np.isfinite(value)
            now = self.factory.time_ms
            batch = Batch.of(self.index[known], now, value[known], reading.quality[known], now)
            self.latest.update(self.substitutes.apply(batch))
            self.latest.update(self.live.look())

    def state(self, object_id: str, point_type: str) -> str:
        (index,) = self.registry.select(None, point_type, object_id)
        return self.registry[int(index)].state_label(float(self.latest.value[index]))


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path)


def test_a_fault_becomes_one_incident_at_its_root_and_ends_when_it_is_over(watched):
    watched.run(60)
    assert watched.live.incidents == []
    fault = watched.factory.raise_fault("cdu-setpoint-shift", "P03-CDU1", severity=1.0)
    watched.run(40)
    (incident,) = watched.live.incidents
    assert incident["root"] == "P03-CDU1"
    assert incident["class"] == "heat exchanger, primary valve or setpoint"
    assert incident["evidence"]
    assert watched.state("P03-CDU1", "IncidentClass") == incident["class"]
    watched.factory.faults.clear(fault.id)
    watched.run(120)
    assert watched.live.incidents == []
    assert watched.state("P03-CDU1", "IncidentClass") == "None"


def test_a_faulty_instrument_is_a_matter_for_maintenance_and_no_plant_fault(watched):
    watched.run(80)
    watched.factory.raise_fault("sensor-noise", "R020", severity=1.0)
    watched.run(50)
    noisy = {"object": "R020", "quantity": "RackLiquidDifferentialPressure", "verdict": "noisy"}
    assert noisy | {"estimated": True} in watched.live.instruments
    assert watched.state("R020", "SensorVerdict") == "Noisy"
    assert all(i["maintenance"] for i in watched.live.incidents)


def test_after_work_the_present_state_is_usual_and_the_incident_ends(watched):
    watched.run(60)
    watched.factory.raise_fault("cdu-setpoint-shift", "P03-CDU1", severity=1.0)
    watched.run(40)
    assert watched.live.incidents
    watched.live.accept("P03-CDU1")
    watched.run(80)
    assert watched.live.incidents == []
    assert "P03-CDU1" not in watched.live.reasons
    with pytest.raises(InputError, match="no rack and no CDU"):
        watched.live.accept("R999")


def test_cdus_have_scores_of_their_own(watched):
    watched.run(40)
    found = watched.registry.select("CDU", "AnomalyScore")
    assert len(found) == 24
    assert (watched.latest.value[found] < 1.0).all()


def test_a_lying_instrument_is_replaced_by_what_the_others_tell_until_it_is_well(watched):
    watched.run(80)
    fault = watched.factory.raise_fault("sensor-spikes", "R020", severity=1.0)
    watched.run(90)
    (flow,) = watched.registry.select("Rack", "RackLiquidFlow", "R020")
    (own,) = watched.registry.select("Rack", "AsMeasured", "R020")
    assert watched.latest.quality[flow] == Quality.ESTIMATED
    assert watched.latest.observed[own] == watched.factory.time_ms
    ratios = []
    while watched.latest.quality[flow] == Quality.ESTIMATED and len(ratios) < 15:
        ratios.append(watched.latest.value[flow] / watched.factory.state.flow[19])
        watched.run(1)
    # a valve moves with a job within seconds, and the estimate is of the look before
    assert np.median(ratios) == pytest.approx(1, rel=0.05), np.round(ratios, 3)
    assert max(ratios) < 1.2, np.round(ratios, 3)
    watched.factory.faults.clear(fault.id)
    watched.run(150)
    assert watched.latest.quality[flow] == Quality.GOOD
    assert watched.live.instruments == []


def test_a_restart_forgets_neither_what_is_usual_nor_what_is_wrong(watched):
    watched.run(60)
    watched.factory.raise_fault("cdu-setpoint-shift", "P03-CDU1", severity=1.0)
    watched.run(40)
    before = watched.live.incidents
    watched.live.remember()
    watched.live = watched.started()
    watched.run(1)
    assert watched.live.watch.warm
    watched.run(10)
    assert [(i["number"], i["root"], i["since"]) for i in watched.live.incidents] == [
        (i["number"], i["root"], i["since"]) for i in before
    ]


def test_two_tags_that_tell_one_quantity_differently_are_a_matter_for_maintenance(watched):
    key = "Rack/RackPower/other/R001"
    other = watched.registry.register(Point(key, "Rack", "RackPower", "R001", unit="W", source="dsx:bms"))
    for _ in range(22):
        watched.latest.update(
            Batch.of([other], watched.factory.time_ms, [999e3], received=watched.factory.time_ms)
        )
        watched.run(1)
    (told,) = [row for row in watched.live.instruments if row["object"] == "R001"]
    assert told["quantity"] == "RackPower"
    assert "999 kW says " + key in told["verdict"]
    assert watched.live.counters["disagreeing_tags"] == 1
    verdict = watched.registry.select("Rack", "SensorVerdict", "R001")
    assert watched.registry[int(verdict[0])].state_label(watched.latest.value[verdict[0]]) == "Disagreeing"


async def test_a_look_that_fails_ends_neither_the_others_nor_itself(watched, monkeypatch):
    """A plant may tell what the watch over its racks was not made for; its quarter hours are foretold all the same."""
    watched.run(3)

    def fails(now):
        raise ZeroDivisionError

    seen = []

    async def sink(batch):
        seen.append({watched.registry[i].point_type for i in batch.point.tolist()})

    monkeypatch.setattr(watched.live, "_anomalies", fails)
    monkeypatch.setattr(watched.live.temperatures, "look", fails)
    monkeypatch.setattr(watched.live, "_sink", sink)
    running = asyncio.create_task(watched.live.run())
    async with asyncio.timeout(60):
        while not seen or watched.live.counters["rounds_failed"] < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
    assert "QuarterHourPower" in seen[0]


def test_what_a_bms_said_last_before_it_fell_silent_is_not_judged(watched):
    watched.run(120)
    assert watched.live.incidents == watched.live.instruments == []
    power = watched.plant.rack_points("RackPower")[
        :8
    ]  # their job has just ended, and their water is warm still
    now, ended = watched.factory.time_ms + 1, 0.5 * watched.latest.value[power]
    watched.latest.update(Batch.of(power, now, ended, np.full(8, Quality.GOOD, np.uint8), now))
    for _ in range(40):
        watched.factory.step(STEP_S)
        watched.latest.update(watched.live.look())
        assert watched.live.incidents == watched.live.instruments == []
