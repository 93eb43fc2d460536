"""`hallwatch rules`: listed, tested by timelines, and tried on what is stored, with the service running and at rest."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from domain.errors import ConfigurationError, InputError
from service.cli import app
from service.running import find
from tests.servers.hallwatch import SITE, Service, hallwatch, write_configuration

ROOT = Path(__file__).parents[2]
FROM, UNTIL = "2026-11-01T00:00Z", "2026-11-01T00:03Z"
HIGH = {
    "name": "rack-power-high",
    "kind": "limit",
    "points": ["RackPower"],
    "above": "1 MW",
    "severity": "warning",
}
SILENT = {"name": "silent", "kind": "stale_source", "severity": "warning"}
MAIL = {"kind": "smtp", "host": "127.0.0.1", "sender": "a@b.example", "recipients": ["c@d.example"]}
ALERTS = {
    "rules": [HIGH, SILENT],
    "routes": [{"severities": ["warning"], "channels": ["mail"]}],
    "channels": {"mail": MAIL},
}
TIMELINE = {
    "name": "A rack above its limit is told, and taken",
    "points": {"power": {"object": "R1", "object_type": "Rack", "type": "RackPower"}},
    "steps": [
        {"at": "0 s", "read": {"power": "900 kW"}, "active": [], "told": {}},
        {
            "at": "10 s",
            "read": {"power": "1.1 MW"},
            "active": {"rack-power-high/R1": "warning"},
            "told": {"mail": ["opened rack-power-high/R1"]},
        },
        {"at": "20 s", "acknowledge": "rack-power-high/R1"},
        {
            "at": "30 s",
            "read": {"power": 900_000},
            "active": [],
            "told": {"mail": ["cleared rack-power-high/R1"]},
        },
    ],
}


def command(*arguments):
    """Run a command in this process, which saves its imports; errors are raised."""
    ran = CliRunner().invoke(app, [*map(str, arguments)])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran


@pytest.fixture
def config(tmp_path):
    return write_configuration(tmp_path / "config", {}, SITE, ALERTS)


def written(folder, **changes):
    file = folder / "timelines.yaml"
    file.write_text(yaml.safe_dump({"timelines": [{**TIMELINE, **changes}]}))
    return file


def test_the_shipped_rules_do_what_their_tests_say():
    ran = command(
        "rules", "test", ROOT / "config/alerts.tests.yaml", "-c", ROOT / "config/examples/small-site"
    )
    assert ran.exit_code == 0, ran.stdout
    assert "timelines went as written" in ran.stdout


def test_a_timeline_sees_alerts_and_pages_and_tells_where_it_differs(config, tmp_path):
    ran = command("rules", "test", written(tmp_path), "-c", config)
    assert ran.exit_code == 0, ran.stdout

    steps = [
        *TIMELINE["steps"][:1],
        {"at": "10 s", "active": ["rack-power-high/R1"], "told": {"mail": ["x"]}},
    ]
    ran = command("rules", "test", written(tmp_path, steps=steps), "-c", config, "--json")
    assert ran.exit_code == 1
    (outcome,) = json.loads(ran.stdout)
    assert outcome["faults"] == [
        "at 10 s: active: expected rack-power-high/R1; found nothing",
        "at 10 s: told mail: expected x; found nothing",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": [{"at": "0 s", "read": {"powre": 1}}]}, "reads unknown points: powre"),
        ({"steps": [{"at": "0 s", "read": {"power": "3 Cel"}}]}, "reads power: "),
        ({"steps": [{"at": "9 s"}, {"at": "2 s"}]}, "put them in order"),
        ({"start": "noon"}, "'noon' is no time"),
        (
            {"points": {"leak": {"object": "R1", "object_type": "Rack", "type": "RackLeakDetect"}}},
            "write 'states'",
        ),
        ({"rules": ["rack-pwoer"]}, "there is no rule rack-pwoer"),
        ({"steps": [{"at": "365 d"}]}, "write a longer 'every'"),
    ],
)
def test_what_a_timeline_cannot_be_is_told(config, tmp_path, changes, message):
    with pytest.raises((ConfigurationError, InputError), match=message):
        command("rules", "test", written(tmp_path, **changes), "-c", config)


def test_rules_are_listed(config):
    told = json.loads(command("rules", "list", "-c", config, "--json").stdout)
    assert [rule["name"] for rule in told] == ["rack-power-high", "silent"]
    assert "rack-power-high" in command("rules", "list", "-c", config).stdout


def test_what_a_changed_rule_would_have_done_is_told_from_the_running_service_and_at_rest(
    config, tmp_path, testdata
):
    service = Service(config)
    with service:
        hallwatch(
            "replay",
            testdata / "dsx" / "exemplar.csv",
            "--speed",
            "0",
            "--start",
            FROM,
            "--data",
            service.data,
        )
        powers = json.loads(
            command(
                "query", "*/RackPower", "--since", FROM, "--until", UNTIL, "--json", "--data", service.data
            ).stdout
        )
        highest = {p["objectId"]: max(p["value"]) for p in powers}
        limit = sorted(highest.values())[2]
        above = {rack for rack, power in highest.items() if power > limit}
        assert 0 < len(above) < len(highest)
        changed = tmp_path / "changed.yaml"
        changed.write_text(yaml.safe_dump({**ALERTS, "rules": [{**HIGH, "above": limit}, SILENT]}))
        arguments = ("rules", "replay", "-c", config, "--since", FROM, "--until", UNTIL, "--every", "10s")

        before = json.loads(command(*arguments, "--json").stdout)
        assert before["raised"] == []
        running = json.loads(command(*arguments, "--rules", changed, "--json").stdout)
        assert {r["object_id"] for r in running["raised"]} == above
        assert running["told"]["mail"] >= len(above)
        assert running["left_out"] == {"silent": "when readings came in is not stored"}
        printed = command(*arguments, "--rules", changed).stdout
        assert "mail would have been told of" in printed
        assert "Not replayed: silent" in printed
        assert service.health()["alerts"]["opened"] == 0, "a trial alerts nobody"
        with pytest.raises(InputError, match="there is no rule nothing"):
            command(*arguments, "--rule", "nothing")
    at_rest = json.loads(command(*arguments, "--rules", changed, "--json").stdout)
    assert at_rest == running


def test_more_history_than_fits_is_refused(config):
    with Service(config) as service:
        with pytest.raises(InputError, match="write a longer --every"):
            command("rules", "replay", "-c", config, "--since", "365d", "--every", "1s")
        asked = {"points": [0], "start": 0, "end": 10**13, "step": 1000, "how": "last"}
        with pytest.raises(InputError, match="ask for less at a time"):
            find(service.data).call("POST", "history", json=asked)
