"""The configuration file: what ships is right, and what is wrong is told with file, key and remedy."""

import json
import re
from pathlib import Path

import pytest
import yaml

from alerts.notify.build import build_notifiers
from alerts.settings import AlertSettings
from domain.alert import Severity
from domain.catalogue import CONTRACT
from domain.configuration import validated
from domain.errors import ConfigurationError

ROOT = Path(__file__).parents[3]
LEAK = {"name": "leak", "kind": "state", "points": ["RackLeakDetect"], "normal": [0], "severity": "critical"}
AM = {"kind": "alertmanager", "urls": ["http://127.0.0.1:9093"]}
MAIL = {"kind": "smtp", "host": "h", "sender": "a@b.example", "recipients": ["c@d.example"]}


def test_the_shipped_rules_cover_what_every_factory_needs(shipped):
    kinds = {rule.kind for rule in shipped.rules}
    assert kinds == {
        "envelope_exceeded",
        "envelope_predicted",
        "limit",
        "state",
        "stale_source",
        "forecast_age",
        "shared_cause",
        "evaluation_error",
    }
    by_name = {rule.name: rule for rule in shipped.rules}
    assert by_name["leak"].severity.rank > by_name["leak-sensor-fault"].severity.rank


def test_every_leak_point_of_the_contract_is_watched_by_a_shipped_rule(shipped):
    watched = {p for rule in shipped.rules if rule.kind == "state" for p in rule.points}
    assert {p for points in CONTRACT.values() for p in points if "Leak" in p} <= watched


def test_the_published_schema_is_that_of_the_model():
    published = json.loads((ROOT / "config/schemas/alerts.schema.json").read_text(encoding="utf-8"))
    assert published == AlertSettings.model_json_schema(by_alias=True)


def test_the_how_to_explains_every_key():
    text = (ROOT / "docs/how-to/alerts.md").read_text(encoding="utf-8")
    schema = AlertSettings.model_json_schema(by_alias=True)
    parts = [schema, *(d for d in schema["$defs"].values() if "properties" in d)]
    keys = {key for part in parts for key in part["properties"]}
    missing = sorted(key for key in keys if f"`{key}`" not in text)
    assert missing == []


def test_the_how_to_examples_are_valid():
    text = (ROOT / "docs/how-to/alerts.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        validated(AlertSettings, yaml.safe_load(example), "alerts.md")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rules": [{**LEAK, "severity": "severe"}]}, "severity"),
        ({"rules": [{**LEAK, "points": ["RackLeek"]}]}, "'RackLeek' is no point type"),
        ({"rules": [{**LEAK, "points": ["RackPower"]}]}, "use a rule of kind 'limit'"),
        ({"rules": [{**LEAK, "for": "soon"}]}, "not a quantity"),
        ({"rules": [{**LEAK, "for": "3 kW"}]}, "a quantity in s is wanted"),
        ({"rules": [{**LEAK, "hystersis": 3}]}, "not a known key"),
        ({"rules": [LEAK, LEAK]}, "rules of the same name: leak"),
        (
            {"rules": [{"name": "x", "kind": "limit", "points": ["GpuTemperature"], "severity": "info"}]},
            "either 'above' or 'below'",
        ),
        (
            {
                "rules": [
                    {
                        "name": "x",
                        "kind": "limit",
                        "points": ["GpuTemperature"],
                        "above": "3 bar",
                        "severity": "info",
                    }
                ]
            },
            "thermal limits: gpu",
        ),
        ({"inhibitions": [{"when": "a", "mutes": ["b"]}]}, "unknown rules: a, b"),
        ({"routes": [{"severities": ["critical"], "channels": ["pager"]}]}, "unknown channels: pager"),
        ({"routes": [{"severities": ["critical"], "escalate_after": "5 min"}]}, "both 'escalate_after'"),
        (
            {"channels": {"mail": {**MAIL, "fallback": "pager"}}},
            "mail falls back on pager, which is no channel",
        ),
        (
            {"channels": {"a": {**MAIL, "fallback": "b"}, "b": {**MAIL, "fallback": "a"}}},
            "channels fall back in a circle: a, b, a",
        ),
        (
            {
                "channels": {
                    "a": {**MAIL, "recipients": ["x@y.example", "z@y.example"]},
                    "a/x@y.example": MAIL,
                }
            },
            "a channel and a recipient are both called 'a/x@y.example'",
        ),
        ({"channels": {"a": {**MAIL, "recipients": ["x@y.example"] * 2}}}, "named twice"),
        ({"channels": {"a": {**MAIL, "recipients": [f"{n}@y.example" for n in range(51)]}}}, "at most 50"),
        ({"channels": {"a" * 201: MAIL}}, "200 characters at most"),
        ({"channels": {"am": {**AM, "labels": {"severity": "x"}}}}, "that Hallwatch sets itself: severity"),
        ({"channels": {"am": {**AM, "labels": {"a-b": "x"}}}}, "should match pattern"),
        ({"channels": {"am": {**AM, "expire": "40 s"}}}, "twice resend at least"),
        ({"channels": {"am": {**AM, "urls": [f"http://a{n}" for n in range(11)]}}}, "at most 10"),
    ],
)
def test_a_mistake_is_told_with_file_key_and_remedy(change, expected):
    with pytest.raises(ConfigurationError) as told:
        validated(AlertSettings, change, "alerts.yaml")
    assert "alerts.yaml" in str(told.value)
    assert expected in str(told.value)


def test_a_secret_that_is_not_there_is_told_by_the_name_of_where_it_should_be(tmp_path):
    def channel(**more):
        return AlertSettings.model_validate(
            {"channels": {"hook": {"kind": "webhook", "url": "http://127.0.0.1/", **more}}}
        ).channels

    with pytest.raises(ConfigurationError, match="HALLWATCH_NO_SUCH"):
        build_notifiers(channel(secret_env="HALLWATCH_NO_SUCH"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        build_notifiers(channel(secret_file=str(tmp_path / "none")))


def test_of_several_recipients_each_is_told_and_kept_apart():
    channels = {
        "mail": {**MAIL, "recipients": ["x@y.example", "z@y.example"], "fallback": "other"},
        "other": MAIL,
    }
    settings = AlertSettings.model_validate({"channels": channels})
    assert settings.targets(["mail", "other"]) == ["mail/x@y.example", "mail/z@y.example", "other"]
    assert set(settings.fallbacks()) == {"mail", "mail/x@y.example", "mail/z@y.example"}
    assert set(build_notifiers(settings.channels)) == {
        "mail",
        "other",
        "mail/x@y.example",
        "mail/z@y.example",
    }


def test_states_are_normal_by_the_labels_that_the_device_gives_them(lab):
    plant = lab({**LEAK, "normal": ["Dry", 0]})
    usual = plant.point("Rack", "RackLeakDetect", "R001", states=((0, "NoLeak"), (1, "Leak")))
    upside = plant.point("Rack", "RackLeakDetect", "R002", states=((0, "Wet"), (1, "dry")))
    plant.read([usual, upside], [0, 1])
    assert plant.step() == []
    plant.at(2).read([usual, upside], [1, 0])
    assert plant.step() == [("opened", "leak/R001"), ("opened", "leak/R002")]
    assert plant.active["leak/R002"].condition.summary.startswith("R002: Wet")


def test_a_limit_may_be_a_lower_one_and_only_on_some_equipment(lab):
    plant = lab(
        {
            "name": "low-pressure",
            "kind": "limit",
            "points": ["LiquidPressure"],
            "object_types": ["CDU"],
            "process_area": ["Supply"],
            "below": "150 kPa",
            "severity": "warning",
        }
    )
    area = {"process_area": ("Supply",), "unit": "Pa"}
    cdu = plant.point("CDU", "LiquidPressure", "CDU1", **area)
    other = plant.point("Sensor", "LiquidPressure", "S1", **area)
    back = plant.point("CDU", "LiquidPressure", "CDU2", unit="Pa", process_area=("Return",))
    setpoint = plant.point("CDU", "LiquidPressure", "CDU3", setpoint=True, **area)
    plant.read([cdu, other, back, setpoint], 140e3)
    assert plant.step() == [("opened", "low-pressure/CDU1")]
    assert "is 140.0 kPa, limit 150.0 kPa" in plant.active["low-pressure/CDU1"].condition.summary.replace(
        "140 kPa", "140.0 kPa"
    ).replace("150 kPa", "150.0 kPa")


def test_four_priorities_tell_how_soon_somebody_must_act(shipped):
    assert [s.value for s in sorted(Severity, key=lambda s: -s.rank)] == [
        "critical",
        "high",
        "warning",
        "info",
    ]
    severity = {rule.name: rule.severity for rule in shipped.rules}
    assert severity["leak"] is Severity.CRITICAL
    assert severity["cdu-stopped"] is Severity.HIGH
    assert severity["source-silent"] is Severity.WARNING
    assert severity["maintenance-due"] is Severity.INFO
    told = {s for route in shipped.routes for s in route.severities}
    assert told == {Severity.CRITICAL, Severity.HIGH, Severity.WARNING}
