"""What a device offers, and all that Hallwatch would do with it: for people, for programs, and for `hallwatch doctor`.

`examine` asks as the service does, through the same client, inventory and poll, and tells what is read, what is set
aside, what is doubtful and what is missing, each with its reason.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

from collectors.examination import Finding, Level
from collectors.snmp.client import Budget, PatientClient
from collectors.snmp.discovery import Inventory, named
from collectors.snmp.profiles import Profile, shipped_profiles
from collectors.snmp.pysnmp_client import PysnmpClient
from collectors.snmp.readings import Device, Reading
from collectors.snmp.recording import record as write_recording
from collectors.snmp.settings import Polling, Secrets, Target
from collectors.snmp.survey import Survey, survey
from collectors.snmp.walk import Scalar
from domain.errors import ConfigurationError, HallwatchError, SourceError, SourceRefused, printable
from domain.units import shown

MOST_RECORDED = 200_000
"""Objects after which a recording stops."""
PROBE_BUDGET = Budget(seconds=120.0, requests=20_000, octets=32 << 20)
"""What a probe may cost a device, and us."""
HR_SYSTEM_DATE = "1.3.6.1.2.1.25.1.2.0"
"""HOST-RESOURCES-MIB hrSystemDate: the clock of a device that tells it."""
CLOCK_MAY_DIFFER = 60.0
"""Seconds between a device's clock and ours that are nothing to speak of: its readings are dated here."""

About = Literal["reachability", "credentials", "version", "clock", "profile", "readings"]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that the device has, or should have, and that does not become a reading as it stands.

    Parameters
    ----------
    oid
        Object or table.
    name
        Its MIB name, or empty.
    reason
        Why.
    """

    oid: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a device offers.

    Parameters
    ----------
    host, port
        Where it was asked.
    description, object_id
        Its sysDescr and sysObjectID.
    profile
        Name of the profile that matched; None where none did and only the standards were read.
    proven
        Whether a recording of a real device has proven the profile.
    readings
        Everything that it offers.
    set_aside
        What is not read, and why: tables and objects in trouble, readings that another tells better or that are too
        many.
    doubtful
        What is read but can hardly be right.
    corrected
        What is read at another scale than the MIB's, and why.
    evidence
        What spoke for and against each profile that was tried, the winner first.
    missing
        Tables of the profile that the device does not have.
    findings
        By subject, what was found; problems first.
    failed
        Of what is set aside: the tables and objects in trouble, in words.
    clock_offset
        Its clock ahead of ours, seconds; None where it tells none.
    seconds
        How long it took.
    """

    host: str
    port: int
    description: str = ""
    object_id: str = ""
    profile: str | None = None
    proven: bool = False
    readings: tuple[Reading, ...] = ()
    set_aside: tuple[Remark, ...] = ()
    doubtful: tuple[Remark, ...] = ()
    corrected: tuple[Remark, ...] = ()
    evidence: tuple[str, ...] = ()
    missing: tuple[Remark, ...] = ()
    findings: tuple[Finding, ...] = ()
    failed: tuple[str, ...] = ()
    clock_offset: float | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether anything would be read of it."""
        return not any(f.level == "problem" for f in self.findings)

    @property
    def problems(self) -> list[str]:
        """What is wrong, in words."""
        return [f.text for f in self.findings if f.level == "problem"]

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `hallwatch probe snmp --json` prints."""
        apart = {r.oid: r.reason for r in self.set_aside}
        return {
            "host": self.host,
            "port": self.port,
            "ok": self.ok,
            "sysDescr": self.description,
            "sysObjectID": self.object_id,
            "profile": self.profile,
            "proven": self.proven,
            "readings": [
                _row(r) | ({"setAside": apart[r.oid]} if r.oid in apart else {}) for r in self.readings
            ],
            "setAside": [_remark(r) for r in self.set_aside],
            "evidence": list(self.evidence),
            "corrected": [_remark(r) for r in self.corrected],
            "doubtful": [_remark(r) for r in self.doubtful],
            "missing": [_remark(r) for r in self.missing],
            "findings": [{"level": f.level, "about": f.about, "text": f.text} for f in self.findings],
            "failed": list(self.failed),
            "clockOffset": self.clock_offset,
            "seconds": round(self.seconds, 3),
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    def to_text(self) -> str:
        """Return a table for people, without a control character of the device's."""
        apart = {r.oid for r in self.set_aside}
        rows = [
            (
                r.point.object_id,
                r.point.point_type,
                r.name + (f" [{r.point.phase}]" if r.point.phase else ""),
                _shown(r),
                r.symbol + (" (set aside)" if r.oid in apart else ""),
            )
            for r in self.readings
        ]
        cells = [tuple(map(printable, row)) for row in rows]
        widths = [max((len(row[i]) for row in cells), default=0) for i in range(4)]
        lines = [
            f"{self.host}:{self.port}: {self.description}",
            f"{self._under()}; {self._count()} readings in {self.seconds:.1f} s",
        ]
        lines = [*map(printable, lines)]
        lines += [
            " ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[4]]) for row in cells
        ]
        for title, remarks in (
            ("set aside", self.set_aside),
            ("doubtful", self.doubtful),
            ("corrected", self.corrected),
            ("missing", self.missing),
        ):
            lines += [printable(f"{title}: {r.name or r.oid} ({r.oid}): {r.reason}") for r in remarks]
        lines += [printable(f"tried: {e}") for e in self.evidence]
        lines += [printable(f"{f.level}: {f.about}: {f.text}") for f in self.findings if f.level != "fine"]
        return "\n".join(lines)

    def _under(self) -> str:
        if self.profile is None:
            return "no profile matched; read from the standard MIBs"
        return f"profile {self.profile}" + ("" if self.proven else " (not yet proven by a real recording)")

    def _count(self) -> int:
        apart = {r.oid for r in self.set_aside}
        return sum(r.value is not None and r.oid not in apart for r in self.readings)


def _remark(remark: Remark) -> dict[str, str]:
    return {"oid": remark.oid, "name": remark.name, "reason": remark.reason}


def _row(reading: Reading) -> dict[str, Any]:
    p = reading.point
    row: dict[str, Any] = {
        "oid": reading.oid,
        "symbol": reading.symbol,
        "objectType": p.object_type,
        "pointType": p.point_type,
        "objectId": p.object_id,
        "objectName": p.object_name,
        "name": reading.name,
        "value": reading.value,
        "unit": p.unit,
    }
    if p.is_state:
        row["state"] = None if reading.value is None else p.state_label(reading.value)
    if p.phase:
        row["phase"] = p.phase
    if p.setpoint:
        row["setpoint"] = True
    return row


def _shown(reading: Reading) -> str:
    if reading.value is None:
        return "-"
    return (
        reading.point.state_label(reading.value)
        if reading.point.is_state
        else shown(reading.value, reading.point.unit)
    )


async def probe(
    host: str,
    port: int = 161,
    secrets: Secrets | None = None,
    *,
    profile: str = "auto",
    object_id: str = "",
    timeout: float = 2.0,
    retries: int = 2,
    any_address: bool = False,
    record: Path | None = None,
    profiles: Mapping[str, Profile] | None = None,
) -> ProbeResult:
    """Ask a device for everything that it offers.

    Parameters
    ----------
    host, port
        The agent.
    secrets
        Version and community or v3 user; v2c with ``public`` by default.
    profile
        Name of a profile, or ``auto``.
    object_id
        Its id in the plant; the host by default.
    any_address
        Whether it may answer from another address or port.
    record
        Also write a scrubbed recording there.

    Raises
    ------
    SourceTimeout, SourceRefused, SourceProtocolError
        Where the device gives no usable answer.
    ConfigurationError
        Where no profile has that name.
    """
    target = Target(host=host, port=port, object_id=object_id, profile=profile, any_address=any_address)
    polling = Polling(timeout=timeout, retries=retries)
    return await _Examination(target, secrets or Secrets(), polling, profiles).run(record)


async def examine(
    target: Target,
    secrets: Secrets | None = None,
    *,
    polling: Polling | None = None,
    profiles: Mapping[str, Profile] | None = None,
) -> ProbeResult:
    """Look at one configured device as the service would; whatever is wrong is a finding, never an error.

    Findings are about reachability, credentials, version, clock (where the device tells it), profile and readings.
    `ProbeResult.ok` tells whether anything would be read, `ProbeResult.problems` why not.

    Parameters
    ----------
    target
        The device as configured.
    secrets
        How it knows us, its secrets read; those of ``target.credentials`` where left out.
    polling
        Patience and sizes; those of ``target.polling``, or the defaults, where left out.
    profiles
        By name; those that come with Hallwatch where left out.
    """
    try:
        known = secrets or (target.credentials.secrets() if target.credentials is not None else Secrets())
        return await _Examination(target, known, polling or target.polling or Polling(), profiles).run()
    except SourceRefused as error:
        about: About = "version" if "use version" in str(error) else "credentials"
        return _failed(target, about, str(error))
    except SourceError as error:
        return _failed(target, "reachability", str(error))
    except ConfigurationError as error:
        return _failed(target, "profile" if "profile" in str(error) else "credentials", str(error))
    except HallwatchError as error:
        return _failed(target, "readings", str(error))
    except Exception as error:  # whatever one device sends must not end the look at the others
        return _failed(target, "readings", f"internal error: {error!r:.300}")


def _failed(target: Target, about: About, text: str) -> ProbeResult:
    return ProbeResult(target.host, target.port, findings=(Finding("problem", about, text),))


@dataclass(slots=True)
class _Examination:
    """One look at a device."""

    target: Target
    secrets: Secrets
    polling: Polling
    known: Mapping[str, Profile] | None
    findings: list[Finding] = field(default_factory=list)
    set_aside: list[Remark] = field(default_factory=list)

    async def run(self, record: Path | None = None) -> ProbeResult:
        known = dict(self.known if self.known is not None else shipped_profiles())
        began = time.monotonic()
        t, polling = self.target, self.polling
        client = PatientClient(
            t.host,
            t.port,
            self.secrets,
            timeout=polling.timeout,
            retries=polling.retries,
            max_varbinds=polling.max_varbinds,
            any_address=t.any_address,
        )
        client.limit(Budget(PROBE_BUDGET.seconds, PROBE_BUDGET.requests, PROBE_BUDGET.octets))
        if t.profile != "auto":
            named(known, t.profile)
        try:
            seen = await survey(client, known, t.profile, count=polling.max_varbinds)
            self._find("fine", "reachability", f"answers to version {self.secrets.version}")
            chosen, parts, inventory = seen.profile, seen.parts, seen.inventory
            offset = await self._clock(client)
            readings = self._readings(seen)
            await self._poll_once(client, readings)
            if record is not None:
                await self._record(record, parts)
        finally:
            client.close()
        failed = self._troubles(client, inventory, parts)
        missing = _missing(chosen, inventory)
        self._judge(chosen, readings, missing)
        return ProbeResult(
            t.host,
            t.port,
            seen.identity.description,
            seen.identity.object_id,
            chosen.name if chosen is not None else None,
            chosen.proven if chosen is not None else all(p.proven for p in parts),
            readings=tuple(readings),
            set_aside=tuple(self.set_aside),
            doubtful=tuple(Remark(d.oid, d.symbol, d.text) for d in seen.doubts(readings)),
            corrected=tuple(Remark(r.oid, r.symbol, r.corrected) for r in readings if r.corrected),
            evidence=tuple(map(str, seen.evidence)),
            missing=missing,
            failed=failed,
            findings=tuple(sorted(self.findings, key=lambda f: ("problem", "note", "fine").index(f.level))),
            clock_offset=offset,
            seconds=time.monotonic() - began,
        )

    def _find(self, level: Level, about: About, text: str) -> None:
        self.findings.append(Finding(level, about, text))

    def _readings(self, seen: Survey) -> list[Reading]:
        t = self.target
        device = Device(t.id, t.name, t.serves, t.associate, t.process_area, t.phase, t.object_type)
        found = seen.readings(device)
        self.set_aside += [
            Remark(r.oid, r.symbol, "another object tells the same of the same thing, better")
            for r in found
            if r.duplicate
        ]
        beyond = [r for r in found if not r.duplicate][self.polling.max_readings :]
        self.set_aside += [
            Remark(
                r.oid,
                r.symbol,
                f"beyond the {self.polling.max_readings} readings of one device (max_readings)",
            )
            for r in beyond
        ]
        return found

    async def _poll_once(self, client: PatientClient, readings: Sequence[Reading]) -> None:
        """Ask as a poll does: some agents show in a walk what they do not answer to a GET."""
        apart = {r.oid for r in self.set_aside}
        wanted = [r for r in readings if r.oid not in apart]
        got: dict[str, Scalar] = {}
        try:
            async for part in client.read([r.oid for r in wanted]):
                got |= part
        except SourceError as error:
            self._find(
                "problem", "readings", f"{len(got)} of {len(wanted)} readings answered to a poll: {error}"
            )
            return
        told = client.troubles
        self.set_aside += [
            Remark(r.oid, r.symbol, "seen in a walk, but not answered to a GET")
            for r in wanted
            if r.oid not in got and r.oid not in told and r.value is not None
        ]

    async def _clock(self, client: PatientClient) -> float | None:
        raw = (await client.get([HR_SYSTEM_DATE])).get(HR_SYSTEM_DATE)
        told = date_and_time(raw) if isinstance(raw, bytes) else None
        if told is None:
            return None
        offset = (told - datetime.now(UTC)).total_seconds()
        if abs(offset) > CLOCK_MAY_DIFFER:
            self._find(
                "note",
                "clock",
                f"its clock is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} ours; readings are dated "
                "here and do not suffer, but its own logs and traps do",
            )
        else:
            self._find("fine", "clock", f"its clock differs from ours by {offset:.0f} s")
        return offset

    async def _record(self, file: Path, parts: Sequence[Profile]) -> None:
        recorder = PysnmpClient(
            self.target.host,
            self.target.port,
            self.secrets,
            timeout=self.polling.timeout,
            retries=self.polling.retries,
        )
        content, _ = await write_recording(recorder.typed_walk("1.3.6.1", most=MOST_RECORDED), parts)
        await asyncio.to_thread(file.write_text, content, encoding="utf-8")

    def _troubles(
        self, client: PatientClient, inventory: Inventory, parts: Sequence[Profile]
    ) -> tuple[str, ...]:
        """Set aside what is in trouble; return it in words."""
        names = {t.oid: t.symbol for p in parts for t in p.tables}
        troubled = [Remark(o, names.get(o, ""), why) for o, why in client.troubles.items()]
        self.set_aside += troubled
        failed = (*(f"{r.name or r.oid}: {r.reason}" for r in troubled), *inventory.failed)
        self.set_aside += [Remark("", "", why) for why in inventory.failed]
        if failed:
            self._find(
                "note", "readings", f"{len(failed)} objects or tables are in trouble; see what is set aside"
            )
        if client.traffic.unreadable:
            self._find(
                "note", "readings", f"{client.traffic.unreadable} objects had a form that cannot be read"
            )
        return failed

    def _judge(self, profile: Profile | None, readings: Sequence[Reading], missing: Sequence[Remark]) -> None:
        apart = {r.oid for r in self.set_aside}
        good = [r for r in readings if r.value is not None and r.oid not in apart]
        if profile is None:
            self._find(
                "note", "profile", "no profile matched; only the standard MIBs are read (see add-a-device)"
            )
        elif not profile.proven:
            self._find("note", "profile", f"{profile.name} is not yet proven by a recording of a real device")
        else:
            self._find("fine", "profile", profile.name)
        own = [r for r in good if r.point.point_type != "DeviceUptime"]
        if own:
            self._find("fine", "readings", f"{len(good)} readings")
        else:
            why = (
                f"{len(missing)} tables of {profile.name} are not there"
                if profile and missing
                else "nothing is known of it"
            )
            self._find(
                "problem",
                "readings",
                f"no reading: it answers, but {why}; record it (--record) and draft a profile from its MIB",
            )


def _missing(profile: Profile | None, inventory: Inventory) -> tuple[Remark, ...]:
    """Return the tables of a device's own profile of which it has nothing."""
    if profile is None:
        return ()
    walk = inventory.walk
    return tuple(
        Remark(table.oid, table.symbol, "the device has nothing there")
        for table in profile.tables
        if table.values and not any(walk.column(f"{table.oid}.{v.at}") for v in table.values)
    )


def date_and_time(octets: bytes) -> datetime | None:
    """Return a DateAndTime of SNMPv2-TC (RFC 2579), taken for UTC where it names no zone; None where it is none."""
    if len(octets) not in (8, 11):
        return None
    year, (month, day, hour, minute, second) = int.from_bytes(octets[:2], "big"), octets[2:7]
    zone: timezone = UTC
    try:
        if len(octets) == 11:
            away = timedelta(hours=octets[9], minutes=octets[10])
            zone = timezone(-away if octets[8:9] == b"-" else away)
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
    except ValueError:
        return None
