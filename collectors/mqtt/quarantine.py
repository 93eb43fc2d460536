"""Messages that cannot be used: every one counted by reason, enough of them kept to see what is wrong."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from domain.batch import now_ms

_KEPT_BYTES = 1024  # of each payload
_FILE_BYTES = 16 << 20  # of the file; then it becomes the older one, and the older one goes
_PER_MINUTE = 60  # records of one reason in a minute: a flood is counted, not copied


class Quarantine:
    """Counts refused messages by reason and keeps samples, in memory and (with a folder) in a file.

    Parameters
    ----------
    folder
        Where ``quarantine.jsonl`` lies; None keeps the last 1,000 records in memory only.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.recent: deque[dict[str, Any]] = deque(maxlen=1000)
        self._path = folder and folder / "quarantine.jsonl"
        self._budget: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    def refuse(self, topic: str, payload: bytes, reason: str, detail: str, count: int = 1) -> None:
        """Count a message under `reason` and keep it unless many of its kind were kept this minute."""
        self.counts[reason] += count
        minute = int(time.monotonic() // 60)
        begun, kept = self._budget[reason]
        kept = kept if begun == minute else 0
        if kept >= _PER_MINUTE:
            return
        self._budget[reason] = (minute, kept + 1)
        record = {
            "received": now_ms(),
            "topic": topic[:500],
            "reason": reason,
            "detail": detail[:300],
            "size": len(payload),
            "payload": payload[:_KEPT_BYTES].decode("utf-8", "backslashreplace"),
        }
        self.recent.append(record)
        if self._path:
            self._append(self._path, record)

    def note(self, reason: str, count: int = 1) -> None:
        """Count something that is wrong with a message that was used all the same."""
        self.counts[reason] += count

    def _append(self, path: Path, record: dict[str, Any]) -> None:
        try:
            if path.exists() and path.stat().st_size > _FILE_BYTES:
                path.replace(path.with_suffix(".old.jsonl"))
            with path.open("ab") as file:
                file.write(orjson.dumps(record) + b"\n")
        except OSError as error:  # a full disk must not stop the collector; the counts still tell
            self.counts[f"quarantine_not_written ({error.strerror})"] += 1


def read_quarantine(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the kept records, oldest first: received, topic, reason, detail, size, payload (its beginning)."""
    for name in ("quarantine.old.jsonl", "quarantine.jsonl"):
        path = folder / name
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield orjson.loads(line)
