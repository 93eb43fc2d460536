"""Moving telemetry between stores, and to Parquet or CSV, in slices of time that can be resumed.

A folder of an export holds ``points.jsonl``, one folder for raw readings and one for each tier, with a file per slice,
and ``manifest.json`` with the rows of each slice. Points are named by their key.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from domain.batch import Batch
from domain.errors import ContractViolation, InputError, PointRefused, StorageError, TooManyPoints
from domain.points import IntArray, Point, PointRegistry, Retired
from domain.spreadsheet import guarded
from storage import exported
from storage.exported import RAW, Form
from storage.plausibility import Plausibility
from storage.points_json import point_to_json
from storage.settings import DAY, HOUR
from storage.steps import Steps, ceil_to, floor_to
from storage.tiers import TIERS, TieredStore

log = logging.getLogger(__name__)

SLICE = {RAW: HOUR, "minute": DAY, "quarter": 10 * DAY, "hour": 30 * DAY}
"""Time in one file, ms."""
POINTS_AT_ONCE = 2000
ROWS_AT_ONCE = 200_000


@dataclass(slots=True)
class Moved:
    """What a transfer did. An import is complete when what is stored, duplicate and refused makes up its rows."""

    points: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*reversed(TIERS), RAW), 0))
    """Rows written into files, or read from them, by tier (``raw``, ``minute``, ...)."""
    stored: int = 0
    duplicate: int = 0
    files: int = 0
    resumed: int = 0
    """Files that an earlier, interrupted run had finished."""
    refused: dict[str, int] = field(default_factory=dict)
    """Rows that an import refused, by reason."""
    points_refused: dict[str, int] = field(default_factory=dict)
    """Points that an import refused, by reason; their rows are refused as those of unknown points."""
    impossible: int = 0
    """Readings that no plant shows: imported as bad."""
    ignored: list[str] = field(default_factory=list)
    """Files of an imported folder that are no slices."""

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return asdict(self)


def export_store(
    store: TieredStore,
    registry: PointRegistry,
    folder: Path,
    start: int,
    end: int,
    form: Form = Form.PARQUET,
    points: IntArray | None = None,
    tiers: Sequence[str] = (RAW, *TIERS),
) -> Moved:
    """Write readings and rollups of [start, end) into a folder; run again, it goes on where it was interrupted.

    Parameters
    ----------
    store, registry
        What is exported, and its points.
    folder
        Made where it does not exist.
    start, end
        UTC ms. Slices that are not over by `end` are written anew by a later run.
    form
        Kind of file.
    points
        Registry indexes; all by default.
    tiers
        Which of ``raw``, ``minute``, ``quarter``, ``hour``.

    Raises
    ------
    InputError
        If the folder holds an export in another form, or a tier is unknown.
    """
    if unknown := set(tiers) - set(SLICE):
        raise InputError(f"there is no tier {', '.join(sorted(unknown))}; there are {', '.join(SLICE)}")
    wanted = np.arange(len(registry), dtype=np.int32) if points is None else np.unique(points)
    folder.mkdir(parents=True, exist_ok=True)
    before = exported.read_manifest(folder)
    if before.form not in {"", form.value}:
        raise InputError(f"{folder} holds an export as {before.form}; name another folder")
    slices = before.slices
    manifest = {"form": form.value, "version": 1, "slices": slices}
    _replace_file(
        folder / "points.jsonl", "".join(point_to_json(registry[i]) + "\n" for i in wanted.tolist()).encode()
    )
    keys = np.array([p.key for p in registry], dtype=object)
    moved = Moved(points=len(wanted))
    for tier in tiers:
        moved.rows[tier] = 0
        for a, b in _slices(tier, start, end):
            name = f"{tier}/{datetime.fromtimestamp(a / 1000, UTC):%Y%m%dT%H%M}.{form.value}"
            if name in slices:
                moved.resumed += 1
                moved.rows[tier] += slices[name]
                continue
            rows = _write_slice(folder / name, form, tier, keys, _parts(store, tier, wanted, a, b))
            moved.rows[tier] += rows
            moved.files += rows > 0
            if b < end or b % SLICE[tier] == 0:
                slices[name] = rows
                _replace_file(folder / "manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    return moved


def import_store(store: TieredStore, registry: PointRegistry, folder: Path) -> Moved:
    """Take an exported folder over; run again, it goes on where it was interrupted. Twice changes nothing.

    Points that are known here stay what they are. Rows that ingest would refuse are refused, and counted by reason;
    of times only those before the year 2000 and those ahead of now: history may be older than what a source may tell.

    Raises
    ------
    InputError
        If the folder holds no export, or what is in it cannot be read: nothing of that file is taken then.
    StorageError
        If the store refuses readings.
    """
    told = exported.read_points(folder)
    promised = exported.read_manifest(folder).slices
    files = exported.slices_of(folder, promised)
    done_file = folder / f"imported-{hashlib.sha256(store.health().detail.encode()).hexdigest()[:8]}.txt"
    done = _read_done(done_file)
    for name, rows in promised.items():
        if rows and name not in files.slices and name not in done:
            raise InputError(
                f"{folder / name} is missing, and the manifest promises {rows} rows of it; export it again"
            )
    moved = Moved(ignored=files.ignored)
    index = _register(store, registry, told, moved)
    plausibility = Plausibility(registry)
    for name in files.slices:
        tier = name.partition("/")[0]
        if name in done:
            moved.resumed += 1
            continue
        rows = exported.check(folder / name, tier, promised.get(name))
        for part in exported.read_slice(folder / name, tier, index, moved.refused):
            if isinstance(part, Batch):
                impossible = plausibility.impossible(part)
                moved.impossible += int(impossible.sum())
                part = plausibility.marked(part, impossible)
            _take_over(store, tier, part, moved)
        moved.rows[tier] += rows
        moved.files += 1
        with done_file.open("a") as list_of_done:
            list_of_done.write(name + "\n")
    return moved


def _register(
    store: TieredStore, registry: PointRegistry, told: Sequence[Point], moved: Moved
) -> dict[str, int]:
    """Make points known, and return the index of each that may be here."""
    index: dict[str, int] = {}
    for point in told:
        known = registry.index(point.key)
        here = None if known is None else registry[known]
        try:
            if known is None or here is None:
                most = registry.max_points
                if most is not None and registry.in_use.total() >= most:  # whatever source it names, or none
                    raise TooManyPoints(point.key, "", most)
                known = registry.register(point)
            elif (here.unit, here.is_state) != (point.unit, point.is_state):
                raise ContractViolation("other_unit", point.key)
            elif here.retired == Retired.REFUSED:
                raise PointRefused(point.key)
        except ContractViolation as e:
            moved.points_refused[e.reason] = moved.points_refused.get(e.reason, 0) + 1
            continue
        index[point.key] = known
    moved.points = len(index)
    store.save_points([(i, registry[i]) for i in index.values()])
    return index


def _read_done(file: Path) -> set[str]:
    """Return the names of the files that an earlier run has imported; make sure that more can be noted."""
    try:
        with file.open("a+") as noted:
            noted.seek(0)
            return set(noted.read().split())
    except (OSError, ValueError) as e:
        raise InputError(
            f"{file}: what was imported is noted there, and that fails: {e}; remove it, or name a folder that can be "
            "written"
        ) from e


# --- slices ----------------------------------------------------------------------------------------------------


def _slices(tier: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    # raw readings from a whole hour on: the first hour's rollups are made again from them
    first = ceil_to(start, HOUR) if tier == RAW else floor_to(start, TIERS[tier])
    while first < end:
        last = min(floor_to(first, SLICE[tier]) + SLICE[tier], end)
        yield first, last
        first = last


def _parts(store: TieredStore, tier: str, points: IntArray, start: int, end: int) -> Iterator[Batch | Steps]:
    for first in range(0, len(points), POINTS_AT_ONCE):
        some = points[first : first + POINTS_AT_ONCE]
        part = store.read(some, start, end) if tier == RAW else store.read_tier(tier, some, start, end)
        if len(part):
            yield part


def _take_over(store: TieredStore, tier: str, part: Batch | Steps, moved: Moved) -> int:
    if isinstance(part, Steps):
        moved.stored += store.write_tier(tier, part)
        return len(part)
    for first in range(0, len(part), ROWS_AT_ONCE):
        rows = part.take(np.arange(first, min(first + ROWS_AT_ONCE, len(part)), dtype=np.int32))
        report = store.write(rows)
        if report.rejected:
            raise StorageError(f"the store refuses readings: {report.rejected}")
        moved.stored += report.stored
        moved.duplicate += report.duplicate
    return len(part)


# --- files -----------------------------------------------------------------------------------------------------


def _write_slice(
    file: Path, form: Form, tier: str, keys: np.ndarray[Any, Any], parts: Iterator[Batch | Steps]
) -> int:
    """Write a slice under another name first, so that a file that is there is whole; return its rows."""
    file.parent.mkdir(exist_ok=True)
    unfinished = file.with_name(file.name + ".unfinished")
    schema = pa.schema(list(exported.schema_of(tier).items()))
    rows = 0
    writer: Any = None
    if form is Form.CSV:
        keys = np.array([guarded(key) for key in keys.tolist()], keys.dtype)
    try:
        for part in parts:
            times = part.observed if isinstance(part, Batch) else part.start
            columns = [
                pa.array(keys[part.point], pa.string()),
                pa.array(times).cast(schema.field("time").type),
            ]
            for name in schema.names[2:]:
                values = getattr(part, name)
                missing = np.isnan(values) if values.dtype.kind == "f" else None
                columns.append(pa.array(values, schema.field(name).type, mask=missing))
            if writer is None:
                writer = (
                    pq.ParquetWriter(unfinished, schema, compression="zstd")
                    if form is Form.PARQUET
                    else pa_csv.CSVWriter(unfinished, schema)
                )
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            rows += len(part)
    finally:
        if writer is not None:
            writer.close()
    if writer is not None:
        os.replace(unfinished, file)
    return rows


def _replace_file(file: Path, content: bytes) -> None:
    temporary = file.with_name(file.name + ".new")
    temporary.write_bytes(content)
    os.replace(temporary, file)
