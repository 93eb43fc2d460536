"""Power against the envelope: now, per quarter hour, projected, predicted."""

import numpy as np
import pytest

from alerts.demand import DemandMeter
from domain.envelope import QUARTER_MS
from tests.unit.alerts.conftest import SITE

MINUTE = 60


def exceeded(basis, **more):
    return {"name": "above", "kind": "envelope_exceeded", "basis": basis, "severity": "critical", **more}


PREDICTED = {"name": "predicted", "kind": "envelope_predicted", "severity": "warning"}


@pytest.fixture
def power(lab):
    def make(*rules, **more):
        plant = lab(*rules, **more)
        plant.feeds = [plant.point("PowerMeter", "ActivePower", f"FEED-{s}") for s in "AB"]
        plant.racks = [plant.point("Rack", "RackPower", f"R00{n}") for n in range(1, 5)]
        return plant

    return make


def run(plant, start, end, watts, every=10):
    """Let the two feeds draw `watts` together from `start` to before `end` (seconds); return what was told."""
    told = []
    for second in range(start, end, every):
        plant.at(second).read(plant.feeds, watts / 2)
        told += plant.step()
    return told


def test_running_power_is_judged_per_node_with_its_own_limit(power):
    plant = power(exceeded("running"))
    plant.read(plant.feeds, 299e3)
    plant.read(plant.racks, [140e3, 151e3, 149e3, 20e3])
    assert plant.step() == [("opened", "above/R002")]
    alert = plant.active["above/R002"]
    assert alert.condition.summary == "R002: power is 151.0 kW, limit 150.0 kW"
    plant.at(10).read(plant.feeds, 301e3)
    assert plant.step() == [("opened", "above/lab")]
    plant.at(20).read(plant.racks[1], 148e3)  # between 98 % and the limit
    assert plant.step() == []
    plant.at(30).read(plant.racks[1], 146e3)
    assert plant.step() == [("cleared", "above/R002")]


def test_a_sum_with_a_member_missing_says_nothing(power):
    plant = power(exceeded("running", nodes=["Site"]))
    plant.read(plant.feeds[0], 700e3)
    assert plant.step() == []
    plant.read(plant.feeds[1], 1e3)
    assert plant.step() == [("opened", "above/lab")]
    assert plant.at(1000).step() == []  # both too old now: unknown, neither cleared nor told again


def test_a_quarter_hour_that_ended_too_high_alerts_until_one_ends_within_the_limit(power):
    plant = power(exceeded("quarter_hour", nodes=["Site"]))
    assert run(plant, 0, 15 * MINUTE, 604e3) == []
    plant.at(15 * MINUTE).read(plant.feeds, 250e3)
    assert plant.step() == [("opened", "above/lab")]
    condition = plant.active["above/lab"].condition
    assert condition.value == pytest.approx(604e3)
    assert condition.limit == 600e3
    assert "the 15-minute average 08:00-08:15 is 604.0 kW, limit 600.0 kW" in condition.summary
    assert run(plant, 15 * MINUTE + 10, 30 * MINUTE, 500e3) == []
    plant.at(30 * MINUTE).read(plant.feeds, 250e3)
    assert plant.step() == [("cleared", "above/lab")]


def test_a_quarter_hour_that_cannot_be_saved_alerts_before_it_ends(power):
    plant = power(exceeded("quarter_hour", nodes=["Site"]))
    # 900 kW for 10 of 15 minutes are 600 kW on average already
    told = run(plant, 0, 600, 900e3)
    assert told == []
    plant.at(610).read(plant.feeds, 0)
    assert plant.step() == [("opened", "above/lab")]


def test_where_the_quarter_hour_will_end_is_told_in_time_to_act(power):
    plant = power(exceeded("projected", nodes=["Site"], **{"for": "60 s"}))
    assert run(plant, 0, 300, 500e3) == []
    told = run(plant, 300, 370, 660e3)  # (5 x 500 + 10 x 660) / 15 = 606.7
    assert told == [("opened", "above/lab")]
    assert plant.active["above/lab"].condition.value == pytest.approx(606.7e3, rel=1e-3)
    assert run(plant, 370, 400, 500e3) == [("cleared", "above/lab")]


def test_a_spike_that_the_quarter_hour_can_bear_is_no_projected_breach(power):
    plant = power(exceeded("projected", nodes=["Site"]))
    assert run(plant, 0, 14 * MINUTE, 500e3) == []
    assert run(plant, 14 * MINUTE, 15 * MINUTE, 900e3) == []


def test_the_limit_of_a_demand_response_event_counts_while_it_lasts(lab):
    site_lab = lab(exceeded("running", nodes=["Site"]))
    feeds = [site_lab.point("PowerMeter", "ActivePower", f"FEED-{s}") for s in "AB"]
    event = site_lab.plant.envelope.site.schedule[0]
    for when, expected in (
        (event.start - 1000, []),
        (event.start, [("opened", "above/lab")]),
        (event.end, [("cleared", "above/lab")]),
    ):
        site_lab.now = when
        site_lab.read(feeds, 275e3)
        assert site_lab.step() == expected


def test_a_predicted_breach_names_the_quarter_hour_its_probability_and_the_limit(power):
    plant = power(PREDICTED)
    plant.at(100)
    plant.forecast([0.1, 0.2, 0.7, 0.9], median=605e3)
    assert plant.step() == [("opened", "predicted/lab")]
    condition = plant.active["predicted/lab"].condition
    assert (condition.object_id, condition.limit) == ("lab", 600e3)
    assert condition.value == pytest.approx(605e3)
    assert condition.summary.startswith("lab: 90 % likely to exceed 600.0 kW by 2026-")
    told = " 09:00, most likely in 08:45-09:00 (median forecast 605.0 kW, issued 08:01)"
    assert condition.summary.endswith(told)


def test_many_small_chances_are_a_likely_breach(power):
    plant = power(PREDICTED)
    plant.forecast([0.3] + [0.0] * 23)
    assert plant.step() == []
    plant.at(1).forecast([0.3] * 24)
    assert plant.step() == [("opened", "predicted/lab")]


def test_a_prediction_clears_only_when_it_has_become_clearly_unlikely(power):
    plant = power(PREDICTED)
    plant.forecast([0.1, 0.6])
    assert plant.step() == [("opened", "predicted/lab")]
    plant.at(900).forecast([0.4, 0.1])
    assert plant.step() == []
    plant.at(1800).forecast([0.3, 0.1])
    assert plant.step() == [("cleared", "predicted/lab")]


def test_what_is_past_or_beyond_the_horizon_is_not_predicted(power):
    plant = power({**PREDICTED, "within": "1 h"})
    plant.forecast([0.9, 0, 0, 0, 0, 0.9])
    assert plant.at(900).step() == []
    assert plant.at(901).step() == [("opened", "predicted/lab")]


def test_a_forecast_without_a_limit_predicts_no_breach(power):
    plant = power(PREDICTED)
    plant.forecast([np.nan, np.nan])
    assert plant.step() == []


def test_a_forecast_that_ran_out_neither_opens_nor_clears(power):
    plant = power(PREDICTED)
    plant.forecast([0.9])
    assert plant.step() == [("opened", "predicted/lab")]
    assert plant.at(7200).step() == []
    assert "predicted/lab" in plant.active


def test_a_forecast_that_is_not_renewed_in_time_alerts_once_and_clears_with_the_next(power):
    plant = power({"name": "old", "kind": "forecast_age", "after": "45 min", "severity": "warning"})
    assert plant.step() == []  # none yet, but the service has only just started
    plant.at(60).forecast([0.1])
    assert plant.at(45 * MINUTE).step() == []
    assert plant.at(46 * MINUTE + 1).step() == [("opened", "old/lab")]
    assert "no new power forecast for 45 min" in plant.active["old/lab"].condition.summary
    plant.restart()
    assert plant.at(50 * MINUTE).step() == []
    plant.forecast([0.1])
    assert plant.step() == [("cleared", "old/lab")]


def test_a_forecast_that_never_came_alerts_too(power):
    plant = power({"name": "old", "kind": "forecast_age", "after": "45 min", "severity": "warning"})
    assert plant.step() == []
    assert plant.at(45 * MINUTE + 1).step() == [("opened", "old/lab")]
    assert "last issued: none" in plant.active["old/lab"].condition.summary
    assert plant.at(60 * MINUTE).step() == []


def test_a_node_is_predicted_by_its_own_forecast_named_or_by_a_glob(power):
    plant = power({**PREDICTED, "objects": ["R*", "FEED-A"]})
    plant.forecast([0.9])  # the site's, which this rule does not ask for
    assert plant.step() == []
    plant.forecast([0.1, 0.8], object_id="R002")
    plant.forecast([0.1], object_id="R003")
    assert plant.step() == [("opened", "predicted/R002")]
    assert plant.active["predicted/R002"].condition.summary.startswith("R002: 80 % likely to exceed")


def test_a_forecast_is_missed_only_of_what_is_measured(lab):
    age = {"name": "old", "kind": "forecast_age", "after": "45 min", "severity": "warning"}
    plant = lab({**age, "objects": ["R*", "nothing"]})
    for rack in ("R001", "R002"):
        plant.point("Rack", "RackPower", rack)
    assert plant.step() == []
    plant.forecast([0.1], object_id="R002")
    assert plant.at(45 * MINUTE + 1).step() == [("opened", "old/R001"), ("opened", "old/R002")]


@pytest.mark.parametrize("basis", ["projected", "quarter_hour"])
def test_a_limit_that_starts_within_the_quarter_hour_binds_all_of_it(lab, basis):
    cut = {
        "start": "2026-09-21T00:10:00Z",
        "end": "2026-09-21T02:00:00Z",
        "limit": "500 kW",
        "reason": "grid",
    }
    plant = lab(exceeded(basis, nodes=["Site"]), site={**SITE, "schedule": [cut]})
    plant.feeds = [plant.point("PowerMeter", "ActivePower", f"FEED-{s}") for s in "AB"]
    told = run(plant, 0, 15 * MINUTE, 560e3)
    assert told == [("opened", "above/lab")]
    assert plant.active["above/lab"].condition.limit == 500e3


class TestDemandMeter:
    """Integration over quarter hours, by hand."""

    def test_power_holds_until_the_next_update_and_splits_at_the_quarter_hour(self):
        meter = DemandMeter(1)
        meter.update(0, np.array([100.0]))
        meter.update(600_000, np.array([400.0]))
        meter.update(1_200_000, np.array([0.0]))
        assert meter.completed == pytest.approx([(100 * 10 + 400 * 5) / 15])
        assert meter.completed_at == QUARTER_MS
        assert meter.certain() == pytest.approx([400 * 5 / 15])

    def test_a_quarter_hour_measured_too_little_has_no_average(self):
        meter = DemandMeter(2)
        meter.update(0, np.array([100.0, np.nan]))
        meter.update(500_000, np.array([100.0, 900.0]))
        meter.update(QUARTER_MS, np.array([100.0, 900.0]))
        assert meter.completed[0] == pytest.approx(100.0)
        assert np.isnan(meter.completed[1])

    def test_quarter_hours_that_went_by_unseen_have_no_average(self):
        meter = DemandMeter(1)
        meter.update(0, np.array([100.0]))
        meter.update(3 * QUARTER_MS + 5000, np.array([100.0]))
        assert np.isnan(meter.completed[0])
        assert meter.completed_at == 3 * QUARTER_MS

    def test_what_the_store_knows_of_the_running_quarter_hour_counts(self):
        meter = DemandMeter(2)
        meter.seed(600_000, np.array([900.0, np.nan]), np.array([600_000.0, 0.0]))
        meter.update(600_000, np.array([0.0, 0.0]))
        assert meter.certain() == pytest.approx([600.0, 0.0])
        assert meter.projected() == pytest.approx([600.0, 0.0])

    def test_a_clock_that_was_set_back_begins_the_quarter_hour_anew(self):
        meter = DemandMeter(1)
        meter.update(2 * QUARTER_MS, np.array([100.0]))
        meter.update(2 * QUARTER_MS + 500_000, np.array([100.0]))
        meter.update(QUARTER_MS, np.array([400.0]))
        meter.update(QUARTER_MS + 450_000, np.array([400.0]))
        assert meter.certain() == pytest.approx([200.0])
