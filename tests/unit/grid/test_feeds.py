"""A feed against its target, told as a timeline."""

import math
from dataclasses import replace

import pytest

from domain.grid import HeldLimit
from partners.grid.flex.feeds import BreachWatch, OpenBreach, Ramp
from partners.grid.flex.settings import FlexSettings
from tests.unit.grid.test_limits_of_the_grid import asked

S = 1000
SETTLE = 300 * S
SETTINGS = FlexSettings.model_construct(breach_above=0.02, breach_after=60.0, escalate_after=300.0)
TARGET = HeldLimit("site", 0, 10_000 * S, 10e6, asked(1, 10e6))


def ramps(*looks):
    """Return the events of each look (time in s, limit, power)."""
    ramp = Ramp()
    return [ramp.look(limit, power, at * S, SETTLE) for at, limit, power in looks]


def test_power_comes_down_to_a_target_and_is_in_flight_until_it_is_there():
    assert ramps(
        (0, math.inf, 15e6), (10, 12e6, 15e6), (20, 12e6, 13e6), (30, 12e6, 11.9e6), (40, 12e6, 12.5e6)
    ) == [
        [],
        ["start_ramp_down"],
        [],
        ["end_ramp_down"],
        [],
    ]


def test_power_that_is_low_enough_already_begins_and_ends_at_once():
    assert ramps((0, 12e6, 11e6)) == [["start_ramp_down", "end_ramp_down"]]


def test_a_target_that_is_lifted_lets_power_rise_and_the_rise_ends_when_it_has_passed_the_old_one():
    looks = ramps((0, 12e6, 11e6), (60, math.inf, 11e6), (70, math.inf, 12.5e6), (80, math.inf, 13e6))
    assert looks[1:] == [["start_ramp_up"], ["end_ramp_up"], []]


def test_power_that_does_not_rise_is_in_flight_for_so_long_only():
    looks = ramps((0, 12e6, 11e6), (60, math.inf, 11e6), (359, math.inf, 11e6), (360, math.inf, 11e6))
    assert looks[1:] == [["start_ramp_up"], [], ["end_ramp_up"]]


def breaches(*looks, target=TARGET):
    """Return (status, severity) of what each look (time in s, power in MW) told, None where nothing."""
    watch = BreachWatch(SETTINGS)
    news = [watch.look(target, power * 1e6, at * S, SETTLE) for at, power in looks]
    assert len({n.id for n in news if n}) <= 1, "one breach has one id"
    return [n and (n.status, n.severity) for n in news]


def test_a_breach_is_told_escalated_when_it_lasts_and_resolved():
    looks = breaches((400, 10.5), (430, 10.5), (460, 10.5), (699, 10.5), (700, 10.5), (760, 10.5), (800, 9.9))
    assert looks == [
        None,
        None,
        ("active", "warning"),
        None,
        ("escalated", "warning"),
        None,
        ("resolved", "warning"),
    ]


def test_a_breach_that_becomes_critical_is_escalated_at_once():
    assert breaches((400, 10.5), (460, 10.5), (462, 12.1))[-1] == ("escalated", "critical")


@pytest.mark.parametrize(
    "looks", [[(400, 10.1), (500, 10.1)], [(400, 10.5), (450, 10.0), (455, 10.5), (510, 10.5)]]
)
def test_little_or_short_is_no_breach(looks):
    assert set(breaches(*looks)) == {None}


def test_while_power_may_still_come_down_there_is_no_breach():
    assert breaches((10, 15), (200, 15), (299, 15), (300, 15), (360, 15))[-3:] == [
        None,
        None,
        ("active", "critical"),
    ]


def test_a_breach_ends_with_its_target():
    watch = BreachWatch(SETTINGS)
    for at in (400, 460):
        watch.look(TARGET, 11e6, at * S, SETTLE)
    assert watch.look(None, 11e6, 470 * S, SETTLE).status == "resolved"
    assert watch.look(None, 11e6, 480 * S, SETTLE) is None


def test_a_breach_keeps_its_id_over_a_restart_and_is_resolved_after_it():
    watch = BreachWatch(SETTINGS)
    first = [watch.look(TARGET, 11e6, at * S, SETTLE) for at in (400, 460)][-1]
    again = BreachWatch(SETTINGS, OpenBreach.model_validate_json(watch.open.model_dump_json()))
    assert again.look(TARGET, 11e6, 480 * S, SETTLE) is None
    over = again.look(TARGET, 9e6, 490 * S, SETTLE)
    assert (over.status, over.id, over.detected) == ("resolved", first.id, first.detected)


def test_another_target_in_its_place_begins_a_breach_of_its_own():
    watch = BreachWatch(SETTINGS)
    first = [watch.look(TARGET, 11e6, at * S, SETTLE) for at in (400, 460)][-1]
    other = replace(TARGET, request=asked(2, 10e6))
    assert watch.look(other, 11e6, 470 * S, SETTLE).status == "resolved"
    assert [watch.look(other, 11e6, at * S, SETTLE) for at in (480, 540)][-1].id != first.id
