"""An answer that takes long, worked out in the background: whoever asks gets the newest one at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from dashboard.threads import in_background

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Behind(Generic[T]):
    """Keeps what `ask` returned last. Safe from several threads; one asks at a time.

    Parameters
    ----------
    ask
        Returns the answer; blocks. What it raises is logged, and the answer before stays.
    keep_ms
        An answer older than this is asked for anew, the next time that somebody wants it.
    clock
        UTC ms.
    wait
        Whether whoever asks first waits for the answer, which is then kept for good: of a moment that is past.
    """

    def __init__(
        self, ask: Callable[[], T], keep_ms: int, clock: Callable[[], int], wait: bool = False
    ) -> None:
        self._wait = wait
        self._ask = ask
        self._keep_ms = keep_ms
        self._clock = clock
        self._lock = threading.Lock()
        self._running = False
        self._failing = False
        self._asked: int | None = None
        self._answer: T | None = None

    def __call__(self) -> T | None:
        """Return the newest answer, None before the first; have a newer one made if it is old."""
        if self._wait:
            return self._at_once()
        now = self._clock()
        with self._lock:
            fresh = self._asked is not None and abs(now - self._asked) < self._keep_ms
            if not fresh and not self._running:
                self._running, self._asked = True, now
                in_background(self.work)
            return self._answer

    def _at_once(self) -> T | None:
        with self._lock:
            if self._answer is None:
                self.work()
            return self._answer

    def work(self) -> None:
        """Work the answer out here and now."""
        try:
            self._answer = self._ask()
            self._failing = False
        except Exception as error:
            if not self._failing:
                log.exception("a figure of the console cannot be worked out", error=str(error))
            self._failing = True
        finally:
            self._running = False
