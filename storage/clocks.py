"""The clocks of sources: how far each is off, and which readings are news although their times go back.

A reading says when it was observed, by its source's clock; we know when it was received, by ours. What is newest goes by
the observed time only as long as the source's clock can be believed: nothing is observed after it was received, and a
clock that was stepped back goes on telling news.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.batch import Batch
from domain.points import IntArray, PointRegistry, TimeArray
from storage.latest import LatestValues

log = logging.getLogger(__name__)

ALIKE_MS = 2_000
"""Differences of a clock up to this are jitter of times and of the way."""
CONFIRMED_MS = 1_000
"""For so long a clock has to tell another time, at the pace of ours, until it counts as stepped."""
HELD_MS = 2_000
"""A reading that goes back in time waits for so long whether its source tells newer ones."""
TOLD_AGAIN_MS = 60_000
"""A clock is not told again in the log within this time."""
SAMPLE = 4_096
"""Readings of a commit that are looked at to estimate clocks."""
AROUND_MS = 60_000
"""A reading further from its source's clock is not of that clock."""
HELD_MOST = 20_000
"""Points of which a reading that goes back may wait."""
UNKNOWN = np.iinfo(np.int64).max
SHOWN = 50
"""Clocks on the health page, those furthest off first."""


@dataclass(slots=True)
class Clock:
    """One source's clock; times in ms, `offset` positive where it is ahead of ours."""

    offset: int
    seen: int
    settled: bool = False
    steps: int = 0
    drift: float = 0.0
    """Ms a minute."""
    candidate: tuple[int, int] | None = None
    """Another offset that was told lately, and when first."""
    reference: tuple[int, int] = (0, 0)
    """When and with which offset the drift was looked at last."""
    told: int = -TOLD_AGAIN_MS
    told_step: int = -TOLD_AGAIN_MS
    live: int = 0
    """When a reading came last that fits the offset."""
    first: deque[int] = field(default_factory=lambda: deque(maxlen=15))
    """What its source told until it was believed."""


@dataclass(slots=True, eq=False)
class Held:
    """A reading that goes back in time, and waits; times in ms."""

    observed: int
    value: float
    quality: int
    received: int

    @property
    def lag(self) -> int:
        """Observed minus received."""
        return self.observed - self.received


class Clocks:
    """Estimates the clock of each source, and says which readings are news.

    Parameters
    ----------
    registry
        Says which source a point has.
    latest
        The newest readings, which are kept here: `take_in` is the only one that writes them.
    warn_s
        A clock further off is told in the log, s.
    offsets
        How far the clocks of sources are known to be ahead, s, by a glob of their names.
    """

    def __init__(
        self,
        registry: PointRegistry,
        latest: LatestValues,
        warn_s: float = 30.0,
        offsets: Mapping[str, float] | None = None,
    ) -> None:
        self.clocks: dict[str, Clock] = {}
        self.corrected = 0
        """Readings that were dated ahead and stored under corrected times."""
        self._registry = registry
        self._latest = latest
        self._warn = int(warn_s * 1000)
        self._version = 0
        self._names: list[str] = []
        self._number: dict[str, int] = {}
        self._source: IntArray = np.zeros(1024, np.int32)  # of each point, a number in `_names`
        self._lag: TimeArray = np.full(
            1024, UNKNOWN
        )  # observed minus received of the newest reading of each point
        self._offset: TimeArray = np.zeros(64, np.int64)  # of each source, as in `clocks`
        self._settled = np.zeros(64, dtype=bool)
        self._offsets = dict(offsets or {})
        self._by_setting: TimeArray = np.zeros(64, np.int64)
        self._held: dict[int, Held] = {}

    # --- estimating --------------------------------------------------------------------------------------------

    def look(self, batch: Batch, received: TimeArray) -> None:
        """Estimate the clocks of the sources of some readings, those kept on their way left out."""
        self._follow()
        step = max(1, len(batch) // SAMPLE)
        point, lag = batch.point[::step], (batch.observed - received)[::step]
        at = received[::step]
        if batch.late is not None:
            fresh = ~batch.late[::step]
            point, lag, at = point[fresh], lag[fresh], at[fresh]
        if not len(point):
            return
        source = self._source[point]
        order = np.lexsort((lag, source))
        source, lag, at = source[order], lag[order], at[order]
        heads = np.flatnonzero(np.append(True, source[1:] != source[:-1]))
        tails = np.append(heads[1:], len(source))
        middle = (heads + tails - 1) // 2
        newest = np.maximum.reduceat(at, heads)
        for number, offset, now in zip(
            source[heads].tolist(), lag[middle].tolist(), newest.tolist(), strict=True
        ):
            if self._names[number]:
                clock = self._estimate(self._names[number], offset, now)
                self._offset[number], self._settled[number] = clock.offset, clock.settled

    def adjusted(self, batch: Batch) -> Batch:
        """Return readings with their times as the settings say that the clocks of their sources are off."""
        if not self._offsets:
            return batch
        self._follow()
        off = self._by_setting[self._source[batch.point]]
        return replace(batch, observed=batch.observed - off) if off.any() else batch

    def _estimate(self, name: str, offset: int, now: int) -> Clock:
        clock = self.clocks.get(name)
        if clock is None:
            clock = self.clocks[name] = Clock(offset, now, reference=(now, offset))
        clock.seen = now
        if not clock.settled:
            self._settle(name, clock, offset, now)
        elif abs(offset - clock.offset) <= ALIKE_MS:
            clock.offset += (offset - clock.offset) // 4
            clock.live, clock.candidate = now, None
            self._follow_drift(clock, now)
        else:
            self._consider(name, clock, offset, now)
        return clock

    def _settle(self, name: str, clock: Clock, offset: int, now: int) -> None:
        """Believe a clock once most of what its source tells agrees, whatever else it tells."""
        clock.first.append(offset)
        clock.offset = sorted(clock.first)[len(clock.first) // 2]
        agree = sum(abs(other - clock.offset) <= ALIKE_MS for other in clock.first)
        long_enough = now - clock.reference[0] >= CONFIRMED_MS
        if long_enough and len(clock.first) >= 3 and agree >= 0.6 * len(clock.first):
            clock.settled, clock.reference, clock.live = True, (now, clock.offset), now
            self._tell(name, clock, now, "")
            self._release(name, clock)

    def _consider(self, name: str, clock: Clock, offset: int, now: int) -> None:
        """Take another offset for a step once it was told for a while, and nothing else was."""
        other = clock.candidate
        elapsed = now - other[1] if other else 0
        # a clock goes at the pace of ours; what was kept somewhere comes faster, or tells one time all along
        if other is None or abs(offset - other[0]) > max(elapsed // 2, 500):
            clock.candidate = offset, now
        elif elapsed >= CONFIRMED_MS:
            stepped = offset - clock.offset
            clock.offset, clock.candidate, clock.reference = offset, None, (now, offset)
            clock.live, clock.drift = now, 0.0
            clock.steps += 1
            self._tell(name, clock, now, f" It was stepped by {stepped / 1000:+.1f} s.")
            self._release(name, clock)

    def _follow_drift(self, clock: Clock, now: int) -> None:
        since, offset = clock.reference
        if now - since >= 60_000:
            clock.drift = (clock.offset - offset) * 60_000 / (now - since)
            clock.reference = now, clock.offset

    def _tell(self, name: str, clock: Clock, now: int, step: str) -> None:
        if now - (clock.told_step if step else clock.told) < TOLD_AGAIN_MS:
            return
        if step:
            clock.told_step = now
        elif abs(clock.offset) > self._warn:
            clock.told = now
        else:
            return
        side = "ahead of" if clock.offset > 0 else "behind"
        log.warning("the clock of %s is %.1f s %s ours.%s", name, abs(clock.offset) / 1000, side, step)

    # --- correcting --------------------------------------------------------------------------------------------

    def corrected_times(self, batch: Batch, received: TimeArray, ahead: NDArray[np.bool_]) -> TimeArray:
        """Return observed times with those of the rows in `ahead` brought back to our clock.

        By the offset of their source where that fits, so that the readings of a source keep their distances; else to
        when they were received.
        """
        lag = batch.observed - received
        offset = self._offset[self._source[batch.point]]
        # whole seconds, which stay for a while: the same reading told again gets the same time
        off = np.where(np.abs(lag - offset) <= AROUND_MS, -(-offset // 1000) * 1000, lag)
        self.corrected += int(ahead.sum())
        return np.where(ahead, batch.observed - off, batch.observed)

    # --- what is newest ----------------------------------------------------------------------------------------

    def take_in(self, batch: Batch, received: TimeArray) -> None:
        """Make readings the newest of their points where they are news."""
        if not len(batch):
            return
        self._follow()
        latest = self._latest
        lag = batch.observed - received
        observed = np.minimum(batch.observed, received)  # nothing is observed after it was received
        known = latest.observed[batch.point]
        news = observed >= known
        if batch.late is not None:
            news &= ~batch.late | (observed > known)
        if not news.all():
            back = ~news if batch.late is None else ~news & ~batch.late
            news |= self._stepped(batch, lag, received, back)
        rows = np.flatnonzero(news)
        if len(rows):
            self._put(batch, rows, observed, received, lag)
        if self._held:
            self.release(int(received.max()))

    def _put(
        self, batch: Batch, rows: NDArray[np.intp], observed: TimeArray, received: TimeArray, lag: TimeArray
    ) -> None:
        point = batch.point[rows]
        chosen = rows
        if len(point) > 1 and int(np.bincount(point).max()) > 1:
            # of several the newest; of those of one time, and of those that a stepped clock tells, the last
            order = np.lexsort((observed[rows], point))
            chosen = rows[order[np.append(point[order][1:] != point[order][:-1], True)]]
        point, told, came, off = batch.point[chosen], observed[chosen], received[chosen], lag[chosen]
        seen = self._seen(point, told, off, came)
        self._latest.put(point, told, batch.value[chosen], batch.quality[chosen], came, seen)
        self._latest.changes.note(batch.point[rows], observed[rows], batch.value[rows], batch.quality[rows])
        self._lag[point] = off
        if self._held:
            for index in set(self._held).intersection(point.tolist()):
                if self._latest.observed[index] >= self._held[index].observed:
                    del self._held[index]

    def _seen(
        self, point: IntArray, observed: TimeArray, lag: TimeArray, received: TimeArray
    ) -> TimeArray | None:
        """Return when readings were observed by our clock, where some clock is known to be behind: they are not old."""
        if not (self._settled & (self._offset < -ALIKE_MS)).any():  # a few sources, in place of all rows
            return None
        source = self._source[point]
        offset = self._offset[source]
        behind = self._settled[source] & (offset < -ALIKE_MS) & (np.abs(lag - offset) <= AROUND_MS)
        return np.where(behind, np.minimum(observed - offset, received), observed)

    def _stepped(
        self, batch: Batch, lag: TimeArray, received: TimeArray, back: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return which of the rows that go back are news, of a clock that was stepped; hold the others for a while."""
        source = self._source[batch.point]
        offset = self._offset[source]
        fits = np.abs(lag - offset) <= ALIKE_MS
        # what is known was told before the clock was stepped
        news: NDArray[np.bool_] = (
            back & fits & self._settled[source] & (self._lag[batch.point] > offset + ALIKE_MS)
        )
        self._doubt(
            batch, received, news, np.flatnonzero(back & ~fits)
        )  # those that fit are a little out of order
        return news

    def wild(self, batch: Batch, received: TimeArray, ahead: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which of the rows in `ahead` are dated by no clock that we know of.

        Their source tells another time, or has told too little until now.
        """
        if not ahead.any():
            return ahead
        source = self._source[batch.point]
        lag = batch.observed - received
        far: NDArray[np.bool_] = np.abs(lag - self._offset[source]) > AROUND_MS
        return ahead & (far | ~self._settled[source])

    def doubt(self, batch: Batch, received: TimeArray) -> None:
        """Let readings of which the time is wild wait until it is known whether their source's clock was stepped."""
        news = np.zeros(len(batch), dtype=bool)
        self._doubt(batch, received, news, np.arange(len(batch)))
        rows = np.flatnonzero(news)
        if len(rows):
            lag = batch.observed - received
            self._put(batch, rows, np.minimum(batch.observed, received), received, lag)

    def _doubt(
        self, batch: Batch, received: TimeArray, news: NDArray[np.bool_], doubtful: NDArray[np.intp]
    ) -> None:
        # of several of one point the last
        _, last = np.unique(batch.point[doubtful][::-1], return_index=True)
        for row in doubtful[len(doubtful) - 1 - last].tolist():
            news[row] = self._hold(
                int(batch.point[row]),
                Held(
                    int(batch.observed[row]),
                    float(batch.value[row]),
                    int(batch.quality[row]),
                    int(received[row]),
                ),
            )

    def _hold(self, index: int, reading: Held) -> bool:
        """Let a reading that goes back wait; return whether one that waits shows that it is news."""
        before = self._held.get(index)
        if before is not None:
            elapsed = reading.received - before.received
            at_pace = abs(reading.lag - before.lag) <= max(elapsed // 2, 500)
            if at_pace and elapsed >= CONFIRMED_MS:
                del self._held[index]
                return True
            if at_pace:  # the newer value waits as long as the first one
                reading.observed, reading.received = before.observed, before.received
        if before is not None or len(self._held) < HELD_MOST:
            self._held[index] = reading
        return False

    def set_back(self, ms: int) -> None:
        """Take what is known for told so much earlier: our own clock was set back, and news must not wait for it."""
        self._latest.shift(-ms)
        for clock in self.clocks.values():
            clock.seen, clock.live = clock.seen - ms, clock.live - ms
            clock.told, clock.told_step = clock.told - ms, clock.told_step - ms
            clock.reference = clock.reference[0] - ms, clock.reference[1]
            if clock.candidate is not None:
                clock.candidate = clock.candidate[0], clock.candidate[1] - ms
        for held in self._held.values():
            held.observed, held.received = held.observed - ms, held.received - ms

    @property
    def waiting(self) -> int:
        """Readings that go back in time and wait whether they are news."""
        return len(self._held)

    def release(self, now: int) -> None:
        """Make those that waited long enough the newest, unless their source went on telling newer ones."""
        for index, held in [(i, h) for i, h in self._held.items() if now - h.received >= HELD_MS]:
            clock = self.clocks.get(self._registry[index].source)
            if clock is None or clock.live < held.received:
                self._put_held(index, held)
            self._held.pop(index, None)

    def _release(self, name: str, clock: Clock) -> None:
        """Make what waits of a source the newest: its clock was stepped to where it says."""
        # many sources may come to be believed at once, and readings of all of them wait
        waiting = np.fromiter(self._held, np.int32, len(self._held))
        for index in waiting[self._source[waiting] == self._number[name]].tolist():
            held = self._held[index]
            if abs(held.lag - clock.offset) <= 2 * ALIKE_MS:
                self._put_held(index, held)
                del self._held[index]

    def _put_held(self, index: int, held: Held) -> None:
        one = np.array([index], np.int32)
        observed, received = np.array([min(held.observed, held.received)]), np.array([held.received])
        seen = self._seen(one, observed, np.array([held.lag]), received)
        self._latest.put(
            one, observed, np.array([held.value]), np.array([held.quality], np.uint8), received, seen
        )
        self._lag[index] = held.lag

    def _follow(self) -> None:
        """Take over points that are new or changed."""
        version = self._registry.version
        if version == self._version:
            return
        changed = self._registry.changed_since(self._version)
        self._version = version
        size = len(self._registry)
        if size > len(self._source):
            more = 2 * size - len(self._source)
            self._source = np.concatenate([self._source, np.zeros(more, np.int32)])
            self._lag = np.concatenate([self._lag, np.full(more, UNKNOWN)])
        for index, point in changed:
            number = self._number.get(point.source)
            if number is None:
                number = self._number[point.source] = len(self._names)
                self._names.append(point.source)
                if number >= len(self._offset):
                    self._offset = np.concatenate([self._offset, np.zeros_like(self._offset)])
                    self._settled = np.concatenate([self._settled, np.zeros_like(self._settled)])
                    self._by_setting = np.concatenate([self._by_setting, np.zeros_like(self._by_setting)])
                self._by_setting[number] = offset_of(point.source, self._offsets)
            self._source[index] = number

    # --- telling -----------------------------------------------------------------------------------------------

    def own_offset(self) -> float:
        """Return how far our own clock is ahead, s, where most sources of several kinds say so; else 0."""
        known = list(self.clocks.items())
        kinds = {name.partition(":")[0] for name, c in known if abs(c.offset) > self._warn}
        if len(known) < 3 or len(kinds) < 2:
            return 0.0
        middle = float(np.median([c.offset for _, c in known]))
        return -middle / 1000 if abs(middle) > self._warn else 0.0

    def stats(self) -> dict[str, Any]:
        """Return the clocks that are off, for the health page."""
        known = sorted(self.clocks.items(), key=lambda item: -abs(item[1].offset))
        # what is not believed yet may be no clock at all: a device that fell silent, and what is left of it at the broker
        off = [(name, c) for name, c in known if c.settled and (abs(c.offset) > ALIKE_MS or c.steps)]
        return {
            "sources": len(known),
            "corrected_readings": self.corrected,
            "waiting": self.waiting,
            "our_own_off_s": self.own_offset(),
            "off": {
                name: {
                    "offset_s": round(c.offset / 1000, 1),
                    "drift_s_per_minute": round(c.drift / 1000, 2),
                    "steps": c.steps,
                }
                for name, c in off[:SHOWN]
            },
        }


def offset_of(source: str, offsets: Mapping[str, float]) -> int:
    """Return what a setting says of a source's clock, ms; 0 where it says nothing."""
    return next((int(s * 1000) for pattern, s in offsets.items() if fnmatchcase(source, pattern)), 0)
