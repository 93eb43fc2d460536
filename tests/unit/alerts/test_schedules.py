"""Who is on call when: rotations, layers and their hours, overrides and swaps, over both changes of the clocks."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.oncall.calendar import shown
from alerts.oncall.schedule import Rota
from alerts.oncall.settings import WEEK, Schedule
from storage.oncall_records import Override

BERLIN, NEW_YORK, TAIPEI = (ZoneInfo(z) for z in ("Europe/Berlin", "America/New_York", "Asia/Taipei"))
HOUR = 3_600_000


def at(text, zone=UTC):
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


def rota(zone, *layers, overrides=()):
    return Rota(Schedule.model_validate({"layers": list(layers)}), zone, overrides)


def weekly(*people, **more):
    return {"people": list(people), "start": "2026-01-05", "turn_days": 7, "hand_over": "09:00", **more}


def told(shifts, zone):
    return [(shown(s.start, zone), s.person) for s in shifts]


def test_a_week_passes_from_one_to_the_next_on_its_day_at_its_hour():
    plant = rota(TAIPEI, weekly("mei", "lin", "anna"))
    assert told(plant.shifts(at("2026-01-01T00:00", TAIPEI), at("2026-01-27T00:00", TAIPEI)), TAIPEI) == [
        ("Thu 2026-01-01 00:00 CST", ""),
        ("Mon 2026-01-05 09:00 CST", "mei"),
        ("Mon 2026-01-12 09:00 CST", "lin"),
        ("Mon 2026-01-19 09:00 CST", "anna"),
        ("Mon 2026-01-26 09:00 CST", "mei"),
    ]
    assert plant.on_call(at("2026-01-12T08:59", TAIPEI)) == "mei"
    assert plant.on_call(at("2026-01-12T09:00", TAIPEI)) == "lin"


def test_turns_of_a_day_and_of_any_days():
    daily = rota(TAIPEI, weekly("mei", "lin", turn_days=1, hand_over="00:00"))
    assert [daily.on_call(at(f"2026-01-0{d}T12:00", TAIPEI)) for d in (5, 6, 7)] == ["mei", "lin", "mei"]
    ten = rota(TAIPEI, weekly("mei", "lin", turn_days=10))
    assert ten.on_call(at("2026-01-15T08:59", TAIPEI)) == "mei"
    assert ten.on_call(at("2026-01-15T09:00", TAIPEI)) == "lin"


@pytest.mark.parametrize(
    ("zone", "change", "hours"),
    [
        (BERLIN, "2026-03-29", 23),
        (BERLIN, "2026-10-25", 25),
        (NEW_YORK, "2026-03-08", 23),
        (NEW_YORK, "2026-11-01", 25),
        (TAIPEI, "2026-03-29", 24),
    ],
)
def test_the_hand_over_stays_at_its_hour_over_both_changes_of_the_clocks(zone, change, hours):
    daily = rota(zone, weekly("mei", "lin", turn_days=1))
    day = date.fromisoformat(change)
    start, end = at(f"{day - timedelta(days=1)}T09:00", zone), at(f"{day + timedelta(days=1)}T09:00", zone)
    first, second = daily.shifts(start, end)
    assert (second.start - first.start) / HOUR == hours
    assert (second.end - second.start) / HOUR == 24
    assert f"{change} 09:00" in shown(second.start, zone)


def test_an_hour_that_the_clocks_skip_or_show_twice_hands_over_once():
    daily = rota(BERLIN, weekly("mei", "lin", turn_days=1, hand_over="02:30"))
    spring = daily.shifts(at("2026-03-28T12:00"), at("2026-03-29T12:00"))
    assert told(spring, BERLIN)[1:] == [("Sun 2026-03-29 03:30 CEST", spring[1].person)]
    autumn = daily.shifts(at("2026-10-24T12:00"), at("2026-10-25T12:00"))
    assert told(autumn, BERLIN)[1:] == [("Sun 2026-10-25 02:30 CEST", autumn[1].person)]


def test_a_night_shift_is_an_hour_shorter_in_spring_and_longer_in_autumn_and_leaves_no_gap():
    night = {"from": "20:00", "to": "08:00"}
    day = {"from": "08:00", "to": "20:00"}
    plant = rota(
        BERLIN,
        weekly("mei", turn_days=1, hand_over="08:00", only=[day]),
        weekly("lin", turn_days=1, hand_over="08:00", only=[night]),
    )
    for change, hours in (("2026-03-28", 11), ("2026-10-24", 13), ("2026-06-01", 12)):
        begin = at(f"{change}T20:00", BERLIN)
        (first, *_) = plant.shifts(begin, begin + 20 * HOUR)
        assert (first.person, (first.end - first.start) / HOUR) == ("lin", hours)
    assert plant.gaps(at("2026-01-06T00:00"), at("2026-12-31T00:00")) == []


def test_a_persons_own_clocks_show_the_same_hand_over():
    plant = rota(TAIPEI, weekly("mei", "lin"))
    _, second = plant.shifts(at("2026-03-08T00:00"), at("2026-03-10T00:00"))
    assert shown(second.start, TAIPEI) == "Mon 2026-03-09 09:00 CST"
    assert shown(second.start, NEW_YORK) == "Sun 2026-03-08 21:00 EDT"
    assert shown(second.start - 7 * 24 * HOUR, NEW_YORK) == "Sun 2026-03-01 20:00 EST"


def test_the_last_layer_that_covers_an_hour_tells_and_hours_that_none_covers_are_a_gap():
    plant = rota(
        TAIPEI,
        weekly("mei", only=[{"days": "mon-fri", "from": "09:00", "to": "18:00"}]),
        weekly("lin", only=[{"days": ["wed"], "from": "12:00", "to": "20:00"}]),
    )
    wednesday = plant.shifts(at("2026-01-07T00:00", TAIPEI), at("2026-01-08T00:00", TAIPEI))
    assert [(shown(s.start, TAIPEI)[15:20], s.person) for s in wednesday] == [
        ("00:00", ""),
        ("09:00", "mei"),
        ("12:00", "lin"),
        ("20:00", ""),
    ]
    week = plant.gaps(at("2026-01-10T00:00", TAIPEI), at("2026-01-12T00:00", TAIPEI))
    assert [(s.end - s.start) / HOUR for s in week] == [48]


def test_a_layer_ends_with_its_last_hand_over():
    plant = rota(TAIPEI, weekly("mei", until="2026-01-19"))
    assert plant.on_call(at("2026-01-19T08:59", TAIPEI)) == "mei"
    assert plant.on_call(at("2026-01-19T09:00", TAIPEI)) == ""


def test_an_override_puts_somebody_on_call_and_a_later_one_goes_over_it():
    start, end = at("2026-01-06T00:00", TAIPEI), at("2026-01-07T00:00", TAIPEI)
    first = Override(1, "plant", "lin", "", start, end, "anna", "")
    later = Override(2, "plant", "anna", "", start + 6 * HOUR, start + 8 * HOUR, "anna", "")
    plant = rota(TAIPEI, weekly("mei"), overrides=(first, later))
    assert [s.person for s in plant.shifts(start - HOUR, end + HOUR)] == ["mei", "lin", "anna", "lin", "mei"]


def test_two_who_swap_stand_in_for_each_other_and_for_nobody_else():
    start, end = at("2026-01-05T09:00", TAIPEI), at("2026-01-26T09:00", TAIPEI)
    swap = Override(1, "plant", "mei", "anna", start, end, "mei", "wedding")
    plant = rota(TAIPEI, weekly("mei", "lin", "anna"), overrides=(swap,))
    assert [s.person for s in plant.shifts(start, end)] == ["anna", "lin", "mei"]


ZONES = st.sampled_from(["Asia/Taipei", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "UTC"])
MINUTES = st.integers(0, 24 * 60)
WINDOWS = st.lists(
    st.builds(
        lambda days, begin, end: {"days": sorted(days), "from": begin, "to": end},
        st.sets(st.sampled_from(WEEK), min_size=1),
        MINUTES,
        MINUTES,
    ),
    max_size=2,
)
LAYERS = st.lists(
    st.builds(
        lambda people, day, turn, over, only: {
            "people": people,
            "start": date(2026, 1, 1) + timedelta(days=day),
            "turn_days": turn,
            "hand_over": over,
            "only": only,
        },
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=4),
        st.integers(0, 300),
        st.integers(1, 15),
        MINUTES,
        WINDOWS,
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(
    zone=ZONES,
    layers=LAYERS,
    begin=st.integers(0, 360 * 24),
    hours=st.integers(1, 24 * 9),
    looks=st.lists(st.floats(0, 0.999999), min_size=5, max_size=5),
)
def test_whatever_the_layers_shifts_tell_the_same_as_asking_at_a_moment_and_leave_no_hole(
    zone, layers, begin, hours, looks
):
    plant = rota(ZoneInfo(zone), *layers)
    start = at("2026-01-01T00:00") + begin * HOUR
    end = start + hours * HOUR
    shifts = plant.shifts(start, end)
    assert (shifts[0].start, shifts[-1].end) == (start, end)
    assert all(a.end == b.start and a.person != b.person for a, b in pairwise(shifts))
    for look in looks:
        moment = start + int((end - start) * look)
        (shift,) = [s for s in shifts if s.start <= moment < s.end]
        assert plant.on_call(moment) == shift.person
        # no boundary is a millisecond late or early
        assert plant.on_call(shift.start) == plant.on_call(shift.end - 1) == shift.person
