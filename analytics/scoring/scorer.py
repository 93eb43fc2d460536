"""Scores every forecast when its time has come, keeps the scores, and tells whether forecasts are calibrated."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import structlog

from analytics.issuing.ramps import RampWatch
from analytics.outlook.quarters import QuarterWatch
from analytics.outlook.temperatures import TemperatureWatch
from analytics.points import SOURCE
from analytics.scoring.due import (
    QUARTER_MINUTES,
    Kind,
    PowerDue,
    QuarterDue,
    TemperatureDue,
    minute_of_quarter,
    packed,
    quarter_snapshot,
    temperature_snapshots,
)
from analytics.scoring.ramps import SIDES, RampDue, ramp_snapshots
from analytics.scoring.score import added, differs, empty_slot
from analytics.scoring.verdicts import MOST_SLOTS, STATES, Calibration, Verdict, verdict
from domain.batch import Batch, Sink, now_ms
from domain.envelope import QUARTER_MS, quarter_start
from domain.errors import StorageError
from domain.forecast import Forecast
from domain.points import Point, ValueArray
from domain.scores import SLOT_MS, ScoreSlot, accuracy
from storage.plant import PlantView
from storage.records import Records
from storage.score_records import Arrays

log = structlog.get_logger(__name__)

TICK_S = 10.0
TELL_MS = 60_000
SETTLE_MS = 60_000
"""A quarter hour is scored so long after its end; what comes later is a revision."""
REVISE_MS = 3_600_000
REVISED_BACK_MS = 86_400_000
"""Measured values of the last day are looked at again every hour."""
MOST_BEHIND_MS = 7 * 86_400_000
"""After an outage so much is caught up with."""
AT_ONCE = 32
"""Quarter hours that are scored in one go while catching up."""
SUMMARY_SLOTS = 28
GROUPS: Mapping[str, Mapping[str, str]] = {
    "ActivePower": {
        "Site": "site power",
        "Feed": "feed power",
        "UPS": "UPS power",
        "PowerMeter": "busway power",
        "Rack": "rack power",
    },
    "QuarterHourPower": {"Site": "site quarter hour"},
    "ExpectedSupplyTemperature": {"": "coolant supply"},
    "ExpectedReturnTemperature": {"": "coolant return"},
    "ExpectedGpuTemperature": {"": "hottest GPU"},
    "ExpectedApproach": {"": "CDU approach"},
    "ExpectedRise": {"Site": "site power rise"},
    "ExpectedFall": {"Site": "site power fall"},
}
"""By quantity and kind of object under which name forecasts are judged together."""
OTHERS = {
    "QuarterHourPower": "node quarter hour",
    "ExpectedRise": "node power rise",
    "ExpectedFall": "node power fall",
}
RAMPS = frozenset(f"{of} power {side}" for of in ("site", "node") for side in ("rise", "fall"))
"""Of these the lead is the length of a window, s; they look an hour ahead."""

Key = tuple[str, int]
"""A group of forecasts and their lead time, minutes."""


class ForecastScorer:
    """Scores forecasts until cancelled.

    Parameters
    ----------
    plant
        Where measured values come from.
    records
        Where issued forecasts are, and scores are kept.
    sink
        Where the verdicts go, like any other reading.
    quarters, temperatures
        What foretells the running quarter hour and temperatures: a few of what they say are kept until they are due.
    ramps
        Where the ramps that came are seen.
    newest
        Gives the newest forecast of every node, with the ramps to expect.
    clock
        UTC ms.
    """

    def __init__(
        self,
        plant: PlantView,
        records: Records,
        sink: Sink,
        quarters: QuarterWatch,
        temperatures: TemperatureWatch,
        ramps: RampWatch,
        newest: Callable[[], Mapping[str, Forecast]],
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._plant = plant
        self._records = records
        self._sink = sink
        self._quarters = quarters
        self._temperatures = temperatures
        self._ramps = ramps
        self._newest = newest
        self._clock = clock
        self.kinds: tuple[Kind, ...] = (
            PowerDue(plant, records),
            QuarterDue(plant, records),
            *(
                TemperatureDue(name, "K" if name == "ExpectedApproach" else "Cel", temperatures, records)
                for name in GROUPS
                if name.endswith("Temperature") or name == "ExpectedApproach"
            ),
            *(RampDue(name, ramps, records) for name in SIDES),
        )
        self._next: dict[str, int] = {}
        self._sums: dict[Key, dict[int, ValueArray]] = {}
        self._units: dict[str, str] = {}
        self._kept: set[tuple[str, int]] = set()
        self._revised = self._told = 0
        self.verdicts: dict[Key, Verdict] = {}
        self.worth: list[dict[str, Any]] = []
        """By group and lead time what forecasts of the last week were worth, ready for JSON."""
        self.counters: dict[str, float] = {
            "intervals": 0, "scored": 0, "missing": 0, "revised": 0, "failed": 0, "behind": 0, "last_ms": math.nan
        }  # fmt: skip

    async def run(self) -> None:
        """Score until cancelled."""
        while True:
            behind = await asyncio.to_thread(self.step)
            now = self._clock()
            if now - self._told >= TELL_MS:
                self._told = now
                await self._sink(self.readings(now))
            await asyncio.sleep(0.5 if behind else TICK_S)

    def step(self) -> bool:
        """Keep what was just foretold, score what is due; returns whether more is due already. Blocks."""
        now = self._clock()
        behind = False
        self._guarded(lambda: self._keep_snapshots(now))
        if not self._next:
            self._guarded(lambda: self._recall(now))
        for kind in self.kinds:
            if kind.point_type in self._next:
                behind |= bool(self._guarded(lambda kind=kind: self._score(kind, now)))  # type: ignore[misc]
        if now - self._revised >= REVISE_MS:
            self._revised = now
            for kind in self.kinds:
                if kind.revised:
                    self._guarded(lambda kind=kind: self._revise(kind, now))  # type: ignore[misc]
        return behind

    def _guarded(self, work: Callable[[], bool | None]) -> bool | None:
        """Do a part of the work; what fails is tried again, and costs the others nothing."""
        try:
            return work()
        except StorageError as error:
            log.warning("forecasts are not scored now", error=str(error))
        except Exception:
            log.exception("forecasts are not scored now")
        self.counters["failed"] += 1
        return None

    # --- what is told and kept nowhere else ---------------------------------------------------------------------

    def _keep_snapshots(self, now: int) -> None:
        quarter = quarter_start(now)
        found: list[tuple[str, int, Arrays]] = []
        marks = {mark for mark in self._kept if mark[1] >= quarter}
        told, minute = self._quarters.told, minute_of_quarter(now)
        mark = ("quarter hours", quarter + minute)
        # what was said in the minute before, or before an outage, is of another lead
        fresh = told is not None and told.at >= quarter + minute * 60_000
        if told is not None and fresh and minute in QUARTER_MINUTES and mark not in marks:
            found.append(("QuarterHourPower", told.at, quarter_snapshot(told, 15 - minute)))
            marks.add(mark)
        seen, mark = self._temperatures.told, ("temperatures", quarter)
        if seen is not None and quarter_start(seen[0] - 1) == quarter and mark not in marks:
            found += [
                (name, now, arrays)
                for name, arrays in temperature_snapshots(self._temperatures, self._plant).items()
            ]
            marks.add(mark)
        newest = self._newest()
        cutoff = max((f.data_cutoff for f in newest.values()), default=0)
        mark = ("ramps", cutoff)
        if cutoff == quarter and mark not in marks:
            told_ramps = ramp_snapshots(newest, self._ramps, cutoff)
            found += [(name, now, packed(due)) for name, due in told_ramps.items()]
            marks.add(mark)
        self._records.save_snapshots(found)
        self._kept = marks

    # --- scoring ------------------------------------------------------------------------------------------------

    def _recall(self, now: int) -> None:
        """Go on where an earlier process left off, with the sums that verdicts look back on."""
        oldest = now - MOST_SLOTS * SLOT_MS
        for kind in self.kinds:
            first = quarter_start(now - MOST_BEHIND_MS)
            for slot in self._records.scores(kind.point_type, oldest, now + SLOT_MS):
                self._remember(slot)
                if len(slot.interval):
                    first = max(first, int(slot.interval[-1]) + QUARTER_MS)
            self._next[kind.point_type] = first
        self._judge(now)

    def _score(self, kind: Kind, now: int) -> bool:
        last = quarter_start(now - SETTLE_MS - kind.delay) - QUARTER_MS
        intervals = list(range(self._next[kind.point_type], last + 1, QUARTER_MS))
        self.counters["behind"] = max(0, len(intervals) - AT_ONCE)
        if not intervals:
            return False
        began, here = time.monotonic(), intervals[:AT_ONCE]
        slots: dict[int, ScoreSlot] = {}
        measured = kind.measured(here[0], here[-1])
        for interval in here:
            due = kind.due(interval, measured)
            if due is None:
                continue
            slot = self._slot(kind, interval, slots)
            slots[slot.start] = added(slot, interval, *due)
            self.counters["intervals"] += 1
            known = int((~np.isnan(due[1])).sum())
            self.counters["scored"] += known
            self.counters["missing"] += len(due[1]) - known
        self._save(list(slots.values()), now)
        self._next[kind.point_type] = here[-1] + QUARTER_MS
        self.counters["last_ms"] = (time.monotonic() - began) * 1000
        return len(intervals) > len(here)

    def _revise(self, kind: Kind, now: int) -> None:
        """Score again what was measured late, or has become another value since."""
        first = quarter_start(now - REVISED_BACK_MS)
        slots = {s.start: s for s in self._records.scores(kind.point_type, first, now)}
        intervals = sorted(t for s in slots.values() for t in s.interval.tolist() if t >= first)
        if not intervals:
            return
        measured = kind.measured(intervals[0], intervals[-1])
        changed: dict[int, ScoreSlot] = {}
        for interval in intervals:
            start = interval - interval % SLOT_MS
            slot = changed.get(start, slots[start])
            if measured is None:
                continue
            row = slot.actual[slot.interval == interval][0]
            moved = differs(row, measured.at(slot.objects.tolist(), interval))
            due = kind.due(interval, measured) if moved.any() else None
            if due is not None:
                changed[start] = added(slot, interval, *due)
                self.counters["revised"] += int(moved.sum())
        self._save(list(changed.values()), now)

    def _slot(self, kind: Kind, interval: int, slots: Mapping[int, ScoreSlot]) -> ScoreSlot:
        start = interval - interval % SLOT_MS
        if start in slots:
            return slots[start]
        kept = self._records.scores(kind.point_type, start, start + 1)
        return kept[-1] if kept else empty_slot(kind.point_type, kind.unit, start)

    def _save(self, slots: Sequence[ScoreSlot], now: int) -> None:
        if not slots:
            return
        self._records.save_scores(slots, now)
        for slot in slots:
            self._remember(slot)
        self._judge(now)

    # --- verdicts -----------------------------------------------------------------------------------------------

    def _remember(self, slot: ScoreSlot) -> None:
        groups = np.array([self._group(slot.point_type, o) for o in slot.objects.tolist()])
        for group in np.unique(groups).tolist():
            self._units[group] = slot.unit
            for lead in np.unique(slot.lead[groups == group]).tolist():
                rows = (groups == group) & (slot.lead == lead)
                self._sums.setdefault((group, lead), {})[slot.start] = slot.sums[rows].sum(axis=0)

    def _group(self, point_type: str, object_id: str) -> str:
        node = self._plant.envelope.nodes.get(object_id)
        named = GROUPS[point_type]
        kind = "" if "" in named or node is None else node.kind
        return named.get(kind) or OTHERS.get(point_type, point_type)

    def _judge(self, now: int) -> None:
        newest = now - now % SLOT_MS
        found = {}
        for (group, lead), sums in self._sums.items():
            for old in [s for s in sums if s < newest - MOST_SLOTS * SLOT_MS]:
                del sums[old]
            found[group, lead] = verdict(60 if group in RAMPS else lead, sums, newest)
        self.verdicts = found
        self.worth = self._summary(newest)

    def states(self) -> dict[str, Calibration]:
        """Return by group what is told of it: the first of its lead times that is off, or that all are good."""
        found: dict[str, Calibration] = {}
        for (group, _), of in sorted(self.verdicts.items()):
            if of.state is not None and not found.get(group):
                found[group] = of.state
        return found

    def readings(self, now: int) -> Batch:
        """Return the verdicts as readings; of what is not known yet there is none."""
        states = self.states()
        points = [self._plant.registry.register(_point(group)) for group in states]
        return Batch.of(points, now, [float(s) for s in states.values()], received=now)

    def _summary(self, newest: int) -> list[dict[str, Any]]:
        rows = []
        for (group, lead), sums in sorted(self._sums.items(), key=lambda item: _place(*item[0])):
            week = [s for start, s in sums.items() if start > newest - SUMMARY_SLOTS * SLOT_MS]
            if week:
                of, said = accuracy(lead, np.sum(week, axis=0)), self.verdicts.get((group, lead))
                state = None if said is None or said.state is None else dict(STATES)[int(said.state)]
                rows.append(
                    {
                        "forecast": group,
                        "lead": lead,
                        "ahead": f"within {_span(lead)}" if group in RAMPS else _span(60 * lead),
                        "unit": self._units[group],
                        "scored": of.scored,
                        "missing": of.missing,
                        "revised": of.revised,
                        "coverage": of.coverage,
                        "error": of.error,
                        "to_persistence": of.to_persistence,
                        "to_naive": of.to_naive,
                        "brier": of.brier,
                        "breaches": of.breaches,
                        "state": state,
                    }
                )
        return rows


def _span(seconds: int) -> str:
    """Return a length of time as people say it."""
    return (
        f"{seconds} s"
        if seconds < 60
        else f"{seconds // 60} min"
        if seconds < 3600
        else f"{seconds / 3600:g} h"
    )


def _place(group: str, lead: int) -> tuple[int, int]:
    order = [name for t, of in GROUPS.items() for name in (*of.values(), OTHERS.get(t, ""))]
    return (order.index(group) if group in order else len(order), lead)


def _point(group: str) -> Point:
    name = f"forecast of {group}"
    return Point(
        key=f"Forecast/ForecastCalibration/hallwatch/{group}",
        object_type="Forecast",
        point_type="ForecastCalibration",
        object_id=name,
        object_name=name,
        unit="",
        state_text=STATES,
        source=SOURCE,
    )
