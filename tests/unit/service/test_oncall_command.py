"""Who is on call, shown and changed at the command line."""

import json
import shutil

import yaml
from typer.testing import CliRunner

from domain.errors import InputError
from service.cli import app
from service.configuration import SHIPPED

EXAMPLE = SHIPPED / "examples" / "small-site"


def test_who_is_on_call_is_shown_and_changed_by_command(tmp_path):
    copy = shutil.copytree(EXAMPLE, tmp_path / "mine")
    mail = {
        "kind": "smtp",
        "host": "127.0.0.1",
        "sender": "a@b.example",
        "recipients": ["m@b.example", "j@b.example"],
    }
    people = {
        "mei": {"name": "Mei Chen", "reach": ["mail/m@b.example"]},
        "jonas": {"reach": ["mail/j@b.example"], "timezone": "America/New_York"},
    }
    weekly = {"people": ["mei"], "start": "2026-01-05"}
    office = weekly | {"only": [{"days": "mon-fri", "from": "09:00", "to": "17:00"}]}
    schedules = {
        "primary": {"timezone": "Europe/Berlin", "layers": [weekly]},
        "office": {"timezone": "Europe/Berlin", "layers": [office]},
    }
    alerts = yaml.safe_load((copy / "alerts.yaml").read_text()) | {
        "channels": {"mail": mail},
        "on_call": {"people": people, "schedules": schedules, "fallback": ["jonas"]},
    }
    (copy / "alerts.yaml").write_text(yaml.safe_dump(alerts))

    def oncall(*words):
        done = CliRunner().invoke(app, ["oncall", words[0], "-c", str(copy), *words[1:]])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def who(at):
        told = oncall("who", "--at", at, "--json")
        return {one["schedule"]: one["person"] for one in json.loads(told.stdout)}, told.exit_code

    assert who("2027-03-26T12:00+01:00") == ({"primary": "mei", "office": "mei"}, 0)
    assert who("2027-03-27T12:00+01:00") == ({"primary": "mei", "office": None}, 1)
    # over the night on which the clocks change: nine is nine
    span = ("--from", "2027-03-27T09:00", "--to", "2027-03-28T09:00")
    made = oncall("override", "primary", "jonas", *span, "--note", "dentist", "--who", "anna")
    assert "from Sat 2027-03-27 09:00 CET to Sun 2027-03-28 09:00 CEST" in made.stdout
    assert who("2027-03-28T08:59+02:00")[0]["primary"] == "jonas"
    assert who("2027-03-28T09:00+02:00")[0]["primary"] == "mei"
    assert "Sun 2027-03-28 03:00 EDT" in oncall("show", "--for", "jonas", "--days", "1").stdout
    oncall("end", "1")
    assert who("2027-03-28T08:59+02:00")[0]["primary"] == "mei"
    swapped = oncall("swap", "primary", "mei", "jonas", *span)
    assert "mei and jonas swap by primary" in swapped.stdout
    unknown = CliRunner().invoke(app, ["oncall", "override", "-c", str(copy), "primary", "tom", *span])
    assert isinstance(unknown.exception, InputError)
    assert "nobody called 'tom'" in str(unknown.exception)
