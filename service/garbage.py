"""Keeps the garbage collector short: a full collection walks every object while all threads stand still.

A quarter of a million points make it walk for half a second, again and again, although none of them ever goes. So what has
survived a full collection that took long is left out of later ones (`gc.freeze`). Counting references still frees it; only
a ring of such objects would stay, and none is set aside before as many have come that a walk of them takes `LONG_S`.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator

LONG_S = 0.02
"""Of processor time. What was set aside costs nothing more, so that full collections stay about as short as this."""


class ShortCollections:
    """Sets aside what long collections leave, within `kept_short`; `stats` may be asked for from any thread."""

    def __init__(self) -> None:
        self._began = 0.0
        self._full = self._set_aside = 0
        self._longest = 0.0

    @contextlib.contextmanager
    def kept_short(self) -> Iterator[None]:
        """Look at each collection until the end of the block."""
        gc.callbacks.append(self._look)
        try:
            yield
        finally:
            gc.callbacks.remove(self._look)
            gc.unfreeze()

    def stats(self) -> dict[str, float]:
        """Return how many full collections there were, the longest in s, and how often survivors were set aside."""
        return {
            "full_collections": self._full,
            "longest_collection_s": round(self._longest, 3),
            "survivors_set_aside": self._set_aside,
        }

    def _look(self, phase: str, told: dict[str, int]) -> None:
        # a collection begins and ends in one thread, and no other runs meanwhile
        if told["generation"] < 2:
            return
        if phase == "start":
            self._began = time.thread_time()
            return
        took = time.thread_time() - self._began
        self._full += 1
        self._longest = max(self._longest, took)
        if took > LONG_S:
            gc.freeze()
            self._set_aside += 1
