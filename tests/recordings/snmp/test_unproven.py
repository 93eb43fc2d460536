"""Families that no recording proves: an agent made from the vendor's MIB, on real UDP, must be known and read rightly.

It proves no profile: what the MIB leaves out stays a guess, and the page of families says so.
"""

import pytest
import yaml

from collectors.snmp.probe import probe
from collectors.snmp.profiles import DEVICES, shipped_profiles
from collectors.snmp.settings import Secrets
from domain.units import UNITS
from tests.recordings.snmp.mib_agent import build, told_of
from tests.system.snmp_agent import quick_agent

STANDARDS = {"system", "if-mib", "entity-sensor", "ups-mib"}
UNPROVEN = sorted(p.name for p in shipped_profiles().values() if not p.proven and p.name not in STANDARDS)


@pytest.mark.parametrize("name", UNPROVEN)
async def test_an_agent_made_from_the_mib_is_known_and_read_as_the_mib_says(name, mibs, differs):
    profile = shipped_profiles()[name]
    agent = build(profile, mibs)
    if not agent.rows:
        assert "*" in differs["place"].get(name, {}), (
            "no object of the profile stands in a MIB, and no reason says why"
        )
        return

    async with quick_agent(agent.table(profile)) as served:
        result = await probe("127.0.0.1", served.port, Secrets(), timeout=10)

    found = {r.oid: r for r in result.readings}
    # One without a match is read beside that of the device; a bundle is kin to its parts.
    right = result.profile == name or not profile.match or _kin(name, result.profile)
    wrong = [] if right else [f"taken for {result.profile}: {result.evidence}"]
    wrong += _misread(profile, agent, found, differs)
    assert not wrong


def _kin(name, other):
    """Return whether one of two profiles is made of the other, or names all that it names."""
    data = {n: yaml.safe_load((DEVICES / f"{n}.yaml").read_text()) for n in (name, other) if n}
    columns = {n: {(t.oid, v.at) for t in shipped_profiles()[n].tables for v in t.values} for n in data}
    return len(data) == 2 and (
        other in data[name].get("extends", ())
        or name in data[other].get("extends", ())
        or columns[name] <= columns[other]
    )


def _misread(profile, agent, found, differs):
    for table in profile.tables:
        for value in () if table.symbol in differs["index"].get(profile.name, {}) else table.values:
            stem = f"{table.oid}.{value.at}."
            for oid, obj in agent.objects.items():
                if oid.startswith(stem) and obj.name == value.symbol:
                    why = _verdict(profile, table, value, oid, agent, found.get(oid), differs)
                    if why:
                        yield f"{value.symbol} {oid}: {why}"
    named_otherwise = _named_otherwise(differs)
    for oid, reading in found.items():
        obj = agent.objects.get(oid)
        if obj is not None and reading.symbol != obj.name and reading.symbol not in named_otherwise:
            yield f"{oid} is {obj.name}, and was read as {reading.symbol}"


def _named_otherwise(differs):
    """Return the symbols of profiles that name objects otherwise than the MIBs at hand, for a reason."""
    names = set()
    for profile, symbols in differs["place"].items():
        own = {v.symbol for t in shipped_profiles()[profile].tables for v in t.values}
        names |= own if "*" in symbols else set(symbols)
    return names


def _verdict(profile, table, value, oid, agent, reading, differs):
    conditional = value.rules or value.only_rules or value.skip or value.absent_when or table.skip_when
    raw = agent.raw.get(oid)
    if reading is None:
        return "" if conditional or raw is None else "not read"
    if raw is None or conditional or value.rate or value.signed or value.bits:
        return ""
    if value.states is not None:
        none = set(map(str, value.none if value.none is not None else profile.none))
        return "" if reading.value == raw or str(raw) in none else f"state {reading.value}, not {raw}"
    told = told_of(agent.objects[oid])
    reasons = {
        s for about in ("quantity", "scale", "no quantity") for s in differs[about].get(profile.name, {})
    }
    if told is None or told.factor is None or isinstance(value.scale, list) or reasons & {"*", value.symbol}:
        return ""
    if "{" in (value.unit or ""):
        return ""
    unit = {"degF": UNITS["degF"]}.get(told.unit)
    expected = raw * told.factor + (unit.offset if unit else 0.0)
    if reading.value is None or abs(reading.value - expected) > 1e-6 * max(1.0, abs(expected)):
        return f"{reading.value} {reading.point.unit}, not {expected:g} {told.unit} ({told.why})"
    return ""
