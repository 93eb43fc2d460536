"""Moving telemetry between stores, and to Parquet or CSV, in slices of time that can be resumed.

A folder of an export holds ``points.jsonl``, one folder for raw readings and one for each tier, with a file per slice,
and ``manifest.json`` with the rows of each slice. Points are named by their key.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from domain.batch import Batch
from domain.errors import InputError, StorageError
from domain.points import IntArray, PointRegistry
from domain.spreadsheet import guarded, unguarded
from storage.points_json import point_from_json, point_to_json
from storage.settings import DAY, HOUR
from storage.steps import Steps, ceil_to, floor_to
from storage.tiers import TIERS, TieredStore

log = logging.getLogger(__name__)

RAW = "raw"
SLICE = {RAW: HOUR, "minute": DAY, "quarter": 10 * DAY, "hour": 30 * DAY}
"""Time in one file, ms."""
POINTS_AT_ONCE = 2000
ROWS_AT_ONCE = 200_000
RAW_COLUMNS = {"value": pa.float64(), "quality": pa.uint8()}
STEP_COLUMNS = {
    **dict.fromkeys(("minimum", "maximum", "mean", "last", "weighted"), pa.float64()),
    "held": pa.int32(),
    "count": pa.int32(),
}


class Form(StrEnum):
    """Kind of file."""

    PARQUET = "parquet"
    CSV = "csv"


@dataclass(slots=True)
class Moved:
    """What a transfer did. An import is complete when ``stored + duplicate == rows`` for raw readings."""

    points: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """Rows written into files, or read from them, by tier (``raw``, ``minute``, ...)."""
    stored: int = 0
    duplicate: int = 0
    files: int = 0
    resumed: int = 0
    """Files that an earlier, interrupted run had finished."""

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
    manifest = _read_manifest(folder)
    if manifest.get("form", form.value) != form.value:
        raise InputError(f"{folder} holds an export as {manifest['form']}; name another folder")
    manifest |= {"form": form.value, "version": 1}
    slices: dict[str, int] = manifest.setdefault("slices", {})
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

    Raises
    ------
    InputError
        If the folder holds no export.
    StorageError
        If a file has other than the promised number of rows, or the store refuses readings.
    """
    if not (folder / "points.jsonl").is_file():
        raise InputError(f"{folder} holds no export: there is no points.jsonl in it")
    manifest = _read_manifest(folder)
    known: list[tuple[int, Any]] = []
    for line in (folder / "points.jsonl").read_bytes().splitlines():
        point = point_from_json(line)
        known.append((registry.register(point), point))
    store.save_points(known)
    moved = Moved(points=len(known))
    done_file = folder / f"imported-{hashlib.sha256(store.health().detail.encode()).hexdigest()[:8]}.txt"
    done = set(done_file.read_text().split()) if done_file.exists() else set()
    index = {p.key: i for i, p in known}
    # rollups first, the coarsest first: raw readings then repair what they know better
    for tier in (*reversed(TIERS), RAW):
        moved.rows[tier] = 0
        for file in sorted((folder / tier).glob("*.*")) if (folder / tier).is_dir() else ():
            name = f"{tier}/{file.name}"
            if name in done:
                moved.resumed += 1
                continue
            rows = sum(_take_over(store, tier, part, moved) for part in _read_slice(file, tier, index))
            promised = manifest.get("slices", {}).get(name, rows)
            if rows != promised:
                raise StorageError(
                    f"{file} has {rows} rows, and its manifest says {promised}; export it again"
                )
            moved.rows[tier] += rows
            moved.files += 1
            with done_file.open("a") as list_of_done:
                list_of_done.write(name + "\n")
    return moved


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


def _schema(tier: str) -> Mapping[str, pa.DataType]:
    return {
        "key": pa.string(),
        "time": pa.timestamp("ms", "UTC"),
        **(RAW_COLUMNS if tier == RAW else STEP_COLUMNS),
    }


def _write_slice(
    file: Path, form: Form, tier: str, keys: np.ndarray[Any, Any], parts: Iterator[Batch | Steps]
) -> int:
    """Write a slice under another name first, so that a file that is there is whole; return its rows."""
    file.parent.mkdir(exist_ok=True)
    unfinished = file.with_name(file.name + ".unfinished")
    schema = pa.schema(list(_schema(tier).items()))
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


def _read_slice(file: Path, tier: str, index: Mapping[str, int]) -> Iterator[Batch | Steps]:
    schema = _schema(tier)
    if file.suffix == ".parquet":
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=1_000_000):
                yield _from_table(pa.Table.from_batches([batch]), tier, index)
    elif file.suffix == ".csv":
        options = pa_csv.ConvertOptions(column_types=dict(schema), include_columns=list(schema))
        with pa_csv.open_csv(file, convert_options=options) as reader:
            for batch in reader:
                yield _from_table(pa.Table.from_batches([batch]), tier, index, unguarded)


def _from_table(
    table: pa.Table, tier: str, index: Mapping[str, int], as_written: Callable[[str], str] = str
) -> Batch | Steps:
    encoded = table["key"].combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    names = [as_written(name) for name in encoded.dictionary.to_pylist()]
    if unknown := [n for n in names if n not in index]:
        raise InputError(f"points.jsonl does not know {unknown[0]}")
    points = np.array([index[n] for n in names], np.int32)[encoded.indices.to_numpy()]
    times = table["time"].cast(pa.int64()).to_numpy()
    if tier == RAW:
        value = table["value"].to_numpy().astype(np.float64)
        return Batch.of(points, times, value, table["quality"].to_numpy().astype(np.uint8))
    columns = {n: table[n].to_numpy() for n in STEP_COLUMNS}
    steps = Steps(points, times, **columns)
    return steps.take(np.lexsort((steps.start, steps.point)))


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        found = orjson.loads((folder / "manifest.json").read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError as e:
        raise InputError(f"{folder / 'manifest.json'} is damaged: {e}; remove it to begin anew") from e
    return dict(found)


def _replace_file(file: Path, content: bytes) -> None:
    temporary = file.with_name(file.name + ".new")
    temporary.write_bytes(content)
    os.replace(temporary, file)
