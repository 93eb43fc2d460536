"""Findings about GPUs, from their readings and XIDs and the catalogue of GPU health, as readings of our own.

A finding is a state of its GPU (of its tray where GPUs are missing), one point for each GPU and finding: 1 while it holds,
with its meaning and remedy as the label, 0 once it is over. What no reading tells any more stays as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from operator import is_

import numpy as np
from numpy.typing import NDArray

from analytics.points import SOURCE
from domain.batch import Batch
from domain.gpu_health import KINDS, READINGS, Finding, GpuHealth, Grade, judge
from domain.points import IntArray, Point, PointRegistry, Quality, ValueArray
from storage.plant import NO_POINT, PlantView

FRESH_MS = 180_000
"""A reading that is older says nothing; one that comes seldom may be so old as `SELDOM_FRESH_MS`."""
SELDOM_FRESH_MS = 900_000
REPEAT_MS = 60_000
"""What stays as it is is told again after this long, so that rules know it still holds."""
BURST_MS = 60_000
"""So long after an XID its GPU's are looked up in the store: they come in bursts, and the newest reading is one of them."""
MOST_FINDINGS = 20_000
"""Findings that are known at a time; further ones are counted and not told."""
_OFTEN = frozenset(("GpuAvailable", "GpuUtilization", "GpuThrottleReasons", "GpuPower", "GpuTemperature"))

Key = tuple[str, str]
"""Object id; condition, or ``XID 79``."""


class GpuWatch:
    """Looks at all GPUs.

    Parameters
    ----------
    plant
        Where readings come from.
    catalogue
        What they mean.
    """

    def __init__(self, plant: PlantView, catalogue: GpuHealth) -> None:
        self._plant = plant
        self._registry = plant.registry
        self.catalogue = catalogue
        self._selected: list[IntArray] = []
        self._ids: list[str] = []
        self._row: dict[str, int] = {}
        self._racks: list[str] = []
        self._tables: dict[str, IntArray] = {}
        self._trays: dict[str, list[int]] = {}
        self._products: dict[str, str] = {}
        self._xid_points: IntArray = np.zeros(0, np.int32)
        self._seen: dict[int, int] = {}  # GpuXid point -> time of the newest that is known
        self._burst: dict[int, int] = {}  # GpuXid point -> until when it is looked up in the store
        self._xids: dict[Key, int] = {}  # time of the newest XID of a number
        self._points: dict[Key, int] = {}
        self._told: dict[int, float] = {}
        self._repeated = 0
        self.counters: dict[str, int] = {"gpu_findings": 0, "gpu_findings_untold": 0}

    def look(self, now: int) -> Batch:
        """Return what has changed, and once a minute all that holds; `now` in UTC ms."""
        self._learn()
        values = {name: self._values(name, now) for name in self._tables}
        heard = self._heard(values)
        holds = self._conditions(values) | self._missing(heard)
        self._gather_xids(now)
        for gpu, name in self._xids:
            entry = self.catalogue.xid(int(name.removeprefix("XID ")))
            holds[gpu, name] = self._point(gpu, name, entry)
        return self._tell(holds, self._unheard(heard), now)

    def _learn(self) -> None:
        """Lay the GPUs' points side by side, anew whenever there are others."""
        registry = self._registry
        self._products = {
            registry[i].object_id: registry[i].state_label(1)
            for i in registry.select("Tray", "GpuProduct").tolist()
        }
        wanted = sorted({*READINGS, *(name for p in self.catalogue.products.values() for name in p.limits)})
        selected = [registry.select("GPU", name) for name in (*wanted, "GpuXid")]
        if len(selected) == len(self._selected) and all(map(is_, selected, self._selected)):
            return
        self._selected = selected
        found = {name: points.tolist() for name, points in zip(wanted, selected, strict=False)}
        ids = sorted({registry[i].object_id for points in found.values() for i in points})
        self._row = row = {name: n for n, name in enumerate(ids)}
        racks = [""] * len(ids)
        self._tables = {}
        for name, points in found.items():
            table = np.full(len(ids), NO_POINT, np.int32)
            for i in points:
                point = registry[i]
                table[row[point.object_id]] = i
                racks[row[point.object_id]] = point.associate
            self._tables[name] = table
        self._ids, self._racks = ids, racks
        trays: dict[str, list[int]] = defaultdict(list)
        for n, gpu in enumerate(ids):
            trays[gpu.rpartition("-G")[0]].append(n)
        self._trays = dict(trays)
        self._xid_points = selected[-1]
        for i in known_findings(registry):  # told before a restart
            point = registry[i]
            if point.source == SOURCE and point.process_area:
                self._points[point.object_id, point.process_area[0]] = i

    def _values(self, name: str, now: int) -> ValueArray:
        fresh = FRESH_MS if name in _OFTEN else SELDOM_FRESH_MS
        return self._plant.values(self._tables[name], now - fresh)

    def _point(self, object_id: str, name: str, entry: Finding, detail: str = "") -> Point:
        row = self._row.get(object_id)
        rack = "" if row is None else self._racks[row]
        return finding_point(object_id, name, entry, self.catalogue, rack, detail)

    def _conditions(self, values: Mapping[str, ValueArray]) -> dict[Key, Point]:
        """Return what the readings of GPUs show."""
        holds: dict[Key, Point] = {}
        by_product: dict[str, list[int]] = defaultdict(list)
        for tray, rows in self._trays.items():
            by_product[self._products.get(tray, "")] += rows
        for name, rows in by_product.items():
            at = np.array(rows)
            found = judge({n: v[at] for n, v in values.items()}, self.catalogue.products.get(name))
            for kind, holding in found.items():
                for n in at[holding].tolist():
                    gpu = self._ids[n]
                    holds[gpu, kind] = self._point(gpu, kind, self.catalogue.condition(kind))
        return holds

    def _heard(self, values: Mapping[str, ValueArray]) -> NDArray[np.bool_]:
        """Return of which GPUs anything is told now, and be it that they are lost."""
        heard = np.zeros(len(self._ids), bool)
        for name in _OFTEN & values.keys():
            heard |= ~np.isnan(values[name])
        return heard

    def _missing(self, heard: NDArray[np.bool_]) -> dict[Key, Point]:
        """Return the trays that tell fewer GPUs than their product has."""
        holds: dict[Key, Point] = {}
        for tray, rows in self._trays.items():
            product = self.catalogue.products.get(self._products.get(tray, ""))
            if product is not None and 0 < int(heard[rows].sum()) < product.gpus:
                entry = self.catalogue.condition("missing")
                point = self._point(tray, "missing", entry, f"{product.gpus} are expected")
                holds[tray, "missing"] = replace(point, associate=self._racks[rows[0]])
        return holds

    def _unheard(self, heard: NDArray[np.bool_]) -> set[Key]:
        """Return the findings of GPUs and trays that tell nothing now: nobody knows whether they still hold."""
        silent = {self._ids[n] for n in np.flatnonzero(~heard).tolist()}
        silent |= {tray for tray, rows in self._trays.items() if not heard[rows].any()}
        return {key for key in self._points if key[1] in KINDS and key[0] in silent}

    def _gather_xids(self, now: int) -> None:
        """Note the time of each GPU's newest XID of each number; forget those that are over."""
        stands = int(self.catalogue.xid_stands_minutes * 60_000)
        newest = self._plant.latest.at(self._xid_points)
        recent = np.flatnonzero(newest.observed > now - stands)
        for n in recent.tolist():
            point, at = int(self._xid_points[n]), int(newest.observed[n])
            if self._seen.get(point, 0) < at:
                self._seen[point], self._burst[point] = at, now + BURST_MS
                self._note(point, float(newest.value[n]), at)
        self._burst = {point: until for point, until in self._burst.items() if until > now}
        if self._burst:
            points = np.array(sorted(self._burst), np.int32)
            told = self._plant.store.read(points, now - stands, now + BURST_MS)
            for point, value, at in zip(
                told.point.tolist(), told.value.tolist(), told.observed.tolist(), strict=True
            ):
                self._note(point, value, at)
        self._xids = {key: at for key, at in self._xids.items() if at > now - stands}

    def _note(self, point: int, value: float, at: int) -> None:
        key = self._registry[point].object_id, f"XID {value:.0f}"
        self._xids[key] = max(at, self._xids.get(key, 0))

    def _tell(self, holds: Mapping[Key, Point], unheard: set[Key], now: int) -> Batch:
        present: dict[int, float] = {}
        for key, point in holds.items():
            known = self._points.get(key)
            if known is None and len(self._points) >= MOST_FINDINGS:
                self.counters["gpu_findings_untold"] += 1
                continue
            if known is None or self._registry[known].state_text != point.state_text:
                known = self._points[key] = self._registry.register(point)
            present[known] = 1.0
        over = [known for key, known in self._points.items() if key not in holds and key not in unheard]
        self.counters["gpu_findings"] = len(present)
        present |= dict.fromkeys(over, 0.0)
        repeat = now - self._repeated >= REPEAT_MS
        if repeat:
            self._repeated = now
        tell = {i: v for i, v in present.items() if self._told.get(i) != v or (repeat and v)}
        self._told |= tell
        return Batch.of(list(tell), now, list(tell.values()), Quality.GOOD, now)


def finding_point(
    object_id: str, name: str, entry: Finding, catalogue: GpuHealth, rack: str, detail: str = ""
) -> Point:
    """Return the point of a finding: a state, 1 while it holds; the label tells meaning and remedy."""
    object_type = "GPU" if "-G" in object_id else "Tray"
    grade = entry.grade.point_type
    text = catalogue.text(entry, name if name.startswith("XID ") else "", detail)
    return Point(
        f"{object_type}/{grade}/hallwatch/{object_id}/{name.replace(' ', '-')}",
        object_type,
        grade,
        object_id,
        object_id,
        state_text=((0, "None"), (1, text)),
        associate=rack,
        process_area=(name,),
        source=SOURCE,
    )


def known_findings(registry: PointRegistry) -> list[int]:
    """Return the points of all findings that were ever told."""
    grades = [grade.point_type for grade in Grade]
    return [i for grade in grades for i in registry.select(None, grade).tolist()]
