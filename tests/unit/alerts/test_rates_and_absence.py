"""Rules of change, of absence, and what is otherwise for some objects."""

import pytest

from alerts.settings import AlertSettings
from domain.alert import Severity
from domain.errors import ConfigurationError
from service.configuration import load

WARMING = {
    "name": "warming",
    "kind": "rate_of_change",
    "points": ["RackLiquidSupplyTemperature"],
    "by": "4 Cel",
    "within": "2 min",
    "severity": "critical",
}
UNMEASURED = {
    "name": "unmeasured",
    "kind": "absence",
    "points": ["RackPower"],
    "after": "5 min",
    "severity": "warning",
}
COOLANT = {
    "name": "coolant",
    "kind": "limit",
    "points": ["RackLiquidSupplyTemperature"],
    "above": "40 Cel",
    "hysteresis": 1,
    "severity": "critical",
    "overrides": [
        {"objects": ["R002"], "limit": "45 Cel", "severity": "warning"},
        {"objects": ["R003"], "enabled": False},
    ],
}


def supplies(plant, racks=4):
    return [
        plant.point("Rack", "RackLiquidSupplyTemperature", f"R00{n}", unit="Cel") for n in range(1, racks + 1)
    ]


def warm(plant, point, seconds, value):
    plant.at(seconds).read(point, value)
    return plant.step()


def test_coolant_that_warms_by_four_kelvin_in_two_minutes_alerts_although_it_is_below_every_limit(lab):
    plant = lab(WARMING)
    rack, *_ = supplies(plant)
    told = [e for t in range(0, 121, 10) for e in warm(plant, rack, t, 32 + 4 * t / 120)]
    assert told == [("opened", "warming/R001")]
    alert = plant.active["warming/R001"].condition
    assert (alert.value, alert.limit) == (pytest.approx(4.0), 4.0)
    assert "has risen by 4.00 °C within 2 min, to 36.0 °C (limit 4.00 °C)" in alert.summary


def test_the_same_warming_over_an_hour_is_none(lab):
    plant = lab(WARMING)
    rack, *_ = supplies(plant)
    assert [e for t in range(0, 3600, 30) for e in warm(plant, rack, t, 32 + 6 * t / 3600)] == []


def test_a_fast_change_is_over_once_the_value_has_been_steady_for_as_long(lab):
    plant = lab(WARMING)
    rack, *_ = supplies(plant)
    warm(plant, rack, 0, 32)
    assert warm(plant, rack, 10, 37) == [("opened", "warming/R001")]
    assert warm(plant, rack, 100, 37) == []
    assert warm(plant, rack, 131, 37) == [("cleared", "warming/R001")]


def test_what_falls_fast_is_told_where_the_rule_asks_for_it_and_only_there(lab):
    rises, falls = {**WARMING, "name": "rises"}, {**WARMING, "name": "falls", "direction": "falls"}
    either = {**WARMING, "name": "either", "direction": "either"}
    plant = lab(rises, falls, either)
    rack, *_ = supplies(plant)
    warm(plant, rack, 0, 40)
    warm(plant, rack, 20, 35)
    assert set(plant.active) == {"falls/R001", "either/R001"}


def test_after_a_restart_a_fast_change_holds_on_until_the_rule_knows_again(lab):
    plant = lab(WARMING)
    rack, *_ = supplies(plant)
    warm(plant, rack, 0, 32)
    warm(plant, rack, 10, 37)
    plant.restart()
    assert warm(plant, rack, 20, 37) == []
    assert warm(plant, rack, 100, 37) == []
    assert "warming/R001" in plant.active
    assert warm(plant, rack, 141, 37) == [("cleared", "warming/R001")]


def test_a_point_that_is_announced_meanwhile_does_not_disturb_what_is_remembered_of_the_others(lab):
    plant = lab(WARMING)
    rack = plant.point("Rack", "RackLiquidSupplyTemperature", "R001", unit="Cel")
    warm(plant, rack, 0, 32)
    other = plant.point("Rack", "RackLiquidSupplyTemperature", "R000", unit="Cel")
    plant.at(10).read([rack, other], [37, 50])
    assert plant.step() == [("opened", "warming/R001")]


def test_a_rule_of_change_remembers_no_more_than_its_samples(lab):
    plant = lab({**WARMING, "within": "1 min"})
    rack, *_ = supplies(plant)
    for t in range(0, 600, 1):
        warm(plant, rack, t, 32)
    (rule,) = plant.engine.rules
    assert len(rule._past) <= 31


def test_a_reading_that_stays_away_is_told_although_its_source_is_heard(lab):
    plant = lab(UNMEASURED)
    power = plant.point("Rack", "RackPower", "R001", source="dsx:bms")
    flow = plant.point("Rack", "RackLiquidFlow", "R001", unit="L/min", source="dsx:bms")
    plant.read([power, flow], 100)
    assert plant.step() == []
    plant.at(290).read(flow, 100)
    assert plant.step() == []
    plant.at(301).read(flow, 100)
    assert plant.step() == [("opened", "unmeasured/R001")]
    assert "no electric power of a rack since 2026-09-21 08:00:00 (limit 5 min)" in (
        plant.active["unmeasured/R001"].condition.summary
    )
    plant.at(310).read(power, 90)
    assert plant.step() == [("cleared", "unmeasured/R001")]


def test_an_object_that_must_be_measured_and_never_was_is_told(lab):
    plant = lab({**UNMEASURED, "objects": ["R00[12]"]})
    plant.read(plant.point("Rack", "RackPower", "R001"), 100)
    plant.step()
    plant.at(200).read(0, 100)
    plant.step()
    assert plant.at(301).step() == [("opened", "unmeasured/R002")]
    assert "no electric power of a rack ever" in plant.active["unmeasured/R002"].condition.summary


def test_some_objects_have_another_limit_another_severity_or_none(lab):
    plant = lab(COOLANT)
    racks = supplies(plant)
    plant.read(racks, 42)
    assert {key for _, key in plant.step()} == {"coolant/R001", "coolant/R004"}
    plant.at(10).read(racks, 46)
    plant.step()
    found = {key: a.condition.severity for key, a in plant.active.items()}
    assert found == {
        "coolant/R001": Severity.CRITICAL,
        "coolant/R002": Severity.WARNING,
        "coolant/R004": Severity.CRITICAL,
    }
    assert plant.active["coolant/R002"].condition.limit == 45
    plant.at(20).read(racks, 38)
    assert len(plant.step()) == 3


def test_an_alert_ends_once_an_override_leaves_its_object_out(lab):
    rule = {
        "name": "leak",
        "kind": "state",
        "points": ["RackLeakDetect"],
        "normal": ["0"],
        "severity": "critical",
    }
    plant = lab(rule)
    leak = plant.point("Rack", "RackLeakDetect", "R001", states=((0, "NoLeak"), (1, "Leak")))
    plant.read(leak, 1)
    assert plant.step() == [("opened", "leak/R001")]
    other = AlertSettings.model_validate(
        {"rules": [rule | {"overrides": [{"objects": ["R001"], "enabled": False}]}]}
    )
    plant.restart(rules=other.rules)
    plant.at(10).read(leak, 1)
    assert plant.step() == [("cleared", "leak/R001")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"by": "4 kW"}, "kW"),
        ({"by": "-4 Cel"}, "'by' must be above 0"),
        ({"within": "2 h"}, "less than or equal to 3600"),
        ({"points": ["RackLeakDetect"]}, "use a rule of kind 'state'"),
    ],
)
def test_what_a_rule_of_change_cannot_be_is_told(tmp_path, changes, message):
    import yaml

    file = tmp_path / "alerts.yaml"
    file.write_text(yaml.safe_dump({"rules": [{**WARMING, **changes}]}))
    with pytest.raises(ConfigurationError) as error:
        load(file, AlertSettings)
    assert message in str(error.value)
