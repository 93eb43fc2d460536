"""What issued forecasts were worth, as partners read it."""

from __future__ import annotations

import math
from datetime import datetime

import orjson
from pydantic import BaseModel, Field

from domain.scores import SLOT_MS, Accuracy, by_lead
from partners.forecasts import iso
from storage.records import Records

DAY_MS = 86_400_000
DEFAULT_MS = 7 * DAY_MS
MOST_MS = 400 * DAY_MS
"""One question reaches over so much at most: 1,600 slots."""
FRESH_MS = 60_000
"""Scores change once a quarter hour."""


class ReliabilityBin(BaseModel):
    """Breach probabilities between two edges, and how often the limit was passed."""

    low: float
    high: float
    forecasts: int
    mean_probability: float = Field(description="Mean of those foretold")
    happened: float = Field(description="Share of which the limit was passed")


class LeadAccuracy(BaseModel):
    """What forecasts were worth at one lead time."""

    lead_minutes: int = Field(description="From the data cutoff to the end of the interval that was foretold")
    scored: int = Field(description="Intervals that were compared with what was measured")
    missing: int = Field(description="Intervals whose measured value is missing: they are not scored")
    revised: int = Field(
        description="Intervals scored again because their measured value came late or changed"
    )
    coverage_90: float | None = Field(description="Share within the 5 and 95 % quantiles; 0.9 is right")
    below: float | None = Field(description="Share under the 5 % quantile")
    above: float | None = Field(description="Share over the 95 % quantile")
    mean_error: float | None = Field(description="Of the median, W; positive: foretold too much")
    mean_absolute_error: float | None = Field(description="Of the median, W")
    width_90: float | None = Field(description="Mean width of the 90 % interval, W")
    pinball: float | None = Field(description="Mean pinball loss over the quantiles issued, W")
    pinball_to_persistence: float | None = Field(
        description="Over that of the last value with the quantiles of its own past errors; below 1 is better"
    )
    pinball_to_naive: float | None = Field(description="Over that of the value a day before, likewise")
    skill: float | None = Field(description="1 less `pinball_to_persistence`")
    limited: int = Field(description="Intervals with a limit")
    breaches: int = Field(description="Of which the limit was passed")
    brier: float | None = Field(description="Mean squared error of the breach probability")
    brier_persistence: float | None = Field(description="That of 'as the newest interval was'")
    reliability: list[ReliabilityBin]


class ForecastAccuracy(BaseModel):
    """What forecasts issued in the past were worth, by lead time."""

    object_id: str
    start: datetime = Field(
        description="Beginning of the time over which it is summed, UTC: a multiple of six hours"
    )
    end: datetime = Field(description="End of it")
    unit: str = Field(description="Always `W`")
    leads: list[LeadAccuracy] = Field(description="Empty where nothing has come due in that time")


def window(start: int | None, end: int | None, now: int) -> tuple[int, int]:
    """Return the time that an answer is about, in whole slots of six hours; the last week if nothing is asked for.

    Raises
    ------
    ValueError
        If it is longer than can be answered.
    """
    until = now if end is None else min(end, now)
    since = until - DEFAULT_MS if start is None else start
    if until - since > MOST_MS:
        raise ValueError(f"at most {MOST_MS // DAY_MS} days can be asked for at once")
    return since // SLOT_MS * SLOT_MS, -(-until // SLOT_MS) * SLOT_MS


def answer(records: Records, object_id: str, start: int, end: int) -> bytes:
    """Return a `ForecastAccuracy` document; blocks."""
    # the slot that `start` begins is the first one
    slots = records.scores("ActivePower", start, end)
    found = by_lead((s for s in slots if s.start >= start), [object_id])
    return orjson.dumps(
        {
            "object_id": object_id,
            "start": iso(start),
            "end": iso(end),
            "unit": "W",
            "leads": [_lead(of) for of in found.values()],
        }
    )


def _lead(of: Accuracy) -> dict[str, object]:
    return {
        "lead_minutes": of.lead,
        "scored": of.scored,
        "missing": of.missing,
        "revised": of.revised,
        "coverage_90": _number(of.coverage),
        "below": _number(of.below),
        "above": _number(of.above),
        "mean_error": _number(of.bias, 1),
        "mean_absolute_error": _number(of.error, 1),
        "width_90": _number(of.width, 1),
        "pinball": _number(of.pinball, 1),
        "pinball_to_persistence": _number(of.to_persistence),
        "pinball_to_naive": _number(of.to_naive),
        "skill": _number(1 - of.to_persistence),
        "limited": of.limited,
        "breaches": of.breaches,
        "brier": _number(of.brier),
        "brier_persistence": _number(of.brier_persistence),
        "reliability": [
            {
                "low": b.low,
                "high": b.high,
                "forecasts": b.forecasts,
                "mean_probability": _number(b.mean),
                "happened": _number(b.happened),
            }
            for b in of.reliability
        ],
    }


def _number(value: float, digits: int = 4) -> float | None:
    return None if math.isnan(value) else round(value, digits)
