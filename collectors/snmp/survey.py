"""What a device is and all that it offers: profiles weighed by evidence, and everything that any of them reads.

A device's own word (sysObjectID, sysDescr) only says what to try first. A profile wins when its tables answer; where the
first reads nothing, or next to nothing, the next best is tried, and where no word helps, whatever makers' subtrees answer.
Every other profile whose tables answer is read beside the winner, each quantity once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from collectors.snmp.client import SnmpClient
from collectors.snmp.discovery import Identity, Inventory, identify, named, take_inventory
from collectors.snmp.physics import Doubt, doubts
from collectors.snmp.profiles import Derived, Match, Profile, Table
from collectors.snmp.readings import Device, Reading, read
from collectors.snmp.walk import Scalar, Walk, text

ENTERPRISES = "1.3.6.1.4.1"
ALWAYS = ("ups-mib", "entity-sensor", "system")
"""Standard MIBs that are read beside a device's own profile, where it answers them."""
FALLBACK = (*ALWAYS, "if-mib")
"""Those that are read from a device that no profile reads."""
FEW_TABLES = 6
"""A profile with more is asked by subtrees first: most of a large MIB is not in any one device."""
_NO_DEVICE = frozenset({"system", "entity-sensor", "if-mib"})
"""What any agent may speak: beside a profile, never instead of one."""
LITTLE = 4
"""A profile that reads so few values gives way to one that reads three times as many."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a profile.

    Parameters
    ----------
    profile
        Its name.
    rank
        How specific the device's own word for it is.
    reasons
        In words.
    values
        How many values its tables gave; None where they were not asked for.
    """

    profile: str
    rank: tuple[int, int]
    reasons: tuple[str, ...]
    values: int | None = None

    def __str__(self) -> str:
        told = (
            "not asked"
            if self.values is None
            else f"{self.values} values"
            if self.values
            else "its tables do not answer"
        )
        return f"{self.profile}: {', '.join(self.reasons)}; {told}"


@dataclass(frozen=True, slots=True)
class Survey:
    """A device, as far as it is known.

    Parameters
    ----------
    identity
        What it says that it is.
    profile
        The one that it is filed under; None where only standard MIBs answer, or nothing.
    parts
        All that are read, the winner first, none with a column that an earlier one has.
    inventory
        What was answered.
    evidence
        What spoke for and against each profile that was tried, the winner first.
    """

    identity: Identity
    profile: Profile | None
    parts: tuple[Profile, ...]
    inventory: Inventory
    evidence: tuple[Evidence, ...]

    @property
    def derived(self) -> list[Derived]:
        """Sums of all parts."""
        return [d for part in self.parts for d in part.derived]

    def readings(self, device: Device) -> list[Reading]:
        """Return everything that the device offers; what an earlier part tells already is marked a duplicate."""
        return readings_of(self.parts, self.inventory.walk, device)

    def doubts(self, readings: Iterable[Reading]) -> list[Doubt]:
        """Return what physics has against the readings."""
        return doubts(readings)


def readings_of(parts: Iterable[Profile], walk: Walk, device: Device) -> list[Reading]:
    """Return the readings of several profiles of one device, the first profile's first."""
    taken: set[tuple[str, ...]] = set()
    told: set[tuple[str, str, str]] = set()
    found: list[Reading] = []
    oids: set[str] = set()
    filed = device
    for part in parts:
        own = [r for r in read(part, walk, filed, taken) if r.oid not in oids]
        oids |= {r.oid for r in own}
        found += [replace(r, duplicate=r.duplicate or _told(r, told)) for r in own]
        told |= {
            (r.point.object_id, _family(r.point.point_type), r.point.phase)
            for r in own
            if r.value is not None
        }
        if filed is device and not device.object_type and part.object.type != "Device":
            # Whatever else the device speaks, it stays what its own profile says that it is.
            filed = replace(device, object_type=part.object.type)
    return found


_ONE_FAMILY = {"PhaseVoltage": "Voltage", "PhaseCurrent": "Current", "PhasePower": "ActivePower"}


def _family(point_type: str) -> str:
    return _ONE_FAMILY.get(point_type, point_type)


def _told(reading: Reading, told: set[tuple[str, str, str]]) -> bool:
    p = reading.point
    if p.point_type in {"GenericPoint", "Status", "Count"} or p.is_state or p.setpoint:
        return False
    kind = (p.object_id, _family(p.point_type))
    if (*kind, p.phase) in told or (*kind, "") in told:
        return True
    return not p.phase and any((*kind, phase) in told for phase in "ABC")


async def survey(
    client: SnmpClient, profiles: Mapping[str, Profile], wanted: str = "auto", *, count: int = 40
) -> Survey:
    """Ask a device for all that any profile knows of it.

    Parameters
    ----------
    wanted
        Name of the profile that it is filed under; ``auto`` weighs the evidence.
    count
        Objects asked for in one GETBULK.

    Raises
    ------
    SourceTimeout, SourceRefused, SourceProtocolError
        Where it gives no usable answer.
    ConfigurationError
        Where no profile has that name.
    """
    return await _Surveyor(client, profiles, count).run(wanted)


class _Surveyor:
    def __init__(self, client: SnmpClient, profiles: Mapping[str, Profile], count: int) -> None:
        self.client, self.profiles, self.count = client, profiles, count
        self.walk = Walk()
        self.failed: list[str] = []
        self.asked: set[tuple[str, str]] = set()
        self.there: dict[str, bool] = {}

    async def run(self, wanted: str) -> Survey:
        identity = await identify(self.client)
        if wanted != "auto":
            chosen = named(self.profiles, wanted)
            first = [Evidence(chosen.name, (99, 0), ("named in the configuration",))]
        else:
            first = [e for e in await self._by_word(identity) if e.profile not in _NO_DEVICE]
        weighed = [await self._weigh(e) for e in first]
        if wanted == "auto":
            tried = {e.profile for e in weighed}
            ours = self._enterprises(identity, weighed)
            weighed += [await self._weigh(e) for e in await self._by_subtree(ours, tried)]
            if not any(e.values for e in weighed):
                tried = {e.profile for e in weighed}
                weighed += [await self._weigh(e) for e in await self._by_subtree(None, tried)]
        winner = self.profiles[weighed[0].profile] if wanted != "auto" else self._winner(weighed)
        weighed.sort(key=lambda e: (winner is None or e.profile != winner.name, -(e.values or 0)))
        others = [
            self.profiles[e.profile]
            for e in weighed
            if e.values and (winner is None or e.profile != winner.name)
        ]
        if wanted != "auto":
            others = []
        standards = [self.profiles[n] for n in (FALLBACK if winner is None else ALWAYS) if n in self.profiles]
        parts = _each_column_once([*([winner] if winner is not None else []), *others, *standards])
        for part in parts:
            await self._ask(part)
        parts = [p for p in parts if p.name in {winner.name if winner else "", "system"} or self._values(p)]
        return Survey(
            identity, winner, tuple(parts), Inventory(self.walk, tuple(self.failed)), tuple(weighed)
        )

    async def _by_word(self, identity: Identity) -> list[Evidence]:
        """Return the profiles that the device's own words speak for, the most specific first."""
        best: dict[str, Evidence] = {}
        for profile in self.profiles.values():
            for match in profile.match:
                if await self._holds(match, identity):
                    evidence = Evidence(profile.name, _rank(match), _reasons(match, identity))
                    if profile.name not in best or evidence.rank > best[profile.name].rank:
                        best[profile.name] = evidence
        return sorted(best.values(), key=lambda e: (-e.rank[0], -e.rank[1], e.profile))

    async def _holds(self, match: Match, identity: Identity) -> bool:
        if match.sysObjectID and not f"{identity.object_id}.".startswith(match.sysObjectID + "."):
            return False
        if match.sysDescr and not re.search(match.sysDescr, identity.description):
            return False
        if match.tells:
            got = await self.client.get(list(match.tells))
            if not all(re.search(pattern, text(got.get(oid))) for oid, pattern in match.tells.items()):
                return False
        return match.exists is None or await self._answers(match.exists)

    async def _answers(self, oid: str) -> bool:
        if oid not in self.there:
            self.there[oid] = bool(await self.client.walk(oid, count=2, most=1)) or bool(
                await self.client.get([oid])
            )
        return self.there[oid]

    def _enterprises(self, identity: Identity, weighed: list[Evidence]) -> set[str]:
        found = {_enterprise(identity.object_id)}
        found |= {_enterprise(t.oid) for e in weighed if e.values for t in self.profiles[e.profile].tables}
        return found - {""}

    async def _by_subtree(self, enterprises: set[str] | None, tried: set[str]) -> list[Evidence]:
        """Return the untried profiles with a table in one of the subtrees, or in any that answers, where they answer."""
        found = []
        for profile in self.profiles.values():
            if (
                profile.name in tried
                or profile.name in FALLBACK
                or profile.by_word_only
                or not profile.tables
            ):
                continue
            roots = {_enterprise(t.oid) for t in profile.tables} - {""}
            if enterprises is not None:
                roots &= enterprises
            there = [root for root in sorted(roots) if await self._answers(root)]
            if there and await self._answers(_root(profile, there[0])):
                found.append(Evidence(profile.name, (0, 0), (f"{_root(profile, there[0])} answers",)))
        return found

    async def _weigh(self, evidence: Evidence) -> Evidence:
        await asyncio.sleep(0)  # what is known already asks nothing, and others have their turn meanwhile
        profile = self.profiles[evidence.profile]
        roots = [_root(profile, e) for e in sorted({_enterprise(t.oid) for t in profile.tables})]
        if roots and not any([await self._answers(root) for root in roots if root]):
            return replace(evidence, values=0)
        new = await self._ask(profile)
        # What only its subtree speaks for is weighed by what it adds.
        return replace(evidence, values=self._values(profile if evidence.rank > (0, 0) else new))

    def _values(self, profile: Profile) -> int:
        return sum(r.value is not None for r in read(profile, self.walk, Device("device")))

    async def _ask(self, profile: Profile) -> Profile:
        """Take the inventory of what no earlier profile has asked for, and return what that is."""
        tables = []
        for table in profile.tables:
            unasked = [v for v in table.values if (table.oid, v.at) not in self.asked]
            if unasked:
                tables.append(table.model_copy(update={"values": unasked}))
                self.asked |= {(table.oid, v.at) for v in unasked}
        new = profile.model_copy(update={"tables": tables, "corrections": []})
        there = await self._there(tables) if len(tables) > FEW_TABLES else tables
        if there:
            asked = new.model_copy(update={"tables": there})
            taken = await take_inventory(self.client, [asked], count=self.count)
            self.walk.update((oid, taken.walk.get(oid)) for oid in taken.walk)
            self.failed += [f for f in taken.failed if f not in self.failed]
        return new

    async def _there(self, tables: list[Table]) -> list[Table]:
        """Return the tables that may answer: a subtree without an object is found by one request, whatever hangs in it."""
        root = _shared(tuple(t.oid for t in tables))
        if root and not await self._has_under(root):
            return []
        if len(tables) <= 2:
            return tables
        groups: dict[str, list[Table]] = {}
        for table in tables:
            below = table.oid[len(root) :].lstrip(".").split(".")[0] if root else table.oid.split(".")[0]
            groups.setdefault(below, []).append(table)
        if len(groups) == 1:
            return tables
        return [table for group in groups.values() for table in await self._there(group)]

    async def _has_under(self, oid: str) -> bool:
        if oid not in self.there:
            self.there[oid] = bool(await self.client.walk(oid, count=1, most=1))
        return self.there[oid]

    def _winner(self, weighed: list[Evidence]) -> Profile | None:
        answering = [e for e in weighed if e.values]
        if not answering:
            return None
        most = max(answering, key=lambda e: e.values or 0)
        # Of those that the device's word speaks for alike, the one that reads most.
        first = max((e for e in answering if e.rank == answering[0].rank), key=lambda e: e.values or 0)
        by_word = first.rank > (0, 0)
        if not by_word or ((first.values or 0) <= LITTLE and (most.values or 0) >= 3 * (first.values or 0)):
            first = most
        return self.profiles[first.profile]


def _rank(match: Match) -> tuple[int, int]:
    return (
        len(match.sysObjectID.split(".")) if match.sysObjectID else 0,
        2 * (match.sysDescr is not None) + (match.exists is not None) + 4 * len(match.tells),
    )


def _reasons(match: Match, identity: Identity) -> tuple[str, ...]:
    return tuple(
        reason
        for reason, there in (
            (f"sysObjectID {identity.object_id} is under {match.sysObjectID}", match.sysObjectID),
            (f"sysDescr matches {match.sysDescr!r}", match.sysDescr),
            (f"{', '.join(match.tells)} says so", match.tells),
            (f"{match.exists} answers", match.exists),
        )
        if there
    )


@lru_cache(10_000)
def _enterprise(oid: str) -> str:
    parts = oid.lstrip(".").split(".")
    return ".".join(parts[:7]) if oid.startswith(ENTERPRISES) and len(parts) >= 7 else ""


def _root(profile: Profile, enterprise: str) -> str:
    """Return the deepest OID under which all tables lie that a profile has in a maker's subtree."""
    return _shared(tuple(t.oid for t in profile.tables if _enterprise(t.oid) == enterprise)) or enterprise


@lru_cache(2_000)
def _shared(oids: tuple[str, ...]) -> str:
    """Return the arcs that all OIDs begin with."""
    paths = [oid.split(".") for oid in oids]
    shared = []
    for arcs in zip(*paths, strict=False):
        if len(set(arcs)) > 1:
            break
        shared.append(arcs[0])
    return ".".join(shared)


def _each_column_once(parts: Iterable[Profile]) -> list[Profile]:
    seen: set[tuple[str, str]] = set()
    result = []
    for part in parts:
        tables: list[Table] = []
        for table in part.tables:
            values = [v for v in table.values if (table.oid, v.at) not in seen]
            if values:
                tables.append(
                    table if len(values) == len(table.values) else table.model_copy(update={"values": values})
                )
        seen |= {(t.oid, v.at) for t in tables for v in t.values}
        kept = {v.symbol for t in tables for v in t.values}
        result.append(
            part.model_copy(
                update={"tables": tables, "derived": [d for d in part.derived if d.sum_of in kept]}
            )
        )
    return result


__all__ = ["Evidence", "Scalar", "Survey", "readings_of", "survey"]
