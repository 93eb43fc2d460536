"""Device profiles are data: what the files say is checked here, and what a wrong file is told."""

import json
import re

import pytest
import yaml
from jsonschema import Draft202012Validator

from collectors.snmp.profiles import DEVICES, load_profiles, shipped_profiles
from domain.errors import ConfigurationError

FAMILIES = {
    "apc-rpdu", "apc-rpdu2", "apc-cpdu", "apc-epdu", "apc-ups", "apc-ats", "apc-inrow", "apc-inrow-classic",
    "apc-environment", "apc-xpdu", "raritan-pdu1", "raritan-pdu2", "servertech-sentry3", "servertech-sentry4",
    "vertiv-v5", "geist-v3", "geist-v4", "liebert", "liebert-pdu", "eaton-epdu", "eaton-ups", "eaton-ats2", "mge-ups",
    "cyberpower", "rittal-cmc3", "rittal-cmc-tc", "rittal-chiller", "stulz-wib8000", "huawei-ups", "huawei-smu",
    "hpe-mpdu", "hpe-ups", "janitza", "akcp", "netbotz", "netbotz-v2", "enlogic", "carel-pcoweb", "ups-mib",
    "entity-sensor", "if-mib", "system",
}  # fmt: skip


def test_every_promised_family_has_a_profile():
    assert set(shipped_profiles()) >= FAMILIES


@pytest.mark.parametrize("path", sorted(DEVICES.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_profile_file_obeys_the_schema(path):
    def texts(node):  # JSON knows no integer keys; state maps have them
        if isinstance(node, dict):
            return {str(k): texts(v) for k, v in node.items()}
        return [texts(n) for n in node] if isinstance(node, list) else node

    schema = json.loads((DEVICES / "profile.schema.json").read_text())
    errors = list(Draft202012Validator(schema).iter_errors(texts(yaml.safe_load(path.read_text()))))
    assert not [e.message for e in errors]


@pytest.mark.parametrize("profile", shipped_profiles().values(), ids=lambda p: p.name)
def test_a_profile_names_its_source_and_repeats_no_table(profile):
    assert profile.title
    assert profile.source
    oids = [table.oid for table in profile.tables]
    assert len(oids) == len(set(oids))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"point": "ActivePwr"}, "no point type"),
        ({"unit": "furlong"}, "unknown unit"),
        ({"point": "Voltage", "unit": "W"}, "is told in V, not in W"),
        ({"states": "nowhere"}, "no state map"),
        ({"rules": [{"when": {"colour": "red"}, "point": "ActivePower"}]}, "neither index nor field"),
        ({"name": "{colour}"}, "neither index nor field"),
        ({"at": 5.1}, "quotes"),
        ({"symbl": "x"}, "symbl"),
    ],
)
def test_a_wrong_profile_is_told_what_is_wrong_and_where(tmp_path, change, told):
    value = {"at": 5, "symbol": "power", "point": "ActivePower", "unit": "W", **change}
    table = {"oid": "1.3.6.1.4.1.1", "symbol": "t", "index": ["row"], "values": [value]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"name": "mine", "title": "Mine", "tables": [table]}))
    with pytest.raises(ConfigurationError, match=told) as caught:
        load_profiles(tmp_path)
    assert "mine.yaml" in str(caught.value)


def test_a_profile_that_extends_itself_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("{name: a, title: A, extends: [b]}")
    (tmp_path / "b.yaml").write_text("{name: b, title: B, extends: [a]}")
    with pytest.raises(ConfigurationError, match="a circle"):
        load_profiles(tmp_path)


def test_a_file_of_ones_own_may_extend_a_shipped_profile(tmp_path):
    (tmp_path / "my-pdu.yaml").write_text(
        "{name: my-pdu, title: Mine, extends: [apc-rpdu2], match: [{sysDescr: Mine}]}"
    )
    mine = load_profiles(tmp_path, known=shipped_profiles())["my-pdu"]
    assert {t.oid for t in mine.tables} == {t.oid for t in shipped_profiles()["apc-rpdu2"].tables}
    assert not mine.proven


@pytest.mark.parametrize(
    "profile", [shipped_profiles()[n] for n in ("akcp-spagent", "apc-powernet")], ids=lambda p: p.name
)
def test_no_reading_is_how_a_device_is_set_up(profile):
    settings = re.compile(
        r"TableSize|NormalState|AlarmMap|CalibrationOffset|CycleTime|StopBits|SendMail|BaseVoltage|Rearm$|StartTemp"
    )
    assert not [
        v.symbol for t in profile.tables for v in t.values if settings.search(v.symbol) and not v.setpoint
    ]
