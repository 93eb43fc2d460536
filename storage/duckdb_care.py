"""Backup, restore and check of the embedded store."""

# ruff: noqa: S608 - the SQL is put together from our own table names and from integers
from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np

from domain.errors import InputError, StorageError
from storage.duckdb_store import DuckDBStore
from storage.open import DATABASE_FILE
from storage.private import private_file, private_opener
from storage.settings import HOUR, MINUTE, StorageSettings
from storage.steps import roll

SAMPLES = 50
"""Hours of points whose rollups `check` makes again from the raw readings."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found: points, rows by table, and every problem in words."""

    points: int
    rows: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def backup(store: DuckDBStore, target: Path) -> int:
    """Copy the whole store, as it is at this moment, into a new file while it is in use; return its bytes.

    Raises
    ------
    InputError
        If `target` exists.
    StorageError
        If it cannot be written.
    """
    if target.exists():
        raise InputError(f"{target} exists; name a file that does not")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    cursor = store.cursor()
    try:
        name = cursor.execute("SELECT current_database()").fetchall()[0][0]
        quoted = str(unfinished).replace("'", "''")
        cursor.execute(f"ATTACH '{quoted}' AS backup_copy")
        private_file(unfinished)
        try:
            cursor.execute(f'COPY FROM DATABASE "{name}" TO backup_copy')
        finally:
            cursor.execute("DETACH backup_copy")
        unfinished.replace(target)
    except (duckdb.Error, OSError) as e:
        unfinished.unlink(missing_ok=True)
        raise StorageError(f"{target}: backup failed: {e}") from e
    finally:
        cursor.close()
    return target.stat().st_size


def restore(source: Path, settings: StorageSettings, replace: bool = False) -> CheckReport:
    """Put a backup in the place of the store of a service that does not run; the backup is checked first.

    Parameters
    ----------
    source
        A file that `backup` made.
    settings
        Names the folder of the store.
    replace
        Whether a store that is there may be replaced; it is kept beside as ``*.before-restore``.

    Raises
    ------
    InputError
        If a store is there and may not be replaced.
    StorageError
        If the backup does not pass the check.
    """
    target = settings.path / DATABASE_FILE
    if target.exists() and not replace:
        raise InputError(f"{target} exists; say explicitly that it may be replaced")
    if not source.is_file():
        raise InputError(f"{source} is not a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    copy = target.with_name(target.name + ".restoring")
    copy.unlink(missing_ok=True)
    with open(copy, "wb", opener=private_opener):
        pass
    shutil.copyfile(source, copy)
    store = DuckDBStore(copy, settings)
    try:
        report = check(store)
    finally:
        store.close()
    if report.problems:
        copy.unlink()
        raise StorageError(f"{source} does not pass the check: {'; '.join(report.problems[:3])}")
    log = target.with_name(target.name + ".wal")
    if target.exists():
        if log.exists():  # its last commits belong to the old file
            os.replace(log, log.with_name(log.name + ".before-restore"))
        os.replace(target, target.with_name(target.name + ".before-restore"))
    os.replace(copy, target)
    return report


def check(store: DuckDBStore, seed: int = 0) -> CheckReport:
    """Read every row of the store, and make a sample of rollups again from the raw readings."""
    problems: list[str] = []
    rows: dict[str, int] = {}
    cursor = store.cursor()
    try:
        points = len(store.load_points())
        names = [
            str(n) for (n,) in cursor.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        ]
        for name in names:
            if not name.startswith(("raw_", "tier_")):
                continue
            time = "observed" if name.startswith("raw_") else "start"
            value = "value" if name.startswith("raw_") else "weighted"
            try:
                found = cursor.execute(
                    f"SELECT count(*), coalesce(max(point), -1), sum({value}), min({time}) FROM {name}"
                ).fetchall()[0]
            except duckdb.Error as e:
                problems.append(f"{name} cannot be read: {e}")
                continue
            rows[name] = int(found[0])
            if int(found[1]) >= points:
                problems.append(f"{name} has readings of point {found[1]}, of which nothing is known")
        problems += _check_rollups(store, cursor, names, seed)
    except StorageError as e:
        problems.append(str(e))
        points = 0
    finally:
        cursor.close()
    return CheckReport(points, rows, tuple(problems))


def _check_rollups(
    store: DuckDBStore, con: duckdb.DuckDBPyConnection, names: list[str], seed: int
) -> list[str]:
    raw = [n for n in names if n.startswith("raw_")]
    if not raw:
        return []
    everything = " UNION ALL ".join(f"SELECT point, observed // {HOUR} AS hour FROM {n}" for n in raw)
    sample = con.execute(
        f"SELECT DISTINCT point, hour FROM (SELECT * FROM ({everything}) USING SAMPLE reservoir({4 * SAMPLES} ROWS) "
        f"REPEATABLE ({seed})) WHERE (point, hour) NOT IN (SELECT (point, hour) FROM late) "
        f"AND hour >= {store.raw_from // HOUR} LIMIT {SAMPLES}"
    ).fetchall()
    problems = []
    for point, hour in sample:
        one = np.array([point], np.int32)
        start, end = int(hour) * HOUR, min((int(hour) + 1) * HOUR, store.rolled_until)
        if end <= start:
            continue
        made = roll(store.read(one, start - store.max_gap, end), start, end, MINUTE, store.max_gap)
        kept = store.read_tier("minute", one, start, end)
        if not np.array_equal(made.start, kept.start) or not np.array_equal(made.count, kept.count):
            problems.append(f"the minutes of point {point} from {start} on are not those of its readings")
    return problems
