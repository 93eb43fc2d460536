"""Scoring along the service's way: readings through ingest, forecasts in the records, a clock that is set by hand."""

import asyncio

import numpy as np
import pytest
from scipy.stats import norm

from alerts.engine import AlertEngine
from alerts.settings import AlertSettings
from alerts.view import View
from analytics.issuing.ramps import RampWatch
from analytics.outlook.excursions import exceedance
from analytics.outlook.quarters import QuarterWatch
from analytics.outlook.temperatures import TemperatureWatch
from analytics.scoring.scorer import MOST_BEHIND_MS, ForecastScorer
from analytics.scoring.verdicts import Calibration
from domain.batch import Batch
from domain.configuration import validated
from domain.envelope import QUARTER_MS
from domain.errors import StoreUnavailable
from domain.forecast import QUANTILES, Forecast
from domain.points import Point, PointRegistry
from domain.scores import by_lead
from domain.site import Site
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import IngestSettings, StorageSettings

DAYS = 7
CUTOFF = 1_790_000_000_000 // 86_400_000 * 86_400_000
NOW = CUTOFF + 90_000
"""A midnight and a half minute: the last quarter hour has been over for long enough."""
SITE = validated(
    Site,
    {
        "id": "lab", "name": "Lab", "timezone": "Asia/Taipei", "limit": "176 kW", "installed": "300 kW",
        "idle": "20 kW", "rack_limit": "95 kW", "pods": [{"id": "P1", "racks": "R1..2", "row": 1}],
    },
    "site.yaml",
)  # fmt: skip
RULE = {
    "name": "off",
    "kind": "state",
    "points": ["ForecastCalibration"],
    "normal": ["Good"],
    "severity": "warning",
}
KEPT, NOISE = 0.9, 2e3
"""Power goes back to its level by a tenth in a quarter hour, and is pushed about by so many watts."""


def course(seed):
    """A week of one rack's quarter hours, W."""
    rng, x = np.random.default_rng(seed), 0.0
    values = []
    for push in rng.normal(0, NOISE, DAYS * 96):
        x = KEPT * x + push
        values.append(85e3 + x)
    return np.array(values)


class Plant:
    """Two racks, of which all but `missing` quarter hours are in the store, and forecasts that know how their power moves."""

    def __init__(self, folder, seed, scale=1.0, missing=(), days=1):
        self.folder, self.now = folder, NOW
        self.registry = PointRegistry()
        settings = StorageSettings(path=folder, ingest=IngestSettings(commit_interval_ms=0))
        self.store = open_store(settings, self.registry)
        self.ingest = Ingest.open(settings, self.registry, self.store)
        self.records = Records(f"sqlite:///{folder / 'records.sqlite'}")
        self.view = PlantView(SITE, self.registry, self.ingest.latest, self.store)
        self.time = CUTOFF - DAYS * 96 * QUARTER_MS + QUARTER_MS * np.arange(DAYS * 96, dtype=np.int64)
        self.power = {rack: course(seed * 10 + i) for i, rack in enumerate(("R1", "R2"))}
        self.points = {
            rack: self.registry.register(
                Point(f"Rack/RackPower/{rack}", "Rack", "RackPower", rack, unit="W", source="dsx:x")
            )
            for rack in self.power
        }
        self.missing = list(missing)
        self.scale, self.days = scale, days

    async def fill(self):
        """Measure the week, and issue every quarter hour of its last days."""
        keep = np.setdiff1d(np.arange(len(self.time)), self.missing)
        for rack in self.power:
            await self.measure(rack, keep)
        await asyncio.to_thread(self.store.maintain, NOW)
        await asyncio.to_thread(self.issue)

    async def measure(self, rack, which):
        # three readings a quarter hour, so that each is its own mean
        time = (self.time[which][:, None] + np.array([0, 300_000, 600_000])).ravel()
        value = np.repeat(self.power[rack][which], 3)
        await self.ingest.accept(
            Batch.of(np.full(len(time), self.points[rack]), time, value, received=self.now)
        )

    def issue(self):
        z, ahead = norm.ppf(QUANTILES), np.arange(1, 25)
        spread = NOISE * np.sqrt((1 - KEPT ** (2 * ahead)) / (1 - KEPT**2))
        together = []
        for i in range((DAYS - self.days) * 96, DAYS * 96):
            cutoff = int(self.time[i])
            start = cutoff + QUARTER_MS * np.arange(24, dtype=np.int64)
            for name, racks, limit in (("lab", 2, 172e3), ("R1", 1, 95e3)):
                last = sum(p[i - 1] for p in list(self.power.values())[:racks])
                middle = racks * 85e3 + KEPT**ahead * (last - racks * 85e3)
                values = middle[:, None] + self.scale * np.sqrt(racks) * spread[:, None] * z
                limits = np.full(24, limit)
                together.append(
                    Forecast(
                        name, "ActivePower", "W", cutoff + 25_000, cutoff, 15, start, QUANTILES, values, limits,
                        exceedance(values, QUANTILES, limits), "test",
                    )
                )  # fmt: skip
        self.records.save_forecasts(together)

    def scorer(self):
        return ForecastScorer(
            self.view, self.records, self.ingest.accept, QuarterWatch(self.view, 10_000), TemperatureWatch(self.view),
            RampWatch(self.view, self.folder / "ramps.npz"), dict,
            lambda: self.now,
        )  # fmt: skip

    def slots(self, name="ActivePower"):
        return self.records.scores(name, 0, self.now)

    async def close(self):
        await self.ingest.close()
        self.store.close()
        self.records.close()


@pytest.fixture
async def plant(tmp_path):
    made = []

    async def make(seed, **more):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Plant(folder, seed, **more))
        await made[-1].fill()
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def catch_up(scorer):
    rounds = 1
    while await asyncio.to_thread(scorer.step):
        rounds += 1
    assert scorer.counters["failed"] == 0
    return rounds


async def test_every_issued_forecast_is_scored_at_each_lead_when_its_time_has_come(plant):
    lab = await plant(1)
    scorer = lab.scorer()
    assert await catch_up(scorer) == MOST_BEHIND_MS // QUARTER_MS // 32
    site = by_lead(lab.slots(), ["lab"])
    # the first forecast of the last days comes due after its lead time
    assert {lead: of.scored for lead, of in site.items()} == {15: 96, 60: 93, 360: 73}
    assert by_lead(lab.slots())[15].scored == 2 * 96
    total = lab.power["R1"] + lab.power["R2"]
    last = total[6 * 96 - 1 : -1] - 170e3
    errors = np.abs(total[6 * 96 :] - 170e3 - KEPT * last)
    assert site[15].error == pytest.approx(errors.mean(), rel=1e-3)
    assert site[15].coverage == pytest.approx((errors < 1.645 * NOISE * np.sqrt(2)).mean(), abs=0.01)
    assert site[15].to_persistence < 1.0
    assert site[360].to_persistence < 0.9
    assert site[15].breaches == (total[6 * 96 :] > 172e3).sum() > 0
    assert site[15].brier < site[15].brier_persistence
    assert sum(b.forecasts for b in site[15].reliability) == 96


async def test_after_a_restart_it_goes_on_where_it_was_and_what_came_due_meanwhile_is_caught_up_with(plant):
    lab = await plant(2)
    lab.now = NOW - 43_200_000
    await catch_up(lab.scorer())
    assert by_lead(lab.slots(), ["lab"])[15].scored == 48
    lab.now = NOW
    again = lab.scorer()
    await catch_up(again)
    assert again.counters["intervals"] == 48
    assert by_lead(lab.slots(), ["lab"])[15].scored == 96
    worth = {(row["forecast"], row["lead"]): row for row in again.worth}
    assert worth["site power", 15]["scored"] == 96
    assert set(worth) == {(g, lead) for g in ("site power", "rack power") for lead in (15, 60, 360)}


async def test_what_is_not_measured_is_counted_and_scored_once_it_comes(plant):
    late = list(range(7 * 96 - 12, 7 * 96 - 4))
    lab = await plant(3, missing=late)
    scorer = lab.scorer()
    await catch_up(scorer)
    before = by_lead(lab.slots(), ["R1"])[15]
    assert (before.scored, before.missing, before.revised) == (88, 8, 0)
    for rack in lab.power:
        await lab.measure(rack, late)
    await asyncio.to_thread(lab.store.maintain, NOW)
    lab.now += 3_600_000
    await asyncio.to_thread(scorer.step)
    after = by_lead(lab.slots(), ["R1"])[15]
    assert (after.scored, after.revised) == (96, 8)
    assert after.missing == 0
    lab.now += 3_600_000
    await asyncio.to_thread(scorer.step)
    assert by_lead(lab.slots(), ["R1"])[15].revised == 8
    # the site's and the rack's, at three lead times: nothing else was looked at as new
    assert scorer.counters["revised"] == 2 * 3 * 8


async def test_a_store_that_does_not_answer_is_waited_for(plant, monkeypatch):
    lab = await plant(4)
    scorer = lab.scorer()

    def away(*_):
        raise StoreUnavailable("no")

    with monkeypatch.context() as patch:
        patch.setattr(lab.store, "aggregate", away)
        while await asyncio.to_thread(scorer.step):
            pass
    assert scorer.counters["failed"] > 0
    assert lab.slots() == []
    scorer.counters["failed"] = 0
    await catch_up(scorer)
    assert by_lead(lab.slots(), ["lab"])[15].scored == 96


async def told(lab, scorer):
    """Return the alerts that the shipped kind of rule raises on the verdicts."""
    await lab.ingest.accept(scorer.readings(lab.now))
    engine = AlertEngine(
        AlertSettings.model_validate({"rules": [RULE]}), View(lab.view, lab.records), lab.records, {},
        lambda: lab.now,
    )  # fmt: skip
    await asyncio.to_thread(lambda: engine.keep(engine.look(lab.now)))
    return await asyncio.to_thread(lab.records.active_alerts)


async def test_a_forecaster_that_says_too_little_is_told_to_whoever_looks_after_it(plant):
    lab = await plant(5, scale=0.4, days=3)
    scorer = lab.scorer()
    await catch_up(scorer)
    assert scorer.states() == {"site power": Calibration.TOO_NARROW, "rack power": Calibration.TOO_NARROW}
    alerts = await told(lab, scorer)
    assert sorted(a.condition.summary for a in alerts) == [
        "forecast of rack power: Too narrow (whether forecasts of a kind have been what they said)",
        "forecast of site power: Too narrow (whether forecasts of a kind have been what they said)",
    ]


async def test_a_calibrated_one_is_not(plant):
    lab = await plant(6, days=3)
    scorer = lab.scorer()
    await catch_up(scorer)
    assert set(scorer.states().values()) == {Calibration.GOOD}
    assert await told(lab, scorer) == []


async def test_what_is_told_again_and_again_is_kept_now_and_then_and_scored(tmp_path):
    """Nearly two hours, minute by minute: quarter-hour ends, temperatures and ramps of two racks."""
    lab = Plant(tmp_path, 7)
    quarters, temperatures = QuarterWatch(lab.view, 60_000), TemperatureWatch(lab.view)
    ramps, newest = RampWatch(lab.view, tmp_path / "ramps.npz"), {}
    scorer = ForecastScorer(
        lab.view,
        lab.records,
        lab.ingest.accept,
        quarters,
        temperatures,
        ramps,
        lambda: newest,
        lambda: lab.now,
    )
    rng = np.random.default_rng(7)
    measured = {
        name: [lab.registry.register(Point(f"{kind}/{name}/{r}", kind, name, r, unit=unit, source="dsx:x",
                                           associate="" if kind == "Rack" else r[:2])) for r in ids]
        for kind, name, unit, ids in (
            ("Rack", "RackPower", "W", ("R1", "R2")),
            ("Rack", "RackLiquidSupplyTemperature", "Cel", ("R1", "R2")),
            ("Rack", "RackLiquidReturnTemperature", "Cel", ("R1", "R2")),
            ("Rack", "RackLiquidFlow", "L/min", ("R1", "R2")),
            ("GPU", "GpuTemperature", "Cel", ("R1-G0", "R2-G0")),
        )
    }  # fmt: skip
    usual = {"RackPower": 80e3, "RackLiquidSupplyTemperature": 32.0, "RackLiquidReturnTemperature": 43.0, "RackLiquidFlow": 110.0,
             "GpuTemperature": 61.0}  # fmt: skip
    try:
        for minute in range(113):
            lab.now = CUTOFF + 60_000 * minute + 5_000
            read = [
                Batch.of(
                    points, lab.now - 4_000, usual[name] * (1 + rng.normal(0, 0.01, 2)), received=lab.now
                )
                for name, points in measured.items()
            ]
            await lab.ingest.accept(Batch.concat(read))
            if minute % 15 == 0:
                cutoff = lab.now - 5_000
                told = ramps.expected(cutoff, None)
                newest |= {
                    name: Forecast(
                        name, "ActivePower", "W", lab.now, cutoff, 15, np.array([cutoff]), QUANTILES,
                        np.zeros((1, 19)), np.full(1, np.nan), np.full(1, np.nan), "test", ramps=of,
                    )
                    for name, of in told.items()
                }  # fmt: skip
            await asyncio.to_thread(quarters.look, lab.now)
            if minute % 15 == 1:
                await asyncio.to_thread(lab.store.maintain, lab.now)
                await asyncio.to_thread(temperatures.look, lab.now)
            await asyncio.to_thread(scorer.step)
        assert scorer.counters["failed"] == 0
        ends = by_lead(lab.slots("QuarterHourPower"), ["lab"])
        assert {lead: of.scored for lead, of in ends.items()} == {3: 7, 8: 7, 12: 7}
        assert ends[3].error < ends[12].error
        assert ends[12].to_persistence < 1
        for name in ("ExpectedSupplyTemperature", "ExpectedReturnTemperature", "ExpectedGpuTemperature"):
            of = by_lead(lab.slots(name), ["R1"])
            # the look after half an hour is the first that has enough to learn from
            assert set(of) == {15, 60}
            assert of[15].scored == 1
            assert of[15].error < 2.0
        rises = by_lead(lab.slots("ExpectedRise"), ["lab"])
        assert set(rises) == {2, 10, 60, 900}
        assert rises[60].scored == 2
        groups = {row["forecast"]: row["ahead"] for row in scorer.worth}
        assert groups["site power rise"] == "within 15 min"
        assert groups["hottest GPU"] == "1 h"
        assert {"site quarter hour", "node power fall", "coolant return"} <= set(groups)
    finally:
        await lab.close()
