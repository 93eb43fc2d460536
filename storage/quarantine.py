"""What was refused, with the reason: counted exactly, the newest kept on disk for a person to look at."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from domain.batch import Batch, now_ms
from domain.points import PointRegistry

log = logging.getLogger(__name__)

PAYLOAD_BYTES = 4096
"""How much of a refused message is kept."""
PER_SECOND = 200
"""Entries of one reason kept on disk in a second; more are counted only."""


class Quarantine:
    """Refused readings and messages.

    Parameters
    ----------
    folder
        Holds ``quarantine.jsonl`` and the file before it.
    max_bytes
        Of both files together; the older half goes first.
    """

    def __init__(self, folder: Path, max_bytes: int = 64 << 20) -> None:
        self._folder = folder
        self._file = folder / "quarantine.jsonl"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        """How many were refused since the start, by reason."""
        self._second = 0
        self._in_second: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)

    def readings(self, rows: Batch, reason: str, registry: PointRegistry, detail: str = "") -> None:
        """Set readings aside; `reason` is a stable, countable word."""
        keep = self._allowance(reason, len(rows))
        entries = [
            {
                "reason": reason,
                "detail": detail,
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
        ]
        self._keep(entries)

    def message(self, source: str, payload: bytes, reason: str, detail: str = "") -> None:
        """Set a message aside that could not be understood; `source` says where it came from."""
        if self._allowance(reason, 1):
            text = payload[:PAYLOAD_BYTES].decode("utf-8", "backslashreplace")
            self._keep(
                [
                    {
                        "reason": reason,
                        "detail": detail,
                        "source": source,
                        "payload": text,
                        "bytes": len(payload),
                    }
                ]
            )

    def entries(self, reason: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest entries, newest first."""
        with self._lock:
            found: deque[dict[str, Any]] = deque(maxlen=limit)
            for entry in self._all():
                if reason is None or entry.get("reason") == reason:
                    found.append(entry)
        return list(reversed(found))

    def _all(self) -> Iterator[dict[str, Any]]:
        for path in (self._file.with_suffix(".1.jsonl"), self._file):
            if path.exists():
                with path.open("rb") as lines:
                    for line in lines:
                        try:
                            yield orjson.loads(line)
                        except orjson.JSONDecodeError:
                            continue  # the line that a crash cut short

    def _allowance(self, reason: str, n: int) -> int:
        with self._lock:
            self.counts[reason] += n
            second = int(time.monotonic())
            if second != self._second:
                self._second = second
                self._in_second.clear()
            keep = max(0, min(n, PER_SECOND - self._in_second[reason]))
            self._in_second[reason] += keep
            return keep

    def _keep(self, entries: list[dict[str, Any]]) -> None:
        if not entries:
            return
        arrived: Mapping[str, Any] = {"received": now_ms()}
        blob = b"".join(orjson.dumps({**arrived, **e}) + b"\n" for e in entries)
        with self._lock:
            try:
                if self._file.exists() and self._file.stat().st_size + len(blob) > self._max_bytes // 2:
                    self._file.replace(self._file.with_suffix(".1.jsonl"))
                with self._file.open("ab") as file:
                    file.write(blob)
            except OSError as e:
                # a full disk must not stop ingest: they are counted all the same
                log.error("quarantine %s: %d entries not kept: %s", self._file, len(entries), e)
