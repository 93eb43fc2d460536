"""Every rack as a source of flexibility: what runs on it, of which class, what it draws, what it could give."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from analytics.flexibility.settings import FlexibilitySettings, JobClass
from analytics.issuing.ramps import racks_below
from domain.planned import PlannedWork
from domain.points import Quality
from storage.plant import NO_POINT, PlantView

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class FlexibleRack:
    """One rack now.

    Parameters
    ----------
    rack
        Its id.
    job
        The planned work on it, empty where none is known.
    until
        When that is planned to end, UTC ms; 0 where none is known.
    kind
        Its class; None where no class has it.
    rank
        Place of the class: the lowest gives first.
    power
        What it draws, W; NaN where that is not measured.
    shed
        What it could give up at once, W; 0 where its power is not known.
    room
        What it could draw more, W.
    tokens
        Tokens that it makes in a second; NaN where that is not told.
    lost
        Tokens a second that giving up all of `shed` costs, taken as proportional to the power above idle; NaN where
        `tokens` is.
    """

    rack: str
    job: str
    until: int
    kind: JobClass | None
    rank: int
    power: float
    shed: float
    room: float
    tokens: float
    lost: float
    share: float = 1.0
    """How much of its power comes over the node that is looked at: a rack hangs on two feeds."""

    @property
    def relief(self) -> float:
        """What its giving up all of `shed` takes off the node that is looked at, W."""
        return self.shed * self.share

    @property
    def cap(self) -> float:
        """What it would be held to when it gives all it can, W."""
        return self.power - self.shed


def flexible_racks(
    plant: PlantView,
    works: Iterable[PlannedWork],
    settings: FlexibilitySettings,
    now: int,
    fresh_ms: int,
    at: int = 0,
) -> list[FlexibleRack]:
    """Look at all racks; they come in the order in which they would give, within a class the one that gives most first.

    Parameters
    ----------
    plant
        Where power and tokens come from.
    works
        Announcements that hold at `now`.
    settings
        Classes of jobs.
    now
        UTC ms.
    fresh_ms
        A reading older than this is missing.
    at
        When they would give, UTC ms: the jobs are those of that time, at the power of now. Now if not given.
    """
    at = max(at, now)
    running: dict[str, PlannedWork] = {}
    for work in sorted(works, key=lambda w: (w.start, w.name)):
        # work that runs beyond its planned end is listed for as long as it runs
        if work.start <= at and not work.until and (at < work.end or at == now):
            running |= dict.fromkeys(work.racks, work)
    tokens = _tokens(plant, now - fresh_ms)
    found = []
    for rack in plant.site.racks:
        reading = plant.power_now(rack)
        known = reading.observed >= now - fresh_ms and reading.quality != Quality.BAD
        power = reading.value if known else math.nan
        job = running.get(rack)
        rank = settings.rank_of(job.name if job is not None else "")
        kind = None if rank is None else settings.classes[rank]
        limit = plant.envelope[rack].limit_at(now)
        idle = settings.idle * limit
        spare = 0.0 if math.isnan(power) else max(power - idle, 0.0)
        shed = 0.0 if kind is None else min(kind.sheds * np.nan_to_num(power), spare)
        made = tokens.get(rack, math.nan)
        found.append(
            FlexibleRack(
                rack,
                "" if job is None else job.name,
                0 if job is None else job.end,
                kind,
                len(settings.classes) if rank is None else rank,
                power,
                float(shed),
                0.0 if math.isnan(power) else max(limit - power, 0.0),
                made,
                made * float(shed) / spare if spare else 0.0 * made,
            )
        )
    return sorted(found, key=lambda r: (r.rank, -r.shed, r.rack))


def under(plant: PlantView, node_id: str, racks: Iterable[FlexibleRack]) -> list[FlexibleRack]:
    """Return the racks that a node feeds, in their order, with the share of their power that comes over it.

    Nodes of one kind that feed the same racks (the two feeds, a pod's two busways) share by their present power, evenly
    where that is not measured.
    """
    names = frozenset(racks_below(plant, node_id))
    node = plant.envelope[node_id]
    beside = [
        n.id for n in plant.envelope if n.kind == node.kind and frozenset(racks_below(plant, n.id)) == names
    ]
    share = 1.0
    if len(beside) > 1 and node.kind not in ("Site", "Rack"):
        power = [plant.power_now(name).value for name in beside]
        total = sum(power)
        share = power[beside.index(node_id)] / total if total > 0 else 1 / len(beside)
    return [replace(r, share=share) for r in racks if r.rack in names]


def chosen(racks: Iterable[FlexibleRack], power: float) -> list[FlexibleRack]:
    """Return the racks that give first and together relieve their node of `power` (W), or all that give where that is too little."""
    found, total = [], 0.0
    for rack in racks:
        if total >= power:
            break
        if rack.shed > 0:
            found.append(rack)
            total += rack.relief
    return found


def _tokens(plant: PlantView, newest_before: int) -> dict[str, float]:
    """Return the tokens a second of each rack, summed over its trays; racks that tell none are left out."""
    points = plant.tellers.one_each(plant.registry.select("Tray", "TokenRate"))
    found: dict[str, float] = {}
    for index, rate in zip(points.tolist(), plant.values(points, newest_before).tolist(), strict=True):
        point = plant.registry[index]
        rack = point.associate or next(iter(point.serves), "")
        if index != NO_POINT and not math.isnan(rate):
            found[rack] = found.get(rack, 0.0) + rate
    return found
