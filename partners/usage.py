"""Who asked what, and what was refused: counted in memory, written to the records once a minute."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque

import structlog
from starlette.types import Scope

from domain.batch import now_ms
from domain.errors import StorageError
from domain.pace import Pace
from partners.problems import ApiError
from storage.usage_records import Refusal, UsageRecords

log = structlog.get_logger(__name__)

EVERY_S = 60.0
HOUR_MS = 3_600_000
REFUSALS_LISTED = (0.1, 100)
"""Refusals of an address that are listed one by one, a second and at once; all are counted."""
MOST_WAITING = 10_000
"""Refusals and counts that wait to be written."""
ELSEWHERE = "other"
"""Stands for every address at which there is nothing."""


class Calls:
    """Counts of API calls by partner, route and status, and the newest refusals; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: Counter[tuple[str, int]] = Counter()
        self._unwritten: Counter[tuple[int, str, str, int]] = Counter()
        self._refusals: deque[Refusal] = deque(maxlen=MOST_WAITING)
        self._pace = Pace(*REFUSALS_LISTED)
        self.untold = 0
        """Counts that were dropped because the records did not take them."""

    def note(self, partner: str, status: int, route: str = ELSEWHERE) -> None:
        """Count one call; `partner` is empty where the caller did not say who it is."""
        key = (now_ms() // HOUR_MS, partner, route, status)
        with self._lock:
            self._count[partner, status] += 1
            if len(self._unwritten) < MOST_WAITING or key in self._unwritten:
                self._unwritten[key] += 1
            else:
                self.untold += 1

    def refuse(self, error: ApiError, route: str, address: str) -> None:
        """List a refusal: of whom, from where, of what, and why."""
        if error.status not in (401, 403, 429) or self._pace.take(f"{address} {error.prefix}"):
            return
        told = Refusal(now_ms(), error.partner, error.prefix, address, route, error.status, error.reason)
        with self._lock:
            self._refusals.append(told)
        log.info(
            "partner call refused",
            partner=error.partner,
            key=error.prefix,
            address=address,
            route=route,
            status=error.status,
            reason=error.reason,
        )

    def stats(self) -> dict[str, int]:
        """Return counts for the health page: all calls, by status, and by partner."""
        with self._lock:
            counted = dict(self._count)
        found: Counter[str] = Counter(calls=sum(counted.values()))
        for (partner, status), number in counted.items():
            found[f"status_{status}"] += number
            found[f"partner_{partner or 'unknown'}"] += number
        return dict(found)

    def write(self, records: UsageRecords) -> None:
        """Write what came since the last time; blocks. What cannot be written waits for the next time."""
        with self._lock:
            counts, self._unwritten = self._unwritten, Counter()
            refusals, self._refusals = self._refusals, deque(maxlen=MOST_WAITING)
        try:
            records.add_usage(counts, list(refusals))
        except StorageError:
            with self._lock:
                self._unwritten += counts
                self._refusals.extendleft(reversed(refusals))
            raise

    async def run(self, records: UsageRecords) -> None:
        """Write once a minute until cancelled, and a last time then."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                try:
                    await asyncio.to_thread(self.write, records)
                except StorageError as error:
                    log.error("usage of the partner API was not written, it is tried again", error=str(error))
        finally:
            try:
                self.write(records)
            except StorageError as error:
                log.error("the last usage of the partner API was not written", error=str(error))


def address(scope: Scope) -> str:
    """Return where a request comes from."""
    client = scope.get("client")
    return str(client[0])[:100] if client else ""
