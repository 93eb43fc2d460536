"""What an OpenADR event asks of the site: times, payloads, units; and which reports are due when."""

import math
from datetime import timedelta

import pytest

from domain.errors import InputError
from domain.grid import OPEN_END, Kind
from partners.grid.openadr.events import request_of, timed
from partners.grid.openadr.messages import Event, PayloadDescriptor
from partners.grid.openadr.reports import dues
from partners.grid.openadr.settings import VenSettings

START = "2026-07-01T06:00:00Z"
AT = 1_782_885_600_000
MIN = 60_000
NOW = AT - 60 * MIN
KW = {"payloadType": "IMPORT_CAPACITY_LIMIT", "objectType": "EVENT_PAYLOAD_DESCRIPTOR", "units": "KW"}


def event(payloads, period=None, **fields):
    """Return an event whose intervals have one payload each."""
    told = {
        "id": "e1",
        "programID": "p1",
        "modificationDateTime": "2026-07-01T00:00:00Z",
        "intervalPeriod": {"start": START, "duration": "PT15M"} if period is None else period,
        "payloadDescriptors": [KW],
        "intervals": [
            {"id": n, "payloads": [{"type": kind, "values": [value]}]}
            for n, (kind, value) in enumerate(payloads)
        ],
    }
    return Event.model_validate(told | fields)


def settings(**others):
    fields = {"url": "http://vtn", "client_id": "c", "ven_name": "v"}
    return VenSettings.model_validate(fields | others)


def usual(start, end):
    """The baseline of the tests: of the first quarter hour 14 MW, of later ones it is not known."""
    if start > AT:
        raise InputError("only 3 of the 5 eligible days")
    return 14e6


def asked(told, now=NOW, **others):
    descriptors = {d.payloadType: d for d in told.payloadDescriptors or ()}
    return request_of(told, descriptors, settings(**others), "site", now, usual)


def parts(request):
    return [((p.start - AT) // MIN, (p.end - AT) // MIN, p.value) for p in request.parts]


def test_intervals_follow_each_other_from_the_events_start():
    request = asked(event([("IMPORT_CAPACITY_LIMIT", 14000.0), ("IMPORT_CAPACITY_LIMIT", 12000.0)]))
    assert request.kind is Kind.LIMIT
    assert parts(request) == [(0, 15, 14e6), (15, 30, 12e6)]
    assert request.text == "at most 14.00 MW; at most 12.00 MW"


def test_an_interval_may_have_a_time_of_its_own():
    told = event([("IMPORT_CAPACITY_LIMIT", 1.0)] * 2).model_dump()
    told["intervals"][1]["intervalPeriod"] = {"start": "2026-07-01T08:00:00Z", "duration": "PT1H"}
    assert parts(asked(Event.model_validate(told))) == [(0, 15, 1e3), (120, 180, 1e3)]


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00"])
def test_a_start_in_the_year_one_is_now(start):
    request = asked(event([("IMPORT_CAPACITY_LIMIT", 1.0)], {"start": start, "duration": "PT15M"}))
    assert request.start == NOW


@pytest.mark.parametrize("duration", ["P9999Y", "PT0S"])
def test_an_endless_interval_holds_till_further_notice(duration):
    request = asked(event([("IMPORT_CAPACITY_LIMIT", 1.0)], {"start": START, "duration": duration}))
    assert request.end == OPEN_END


def test_an_event_with_a_duration_goes_round():
    request = asked(event([("IMPORT_CAPACITY_LIMIT", 1.0), ("IMPORT_CAPACITY_LIMIT", 2.0)], duration="PT1H"))
    assert parts(request) == [(0, 15, 1e3), (15, 30, 2e3), (30, 45, 1e3), (45, 60, 2e3)]


def test_an_event_that_goes_round_for_ever_is_refused():
    with pytest.raises(InputError, match="more than 2,000 intervals"):
        asked(event([("IMPORT_CAPACITY_LIMIT", 1.0)], duration="P100D"))


def test_of_an_event_that_began_long_ago_only_what_is_to_come_counts():
    told = event([("IMPORT_CAPACITY_LIMIT", 14.0)] * 4)
    assert parts(asked(told, AT + 31 * MIN)) == [(30, 45, 14e3), (45, 60, 14e3)]
    assert asked(told, AT + 60 * MIN) is None


def test_capacity_is_what_was_subscribed_to_and_what_was_reserved_besides():
    told = event([("IMPORT_CAPACITY_SUBSCRIPTION", 14.0)]).model_dump()
    told["intervals"][0]["payloads"] += ({"type": "IMPORT_CAPACITY_RESERVATION", "values": [2.0]},)
    request = asked(Event.model_validate(told), power_unit="MW")
    assert parts(request) == [(0, 15, 16e6)]


def test_a_dispatch_bounds_power_from_above():
    request = asked(event([("DISPATCH_SETPOINT", 13.0)]), power_unit="MW")
    assert (request.kind, request.parts[0].value) == (Kind.DISPATCH, 13e6)


def test_prices_keep_their_unit_and_emissions_theirs():
    price = PayloadDescriptor(payloadType="PRICE", units="KWH", currency="TWD")
    told = event([("PRICE", 4.2), ("PRICE", -0.1)], payloadDescriptors=[price.model_dump()])
    request = asked(told)
    assert (request.kind, request.unit, [p.value for p in request.parts]) == (
        Kind.PRICE,
        "TWD/KWH",
        [4.2, -0.1],
    )
    assert asked(event([("GHG", 420.0)])).unit == "g/kWh"


def test_a_level_means_what_the_site_says_it_does():
    assert parts(asked(event([("SIMPLE", 2)]), simple={"2": "12 MW"})) == [(0, 15, 12e6)]
    assert asked(event([("SIMPLE", 1)]), simple={"2": "12 MW"}).kind is Kind.NOTICE
    assert asked(event([("SIMPLE", 0)])) is None


def test_an_alert_is_told_in_the_words_of_the_grid():
    request = asked(event([("ALERT_GRID_EMERGENCY", "reserve below 6 %\x1b[2J")], eventName="Red"))
    assert request.kind is Kind.NOTICE
    assert request.text == r"Red: alert grid emergency reserve below 6 %\x1b[2J"
    assert math.isnan(request.parts[0].value)


def test_targets_name_nodes():
    told = event([("IMPORT_CAPACITY_LIMIT", 1.0)], targets=["east", "east-2", "someone"])
    assert {p.node for p in asked(told, nodes={"east": "R1", "east-2": "R1"}).parts} == {"R1"}
    assert {p.node for p in asked(told).parts} == {"site"}


@pytest.mark.parametrize(
    ("payload", "others", "said"),
    [
        (("IMPORT_CAPACITY_LIMIT", "low"), {}, "one number"),
        (("IMPORT_CAPACITY_LIMIT", -5.0), {}, "no power of a site"),
        (("IMPORT_CAPACITY_LIMIT", True), {}, "one number"),
        (("DISPATCH_SETPOINT", 13.0), {}, "no unit that is told"),
        (("IMPORT_CAPACITY_LIMIT", 5.0), {"payloadDescriptors": [{**KW, "units": "THERMS"}]}, "THERMS"),
        (("SIMPLE", 4), {}, "level from 0 to 3"),
        (("IMPORT_CAPACITY_LIMIT", 5.0), {"intervalPeriod": {"duration": "PT1H"}}, "no start"),
        (
            ("IMPORT_CAPACITY_LIMIT", 5.0),
            {"intervalPeriod": {"start": START, "duration": "-PT1H"}},
            "negative",
        ),
        (
            ("IMPORT_CAPACITY_LIMIT", 5.0),
            {"intervalPeriod": {"start": "2026-07-01T06:00:00", "duration": "PT1H"}},
            "zone",
        ),
    ],
)
def test_what_cannot_be_understood_is_refused_with_the_reason(payload, others, said):
    with pytest.raises(InputError, match=said):
        asked(event([payload], **others))


def times(**descriptor):
    told = event(
        [("IMPORT_CAPACITY_LIMIT", 1.0)] * 4, reportDescriptors=[{"payloadType": "USAGE", **descriptor}]
    )
    return [((d.at - AT) // MIN, [i.id for i in d.intervals]) for d in dues(told, NOW)]


def test_a_report_comes_once_after_the_last_interval_of_all_of_them_unless_told_otherwise():
    assert times() == [(60, [0, 1, 2, 3])]


def test_reports_of_each_interval_come_as_it_ends():
    assert times(startInterval=1, numIntervals=1, repeat=-1) == [
        (15, [0]),
        (30, [1]),
        (45, [2]),
        (60, [3]),
    ]


def test_a_forecast_comes_before_its_intervals():
    assert times(startInterval=0, historical=False) == [(0, [0, 1, 2, 3])]
    assert times(startInterval=2, numIntervals=1, historical=False, repeat=5, frequency=1) == [
        (30, [2]),
        (45, [3]),
    ]


def test_what_cannot_be_reported_is_not_due():
    assert times(payloadType="STORAGE_CHARGE_LEVEL") == []
    endless = event(
        [("IMPORT_CAPACITY_LIMIT", 1.0)],
        {"start": START, "duration": "P9999Y"},
        reportDescriptors=[{"payloadType": "USAGE"}],
    )
    assert dues(endless, NOW) == []


def test_intervals_are_in_order_and_as_long_as_they_say():
    (only,) = timed(event([("SIMPLE", 1)], {"start": START, "duration": "PT90S"}), NOW)
    assert timedelta(milliseconds=only.end - only.start) == timedelta(seconds=90)


RELATIVE = "DISPATCH_SETPOINT_RELATIVE"


@pytest.mark.parametrize(
    ("value", "unit", "limit", "text"),
    [
        (500.0, "KW", 13.5e6, "500.0 kW less than the baseline of 14.00 MW: at most 13.50 MW"),
        (10.0, "PERCENT", 12.6e6, "10 % less than the baseline of 14.00 MW: at most 12.60 MW"),
    ],
)
def test_a_relative_dispatch_is_a_limit_below_the_baseline(value, unit, limit, text):
    request = asked(
        event([(RELATIVE, value)], payloadDescriptors=[KW | {"payloadType": RELATIVE, "units": unit}])
    )
    assert request.kind is Kind.DISPATCH
    assert parts(request) == [(0, 15, pytest.approx(limit))]
    assert request.text == text


def test_a_relative_dispatch_without_a_baseline_is_a_notice_with_the_reason():
    told = {"payloadDescriptors": [KW | {"payloadType": RELATIVE}]}
    later = {"start": "2026-07-01T07:00:00Z", "duration": "PT15M"}
    request = asked(event([(RELATIVE, 500.0)], later, **told))
    assert request.kind is Kind.NOTICE
    assert (
        request.text == "500.0 kW less than the baseline, which is not known: only 3 of the 5 eligible days"
    )
    request = asked(event([(RELATIVE, 500.0)], targets=["a"], **told), nodes={"a": "FEED-A"})
    assert request.kind is Kind.NOTICE
    assert "known of the whole site only" in request.text


@pytest.mark.parametrize(("value", "unit"), [(100.0, "PERCENT"), (15_000.0, "KW")])
def test_a_relative_dispatch_that_leaves_nothing_is_refused(value, unit):
    with pytest.raises(InputError):
        asked(event([(RELATIVE, value)], payloadDescriptors=[KW | {"payloadType": RELATIVE, "units": unit}]))
