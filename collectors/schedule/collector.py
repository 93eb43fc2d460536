"""The schedule collector: work that is planned, read again and again from a URL or a file."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import httpx
import orjson
import structlog

from collectors.fetch import fetch, without_secrets
from collectors.schedule.entries import Reading, read_entries
from collectors.schedule.settings import ScheduleSettings
from domain.batch import now_ms
from domain.documents import Bounds, parse_document
from domain.errors import HallwatchError, SourceError, SourceProtocolError
from domain.planned import PlannedWork
from domain.secret import read_secret
from domain.trust import trusted

log = structlog.get_logger(__name__)

_SHOWN = 20


class Change(Protocol):
    """What a look brought."""

    @property
    def new(self) -> int:
        """Works not announced before."""

    @property
    def changed(self) -> int:
        """Works whose plan is another now."""

    @property
    def gone(self) -> int:
        """Works that are announced no longer."""


Keep = Callable[[str, Sequence[PlannedWork], int, Collection[str], int], Change]
"""Takes source, all works that it announces, the time, names of entries that could not be read, time of the look before."""


class ScheduleCollector:
    """Reads one schedule every `interval` and hands on what it announces.

    An answer that cannot be had or read changes nothing: what was announced before still holds. A bad entry is left out by
    name, and what it said before still holds.

    Parameters
    ----------
    settings
        Where it is.
    racks
        Ids of the site's racks; an entry on others is bad.
    keep
        Takes what was read; called in a thread.
    clock
        UTC ms.
    """

    def __init__(
        self,
        settings: ScheduleSettings,
        racks: Collection[str],
        keep: Keep,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.settings = settings
        self._racks = frozenset(racks)
        self._keep = keep
        self._clock = clock
        self._changed: tuple[int, int] | None = None
        self._looked = 0
        self._error = ""
        self._faults: dict[str, str] = {}
        self._announced = 0
        # reading megabytes and waiting for the database are nobody else's time
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"schedule-{settings.name}")
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Read until cancelled."""
        settings = self.settings
        # the system's certificates take a tenth of a second to load
        opened = asyncio.get_running_loop().run_in_executor(self._worker, client_of, settings)
        async with await opened as client:
            while True:
                due = time.monotonic() + settings.interval
                await self.look(client)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def look(self, client: httpx.AsyncClient) -> None:
        """Read the schedule once and hand on what it announces."""
        self.counts["looks"] += 1
        try:
            raw = await fetched(client, self.settings) if self.settings.url else None
            change = await asyncio.get_running_loop().run_in_executor(self._worker, self._take, raw)
            self._error = ""
            if change is not None:
                for name in ("new", "changed", "gone"):
                    self.counts[name] += getattr(change, name)
        except Exception as error:  # whatever it was, the next look may be better
            self.counts["failed_looks"] += 1
            self._changed = None  # a file is read again, too
            told = f"{type(error).__name__}: {str(error)[:500]}"
            if told != self._error:
                expected = isinstance(error, (HallwatchError, OSError))
                log.warning(
                    "schedule cannot be read",
                    schedule=self.settings.name,
                    error=told,
                    exc_info=None if expected else error,
                )
            self._error = told

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page: bad entries with their names, what is announced now."""
        return {
            "announced": self._announced,
            **self.counts,
            "error": self._error,
            "bad": dict(islice(self._faults.items(), _SHOWN)),
        }

    def _take(self, raw: bytes | None) -> Change | None:
        """Read an answer, or the file, and hand on what it announces; None where a file is unchanged."""
        settings = self.settings
        now = self._clock()
        if raw is None:
            assert settings.file is not None  # the settings hold either a url or a file
            status = settings.file.stat()
            changed = status.st_mtime_ns, status.st_size
            if changed == self._changed:
                self._looked = now
                return None
            answer = from_file(settings.file, settings.max_bytes)
            self._changed = changed
        else:
            answer = from_json(raw, settings.url)
        reading = read_entries(answer, settings.name, self._racks, now)
        self._note(reading)
        change = self._keep(settings.name, reading.works, now, tuple(reading.faults), self._looked)
        self._looked = now
        self._announced = len(reading.works)
        return change

    def _note(self, reading: Reading) -> None:
        self.counts["bad_entries"] += len(reading.faults)
        # once, not every minute
        new = {name: fault for name, fault in reading.faults.items() if self._faults.get(name) != fault}
        for name, fault in islice(new.items(), _SHOWN):
            log.warning("planned work left out", schedule=self.settings.name, work=name, fault=fault)
        if len(new) > _SHOWN:
            log.warning("more planned work left out", schedule=self.settings.name, entries=len(new) - _SHOWN)
        self._faults = reading.faults


def client_of(settings: ScheduleSettings) -> httpx.AsyncClient:
    """Return a client for a schedule's server.

    Raises
    ------
    ConfigurationError
        If its token or its certificates are not there.
    """
    token = read_secret(settings.bearer_token_env, None, f"schedule {settings.name}", "bearer_token")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(headers=headers, verify=trusted(settings.ca_file, f"schedule {settings.name}"))


async def fetched(client: httpx.AsyncClient, settings: ScheduleSettings) -> bytes:
    """Return the answer of a schedule's server.

    Raises
    ------
    SourceError
        If there is none that can be used.
    """
    return await fetch(client, settings.url, deadline=settings.timeout, max_bytes=settings.max_bytes)


def from_json(raw: bytes, url: str) -> Any:
    """Return what a server answered.

    Raises
    ------
    SourceProtocolError
        If it is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise SourceProtocolError(f"{without_secrets(url)} answers no JSON: {str(error)[:200]}") from error


def from_file(file: Path, max_bytes: int) -> Any:
    """Return what a JSON or YAML file holds; blocks.

    Raises
    ------
    SourceError, ConfigurationError, OSError
        If it cannot be read, or passes a bound.
    """
    with file.open("rb") as content:
        raw = content.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise SourceError(f"{file} is larger than {max_bytes:,} bytes")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        text = raw.decode("utf-8-sig", "replace")
        data = parse_document(text, str(file), Bounds(bytes=max_bytes)).data
        return [] if data is None else data
