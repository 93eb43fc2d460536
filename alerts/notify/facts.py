"""What a page says beyond the alert itself: where it is, what hangs on it, how it went and will go, what may be behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.points import TimeArray, ValueArray


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is, in plant words.

    Parameters
    ----------
    object_type
        Such as ``Rack``; empty for what is no plant object, such as a source.
    parts
        Kind (`pod`, `row`, `position`, `rack`, `loop`, `busway`, `ups`, `feed`) and what it is called, nearest first.
    racks, gpus
        How many hang on it, itself among them.
    """

    object_type: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    racks: int = 0
    gpus: int = 0

    def named(self, kind: str) -> str:
        """Return what a part is called, an empty text where there is none."""
        return next((name for part, name in self.parts if part == kind), "")


@dataclass(frozen=True, slots=True, eq=False)
class Trend:
    """How a quantity went, and how it is expected to go.

    Parameters
    ----------
    object_id, point_type, unit
        Of what; canonical unit.
    times, values
        Measured: UTC ms, shape (n,); NaN where missing.
    limit
        NaN where there is none.
    ahead, low, middle, high
        Forecast, shape (m,): UTC ms, and the quantiles 5, 50 and 95 %.
    """

    object_id: str
    point_type: str
    unit: str
    times: TimeArray
    values: ValueArray
    limit: float
    ahead: TimeArray
    low: ValueArray
    middle: ValueArray
    high: ValueArray


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about the surroundings of one alert; what is not known is left out of the page.

    Parameters
    ----------
    place
        Where it is.
    outlook
        What is expected, by kind: `breach` (s until the limit is passed, as likely as not), `probability` of a breach,
        `battery` (s that the shortest lasts), `without_flow` (s until a limit is passed if coolant stops), `on_trip` (the
        same if this CDU stops), `highest` (Cel within the hour).
    cause
        Object and class of what the anomaly watch takes for the root.
    silenced_until, silenced_by
        UTC ms and who, while a silence covers it.
    trend
        For the picture.
    """

    place: Place = field(default_factory=Place)
    outlook: Mapping[str, float] = field(default_factory=dict)
    cause: tuple[str, str] | None = None
    silenced_until: int = 0
    silenced_by: str = ""
    trend: Trend | None = None
