"""Which limits hold of what was agreed, and what they do to the envelope."""

import math
from dataclasses import replace

import pytest

from domain.envelope import Envelope, EnvelopeNode, LimitChange
from domain.grid import GridRequest, Kind, Part, Standing, changes_of, held_limits, signal_over

HOUR = 3_600_000


def asked(
    number,
    value,
    start=0,
    end=10,
    series="acme",
    kind=Kind.LIMIT,
    standing=Standing.AGREED,
    node="site",
    unit="W",
):
    parts = (Part(node, start * HOUR, end * HOUR, value),)
    return GridRequest(
        number, "flex", "acme", series, f"r{number}", 0, kind, parts, unit, "", False, 0, standing
    )


def told(*requests):
    return [(h.start // HOUR, h.end // HOUR, h.limit) for h in held_limits(requests)]


def test_a_later_target_takes_the_place_of_an_earlier_one_for_its_time_only():
    assert told(asked(1, 14e6), asked(2, 12e6, 4, 6)) == [(0, 4, 14e6), (4, 6, 12e6), (6, 10, 14e6)]


def test_the_order_in_which_they_came_counts_not_that_in_which_they_are_handed_over():
    assert told(asked(2, 12e6, 4, 6), asked(1, 14e6)) == told(asked(1, 14e6), asked(2, 12e6, 4, 6))


def test_a_target_without_a_limit_lifts_what_was_asked_before():
    assert told(asked(1, 14e6), asked(2, math.nan, 5, 20)) == [(0, 5, 14e6)]


def test_targets_of_two_parties_both_hold():
    assert told(asked(1, 14e6), asked(2, 15e6, series="other")) == [(0, 10, 14e6), (0, 10, 15e6)]


@pytest.mark.parametrize("standing", [s for s in Standing if s is not Standing.AGREED])
def test_only_what_is_agreed_to_holds(standing):
    assert told(asked(1, 14e6, standing=standing)) == []


def test_a_dispatch_bounds_power_like_a_limit():
    assert told(asked(1, 14e6, kind=Kind.DISPATCH)) == [(0, 10, 14e6)]


@pytest.mark.parametrize("kind", [Kind.PRICE, Kind.NOTICE])
def test_prices_and_notices_change_no_limit(kind):
    assert told(asked(1, 14e6, kind=kind)) == []


def test_a_request_that_waits_leaves_the_one_before_it_in_force():
    assert told(asked(1, 14e6), asked(2, 12e6, standing=Standing.WAITING)) == [(0, 10, 14e6)]


@pytest.mark.parametrize(("limit", "wanted"), [(14e6, 14e6), (20e6, 16e6)])
def test_a_limit_of_the_grid_lowers_that_of_the_contract_and_never_raises_it(limit, wanted):
    tree = Envelope("site", {"site": EnvelopeNode("site", "Site", 16e6)})
    lowered = tree.lowered(changes_of(held_limits([asked(1, limit)])))
    assert lowered.site.limit_at(HOUR) == wanted
    assert lowered.site.limit_at(11 * HOUR) == 16e6
    assert tree.site.limit_at(HOUR) == 16e6


def test_a_contract_step_that_raises_the_limit_is_still_lowered_by_the_grid():
    step = LimitChange(0, 20 * HOUR, 18e6, "contract step")
    tree = Envelope("site", {"site": EnvelopeNode("site", "Site", 16e6, schedule=(step,))})
    lowered = tree.lowered(changes_of(held_limits([asked(1, 17e6)])))
    assert lowered.site.limit_at(HOUR) == 17e6
    assert lowered.site.limit_at(11 * HOUR) == 18e6
    assert lowered.site.binding_limit(9 * HOUR, 11 * HOUR) == 17e6


def price(number, value, start=0, end=10, **others):
    return asked(number, value, start, end, **({"kind": Kind.PRICE, "unit": "TWD/KWH"} | others))


def test_the_price_of_a_time_is_the_mean_of_the_newest_series_that_covers_it():
    two = price(1, 4.0, 0, 2)
    two = replace(
        two,
        parts=(*two.parts, Part("site", 2 * HOUR, 4 * HOUR, 8.0), Part("FEED-A", 2 * HOUR, 4 * HOUR, 8.0)),
    )
    assert signal_over([two], HOUR, 4 * HOUR, False) == (pytest.approx(4.0 / 3 + 8.0 * 2 / 3), "TWD/KWH")
    assert signal_over([two, price(2, 5.0)], HOUR, 4 * HOUR, False)[0] == 5.0
    assert signal_over([two, price(2, 5.0, 0, 3)], HOUR, 4 * HOUR, False)[0] == pytest.approx(20 / 3)
    assert signal_over([two], HOUR, 5 * HOUR, False) is None


def test_emissions_are_no_price_and_a_price_is_no_emission():
    carbon = price(1, 420.0, unit="g/kWh")
    assert signal_over([carbon], 0, HOUR, False) is None
    assert signal_over([carbon, price(2, 4.0)], 0, HOUR, True) == (420.0, "g/kWh")
    assert signal_over([price(3, 4.0, standing=Standing.CANCELLED), asked(4, 9e6)], 0, HOUR, False) is None
