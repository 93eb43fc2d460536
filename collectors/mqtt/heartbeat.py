"""Heartbeats: "the BMS is gone" told apart from "nothing changed"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from domain.points import Point

GONE, ALIVE = 0, 1


@dataclass(slots=True)
class Beat:
    """One heartbeat point: what it vouches for, when it was last heard (`clock` seconds), and what was said of it."""

    name: str
    index: int
    heard: float
    told: int | None = None
    gone: int = 0


class HeartbeatWatch:
    """Watches the BMS's heartbeats; a heartbeat never heard is unknown, not gone.

    Parameters
    ----------
    timeout
        Seconds without a beat after which its sender counts as gone. The contract has one every 10 s.
    """

    def __init__(self, timeout: float, clock: Callable[[], float] = monotonic) -> None:
        self._timeout = timeout
        self._clock = clock
        self.beats: dict[str, Beat] = {}

    def heard(self, name: str, index: int) -> None:
        """Note a beat of `name`; `index` is the registry's, of the point that tells whether it lives."""
        beat = self.beats.get(name)
        if beat is None:
            self.beats[name] = Beat(name, index, self._clock())
        else:
            beat.heard = self._clock()

    def forget(self, name: str) -> None:
        """Expect no more beats of `name`."""
        self.beats.pop(name, None)

    def states(self) -> list[tuple[int, int]]:
        """Return (point index, `ALIVE` or `GONE`) of each heartbeat."""
        now = self._clock()
        states = []
        for beat in list(self.beats.values()):
            state = ALIVE if now - beat.heard <= self._timeout else GONE
            if state == GONE and beat.told == ALIVE:
                beat.gone += 1
            beat.told = state
            states.append((beat.index, state))
        return states


def alive_point(name: str, source: str) -> Point:
    """Return our point that tells whether the sender of a heartbeat lives."""
    return Point(
        f"System/Available/hallwatch/heartbeat/{source}/{name}",
        "System",
        "Available",
        name,
        name,
        state_text=((GONE, "Gone"), (ALIVE, "Alive")),
        source=source,
    )
