"""The page on who is on call, with the schedules that the demo has."""

from datetime import datetime
from zoneinfo import ZoneInfo

import orjson
import pytest

from alerts.oncall.people import OnCall
from alerts.oncall.roster import rosters
from alerts.settings import AlertSettings
from dashboard.pages.oncall import body
from service.configuration import SHIPPED, load
from service.demo import ON_CALL, WHO_IS_TOLD
from storage.oncall_records import Override

TAIPEI = ZoneInfo("Asia/Taipei")
NOW = int(datetime(2026, 11, 28, 2, 13, tzinfo=TAIPEI).timestamp() * 1000)
NIGHT = 12 * 3_600_000


@pytest.fixture(scope="module")
def on_call(tmp_path_factory):
    """The shipped rules with the demo's people, as `hallwatch demo` writes them."""
    file = tmp_path_factory.mktemp("config") / "alerts.yaml"
    rules, found, _ = (SHIPPED / "alerts.yaml").read_text(encoding="utf-8").partition(WHO_IS_TOLD)
    assert found
    file.write_text(rules + ON_CALL.read_text(encoding="utf-8"), encoding="utf-8")
    return OnCall(load(file, AlertSettings), TAIPEI)


def page(on_call, *overrides):
    on_call.change(overrides)
    shown = body(on_call, rosters(on_call, overrides, NOW), NOW, "demo")
    return orjson.dumps(
        [part.to_plotly_json() for part in shown], default=lambda o: o.to_plotly_json()
    ).decode()


def test_two_different_people_are_on_call_and_no_hour_is_without(on_call):
    people = {name: rota.on_call(NOW) for name, rota in on_call.rotas().items()}
    assert set(people) == {"facility", "compute"}
    assert len(set(people.values())) == 2
    assert "Somebody is on call at every hour of the next 14 days." in page(on_call)


def test_whom_an_alert_is_told_until_somebody_takes_it_is_listed_with_names(on_call):
    told = page(on_call)
    who = on_call.name_of(on_call.rotas()["facility"].on_call(NOW))
    assert f"{who} (facility)" in told
    assert "at once" in told
    assert "15 min" in told
    assert "Lin Yu-ting (leads)" in told


def test_who_stands_in_is_shown_with_why(on_call):
    stands_in = Override(1, "facility", "jonas", "", NOW, NOW + NIGHT, "demo", "Ting is at a wedding")
    told = page(on_call, stands_in)
    assert "Jonas Weber stands in" in told
    assert "Ting is at a wedding" in told


def test_a_narrow_bar_has_initials(on_call):
    assert '"children":"JW"' in page(on_call)
