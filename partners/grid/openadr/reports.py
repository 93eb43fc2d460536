"""Reports of a VEN: which are due when, and what is measured, foretold or could be shed in their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from analytics.flexibility.racks import FlexibleRack
from domain.errors import InputError
from domain.grid import OPEN_END
from partners.grid.openadr.events import Timed, Usual, timed
from partners.grid.openadr.messages import Event, ReportDescriptor
from storage.plant import PlantView
from storage.records import Records

MINUTE_MS = 60_000
MOST_REPORTS = 1_000
"""Reports of one descriptor that are planned."""
ESTIMATED_FROM = 0.8
"""Share of an interval's minutes that must be measured so that the others are taken to be like them."""
USAGE, DEMAND, FORECAST, BASELINE, SHED = (
    "USAGE",
    "DEMAND",
    "USAGE_FORECAST",
    "BASELINE",
    "LOAD_SHED_DELTA_AVAILABLE",
)
KNOWN = (USAGE, DEMAND, FORECAST, BASELINE, SHED, "READING")
"""Payloads that can be reported; each comes with its ``DATA_QUALITY``."""
OF_POWER = (DEMAND, SHED, "READING")
POWER_W = {"KW": 1e3, "MW": 1e6, "W": 1.0}
ENERGY_J = {"KWH": 3.6e6, "MWH": 3.6e9, "WH": 3.6e3}


@dataclass(frozen=True, slots=True)
class Due:
    """A report that is due at a time (UTC ms): what is asked for, of which intervals."""

    at: int
    descriptor: ReportDescriptor
    intervals: tuple[Timed, ...]


def dues(event: Event, received: int) -> list[Due]:
    """Return the reports that an event asks for, each with its time; what cannot be reported is left out.

    A report comes at the start of `startInterval` (after the last one where that is -1): of the `numIntervals` before it where it is
    `historical`, of those from it on otherwise; again each `frequency` intervals, `repeat` times.
    """
    if not event.reportDescriptors:
        return []
    intervals = [i for i in timed(event, received) if i.end < OPEN_END]
    if not intervals:
        return []
    count = len(intervals)
    found = []
    for wanted in event.reportDescriptors:
        if wanted.payloadType not in KNOWN:
            continue
        many = count if wanted.numIntervals < 1 else wanted.numIntervals
        first = count if wanted.startInterval < 0 and wanted.historical else max(wanted.startInterval, 0)
        step = many if wanted.frequency < 1 else wanted.frequency
        times = MOST_REPORTS if wanted.repeat < 0 else min(max(wanted.repeat, 1), MOST_REPORTS)
        for at in range(first, count + 1, step)[:times]:
            chosen = intervals[max(at - many, 0) : at] if wanted.historical else intervals[at : at + many]
            if chosen:
                due = intervals[at].start if at < count else intervals[-1].end
                found.append(Due(due, wanted, tuple(chosen)))
    return found


class Reporter:
    """Makes reports of the whole site. Calls block.

    Parameters
    ----------
    plant, records
        Where power and forecasts come from.
    racks
        Returns what could be shed.
    usual
        Returns baselines.
    """

    def __init__(
        self,
        plant: PlantView,
        records: Records,
        racks: Callable[[int], list[FlexibleRack]],
        usual: Usual,
    ) -> None:
        self._plant = plant
        self._records = records
        self._racks = racks
        self._usual = usual

    def report(self, due: Due, event: str, client: str, resource: str, now: int) -> dict[str, Any]:
        """Return a report as the VTN takes it.

        Raises
        ------
        StorageError
            If the store does not answer.
        """
        wanted = due.descriptor
        unit, scale = _unit(wanted)
        descriptor = {
            "objectType": "REPORT_PAYLOAD_DESCRIPTOR",
            "payloadType": wanted.payloadType,
            "units": unit,
            "readingType": wanted.readingType or self._reading_type(wanted),
        }
        return {
            "eventID": event,
            "clientName": client,
            "reportName": f"{wanted.payloadType} of {client} at {_iso(due.at)}",
            "payloadDescriptors": [descriptor],
            "resources": [
                {
                    "resourceName": resource,
                    "intervals": [self._interval(wanted, i, scale, now) for i in due.intervals],
                }
            ],
        }

    def _interval(self, wanted: ReportDescriptor, moment: Timed, scale: float, now: int) -> dict[str, Any]:
        value, quality = self._value(wanted, moment.start, moment.end, now)
        payloads: list[dict[str, Any]] = [{"type": "DATA_QUALITY", "values": [quality]}]
        if not math.isnan(value):
            payloads.insert(0, {"type": wanted.payloadType, "values": [round(value / scale, 6)]})
        return {
            "id": moment.id,
            "intervalPeriod": {
                "start": _iso(moment.start),
                "duration": f"PT{(moment.end - moment.start) // 1000}S",
            },
            "payloads": payloads,
        }

    def _value(self, wanted: ReportDescriptor, start: int, end: int, now: int) -> tuple[float, str]:
        """Return what is asked for, in W or J (NaN where there is none), and its quality."""
        kind = wanted.payloadType
        seconds = (end - start) / 1000
        ahead = wanted.readingType == "FORECAST" or (kind == DEMAND and not wanted.historical)
        if kind == FORECAST or (kind == DEMAND and ahead):
            power = self._foretold(start, end)
            return (power * seconds if kind == FORECAST else power), _told(power, "ESTIMATED")
        if kind == SHED:
            shed = [r for r in self._racks(now) if not math.isnan(r.power)]
            power = sum(r.shed for r in shed) if shed else math.nan
            return power, _told(power, "ESTIMATED")
        if kind == BASELINE:
            try:
                power = self._usual(start, end)
            except InputError:
                power = math.nan
            return (power if _unit(wanted)[0] in POWER_W else power * seconds), _told(power, "ESTIMATED")
        if kind == "READING":
            reading = self._plant.power_now(self._plant.site.id)
            return reading.value, _told(reading.value, "OK")
        return self._measured(wanted, start, min(end, now), seconds)

    def _measured(self, wanted: ReportDescriptor, start: int, end: int, seconds: float) -> tuple[float, str]:
        step = MINUTE_MS
        first, last = start - start % step, max(end - end % step, start - start % step + step)
        minutes = self._plant.power_history(self._plant.site.id, first, last, step).values[0]
        known = minutes[~np.isnan(minutes)]
        share = len(known) / max(math.ceil(seconds * 1000 / step), 1)
        if share < ESTIMATED_FROM:
            return math.nan, "MISSING"
        quality = "OK" if share >= 1 else "ESTIMATED"
        if wanted.payloadType == USAGE:
            return float(known.mean()) * seconds, quality
        return float(known.max() if wanted.readingType == "PEAK" else known.mean()), quality

    def _foretold(self, start: int, end: int) -> float:
        """Return the mean of the median forecast over a time that it covers whole, W; NaN where it does not."""
        forecast = self._records.latest_forecast(self._plant.site.id)
        if forecast is None:
            return math.nan
        length = forecast.interval_minutes * MINUTE_MS
        ends = forecast.start + length
        shared = np.clip(np.minimum(ends, end) - np.maximum(forecast.start, start), 0, None)
        if shared.sum() < end - start:
            return math.nan
        return float((forecast.quantile(0.5) * shared).sum() / shared.sum())

    @staticmethod
    def _reading_type(wanted: ReportDescriptor) -> str:
        if wanted.payloadType in (FORECAST, SHED, BASELINE) or not wanted.historical:
            return "FORECAST" if wanted.payloadType == FORECAST or not wanted.historical else "ESTIMATED"
        return {"READING": "DIRECT_READ", USAGE: "SUMMED"}.get(wanted.payloadType, "MEAN")


def _unit(wanted: ReportDescriptor) -> tuple[str, float]:
    """Return the unit of a report as asked for, and how many W or J it is; kW or kWh where another is asked for."""
    asked = (wanted.units or "").upper()
    if wanted.payloadType in OF_POWER or (wanted.payloadType == BASELINE and asked in POWER_W):
        unit = asked if asked in POWER_W else "KW"
        return unit, POWER_W[unit]
    unit = asked if asked in ENERGY_J else "KWH"
    return unit, ENERGY_J[unit]


def _told(value: float, quality: str) -> str:
    return "MISSING" if math.isnan(value) else quality


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
