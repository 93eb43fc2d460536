"""Answers that are kept: for a while, or for good where they do not change."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
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


class Kept(Generic[T]):
    """Answers that do not change, each asked for once. Safe from several threads: one asks, the others wait.

    Parameters
    ----------
    most
        So many are kept; the one that was wanted longest ago goes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, ask: Callable[[], T]) -> T:
        """Return the answer to a key, asked for if it is not kept. What `ask` raises reaches the caller, and nothing is kept."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = ask()
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]
