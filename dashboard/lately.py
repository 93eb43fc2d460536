"""An answer that is asked for anew after a while only, whoever wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lately(Generic[T]):
    """Keeps what `ask` returned for some time. Safe from several threads: one asks, the others wait for its answer.

    Parameters
    ----------
    ask
        Returns the answer; blocks. What it raises reaches whoever called, and nothing is kept.
    keep_ms
        For how long an answer holds.
    clock
        UTC ms.
    """

    def __init__(self, ask: Callable[[], T], keep_ms: int, clock: Callable[[], int]) -> None:
        self._ask = ask
        self._keep_ms = keep_ms
        self._clock = clock
        self._asking = threading.Lock()
        self._answer: tuple[T, int] | None = None  # with the time until which it holds
        self._forgotten = 0

    def __call__(self) -> T:
        """Return the answer, asked for anew if it is too old."""
        known = self._answer
        if known is not None and self._holds(known[1]):
            return known[0]
        with self._asking:
            known = self._answer
            if known is not None and self._holds(known[1]):
                return known[0]
            forgotten = self._forgotten
            answer = self._ask()
            if forgotten == self._forgotten:  # else it may be from before what made it forgotten
                self._answer = (answer, self._clock() + self._keep_ms)
            return answer

    def _holds(self, until: int) -> bool:
        # a clock that was set back must not make an answer hold for ever
        return until - self._keep_ms <= self._clock() < until

    def forget(self) -> None:
        """Have it asked for anew the next time, also where somebody is asking right now."""
        self._forgotten += 1
        self._answer = None
