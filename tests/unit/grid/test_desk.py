"""The desk: consent by policy or by an operator, and what then holds in the envelope."""

from dataclasses import replace

import pytest

from domain.batch import now_ms
from domain.errors import InputError
from domain.grid import OPEN_END, Kind, Part, Standing
from storage.grid_records import MOST_LASTING, TakenBefore
from storage.record_upkeep import RecordUpkeep
from storage.settings import RecordRetention
from tests.unit.grid.test_limits_of_the_grid import asked

NOW = now_ms()
DAY = 86_400_000


def request(value=200e3, start=NOW - 1000, end=NOW + DAY, node="site", **others):
    made = replace(asked(0, value, standing=Standing.WAITING), parts=(Part(node, start, end, value),))
    return replace(made, received=NOW, **others)


def limit(hall):
    return hall.plant.envelope.site.limit_at(NOW)


def test_a_limit_holds_from_the_consent_on_and_not_before(hall):
    desk = hall.desk()
    kept = desk.take(request(), "a")
    assert (kept.standing, limit(hall)) == (Standing.WAITING, 300e3)
    done = desk.consent(kept.id, "mei", "agreed by phone")
    assert (done.decided_by, done.note, limit(hall)) == ("mei", "agreed by phone", 200e3)
    (noted,) = hall.records.audit_trail()
    assert (noted.who, noted.what, noted.detail) == (
        "mei",
        "grid request agreed",
        f"{kept.id} r0 agreed by phone",
    )


def test_what_is_refused_never_holds_and_what_was_agreed_can_be_withdrawn(hall):
    desk = hall.desk()
    first, second = desk.take(request(), "a"), desk.take(request(150e3, series="x", reference="x"), "b")
    desk.refuse(first.id, "mei", "no spare load")
    assert limit(hall) == 300e3
    desk.consent(second.id, "mei")
    assert limit(hall) == 150e3
    assert desk.refuse(second.id, "mei").standing is Standing.REFUSED
    assert limit(hall) == 300e3


def test_a_request_is_decided_on_once(hall):
    desk = hall.desk()
    kept = desk.take(request(), "a")
    desk.refuse(kept.id, "mei")
    for act in (desk.consent, desk.refuse):
        with pytest.raises(InputError, match="refused already"):
            act(kept.id, "jonas")
    with pytest.raises(InputError, match="made no request 99"):
        desk.consent(99, "mei")


def test_what_is_over_is_not_agreed_to_any_more(hall):
    desk = hall.desk()
    kept = desk.take(request(end=NOW - 1, start=NOW - DAY), "a")
    with pytest.raises(InputError, match="is over"):
        desk.consent(kept.id, "mei")


@pytest.mark.parametrize(
    ("settings", "value", "node", "standing"),
    [
        ({"consent": "never"}, 100e3, "site", Standing.AGREED),
        ({"consent": "always"}, 299e3, "site", Standing.WAITING),
        ({"consent": "below", "consent_below": "180 kW"}, 200e3, "site", Standing.AGREED),
        ({"consent": "below", "consent_below": "180 kW"}, 170e3, "site", Standing.WAITING),
        ({"consent": "below", "consent_below": "180 kW"}, 200e3, "R1", Standing.WAITING),
    ],
)
def test_the_policy_says_what_needs_an_operator(hall, settings, value, node, standing):
    kept = hall.desk(**settings).take(request(value, node=node), "a")
    assert kept.standing is standing
    assert kept.decided_by == ("policy" if standing is Standing.AGREED else "")


def test_prices_need_no_consent_and_change_no_limit(hall):
    kept = hall.desk().take(request(0.12, kind=Kind.PRICE), "a")
    assert kept.standing is Standing.AGREED
    assert limit(hall) == 300e3


def test_what_a_newer_target_leaves_nothing_of_is_replaced(hall):
    desk = hall.desk(consent="never")
    first = desk.take(request(end=OPEN_END), "a")
    desk.take(request(250e3, end=OPEN_END, reference="r1"), "b")
    assert [r.standing for r in hall.records.grid_requests()] == [Standing.REPLACED, Standing.AGREED]
    assert limit(hall) == 250e3
    assert hall.records.grid_requests()[0].id == first.id


def test_another_version_of_a_request_takes_its_place_once_it_is_agreed_to(hall):
    desk = hall.desk()
    first = desk.take(request(), "a")
    desk.consent(first.id, "mei")
    second = desk.take(request(250e3, end=NOW + DAY // 2), "b")
    assert (second.version, limit(hall)) == (1, 200e3)
    third = desk.take(request(220e3, end=NOW + DAY // 3), "c")
    standings = [r.standing for r in hall.records.grid_requests()]
    assert standings == [Standing.AGREED, Standing.REPLACED, Standing.WAITING]
    desk.consent(third.id, "mei")
    assert limit(hall) == 220e3
    assert [h.end for h in desk.held] == [NOW + DAY // 3]


def test_a_desk_that_starts_again_knows_what_was_agreed(hall):
    hall.desk(consent="never").take(request(), "a")
    hall.plant.lower_limits({})
    again = hall.desk()
    again.refresh(NOW)
    assert limit(hall) == 200e3
    again.refresh(NOW + 2 * DAY)
    assert again.held == []


def test_the_very_same_is_taken_once_and_a_source_has_so_many_that_last(hall, monkeypatch):
    desk = hall.desk()
    desk.take(request(), "a")
    with pytest.raises(TakenBefore):
        desk.take(request(), "a")
    assert MOST_LASTING == 2000
    monkeypatch.setattr("storage.grid_records.MOST_LASTING", 2)
    desk.take(request(reference="b"), "b")
    with pytest.raises(InputError, match="last already"):
        desk.take(request(reference="c"), "c")


def test_requests_that_are_over_are_removed_after_a_while_and_what_lasts_is_kept(hall):
    long_ago = NOW - 2000 * DAY
    desk = hall.desk(consent="never")
    desk.take(replace(request(start=long_ago, end=long_ago + DAY), received=long_ago), "old")
    lasting = desk.take(replace(request(end=OPEN_END), received=long_ago, series="y"), "lasting")
    removed = RecordUpkeep(hall.records, RecordRetention(), "site").once(NOW)
    assert removed["grid requests"] == 1
    assert [r.id for r in hall.records.grid_requests()] == [lasting.id]
