"""Time-partitioned tables of the embedded store.

Rows arrive in a `hot` table in the order in which they come. Sealing sorts them by point into one table per
span of time, so that one point's history lies together and retention drops whole tables.
"""

# ruff: noqa: S608 - the SQL is put together from our own table names and from integers
from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which tables there are now: hot ones (the last takes the rows), and partitions by number."""

    hot: tuple[int, ...] = ()
    parts: frozenset[int] = field(default_factory=frozenset)


class PartitionedTable:
    """One logical table of (point, time, ...) rows.

    Parameters
    ----------
    name
        Prefix of the physical tables: ``<name>_hot_<n>`` and ``<name>_<partition>``.
    columns
        SQL columns; the first is ``point``, the second the time in ms, by which rows are partitioned.
    span
        Milliseconds in a partition.
    seal_after
        Seconds after which the hot rows are sorted into the partitions.
    """

    def __init__(self, name: str, columns: Mapping[str, str], span: int, seal_after: float) -> None:
        self.name = name
        self.columns = dict(columns)
        self.time = list(columns)[1]
        self.span = span
        self.layout = Layout()
        self.hot_rows = 0
        self._seal_after = seal_after
        self._hot_since = time.monotonic()
        self.moving = threading.Lock()
        """Held while rows move from a hot table into the partitions."""
        self._touched: dict[int, float] = {}

    @property
    def _declared(self) -> str:
        return ", ".join(f"{n} {t}" for n, t in self.columns.items())

    def open(self, con: duckdb.DuckDBPyConnection) -> None:
        """Learn which tables exist, and make sure that there is a hot one."""
        rows = con.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
        names = [str(r[0]) for r in rows]
        hot = sorted(int(m[1]) for n in names if (m := re.fullmatch(rf"{self.name}_hot_(\d+)", n)))
        parts = {int(m[1]) for n in names if (m := re.fullmatch(rf"{self.name}_(\d+)", n))}
        if not hot:
            hot = [0]
            con.execute(f"CREATE TABLE {self.name}_hot_0 ({self._declared})")
        self.layout = Layout(tuple(hot), frozenset(parts))
        counted = con.execute(f"SELECT count(*) FROM {self.hot_table}").fetchone()
        self.hot_rows = int(counted[0]) if counted else 0

    @property
    def hot_table(self) -> str:
        """Physical table that takes new rows."""
        return f"{self.name}_hot_{self.layout.hot[-1]}"

    def insert(self, con: duckdb.DuckDBPyConnection, rows: Columns) -> int:
        """Append rows (columns by name) and return how many."""
        incoming = {c: rows[c] for c in self.columns}
        con.register("incoming", incoming)
        con.execute(f"INSERT INTO {self.hot_table} SELECT {', '.join(self.columns)} FROM incoming")
        con.unregister("incoming")
        n = len(incoming["point"])
        self.hot_rows += n
        return n

    def tables(self, start: int, end: int) -> list[str]:
        """Return the physical tables that may hold rows of [start, end)."""
        layout = self.layout
        low, high = start // self.span, (end - 1) // self.span
        parts = sorted(p for p in layout.parts if low <= p <= high)
        return [f"{self.name}_{p}" for p in parts] + [f"{self.name}_hot_{h}" for h in layout.hot]

    def select(self, what: str, start: int, end: int, where: str = "") -> str:
        """Return SQL for the rows of [start, end) over all tables that may hold some."""
        condition = f"{self.time} >= {int(start)} AND {self.time} < {int(end)}" + (
            f" AND {where}" if where else ""
        )
        return " UNION ALL ".join(
            f"SELECT {what} FROM {t} WHERE {condition}" for t in self.tables(start, end)
        )

    def delete(self, con: duckdb.DuckDBPyConnection, start: int, end: int, where: str) -> int:
        """Remove the rows of [start, end) that satisfy `where`; return how many."""
        removed = 0
        for table in self.tables(start, end):
            told = con.execute(
                f"DELETE FROM {table} WHERE {self.time} >= {int(start)} AND {self.time} < {int(end)} AND {where}"
            ).fetchone()
            removed += int(told[0]) if told else 0
        return removed

    def is_ripe(self, rows: int) -> bool:
        """Return whether there is something to seal: hot rows of some age, or more than `rows` of them."""
        old = time.monotonic() - self._hot_since > self._seal_after
        return len(self.layout.hot) > 1 or (self.hot_rows > 0 and (old or self.hot_rows >= rows))

    def freeze(self, con: duckdb.DuckDBPyConnection) -> None:
        """Start a new hot table; the caller holds the lock under which rows are inserted."""
        following = self.layout.hot[-1] + 1
        con.execute(f"CREATE TABLE {self.name}_hot_{following} ({self._declared})")
        self.layout = Layout((*self.layout.hot, following), self.layout.parts)
        self.hot_rows = 0
        self._hot_since = time.monotonic()

    def seal(self, con: duckdb.DuckDBPyConnection) -> int:
        """Sort every frozen hot table into the partitions, each in one transaction; return the rows moved."""
        with self.moving:
            return sum(self._seal_one(con, hot) for hot in self.layout.hot[:-1])

    def _seal_one(self, con: duckdb.DuckDBPyConnection, hot: int) -> int:
        table = f"{self.name}_hot_{hot}"
        con.execute("BEGIN")
        try:
            found = con.execute(
                f"SELECT DISTINCT {self.time} // {self.span} FROM {table} ORDER BY 1"
            ).fetchall()
            for (part,) in found:
                con.execute(f"CREATE TABLE IF NOT EXISTS {self.name}_{part} ({self._declared})")
                con.execute(
                    f"INSERT INTO {self.name}_{part} SELECT * FROM {table} WHERE {self.time} >= "
                    f"{part * self.span} AND {self.time} < {(part + 1) * self.span} ORDER BY point, {self.time}"
                )
            counted = con.execute(f"SELECT count(*) FROM {table}").fetchone()
            con.execute(f"DROP TABLE {table}")
            con.execute("COMMIT")
        except BaseException:
            con.execute("ROLLBACK")
            raise
        parts = frozenset(int(p) for (p,) in found)
        self.layout = Layout(tuple(h for h in self.layout.hot if h != hot), self.layout.parts | parts)
        self._touched.update(dict.fromkeys(parts, time.monotonic()))
        return int(counted[0]) if counted else 0

    def drop_before(self, con: duckdb.DuckDBPyConnection, limit: int, idle: float) -> list[int]:
        """Drop the partitions that end at or before `limit`, unless rows came within the last `idle` seconds.

        A long import writes into old partitions piece by piece: they go only when it is over.
        """
        quiet = time.monotonic() - idle
        old = sorted(
            p
            for p in self.layout.parts
            if (p + 1) * self.span <= limit and self._touched.get(p, quiet) <= quiet
        )
        for part in old:
            con.execute(f"DROP TABLE IF EXISTS {self.name}_{part}")
            self.layout = Layout(self.layout.hot, self.layout.parts - {part})
        return old


def points_condition(con: duckdb.DuckDBPyConnection, points: NDArray[np.int32], known: int) -> str:
    """Return a WHERE condition for these points; many are handed over as a table named ``wanted``.

    Parameters
    ----------
    known
        How many points the store knows: asking for all of them needs no condition.
    """
    if len(points) == 0:
        return "false"
    low, high = int(points.min()), int(points.max())
    if len(points) == high - low + 1:
        return f"point BETWEEN {low} AND {high}" if low > 0 or high < known - 1 else "true"
    if len(points) <= 8:  # a join with more is two to three times as fast as a list
        return f"point IN ({', '.join(map(str, points.tolist()))})"
    con.register("wanted", {"point": points})
    return f"point BETWEEN {low} AND {high} AND point IN (SELECT point FROM wanted)"
