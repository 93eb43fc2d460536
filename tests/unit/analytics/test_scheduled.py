"""Planned work in the forecast: what was announced counts, what was announced later does not."""

import numpy as np
import pandas as pd
import pytest

from analytics.planned.booked_load import booked_paths, learn_habits
from analytics.planned.bookings import Bookings
from analytics.planned.scheduled import RackPast, ScheduledForecaster, booked_nodes
from domain.envelope import QUARTER_MS
from domain.planned import PlannedWork

RACKS = tuple(f"R{i}" for i in range(8))
TRAIN = RACKS[:5]
START = 1_790_000_000_000 // 86_400_000 * 86_400_000
DAYS = 12
N = DAYS * 96 + 12
TIME = START + QUARTER_MS * np.arange(N, dtype=np.int64)
NOW = START + N * QUARTER_MS
HOUR = 4 * QUARTER_MS
BUSY, IDLE = 120e3, 40e3


def works():
    """Jobs of five racks, eight hours each and an hour apart, announced six hours ahead; one is to come in two hours."""
    found = []
    for number in range(DAYS * 24 // 9 + 2):
        start = START + number * 9 * HOUR
        end = start + 8 * HOUR
        found.append(
            PlannedWork(
                "jobs", f"j{number}", TRAIN, start, end, intensity=0.8 + 0.02 * (number % 10),
                known_since=start - 6 * HOUR, until=end if end <= NOW else 0,
            )
        )  # fmt: skip
    return found


def rack_power(listed):
    rng = np.random.default_rng(0)
    power = np.full((len(RACKS), N), 70e3) + 3e3 * np.sin(2 * np.pi * np.arange(N) / 96)
    power[:5] = IDLE
    for work in listed:
        a, b = (max(0, (t - START) // QUARTER_MS) for t in (work.start, work.until or work.end))
        power[:5, a:b] = IDLE + (BUSY - IDLE) * work.intensity
    return power + rng.normal(0, 500.0, power.shape)


WORKS = works()
POWER = rack_power(WORKS)
SITE = 1.12 * POWER[:5].sum(0) + 1.05 * POWER[5:].sum(0) + 30e3


def past(listed=WORKS):
    bookings = Bookings.of(listed, RACKS)
    return RackPast.of(bookings, TIME, dict(zip(RACKS, POWER, strict=True)))


def history():
    return pd.Series(SITE, index=pd.to_datetime(TIME, unit="ms", utc=True)).asfreq("15min")


def test_habits_tell_power_by_intensity_and_the_idle_power():
    habits = learn_habits(Bookings.of(WORKS, RACKS).as_known(NOW), TIME, POWER)
    assert habits.expected(np.nan, 0.9) == pytest.approx(IDLE + (BUSY - IDLE) * 0.9, rel=0.02)
    assert habits.expected(5e3, 0.9) == 5e3
    assert habits.idle == pytest.approx(IDLE, rel=0.05)
    assert np.median(habits.gaps) == HOUR
    assert np.median(habits.kept) == 1.0


def test_booked_racks_follow_the_plan_to_its_minute():
    bookings = Bookings.of(WORKS, RACKS).as_known(NOW)
    paths = booked_paths(bookings, learn_habits(bookings, TIME, POWER), TIME, POWER, 40)
    assert [RACKS[i] for i in paths.racks] == list(TRAIN)
    median = np.median(paths.total(), axis=0) / 5
    running = np.zeros(40)
    for work in WORKS:
        inside = (work.start <= NOW + QUARTER_MS * np.arange(40)) & (
            work.end > NOW + QUARTER_MS * np.arange(40)
        )
        running[inside] = IDLE + (BUSY - IDLE) * work.intensity
    planned = running > 0
    assert planned.any()
    assert not planned.all()
    assert median[:8] == pytest.approx(np.where(planned, running, IDLE)[:8], rel=0.05)


def test_a_forecast_with_the_plan_sees_the_job_end_and_stays_in_order():
    model = ScheduledForecaster(past(), 0.0, 3e6, None).fit(history())
    assert model.split.aside == TRAIN
    assert model.split.follows == pytest.approx(0.12, abs=0.02)
    told = model.predict(40)
    assert (np.diff(told.to_numpy(), axis=1) >= 0).all()
    current = next(w for w in WORKS if w.start <= NOW < w.end)
    ends = (current.end - NOW) // QUARTER_MS
    fall = told[0.5].iloc[ends - 1] - told[0.5].iloc[ends]
    assert fall == pytest.approx(1.12 * 5 * (BUSY - IDLE) * current.intensity, rel=0.1)


def test_what_is_announced_after_the_end_of_the_history_is_not_used():
    surprise = PlannedWork("jobs", "later", RACKS[5:], NOW, NOW + 9 * HOUR, power=1e3, known_since=NOW + 1)
    plain = ScheduledForecaster(past(), 0.0, 3e6, None).fit(history()).predict(8)
    told = ScheduledForecaster(past([*WORKS, surprise]), 0.0, 3e6, None).fit(history()).predict(8)
    assert told.to_numpy() == pytest.approx(plain.to_numpy())


def test_maintenance_takes_racks_out_of_the_forecast():
    flush = PlannedWork("m", "flush", TRAIN, NOW + HOUR, NOW + 5 * HOUR, power=0.0, known_since=NOW - HOUR)
    told = booked_nodes({}, {}, past([*WORKS, flush]), 24)
    assert set(told) == set(TRAIN)
    middle = told["R0"][:, 9]
    assert (middle[4:20] < 1e3).all()


def test_a_node_above_booked_racks_moves_with_its_share_of_them():
    busway = 0.5 * POWER[:6].sum(0)
    told = booked_nodes({"B": busway}, {"B": RACKS[:6]}, past(), 40)["B"]
    current = next(w for w in WORKS if w.start <= NOW < w.end)
    ends = (current.end - NOW) // QUARTER_MS
    fall = told[ends - 1, 9] - told[ends, 9]
    assert fall == pytest.approx(0.5 * 5 * (BUSY - IDLE) * current.intensity, rel=0.1)


def test_racks_that_work_without_being_listed_are_not_taken_for_idle():
    listed = [w for w in WORKS if not w.start <= NOW < w.end]
    bookings = Bookings.of(listed, RACKS).as_known(NOW)
    paths = booked_paths(bookings, learn_habits(bookings, TIME, POWER), TIME, POWER, 4)
    assert np.median(paths.total()[:, 0]) / 5 > (IDLE + BUSY) / 2


def test_a_few_plans_are_not_trusted_yet():
    assert past(WORKS[-6:]) is None
    assert RackPast.of(None, TIME, {}) is None


def test_versions_of_a_plan_are_known_one_after_the_other():
    first = PlannedWork(
        "jobs", "a", TRAIN, NOW, NOW + HOUR, known_since=NOW - 9 * HOUR, until=NOW - HOUR, replaced=True
    )
    second = PlannedWork("jobs", "a", TRAIN, NOW, NOW + 2 * HOUR, known_since=NOW - HOUR)
    bookings = Bookings.of([first, second], RACKS)
    assert bookings.as_known(NOW - 2 * HOUR).standing().end.tolist() == [NOW + HOUR]
    assert bookings.as_known(NOW).standing().end.tolist() == [NOW + 2 * HOUR]
    assert len(bookings.as_known(NOW + 5 * HOUR).ran()) == 1
