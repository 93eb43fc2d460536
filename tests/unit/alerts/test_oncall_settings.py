"""People, schedules and escalations as they are written down, and what is wrong with them."""

import pytest
import yaml

from alerts.settings import AlertSettings
from domain.configuration import validated
from domain.errors import ConfigurationError

SMTP = {"kind": "smtp", "host": "127.0.0.1", "sender": "a@b.example"}
MEI = {"reach": ["mail"]}
LAYER = {"people": ["mei"], "start": "2026-01-05"}


def read(**on_call):
    return validated(
        AlertSettings,
        {
            "channels": {
                "mail": {**SMTP, "recipients": ["mei@b.example"]},
                "all": {**SMTP, "recipients": ["lin@b.example", "tom@b.example"]},
            },
            "on_call": {"people": {"mei": MEI}, **on_call},
        },
        "alerts.yaml",
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"people": {"mei": {"reach": ["pager"]}}}, "person mei names unknown channels: pager"),
        ({"people": {"mei": {"reach": ["all/zoe@b.example"]}}}, "unknown channels: all/zoe@b.example"),
        ({"people": {"mei": MEI, "lin": MEI}}, "mail tells both mei and lin"),
        ({"people": {"mei": {**MEI, "timezone": "Asia"}}}, "'Asia' is no IANA time zone"),
        ({"people": {"mei": {**MEI, "quiet": [{"severities": ["critical"]}]}}}, "leave critical out"),
        ({"people": {"mei": {**MEI, "quiet": [{"from": "25:00"}]}}}, "no time of day"),
        ({"people": {"mei": {**MEI, "quiet": [{"days": "monday"}]}}}, "'monday' is no day"),
        ({"teams": {"t": ["lin"]}}, "team t names unknown people: lin"),
        ({"teams": {"mei": ["mei"]}}, "a person and a team are both called mei"),
        ({"schedules": {"s": {"layers": [{**LAYER, "people": ["lin"]}]}}}, "schedule s names unknown people"),
        ({"schedules": {"s": {"layers": [{**LAYER, "until": "2026-01-05"}]}}}, "until must come after start"),
        ({"schedules": {"s": {"layers": [LAYER] * 11}}}, "at most 10"),
        ({"schedules": {"s": {"layers": [{**LAYER, "only": [{"days": "mon"}] * 21}]}}}, "at most 20"),
        ({"schedules": {"s": {"layers": [{**LAYER, "turn_days": 367}]}}}, "366"),
        ({"people": {f"p{n}": MEI for n in range(201)}}, "at most 200"),
        ({"escalations": {"e": {"steps": [{"after": 0}]}}}, "a step tells somebody"),
        ({"escalations": {"e": {"steps": [{"people": ["mei"]}] * 21}}}, "at most 20"),
        ({"escalations": {"e": {"steps": [{"after": 60, "people": ["mei"]}]}}}, "its 'after' is 0"),
        (
            {"escalations": {"e": {"steps": [{"people": ["mei"]}], "repeat": 2, "repeat_after": "5 s"}}},
            "greater than or equal to 60",
        ),
        ({"escalations": {"e": {"steps": [{"people": ["mei"]}], "repeat": 1001}}}, "1000"),
        ({"escalations": {"e": {"steps": [{"schedules": ["s"]}]}}}, "unknown schedules: s"),
        ({"fallback": ["nobody"]}, "fallback names unknown channels: nobody"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_to_do(change, expected):
    with pytest.raises(ConfigurationError) as told:
        read(**change)
    assert "on_call" in str(told.value) or "alerts.yaml" in str(told.value)
    assert expected in str(told.value)


def test_a_route_names_an_escalation_and_kinds_that_there_are():
    for route, expected in (
        ({"escalation": "e"}, "add it under 'on_call: escalations'"),
        ({"kinds": ["leak"]}, "kinds that no rule has: leak"),
    ):
        with pytest.raises(ConfigurationError, match=expected):
            validated(AlertSettings, {"routes": [{"severities": ["critical"], **route}]}, "alerts.yaml")


def test_hours_are_read_as_yaml_reads_them():
    """YAML 1.1 takes 22:00 for a number of base sixty, 1320, and 07:00 for a text."""
    (window,) = read(
        people={"mei": {**MEI, "quiet": yaml.safe_load("[{from: 22:00, to: 07:00, days: [sat-sun, fri]}]")}}
    ).on_call.people["mei"].quiet  # fmt: skip
    assert (window.begin, window.end, window.days) == (22 * 60, 7 * 60, ("fri", "sat", "sun"))
    (over,) = read(people={"mei": {**MEI, "quiet": [{"days": "fri-mon"}]}}).on_call.people["mei"].quiet
    assert over.days == ("mon", "fri", "sat", "sun")


def test_a_recipient_is_a_persons_by_the_name_that_its_deliveries_have():
    settings = read(
        people={
            "mei": {"reach": ["mail/mei@b.example"]},
            "lin": {"reach": ["all/lin@b.example"], "name": "Lin"},
        }
    )
    assert {target: key for target, (key, _) in settings.people().items()} == {
        "mail": "mei",
        "all/lin@b.example": "lin",
    }
