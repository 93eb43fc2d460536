"""What energy partners asked of the site and of its API, and a configuration that names its records by URL."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from domain.grid import GridRequest, Kind, Part, Standing
from storage.grid_records import TakenBefore
from storage.push_records import Push
from storage.usage_records import Refusal
from tests.servers.hallwatch import command

NOW = 1_790_000_000_000
HOUR = 3_600_000
EXAMPLE = Path(__file__).parents[3] / "config" / "examples" / "small-site"
ASKED = GridRequest(
    0, "flex", "acme", "acme", "r1", 0, Kind.LIMIT, (Part("s", NOW, NOW + HOUR, 9e6), Part("s", NOW + HOUR, NOW + 2 * HOUR, float("nan"))),
    "W", "less", False, NOW, Standing.WAITING,
)  # fmt: skip


def test_a_request_of_the_grid_is_kept_once_and_decided_on_in_the_audit(records):
    kept = records.keep_grid_request(ASKED, "digest")
    with pytest.raises(TakenBefore):
        records.keep_grid_request(replace(ASKED, reference="r2"), "digest")
    done = records.decide_grid_request(kept.id, Standing.AGREED, "mei", "fine", NOW)
    assert (done.standing, done.decided_by, done.parts[0].value) == (Standing.AGREED, "mei", 9e6)
    (found,) = records.lasting_grid_requests(NOW, "flex")
    assert found.parts[1].value != found.parts[1].value  # what lifts a limit comes back as such
    assert records.audit_trail()[0].what == "grid request agreed"


def test_calls_of_partners_add_up_and_refusals_are_listed(records):
    key = (NOW // HOUR, "acme", "/demand", 200)
    records.add_usage({key: 3})
    records.add_usage({key: 4}, [Refusal(NOW, "acme", "hw_1", "::1", "/energy", 403, "not shown")])
    (used,) = records.usage(NOW - HOUR, NOW + HOUR)
    assert (used.partner, used.calls) == ("acme", 7)
    assert records.refusals(NOW - HOUR, NOW + HOUR)[0].reason == "not shown"


def test_a_push_waits_once_and_the_oldest_gives_way(records):
    pushes = [Push("acme hook", f"e{n}", "{}", NOW + n) for n in range(3)]
    assert records.queue_pushes([*pushes, pushes[0]], most=2) == 1
    waiting = records.due_pushes(NOW + HOUR, 10)
    assert [push.event for push in waiting] == ["e1", "e2"]
    records.settle_push(waiting[0].id, "delivered")
    assert [push.event for push in records.due_pushes(NOW + HOUR, 10)] == ["e2"]


def test_a_configuration_names_its_records_and_commands_use_them(url, tmp_path):
    folder = shutil.copytree(EXAMPLE, tmp_path / "mine")
    settings = folder / "hallwatch.yaml"
    settings.write_text(
        settings.read_text(encoding="utf-8") + f"\nrecords: {json.dumps(url)}\n", encoding="utf-8"
    )
    command("apikey", "add", "acme", "-c", folder)
    assert "acme" in command("apikey", "list", "-c", folder)
    assert "made API key" in command("audit", "-c", folder)
