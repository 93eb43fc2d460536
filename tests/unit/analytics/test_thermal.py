import numpy as np
import pytest

from analytics.thermal import temperature_outlook


def test_a_steady_rack_stays_where_it_is():
    outlook = temperature_outlook(np.full((2, 72), 44.0), steps=12, limit=52.0)
    assert outlook.values == pytest.approx(44.0)
    assert outlook.breach_probability == pytest.approx(0.0)


def test_a_rack_that_heats_up_is_foretold_to_pass_its_limit():
    history = np.concatenate([44 + 0.02 * np.sin(np.arange(60)), 44 + 1.5 * np.arange(1, 6)])[None, :]
    outlook = temperature_outlook(history, steps=12, limit=53.0)
    assert outlook.breach_probability[0].max() > 0.5


def test_quantiles_are_in_order_and_widen_with_lead():
    rng = np.random.default_rng(0)
    history = 44 + np.cumsum(rng.normal(0, 0.1, (3, 100)), axis=1)
    values = temperature_outlook(history, steps=12, limit=52.0).values
    assert (np.diff(values, axis=2) >= 0).all()
    spread = values[..., -1] - values[..., 0]
    assert (spread[:, -1] > spread[:, 0]).all()


def test_a_rack_without_history_has_no_outlook():
    history = np.full((2, 72), np.nan)
    history[1] = 44.0
    outlook = temperature_outlook(history, steps=3, limit=52.0)
    assert np.isnan(outlook.values[0]).all()
    assert not np.isnan(outlook.values[1]).any()
