"""Work on the store as a whole, the same whether a command does it or the running service on its behalf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from domain.batch import now_ms
from domain.errors import InputError
from domain.points import PointRegistry
from storage.exported import Form
from storage.latest import LatestValues
from storage.point_upkeep import PointUpkeep, Selection
from storage.tiers import TieredStore
from storage.transfer import export_store, import_store

log = structlog.get_logger(__name__)


def jobs(
    store: TieredStore, registry: PointRegistry, latest: LatestValues
) -> dict[str, Callable[..., dict[str, Any]]]:
    """Return the jobs by name; each takes its arguments by name."""
    upkeep = PointUpkeep(registry, store, latest)
    return {
        "points": partial(points, upkeep),
        "retire": partial(retire, upkeep),
        "readmit": partial(readmit, upkeep),
        "backup": partial(backup, store),
        "check": partial(check, store),
        "export": partial(export, store, registry),
        "import": partial(import_, store, registry),
    }


def backup(store: TieredStore, file: str) -> dict[str, Any]:
    """Copy the embedded store into a new file while it is in use."""
    from storage.duckdb_care import backup as copy

    return {"file": file, "bytes": copy(_embedded(store), Path(file))}


def check(store: TieredStore) -> dict[str, Any]:
    """Read every row of the embedded store and make a sample of its rollups again."""
    from storage.duckdb_care import check as look

    return asdict(look(_embedded(store)))


def export(
    store: TieredStore,
    registry: PointRegistry,
    folder: str,
    start: int,
    end: int,
    form: str,
    pattern: str = "",
) -> dict[str, Any]:
    """Write readings and rollups into a folder of files; goes on where an earlier run was interrupted."""
    if form not in list(Form):
        raise InputError(f"--form {form}: write one of {', '.join(Form)}")
    points = registry.match(pattern) if pattern else None
    if points is not None and len(points) == 0:
        raise InputError(f"no point matches {pattern!r}")
    return export_store(store, registry, Path(folder), start, end, Form(form), points).as_dict()


def import_(store: TieredStore, registry: PointRegistry, folder: str) -> dict[str, Any]:
    """Take an exported folder over."""
    return import_store(store, registry, Path(folder)).as_dict()


def points(
    upkeep: PointUpkeep, pattern: str, source: str, older_than: int | None, retired: bool, limit: int
) -> dict[str, Any]:
    """List points."""
    return upkeep.report(Selection(pattern, source, older_than, retired), limit, now_ms())


def retire(
    upkeep: PointUpkeep, pattern: str, source: str, older_than: int | None, refuse: bool, with_readings: bool
) -> dict[str, Any]:
    """Take points out of use."""
    wanted = Selection(pattern, source, older_than)
    done = upkeep.retire(wanted, refuse, with_readings, now_ms())
    log.info("points retired", pattern=pattern, source=source, refuse=refuse, **done)
    return done


def readmit(upkeep: PointUpkeep, pattern: str, source: str) -> dict[str, Any]:
    """Take retired points back into use."""
    done = upkeep.readmit(Selection(pattern, source, retired=True), now_ms())
    log.info("points readmitted", pattern=pattern, source=source, **done)
    return done


def _embedded(store: TieredStore) -> Any:
    from storage.duckdb_store import DuckDBStore

    if not isinstance(store, DuckDBStore):
        raise InputError("only the embedded store has backups and checks of its own; use InfluxDB's tools")
    return store
