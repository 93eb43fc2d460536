"""What a device offers: the matched profile and every reading, for people and for programs."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectors.snmp.client import GufoClient, SnmpClient
from collectors.snmp.discovery import choose, identify, named, profiles_to_read, take_inventory
from collectors.snmp.profiles import Profile, shipped_profiles
from collectors.snmp.pysnmp_client import PysnmpClient
from collectors.snmp.readings import Device, Reading, read
from collectors.snmp.recording import record as write_recording
from collectors.snmp.settings import Secrets
from domain.units import shown

MOST_RECORDED = 200_000
"""Objects after which a recording stops."""


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
    failed
        Tables that could not be read, and why.
    seconds
        How long it took.
    """

    host: str
    port: int
    description: str
    object_id: str
    profile: str | None
    proven: bool
    readings: tuple[Reading, ...]
    failed: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `hallwatch probe snmp --json` prints."""
        return {
            "host": self.host,
            "port": self.port,
            "sysDescr": self.description,
            "sysObjectID": self.object_id,
            "profile": self.profile,
            "proven": self.proven,
            "readings": [_row(r) for r in self.readings],
            "failed": list(self.failed),
            "seconds": round(self.seconds, 3),
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    def to_text(self) -> str:
        """Return a table for people."""
        if self.profile is None:
            head = "no profile matched; read from the standard MIBs"
        else:
            head = f"profile {self.profile}" + (
                "" if self.proven else " (not yet proven by a real recording)"
            )
        rows = [
            (
                r.point.object_id,
                r.point.point_type,
                r.name + (f" [{r.point.phase}]" if r.point.phase else ""),
                _shown(r),
                r.symbol,
            )
            for r in self.readings
        ]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
        lines = [
            f"{self.host}:{self.port}: {self.description}",
            f"{head}; {len(rows)} readings in {self.seconds:.1f} s",
            *(" ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[4]]) for row in rows),
            *(f"failed: {f}" for f in self.failed),
        ]
        return "\n".join(lines)


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
    record: Path | None = None,
    profiles: dict[str, Profile] | None = None,
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
    record
        Also write a scrubbed recording there.

    Raises
    ------
    SourceTimeout, SourceRefused, SourceProtocolError
        Where the device gives no usable answer.
    ConfigurationError
        Where no profile has that name.
    """
    known = dict(profiles if profiles is not None else shipped_profiles())
    began = time.monotonic()
    client: SnmpClient = GufoClient(host, port, secrets or Secrets(), timeout=timeout, retries=retries)
    try:
        identity = await identify(client)
        chosen = named(known, profile) if profile != "auto" else await choose(client, identity, known)
        parts = profiles_to_read(chosen, known)
        inventory = await take_inventory(client, parts)
        if record is not None:
            recorder = PysnmpClient(host, port, secrets or Secrets(), timeout=timeout, retries=retries)
            content, _ = await write_recording(recorder.typed_walk("1.3.6.1", most=MOST_RECORDED), parts)
            await asyncio.to_thread(record.write_text, content, encoding="utf-8")
    finally:
        client.close()
    device = Device(object_id or host)
    taken: set[tuple[str, ...]] = set()
    readings: list[Reading] = []
    for part in parts:
        readings += read(part, inventory.walk, device, taken)
    return ProbeResult(
        host,
        port,
        identity.description,
        identity.object_id,
        chosen.name if chosen is not None else None,
        chosen.proven if chosen is not None else all(p.proven for p in parts),
        tuple(readings),
        inventory.failed,
        time.monotonic() - began,
    )
