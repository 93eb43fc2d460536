"""What an object is taken for, and at which scale the values that were seen are plausible."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Guess:
    """What an object is taken for.

    Attributes
    ----------
    point, unit, scale
        As in a profile.
    states
        Of a state.
    none
        Raw values that stand for no reading.
    reasons
        Why, in short phrases.
    sure
        Whether a text says the scale, not only plausibility.
    untold
        Whether no text says anything of unit and scale.
    """

    point: str = "GenericPoint"
    unit: str = ""
    scale: float = 1.0
    states: dict[int, str] = field(default_factory=dict)
    none: list[int] = field(default_factory=list)
    setpoint: bool = False
    reasons: list[str] = field(default_factory=list)
    sure: bool = False
    untold: bool = False


BANDS: dict[str, tuple[tuple[float, float], ...]] = {
    "Hz": ((44.0, 66.0), (390.0, 410.0)),
    "ac": ((85.0, 150.0), (180.0, 300.0), (330.0, 520.0)),
    "dc": ((10.0, 70.0), (100.0, 500.0)),
    "Cel": ((-30.0, 75.0),),
    "degF": ((-22.0, 167.0),),
    "humidity": ((1.0, 100.0),),
    "%": ((0.0, 110.0),),
    "pf": ((-1.0, 1.0),),
}
"""What the usual values of a quantity lie in, in its unit."""
_STEPS_TRIED = (1.0, 0.1, 0.01, 0.001)
_DC = re.compile(r"\b(?:dc|bus|rectifier|48)\b")


def band(point: str, unit: str, dc: bool = False) -> tuple[tuple[float, float], ...]:
    """Return where plausible values of a point in that unit lie, or nothing."""
    if point.endswith("Frequency"):
        return BANDS["Hz"]
    if point in {"Voltage", "PhaseVoltage", "LineVoltage", "InputVoltage", "BypassVoltage"} and unit == "V":
        return BANDS["dc"] if dc else BANDS["ac"]
    if point == "BatteryVoltage" and unit == "V":
        return ((1.0, 900.0),)
    if (point.endswith("Temperature") and unit == "Cel") or point == "DewPoint":
        return BANDS["Cel"]
    if point.endswith("Temperature") and unit == "degF":
        return BANDS["degF"]
    if point == "AirRelativeHumidity":
        return BANDS["humidity"]
    if point == "PowerFactor":
        return BANDS["pf"] if unit != "%" else ((-100.0, 100.0),)
    if unit == "%":
        return BANDS["%"]
    return ()


def plausible_scale(point: str, unit: str, values: Sequence[float], told: float = 1.0) -> float:
    """Return the first of 1, 0.1, 0.01 and 0.001 at which all values are plausible, or `told`."""
    real = [v for v in values if v]
    bands = band(point, unit)
    if not real or not bands:
        return told
    return next(
        (s for s in (told, *_STEPS_TRIED) if all(any(lo <= v * s <= hi for lo, hi in bands) for v in real)),
        told,
    )


def judge(result: Guess, own: str, around: str, values: Sequence[float]) -> None:
    """Correct the scale of a guess by the values seen, or say that they leave it doubtful."""
    real = [
        v
        for v in values
        if v and v not in result.none and v not in {65535, 2147483647, -2147483648, 32767, -32768}
    ]
    bands = band(result.point, result.unit, dc=bool(_DC.search(f"{own} {around}")))
    if not real or not bands or result.setpoint:
        if not result.sure:
            result.reasons.append("scale 1: no text tells it, no value to judge by")
        return

    def fits(scale: float) -> bool:
        return all(any(low <= v * scale <= high for low, high in bands) for v in real)

    if fits(result.scale):
        if not result.sure:
            result.reasons.append("scale: plausible on the values seen")
        return
    better = [s for s in _STEPS_TRIED if fits(s)]
    if better:
        result.reasons.append(
            f"scale {better[0]:g} instead of {result.scale:g}: {real[0]:g} is else no plausible {result.unit}"
        )
        result.scale, result.sure = better[0], False
    else:
        result.reasons.append(f"doubtful: {real[0]:g} fits no scale")
