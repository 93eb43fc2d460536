"""From accepting a batch to knowing that it is durable.

Batches that arrive together share one commit. A reading is in the store, or in the spool on disk, when `accept`
returns; what cannot be believed is in the quarantine, with the reason.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from domain.batch import Batch, now_ms
from domain.errors import InputError, StorageError, StoreUnavailable
from domain.points import Point, PointRegistry, Retired, TimeArray, tag_key
from storage.ingest_counters import IngestCounters
from storage.latest import LatestValues
from storage.quarantine import Quarantine
from storage.reading_spool import ReadingSpool
from storage.screening import ISOLATING, Screening
from storage.settings import IngestSettings, StorageSettings
from storage.telemetry import TelemetryStore

log = logging.getLogger(__name__)

LARGE_COMMIT = 200_000
"""Rows at which a commit is made without waiting for more, and after which the next one begins."""
DRAIN_S = 0.3
"""How long a part of the spool may take to store: live commits wait for no more than that."""
HOPELESS = 3
"""Times that a part of the spool fails while others are stored, until what fails of it is set aside."""
SET_BACK_MS = 5_000
"""Our own clock, where it goes back by more, was set."""
AFTER_SET_BACK_S = 60.0
"""How long readings may wait that were received before our clock was set."""
LOOK_S = 60.0
"""How often sources are looked at that say the same for ever."""
FEWEST_DRAINED = 5_000
"""Rows of the first part after an outage, when the store's pace is not known."""


class Ingest:
    """The sink that collectors write to.

    Parameters
    ----------
    registry
        The points that batches refer to.
    store
        Where readings go.
    spool
        Where they wait while the store is away.
    quarantine
        Where refused ones are kept.
    settings
        Commit interval, bounds on time, memory.
    clock
        UTC ms; tests bring their own.
    racks
        Ids of the site's racks.
    """

    def __init__(
        self,
        registry: PointRegistry,
        store: TelemetryStore,
        spool: ReadingSpool,
        quarantine: Quarantine,
        settings: IngestSettings | None = None,
        clock: Callable[[], int] = now_ms,
        racks: Collection[str] = (),
    ) -> None:
        self.latest = LatestValues(registry)
        settings = settings or IngestSettings()
        self.counters = IngestCounters()
        self._screening = screening = Screening(
            registry, self.latest, quarantine, settings, self.counters, racks
        )
        self.clocks, self.frozen, self.plausibility = (
            screening.clocks,
            screening.frozen,
            screening.plausibility,
        )
        self.quarantine = quarantine
        self.spool = spool
        self.maintained = asyncio.Event()
        """Set once the store has been kept up to date for the first time: its rollups answer then."""
        self._registry = registry
        self._store = store
        self._settings = settings
        self._clock = clock
        self._saved_version = 0
        self._moves_told = registry.moves
        self._away_until = 0.0
        self._now = 0
        self._set_back_until = 0.0
        self._pending: list[tuple[Batch, asyncio.Future[None]]] = []
        self._pending_rows = 0
        self._drain_rows = FEWEST_DRAINED
        self._drain_after = 0.0
        self._drain_failures = 0
        self._stored_when_it_failed = 0
        self._refused_points: dict[int, str] = {}  # points that the store does not take, with its reason
        self._failing = False
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()
        self._committer: asyncio.Task[None] | None = None
        # one thread: commits and the draining of the spool take turns
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ingest")

    @classmethod
    def open(
        cls,
        settings: StorageSettings,
        registry: PointRegistry,
        store: TelemetryStore,
        racks: Collection[str] = (),
    ) -> Ingest:
        """Return an ingest with its spool and quarantine in the data folder, and the store's newest values."""
        limits = settings.ingest
        ingest = cls(
            registry,
            store,
            ReadingSpool(settings.path / "spool", registry, int(limits.spool_mb * 1e6)),
            Quarantine(settings.path / "quarantine", int(limits.quarantine_mb * 1e6)),
            limits,
            racks=racks,
        )
        try:
            if len(store.load_points()) == len(registry):
                ingest._saved_version = registry.version
            ingest.latest.update(store.latest(np.arange(len(registry), dtype=np.int32)))
        except StoreUnavailable as e:
            log.warning("newest values are not known yet: %s", e)
        return ingest

    @property
    def store_away(self) -> bool:
        """Whether the store did not take the last commit."""
        return self._away_until > 0

    @property
    def pending_rows(self) -> int:
        """Readings that wait for their commit."""
        return self._pending_rows

    async def accept(self, batch: Batch) -> None:
        """Take readings over; return once each is stored, spooled or quarantined.

        Waits while too much is pending: that is the backpressure which collectors pass on to their sources.

        Raises
        ------
        InputError
            If the columns of the batch differ in length.
        SpoolFull
            If the store is away and the spool's disk takes no more.
        StorageError
            If the store failed in a way that waiting does not mend.
        """
        n = len(batch.point)
        if not n == len(batch.observed) == len(batch.value) == len(batch.quality):
            raise InputError(f"a batch has columns of {n}, {len(batch.observed)}, {len(batch.value)} rows")
        if not n:
            return
        while self._pending_rows >= self._settings.max_pending_rows:
            self._room.clear()
            await self._room.wait()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((batch, done))
        self._pending_rows += n
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_pending(), name="ingest commit")
        await done

    async def run(self, upkeep: bool = True) -> None:
        """Drain the spool, and keep the store in shape, until cancelled.

        Parameters
        ----------
        upkeep
            Whether this process sees to rollups and retention: of several on one store exactly one does.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_draining(), name="spool")
            tasks.create_task(self._keep_watching(), name="frozen sources")
            if upkeep:
                tasks.create_task(self._keep_maintaining(), name="store upkeep")

    async def close(self) -> None:
        """Commit what is pending and let go of the spool; the store stays open."""
        if self._committer is not None:
            await asyncio.wait([self._committer])
        await asyncio.to_thread(self._writer.shutdown)
        self.spool.close()

    # --- commits ---------------------------------------------------------------------------------------------

    async def _commit_pending(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            if self._pending_rows < LARGE_COMMIT:
                await asyncio.sleep(self._settings.commit_interval_ms / 1000)
            group: list[tuple[Batch, asyncio.Future[None]]] = []
            rows = 0
            while self._pending and rows < LARGE_COMMIT:
                group.append(self._pending.pop(0))
                rows += len(group[-1][0])
            failure: BaseException | None = None
            try:
                await loop.run_in_executor(self._writer, self._commit, [b for b, _ in group])
            except Exception as e:
                failure = e
                self.counters.failed += rows
                log.exception("%d readings could not be kept", rows)
            self._pending_rows -= rows
            self._room.set()
            for _, done in group:
                if not done.done():  # its caller may have been cancelled
                    done.set_exception(failure) if failure else done.set_result(None)

    def _commit(self, batches: list[Batch]) -> None:
        batch = Batch.concat(batches)
        received = np.repeat(
            np.array([b.received for b in batches], np.int64), np.array([len(b) for b in batches])
        )
        received = self._by_our_clock(received)
        self.counters.batches += len(batches)
        self.counters.received += len(batch)
        kept = self._screening.passed(batch, received)
        if kept:
            self._keep(Batch.concat(kept))
        self.counters.commits += 1

    def _by_our_clock(self, received: TimeArray) -> TimeArray:
        """Return when readings were received, none later than now; see whether our own clock was set back."""
        now = self._clock()
        if now < self._now - SET_BACK_MS:
            log.error("our own clock was set back by %.1f s", (self._now - now) / 1000)
            self.clocks.set_back(self._now - now)
            self._set_back_until = time.monotonic() + AFTER_SET_BACK_S
        self._now = now
        # what still waited was received by the clock as it was
        return np.minimum(received, now) if time.monotonic() < self._set_back_until else received

    def _keep(self, rows: Batch) -> None:
        """Store rows, or spool them where the store is away or fails on them."""
        if time.monotonic() >= self._away_until:
            try:
                self._store_rows(rows)
            except StoreUnavailable as e:
                if not self.store_away:
                    log.error("the store is away, readings go to the spool: %s", e)
                self._leave_alone(e)
            except Exception as e:
                # something in these rows: they wait in the spool to be looked at piece by piece, the next ones go on
                if not self._failing:
                    log.exception("%d readings cannot be stored, they go to the spool: %s", len(rows), e)
                self._failing = True
            else:
                self._failing = False
                self._came_back()
                return
        self.spool.append(rows)
        self.counters.spooled += len(rows)
        self.counters.dropped = self.spool.dropped

    def _store_rows(self, rows: Batch) -> None:
        version = self._registry.version
        if version != self._saved_version:  # a point is kept before the rows that use it
            changed = self._registry.changed_since(self._saved_version)
            self._save_points(changed)
            self._saved_version = version
            if self._registry.moves != self._moves_told:
                self._tell_moves([point for _, point in changed])
        if self._refused_points:
            rows = self._without_refused_points(rows)
        report = self._store.write(rows)
        self.counters.stored += report.stored
        self.counters.duplicate += report.duplicate
        for reason, refused in report.refused:
            self._screening.set_aside(refused, reason)

    def _tell_moves(self, changed: Sequence[Point]) -> None:
        moves = self._registry.moves - self._moves_told
        self._moves_told += moves
        gone = sorted((p for p in changed if p.retired == Retired.MOVED), key=lambda p: -p.until)[:moves]
        examples = []
        for before in gone[:3]:
            index = self._registry.current(tag_key(before))
            now = "" if index is None else f" -> {_place(self._registry[index])}"
            examples.append(f"{before.key[:200]}: {_place(before)}{now}")
        log.warning(
            "%d points are told of another place than before; what they told stays with the old one: %s",
            moves,
            "; ".join(examples),
        )

    def _save_points(self, points: Sequence[tuple[int, Point]]) -> None:
        """Keep metadata; a point that the store does not take does not keep the others out."""
        todo, tries = [points], 0
        refused: dict[int, str] = {}
        while todo:
            part = todo.pop()
            try:
                self._store.save_points(part)
            except StoreUnavailable:
                raise
            except StorageError as e:
                tries += 1
                if tries > ISOLATING:
                    raise
                if len(part) == 1:
                    refused[part[0][0]] = str(e)[:300]
                    log.error("the store does not take point %s: %s", part[0][1].key[:200], e)
                else:
                    todo += [part[len(part) // 2 :], part[: len(part) // 2]]
        for index, _ in points:
            self._refused_points.pop(index, None)
        self._refused_points |= refused

    def _without_refused_points(self, rows: Batch) -> Batch:
        bad = np.isin(rows.point, np.fromiter(self._refused_points, np.int32))
        if bad.any():
            self._screening.set_aside(rows.take(bad), "point_not_storable")
        return rows.take(~bad)

    def _leave_alone(self, e: StorageError) -> None:
        asked = e.retry_after if isinstance(e, StoreUnavailable) else None
        self._away_until = time.monotonic() + max(self._settings.retry_s, asked or 0.0)

    def _came_back(self) -> None:
        if self.store_away:
            log.warning("the store is back, %d readings wait in the spool", self.spool.rows)
        self._away_until = 0.0

    # --- spool and upkeep ------------------------------------------------------------------------------------

    async def _keep_draining(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # between two parts the writer's thread serves the live commits that came meanwhile
            if self.clocks.waiting:
                await loop.run_in_executor(self._writer, self.clocks.release, self._clock())
            more = len(self.spool) > 0 and await loop.run_in_executor(self._writer, self._drain_part)
            await asyncio.sleep(0 if more else min(self._settings.retry_s, 0.5))

    def _drain_part(self) -> bool:
        """Move the oldest part of the spool into the store; return whether it went."""
        if time.monotonic() < max(self._away_until, self._drain_after):
            return False
        taken, rows = self.spool.peek(self._drain_rows)
        if rows is None:
            return False
        self.counters.unreadable = self.spool.unreadable
        begun = time.monotonic()
        counted = self.counters.stored, self.counters.duplicate
        try:
            stored = self._store_what_can_be(rows)
        except StoreUnavailable as e:
            log.info("the store is still away: %s", e)
            self._leave_alone(e)
            return False
        finally:
            # counted as spooled, and now as drained
            self.counters.stored, self.counters.duplicate = counted
        if stored is None:  # only draining waits: live commits go on
            self._drain_after = time.monotonic() + self._settings.retry_s
            return False
        self._came_back()
        pace = len(rows) / max(time.monotonic() - begun, 1e-3)
        self._drain_rows = int(min(max(pace * DRAIN_S, FEWEST_DRAINED), LARGE_COMMIT))
        self.spool.done(taken)
        self.counters.drained += len(stored)
        self.latest.update(stored)
        return True

    def _store_what_can_be(self, rows: Batch) -> Batch | None:
        """Store rows of the spool and return them; those that never can be are searched and set aside.

        Returns None where it is not known yet whether the rows are at fault or the store.
        """
        stored: list[Batch] = []
        stuck: list[tuple[Batch, Exception]] = []
        todo, tries = [rows], 0
        while todo:
            part = todo.pop()
            try:
                if len(part):
                    self._store_rows(part)
                stored.append(part)
            except StoreUnavailable:
                raise
            except Exception as e:
                tries += 1
                if len(part) == 1 or tries > ISOLATING:
                    stuck.append((part, e))
                else:
                    todo += _halves(part)
        if stuck and not any(map(len, stored)):  # nothing of it goes: do others?
            since = self.counters.stored + self.counters.duplicate
            if self._drain_failures == 0 or since == self._stored_when_it_failed:
                self._drain_failures = max(self._drain_failures, 1)
                self._stored_when_it_failed = since
                log.error("a part of the spool cannot be stored, it is tried again: %s", stuck[0][1])
                return None
            self._drain_failures += 1
            self._stored_when_it_failed = since
            if self._drain_failures <= HOPELESS:
                return None
        self._drain_failures = 0
        for part, failure in stuck:
            self._set_aside_for_good(part, str(failure)[:300])
        return Batch.concat(stored) if stored else rows.take(np.zeros(len(rows), dtype=bool))

    def _set_aside_for_good(self, rows: Batch, why: str) -> None:
        self.counters.set_aside += len(rows)
        self.quarantine.readings(rows, "not_storable", self._registry, lambda _point, _value: why)
        self.spool.set_aside(rows, why)
        log.error("%d readings of the spool can never be stored, they are set aside: %s", len(rows), why)

    async def _keep_watching(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await asyncio.to_thread(self.frozen.look, self._clock(), self.latest)
            except Exception:  # a watch beside the way: readings go on without it
                log.exception("looking for frozen sources failed")

    async def _keep_maintaining(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._store.maintain, self._clock())
                self.maintained.set()
            except StorageError as e:
                self.counters.maintenance_failures += 1
                log.error("upkeep of the store failed, it is tried again: %s", e)
            await asyncio.sleep(self._settings.maintain_s)


def _place(point: Point) -> str:
    serves = f" serving {', '.join(point.serves[:3])}" if point.serves else ""
    part = f" in {point.associate}" if point.associate else ""
    return f"{point.object_id}{part}{serves}"[:200]


def _halves(rows: Batch) -> list[Batch]:
    """Split rows by their points, as long as there are several: what cannot be stored mostly is one point's."""
    ordered = rows.take(np.argsort(rows.point, kind="stable").astype(np.int32))
    middle = len(ordered) // 2
    cut = int(np.searchsorted(ordered.point, ordered.point[middle])) or int(
        np.searchsorted(ordered.point, ordered.point[middle], "right")
    )
    cut = middle if cut == len(ordered) else cut
    at = np.arange(len(ordered), dtype=np.int32)
    return [ordered.take(at[cut:]), ordered.take(at[:cut])]
