"""Watches the event loop: which callback kept it longest, by what, and where.

All that the service does at a time shares one loop, so that a callback that computes or waits keeps everybody waiting.
On a busy machine a callback also takes long because its thread was not let run, which is no fault of it; so the time of
a slow one is taken apart:

- computing: processor time of the loop's own thread;
- blocked: it slept in a call that does not return at once (disk, socket, database, lock);
- held up: the rest; it was ready while others had the processor or the interpreter.

The first two together are `busy`. Who is busy for more than `SLOW_S` is counted as slow and logged with its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from domain.redaction import redacted

log = structlog.get_logger(__name__)

SLOW_S = 0.1
LOOK_S = 0.02
"""How often the watching thread looks at what runs; it sees the larger part of whatever takes `SLOW_S`."""
PIECE_S = 0.02
"""Who waits for the interpreter wakes every 5 ms (`sys.getswitchinterval`) to ask again; who sleeps longer at a time waits
for something else."""
MOST_FRAMES = 4
MOST_TEXT = 300
_ROOT = f"{Path(__file__).parents[1]}/"


@dataclass(frozen=True, slots=True)
class _Spent:
    """What a thread has spent so far: computing, ready without a processor, both s; how often it went to sleep."""

    at: float
    computing: float
    queued: float
    sleeps: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the watching thread saw of a callback that had run for a while."""

    number: int
    spent: _Spent
    where: str
    begins_thread: bool
    """It waits for a thread that it begins, which waits for the processor."""


class LoopWatch:
    """Watches the event loop that runs, within `watching`; `stats` may be asked for from any thread.

    It costs a microsecond a callback and fifty looks of a thread a second; ``benchmarks.loop_watch`` measures it.
    """

    def __init__(self) -> None:
        self._slow = self._held_up = 0
        self._longest = {"busy": 0.0, "blocked": 0.0, "took": 0.0}
        self._last: dict[str, Any] = {}
        self._number = 0
        """Of the callback that runs; negative while none does."""
        self._began = 0.0
        self._seen: _Seen | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the running loop until the end of the block.

        asyncio tells how long a callback took only in its debug mode, which costs many times more, and only by the
        wall's clock; so its ``Handle._run`` is wrapped meanwhile. The loops of other threads pay one comparison.
        """
        loop, ended = asyncio.get_running_loop(), threading.Event()
        ident, native = threading.get_ident(), threading.get_native_id()
        handles: Any = asyncio.Handle
        original = handles._run
        monotonic, thread_time = time.monotonic, time.thread_time

        def watched(handle: Any) -> None:
            if handle._loop is not loop:
                original(handle)
                return
            self._number = number = abs(self._number) + 1
            self._began = began = monotonic()
            computed = thread_time()
            try:
                original(handle)
            finally:
                self._number = -number
                if monotonic() - began > SLOW_S:
                    self._finish(handle, began, thread_time() - computed, _spent(ident, native, monotonic()))

        looking = threading.Thread(
            target=self._look, args=(ident, native, ended), name="loop-watch", daemon=True
        )
        handles._run = watched
        looking.start()
        try:
            yield
        finally:
            handles._run = original
            ended.set()

    def stats(self) -> dict[str, Any]:
        """Return counts since the start, the longest times in s, and the last that was slow; ready for JSON."""
        return {
            "callbacks": abs(self._number),
            "slow": self._slow,
            "held_up": self._held_up,
            **{f"longest_{name}_s": round(value, 3) for name, value in self._longest.items()},
            "last_slow": self._last,
        }

    def _look(self, ident: int, native: int, ended: threading.Event) -> None:
        """Note where a callback is that takes a while, and what its thread had spent by then; the watching thread."""
        while not ended.wait(LOOK_S):
            number, seen = self._number, self._seen
            if number <= 0 or (seen is not None and seen.number == number):
                continue
            if time.monotonic() - self._began < LOOK_S:
                continue
            spent, frame = _spent(ident, native), sys._current_frames().get(ident)
            if frame is not None and self._number == number:
                self._seen = _Seen(number, spent, _place(frame), _begins_thread(frame))

    def _finish(self, handle: Any, began: float, computing: float, spent: _Spent) -> None:
        """Count a callback that took long."""
        took, blocked, where = spent.at - began, 0.0, ""
        seen = self._seen
        if seen is not None and seen.number == abs(self._number):
            where, before = seen.where, seen.spent
            slept = (
                (spent.at - before.at) - (spent.computing - before.computing) - (spent.queued - before.queued)
            )
            if slept > PIECE_S * (1 + spent.sleeps - before.sleeps) and not seen.begins_thread:
                blocked = slept
        busy = computing + blocked
        for name, value in (("busy", busy), ("blocked", blocked), ("took", took)):
            self._longest[name] = max(self._longest[name], value)
        if busy <= SLOW_S:
            self._held_up += 1
            return
        self._slow += 1
        self._last = {
            "what": _name(handle),
            "where": where,
            "computing_s": round(computing, 3),
            "blocked_s": round(blocked, 3),
            "took_s": round(took, 3),
            "at": round(time.time(), 1),
        }
        log.warning("a callback kept the event loop", **self._last)


def _spent(ident: int, native: int, at: float | None = None) -> _Spent:
    """Return what a thread has spent; where the system does not tell of its sleeps, it is never taken as blocked.

    The reader may itself be held up in the middle. So the first note is dated by its end and the last, with `at`, by its
    beginning: what lies between is rather too short, and nobody is blamed for more than there was.
    """
    computing = time.clock_gettime(time.pthread_getcpuclockid(ident))
    task = Path(f"/proc/self/task/{native}")
    try:
        queued = int((task / "schedstat").read_text().split()[1]) / 1e9
        status = (task / "status").read_text()
        sleeps = int(status.partition("\nvoluntary_ctxt_switches:")[2].split(None, 1)[0])
    except (OSError, ValueError, IndexError):
        at = time.monotonic() if at is None else at
        return _Spent(at, computing, at, 0)
    return _Spent(time.monotonic() if at is None else at, computing, queued, sleeps)


def _place(frame: FrameType) -> str:
    """Return the innermost frame and those of our own around it, the innermost first."""
    told: list[str] = []
    inner: FrameType | None = frame
    while inner is not None and len(told) < MOST_FRAMES:
        code = inner.f_code
        ours = code.co_filename.startswith(_ROOT) and "site-packages" not in code.co_filename
        if not told or (ours and code.co_filename != __file__):
            file = (
                code.co_filename.removeprefix(_ROOT) if ours else "/".join(code.co_filename.split("/")[-2:])
            )
            told.append(f"{code.co_qualname} {file}:{inner.f_lineno}")
        inner = inner.f_back
    return " < ".join(told)


def _begins_thread(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not threading.Thread.start.__code__:
        frame = frame.f_back
    return frame is not None


def _name(handle: Any) -> str:
    """Return what a handle calls: a task by its coroutine, anything else by its name."""
    call = handle._callback
    owner = getattr(call, "__self__", None)
    if isinstance(owner, asyncio.Task):
        call = owner.get_coro()
    name = getattr(call, "__qualname__", None) or repr(call)
    return redacted(name[:MOST_TEXT])
