"""How much of what LibreNMS reads in a recording Hallwatch reads, rightly: the same number, unit and quantity."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

from collectors.snmp.profiles import shipped_profiles
from collectors.snmp.readings import Device, Reading
from collectors.snmp.replay import RecordedClient
from collectors.snmp.survey import survey
from collectors.snmp.walk import read_snmprec

UNITS = {"kWh": 3.6e6, "%": 0.01, "kPa": 1e3, "min": 60.0, "cfm": 28.316846592}
"""Units of the expectations to canonical ones; the others are canonical."""
CANONICAL = {
    "current": {"A"}, "voltage": {"V"}, "power": {"W"}, "power_consumed": {"J"}, "frequency": {"Hz"},
    "temperature": {"Cel", "K"}, "humidity": {"1"}, "percent": {"1"}, "load": {"1"}, "charge": {"1"},
    "power_factor": {"1"}, "runtime": {"s"}, "delay": {"s"}, "waterflow": {"L/min"}, "airflow": {"L/min"},
    "pressure": {"Pa"}, "fanspeed": {"rpm"}, "cooling": {"W"}, "eer": {"1"}, "count": {"count", "1", "s", "Ah", ""},
}  # fmt: skip
"""Class of an expectation to the unit that a reading of it has here."""


@dataclass
class Score:
    """What came of one recording.

    Attributes
    ----------
    profiles
        Names of the profiles that matched.
    right, of
        Expectations met and all, by kind ("numbers", "states").
    unmet
        Those not met, with what was read instead.
    """

    profiles: tuple[str, ...]
    proven: bool
    readings: list[Reading]
    failed: tuple[str, ...]
    right: dict[str, int] = field(default_factory=lambda: {"numbers": 0, "states": 0})
    of: dict[str, int] = field(default_factory=lambda: {"numbers": 0, "states": 0})
    unmet: list[tuple[dict, str]] = field(default_factory=list)

    def share(self, kind: str) -> float:
        return self.right[kind] / self.of[kind] if self.of[kind] else 1.0

    @property
    def total(self) -> float:
        of = sum(self.of.values())
        return sum(self.right.values()) / of if of else 1.0


def expected(folder: Path, name: str) -> list[dict]:
    """Return the expectations of a recording, without those that its own data contradict."""
    rows = json.loads((folder / f"{name}.expected.json").read_text())
    return [r for r in rows if not r.get("suspect")]


def verdict(row: dict, reading: Reading | None) -> str:
    """Return why a reading is not what is expected, or nothing where it is."""
    if reading is None:
        return "not read"
    if row["class"] == "state":
        if not reading.point.is_state:
            return f"a number in {reading.point.unit}, not a state"
    elif reading.point.unit not in CANONICAL[row["class"]]:
        return f"{reading.point.point_type} in {reading.point.unit or 'states'}, not {row['class']}"
    value = row["value"] * UNITS.get(row["unit"], 1.0)
    if reading.value is None or not any(_same(reading.value, value * f) for f in _bare(row, reading)):
        return f"{reading.value}, not {value}"
    return ""


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(1.0, abs(b))


def _bare(row: dict, reading: Reading) -> tuple[float, ...]:
    """Return the sizes of the units in which a bare number ("count") may have been told."""
    if row["class"] != "count" or row["unit"]:
        return (1.0,)
    return {"1": (1.0, 0.01), "s": (1.0, 60.0, 3600.0)}.get(reading.point.unit, (1.0,))


def score(folder: Path, name: str) -> Score:
    """Read a recording without a wire and compare."""
    walk = read_snmprec(folder / f"{name}.snmprec")
    result = asyncio.run(_read(walk))
    found = {r.oid: r for r in result.readings}
    for row in expected(folder, name):
        kind = "states" if row["class"] == "state" else "numbers"
        why = verdict(row, found.get(row["oid"]))
        result.of[kind] += 1
        result.right[kind] += not why
        if why:
            result.unmet.append((row, why))
    return result


async def _read(walk):
    found = await survey(RecordedClient(walk), shipped_profiles())
    names = tuple(e.profile for e in found.evidence if e.values)
    return Score(
        names,
        found.profile is not None and found.profile.proven,
        found.readings(Device("device")),
        found.inventory.failed,
    )
