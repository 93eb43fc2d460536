"""One broadcaster for all viewers: it looks once a second, however many look at it.

A snapshot is made of sections, and only of those that somebody looks at. A section keeps its version for as long as its
content stays the same, so that each viewer is sent what changed. There are no queues: a viewer asks for the newest
snapshot when it is ready for one, so a slow viewer skips what came in between and holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from dashboard.threads import reading

log = structlog.get_logger(__name__)

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the screen: plain data for the browser, a version that grows when it changes, and when it was built."""

    version: int
    payload: Payload
    built: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the viewers are shown, all of one moment."""

    number: int = 0
    sections: Mapping[str, Section] = field(default_factory=dict)


class Viewer:
    """One browser window: what it looks at, and how far it has come."""

    def __init__(self, broadcaster: Broadcaster) -> None:
        self._broadcaster = broadcaster
        self._wanted: frozenset[str] = frozenset()
        self._seen = 0
        self._sent: dict[str, int] = {}

    async def changes(self, wanted: Collection[str]) -> dict[str, Payload]:
        """Return the sections among `wanted` that changed since last time, from the newest snapshot.

        Waits for a snapshot that this viewer has not seen; never returns an older one.
        """
        self.look_at(frozenset(wanted))
        snapshot = await self._broadcaster.after(self._seen, self._wanted)
        self._seen = snapshot.number
        changed = {}
        for name in wanted:
            section = snapshot.sections[name]
            if self._sent.get(name) != section.version:
                self._sent[name] = section.version
                changed[name] = section.payload
        for name in set(self._sent) - self._wanted:
            del self._sent[name]
        return changed

    def leave(self) -> None:
        """Look at nothing for now; all is sent again to a viewer that comes back."""
        self.look_at(frozenset())
        self._sent.clear()

    def look_at(self, wanted: frozenset[str]) -> None:
        """Tell the broadcaster which sections this viewer wants from now on."""
        if wanted != self._wanted:
            self._broadcaster.interest(self._wanted, wanted)
            self._wanted = wanted


class Broadcaster:
    """Builds snapshots while anybody looks.

    Parameters
    ----------
    build
        Returns the payload of one section by its name; called in a worker thread. An error in one section is logged and
        counted, and leaves that section as it was, so that the others go on.
    period
        Seconds between two snapshots.
    slow
        Returns for how many seconds a section holds before it is built again; 0 has it built for every snapshot.
    """

    def __init__(
        self,
        build: Callable[[str], Payload],
        period: float = 1.0,
        slow: Callable[[str], float] = lambda _name: 0.0,
    ) -> None:
        self._build = build
        self._period = period
        self._slow = slow
        self._interest: Counter[str] = Counter()
        self._snapshot = Snapshot()
        self._published = asyncio.Condition()
        self._due = asyncio.Event()
        self._failing: set[str] = set()
        self.counters: dict[str, float] = {
            "snapshots": 0,
            "errors": 0,
            "viewers": 0,
            "last_ms": 0.0,
        }

    @contextlib.contextmanager
    def viewer(self) -> Iterator[Viewer]:
        """Register a viewer for as long as the context lasts."""
        viewer = Viewer(self)
        self.counters["viewers"] += 1
        try:
            yield viewer
        finally:
            viewer.look_at(frozenset())
            self.counters["viewers"] -= 1

    def refresh(self) -> None:
        """Build the next snapshot now, because something changed that a viewer waits for."""
        self._due.set()

    def interest(self, before: frozenset[str], after: frozenset[str]) -> None:
        """Note that a viewer looks at other sections than before."""
        self._interest.subtract(before)
        self._interest.update(after)
        self._interest += Counter()  # forget what nobody looks at
        if after - self._snapshot.sections.keys():
            self.refresh()

    async def after(self, number: int, wanted: frozenset[str]) -> Snapshot:
        """Return the newest snapshot, once it is newer than `number` and holds all of `wanted`."""
        async with self._published:
            await self._published.wait_for(
                lambda: self._snapshot.number > number and wanted <= self._snapshot.sections.keys()
            )
            return self._snapshot

    async def run(self) -> None:
        """Build snapshots until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._due.clear()
            wanted = tuple(self._interest)
            if wanted:
                await self._publish(await reading(self._sections, wanted))
            else:  # the next viewer must not be shown what the last one saw
                self._snapshot = Snapshot(self._snapshot.number)
            took = loop.time() - began
            self.counters["last_ms"] = round(1000 * took, 1)
            # also if the last viewer left meanwhile: only over an empty snapshot may it wait for somebody to come
            wait = max(0.05, self._period - took) if wanted else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._due.wait()

    async def _publish(self, sections: dict[str, Section]) -> None:
        async with self._published:
            self._snapshot = Snapshot(self._snapshot.number + 1, sections)
            self.counters["snapshots"] += 1
            self._published.notify_all()

    def _sections(self, names: tuple[str, ...]) -> dict[str, Section]:
        number = self._snapshot.number + 1
        return {name: self._section(name, self._snapshot.sections.get(name), number) for name in names}

    def _section(self, name: str, before: Section | None, number: int) -> Section:
        now = time.monotonic()
        if before is not None and now - before.built < self._slow(name):
            return before
        try:
            payload = self._build(name)
            self._failing.discard(name)
        except Exception as error:
            self.counters["errors"] += 1
            if name not in self._failing:
                self._failing.add(name)
                log.exception("a section of the console cannot be built", section=name)
            payload = (before.payload if before else {}) | {"error": f"{type(error).__name__}: {error}"}
        same = before is not None and before.payload == payload
        return Section(before.version if before is not None and same else number, payload, now)
