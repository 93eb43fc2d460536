"""The schedule collector: work that is planned, read again and again from a URL or a file."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import httpx
import orjson
import structlog
import yaml

from collectors.schedule.entries import Reading, read_entries
from collectors.schedule.settings import ScheduleSettings
from domain.batch import now_ms
from domain.errors import HallwatchError, SourceProtocolError
from domain.planned import PlannedWork
from domain.secret import read_secret

log = structlog.get_logger(__name__)


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
        self._racks = racks
        self._keep = keep
        self._clock = clock
        self._changed = -1.0
        self._looked = 0
        self._error = ""
        self._faults: dict[str, str] = {}
        self._announced = 0
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Read until cancelled."""
        settings = self.settings
        token = read_secret(settings.bearer_token_env, None, f"schedule {settings.name}", "bearer_token")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        tls = ssl.create_default_context(cafile=settings.ca_file and str(settings.ca_file))
        async with httpx.AsyncClient(timeout=settings.timeout, headers=headers, verify=tls) as client:
            while True:
                due = time.monotonic() + settings.interval
                await self.look(client)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def look(self, client: httpx.AsyncClient) -> None:
        """Read the schedule once and hand on what it announces."""
        self.counts["looks"] += 1
        try:
            answer = await (
                self._fetched(client) if self.settings.url else asyncio.to_thread(self._from_file)
            )
            if answer is None:
                self._looked = self._clock()
                return
            reading = read_entries(answer, self.settings.name, self._racks)
            self._note(reading)
            now = self._clock()
            change = await asyncio.to_thread(
                self._keep, self.settings.name, reading.works, now, tuple(reading.faults), self._looked
            )
            self._looked = now
            self._error = ""
            self._announced = len(reading.works)
            for name in ("new", "changed", "gone"):
                self.counts[name] += getattr(change, name)
        except (httpx.HTTPError, OSError, ValueError, yaml.YAMLError, HallwatchError) as error:
            self.counts["failed_looks"] += 1
            self._changed = -1.0  # a file is read again, too
            told = f"{type(error).__name__}: {error}"
            if told != self._error:
                log.warning("schedule cannot be read", schedule=self.settings.name, error=told)
            self._error = told

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page: bad entries with their names, what is announced now."""
        return {
            "announced": self._announced,
            **self.counts,
            "error": self._error,
            "bad": dict(list(self._faults.items())[:20]),
        }

    async def _fetched(self, client: httpx.AsyncClient) -> Any:
        answer = await client.get(self.settings.url)
        answer.raise_for_status()
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise SourceProtocolError(f"{self.settings.url} answers no JSON: {error}") from error

    def _from_file(self) -> Any:
        """Return the file's content; None while it is unchanged."""
        file = self.settings.file
        assert file is not None  # the settings hold either a url or a file
        changed = file.stat().st_mtime
        if changed == self._changed:
            return None
        content = yaml.safe_load(file.read_text(encoding="utf-8"))  # JSON is YAML, too
        self._changed = changed
        return content if content is not None else []

    def _note(self, reading: Reading) -> None:
        self.counts["bad_entries"] += len(reading.faults)
        for name, fault in reading.faults.items():
            if self._faults.get(name) != fault:  # once, not every minute
                log.warning("planned work left out", schedule=self.settings.name, work=name, fault=fault)
        self._faults = reading.faults
