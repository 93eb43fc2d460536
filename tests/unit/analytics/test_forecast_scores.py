"""Scores of forecasts, and verdicts on them: by hand where a hand can reckon, by simulation where chance decides."""

import numpy as np
import pytest

from analytics.scoring.score import Due, added, differs, empty_slot, held, last_day, last_value, score
from analytics.scoring.verdicts import Calibration, verdict
from domain.forecast import QUANTILES
from domain.scores import COLUMN, SLOT_MS, STATISTICS, accuracy, by_lead

LEVELS = np.array(QUANTILES)
NONE = np.full((1, 19), np.nan)
SLOT = 1_790_000_000_000 // SLOT_MS * SLOT_MS
QUARTER = 900_000


def due(values, limit=np.nan, breach=np.nan, before=np.nan, persistence=None, objects=None, lead=15):
    n = len(values)
    return Due(
        np.array(objects or [f"R{i}" for i in range(n)]), np.full(n, lead, np.int32), LEVELS, np.array(values, float),
        np.full((n, 19), np.nan) if persistence is None else persistence, np.full((n, 19), np.nan),
        np.full(n, limit), np.full(n, breach), np.full(n, before),
    )  # fmt: skip


def spread(middle, width=10.0):
    """Quantiles from middle - 0.45 width to middle + 0.45 width."""
    return middle + width * (LEVELS - 0.5)


def test_one_forecast_is_scored_as_by_hand():
    cells = due([spread(100.0)], limit=103.0, breach=0.2, before=0.0, persistence=np.full((1, 19), 99.0))
    found = accuracy(15, score(cells, np.array([105.0]))[0])
    assert (found.scored, found.missing, found.coverage, found.above) == (1, 0, 0.0, 1.0)
    assert (found.bias, found.error, found.width) == (-5.0, 5.0, pytest.approx(9.0))
    ours = np.mean([(105 - q) * level for level, q in zip(LEVELS, spread(100.0), strict=True)])
    assert found.pinball == pytest.approx(ours)
    assert found.to_persistence == pytest.approx(ours / 3.0)  # a single value's loss is half its error
    assert (found.limited, found.breaches) == (1, 1)
    assert (found.brier, found.brier_persistence) == (pytest.approx(0.64), pytest.approx(1.0))
    (bin_,) = found.reliability
    assert (bin_.low, bin_.high, bin_.forecasts, bin_.mean, bin_.happened) == (0.2, 0.4, 1, 0.2, 1.0)


def test_what_was_not_measured_is_counted_and_not_scored():
    found = accuracy(15, score(due([spread(1.0), spread(1.0)]), np.array([np.nan, 1.0])).sum(axis=0))
    assert (found.scored, found.missing, found.coverage) == (1, 1, 1.0)


def test_sums_of_quarter_hours_add_up_and_a_value_that_changes_is_scored_again():
    slot = empty_slot("ActivePower", "W", SLOT)
    cells = due([spread(100.0), spread(50.0)])
    slot = added(slot, SLOT, cells, np.array([100.0, np.nan]))
    slot = added(slot, SLOT + QUARTER, cells, np.array([120.0, 50.0]))
    assert by_lead([slot], ["R0"])[15].coverage == 0.5
    assert by_lead([slot])[15].missing == 1
    again = added(slot, SLOT, cells, np.array([100.0, 70.0]))  # what was missing has come, and misses
    of = by_lead([again])[15]
    assert (of.scored, of.missing, of.revised) == (4, 0, 1)
    assert of.coverage == 0.5
    gone = added(again, SLOT, cells, np.array([np.nan, 70.0]))
    assert gone.sums.tolist() == again.sums.tolist()
    anew = empty_slot("ActivePower", "W", SLOT)
    for interval, actual in ((SLOT, [100.0, 70.0]), (SLOT + QUARTER, [120.0, 50.0])):
        anew = added(anew, interval, cells, np.array(actual))
    same = np.delete(again.sums, COLUMN["revised"], axis=1)
    assert same == pytest.approx(np.delete(anew.sums, COLUMN["revised"], axis=1))


def test_an_object_that_joins_later_has_a_row_of_its_own():
    slot = added(empty_slot("ActivePower", "W", SLOT), SLOT, due([spread(1.0)]), np.array([1.0]))
    slot = added(slot, SLOT + QUARTER, due([spread(1.0)], objects=["R9"], lead=60), np.array([1.0]))
    assert slot.objects.tolist() == ["R0", "R9"]
    assert slot.lead.tolist() == [15, 60]
    assert np.isinf(slot.actual).tolist() == [[False, True], [True, False]]
    # of what was not foretold no value has come late
    assert not differs(slot.actual[0], np.array([1.0, 1.0])).any()


def test_simple_rules_speak_from_their_own_past_errors():
    rng = np.random.default_rng(5)
    walk = np.cumsum(rng.normal(0, 1, (1, 3000)), axis=1)
    told = last_value(walk, 4, LEVELS)
    assert told[0, 9] == pytest.approx(walk[0, -1])
    assert told[0, 18] - told[0, 0] == pytest.approx(2 * 1.645 * 2, rel=0.15)  # four steps: deviation 2
    day = np.sin(np.arange(960) * 2 * np.pi / 96)[None]
    assert last_day(day, 5, LEVELS) == pytest.approx(np.full((1, 19), np.sin(964 * 2 * np.pi / 96)), abs=1e-9)
    assert np.isnan(last_day(day[:, :90], 5, LEVELS)).all()
    assert held(np.array([[np.nan, 1.0, np.nan, 3.0]])).tolist() == [[1.0, 1.0, 1.0, 3.0]]


# --- verdicts: a month of a forecaster whose spread is `scale` of what it should be ---------------------------------


def history(seed, lead=15, scale=1.0, slots=128, worse=1.0, start=0):
    """Sums by slot of forecasts that overlap: errors of neighbours hang together for as long as they look ahead."""
    rng = np.random.default_rng(seed)
    steps = lead // 15
    n = 24 * slots
    # the error of a forecast of a random walk, `steps` ahead, at each quarter hour; calmer by night
    noise = rng.normal(0, 1, n + steps) * (1 + 0.4 * np.sin(np.arange(n + steps) * 2 * np.pi / 96))
    error = np.convolve(noise, np.ones(steps), "valid")[:n]
    usual = np.convolve(
        (1 + 0.4 * np.sin(np.arange(n + steps) * 2 * np.pi / 96)) ** 2, np.ones(steps), "valid"
    )[:n]
    inside = np.abs(error) <= 1.645 * scale * np.sqrt(usual)
    found = {}
    for i in range(start, slots):
        part = slice(24 * i, 24 * (i + 1))
        sums = np.zeros(len(STATISTICS))
        sums[COLUMN["scored"]] = 24
        sums[COLUMN["above"]] = 24 - inside[part].sum()
        sums[COLUMN["persistence"]], sums[COLUMN["beside_persistence"]] = 24, 24 * worse
        found[SLOT - (slots - 1 - i) * SLOT_MS] = sums
    return found


@pytest.mark.parametrize("lead", [15, 60, 360, 1440])
def test_a_calibrated_forecaster_is_not_accused_on_seeds_that_nobody_looked_at(lead):
    # each day of a month is looked at, as the service does it again and again
    accused = 0
    for seed in range(100, 110):
        sums = history(seed, lead)
        for day in range(30):
            newest = SLOT - day * 4 * SLOT_MS
            state = verdict(lead, {s: v for s, v in sums.items() if s <= newest}, newest).state
            accused += state not in (None, Calibration.GOOD)
    assert accused == 0


@pytest.mark.parametrize(("lead", "days"), [(15, 3), (60, 4), (360, 14)])
@pytest.mark.parametrize("seed", range(200, 205))
def test_a_forecaster_whose_intervals_are_half_as_wide_is_found_within_days(lead, days, seed):
    assert verdict(lead, history(seed, lead, 0.5, 4 * days), SLOT).state is Calibration.TOO_NARROW


@pytest.mark.parametrize("seed", range(300, 305))
def test_one_that_is_never_wrong_says_too_little(seed):
    assert verdict(15, history(seed, scale=2.5, slots=28), SLOT).state is Calibration.TOO_WIDE


def test_before_there_are_eight_batches_nothing_is_said():
    assert verdict(15, history(1, scale=0.3, slots=7), SLOT).state is None
    assert verdict(360, history(1, 360, scale=0.3, slots=15), SLOT).state is not None


def test_worse_than_as_now_for_three_days_is_told_and_two_days_are_not():
    assert verdict(60, history(1, 60, worse=1.2), SLOT).state is Calibration.WORSE_THAN_PERSISTENCE
    mixed = history(1, 60, worse=1.2)
    for back in range(9, 128):  # the running slot, and two days before it
        mixed[SLOT - back * SLOT_MS] = history(1, 60)[SLOT - back * SLOT_MS]
    assert verdict(60, mixed, SLOT).state is Calibration.GOOD
