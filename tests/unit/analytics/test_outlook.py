"""Time to breach, power to shed and ramps of a node."""

import json

import numpy as np
import pytest

from analytics.outlook.excursions import exceedance, likely_paths
from analytics.outlook.power import NodeOutlook, PlannedSteps
from domain.envelope import QUARTER_MS
from domain.forecast import QUANTILES, Forecast

START = 1_790_000_000_000 // QUARTER_MS * QUARTER_MS


def forecast(medians, spread=1e5, limit=15e6):
    values = np.array(medians)[:, None] + spread * np.linspace(-1.6, 1.6, len(QUANTILES))
    limits = np.full(len(values), limit)
    return Forecast(
        "taipei-1", "ActivePower", "W", START, START, 15, START + QUARTER_MS * np.arange(len(values)), QUANTILES,
        values, limits, exceedance(values, QUANTILES, limits), "model",
    )  # fmt: skip


def test_the_time_to_breach_is_a_distribution_that_only_grows():
    outlook = NodeOutlook.of(forecast([14e6, 14.8e6, 15.3e6, 14e6]))
    assert (np.diff(outlook.breached_by) >= 0).all()
    assert outlook.breached_by[2] > 0.95


def test_what_is_shed_brings_the_risk_to_one_percent():
    outlook = NodeOutlook.of(forecast([14e6, 15.3e6]))
    f = outlook.forecast
    assert outlook.shed[0] == 0.0
    after = exceedance(f.values - outlook.shed[:, None], QUANTILES, f.limit)
    assert after[1] == pytest.approx(0.01, abs=1e-3)


def test_a_node_far_from_its_limit_has_nothing_to_shed_and_no_breach():
    outlook = NodeOutlook.of(forecast([10e6] * 30), 24)
    assert len(outlook.shed) == 24
    assert outlook.shed.max() == 0.0
    assert outlook.breached_by.max() < 1e-4


def test_ramps_follow_the_forecast_and_are_in_order():
    outlook = NodeOutlook.of(forecast([10e6, 11.5e6, 11.5e6]))
    assert outlook.ramp[1, 1] == pytest.approx(1e5, rel=0.05)
    assert outlook.ramp[2, 1] == pytest.approx(0.0, abs=2e3)
    assert (np.diff(outlook.ramp[1:], axis=1) > 0).all()
    json.dumps(outlook.as_dict(), allow_nan=False)


def test_likely_paths_keep_the_forecasts_own_distribution():
    f = forecast([10e6, 12e6], spread=5e5)
    paths = likely_paths(f.values, QUANTILES, paths=20_000)
    for level in (0.1, 0.5, 0.9):
        assert np.quantile(paths[:, 1], level) == pytest.approx(f.quantile(level)[1], abs=2e4)


def test_planned_steps_within_a_minute_add_up():
    at = START // 60_000 * 60_000
    steps = PlannedSteps(np.array([at, at + 20_000, at + 600_000]), np.array([-2e6, -1e6, 2.5e6]))
    assert steps.steepest(at, at + 3_600_000) == -3e6
    assert steps.steepest(at + 60_000, at + 3_600_000) == 2.5e6
    assert PlannedSteps.none().steepest(0, at) == 0.0
