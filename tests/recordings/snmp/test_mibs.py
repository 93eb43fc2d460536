"""Every object that a profile names, against the vendor's MIB: where it stands, what it measures, its scale, its states.

What differs has its reason in `mib_differs.yaml`: a text of the vendor that contradicts itself, or a real device that
does otherwise. A reason that is no longer needed fails too.
"""

import yaml

from collectors.snmp.profiles import shipped_profiles
from domain.units import UNITS
from tests.recordings.snmp.mib_agent import repeated
from tests.recordings.snmp.mib_facts import (
    alike,
    no_quantity,
    of_description,
    of_name,
    of_syntax,
    phase,
    scaled,
    switched,
)

ELECTRICAL = {
    "Voltage", "PhaseVoltage", "InputVoltage", "BypassVoltage", "Current", "PhaseCurrent", "InputCurrent", "BypassCurrent",
    "ActivePower", "PhasePower", "InputPower", "ApparentPower", "ReactivePower", "PowerFactor",
}  # fmt: skip
ANSWERS = ({"yes", "no"}, {"true", "false"}, {"null"})
"""Labels that say only whether the name holds: a profile may say what that means."""


def named():
    """Yield (profile, table, value) of everything that the shipped profiles name themselves."""
    own = {p.stem: yaml.safe_load(p.read_text()) for p in _files()}
    for name, data in sorted(own.items()):
        profile = shipped_profiles()[name]
        oids = {str(t["oid"]) for t in data.get("tables", [])}
        for table in profile.tables:
            if table.oid in oids:
                yield from ((profile, table, value) for value in table.values)


def _files():
    from collectors.snmp.profiles import DEVICES

    return sorted(DEVICES.glob("*.yaml"))


def _unexplained(findings, differs, about):
    """Return the findings without a reason, and the reasons without a finding."""
    told = {(f"{profile}", symbol): text for profile, symbol, text in findings}
    known = {(p, s) for p, symbols in differs[about].items() for s in symbols}
    fresh = [
        f"{p} {s}: {text}" for (p, s), text in told.items() if (p, s) not in known and (p, "*") not in known
    ]
    stale = [
        f"{p} {s}" for p, s in known if (p, s) not in told and not (s == "*" and any(p == q for q, _ in told))
    ]
    return {"without a reason": fresh, "reasons no longer needed": stale}


NOTHING = {"without a reason": [], "reasons no longer needed": []}


def test_each_object_stands_where_its_mib_has_it(mibs, differs):
    findings = []
    for profile, table, value in named():
        there = [o.name for o in mibs.at(f"{table.oid}.{value.at}")]
        if value.symbol not in there:
            elsewhere = [o.oid for o in mibs.named(value.symbol)]
            findings.append((profile.name, value.symbol, f"{there} stands there; it stands at {elsewhere}"))
    assert _unexplained(findings, differs, "place") == NOTHING


def test_each_object_has_the_quantity_and_the_scale_that_its_mib_tells(mibs, differs):
    findings, scales, told_of = [], [], 0
    for profile, table, value in named():
        unit = UNITS.get(profile.units.get(value.unit or "", value.unit or ""))
        if unit is None or value.rules or value.states is not None or value.rate:
            continue
        factor = None if isinstance(value.scale, list) else unit.scale * (value.scale or 1.0)
        obj = next((o for o in mibs.at(f"{table.oid}.{value.at}") if o.name == value.symbol), None)
        if obj is None:
            continue
        clause, said, called = (
            of_syntax(obj),
            of_description(f"{obj.description} {obj.syntax.described}"),
            of_name(obj),
        )
        for told in (clause, said, called):
            if (
                told is None
                or (told is said and clause)
                or (told is called and any(t and t.unit == "1" for t in (clause, said)))
            ):
                continue  # UNITS goes before prose, and a share of a quantity is no such quantity
            told_of += 1
            units = {"Cel" if u == "degF" else u for u in told.unit.split()}
            if unit.canonical not in units:
                findings.append(
                    (
                        profile.name,
                        value.symbol,
                        f"{value.point} in {value.unit}, not {told.unit} ({told.why})",
                    )
                )
            elif told.factor and factor and abs(told.factor / factor - 1) > 1e-3:
                scales.append(
                    (profile.name, value.symbol, f"times {factor:g}, not {told.factor:g} ({told.why})")
                )
    assert told_of > 5000
    assert _unexplained(findings, differs, "quantity") == NOTHING
    assert _unexplained(scales, differs, "scale") == NOTHING


def test_a_scale_that_a_mib_tells_in_any_words_is_no_secret_to_the_profile(mibs, differs):
    findings = []
    for profile, table, value in named():
        if (
            value.states is not None
            or value.rate
            or value.point == "Count"
            or (value.unit or "").startswith("m")
        ):
            continue
        if any(
            scale not in {None, 1.0}
            for scale in (_plain(value.scale), *(_plain(r.scale) for r in value.rules))
        ):
            continue
        for obj in mibs.at(f"{table.oid}.{value.at}")[:1]:
            if obj.name == value.symbol and obj.syntax.base != "OCTET STRING" and (words := scaled(obj)):
                findings.append((profile.name, value.symbol, f"has no scale, but {words!r} is told"))
    assert _unexplained(findings, differs, "no scale") == NOTHING


def _plain(scale):
    return "told by the device" if isinstance(scale, list) else scale


def test_what_is_no_quantity_is_not_read_as_one(mibs, differs):
    findings = []
    for profile, table, value in named():
        if value.states is not None or value.rules or value.setpoint or value.point == "Count":
            continue
        for obj in mibs.at(f"{table.oid}.{value.at}")[:1]:
            if obj.name == value.symbol and (why := no_quantity(obj)):
                findings.append((profile.name, value.symbol, f"{value.point}: {why}"))
    assert _unexplained(findings, differs, "no quantity") == NOTHING


def test_a_unit_that_another_object_tells_is_read_there(mibs, differs):
    findings = []
    for profile, table, value in named():
        if value.states is not None or value.rules or not value.unit or "{" in value.unit:
            continue
        if any(o.name == value.symbol and switched(o) for o in mibs.at(f"{table.oid}.{value.at}")):
            findings.append((profile.name, value.symbol, f"always {value.unit}"))
    assert _unexplained(findings, differs, "unit") == NOTHING


def test_each_state_means_what_its_mib_says(mibs, differs):
    findings, compared = [], 0
    for profile, table, value in named():
        states = value.states
        if states is None or value.rules:
            continue
        if isinstance(states, str):
            if states.startswith("{"):
                continue
            states = profile.states[states]
        obj = next((o for o in mibs.at(f"{table.oid}.{value.at}") if o.name == value.symbol), None)
        labels = obj.syntax.enumeration if obj is not None and not value.bits else {}
        none = set(map(str, value.none if value.none is not None else profile.none))
        for number, label in labels.items():
            compared += 1
            if str(number) in none:
                continue
            if number not in states:
                findings.append((profile.name, value.symbol, f"{number} ({label}) is not known"))
            elif not alike(states[number], label) and not any(label.lower() in pair for pair in ANSWERS):
                findings.append((profile.name, value.symbol, f"{number} is {label}, not {states[number]}"))
    assert compared > 5000
    assert _unexplained(findings, differs, "states") == NOTHING


def test_each_phase_is_the_one_that_its_mib_tells(mibs, differs):
    findings, told_of = [], 0
    names = {"A": "1", "B": "2", "C": "3", "L1": "1", "L2": "2", "L3": "3"}
    for profile, table, value in named():
        ours = names.get(value.phase or "", value.phase or "")
        if value.rules or value.states is not None or "{" in ours or value.point not in ELECTRICAL:
            continue
        for obj in mibs.at(f"{table.oid}.{value.at}")[:1]:
            if obj.name != value.symbol:
                continue
            told = phase(obj)
            told_of += bool(told)
            if told and ours != told:
                findings.append((profile.name, value.symbol, f"phase {ours or 'none'}, not {told}"))
    assert told_of > 300
    assert _unexplained(findings, differs, "phase") == NOTHING


def test_nothing_is_left_out_as_a_repetition_of_another_thing(mibs, differs):
    findings = [
        (profile.name, second, f"is not polled, for its name is that of {first}")
        for profile in shipped_profiles().values()
        for first, second in repeated(profile, mibs)
    ]
    assert _unexplained(findings, differs, "twice") == NOTHING
