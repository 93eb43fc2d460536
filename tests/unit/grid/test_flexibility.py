"""What could be shed, by whom, in which order and at what loss."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analytics.flexibility.plan import as_json, expected_power, offer, plan
from analytics.flexibility.racks import FlexibleRack, flexible_racks, under
from analytics.flexibility.settings import FlexibilitySettings, JobClass
from domain.batch import Batch, now_ms
from domain.forecast import QUANTILES, Forecast
from domain.grid import GridRequest, Kind, Part, Standing
from domain.planned import PlannedWork
from domain.points import Point, Quality
from domain.site import Site
from partners.grid.part import Grid
from partners.grid.settings import GridSettings
from storage.plant import PlantView
from tests.unit.grid.conftest import SITE

NOW = 1_790_000_100_000
HOUR = 3_600_000
BATCH = JobClass(name="batch", jobs=("batch-*",), sheds=0.5, within=60)
TUNE = JobClass(name="tune", jobs=("ft-*",), sheds=0.25, within=120, longest=3600)
HELD = JobClass(name="held", jobs=("prod-*",), sheds=0.0)
SETTINGS = FlexibilitySettings(classes=(BATCH, TUNE, HELD))


def rack(name, kind, power=100e3, job="", tokens=math.nan, until=0):
    """Return a rack of a class, idle at 20 kW."""
    rank = SETTINGS.classes.index(kind) if kind else 3
    shed = min(kind.sheds * power, power - 20e3) if kind else 0.0
    lost = tokens * shed / (power - 20e3)
    return FlexibleRack(
        name, job or f"job of {name}", until, kind, rank, power, shed, 150e3 - power, tokens, lost
    )


def work(name, racks, start=NOW - HOUR, end=NOW + HOUR, **others):
    return PlannedWork("jobs", name, racks, start, end, **others)


def looked(hall, works, settings=SETTINGS, power=(100e3, 80e3), at=0):
    hall.latest.update(Batch.of([0, 1], NOW, list(power), Quality.GOOD, NOW))
    hall.latest.update(Batch.of([2], NOW, [400.0], Quality.GOOD, NOW))
    return {r.rack: r for r in flexible_racks(hall.plant, works, settings, NOW, 300_000, at)}


def test_a_rack_gives_by_the_class_of_the_job_that_runs_on_it(hall):
    racks = looked(hall, [work("batch-7", ("R1",)), work("prod-1", ("R2",))])
    assert list(racks) == ["R1", "R2"]
    assert (racks["R1"].shed, racks["R1"].cap, racks["R1"].job) == (50e3, 50e3, "batch-7")
    assert (racks["R2"].shed, racks["R2"].kind.name) == (0, "held")
    assert racks["R1"].lost == pytest.approx(400 * 50e3 / (100e3 - 0.15 * 150e3))
    assert math.isnan(racks["R2"].tokens)


def test_nothing_sheds_below_idle(hall):
    racks = looked(hall, [work("batch-7", ("R1", "R2"))], power=(30e3, 10e3))
    assert racks["R1"].shed == pytest.approx(30e3 - 0.15 * 150e3)
    assert racks["R2"].shed == 0


def test_a_job_that_no_class_names_gives_nothing_and_a_rack_without_one_gives_as_configured(hall):
    assert looked(hall, [work("other", ("R1",))])["R1"].shed == 0
    unbooked = FlexibilitySettings(classes=(BATCH, TUNE), unbooked="tune")
    racks = looked(hall, [work("batch-7", ("R1",))], unbooked)
    assert (racks["R2"].kind.name, racks["R2"].shed) == ("tune", 20e3)


def test_a_job_that_runs_on_beyond_its_plan_still_counts_now_and_not_later(hall):
    late = [work("batch-7", ("R1",), NOW - 2 * HOUR, NOW - HOUR)]
    assert looked(hall, late)["R1"].job == "batch-7"
    assert looked(hall, late, at=NOW + HOUR)["R1"].job == ""


def test_later_the_jobs_are_those_that_are_planned_then(hall):
    works = [work("prod-1", ("R1",)), work("batch-7", ("R1",), NOW + 2 * HOUR, NOW + 3 * HOUR)]
    assert looked(hall, works)["R1"].job == "prod-1"
    assert looked(hall, works, at=NOW + 2 * HOUR)["R1"].job == "batch-7"


def test_a_rack_that_is_not_measured_gives_nothing(hall):
    (one, other) = flexible_racks(hall.plant, [work("batch-7", ("R1", "R2"))], SETTINGS, NOW, 300_000)
    assert (one.shed, other.shed, math.isnan(one.power)) == (0, 0, True)
    assert offer("site", math.nan, 300e3, [one, other]).unmeasured == 2


def test_an_offer_lists_jobs_in_the_order_in_which_they_give_and_says_why():
    racks = [
        rack("R1", BATCH, job="batch-1", tokens=100),
        rack("R2", BATCH, job="batch-1"),
        rack("R3", TUNE, job="ft-1"),
    ]
    told = offer("site", 400e3, 450e3, [*racks, rack("R4", None, job="x")])
    assert [(j.place, j.job, j.shed, len(j.racks)) for j in told.jobs] == [
        (1, "batch-1", 100e3, 2),
        (2, "ft-1", 25e3, 1),
        (3, "x", 0, 1),
    ]
    assert told.jobs[0].why == "job batch-1: of class batch, number 1 to give, which gives up to 50%"
    assert told.jobs[2].why == "job x: no class names it, so it gives nothing"
    assert (told.shed, told.headroom, told.raised, told.within) == (125e3, 50e3, 50e3, 120)
    assert (told.jobs[0].tokens, told.jobs[0].lost) == (100, pytest.approx(62.5))
    assert told.jobs[1].tokens is None


def test_a_rack_on_two_feeds_relieves_each_by_its_share_and_costs_as_much():
    half = [replace(rack("R1", BATCH, tokens=80.0), share=0.5), replace(rack("R2", BATCH), share=0.5)]
    told = planned(260e3, half)
    assert (told.shed, [step.caps for step in told.steps]) == (50e3, [{"R1": 50e3}, {"R2": 50e3}])
    assert told.rack_hours == pytest.approx(1.0)
    assert offer("FEED-A", 150e3, 200e3, half).shed == 50e3


def test_feeds_share_their_racks_by_their_power(hall):
    two = [{"id": n, "type": "Feed", "limit": "200 kW", "serves": "R1..2"} for n in ("A", "B")]
    site = Site.model_validate({**SITE, "nodes": two})
    for feed, watts in (("A", 75e3), ("B", 25e3)):
        index = hall.registry.register(
            Point(
                f"PowerMeter/ActivePower/{feed}",
                "PowerMeter",
                "ActivePower",
                feed,
                unit="W",
                source="dsx:bms",
            )
        )
        hall.latest.update(Batch.of([index], NOW, [watts], Quality.GOOD, NOW))
    plant = PlantView(site, hall.registry, hall.latest, store=None)
    racks = [rack("R1", BATCH), rack("R2", BATCH)]
    assert [r.share for r in under(plant, "A", racks)] == [0.75, 0.75]
    assert [r.share for r in under(plant, "site", racks)] == [1.0, 1.0]
    assert [(r.rack, r.share) for r in under(plant, "R2", racks)] == [("R2", 1.0)]


def planned(target, racks, hours=1.0, expected=300e3):
    return plan("site", target, NOW, NOW + int(hours * HOUR), (expected, "forecast"), racks)


def test_a_plan_takes_as_few_racks_as_are_needed_of_the_classes_that_give_first():
    racks = [rack("R1", BATCH), rack("R2", BATCH), rack("R3", TUNE)]
    told = planned(260e3, racks)
    assert (told.needed, told.shed, told.short) == (40e3, 50e3, 0)
    assert [step.caps for step in told.steps] == [{"R1": 50e3}]
    assert told.steps[0].begin_by == NOW - 60_000
    assert told.rack_hours == pytest.approx(0.5)
    assert planned(180e3, racks).shed == 125e3


def test_what_is_missing_is_told():
    told = planned(100e3, [rack("R1", BATCH), rack("R3", TUNE)])
    assert (told.needed, told.shed, told.short) == (200e3, 75e3, 125e3)


def test_nothing_has_to_go_where_the_target_is_kept_already():
    told = planned(300e3, [rack("R1", BATCH)])
    assert (told.steps, told.shed, told.short, told.tokens) == ((), 0, 0, None)


def test_a_class_that_may_be_held_for_an_hour_takes_turns_in_a_longer_time():
    racks = [rack(f"R{n}", TUNE, job="ft-1") for n in range(4)]
    told = planned(260e3, racks, hours=2)
    assert [(sorted(s.caps), (s.start - NOW) // HOUR, (s.end - NOW) // HOUR) for s in told.steps] == [
        (["R0", "R2"], 0, 1),
        (["R1", "R3"], 1, 2),
    ]
    assert (told.shed, told.short) == (50e3, 0)
    assert planned(260e3, racks[:1], hours=2).short == 40e3


def test_the_loss_is_in_tokens_of_the_racks_that_tell_them_and_in_rack_hours_of_all():
    told = planned(210e3, [rack("R1", BATCH, tokens=80.0), rack("R2", BATCH)], hours=2)
    assert told.tokens == pytest.approx(80 * 50 / 80 * 7200)
    assert told.rack_hours == pytest.approx(2.0)
    assert as_json(told)["steps"][0]["tokens"] == told.tokens


def test_a_plan_comes_down_from_the_cautious_forecast_of_its_time():
    start = NOW - NOW % 900_000 + 900_000 * np.arange(8, dtype=np.int64)
    values = np.outer([1, 1, 2, 3, 1, 1, 1, 1], 100e3 * (1 + np.array(QUANTILES)))
    nothing = np.full(8, np.nan)
    forecast = Forecast(
        "site", "ActivePower", "W", NOW, NOW, 15, start, QUANTILES, values, nothing, nothing, "m"
    )
    found = expected_power(forecast, 1.0, int(start[2]), int(start[4]))
    assert found == (pytest.approx(585e3), "forecast")
    assert expected_power(forecast, 250e3, int(start[2]), int(start[7]) + HOUR) == (250e3, "present power")
    assert expected_power(None, 250e3, NOW, NOW + HOUR) == (250e3, "present power")


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"classes": [BATCH, BATCH]}, "one name"), ({"classes": [BATCH], "unbooked": "x"}, "no class 'x'")],
)
def test_classes_that_contradict_each_other_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        FlexibilitySettings(**fields)


def test_a_plan_says_what_its_energy_costs_by_the_grids_own_signals(hall, tmp_path):
    now = now_ms()

    async def nowhere(_batch):
        """Readings of the grid go nowhere here."""

    settings = GridSettings(flexibility=SETTINGS.model_copy(update={"unbooked": "batch"}))
    grid = Grid(
        settings, hall.plant, hall.records, hall.registry, nowhere, 300_000, lambda _a, _b: 0.0, tmp_path
    )
    hall.latest.update(Batch.of([0, 1], now, [100e3, 80e3], Quality.GOOD, now))
    asked = {"target": 160e3, "start": now + HOUR, "end": now + 3 * HOUR}
    plan = grid.flexibility(**asked)["plan"]
    assert (plan["needed"], plan["saves"], plan["avoided_kg"]) == (pytest.approx(20e3), None, None)
    for number, (value, unit) in enumerate(((4.2, "TWD/KWH"), (500.0, "g/kWh"))):
        part = Part("site", now, now + 24 * HOUR, value)
        request = GridRequest(
            0,
            "vtn",
            "u",
            f"s{number}",
            f"r{number}",
            0,
            Kind.PRICE,
            (part,),
            unit,
            "",
            False,
            now,
            Standing.WAITING,
        )
        grid.desk.take(request, str(number))
    plan = grid.flexibility(**asked)["plan"]
    kwh = plan["shed"] / 1000 * 2
    assert (plan["saves"], plan["currency"]) == (pytest.approx(4.2 * kwh), "TWD")
    assert plan["avoided_kg"] == pytest.approx(0.5 * kwh)
