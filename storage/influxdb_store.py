"""The telemetry store beyond one machine: InfluxDB 1.x, 2.x or 3.x.

Written through the v2 write endpoint, read in InfluxQL. Rollups are made here, not by the server, because a mean
weighted by time over values that come on change is nothing that every version can compute; of the processes that call
`maintain`, one at a time does it.
"""

# ruff: noqa: S608 - every name and text in the InfluxQL is quoted by `identifier` and `quoted`
from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from domain.batch import Batch, now_ms
from domain.errors import StorageError, StoreUnavailable
from domain.points import IntArray, Point, PointRegistry, Quality, TimeArray, ValueArray
from storage.influxdb_lines import (
    STEP_FIELDS,
    columns_of,
    definition_line,
    identifier,
    prefix,
    quoted,
    reading_lines,
    step_lines,
)
from storage.influxdb_wire import InfluxWire
from storage.points_json import point_from_json
from storage.settings import DAY, HOUR, MINUTE, StorageSettings
from storage.steps import Steps, ceil_to, combine, floor_to, fuller, roll
from storage.telemetry import Aggregate, StoreHealth, WriteReport
from storage.tiers import TIERS, Late, TieredStore

log = logging.getLogger(__name__)

META = "meta"
"""Retention policy of points and progress: kept for ever."""
KEYS_PER_STATEMENT = 400
STATEMENTS_PER_REQUEST = 25
ROWS_PER_PASS = 2_000_000
LATE_MARGIN = MINUTE
"""Marks for repair are looked at again for so long, because writers' clocks and requests overlap, ms."""
FIELD = {
    Aggregate.MIN: "minimum",
    Aggregate.MAX: "maximum",
    Aggregate.MEAN: "mean",
    Aggregate.LAST: "last",
    Aggregate.COUNT: "count",
    Aggregate.TIME_WEIGHTED: "weighted",
}
COMBINED = {Aggregate.MIN: "min", Aggregate.MAX: "max", Aggregate.LAST: "last", Aggregate.COUNT: "sum"}
"""What the server itself can make of several rows of a tier."""
UPKEEP_HELD = MINUTE
"""How long after its last upkeep a process is waited for before another one takes over, ms."""
PROGRESS_S = 10.0
"""How often a process that does not roll up itself looks how far the tiers are complete."""


class InfluxStore(TieredStore):
    """Telemetry in InfluxDB.

    Parameters
    ----------
    settings
        Where the server is, retention, gap.
    registry
        Gives the keys of points; indexes are this process's own.
    """

    points_at_once = 1_000_000  # asking for some points costs more than asking for all

    def __init__(self, settings: StorageSettings, registry: PointRegistry) -> None:
        super().__init__(int(settings.max_gap_s * 1000), int(settings.tier_delay_s * 1000))
        self._settings = settings
        self._registry = registry
        self._wire = InfluxWire(settings.influxdb)
        self._keep = settings.retention.milliseconds()
        self._ready = False
        self._prefixes: list[str] = []
        self._prefix_version = 0
        self._lock = threading.Lock()
        self._maintain_lock = threading.Lock()
        self._writer = secrets.token_hex(1)
        self._process = secrets.token_hex(8)
        self._upkeep_until = 0
        self._marked = 0  # time of this process's newest mark for repair, ms
        self._repaired: set[tuple[str, int]] = set()  # marks of the margin that are done
        self._late_until = 0
        self._progress_at = 0.0
        begin = floor_to(now_ms(), HOUR)
        self._rolled = dict.fromkeys(TIERS, begin)
        try:
            self._get_ready()
        except StoreUnavailable as e:
            log.warning("InfluxDB is not there yet: %s", e)

    def _get_ready(self) -> None:
        """Learn the version, set up databases, and how far the rollups are."""
        if self._ready:
            return
        self._wire.ping()
        if self._settings.influxdb.manage_retention:
            self._wire.set_up({**self._keep, META: None})
        self._ready = True
        self._load_progress()

    def _load_progress(self) -> None:
        for series in self._wire.query("SELECT * FROM hallwatch_progress", META):
            told = dict(zip(series.columns, series.rows[0], strict=True))
            self._rolled = {name: int(told[name]) for name in TIERS}
            self._late_until = int(told["late"])
        self._progress_at = time.monotonic()

    def _save_progress(self) -> None:
        told = ",".join(f"{name}={t}i" for name, t in self._rolled.items())
        self._send(META, [f"hallwatch_progress {told},late={self._late_until}i 0"])

    # --- points ----------------------------------------------------------------------------------------------

    def save_points(self, points: Sequence[tuple[int, Point]]) -> None:
        """Keep the metadata of points, by key.

        Raises
        ------
        StoreUnavailable
            If the server does not take them now.
        """
        self._get_ready()
        self._send(META, [definition_line(i, p) for i, p in points])

    def load_points(self) -> list[Point]:
        """Return the kept points, in the order in which they were first registered."""
        self._get_ready()
        found: list[tuple[int, str, Point]] = []
        for series in self._wire.query(
            'SELECT definition, "index" FROM hallwatch_point GROUP BY "key"', META
        ):
            told = dict(zip(series.columns, series.rows[0], strict=True))
            found.append((int(told["index"]), series.key, point_from_json(told["definition"])))
        return [p for _, _, p in sorted(found, key=lambda f: f[:2])]

    def _line_prefixes(self) -> list[str]:
        version = self._registry.version
        if version != self._prefix_version:
            for index, point in self._registry.changed_since(self._prefix_version):
                if index < len(self._prefixes):
                    self._prefixes[index] = prefix(point)
                else:
                    self._prefixes.append(prefix(point))
            self._prefix_version = version
        return self._prefixes

    # --- writing ---------------------------------------------------------------------------------------------

    def write(self, batch: Batch) -> WriteReport:
        """Store readings; the same reading twice changes nothing, a corrected value replaces the old.

        Readings older than the raw retention go into the tiers directly.

        Raises
        ------
        StoreUnavailable
            If the server does not take them now.
        """
        if not len(batch):
            return WriteReport(0)
        with self._lock:
            self._get_ready()
            lines = self._line_prefixes()
            recent = batch
            old = batch.observed < self._raw_from()
            if old.any():
                self._write_history(batch.take(old))
                recent = batch.take(~old)
            marked = self._mark_for_repair(recent)
            refused = self._send_some("raw", reading_lines(recent, lines))
            rejected = Counter(refused.values())
            reasons = np.array([refused.get(n, "") for n in range(len(recent))] if refused else [])
            groups = tuple((why, recent.take(reasons == why)) for why in rejected)
            self._mark_for_repair(recent.take(~marked))  # writing may have taken longer than rollups wait
            return WriteReport(stored=len(batch) - len(refused), rejected=dict(rejected), refused=groups)

    def _send_some(self, policy: str, lines: list[str]) -> dict[int, str]:
        try:
            return self._wire.write(policy, lines)
        except StoreUnavailable:
            self._ready = False  # it may come back as another version, or empty
            raise

    def _send(self, policy: str, lines: list[str]) -> None:
        """Write lines of our own, none of which the server has a reason to refuse."""
        for number, why in self._send_some(policy, lines).items():
            raise StorageError(f"InfluxDB refuses {lines[number][:200]}: {why}")

    def _write_history(self, batch: Batch) -> None:
        """Bring readings older than the raw retention into the tiers, a stretch of time after the other."""
        ordered = batch.take(np.argsort(batch.observed, kind="stable").astype(np.int32))
        apart = np.flatnonzero(np.diff(ordered.observed) > DAY) + 1
        for rows in np.split(np.arange(len(ordered), dtype=np.int32), apart):
            self._write_stretch(ordered.take(rows))

    def _write_stretch(self, batch: Batch) -> None:
        """Write what these readings make of the rollups together with what the tiers know of their hours already."""
        ordered = batch.take(np.lexsort((batch.observed, batch.point)).astype(np.int32))
        start = floor_to(int(ordered.observed.min()), HOUR)
        end = ceil_to(int(ordered.observed.max()) + 1 + self.max_gap, HOUR)
        points = np.unique(ordered.point)
        steps = roll(ordered, start, end, MINUTE, self.max_gap)
        now = now_ms()
        for name, step in TIERS.items():
            steps = steps if step == MINUTE else combine(steps, step)
            # all rows of the tier, not only those that are written: the coarser one is made of them
            steps = fuller(self.read_tier(name, points, start, end), steps)
            keep = self._keep[name]
            kept = steps if keep is None else steps.take(steps.start > now - keep + HOUR)
            self._send(name, step_lines(kept, self._prefixes))

    def _mark_for_repair(self, rows: Batch) -> NDArray[np.bool_]:
        """Note hours of points that may have been rolled up before these readings came; return which were."""
        now = now_ms()
        late = rows.observed < max(floor_to(now - self._tier_delay, MINUTE), self._rolled["minute"])
        if not late.any():
            return late
        self._marked = max(now, self._marked + 1)
        point, observed = rows.point[late], rows.observed[late]
        order = np.lexsort((observed, point))
        point, observed = point[order], observed[order]
        heads = np.flatnonzero(np.append(True, point[1:] != point[:-1]))
        tails = np.append(heads[1:], len(point)) - 1
        firsts = (observed[heads] // HOUR).tolist()
        lasts = ((observed[tails] + self.max_gap) // HOUR).tolist()
        self._send(
            "raw",
            [
                f"hallwatch_late,{_key_tag(self._prefixes[p])},writer={self._writer} "
                f"first={first}i,last={last}i {self._marked}"
                for p, first, last in zip(point[heads].tolist(), firsts, lasts, strict=True)
            ],
        )
        return late

    # --- reading ---------------------------------------------------------------------------------------------

    def _statements(self, what: str, points: IntArray, time_range: str, rest: str = "") -> list[str]:
        """Return InfluxQL for some points, by measurement; many points of one measurement are asked for as all."""
        wanted: dict[str, list[str]] = defaultdict(list)
        for index in points.tolist():
            if index < len(self._registry):
                point = self._registry[index]
                wanted[point.point_type].append(point.key)
        known = (
            Counter(p.point_type for p in self._registry) if len(points) > KEYS_PER_STATEMENT else Counter()
        )
        statements = []
        for measurement, keys in wanted.items():
            head = f"SELECT {what} FROM {identifier(measurement)} WHERE {time_range}"
            if len(keys) > KEYS_PER_STATEMENT and 2 * len(keys) > known[measurement]:
                statements.append(f'{head} GROUP BY "key"{rest}')
                continue
            for first in range(0, len(keys), KEYS_PER_STATEMENT):
                one_of = " OR ".join(f'"key" = {quoted(k)}' for k in keys[first : first + KEYS_PER_STATEMENT])
                statements.append(f'{head} AND ({one_of}) GROUP BY "key"{rest}')
        return statements

    def _ask(
        self, policy: str, what: str, width: int, points: IntArray, time_range: str, rest: str = ""
    ) -> tuple[IntArray, list[ValueArray]]:
        """Return point indexes and columns (time first), ordered by point, then by time."""
        self._get_ready()
        wanted = np.unique(points)
        asked = set(wanted.tolist())
        found = []
        statements = self._statements(what, wanted, time_range, rest)
        for first in range(0, len(statements), STATEMENTS_PER_REQUEST):
            together = "; ".join(statements[first : first + STATEMENTS_PER_REQUEST])
            for series in self._wire.query(together, policy):
                index = self._registry.index(series.key)
                if index is not None and index in asked:
                    found.append((index, series.rows))
        found.sort(key=lambda s: s[0])
        return columns_of(found, width)

    def latest(self, points: IntArray) -> Batch:
        """Return the newest reading of each point that has one within the raw retention."""
        index, columns = self._ask(
            "raw", "value, quality", 3, np.asarray(points, np.int32), f"time > {self._raw_from()}ms",
            " ORDER BY time DESC LIMIT 1",
        )  # fmt: skip
        return _batch(index, columns)

    def read(self, points: IntArray, start: int, end: int) -> Batch:
        """Return raw readings, ordered by point, then by time."""
        index, columns = self._ask(
            "raw", "value, quality", 3, np.asarray(points, np.int32), _between(start, end)
        )
        return _batch(index, columns)

    def newest(self, points: IntArray, start: int, end: int) -> Batch:
        """Return of each point that has raw readings in [start, end) the newest of them, ordered by point."""
        index, columns = self._ask(
            "raw", "value, quality", 3, np.asarray(points, np.int32), _between(start, end),
            " ORDER BY time DESC LIMIT 1",
        )  # fmt: skip
        return _batch(index, columns)

    def read_tier(self, name: str, points: IntArray, start: int, end: int) -> Steps:
        """Return a tier's rows, ordered by point, then by start."""
        if end <= start:
            return Steps.empty()
        what = ", ".join(identifier(f) for f in (*STEP_FIELDS, "held", "count"))
        index, columns = self._ask(name, what, 8, points, _between(start, end))
        minimum, maximum, mean, last, weighted, held, count = columns[1:8]
        return Steps(
            point=index,
            start=columns[0].astype(np.int64),
            minimum=minimum,
            maximum=maximum,
            mean=mean,
            last=last,
            weighted=weighted,
            held=held.astype(np.int32),
            count=count.astype(np.int32),
        )

    def _tier_cells(
        self, name: str, points: IntArray, start: int, end: int, step: int, how: Aggregate
    ) -> tuple[IntArray, TimeArray, ValueArray]:
        field, rest = identifier(FIELD[how]), ""
        if step != TIERS[name]:
            if how not in COMBINED:  # a mean of several rows needs their weights
                return super()._tier_cells(name, points, start, end, step, how)
            field, rest = f"{COMBINED[how]}({field})", f", time({step}ms) fill(none)"
        # one field instead of seven, and of several rows their aggregate
        index, columns = self._ask(name, field, 2, points, _between(start, end), rest)
        value = np.where(columns[1] > 0, columns[1], np.nan) if how is Aggregate.COUNT else columns[1]
        return index, columns[0].astype(np.int64), value

    def _tier_extremes(
        self, name: str, points: IntArray, start: int, end: int, how: Aggregate
    ) -> tuple[IntArray, ValueArray]:
        what = f"{COMBINED[how]}({identifier(FIELD[how])})"
        index, columns = self._ask(name, what, 2, points, _between(start, end))
        return index, columns[1]

    def _whole_steps(self, start: int, end: int, step: int, max_gap: int | None) -> tuple[str | None, int]:
        if time.monotonic() - self._progress_at > PROGRESS_S and not self._maintain_lock.locked():
            self._load_progress()  # another process may be the one that rolls up
        return super()._whole_steps(start, end, step, max_gap)

    # --- upkeep ----------------------------------------------------------------------------------------------

    def maintain(self, now: int) -> dict[str, int]:
        """Repair and make rollups, unless another process does; retention is the server's own.

        Raises
        ------
        StoreUnavailable
            If the server is away.
        """
        with self._maintain_lock:
            self._get_ready()
            if not self._holds_upkeep():
                self._load_progress()
                return dict.fromkeys(("repaired", "rolled", "sealed", "dropped"), 0)
            repaired = self._repair()
            return {"repaired": repaired, "rolled": self._roll_forward(now), "sealed": 0, "dropped": 0}

    def _holds_upkeep(self) -> bool:
        """Return whether the rollups are this process's to make, and say so to the others for a while.

        Two that begin in the same moment may both make them once: the rows are the same.
        """
        now = now_ms()
        holder, until = self._upkeep_holder()
        if holder != self._process:
            if until > now:
                return False
            log.info("rollups are made by this process from now on")
        self._hold_upkeep(now + UPKEEP_HELD)
        return holder == self._process or self._upkeep_holder()[0] == self._process

    def _upkeep_holder(self) -> tuple[str, int]:
        for series in self._wire.query("SELECT holder, until FROM hallwatch_upkeep", META):
            told = dict(zip(series.columns, series.rows[0], strict=True))
            return str(told["holder"]), int(told["until"])
        return "", 0

    def _hold_upkeep(self, until: int) -> None:
        self._send(META, [f'hallwatch_upkeep holder="{self._process}",until={until}i 0'])
        self._upkeep_until = until

    def _all_points(self) -> IntArray:
        return np.arange(len(self._registry), dtype=np.int32)

    def _raw_from(self) -> int:
        keep = self._keep["raw"]
        return 0 if keep is None else now_ms() - keep + MINUTE

    def _next_pass(self, start: int, target: int) -> int | None:
        # a point gives about ten readings a minute at most
        minutes = max(1, ROWS_PER_PASS // (10 * max(len(self._registry), 1)))
        return min(target, start + minutes * MINUTE)

    def _repair(self) -> int:
        seen_until = self._late_until
        by_hours: dict[tuple[int, int], set[int]] = defaultdict(set)
        done: set[tuple[str, int]] = set()
        question = (
            "SELECT first, last FROM hallwatch_late "
            f'WHERE time > {max(seen_until - LATE_MARGIN, self._raw_from())}ms GROUP BY "key", "writer"'
        )
        for series in self._wire.query(question):
            index = self._registry.index(series.key)
            for row in series.rows:
                if None in row:
                    continue  # written while the server answered, field by field: the next pass sees it whole
                arrived, first, last = map(int, row)
                done.add((series.key, arrived))
                seen_until = max(seen_until, arrived)
                if index is not None and (series.key, arrived) not in self._repaired:
                    by_hours[first, last].add(index)
        written = 0
        for (first, last), points in sorted(by_hours.items()):
            written += self._repair_hours(Late(np.array(sorted(points), np.int32), first, last))
        self._repaired = done
        if seen_until != self._late_until:
            self._late_until = seen_until
            self._save_progress()
        return written

    def _keep_repaired(self, late: Late, rows: Mapping[str, Steps]) -> None:
        self._write_tiers(rows)

    def _keep_rolled(self, rows: Mapping[str, Steps], rolled: dict[str, int]) -> None:
        self._write_tiers(rows)
        self._rolled = rolled
        self._save_progress()

    def write_tier(self, name: str, steps: Steps) -> int:
        """Take rollups over from another store; return the rows written."""
        self._get_ready()
        self._write_tiers({name: steps})
        return len(steps)

    def _write_tiers(self, rows: Mapping[str, Steps]) -> None:
        now = now_ms()
        for name, steps in rows.items():
            keep = self._keep[name]
            kept = steps if keep is None else steps.take(steps.start > now - keep + HOUR)
            if len(kept):
                with self._lock:
                    prefixes = self._line_prefixes()
                self._send(name, step_lines(kept, prefixes))

    def check_removal(self) -> None:
        """Raise InputError where the server's version removes nothing but by retention.

        Raises
        ------
        StoreUnavailable
            If it does not answer.
        """
        self._get_ready()
        self._wire.check_removal()

    def remove(self, points: IntArray) -> int:
        """Remove all readings and rollups of points; the server does not tell how many."""
        self._get_ready()
        keys: dict[str, list[str]] = defaultdict(list)
        for index in np.unique(points).tolist():
            keys[self._registry[index].point_type].append(self._registry[index].key)
        self._wire.remove(keys, ("raw", *TIERS))
        return 0

    def health(self) -> StoreHealth:
        """Return how the server is; never raises."""
        try:
            version = self._wire.ping()
        except StoreUnavailable as e:
            return StoreHealth("influxdb", self._wire.version, False, str(e))
        return StoreHealth("influxdb", f"InfluxDB {version}", True, self._settings.influxdb.url)

    def close(self) -> None:
        """Hand upkeep on, and close the connections; nothing is pending."""
        if self._upkeep_until > now_ms():
            try:
                self._hold_upkeep(0)
            except StorageError as e:
                log.info("upkeep is handed on when its time is over: %s", e)
        self._wire.close()


def _batch(index: IntArray, columns: list[ValueArray]) -> Batch:
    quality = np.where(np.isnan(columns[2]), float(Quality.GOOD), columns[2])
    return Batch(index, columns[0].astype(np.int64), columns[1], quality.astype(np.uint8), now_ms())


def _between(start: int, end: int) -> str:
    return f"time >= {int(start)}ms AND time < {int(end)}ms"


def _key_tag(line_prefix: str) -> str:
    """Cut the tag ``key=...`` out of the beginning of a point's lines."""
    at = line_prefix.index(",key=") + 1
    end = at
    while line_prefix[end] not in ", " or line_prefix[end - 1] == "\\":
        end += 1
    return line_prefix[at:end]
