"""From an exporter's text to readings of GPUs: blanks, MIG repetitions, resets and standing XIDs told apart."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from collectors.prometheus.settings import ExporterMapping, MetricMapping, Target
from domain.errors import SourceProtocolError
from domain.units import Unit, parse_unit

# DCGM tells "no value" by numbers (dcgm_structs.h): a base, and up to 15 above it for the reason.
_BLANKS = ((0x7FFF_FFF0, 0x7FFF_FFFF), (140_737_488_355_328, 140_737_488_355_343))
_INT64_BLANK = float(0x7FFF_FFFF_FFFF_FFF0)  # as a float all of its kin are 2**63


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: which GPU of which tray, which point type, in canonical units."""

    rack: str
    tray: str
    gpu: int
    point_type: str
    value: float


@dataclass(slots=True)
class Memory:
    """What must be remembered of one target between scrapes."""

    counters: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    events: dict[tuple[str, str], float] = field(default_factory=dict)


def is_blank(value: float) -> bool:
    """Return whether DCGM means "no value" by this one: not available, not supported, no permission."""
    value = float(value)  # the parser gives whole numbers as int
    return math.isnan(value) or value >= _INT64_BLANK or any(low <= value <= high for low, high in _BLANKS)


class Exposition:
    """Turns scrapes of one kind of exporter into readings.

    Parameters
    ----------
    mapping
        The exporter's metrics.
    place
        Regular expression with groups ``rack`` and ``tray`` for node names; empty for none.
    """

    def __init__(self, mapping: ExporterMapping, place: str = "") -> None:
        self._mapping = mapping
        self._units: dict[str, Unit] = {name: parse_unit(m.unit) for name, m in mapping.metrics.items()}
        self._place = re.compile(place) if place else None
        self.counts: Counter[str] = Counter()

    def readings(self, text: str, target: Target, memory: Memory, at: float) -> list[Reading]:
        """Return the readings in a scrape.

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

        Raises
        ------
        SourceProtocolError
            If the text cannot be parsed.
        """
        values: dict[tuple[str, str, str], float] = {}
        nodes: dict[tuple[str, str], tuple[str, str]] = {}
        seen: set[tuple[str, str, str]] = set()
        for name, labels, value in self._samples(text):
            metric = self._mapping.metrics[name]
            if is_blank(value):
                self.counts["blank"] += 1
                continue
            host = next((labels[h] for h in self._mapping.host_labels if h in labels), "")
            gpu = labels.get(self._mapping.gpu_label, "")
            place = self._placed(target, labels, host)
            if place is None or not gpu.isdigit():
                self.counts["unplaced"] += 1
                continue
            nodes[host, gpu] = place
            unit = self._units[name]
            key, this = (host, gpu, metric.point), (host, gpu, name)
            if this in seen and metric.mig == "once":
                self.counts["mig_repeated"] += 1
            elif (this in seen and metric.mig == "sum") or (key in values and metric.add):
                values[key] += unit.to_canonical(value)
            elif key not in values:
                values[key] = unit.to_canonical(value)
            seen.add(this)
        return list(self._told(values, nodes, memory, at))

    def _samples(self, text: str) -> Iterator[tuple[str, dict[str, str], float]]:
        metrics = self._mapping.metrics
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    # The parser appends _total to counters that lack it.
                    name = sample.name
                    if name not in metrics:
                        name = name.removesuffix("_total")
                    if name in metrics:
                        yield name, sample.labels, sample.value
        except (ValueError, KeyError, IndexError) as error:
            raise SourceProtocolError(f"not Prometheus text: {error}") from error

    def _placed(self, target: Target, labels: dict[str, str], host: str) -> tuple[str, str] | None:
        if target.rack and target.tray:
            return target.rack, target.tray
        if labels.get("rack") and labels.get("tray"):
            return labels["rack"], labels["tray"]
        found = self._place.search(host) if self._place else None
        return (found["rack"], found["tray"]) if found else None

    def _told(
        self,
        values: dict[tuple[str, str, str], float],
        nodes: dict[tuple[str, str], tuple[str, str]],
        memory: Memory,
        at: float,
    ) -> Iterable[Reading]:
        by_point: dict[str, MetricMapping] = {m.point: m for m in self._mapping.metrics.values()}
        for (host, gpu, point_type), value in values.items():
            metric, place = by_point[point_type], (*nodes[host, gpu], int(gpu))
            if metric.event:
                before = memory.events.get((host, gpu))
                memory.events[host, gpu] = value
                # What stands there at the first scrape may be from last week; 0 is none.
                if before is None or value in (before, 0.0):
                    continue
            yield Reading(*place, point_type, value)
            if metric.rate:
                rate = _rate(memory, (host, gpu), value, at)
                if rate is not None:
                    yield Reading(*place, metric.rate, rate)


def _rate(memory: Memory, key: tuple[str, str], value: float, at: float) -> float | None:
    before = memory.counters.get(key)
    memory.counters[key] = value, at
    if before is None or value < before[0] or at <= before[1]:  # first scrape, or the counter was reset
        return None
    return (value - before[0]) / (at - before[1])
