"""What was refused, with the reason: counted exactly, the newest kept on disk for a person to look at."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from domain.batch import Batch, now_ms
from domain.points import PointRegistry
from storage.private import private_folder, private_opener

log = logging.getLogger(__name__)

PAYLOAD_BYTES = 4096
"""How much of a refused message is kept."""
PER_MINUTE = 300
"""Entries of one reason kept in a minute: a flood is counted, not copied."""


class Quarantine:
    """Refused readings and messages.

    Parameters
    ----------
    folder
        Holds ``quarantine.jsonl`` and the file before it; None keeps the newest in memory only.
    max_bytes
        Of both files together; the older half goes first.
    """

    def __init__(self, folder: Path | None, max_bytes: int = 64 << 20) -> None:
        self.counts: Counter[str] = Counter()
        """How many were refused since the start, by reason."""
        self.recent: deque[dict[str, Any]] = deque(maxlen=1000)
        """The newest entries since the start, oldest first."""
        self._file = folder and folder / "quarantine.jsonl"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._minute = 0
        self._in_minute: Counter[str] = Counter()
        if folder:
            private_folder(folder)

    def readings(
        self,
        rows: Batch,
        reason: str,
        registry: PointRegistry,
        detail: Callable[[int, float], str] | None = None,
    ) -> None:
        """Set readings aside; `reason` is a stable, countable word, `detail` says more of an index and a value."""
        keep = self._allowance(reason, len(rows))
        self._keep(
            {
                "reason": reason,
                "detail": detail(p, v) if detail else "",
                "point": registry[p].key if 0 <= p < len(registry) else f"#{p}",
                "observed": t,
                "value": v,
                "quality": q,
            }
            for p, t, v, q in zip(
                rows.point[:keep].tolist(),
                rows.observed[:keep].tolist(),
                rows.value[:keep].tolist(),
                rows.quality[:keep].tolist(),
                strict=True,
            )
        )

    def message(self, topic: str, payload: bytes, reason: str, detail: str = "") -> None:
        """Set a message aside that could not be used; `topic` says where it came from."""
        if self._allowance(reason, 1):
            entry = {
                "reason": reason,
                "detail": detail[:300],
                "topic": topic[:500],
                "payload": payload[:PAYLOAD_BYTES].decode("utf-8", "backslashreplace"),
                "bytes": len(payload),
            }
            self._keep([entry])

    def note(self, reason: str, count: int = 1) -> None:
        """Count something that is wrong with what was used all the same."""
        with self._lock:
            self.counts[reason] += count

    def _allowance(self, reason: str, n: int) -> int:
        with self._lock:
            self.counts[reason] += n
            minute = int(time.monotonic() // 60)
            if minute != self._minute:
                self._minute = minute
                self._in_minute.clear()
            keep = max(0, min(n, PER_MINUTE - self._in_minute[reason]))
            self._in_minute[reason] += keep
            return keep

    def _keep(self, entries: Iterable[dict[str, Any]]) -> None:
        kept = [{"received": now_ms(), **entry} for entry in entries]
        with self._lock:
            self.recent.extend(kept)
            if not kept or self._file is None:
                return
            blob = b"".join(orjson.dumps(entry) + b"\n" for entry in kept)
            try:
                if self._file.exists() and self._file.stat().st_size + len(blob) > self._max_bytes // 2:
                    self._file.replace(self._file.with_suffix(".1.jsonl"))
                with open(self._file, "ab", opener=private_opener) as file:
                    file.write(blob)
            except OSError as e:
                # a full disk must not stop ingest: they are counted all the same
                self.counts[f"quarantine_not_written ({e.strerror})"] += len(kept)
                log.error("quarantine %s: %d entries not kept: %s", self._file, len(kept), e)


def read_quarantine(folder: Path, reason: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Return the newest entries kept anywhere under a data folder, newest first."""
    found = [
        entry
        for file in sorted(folder.rglob("quarantine*.jsonl"))
        for entry in _lines(file)
        if reason is None or entry.get("reason") == reason
    ]
    found.sort(key=lambda entry: entry.get("received", 0))  # stable: within a millisecond as written
    return found[-limit:][::-1]


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as lines:
        for line in lines:
            try:
                entry = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # the line that a crash cut short
            if isinstance(entry, dict) and isinstance(entry.get("reason"), str):
                if not isinstance(entry.get("received"), int):
                    entry["received"] = 0
                yield entry
