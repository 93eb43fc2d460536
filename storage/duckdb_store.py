"""The embedded telemetry store: one DuckDB file, one process.

One connection writes; every read has a cursor of its own and sees a consistent state. Rollups are a function of
the raw readings: a minute is rolled up once it is over, and rolled up again where a late reading lands in it.
"""

# ruff: noqa: S608 - the SQL is put together from our own table names and from integers
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import pyarrow as pa

from domain.batch import Batch, now_ms
from domain.errors import StorageError, StoreUnavailable
from domain.points import IntArray, Point, TimeArray, ValueArray
from storage.duckdb_tables import PartitionedTable, points_condition
from storage.latest import LatestValues, points_are_unique
from storage.points_json import point_from_json, point_to_json
from storage.private import private_file
from storage.settings import DAY, HOUR, MINUTE, StorageSettings
from storage.steps import Steps, ceil_to, floor_to
from storage.telemetry import Aggregate, StoreHealth, WriteReport
from storage.tiers import TIERS, Late, TieredStore

log = logging.getLogger(__name__)
T = TypeVar("T")

SCHEMA_VERSION = 1
READING = {"point": "INTEGER", "observed": "BIGINT", "value": "DOUBLE", "quality": "UTINYINT"}
STEP = {
    "point": "INTEGER",
    "start": "BIGINT",
    "minimum": "DOUBLE",
    "maximum": "DOUBLE",
    "mean": "DOUBLE",
    "last": "DOUBLE",
    "weighted": "DOUBLE",
    "held": "INTEGER",
    "count": "INTEGER",
}
CELL = {
    Aggregate.MIN: ("minimum", "min(minimum)"),
    Aggregate.MAX: ("maximum", "max(maximum)"),
    Aggregate.LAST: ("last", "arg_max(last, start)"),
    Aggregate.COUNT: ("nullif(count, 0)::DOUBLE", "nullif(sum(count), 0)::DOUBLE"),
    Aggregate.MEAN: ("mean", "sum(mean * count) / nullif(sum(count) FILTER (mean IS NOT NULL), 0)"),
    Aggregate.TIME_WEIGHTED: ("weighted", "sum(weighted * held) / nullif(sum(held), 0)"),
}
"""How a cell is made of one row of a tier, and of several; the same as `storage.steps.combine`."""
SPANS = {"minute": DAY, "quarter": 5 * DAY, "hour": 30 * DAY}
"""Time in one partition of each tier, ms."""
RAW_SPAN = 6 * HOUR
REPAIR_HOURS = 24
"""Hours of late data that one pass of repair takes at once."""
ROLL_ROWS = 2_000_000
"""Raw rows that one pass of rolling up aims at."""
LOG_LIMIT = 256_000_000
"""Bytes of write-ahead log at which it is folded into the file although nothing was sealed."""
SHORT_LOG = 64_000_000
"""Bytes of write-ahead log that are folded quickly enough to do so every `FOLD_S`; a longer one waits for sealing."""
FOLD_S = 120.0
_ATTEMPTS = 12
"""So often a question is asked whose tables were sealed under its feet, within two seconds."""
ALWAYS = (-(1 << 62), 1 << 62)
"""All times, ms."""


class DuckDBStore(TieredStore):
    """Telemetry in a DuckDB file.

    Parameters
    ----------
    path
        The database file; made where it does not exist.
    settings
        Retention, gap and memory; the defaults of `StorageSettings` otherwise.

    Raises
    ------
    StorageError
        If the file is another process's, damaged, or of a newer version of Hallwatch.
    """

    def __init__(self, path: Path, settings: StorageSettings | None = None) -> None:
        self._settings = settings or StorageSettings()
        super().__init__(int(self._settings.max_gap_s * 1000), int(self._settings.tier_delay_s * 1000))
        self.path = path
        self._write_lock = threading.Lock()
        self._maintain_lock = threading.Lock()
        seal_after = self._settings.duckdb.seal_after_s
        self._raw = PartitionedTable("raw", READING, RAW_SPAN, seal_after)
        # about as many hot rows in each: a tier has so many rows fewer than there are readings
        patience = {"minute": 6, "quarter": 90, "hour": 360}
        self._tiers = {
            name: PartitionedTable(f"tier_{name}", STEP, SPANS[name], patience[name] * seal_after)
            for name in TIERS
        }
        self._known = LatestValues()
        self._points = 0  # one more than the highest point that is kept or has readings
        self._mark = 0  # sequence of the newest mark for repair
        self._repaired_marks = ""
        self._folded = time.monotonic()
        self.upkeep_step = ""
        """What `maintain` does at this moment, in words; empty while it does not run."""
        path.parent.mkdir(parents=True, exist_ok=True)
        duck = self._settings.duckdb
        config: dict[str, Any] = {
            "memory_limit": f"{duck.memory_limit_mb}MB",
            "temp_directory": str(path.parent / "duckdb-temp"),
        }
        if duck.threads:
            config["threads"] = duck.threads
        try:
            self._con = duckdb.connect(str(path), config=config)
        except duckdb.IOException as e:
            raise StoreUnavailable(f"{path}: {e}. A DuckDB file has one process at a time") from e
        except duckdb.Error as e:
            raise StorageError(f"{path}: cannot be opened: {e}") from e
        private_file(path)
        private_file(path.with_name(path.name + ".wal"))
        # upkeep folds the log into the file: left to itself, DuckDB would do so within the commit of a write
        self._con.execute(f"SET checkpoint_threshold='{4 * LOG_LIMIT}B'")
        self._con.execute("SET preserve_insertion_order=true")
        self._open()

    # --- opening ---------------------------------------------------------------------------------------------

    def _open(self) -> None:
        con = self._con
        con.execute("CREATE TABLE IF NOT EXISTS points (point INTEGER PRIMARY KEY, definition VARCHAR)")
        con.execute("CREATE TABLE IF NOT EXISTS state (name VARCHAR PRIMARY KEY, value BIGINT)")
        con.execute("CREATE TABLE IF NOT EXISTS late (mark BIGINT, point INTEGER, hour BIGINT)")
        con.execute(
            f"CREATE TABLE IF NOT EXISTS newest ({', '.join(f'{n} {t}' for n, t in READING.items())})"
        )
        state = {str(n): int(v) for n, v in con.execute("SELECT name, value FROM state").fetchall()}
        if state.get("schema", SCHEMA_VERSION) > SCHEMA_VERSION:
            raise StorageError(f"{self.path}: written by a newer version of Hallwatch; use that one")
        begin = floor_to(now_ms(), HOUR)
        self._rolled = {name: state.get(f"rolled_{name}", begin) for name in TIERS}
        self._raw_floor = state.get("raw_floor", 0)
        if "schema" not in state:
            with_defaults = {"schema": SCHEMA_VERSION, "raw_floor": 0} | {
                f"rolled_{n}": v for n, v in self._rolled.items()
            }
            con.executemany("INSERT INTO state VALUES (?, ?)", list(with_defaults.items()))
        for table in (self._raw, *self._tiers.values()):
            table.open(con)
        self._mark = _one(con, "SELECT coalesce(max(mark), 0) FROM late")
        self._points = _one(con, "SELECT coalesce(max(point) + 1, 0) FROM points")
        self._rolling_to = self._rolled["minute"]
        self._upkeep = con.cursor()
        self._load_newest(con)

    def _load_newest(self, con: duckdb.DuckDBPyConnection) -> None:
        """Newest reading of each point: what was newest at the last sealing, and what came since."""
        hot = " UNION ALL ".join(f"SELECT * FROM raw_hot_{h}" for h in self._raw.layout.hot)
        for rows in ("newest", f"({hot})"):  # in this order: a correction in a hot table is the newer one
            found = con.execute(
                "SELECT point, max(observed) AS observed, arg_max(value, observed) AS value, "
                f"arg_max(quality, observed) AS quality FROM {rows} GROUP BY point"
            ).fetchnumpy()
            newest = _batch(found)
            self._known.update(newest)
            self._points = max(self._points, int(newest.point.max()) + 1 if len(newest) else 0)

    # --- points ----------------------------------------------------------------------------------------------

    def save_points(self, points: Sequence[tuple[int, Point]]) -> None:
        """Keep the metadata of points, by registry index."""
        if not points:
            return
        with self._write_lock:
            con = self._con
            text = pa.array([point_to_json(p) for _, p in points], pa.string())
            rows = pa.table({"point": pa.array([i for i, _ in points], pa.int32()), "definition": text})
            try:
                con.register("incoming", rows)
                con.execute("INSERT OR REPLACE INTO points SELECT point, definition FROM incoming")
                con.unregister("incoming")
            except duckdb.Error as e:
                raise StoreUnavailable(f"{self.path}: {e}") from e
            self._points = max(self._points, 1 + max(i for i, _ in points))

    def load_points(self) -> list[Point]:
        """Return the kept points, in order of their index."""
        rows = self._read(
            lambda con: con.execute("SELECT point, definition FROM points ORDER BY point").fetchall()
        )
        if [r[0] for r in rows] != list(range(len(rows))):
            raise StorageError(f"{self.path}: the table of points has holes; restore a backup")
        return [point_from_json(str(r[1])) for r in rows]

    # --- writing ---------------------------------------------------------------------------------------------

    def write(self, batch: Batch) -> WriteReport:
        """Store readings durably; the same reading twice changes nothing, a corrected value replaces the old.

        Raises
        ------
        StoreUnavailable
            If the disk is full or fails; nothing of the batch is stored then.
        """
        if not len(batch):
            return WriteReport(0)
        arrived = len(batch)
        if not points_are_unique(batch.point):
            batch = _without_repeats(batch)
        with self._write_lock, ExitStack() as until_committed:
            batch = self._without_newest_again(batch)
            fresh = batch.observed > self._known.observed[batch.point]
            con = self._con
            try:
                con.execute("BEGIN")
                if fresh.all():
                    rows = batch
                else:
                    lacking = self._unknown(con, batch.take(~fresh), until_committed)
                    rows = Batch.concat([batch.take(fresh), lacking])
                if len(rows):
                    self._raw.insert(con, _columns(rows))
                    self._mark_for_repair(con, rows)
                con.execute("COMMIT")
            except duckdb.Error as e:
                _rollback(con)
                raise StoreUnavailable(f"{self.path}: {e}") from e
            self._known.update(rows)
            self._points = max(self._points, int(batch.point.max()) + 1 if len(batch) else 0)
        return WriteReport(stored=len(rows), duplicate=arrived - len(rows))

    def _without_newest_again(self, batch: Batch) -> Batch:
        """Leave out what repeats the newest reading of its point, as a republishing BMS does all the time."""
        self._known.cover(int(batch.point.max()) + 1)
        known = self._known
        again = (
            (batch.observed == known.observed[batch.point])
            & (batch.value == known.value[batch.point])
            & (batch.quality == known.quality[batch.point])
        )
        return batch.take(~again) if again.any() else batch

    def _unknown(self, con: duckdb.DuckDBPyConnection, late: Batch, until_committed: ExitStack) -> Batch:
        """Return what the store lacks of readings that are not newer than their point's newest."""
        low, high = int(late.observed.min()), int(late.observed.max()) + 1
        con.register("arrived", _columns(late) | {"row": np.arange(len(late), dtype=np.int32)})
        stored = self._raw.select(
            "point, observed, value, quality",
            low,
            high,
            points_condition(con, np.unique(late.point), self._points),
        )
        found = con.execute(
            "SELECT a.row, s.value = a.value AND s.quality = a.quality AS same FROM arrived a "
            f"JOIN ({stored}) s ON s.point = a.point AND s.observed = a.observed"
        ).fetchnumpy()
        con.unregister("arrived")
        lacking = np.ones(len(late), dtype=bool)
        lacking[found["row"]] = False
        same = np.asarray(found["same"], dtype=bool)
        corrected = np.unique(np.asarray(found["row"])[~same])
        if len(corrected):
            until_committed.enter_context(self._raw.moving)  # sealing must not move what is deleted here
            self._remove(con, late.take(corrected))
            lacking[corrected] = True
        return late.take(lacking)

    def _remove(self, con: duckdb.DuckDBPyConnection, rows: Batch) -> None:
        """Delete readings whose value is being corrected."""
        con.register("corrected", _columns(rows))
        self._raw.delete(
            con,
            int(rows.observed.min()),
            int(rows.observed.max()) + 1,
            "(point, observed) IN (SELECT (point, observed) FROM corrected)",
        )
        con.unregister("corrected")

    def _mark_for_repair(self, con: duckdb.DuckDBPyConnection, rows: Batch) -> None:
        """Note which hours of which points have to be rolled up again; the note commits with the rows."""
        late = rows.observed < self._rolling_to
        if not late.any():
            return
        point = rows.point[late].astype(np.int64)
        hour = rows.observed[late] // HOUR
        following = (rows.observed[late] + self.max_gap) // HOUR  # what it carries into
        marks = np.unique(np.concatenate([hour << 32 | point, following << 32 | point]))
        self._mark += 1
        con.register(
            "marks",
            {
                "mark": np.full(len(marks), self._mark, np.int64),
                "point": (marks & 0xFFFFFFFF).astype(np.int32),
                "hour": marks >> 32,
            },
        )
        con.execute("INSERT INTO late SELECT mark, point, hour FROM marks")
        con.unregister("marks")

    # --- reading ---------------------------------------------------------------------------------------------

    def _read(self, ask: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run `ask` on a cursor of its own; again where a table was sealed or dropped under its feet.

        Whoever seals tells what is there now only a moment after its transaction, or later where it is not let run.
        """
        for attempt in range(_ATTEMPTS):
            cursor = self._con.cursor()
            try:
                return ask(cursor)
            except duckdb.CatalogException as e:
                if attempt == _ATTEMPTS - 1:
                    raise StorageError(f"{self.path}: {e}") from e
                time.sleep(0.001 * 2**attempt)
            except duckdb.Error as e:
                raise StorageError(f"{self.path}: {e}") from e
            finally:
                cursor.close()
        raise AssertionError("unreachable")

    def latest(self, points: IntArray) -> Batch:
        """Return the newest reading of each point that has one."""
        return self._known.read(points)

    def read(self, points: IntArray, start: int, end: int) -> Batch:
        """Return raw readings, ordered by point, then by time."""
        wanted = np.unique(np.asarray(points, dtype=np.int32))

        def ask(con: duckdb.DuckDBPyConnection) -> Batch:
            where = points_condition(con, wanted, self._points)
            sql = self._raw.select("point, observed, value, quality", start, end, where)
            return _batch(_fetch(con, f"SELECT * FROM ({sql}) ORDER BY point, observed"))

        return self._read(ask)

    def newest(self, points: IntArray, start: int, end: int) -> Batch:
        """Return of each point that has raw readings in [start, end) the newest of them, ordered by point."""
        wanted = np.unique(np.asarray(points, dtype=np.int32))

        def ask(con: duckdb.DuckDBPyConnection) -> Batch:
            where = points_condition(con, wanted, self._points)
            rows = self._raw.select("point, observed, value, quality", start, end, where)
            return _batch(
                _fetch(
                    con,
                    "SELECT point, max(observed) AS observed, arg_max(value, observed) AS value, "
                    f"arg_max(quality, observed) AS quality FROM ({rows}) GROUP BY point ORDER BY point",
                )
            )

        return self._read(ask)

    def read_tier(self, name: str, points: IntArray, start: int, end: int) -> Steps:
        """Return a tier's rows, ordered by point, then by start."""
        wanted = np.unique(points)

        def ask(con: duckdb.DuckDBPyConnection) -> Steps:
            where = points_condition(con, wanted, self._points)
            sql = self._tiers[name].select(", ".join(STEP), start, end, where)
            return Steps(**_fetch(con, f"SELECT * FROM ({sql}) ORDER BY point, start"))

        return self._read(ask)

    def _tier_cells(
        self, name: str, points: IntArray, start: int, end: int, step: int, how: Aggregate
    ) -> tuple[IntArray, TimeArray, ValueArray]:
        def ask(con: duckdb.DuckDBPyConnection) -> tuple[IntArray, TimeArray, ValueArray]:
            found = _fetch(con, self._cells_sql(con, name, points, start, end, step, how))
            return found["point"], found["cell"], found["value"]

        return self._read(ask)

    def _tier_total(
        self, name: str, points: IntArray, start: int, end: int, step: int
    ) -> tuple[TimeArray, ValueArray]:
        def ask(con: duckdb.DuckDBPyConnection) -> tuple[TimeArray, ValueArray]:
            cells = self._cells_sql(con, name, points, start, end, step, Aggregate.TIME_WEIGHTED)
            found = con.execute(
                f"SELECT cell, sum(value) AS value FROM ({cells}) GROUP BY cell HAVING count(value) = {len(points)}"
            ).fetchnumpy()
            return np.asarray(found["cell"]), np.ma.filled(found["value"], np.nan)

        return self._read(ask)

    def _tier_extremes(
        self, name: str, points: IntArray, start: int, end: int, how: Aggregate
    ) -> tuple[IntArray, ValueArray]:
        column, combined = CELL[how]

        def ask(con: duckdb.DuckDBPyConnection) -> tuple[IntArray, ValueArray]:
            where = points_condition(con, points, self._points)
            rows = self._tiers[name].select(f"point, {column}", start, end, where)
            found = _fetch(
                con, f"SELECT point, {combined} AS value FROM ({rows}) GROUP BY point ORDER BY point"
            )
            return found["point"], found["value"]

        return self._read(ask)

    def _cells_sql(
        self,
        con: duckdb.DuckDBPyConnection,
        name: str,
        points: IntArray,
        start: int,
        end: int,
        step: int,
        how: Aggregate,
    ) -> str:
        """Return SQL for point, cell and value; only the columns that the aggregate needs are read."""
        one, several = CELL[how]
        where = points_condition(con, points, self._points)
        if step == TIERS[name]:
            return self._tiers[name].select(f"point, start AS cell, {one} AS value", start, end, where)
        needs = "point, start, " + ", ".join(c for c in STEP if c in several and c not in {"point", "start"})
        rows = self._tiers[name].select(needs, start, end, where)
        return (
            f"SELECT point, start // {step} * {step} AS cell, {several} AS value FROM ({rows}) GROUP BY 1, 2"
        )

    # --- upkeep ----------------------------------------------------------------------------------------------

    def maintain(self, now: int) -> dict[str, int]:
        """Repair and make rollups, seal what is old enough, drop what is past its retention."""
        with self._maintain_lock:
            keep = self._settings.retention.milliseconds()
            self._kept_from = {name: now - k for name in TIERS if (k := keep[name]) is not None}
            try:
                self.upkeep_step = "repairing"
                done = {"repaired": self._repair()}
                self.upkeep_step = "rolling up"
                done["rolled"] = self._roll_forward(now)
                self.upkeep_step = "sealing"
                done["sealed"] = self._seal()
                self.upkeep_step = "dropping"
                done["dropped"] = self._retain(now)
                if done["sealed"] or done["dropped"] or self._log_is_due():
                    self.upkeep_step = "folding the log"
                    self._fold_log()
            except duckdb.Error as e:
                _rollback(self._upkeep)
                raise StoreUnavailable(f"{self.path}: {e}") from e
            finally:
                self.upkeep_step = ""
            return done

    def _all_points(self) -> IntArray:
        return np.arange(self._points, dtype=np.int32)

    def _raw_from(self) -> int:
        return self._raw_floor

    def _repair(self) -> int:
        """Roll up again the hours of the points that late readings landed in."""
        with self._write_lock:  # all marks up to this one are committed, and so are their readings
            last_mark = self._mark
        con = self._upkeep
        rows = 0
        while True:
            low = _one(con, f"SELECT coalesce(min(hour), -1) FROM late WHERE mark <= {last_mark}")
            if low < 0:
                return rows
            marks = f"FROM late WHERE mark <= {last_mark} AND hour < {low + REPAIR_HOURS}"
            high = _one(con, f"SELECT max(hour) {marks}")
            points = np.asarray(
                con.execute(f"SELECT DISTINCT point {marks} ORDER BY 1").fetchnumpy()["point"]
            )
            self._repaired_marks = f"DELETE {marks}"
            rows += self._repair_hours(Late(points, low, high))

    def _keep_repaired(self, late: Late, rows: Mapping[str, Steps]) -> None:
        con = self._upkeep
        con.execute("BEGIN")
        for name, fresh in rows.items():
            where = points_condition(con, late.points, self._points)
            self._tiers[name].delete(con, late.first * HOUR, (late.last + 1) * HOUR, where)
            if len(fresh):
                self._tiers[name].insert(con, {c: getattr(fresh, c) for c in STEP})
        con.execute(self._repaired_marks)
        con.execute("COMMIT")

    def _next_pass(self, start: int, target: int) -> int | None:
        reach = self._raw.select("observed", start - self.max_gap, target)
        count = _one(self._upkeep, f"SELECT count(*) FROM ({reach})")
        if not count:
            end = None
        else:
            minutes = (target - start) // MINUTE
            end = start + max(1, min(minutes, minutes * ROLL_ROWS // count)) * MINUTE
        with self._write_lock:  # from here on, a reading from before `end` is late
            self._rolling_to = target if end is None else end
        return end

    def _keep_rolled(self, rows: Mapping[str, Steps], rolled: dict[str, int]) -> None:
        con = self._upkeep
        con.execute("BEGIN")
        for name, fresh in rows.items():
            if len(fresh):
                self._tiers[name].insert(con, {c: getattr(fresh, c) for c in STEP})
            con.execute("UPDATE state SET value = ? WHERE name = ?", [rolled[name], f"rolled_{name}"])
        con.execute("COMMIT")

    def _seal(self) -> int:
        """Sort hot tables into their partitions when they are large or old enough."""
        tables = (self._raw, *self._tiers.values())
        return sum(self._seal_table(t) for t in tables if t.is_ripe(self._settings.duckdb.seal_rows))

    def _seal_table(self, table: PartitionedTable) -> int:
        if table.hot_rows:
            with self._write_lock:
                table.freeze(self._con)
        if table is self._raw:  # before the frozen rows move to where opening does not look
            self._keep_newest(self._upkeep)
        return table.seal(self._upkeep)

    def _keep_newest(self, con: duckdb.DuckDBPyConnection) -> None:
        """Write down the newest readings, so that opening need not search the sealed partitions."""
        have = np.flatnonzero(self._known.observed > 0).astype(np.int32)
        con.execute("BEGIN")
        con.execute("DELETE FROM newest")
        con.register("incoming", _columns(self._known.read(have)))
        con.execute("INSERT INTO newest SELECT point, observed, value, quality FROM incoming")
        con.unregister("incoming")
        con.execute("COMMIT")

    def _fold_log(self) -> None:
        """Move the write-ahead log into the file, and make the room of dropped tables free; all goes on meanwhile."""
        try:
            self._upkeep.execute("CHECKPOINT")
            self._folded = time.monotonic()
        except duckdb.TransactionException as e:
            log.debug("no checkpoint now, the next one will do: %s", e)

    def _log_is_due(self) -> bool:
        """Return whether the log should be folded: soon, while that is short; else when it is very long."""
        file = self.path.with_name(self.path.name + ".wal")
        size = file.stat().st_size if file.exists() else 0
        return size > LOG_LIMIT or (0 < size <= SHORT_LOG and time.monotonic() - self._folded > FOLD_S)

    def _retain(self, now: int) -> int:
        con = self._upkeep
        keep = self._settings.retention.milliseconds()
        idle = self._settings.duckdb.seal_after_s
        dropped = 0
        raw_keep = keep["raw"]
        if raw_keep is not None and not _one(con, "SELECT count(*) FROM late"):
            gone = self._raw.drop_before(con, min(now - raw_keep, self._rolled["minute"] - HOUR), idle)
            if gone and (floor := (gone[-1] + 1) * RAW_SPAN) > self._raw_floor:
                con.execute("UPDATE state SET value = ? WHERE name = 'raw_floor'", [floor])
                self._raw_floor = floor
            dropped += len(gone)
        for name, table in self._tiers.items():
            limit = keep[name]
            if limit is not None:
                dropped += len(table.drop_before(con, now - limit, idle))
        return dropped

    def write_tier(self, name: str, steps: Steps) -> int:
        """Take rollups over from another store; of two rows of one step the one made of more readings stays."""
        if not len(steps):
            return 0
        step = TIERS[name]
        start, end = int(steps.start.min()), int(steps.start.max()) + step
        points = np.unique(steps.point)
        self._points = max(self._points, int(points[-1]) + 1)
        with self._maintain_lock:
            con = self._upkeep
            try:
                if end > self._raw_floor:  # the readings behind these rows may never come
                    con.execute("UPDATE state SET value = ? WHERE name = 'raw_floor'", [ceil_to(end, HOUR)])
                    self._raw_floor = ceil_to(end, HOUR)
                rows = self._fuller(name, points, steps, start, end)
                con.execute("BEGIN")
                self._tiers[name].delete(con, start, end, points_condition(con, points, self._points))
                written = self._tiers[name].insert(con, {c: getattr(rows, c) for c in STEP})
                con.execute("COMMIT")
            except duckdb.Error as e:
                _rollback(con)
                raise StoreUnavailable(f"{self.path}: {e}") from e
        return written

    def check_removal(self) -> None:
        """Every point's readings can be removed."""

    def remove(self, points: IntArray) -> int:
        """Remove all readings and rollups of points, table by table; writes go on meanwhile. Return the rows."""
        wanted = np.unique(points)
        if not len(wanted):
            return 0
        with self._maintain_lock:  # nothing is sealed or rolled up meanwhile
            con = self._upkeep
            try:
                where = points_condition(con, wanted, 1 << 31)  # named one by one, even if they are all
                removed = sum(t.delete(con, *ALWAYS, where) for t in (self._raw, *self._tiers.values()))
                with self._write_lock:
                    self._known.forget(wanted)
                    self._keep_newest(con)
            except duckdb.Error as e:
                raise StoreUnavailable(f"{self.path}: {e}") from e
            self._carry = None  # it may hold readings that are gone
            self._fold_log()
        return removed

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor that sees a consistent state; the caller closes it."""
        return self._con.cursor()

    def health(self) -> StoreHealth:
        """Return how the store is; never raises."""
        version = f"DuckDB {duckdb.__version__}"
        try:
            rows = self._read(
                lambda con: _one(
                    con,
                    "SELECT coalesce(sum(estimated_size), 0) FROM duckdb_tables() "
                    "WHERE table_name LIKE 'raw%' OR table_name LIKE 'tier%'",
                )
            )
        except (StorageError, duckdb.Error) as e:
            return StoreHealth("duckdb", version, False, str(e))
        files = (self.path, self.path.with_name(self.path.name + ".wal"))
        size = sum(f.stat().st_size for f in files if f.exists())
        return StoreHealth("duckdb", version, True, str(self.path), rows, size)

    def close(self) -> None:
        """Write what is pending and let go of the file."""
        with self._maintain_lock, self._write_lock:
            self._keep_newest(self._con)
            self._con.close()


def _without_repeats(batch: Batch) -> Batch:
    """Of readings of one point at one time keep the one that came last."""
    order = np.lexsort((batch.observed, batch.point))  # stable: arrival decides among equals
    point, observed = batch.point[order], batch.observed[order]
    last = np.append((point[1:] != point[:-1]) | (observed[1:] != observed[:-1]), True)
    return batch.take(order[last])


def _columns(batch: Batch) -> dict[str, np.ndarray[Any, Any]]:
    return {"point": batch.point, "observed": batch.observed, "value": batch.value, "quality": batch.quality}


def _batch(found: dict[str, Any]) -> Batch:
    return Batch(found["point"], found["observed"], found["value"], found["quality"], now_ms())


def _fetch(con: duckdb.DuckDBPyConnection, sql: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return an answer's columns by name, NaN where one is missing.

    By way of Arrow: other threads of Python run meanwhile, which they do not while DuckDB makes numpy arrays.
    """
    told = con.sql(sql).to_arrow_table()
    return {name: told.column(name).to_numpy() for name in told.column_names}


def _rollback(con: duckdb.DuckDBPyConnection) -> None:
    try:
        con.execute("ROLLBACK")
    except duckdb.Error:
        log.debug("nothing to roll back")


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = con.execute(sql).fetchone()
    return int(row[0]) if row is not None else 0
