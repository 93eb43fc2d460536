import numpy as np
import pytest

from analytics.issuing.nodes import node_forecasts

DAY = np.sin(np.arange(5 * 96) * 2 * np.pi / 96)
FEED_A = 7e6 + 5e5 * DAY
FEED_B = 8e6 + 3e5 * DAY
SPREAD = np.linspace(-1, 1, 19)[None, :]


def site(level=15e6):
    return level + 2e5 * SPREAD.repeat(192, 0)


def test_feeds_move_so_that_they_add_up_to_the_site_which_stays():
    told = node_forecasts(
        {"S": FEED_A + FEED_B, "A": FEED_A, "B": FEED_B}, {"S": ("A", "B")}, {"S": site(14e6)}, 24
    )
    assert told["S"] == pytest.approx(site(14e6)[:24])
    assert told["A"][:, 9] + told["B"][:, 9] == pytest.approx(told["S"][:, 9], rel=5e-3)


def test_what_a_feed_draws_beyond_its_upses_is_a_part_of_its_own():
    ups = 0.8 * FEED_A
    told = node_forecasts({"A": FEED_A, "U": ups}, {"A": ("U",)}, {}, 24)
    assert set(told) == {"A", "U"}
    assert told["U"][:, 9] / told["A"][:, 9] == pytest.approx(0.8, abs=0.03)


def test_quantiles_stay_in_order_and_gaps_are_bridged():
    gappy = FEED_A.copy()
    gappy[100:140] = np.nan
    told = node_forecasts({"A": gappy}, {}, {}, 24)
    assert (np.diff(told["A"], axis=1) >= 0).all()
    assert not np.isnan(told["A"]).any()


def test_a_node_without_history_is_left_out():
    assert node_forecasts({"A": np.full(100, np.nan), "B": FEED_B[:3]}, {}, {}, 24) == {}
