"""What `probe snmp` and `doctor` say of a device."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from collectors.snmp.probe import HR_SYSTEM_DATE, date_and_time, examine, probe
from collectors.snmp.settings import Polling, Secrets, Target
from service.cli import app
from tests.servers import Snmpd
from tests.system.snmp_agent import PHASES, POWER_OID, V2C, agent, values

QUICK = Polling(timeout=1.0, retries=0)


async def command(a, *more):
    """Run `hallwatch probe snmp` on an agent."""
    arguments = ["probe", "snmp", f"127.0.0.1:{a.port}", "--timeout", "0.3", "--retries", "0", *more]
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


def at(a, **more):
    return Target(host="127.0.0.1", port=a.port, object_id="PDU-1", **more)


def found(result, about):
    return [(f.level, f.text) for f in result.findings if f.about == about]


HOSTILE = "APC \x1b[2J\x1b]0;owned\x07 \u202egnp.exe \x9b31m \x7f \U000e0041 AP8641"


async def test_no_control_character_of_a_device_reaches_the_terminal():
    objects = values(**{
        "1.3.6.1.2.1.1.1.0": V2C.OctetString(HOSTILE.encode()),
        "1.3.6.1.4.1.318.1.1.26.9.4.3.1.1.1": V2C.Integer(1),
        "1.3.6.1.4.1.318.1.1.26.9.4.3.1.3.1": V2C.OctetString(HOSTILE.encode()),
        "1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.1": V2C.Integer(12),
    })  # fmt: skip
    async with agent(objects) as a:
        text, as_json = await command(a), await command(a, "--json")
    for result in (text, as_json):
        assert result.exit_code == 0
        assert [c for c in result.stdout if not c.isprintable() and c != "\n"] == []
    assert "\\x1b[2J" in text.stdout
    assert json.loads(as_json.stdout)["sysDescr"] == HOSTILE.strip()


async def test_a_device_of_which_nothing_is_read_is_no_success():
    """It answers, but has nothing that anybody knows: 0 readings were told with success."""
    mute = {oid: value for oid, value in values().items() if oid.startswith("1.3.6.1.2.1.1.")}
    mute["1.3.6.1.2.1.1.2.0"] = V2C.ObjectIdentifier("1.3.6.1.4.1.99999.1")
    async with agent(mute) as a:
        result = await command(a)
        as_json = await command(a, "--json")
    assert result.exit_code == as_json.exit_code == 1
    assert "no reading" in result.stdout
    assert "no reading" in as_json.stderr
    assert json.loads(as_json.stdout)["ok"] is False


async def test_the_tables_that_a_device_lacks_are_told():
    async with agent() as a:
        result = await probe("127.0.0.1", a.port)
    missing = {remark.name for remark in result.missing}
    assert "rPDU2BankStatusEntry" in missing or any("Bank" in name for name in missing)
    assert not any("PhaseStatus" in name for name in missing)
    assert "missing: " in result.to_text()


async def test_what_is_set_aside_is_told_with_its_reason():
    def spoil(a, data):
        _, kind, asked = a.asked(data)
        if kind == "get" and POWER_OID in asked:
            return [(0, a.answer(data, status=5, index=0))]
        if kind != "get" and asked[0].startswith(f"{PHASES}.6"):
            return []
        return None

    async with agent(spoil=spoil) as a:
        result = await probe("127.0.0.1", a.port, timeout=0.5, retries=0)
        reasons = {remark.oid: remark.reason for remark in result.set_aside}
        assert "genErr" in reasons[POWER_OID]
        document = result.to_dict()
        row = next(r for r in document["readings"] if r["oid"] == POWER_OID)
        assert "genErr" in row["setAside"]
        assert result.ok
        assert found(result, "readings")


async def test_what_is_seen_in_a_walk_but_not_answered_to_a_get_is_told():
    def spoil(a, data):
        if a.asked(data)[1] != "get":
            return None
        missing = V2C.Null("")
        return [(0, a.answer(data, lambda rows: [(o, missing if o == POWER_OID else v) for o, v in rows]))]

    async with agent(spoil=spoil) as a:
        result = await probe("127.0.0.1", a.port)
        assert any(r.oid == POWER_OID and "not answered to a GET" in r.reason for r in result.set_aside)


async def test_readings_beyond_what_one_device_may_have_are_told():
    async with agent() as a:
        result = await examine(at(a), Secrets(), polling=Polling(max_readings=3))
        beyond = [r for r in result.set_aside if "beyond the 3" in r.reason]
        assert beyond
        assert len([r for r in result.readings if not r.duplicate]) == 3 + len(beyond)


async def test_a_well_device_has_no_problem():
    async with agent() as a:
        result = await examine(at(a), Secrets(), polling=QUICK)
    assert result.ok
    assert result.problems == []
    assert found(result, "reachability") == [("fine", "answers to version 2c")]
    assert found(result, "profile") == [("fine", "apc-rpdu2")]


async def test_a_device_that_is_not_there_is_a_finding_and_no_error():
    async with agent(spoil=lambda *_: []) as a:
        result = await examine(at(a), Secrets(), polling=QUICK)
    assert not result.ok
    assert found(result, "reachability")[0][0] == "problem"
    assert "no answer" in result.problems[0]


async def test_another_version_is_a_finding_about_the_version():
    async with agent(spoil=lambda a, data: None if a.asked(data)[0] == 0 else []) as a:
        result = await examine(at(a), Secrets(), polling=QUICK)
    assert "use version 1" in found(result, "version")[0][1]


async def test_a_profile_that_does_not_exist_is_a_finding_about_the_profile():
    async with agent() as a:
        result = await examine(at(a, profile="no-such"), Secrets(), polling=QUICK)
    assert "no-such" in found(result, "profile")[0][1]


async def test_a_secret_that_is_not_there_is_a_finding_about_credentials(monkeypatch):
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    async with agent() as a:
        target = at(a, credentials={"community_env": "NO_SUCH_SECRET"})
        result = await examine(target, polling=QUICK)
    assert not result.ok
    assert found(result, "credentials")


@pytest.mark.server("snmpd")
async def test_a_wrong_key_is_a_finding_about_credentials(tmp_path):
    secrets = Secrets(version="3", user="watch", auth="SHA256", auth_key="something-else")
    with Snmpd(tmp_path / "snmpd", users=("watch SHA-256 authsecret1 AES privsecret1",)) as server:
        result = await examine(Target(host="127.0.0.1", port=server.port), secrets, polling=QUICK)
    assert found(result, "credentials")[0][0] == "problem"


@pytest.mark.parametrize(("minutes", "level"), [(0, "fine"), (7, "note"), (-7, "note")])
async def test_the_clock_of_a_device_is_compared_where_it_tells_one(minutes, level):
    now = datetime.now(UTC) + timedelta(minutes=minutes)
    octets = now.year.to_bytes(2, "big") + bytes([now.month, now.day, now.hour, now.minute, now.second, 0])
    octets += b"+" + bytes([0, 0])
    async with agent(values(**{HR_SYSTEM_DATE: V2C.OctetString(octets)})) as a:
        result = await examine(at(a), Secrets(), polling=QUICK)
    assert found(result, "clock")[0][0] == level
    assert result.clock_offset == pytest.approx(60 * minutes, abs=30)
    assert result.ok


def test_a_date_and_time_is_read_with_its_zone():
    west = bytes([0x07, 0xEA, 11, 27, 12, 30, 15, 0]) + b"-" + bytes([5, 30])
    assert date_and_time(west) == datetime(2026, 11, 27, 18, 0, 15, tzinfo=UTC)
    assert date_and_time(west[:8]) == datetime(2026, 11, 27, 12, 30, 15, tzinfo=UTC)
    for odd in (b"", b"\0" * 8, b"\xff" * 11, b"\x07\xea\x0d\x01\0\0\0\0"):
        assert date_and_time(odd) is None
