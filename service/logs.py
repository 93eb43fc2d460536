"""Structured logs: readable lines on a terminal, one JSON object a line elsewhere.

Whatever is logged, by us or by a library: no secret, no line without end, no control character on a terminal, and no
flood. Lines of one kind are limited in rate; what was left out is counted and told.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import structlog

from domain.errors import brief, printable
from domain.redaction import redacted

VALUE_CHARACTERS = 4_000
TRACEBACK_CHARACTERS = 16_000
LINE_VALUES = 50


@dataclass(frozen=True, slots=True)
class Rate:
    """So many lines at once, and from then on so many a minute."""

    burst: float
    per_minute: float


KIND = Rate(20, 10)
"""Lines of one logger with one event: what differs in a line is in its values."""
LOGGER = Rate(300, 150)
TOTAL = Rate(1_000, 600)
MOST_KINDS = 2_000
TELL_EVERY_S = 60.0


class _Bucket:
    __slots__ = ("at", "left", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate, self.left, self.at = rate, rate.burst, now

    def has(self, now: float) -> bool:
        self.left = min(self.rate.burst, self.left + (now - self.at) / 60 * self.rate.per_minute)
        self.at = now
        return self.left >= 1


class Limiter(logging.Filter):
    """Lets so many lines of a kind, of a logger and in all through, and tells now and then what it held back.

    Parameters
    ----------
    clock
        Monotonic seconds.
    tell
        Takes the summary of what was held back, by kind; it must not come here again.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[dict[str, int]], None] = lambda held: None,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._tell = tell
        self._lock = threading.Lock()
        self._buckets: OrderedDict[tuple[str, ...], _Bucket] = OrderedDict()
        self._held: Counter[str] = Counter()
        self._told = clock()
        self.lines = self.held_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        now = self._clock()
        event = record.msg.get("event", "") if isinstance(record.msg, dict) else record.msg
        kind = (record.name, str(event)[:100] if isinstance(event, str) else type(event).__name__)
        with self._lock:
            asked = [
                self._bucket(key, rate, now)
                for key, rate in ((kind, KIND), ((record.name,), LOGGER), ((), TOTAL))
            ]
            # each is brought up to date, also where another has nothing left
            ready = [bucket.has(now) for bucket in asked]
            passes = all(ready)
            if passes:
                for bucket in asked:
                    bucket.left -= 1
                self.lines += 1
            else:
                self.held_back += 1
                name = ": ".join(kind)
                self._held[name if name in self._held or len(self._held) < LINE_VALUES else "others"] += 1
            held = self._due(now)
        if held:
            self._tell(held)
        return passes

    def stats(self) -> dict[str, int]:
        """Return counters for the health page."""
        return {"lines": self.lines, "held_back": self.held_back}

    def _bucket(self, key: tuple[str, ...], rate: Rate, now: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(rate, now)
            if len(self._buckets) > MOST_KINDS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket

    def _due(self, now: float) -> dict[str, int]:
        if now - self._told < TELL_EVERY_S or not self._held:
            return {}
        held, self._held, self._told = dict(self._held), Counter(), now
        return held


class _Handler(logging.StreamHandler[Any]):
    """Says of a line that cannot be formatted only that, instead of a traceback that holds its values."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        with contextlib.suppress(Exception):
            self.stream.write(f"a line of {record.name} cannot be written: {brief(record.msg)}\n")
            self.flush()


def clean(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make every value of a line short, printable and free of secrets."""
    for key in list(event)[LINE_VALUES:]:
        if not key.startswith("_"):
            del event[key]
    for key, value in event.items():
        if key.startswith("_") or value is None or isinstance(value, (bool, float)):
            continue
        if key in ("exception", "stack"):
            event[key] = "\n".join(printable(line) for line in redacted(_middle_out(str(value))).splitlines())
            continue
        if isinstance(value, int) and abs(value) < 10**30:
            continue
        text = value if isinstance(value, str) else brief(value, VALUE_CHARACTERS)
        text = redacted(text[: 2 * VALUE_CHARACTERS])
        event[key] = printable(text if len(text) <= VALUE_CHARACTERS else text[:VALUE_CHARACTERS] + "...")
    return event


def configure(level: str = "info", form: Literal["auto", "text", "json"] = "auto") -> Limiter:
    """Set up logging for the process; standard-library loggers of the libraries go the same way.

    Returns what limits it, for its counters.
    """
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if text
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _Handler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # as text, before a renderer adds the values of local variables
                structlog.processors.format_exc_info,
                clean,
                renderer,
            ],
        )
    )

    def tell(held: dict[str, int]) -> None:
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, "lines were held back", (), None)
        record.msg = "lines were held back: " + ", ".join(f"{n} of {kind}" for kind, n in held.items())
        handler.emit(record)

    limiter = Limiter(tell=tell)
    handler.addFilter(limiter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _last_words
    # request lines and protocol chatter drown what an operator looks for
    for noisy in ("uvicorn.access", "httpx", "httpcore", "amqtt", "transitions", "aiosqlite", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return limiter


def stats() -> dict[str, int]:
    """Return how many lines this process has written and held back."""
    limiters = [f for h in logging.getLogger().handlers for f in h.filters if isinstance(f, Limiter)]
    return limiters[0].stats() if limiters else {"lines": 0, "held_back": 0}


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what ends the process; a message may hold a secret that somebody wrote into a URL."""
    import traceback

    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def _middle_out(text: str) -> str:
    """Return a traceback with its beginning and its end: where it started and what it says."""
    if len(text) <= TRACEBACK_CHARACTERS:
        return text
    half = TRACEBACK_CHARACTERS // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters ...\n{text[-half:]}"
