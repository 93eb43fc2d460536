"""Planned work as the models use it: who knew what when, as plain arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from domain.planned import PlannedWork
from domain.points import TimeArray, ValueArray

FOREVER = np.iinfo(np.int64).max

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Bookings:
    """Announcements of planned work, one entry a version; n entries, r racks. Times are UTC ms.

    Parameters
    ----------
    racks
        Ids of the site's racks, length r.
    on
        Which racks an entry takes, shape (n, r).
    start, end
        As announced, shape (n,).
    known_since, until
        From when to before when it was the word of its source; `until` is `FOREVER` where it still is.
    replaced
        Whether another version came at `until`. Where none came, the work ended or was called off then.
    power
        Expected power a rack while it runs, W, NaN where nothing was said.
    intensity
        GPU activity from 0 to 1, NaN where nothing was said.
    """

    racks: tuple[str, ...]
    on: Flags
    start: TimeArray
    end: TimeArray
    known_since: TimeArray
    until: TimeArray
    replaced: Flags
    power: ValueArray
    intensity: ValueArray

    @classmethod
    def of(cls, works: Iterable[PlannedWork], racks: Sequence[str]) -> Bookings:
        """Return the works as arrays; racks that the site does not have are left out."""
        rows = list(works)
        place = {rack: i for i, rack in enumerate(racks)}
        on = np.zeros((len(rows), len(racks)), bool)
        for row, work in zip(on, rows, strict=True):
            row[[place[rack] for rack in work.racks if rack in place]] = True

        def times(name: str) -> TimeArray:
            return np.array([getattr(work, name) for work in rows], np.int64)

        until = times("until")
        return cls(
            tuple(racks),
            on,
            times("start"),
            times("end"),
            times("known_since"),
            np.where(until > 0, until, FOREVER),
            np.array([work.replaced for work in rows], bool),
            np.array([work.power for work in rows], float),
            np.array([work.intensity for work in rows], float),
        )

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: Flags | NDArray[np.intp]) -> Bookings:
        """Return some of the entries."""
        return Bookings(
            self.racks,
            *(
                getattr(self, name)[rows]
                for name in (
                    "on",
                    "start",
                    "end",
                    "known_since",
                    "until",
                    "replaced",
                    "power",
                    "intensity",
                )
            ),
        )

    def as_known(self, now: int) -> Bookings:
        """Return what was known at a time: nothing announced later, and no end that was still to come."""
        known = self.take(self.known_since <= now)
        later = known.until > now
        return replace(known, until=np.where(later, FOREVER, known.until), replaced=known.replaced & ~later)

    def on_racks(self, wanted: Flags) -> Bookings:
        """Return the entries as far as they take racks of a choice, shape (r,)."""
        touching = self.take(np.asarray((self.on & wanted).any(axis=1)))
        return replace(touching, on=touching.on & wanted)

    def standing(self) -> Bookings:
        """Return the entries that still hold."""
        return self.take(self.until == FOREVER)

    def ran(self) -> Bookings:
        """Return the entries of work that began before its announcement ended, the last version of each."""
        return self.take(~self.replaced & (self.until > self.start))
