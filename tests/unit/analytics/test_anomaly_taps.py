"""Taps of eight racks on two busways: what each fault of the power path looks like."""

import numpy as np
import pytest

from analytics.anomaly.taps import SIGNALS, TapReadings, TapScorer

RACKS = 8
RACK = np.repeat(np.arange(RACKS, dtype=np.int32), 2)
SIDE = np.tile(np.arange(2, dtype=np.int32), RACKS)


def readings(rng: np.random.Generator) -> TapReadings:
    rack_power = np.repeat(rng.uniform(60e3, 130e3, RACKS), 2)
    share = np.where(SIDE == 0, 0.53, 0.47)
    power = share * rack_power * rng.normal(1, 0.001, 2 * RACKS)
    current = power / 720
    skew = 1.0 + 0.02 * np.array([1.0, -0.5, -0.5])
    return TapReadings(
        power, 0.98 * np.ones(16), 415 + rng.normal(0, 0.1, 16), current[:, None] * skew, rack_power
    )


def scored(change) -> np.ndarray:
    """Score healthy readings for ten minutes, then those that `change` spoils for five."""
    rng = np.random.default_rng(3)
    scorer = TapScorer([f"T{i}" for i in range(16)], RACK, SIDE)
    for _ in range(60):
        healthy = scorer.update(readings(rng))
    assert (np.nan_to_num(healthy) < 1).all()
    for _ in range(30):
        now = readings(rng)
        change(now)
        scores = scorer.update(now)
    return scores


def anomalous(scores: np.ndarray) -> set[tuple[int, str]]:
    return {(int(tap), SIGNALS[k]) for tap, k in np.argwhere(scores > 1)}


def test_a_loose_joint_shows_in_the_voltage_of_its_tap_alone():
    def joint(now):
        now.voltage[4] -= 12

    assert anomalous(scored(joint)) == {(4, "voltage")}


def test_an_open_tap_is_not_blamed_on_the_other_one_that_takes_over():
    def opened(now):
        now.power[4], now.power[5] = 0.0, now.rack_power[5]
        now.voltage[4] = 0.0
        now.phases[4] = 0.0

    assert anomalous(scored(opened)) == {(4, "voltage")}


def test_a_busway_without_supply_shows_at_all_its_taps_as_supply_voltage():
    def lost(now):
        a = SIDE == 0
        now.power[a], now.power[~a] = 0.0, now.rack_power[~a]
        now.voltage[a] = 0.0

    assert anomalous(scored(lost)) == {(2 * n, "supply voltage") for n in range(RACKS)}


def test_a_tap_meter_that_reads_low_is_told_from_a_rack_meter_that_reads_high():
    def tap_meter(now):
        now.power[6] *= 0.8

    def rack_meter(now):
        now.rack_power[6:8] *= 1.25

    assert anomalous(scored(tap_meter)) == {(6, "tap share")}
    assert anomalous(scored(rack_meter)) == set()


@pytest.mark.parametrize(
    ("signal", "field"), [("power factor", "power_factor"), ("phase imbalance", "phases")]
)
def test_power_factor_and_phases_have_signals_of_their_own(signal, field):
    def spoil(now):
        if field == "phases":
            now.phases[9] *= (1.2, 0.9, 0.9)
        else:
            now.power_factor[9] -= 0.05

    assert anomalous(scored(spoil)) == {(9, signal)}
