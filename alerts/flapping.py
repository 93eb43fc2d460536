"""Alarms that come and go again and again: recognised, told as one, and held until they are quiet.

ISA-18.2 and EEMUA 191 call them chattering and fleeting. The first times an alarm comes it is told as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from alerts.state_settings import Flapping
from domain.alert import Alert, Condition
from domain.said import Said, Span

MOST_TIMES = 100
"""Openings of an alarm that are remembered."""


class Flaps:
    """Which alarms flap, from when they opened.

    Parameters
    ----------
    settings
        How often within which time is flapping, and how long they are held.
    """

    def __init__(self, settings: Flapping) -> None:
        self._times = settings.times
        self._within = int(settings.within * 1000)
        self._quiet = int(settings.quiet * 1000)
        self._opened: dict[str, list[int]] = {}  # by key, within the time, the newest last
        self._flapping: dict[str, int] = {}  # key of an active alarm -> how often it came

    def read(
        self, openings: Iterable[tuple[str, int]], active: Mapping[int, Alert], counts: Mapping[int, int]
    ) -> None:
        """Take over what the records know after a start.

        Parameters
        ----------
        openings
            Keys and times (UTC ms) of what opened within the time, oldest first.
        active
            Active alerts by id.
        counts
            By active alert how often it had opened within the time when it did, itself counted.
        """
        for key, at in openings:
            self.opened([key], at)
        for number, times in counts.items():
            if number in active and times >= self._times:
                self._flapping[active[number].condition.key] = times

    def opening(self, condition: Condition, now: int) -> Condition:
        """Return the condition of an alarm that is about to open; its sentence tells where it flaps."""
        times = len(self._lately(condition.key, now)) + 1
        self._flapping.pop(condition.key, None)
        if times >= self._times:
            self._flapping[condition.key] = times
        return self.named(condition)

    def opened(self, keys: Iterable[str], now: int) -> None:
        """Note that alarms have opened."""
        for key in keys:
            self._opened[key] = [*self._lately(key, now), now]

    def named(self, condition: Condition) -> Condition:
        """Return a condition whose sentence tells that its alarm flaps, where it does."""
        times, said = self._flapping.get(condition.key), condition.said
        if times is None or not condition.known or (isinstance(said, Said) and said.includes("flapping")):
            return condition
        within, quiet = Span(self._within / 1000), Span(self._quiet / 1000)
        return replace(
            condition, said=Said.of("flapping", said=said, times=times, within=within, quiet=quiet)
        )

    def hold(self, key: str) -> int:
        """Return how long an alarm is held once its condition is gone, ms; 0 where it does not flap."""
        return self._quiet if key in self._flapping else 0

    def over(self, keys: Iterable[str]) -> None:
        """Note that these alarms were quiet for long enough."""
        for key in keys:
            self._flapping.pop(key, None)

    def forget(self, now: int) -> None:
        """Forget what opened too long ago to count."""
        since = now - self._within
        kept = {key: [at for at in times if at > since] for key, times in self._opened.items()}
        self._opened = {key: times for key, times in kept.items() if times}

    def __len__(self) -> int:
        return len(self._flapping)

    def _lately(self, key: str, at: int) -> list[int]:
        return [t for t in self._opened.get(key, ()) if at - self._within < t <= at][-MOST_TIMES:]
