"""An agent made from a vendor's MIB alone: objects, rows by INDEX, values by syntax, unit and enumeration.

It knows nothing of a profile but which tables a device of the family has; what a value must be read as is worked out from
the MIB's text (`mib_facts`), so that a wrong unit, scale or place in a profile is seen.
"""

import re
from dataclasses import dataclass, field

from collectors.snmp.drafting.mib import MibObject
from collectors.snmp.profiles import Match, Profile
from collectors.snmp.readings import Device, Reading, read
from collectors.snmp.walk import Walk
from simulator.snmp import ber
from simulator.snmp.responder import OidTable
from tests.recordings.snmp.mib_facts import Library, Told, of_description, of_name, of_syntax, words

ROWS = 2
USUAL = {
    "V": 230.0, "A": 7.0, "W": 1500.0, "VA": 1600.0, "var": 300.0, "Hz": 50.0, "1": 0.42, "Cel": 24.0, "degF": 42.0,
    "J": 7.2e9, "VAh": 2e6, "s": 5400.0, "rpm": 1200.0, "Pa": 2e5, "L/min": 600.0, "Ah": 80.0, "g/m3": 9.0,
}  # fmt: skip
"""What each quantity usually is, in its canonical unit (degF: as a difference to 0 degrees Celsius)."""
_TAGS = {"Counter32": 0x41, "Counter": 0x41, "Gauge32": 0x42, "Gauge": 0x42, "Unsigned32": 0x42, "TimeTicks": 0x43,
         "Counter64": 0x46}  # fmt: skip
_TEXTS = {"OCTET STRING", "SnmpAdminString", "DisplayString", "Opaque"}


@dataclass
class Agent:
    """What an agent serves, and what each object is by its MIB.

    Attributes
    ----------
    rows
        OID with instance to encoded value.
    raw
        OID with instance to the number that it holds.
    objects
        OID with instance to the MIB's object.
    """

    rows: dict[str, bytes] = field(default_factory=dict)
    raw: dict[str, int] = field(default_factory=dict)
    objects: dict[str, MibObject] = field(default_factory=dict)

    def table(self, profile: Profile) -> OidTable:
        """Return everything, with the identity that the family's devices have."""
        maker = ".".join(profile.tables[0].oid.split(".")[:7])
        match = profile.match[0] if profile.match else Match(sysObjectID=maker)
        described = _sample(match.sysDescr) if match.sysDescr else "an agent made from a MIB"
        identity = match.sysObjectID or maker
        told = {oid: ber.tlv(ber.STRING, _sample(p).encode()) for oid, p in match.tells.items()}
        return OidTable(
            {
                "1.3.6.1.2.1.1.1.0": ber.tlv(ber.STRING, described.encode()),
                "1.3.6.1.2.1.1.2.0": ber.tlv(ber.OID, ber.oid(tuple(map(int, identity.split("."))))),
                "1.3.6.1.2.1.1.3.0": ber.integer(8_640_000, 0x43),
                **self.rows,
                **told,
            }
        )


def _sample(pattern: str) -> str:
    """Return a text that a simple regular expression finds."""
    text = re.sub(r"\(\?[a-z]\)|[\^$]|\\b", "", pattern)
    text = re.sub(r"\(\?:|[()]", "", text).split("|")[0]
    text = re.sub(r"\\d[+*]?|\[[^\]]*\][+*]?", "1", text)
    text = re.sub(r"\.[*+]", " ", text).replace("\\", "").replace("?", "")
    assert re.search(pattern, text), pattern
    return text


def told_of(obj: MibObject) -> Told | None:
    """Return what the MIB says of an object's quantity and scale, its clauses before its prose before its name."""
    said = of_syntax(obj) or of_description(f"{obj.description} {obj.syntax.described}")
    return said or of_name(obj)


def build(profile: Profile, mibs: Library) -> Agent:
    """Return an agent with the tables that a profile names itself, whole, as the MIB has them."""
    agent = Agent()
    modules = _modules(profile, mibs)
    for table in profile.tables:
        for obj in mibs.under(table.oid):
            if (
                obj.module in modules
                and obj.kind in {"column", "scalar"}
                and "not-accessible" not in obj.access
            ):
                _serve(agent, obj, mibs, modules)
        for lookup in table.fields.values():
            for obj in mibs.at(lookup.oid) if lookup.oid else ():
                _serve(agent, obj, mibs, modules)
    return agent


def _modules(profile: Profile, mibs: Library) -> set[str]:
    """Return the fewest MIB modules in which all objects stand that a profile names."""
    homes = {}
    for table in profile.tables:
        for value in table.values:
            oid = f"{table.oid}.{value.at}"
            homes[oid] = {o.module for o in mibs.at(oid) if o.name == value.symbol}
    open_, chosen = {oid for oid, modules in homes.items() if modules}, set()
    while open_:
        best = max(
            sorted({m for oid in open_ for m in homes[oid]}), key=lambda m: sum(m in homes[o] for o in open_)
        )
        chosen.add(best)
        open_ = {oid for oid in open_ if best not in homes[oid]}
    return chosen


def _serve(agent: Agent, obj: MibObject, mibs: Library, modules: set[str]) -> None:
    if obj.kind == "scalar":
        instances = ["0"]
    else:
        row = next((o for o in mibs.at(obj.parent) if o.kind == "row"), None)
        if row is None:
            return
        instances = list(dict.fromkeys(_instance(row, n, mibs) for n in range(1, ROWS + 1)))
    for n, instance in enumerate(instances):
        oid = f"{obj.oid}.{instance}"
        encoded, raw = _value(obj, n)
        agent.rows[oid] = encoded
        agent.objects[oid] = obj
        if raw is not None:
            agent.raw[oid] = raw


def _instance(row: MibObject, n: int, mibs: Library) -> str:
    """Return the index of the n-th row: the last of its parts counts."""
    parts = []
    for name in row.index or ("row",):
        obj = next((o for o in mibs.named(name) if o.module == row.module), None)
        number = n if name == (row.index or ("row",))[-1] else 1
        if obj is not None and obj.syntax.base in _TEXTS:
            parts.append(f"1.{96 + number}")
        elif obj is not None and obj.syntax.base == "IpAddress":
            parts.append(f"127.0.0.{number}")
        elif obj is not None and obj.syntax.enumeration:
            numbers = sorted(obj.syntax.enumeration)
            parts.append(str(numbers[(number - 1) % len(numbers)]))
        else:
            parts.append(str(number))
    return ".".join(parts)


def _value(obj: MibObject, n: int) -> tuple[bytes, int | None]:
    labels = sorted(obj.syntax.enumeration)
    told = told_of(obj)
    if obj.syntax.base in {"BITS"}:
        return ber.tlv(ber.STRING, b"\x80"), None
    if labels and (len(labels) > 1 or told is None) and obj.syntax.base not in _TEXTS:
        raw = labels[n % len(labels)]
    elif told is not None:
        units = told.unit.split()
        raw = round(USUAL[units[0]] / (told.factor or 1.0)) + n
    else:
        raw = 1 if obj.syntax.high == 1 else 40 + n
    if obj.syntax.high is not None and obj.syntax.high > 0:
        raw = min(raw, obj.syntax.high)
    if obj.syntax.base in _TEXTS:
        shown = str(raw) if told is not None else f"name {n}"
        return ber.tlv(ber.STRING, shown.encode()), raw if told is not None else None
    if obj.syntax.base == "OBJECT IDENTIFIER":
        return ber.tlv(ber.OID, ber.oid((1, 3, 6, 1))), None
    if obj.syntax.base == "IpAddress":
        return ber.tlv(0x40, b"\x7f\x00\x00\x01"), None
    return ber.integer(raw, _TAGS.get(obj.syntax.base, _TAGS.get(obj.syntax.name, ber.INTEGER))), raw


_PRECISION = frozenset(
    [
        "high",
        "prec",
        "precision",
        "adv",
        "advanced",
        "hundredths",
        "tenths",
        "str",
        "raw",
        "int",
        "x",
        "10",
        "100",
        "temp",
        "metric",
        "us",
        "f",
        "c",
        "deg",
        "mode",
        "integer",
        "value",
        "val",
        "smart",
        "basic",
        "base",
        "entry",
        "status",
        "kva",
        "va",
        "kw",
        "w",
        "k",
        "kilowatt",
        "fahrenheit",
        "celsius",
    ]
)
"""Words by which an object differs from another that tells the same thing better, or in another unit."""


def repeated(profile: Profile, mibs: Library) -> list[tuple[str, str]]:
    """Return pairs of objects of one MIB tree that a profile takes for the same thing although their names do not say so.

    The second of them would not be polled.
    """
    agent = build(profile, mibs)
    walk = Walk({oid: agent.raw.get(oid, b"name") for oid in agent.rows})
    first: dict[tuple[object, ...], Reading] = {}
    pairs: dict[tuple[str, str], None] = {}
    for reading in read(profile, walk, Device("device")):
        p = reading.point
        told = first.setdefault((p.object_id, p.point_type, p.phase, p.setpoint, reading.name), reading)
        twins = told.offset != reading.offset and _table(told) == _table(reading)  # Celsius and Fahrenheit
        if not twins and _maker(told) == _maker(reading) and _core(told) != _core(reading):
            pairs[told.symbol, reading.symbol] = None
    return list(pairs)


def _core(reading: Reading) -> set[str]:
    return set(words(reading.symbol)) - _PRECISION


def _table(reading: Reading) -> str:
    return reading.oid.rsplit(".", 2)[0]


def _maker(reading: Reading) -> str:
    return ".".join(reading.oid.split(".")[:7])
