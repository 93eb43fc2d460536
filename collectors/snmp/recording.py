"""Recordings of devices that can be replayed as tests, without what tells whose device it is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass, field

from collectors.snmp.profiles import Lookup, Profile
from collectors.snmp.walk import ADDRESS, OCTETS, Scalar, arcs, format_snmprec, text

KEPT = (
    "1.3.6.1.2.1.1",  # system
    "1.3.6.1.2.1.2.2.1.2",  # ifDescr
    "1.3.6.1.2.1.2.2.1.8",  # ifOperStatus
    "1.3.6.1.2.1.33",  # UPS-MIB
    "1.3.6.1.2.1.47",  # ENTITY-MIB
    "1.3.6.1.2.1.99",  # ENTITY-SENSOR-MIB
    "1.3.6.1.4.1",  # enterprises
)
"""Subtrees that a recording keeps; addresses, routes, ARP and TCP tables are left out whole."""

_BLANKED = (
    "1.3.6.1.2.1.1.4.0",  # sysContact
    "1.3.6.1.2.1.1.5.0",  # sysName
    "1.3.6.1.2.1.1.6.0",  # sysLocation
    "1.3.6.1.2.1.33.1.1.5.0",  # upsIdentName
    "1.3.6.1.2.1.33.1.1.6.0",  # upsIdentAttachedDevices
    "1.3.6.1.2.1.47.1.1.1.1.11",  # entPhysicalSerialNum
    "1.3.6.1.2.1.47.1.1.1.1.14",  # entPhysicalAlias
    "1.3.6.1.2.1.47.1.1.1.1.15",  # entPhysicalAssetID
)
_PATTERNS = (
    (re.compile(r"(?i)\b(S/?N|serial)\b[\s:#.=]*(?:(?:number|no)\b[\s:#.=]*)?[A-Z0-9-]{4,}"), r"\1 scrubbed"),
    # Versions such as FW:4.2.0.5-50274 look like addresses.
    (re.compile(r"(?<!FW:)(?<!SW:)(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]|-\d)"), "192.0.2.1"),
    (re.compile(r"(?i)\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b"), "scrubbed"),
    (re.compile(r"(?i)\b(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}\b"), "scrubbed"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+"), "scrubbed"),
    (re.compile(r"(?i)\b(?:https?|ftp|snmp)://\S+"), "scrubbed"),
    (
        re.compile(
            r"(?i)\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:local|lan|corp|internal|com|net|org|edu|gov|io)\b"
        ),
        "scrubbed",
    ),
)
_SERIAL = re.compile(r"^(?=.*\d)(?=(?:.*[A-Z]){2})[A-Z0-9-]{8,}$")
"""A lone token of capitals and digits: a serial number more likely than a model."""


@dataclass(slots=True)
class Scrubber:
    """Takes names, addresses and serial numbers out of texts, the same word each time the same.

    Parameters
    ----------
    profiles
        Texts that they call private are replaced whole; those that they read otherwise (units, types, kinds) are
        kept, as readings depend on them.
    """

    profiles: Iterable[Profile]
    replaced: int = 0
    _private: frozenset[str] = frozenset()
    _read: frozenset[str] = frozenset()
    _names: dict[str, str] = field(default_factory=dict)
    _own_name: str = ""

    def __post_init__(self) -> None:
        private: set[str] = set()
        read: set[str] = set()
        for profile in self.profiles:
            for table in profile.tables:
                for lookup in table.fields.values():
                    (private if lookup.private else read).add(_column(lookup, table.oid))
                read |= {f"{table.oid}.{v.at}" for v in table.values}
        self._private, self._read = frozenset(private), frozenset(read)

    def learn(self, rows: Iterable[tuple[str, int, Scalar]]) -> None:
        """Remember the device's own name and what its owner typed in, to take them out wherever they stand."""
        for oid, tag, value in rows:
            if tag != OCTETS or not (told := text(value)):
                continue
            if oid == "1.3.6.1.2.1.1.5.0":
                self._own_name = told if len(told) > 2 else ""
            elif _under(oid, self._private):
                self._names.setdefault(told, f"name {len(self._names) + 1}")

    def scrub(self, oid: str, tag: int, value: Scalar) -> Scalar:
        """Return the value, or what stands for it in a recording."""
        if tag == ADDRESS:
            self.replaced += 1
            return "192.0.2.1"  # RFC 5737: documentation
        if tag != OCTETS or not isinstance(value, bytes) or not value:
            return value
        if _under(oid, _BLANKED):
            return self._instead(value)
        if _under(oid, self._private):
            return self._instead(value)
        told = text(value)
        if not told.isprintable():
            # Hardware addresses and the like; bit strings that a profile reads are no text either.
            return value if _under(oid, self._read) else self._instead(value)
        if told in self._names and not _under(oid, self._read):
            return self._instead(value)
        clean = told
        for pattern, instead in _PATTERNS:
            clean = pattern.sub(instead, clean)
        if self._own_name:
            clean = clean.replace(self._own_name, "scrubbed")
        if not _under(oid, self._read) and not oid.startswith("1.3.6.1.2.1.1.") and _SERIAL.match(clean):
            clean = "scrubbed"
        if clean == told:
            return value
        self.replaced += 1
        return clean.encode("utf-8")

    def _instead(self, value: bytes) -> bytes:
        self.replaced += 1
        told = text(value)
        return self._names.setdefault(told, f"name {len(self._names) + 1}").encode("ascii")


def _column(lookup: Lookup, table: str) -> str:
    return lookup.oid or f"{table}.{lookup.at}"


def _under(oid: str, prefixes: Iterable[str]) -> bool:
    if isinstance(prefixes, frozenset):
        parts = oid.split(".")
        return any(".".join(parts[:n]) in prefixes for n in range(len(parts), 6, -1))
    return any(oid == p or oid.startswith(p + ".") for p in prefixes)


async def record(
    rows: AsyncIterable[tuple[str, int, Scalar]], profiles: Iterable[Profile]
) -> tuple[str, int]:
    """Return the text of a scrubbed recording, and how many values were replaced.

    Parameters
    ----------
    rows
        (oid, ASN.1 tag, value) of everything that the agent has.
    profiles
        The device's, and the standard ones.
    """
    scrubber = Scrubber(tuple(profiles))
    kept = [row async for row in rows if _under(row[0], KEPT)]
    scrubber.learn(kept)
    kept.sort(key=lambda row: arcs(row[0]))
    lines = [format_snmprec(oid, tag, scrubber.scrub(oid, tag, value)) for oid, tag, value in kept]
    return "\n".join(lines) + "\n", scrubber.replaced
