from datetime import UTC, datetime

import pytest

from domain.configuration import validated
from domain.errors import ConfigurationError
from domain.site import Site, expand

SMALL = {
    "id": "lab",
    "name": "Lab",
    "timezone": "Asia/Taipei",
    "limit": "600 kW",
    "installed": "640 kW",
    "idle": "60 kW",
    "rack_limit": "145 kW",
    "pods": [{"id": "P1", "racks": "R01..04", "cdus": ["CDU-1"], "busways": ["BUS-A", "BUS-B"], "row": 1}],
    "nodes": [
        {"id": "FEED-A", "type": "Feed", "limit": "400 kW", "serves": ["BUS-A"]},
        {"id": "FEED-B", "type": "Feed", "limit": "400 kW", "serves": ["BUS-B"]},
    ],
}


def test_a_range_stands_for_its_ids():
    assert expand("R008..010") == ["R008", "R009", "R010"]
    assert expand("A05..A07") == ["A05", "A06", "A07"]
    assert expand("UPS-A1") == ["UPS-A1"]


@pytest.mark.parametrize("text", ["A05..B08", "R1-A..R2-A", "A05..", "..08", "A..C", "A05..."])
def test_dots_that_make_no_range_are_no_id(text):
    with pytest.raises(ValueError, match="is no range"):
        expand(text)


def test_quantities_with_units_become_watts_and_ranges_become_racks():
    site = validated(Site, SMALL, "site.yaml")
    assert site.limit == 600e3
    assert site.racks == ("R01", "R02", "R03", "R04")
    assert site.position("R03") == (1, 3)
    assert site.site_meters() == ("FEED-A", "FEED-B")


def test_the_envelope_is_a_tree_with_the_site_at_its_root():
    envelope = validated(Site, SMALL, "site.yaml").envelope()
    assert envelope.site.children == ("FEED-A", "FEED-B")
    assert envelope["R02"].limit == 145e3


def test_of_overlapping_scheduled_limits_the_lowest_holds():
    event = {"start": "2026-07-01T14:00:00+08:00", "end": "2026-07-01T16:00:00+08:00", "limit": "500 kW"}
    lower = {**event, "start": "2026-07-01T15:00:00+08:00", "limit": "400 kW"}
    site = validated(Site, {**SMALL, "schedule": [event, lower]}, "site.yaml").envelope().site

    def at(hour):
        return site.limit_at(int(datetime(2026, 7, 1, hour, 30, tzinfo=UTC).timestamp() * 1000))

    assert (at(5), at(6), at(7), at(8)) == (600e3, 500e3, 400e3, 600e3)


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ({"limit": "600 bananas"}, "limit", "unknown unit 'bananas'"),
        ({"limit": None}, "limit", "write a quantity"),
        ({"timezone": "Taipei"}, "timezone", "no IANA time zone"),
        ({"rack_limt": 1}, "rack_limt", "Did you mean 'rack_limit'"),
        ({"pods": []}, "pods", "at least 1"),
        ({"installed": "10 kW"}, "", "installed must be greater than idle"),
        ({"nodes": [{"id": "F", "type": "Feed", "limit": 1, "serves": ["X"]}]}, "", "serves unknown ids: X"),
        (
            {"schedule": [{"start": "2026-07-01T14:00", "end": "2026-07-01T15:00", "limit": 1}]},
            "schedule.0.start",
            "with its zone",
        ),
    ],
)
def test_a_faulty_site_is_refused_with_the_key_and_the_reason(change, key, message):
    with pytest.raises(ConfigurationError) as caught:
        validated(Site, {**SMALL, **change}, "site.yaml")
    problem = caught.value.problems[0]
    assert problem.key == key
    assert message in str(problem)


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigurationError) as caught:
        validated(Site, {**SMALL, "limit": "x", "timezone": "y", "surprise": 1}, "site.yaml")
    assert len(caught.value.problems) == 3
