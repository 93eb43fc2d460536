"""`hallwatch points`: what is known, and taking it out of use, with the service running and with its folder at rest."""

import json

import pytest
from typer.testing import CliRunner

from domain.errors import InputError
from service.cli import app
from tests.servers.hallwatch import SITE, Service, hallwatch, write_configuration

FROM, UNTIL = "2026-11-01T00:00Z", "2026-11-01T00:02Z"


@pytest.fixture
def service(tmp_path, testdata):
    service = Service(write_configuration(tmp_path / "config", {}, SITE, {}))
    capture = testdata / "dsx" / "exemplar.csv"
    with service:
        hallwatch("replay", capture, "--speed", "0", "--start", FROM, "--data", service.data)
        yield service


def points(service, *arguments):
    """Run a command in this process, which saves its imports; errors are raised."""
    ran = CliRunner().invoke(app, [*map(str, arguments), "--data", str(service.data)])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran.stdout


def listed(service, *arguments):
    return json.loads(points(service, "points", "list", *arguments, "--json"))


def history(service, key):
    told = points(service, "query", key, "--since", FROM, "--until", UNTIL, "--json")
    return json.loads(told)[0]["value"]


def test_points_are_listed_and_retired_in_the_running_service_and_at_rest(service):
    told = listed(service)
    assert told["total"] == len(told["points"]) == sum(told["by_source"].values()) >= 166
    racks = listed(service, "*/RackPower")
    assert racks["total"] == 6
    assert all(p["age_s"] > 0 and p["source"] == "dsx:replay" for p in racks["points"])
    shown = points(service, "points", "list", "--source", "dsx:*", "--limit", "3")
    assert "more (--limit)" in shown
    assert " d ago" in shown
    unheard = listed(service, "--older-than", "30000d")["points"]
    assert {p["newest"] for p in unheard} <= {None}, "only those that never told anything"

    with pytest.raises(InputError, match="say which points"):
        points(service, "points", "retire")
    with pytest.raises(InputError, match="say --yes"):
        points(service, "points", "retire", "*/RackPower")
    assert listed(service, "*/RackPower")["total"] == 6

    before = service.health()["points"]
    assert "6 points are retired" in points(service, "points", "retire", "*/RackPower", "--yes")
    assert service.health()["points"] == before - 6
    assert listed(service, "*/RackPower")["total"] == 0
    assert listed(service, "*/RackPower", "--retired")["total"] == 6
    key = racks["points"][0]["key"]
    assert len(history(service, key)) > 10, "history stays"

    assert service.stop() == 0
    assert listed(service, "*/RackPower", "--retired")["total"] == 6, "it lasts"
    assert "1 points are in use again" in points(service, "points", "readmit", key)
    assert listed(service, "*/RackPower")["total"] == 1
    gone = json.loads(points(service, "points", "retire", key, "--with-readings", "--yes", "--json"))
    assert gone["retired"] == 1
    assert gone["readings_removed"] > 10
    assert history(service, key) == []
    with pytest.raises(InputError, match="no point in use"):
        points(service, "points", "retire", "no/such*")
