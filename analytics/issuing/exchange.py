"""What the service hands to the process that fits the forecast model, and what comes back: plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from analytics.planned.bookings import Bookings
from domain.forecast import PERSISTENCE
from domain.points import TimeArray, ValueArray

NODE_STEPS = 24
"""Quarter hours ahead for which the nodes below the site are foretold."""
WIDE = frozenset(["Site", "Feed"])
FEW_JOBS = 0.98
"""Below these a node carries few jobs, which stay for hours where they are: its quarter hours depend on each other more than
those of a sum of many jobs (`domain.forecast.PERSISTENCE`)."""


def persistence_of(kind: str) -> float:
    """Return how neighbouring quarter hours of a kind of node (``"Site"``, ``"UPS"``, ...) depend on each other."""
    return PERSISTENCE if kind in WIDE else FEW_JOBS


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What a child process needs to make one forecast: plain arrays and a folder, no connections.

    `start` UTC ms and `power` W of the history's quarter hours (shape (n,), NaN where missing), the number of quarter
    hours to foretell, the physical bounds in W, and the site's country and time zone for the calendar. `nodes` holds
    the same quarter hours of the nodes below the site, `parts` what each node is made of, `below` the racks under each. `bookings`
    is planned work as it was announced until now. `shelf` is the models' folder; a model older than `refit_ms` is fitted
    anew, at once where `refit` is set. `jobs` processes fit series at a time.
    """

    site: str
    start: TimeArray
    power: ValueArray
    horizon: int
    idle: float
    installed: float
    country: str
    timezone: str
    shelf: Path
    now: int
    refit_ms: int = 86_400_000
    refit: bool = False
    nodes: Mapping[str, ValueArray] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    below: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bookings: Bookings | None = None
    jobs: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """Quantiles, shape (horizon, len(QUANTILES)), what made them, and how good it is; `nodes` the same, shorter.

    `step_time` (UTC ms) and `step_power` (W) are the jumps of the site's power that planned work brings, shapes (m,).
    """

    values: ValueArray
    model: str
    quality: str
    nodes: Mapping[str, ValueArray] = field(default_factory=dict)
    step_time: TimeArray = field(default_factory=lambda: np.zeros(0, np.int64))
    step_power: ValueArray = field(default_factory=lambda: np.zeros(0))
