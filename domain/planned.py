"""Work that is planned: a scheduler's jobs, a maintenance window; what is known of it, and since when."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """One version of an announcement. Times are UTC ms.

    Parameters
    ----------
    source
        Which schedule it comes from.
    name
        Unique within its source.
    racks
        Ids of the racks that it takes.
    start, end
        When it is planned to begin and to end.
    power
        Expected power of each rack while it lasts, W; NaN where the schedule does not say. Maintenance that switches
        racks off has 0.
    intensity
        GPU activity while it computes, 0 to 1; NaN where the schedule does not say.
    known_since
        When this version was first announced; a forecast issued before may not use it.
    until
        When it ceased to be announced; 0 while it still is.
    replaced
        Whether another version took its place then. If not, the work ended (after `start`) or was called off (before).
    """

    source: str
    name: str
    racks: tuple[str, ...]
    start: int
    end: int
    power: float = math.nan
    intensity: float = math.nan
    known_since: int = 0
    until: int = 0
    replaced: bool = False

    def same_plan(self, other: PlannedWork) -> bool:
        """Return whether the other one announces the same."""
        return (self.racks, self.start, self.end) == (other.racks, other.start, other.end) and all(
            a == b or (math.isnan(a) and math.isnan(b))
            for a, b in ((self.power, other.power), (self.intensity, other.intensity))
        )
