"""How much of what LibreNMS reads in a recording Hallwatch reads, rightly: the same number, unit and quantity."""

import asyncio
import json
import re
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
    "pressure": {"Pa"}, "fanspeed": {"rpm"}, "cooling": {"W"}, "eer": {"1"}, "count": {"count", "1", "s", "Ah", "Pa", "m/s", ""},
}  # fmt: skip
"""Class of an expectation to the unit that a reading of it has here."""
QUANTITY = {
    "current": "Current|CurrentLimit|GenericPoint", "voltage": "Voltage|GenericPoint", "frequency": "Frequency",
    "power": "Power|PowerLimit|Demand|GenericPoint", "power_consumed": "Energy|GenericPoint",
    "power_factor": "PowerFactor", "temperature": "Temperature|DewPoint|GenericPoint",
    "humidity": "AirRelativeHumidity|GenericPoint", "load": "Load|GenericPoint", "charge": "BatteryCharge|GenericPoint",
    "runtime": "BatteryRuntime|TimeOnBattery|RunTime", "waterflow": "LiquidFlow", "airflow": "AirFlow",
    "pressure": "Pressure|GenericPoint", "fanspeed": "Rotation", "cooling": "CoolingPower|CoolingDemand|GenericPoint",
    "eer": "EnergyEfficiencyRatio",
}  # fmt: skip
"""Class of an expectation to how the point types end that mean it; a generic point of the right unit says nothing wrong."""
PLACES = {
    "bypass": r"\bbypass\b", "battery": r"\bbatter\w*\b|\bbatt?\b", "input": r"\binput\b|\binlet\b|\bmains\b",
    "output": r"\boutput\b|\boutlet\b",
}  # fmt: skip


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
    elif not re.search(rf"(?:{QUANTITY.get(row['class'], '')})$", reading.point.point_type):
        return f"a {reading.point.point_type}, not a {row['class']}"
    if why := _elsewhere(row, reading):
        return why
    value = row["value"] * UNITS.get(row["unit"], 1.0)
    if reading.value is None or not any(_same(reading.value, value * f) for f in _bare(row, reading)):
        return f"{reading.value}, not {value}"
    return ""


def _elsewhere(row: dict, reading: Reading) -> str:
    """Return why a reading belongs to another object than the expectation's label names: place, phase or number."""
    if row["class"] == "state":
        return ""
    said, point = str(row["descr"] or ""), reading.point
    ours = f"{spaced(reading.symbol)} {spaced(point.point_type)} {reading.name} {point.object_name}"
    theirs, told = _places(said), _places(ours)
    if theirs and told and not theirs & told:
        return f"of the {'/'.join(sorted(told))}, not of the {'/'.join(sorted(theirs))}"
    phase = re.search(r"\b(?:phase |L)([123])$", said, re.I)
    if (
        phase
        and point.phase
        and "ABC"[int(phase[1]) - 1] != point.phase
        and not re.search(r"\.\d|L\d-L\d", said)
    ):
        return f"of phase {point.phase}, not {phase[1]}"
    for kind in ("outlet", "bank", "breaker", "sensor", "receptacle", "probe"):
        number = re.search(rf"\b{kind}s?[ #:-]*(\d+)\b", said, re.I)
        where = f"{point.object_id} {point.object_name} {reading.name} {reading.oid.rsplit('.', 1)[1]}"
        if number and not re.search(rf"(?<!\d)0*{int(number[1])}(?!\d)", where):
            return f"of {point.object_id}, not of {kind} {number[1]}"
    return ""


def spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _places(text: str) -> set[str]:
    return {place for place, pattern in PLACES.items() if re.search(pattern, text, re.I)}


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(1.0, abs(b))


def _bare(row: dict, reading: Reading) -> tuple[float, ...]:
    """Return the sizes of the units in which a bare number ("count") may have been told."""
    if row["class"] != "count" or row["unit"]:
        return (1.0,)
    return {"1": (1.0, 0.01), "s": (1.0, 60.0, 3600.0), "Pa": (1.0, 100.0)}.get(reading.point.unit, (1.0,))


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
