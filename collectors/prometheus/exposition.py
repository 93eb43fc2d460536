"""From an exporter's text to readings of GPUs: blanks, MIG, shared GPUs, resets and standing XIDs told apart.

Each line is read by itself. What it costs when one cannot be read is that line, and every sum that it belongs to.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from collectors.prometheus.settings import ExporterMapping, MetricMapping, PrometheusSettings, Target
from collectors.text_format import BadLine, Sample, lines
from domain.points import Quality
from domain.possible import possible
from domain.units import Unit, parse_unit

# DCGM tells "no value" by numbers (dcgm_structs.h): a base, and up to 15 above it for the reason.
_BLANKS = ((0x7FFF_FFF0, 0x7FFF_FFFF), (140_737_488_355_328, 140_737_488_355_343))
_INT64_BLANK = float(0x7FFF_FFFF_FFFF_FFF0)  # as a float all of its kin are 2**63
_UINT32_BLANK = float(0xFFFF_FFFF)  # what NVML puts in place of an unsigned value that it does not have

LAST_GPU = 63
"""Highest index of a GPU in its node."""
_LONGEST_HOST = 253  # of a name in DNS
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STILL_S = 120.0
"""A counter that has not grown for so long is broken, or its GPU is off: its next step is no rate."""

MOST_EVENTS = 100
"""XIDs of one number and GPU in one scrape that are told; more of them say nothing more."""

Place = tuple[str, str, int]
"""Rack, tray, index of the GPU in it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: which GPU of which tray, which point type, in canonical units."""

    rack: str
    tray: str
    gpu: int
    point_type: str
    value: float
    quality: int = Quality.GOOD


@dataclass(slots=True)
class Memory:
    """What must be remembered of one target between scrapes."""

    scrapes: int = 0
    counters: dict[tuple[Place, str], tuple[float, float]] = field(default_factory=dict)
    xids: dict[Place, float] = field(default_factory=dict)
    places: set[Place] = field(default_factory=set)
    gone: set[Place] = field(default_factory=set)
    events: dict[tuple[Place, str, str], float] = field(default_factory=dict)
    counts_events: bool = False
    fingerprint: int = 0
    same_since: float = 0.0


@dataclass(slots=True)
class Page:
    """What one scrape brought: readings, how much was set aside by reason, an example of each, metrics not mapped."""

    readings: list[Reading] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    unmapped: Counter[str] = field(default_factory=Counter)
    unchanged_s: float = 0.0
    frozen: bool = False

    def aside(self, reason: str, example: str, count: int = 1) -> None:
        """Count something that gives no reading; the first of each reason is kept to be shown."""
        self.counts[reason] += count
        self.examples.setdefault(reason, example[:200])


Rows = dict[str, float | None]
"""Values of one metric of one GPU by MIG instance; empty for the GPU's own, None for a blank."""


def is_blank(value: float) -> bool:
    """Return whether DCGM means "no value" by this one: not available, not supported, no permission."""
    return (
        not math.isfinite(value)
        or value >= _INT64_BLANK
        or value == _UINT32_BLANK
        or any(low <= value <= high for low, high in _BLANKS)
    )


class Exposition:
    """Turns scrapes of one kind of exporter into readings.

    Parameters
    ----------
    mapping
        The exporter's metrics.
    settings
        How a node's name tells its place; bounds.
    racks
        Racks that there are; None: any.
    """

    def __init__(
        self, mapping: ExporterMapping, settings: PrometheusSettings, racks: Collection[str] | None = None
    ) -> None:
        self._mapping = mapping
        self._settings = settings
        self._racks = None if racks is None or settings.unknown_racks == "accept" else frozenset(racks)
        self._units: dict[str, Unit] = {name: parse_unit(m.unit) for name, m in mapping.metrics.items()}
        self._place = re.compile(settings.place) if settings.place else None

    def read(self, text: str, target: Target, memory: Memory, at: float) -> Page:
        """Return what a scrape tells.

        Parameters
        ----------
        text
            Prometheus text format.
        target
            Whose it is; tells the place where the labels and the node's name do not.
        memory
            What the scrapes before left; updated.
        at
            Seconds, of any clock that only grows, for rates.
        """
        page = Page()
        gpus: dict[Place, dict[str, Rows]] = defaultdict(dict)
        events: dict[tuple[Place, str, str], float] = {}
        damaged = self._collect(text, target, page, gpus, events)
        memory.counts_events |= bool(events)  # the gauge tells the same again
        told: dict[tuple[Place, str], float] = {}
        for place, metrics in gpus.items():
            values = self._combined(metrics, damaged, page)
            for name, rows in metrics.items():
                if self._mapping.metrics[name].event and not any(rows.values()):
                    memory.xids[place] = 0.0
            for metric, value in values.values():
                if metric.event:
                    self._gauge_event(place, metric, value, memory, page)
                else:
                    told[place, metric.point] = value
                    page.readings.append(Reading(*place, metric.point, value))
            for metric, value in values.values():
                if metric.rate:
                    self._grown(place, metric, value, values, memory, at, page)
        self._counted_events(events, memory, page)
        self._present(gpus, damaged, memory, page)
        self._watch(told, memory, at, page)
        memory.scrapes += 1
        self._forget(memory, gpus)
        return page

    def _collect(
        self,
        text: str,
        target: Target,
        page: Page,
        gpus: dict[Place, dict[str, Rows]],
        events: dict[tuple[Place, str, str], float],
    ) -> frozenset[str]:
        """Sort the page's rows by GPU and metric; return the metrics of which a line could not be read."""
        metrics, damaged = self._mapping.metrics, set[str]()
        for number, line in enumerate(lines(text)):
            if number == self._settings.max_samples:
                page.aside("over_limit", f"{line.text[:150]} and what follows")
                damaged |= metrics.keys()
                break
            name = line.name
            if name not in metrics:
                name = name.removesuffix("_total")
            if name not in metrics and line.name and line.whole:
                page.unmapped[line.name[:200]] += 1
                continue
            sample = line.parse()
            if isinstance(sample, BadLine):
                page.aside("cut_off" if sample.cut_off else "bad_line", sample.line)
                damaged |= {m for m in metrics if m == name or (sample.cut_off and m.startswith(name))}
                continue
            self._sort_in(name, sample, target, page, gpus, events)
        return frozenset(damaged)

    def _sort_in(
        self,
        name: str,
        sample: Sample,
        target: Target,
        page: Page,
        gpus: dict[Place, dict[str, Rows]],
        events: dict[tuple[Place, str, str], float],
    ) -> None:
        metric, labels, value = self._mapping.metrics[name], sample.labels, sample.value
        place = self._placed(target, name, labels, page)
        if place is None:
            return
        if metric.event_label:
            which = labels.get(metric.event_label, "")
            if is_blank(value) or value < 0:
                page.aside("blank", f"{name} of {place}: {value:g}")
            elif not _is_index(which, 9999):
                page.aside("bad_event", f"{name}: {metric.event_label}={which[:50]!r}")
            else:
                events[place, name, which] = value
            return
        rows = gpus[place].setdefault(name, {})
        instance = labels.get(self._mapping.instance_label, "")[:64]
        told = None if is_blank(value) else self._units[name].to_canonical(value)
        if told is None:
            page.counts["blank"] += 1
        if instance not in rows or rows[instance] is None:
            rows[instance] = told
        elif told is not None:
            # a row for each pod that shares the GPU
            page.counts["repeated"] += 1
            if told != rows[instance]:
                page.aside(
                    "contradicting", f"{name} of {place}: {rows[instance]:g}, then {told:g}; the first counts"
                )

    def _placed(self, target: Target, name: str, labels: dict[str, str], page: Page) -> Place | None:
        gpu = labels.get(self._mapping.gpu_label, "")
        if not _is_index(gpu, LAST_GPU):
            page.aside("bad_gpu", f"{name}: {self._mapping.gpu_label}={gpu[:50]!r}")
            return None
        rack, tray = target.rack, target.tray
        if not (rack and tray):
            rack, tray = labels.get("rack", ""), labels.get("tray", "")
        if not (rack and tray) and self._place is not None:
            host = next((labels[h] for h in self._mapping.host_labels if h in labels), "")
            found = self._place.search(host[:_LONGEST_HOST])
            rack, tray = (found["rack"] or "", found["tray"] or "") if found else ("", "")
        if not (rack and tray):
            told = {k: labels[k][:50] for k in (*self._mapping.host_labels, "rack", "tray") if k in labels}
            page.aside("unplaced", f"{name}: no rack and tray in {told}")
            return None
        if not (_ID.fullmatch(rack) and _ID.fullmatch(tray)):
            page.aside("bad_place", f"{name}: rack {rack[:50]!r}, tray {tray[:50]!r}")
            return None
        if self._racks is not None and rack not in self._racks:
            page.aside("unknown_rack", f"{name}: the site has no rack {rack}")
            return None
        return rack, tray, int(gpu)

    def _combined(
        self, metrics: dict[str, Rows], damaged: frozenset[str], page: Page
    ) -> dict[str, tuple[MetricMapping, float]]:
        """Return one value for each point of a GPU: of instances the GPU's, of several metrics the first, or the sum."""
        values: dict[str, tuple[MetricMapping, float]] = {}
        parts_missing: set[str] = set()
        for name, metric in self._mapping.metrics.items():
            rows = metrics.get(name)
            if rows is None:
                if metric.add and name in damaged:
                    parts_missing.add(metric.point)
                continue
            value = self._of_instances(metric, rows, name in damaged, page)
            if value is None:
                if metric.add:
                    parts_missing.add(metric.point)
            elif metric.point not in values:
                values[metric.point] = metric, value
            elif metric.add:
                values[metric.point] = metric, values[metric.point][1] + value
        for point in parts_missing & values.keys():
            page.aside("incomplete", f"{point}: not every part of the sum can be read")
            del values[point]
        return values

    def _of_instances(self, metric: MetricMapping, rows: Rows, damaged: bool, page: Page) -> float | None:
        told = [value for value in rows.values() if value is not None]
        own = rows.get("")
        if metric.mig == "sum" and own is None:
            if len(told) < len(rows.keys() - {""}) or damaged:
                page.aside("incomplete", f"{metric.point}: not every MIG instance tells its share")
                return None
            return sum(told) if told else None
        if len(told) > 1:
            page.counts["mig_repeated"] += len(told) - 1
        return own if own is not None else (told[0] if told else None)

    def _gauge_event(
        self, place: Place, metric: MetricMapping, value: float, memory: Memory, page: Page
    ) -> None:
        # What stands there at the first scrape may be from last week; 0 is none. A GPU that was scraped without it had none.
        before = memory.xids.get(place, 0.0 if memory.scrapes else None)
        memory.xids[place] = value
        if before is not None and value not in (before, 0.0) and not memory.counts_events:
            page.readings.append(Reading(*place, metric.point, value))

    def _counted_events(
        self, events: dict[tuple[Place, str, str], float], memory: Memory, page: Page
    ) -> None:
        """Give one event for each XID that was counted since the scrape before.

        A count over a window falls when an XID leaves it, a counter when the exporter starts anew: of a counter all that it
        then shows is new, of a window nothing is. Where an exporter has both, the one that grew more tells.
        """
        grown: dict[tuple[Place, str, str], int] = {}
        for key, count in events.items():
            place, name, which = key
            before = memory.events.get(key, 0.0 if memory.scrapes else None)
            if before is None:
                continue
            if count < before and name.endswith("_TOTAL"):
                before = 0.0
            event = place, self._mapping.metrics[name].point, which
            if count > before:
                grown[event] = max(grown.get(event, 0), min(round(count - before), MOST_EVENTS))
        memory.events = events
        page.readings += [
            Reading(*place, point, float(which))
            for (place, point, which), n in grown.items()
            for _ in range(n)
        ]

    def _present(self, gpus: Collection[Place], damaged: frozenset[str], memory: Memory, page: Page) -> None:
        """Tell which GPUs were there and are gone, and which are back; a page without any, or cut off, says nothing."""
        if not gpus or damaged:
            return
        gone = memory.places - set(gpus)
        back = memory.gone & set(gpus)
        page.readings += [Reading(*place, "GpuAvailable", 0.0) for place in sorted(gone)]
        page.readings += [Reading(*place, "GpuAvailable", 1.0) for place in sorted(back)]
        memory.gone = gone
        memory.places |= {place for place in gpus if len(memory.places) < self._settings.max_samples}

    def _grown(
        self,
        place: Place,
        metric: MetricMapping,
        value: float,
        values: dict[str, tuple[MetricMapping, float]],
        memory: Memory,
        at: float,
        page: Page,
    ) -> None:
        rate = _rate(memory, (place, metric.rate), value, at)
        if rate is None:
            return
        low, high = possible("GPU", metric.rate)
        if not low <= rate <= high:
            if rate == rate:
                page.aside("impossible_rate", f"{metric.rate} of {place}: {rate:g}")
            instead = next((values[p][1] for p in metric.instead if p in values), None)
            if instead is None:
                return
            rate = instead
        page.readings.append(Reading(*place, metric.rate, rate))

    def _watch(self, told: dict[tuple[Place, str], float], memory: Memory, at: float, page: Page) -> None:
        """Take a page for frozen whose values never change although there is power or energy, which always do."""
        fingerprint = hash(frozenset(told.items()))
        if fingerprint != memory.fingerprint or not told:
            memory.fingerprint, memory.same_since = fingerprint, at
        page.unchanged_s = at - memory.same_since
        if page.unchanged_s < self._settings.frozen_after:
            return
        restless = {m.point for m in self._mapping.metrics.values() if m.rate}
        restless |= {point for m in self._mapping.metrics.values() for point in m.instead}
        if any(value and point in restless for (_, point), value in told.items()):
            page.frozen = True
            page.readings = [
                Reading(r.rack, r.tray, r.gpu, r.point_type, r.value, Quality.BAD) for r in page.readings
            ]

    def _forget(self, memory: Memory, gpus: Collection[Place]) -> None:
        """Let go of GPUs that the page no longer has once they are more than a page can hold."""
        if len(memory.counters) > self._settings.max_samples:
            memory.counters = {key: kept for key, kept in memory.counters.items() if key[0] in gpus}
        if len(memory.xids) > self._settings.max_samples:
            memory.xids = {place: kept for place, kept in memory.xids.items() if place in gpus}


def _is_index(text: str, highest: int) -> bool:
    return 0 < len(text) <= 4 and text.isascii() and text.isdigit() and int(text) <= highest


def _rate(memory: Memory, key: tuple[Place, str], value: float, at: float) -> float | None:
    """Return a counter's growth in a second since its last step; NaN while it stands still, None for the first and a reset.

    An exporter reads its counters less often than it is scraped: between two of its readings nothing grows.
    """
    before = memory.counters.get(key)
    if before is not None and value == before[0]:
        if at - before[1] > _STILL_S:
            memory.counters[key] = value, math.nan
        return math.nan
    memory.counters[key] = value, at
    if before is None or value < before[0] or not at > before[1]:
        return None
    return (value - before[0]) / (at - before[1])
