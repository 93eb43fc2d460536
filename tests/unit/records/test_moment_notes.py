"""Notes pinned to moments."""

import pytest

from domain.errors import InputError
from storage.moment_notes import LONGEST_NOTE, MOST_OF_A_DAY
from storage.records import Records

NOW = 1_790_000_000_000
HOUR = 3_600_000


@pytest.fixture
def records(tmp_path):
    kept = Records(f"sqlite:///{tmp_path}/records.sqlite")
    yield kept
    kept.close()


def test_a_note_is_found_by_its_moment_and_the_audit_tells_who_pinned_it(records):
    records.pin_note(NOW - HOUR, "R001", "anna", " pump 2 sounded rough ", NOW)
    records.pin_note(NOW - 2 * HOUR, "", "ben", "thunderstorm", NOW)
    found = records.moment_notes(NOW - 3 * HOUR, NOW, 10)
    assert [(n.at, n.object_id, n.who, n.note) for n in found] == [
        (NOW - HOUR, "R001", "anna", "pump 2 sounded rough"),
        (NOW - 2 * HOUR, "", "ben", "thunderstorm"),
    ]
    assert records.moment_notes(NOW - 3 * HOUR, NOW - 2 * HOUR, 10) == []
    assert len(records.moment_notes(0, NOW, 1)) == 1
    last, first = records.audit_trail(NOW - HOUR, NOW + HOUR)
    assert (first.who, first.what) == ("anna", "pinned a note")
    assert "thunderstorm" in last.detail


@pytest.mark.parametrize(
    ("at", "note", "why"),
    [
        (NOW, "  ", "say something"),
        (NOW, "x" * (LONGEST_NOTE + 1), "500 characters"),
        (NOW + 1, "soon", "has come"),
        (0, "never", "has come"),
    ],
)
def test_what_is_no_note_is_refused_with_why(records, at, note, why):
    with pytest.raises(InputError, match=why):
        records.pin_note(at, "", "anna", note, NOW)
    assert records.audit_trail() == []


def test_a_day_has_so_many_notes_and_none_pushes_out_another(records):
    day = NOW - NOW % (24 * HOUR)
    for n in range(MOST_OF_A_DAY):
        records.pin_note(day + n, "", "anna", f"note {n}", NOW)
    with pytest.raises(InputError, match="200 notes on that day"):
        records.pin_note(day + HOUR, "", "anna", "one more", NOW)
    records.pin_note(day - 1, "", "anna", "the day before", NOW)
    assert len(records.moment_notes(day, day + 24 * HOUR, 1000)) == MOST_OF_A_DAY
