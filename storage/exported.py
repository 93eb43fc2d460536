"""Reading an exported folder, whoever wrote it: checked before anything of a file is used, its rows one by one.

What cannot be read is told with its file and what to do; rows that cannot be readings are left out and counted.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domain.batch import Batch, now_ms
from domain.errors import InputError, brief
from domain.points import Point, Quality, TimeArray, ValueArray
from domain.spreadsheet import unguarded
from domain.units import CANONICAL
from storage.points_json import point_from_json
from storage.settings import MINUTE
from storage.steps import Steps
from storage.tiers import TIERS

RAW = "raw"
RAW_COLUMNS = {"value": pa.float64(), "quality": pa.uint8()}
STEP_COLUMNS = {
    **dict.fromkeys(("minimum", "maximum", "mean", "last", "weighted"), pa.float64()),
    "held": pa.int32(),
    "count": pa.int32(),
}
LONGEST_LINE = 1 << 20
"""Bytes of a point's metadata."""
LARGEST_MANIFEST = 64 << 20
ROWS_AT_ONCE = 1_000_000
EARLIEST = 946_684_800_000
"""The year 2000, UTC ms: no telemetry is older."""
AHEAD = 5 * MINUTE
"""How far ahead of now a time may be, ms."""


class Form(StrEnum):
    """Kind of file."""

    PARQUET = "parquet"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export says of itself: the kind of its files (empty where it does not say), and the rows of each."""

    form: str = ""
    slices: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a folder by name (``tier/file``): those to be imported, in that order, and those that are none."""

    slices: list[str]
    ignored: list[str]


def schema_of(tier: str) -> Mapping[str, pa.DataType]:
    """Return the columns of a tier's files."""
    return {
        "key": pa.string(),
        "time": pa.timestamp("ms", "UTC"),
        **(RAW_COLUMNS if tier == RAW else STEP_COLUMNS),
    }


def read_points(folder: Path) -> list[Point]:
    """Return the points of an export.

    Raises
    ------
    InputError
        If there are none, or a line of them is none of ours.
    """
    file = folder / "points.jsonl"
    if not file.is_file():
        raise InputError(
            f"{folder} holds no export: there is no points.jsonl in it; name the folder of an export"
        )
    points = []
    try:
        with file.open("rb") as lines:
            number = 0
            while line := lines.readline(LONGEST_LINE + 1):
                number += 1
                if line.strip():
                    points.append(_point(file, number, line))
    except OSError as e:
        raise InputError(f"{file} cannot be read: {e}; export it again") from e
    if not points:
        raise InputError(f"{file} names no point; export it again")
    return points


def _point(file: Path, number: int, line: bytes) -> Point:
    again = "export it again, or remove the line"
    if len(line) > LONGEST_LINE:
        raise InputError(f"{file}:{number}: longer than {LONGEST_LINE >> 20} MiB; {again}")
    try:
        point = point_from_json(line)
    except InputError as e:
        raise InputError(f"{file}:{number}: {e}; {again}") from None
    if point.unit and point.unit not in CANONICAL:
        raise InputError(
            f"{file}:{number}: {brief(point.unit)} is no unit that readings are kept in; write one of "
            f"{', '.join(sorted(CANONICAL))}"
        )
    return point


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of an export; that of a folder without one promises nothing.

    Raises
    ------
    InputError
        If it is damaged.
    """
    file = folder / "manifest.json"
    try:
        if file.stat().st_size > LARGEST_MANIFEST:
            raise ValueError(f"larger than {LARGEST_MANIFEST >> 20} MiB")
        found = orjson.loads(file.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        form, slices = found.get("form", ""), found.get("slices", {})
        if form not in {"", *Form}:
            raise ValueError(f"its form is {brief(form)}")
        if not isinstance(slices, dict) or not all(type(n) is int and n >= 0 for n in slices.values()):
            raise ValueError("its slices are no numbers of rows by file")
    except FileNotFoundError:
        return Manifest()
    except (ValueError, TypeError, OSError) as e:
        raise InputError(f"{file} is damaged: {brief(str(e), 200)}; remove it to begin anew") from e
    return Manifest(form, slices)


def slices_of(folder: Path, promised: Iterable[str]) -> Files:
    """Return the files of an export, in the order in which they are imported.

    Rollups come first, the coarsest first: raw readings then repair what they know better.
    """
    wanted = {f".{form}" for form in Form}
    files = Files([], [])
    for tier in (*reversed(TIERS), RAW):
        there = sorted((folder / tier).iterdir()) if (folder / tier).is_dir() else ()
        for file in there:
            name = f"{tier}/{file.name}"
            is_slice = file.suffix in wanted and (file.is_file() or file.is_dir() or name in promised)
            (files.slices if is_slice else files.ignored).append(name)
    return files


def check(file: Path, tier: str, promised: int | None) -> int:
    """Read a file to its end without using it, and return its rows.

    Raises
    ------
    InputError
        If it cannot be read, lacks a column, has one of another kind, or other than the promised number of rows.
    """
    rows = sum(len(part) for part in _tables(file, tier))
    if promised is not None and rows != promised:
        raise InputError(f"{file} has {rows} rows, and its manifest says {promised}; export it again")
    return rows


def read_slice(
    file: Path, tier: str, index: Mapping[str, int], refused: dict[str, int]
) -> Iterator[Batch | Steps]:
    """Yield the rows of a file that can be used; the others are counted in `refused` by reason."""
    as_written = unguarded if file.suffix == ".csv" else str
    for table in _tables(file, tier):
        part = (
            _raw(table, index, as_written, refused)
            if tier == RAW
            else _steps(table, tier, index, as_written, refused)
        )
        if len(part):
            yield part


# --- tables ----------------------------------------------------------------------------------------------------


def _tables(file: Path, tier: str) -> Iterator[pa.Table]:
    """Yield a file's rows with the columns and types of its tier."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ValueError("it is no file")
        for batch in _batches(file, tier):
            yield _cast(pa.Table.from_batches([batch]), tier)
    except (pa.ArrowException, ValueError, KeyError, TypeError, OSError, MemoryError) as e:
        raise InputError(f"{file} cannot be imported: {_said(e)}; export it again, or remove it") from e


def _batches(file: Path, tier: str) -> Iterator[pa.RecordBatch]:
    columns = list(schema_of(tier))
    if file.suffix == ".parquet":
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            for name in columns:
                if names.count(name) != 1:
                    raise ValueError(f"it has {names.count(name)} columns named {name}")
            yield from parquet.iter_batches(ROWS_AT_ONCE, columns=columns)
    else:
        options = pa_csv.ConvertOptions(column_types=_read_as(tier), include_columns=columns)
        with pa_csv.open_csv(file, convert_options=options) as reader:
            yield from reader


def _read_as(tier: str) -> dict[str, pa.DataType]:
    """Return the types in which CSV is read: of numbers those that hold what must be refused row by row."""
    return {n: pa.int64() if pa.types.is_integer(t) else t for n, t in schema_of(tier).items()}


def _cast(table: pa.Table, tier: str) -> pa.Table:
    columns = {}
    for name, wanted in schema_of(tier).items():
        column = table[name]
        try:
            columns[name] = _column(column, wanted)
        except (pa.ArrowException, ValueError, TypeError) as e:
            raise ValueError(f"its column {name} is no {wanted}, but {column.type}: {_said(e)}") from e
    return pa.table(columns)


def _column(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_string(wanted):
        if not (types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)):
            raise TypeError("texts are needed")
        return column.cast(wanted)
    if types.is_timestamp(wanted):
        if not types.is_timestamp(kind):
            raise TypeError("times with a unit are needed")
        finer = kind.unit in {"us", "ns"}
        if finer:  # what is left of a millisecond goes; nothing can overflow
            column = pc.floor_temporal(column, unit="millisecond")
        return column.cast(pa.timestamp("ms", kind.tz)).cast(wanted)
    numeric = (
        types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)
    )
    if not numeric or types.is_boolean(kind):
        raise TypeError("numbers are needed")
    # of integers those that hold what must be refused row by row
    return column.cast(pa.float64() if types.is_floating(wanted) else pa.int64())


# --- rows ------------------------------------------------------------------------------------------------------


def _raw(
    table: pa.Table, index: Mapping[str, int], as_written: Callable[[str], str], refused: dict[str, int]
) -> Batch:
    point, time = _points(table, index, as_written), _times(table)
    value, quality = _floats(table, "value"), _ints(table, "quality")
    faults = {
        **_misplaced(point, time),
        "not_finite": ~np.isfinite(value),
        "bad_quality": ~np.isin(quality, [q.value for q in Quality]),
    }
    good = _without(faults, refused)
    return Batch.of(point[good], time[good], value[good], quality[good].astype(np.uint8))


def _steps(
    table: pa.Table,
    tier: str,
    index: Mapping[str, int],
    as_written: Callable[[str], str],
    refused: dict[str, int],
) -> Steps:
    point, time = _points(table, index, as_written), _times(table)
    values = {n: _floats(table, n) for n, t in STEP_COLUMNS.items() if pa.types.is_floating(t)}
    held, count = _ints(table, "held"), _ints(table, "count")
    step = TIERS[tier]
    most = np.iinfo(np.int32).max
    faults = {
        **_misplaced(point, time),
        "not_aligned": time % step != 0,
        "not_finite": np.any([np.isinf(v) for v in values.values()], axis=0),
        "bad_count": (held < 0) | (held > step) | (count < 0) | (count > most),
        "not_ordered": values["minimum"] > values["maximum"],
    }
    good = _without(faults, refused)
    of = {n: v[good] for n, v in values.items()}
    steps = Steps(
        point=point[good],
        start=time[good],
        minimum=of["minimum"],
        maximum=of["maximum"],
        mean=of["mean"],
        last=of["last"],
        weighted=of["weighted"],
        held=held[good].astype(np.int32),
        count=count[good].astype(np.int32),
    )
    return steps.take(np.lexsort((steps.start, steps.point)))


def _misplaced(point: NDArray[np.int32], time: TimeArray) -> dict[str, NDArray[np.bool_]]:
    return {
        "unknown_point": point < 0,
        "no_time": time == _NO_NUMBER,
        "past": time < EARLIEST,
        "future": time > now_ms() + AHEAD,
    }


def _without(faults: Mapping[str, NDArray[np.bool_]], refused: dict[str, int]) -> NDArray[np.bool_]:
    """Return which rows have no fault; the others are counted by the first that they have."""
    good = np.ones(len(faults["unknown_point"]), dtype=bool)
    for reason, fault in faults.items():
        bad = fault & good
        if bad.any():
            refused[reason] = refused.get(reason, 0) + int(bad.sum())
            good &= ~fault
    return good


_NO_NUMBER = np.iinfo(np.int64).min


def _points(table: pa.Table, index: Mapping[str, int], as_written: Callable[[str], str]) -> NDArray[np.int32]:
    """Return the index of each row's point; -1 where it has none."""
    encoded = table["key"].combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    known = [index.get(as_written(name), -1) for name in encoded.dictionary.to_pylist()]
    rows = encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    found: NDArray[np.int32] = np.array([*known, -1], np.int32)[rows]
    return found


def _times(table: pa.Table) -> TimeArray:
    return _filled(table["time"].cast(pa.int64()))


def _ints(table: pa.Table, name: str) -> TimeArray:
    return _filled(table[name])


def _filled(column: pa.ChunkedArray) -> TimeArray:
    found: TimeArray = column.fill_null(int(_NO_NUMBER)).to_numpy()
    return found


def _floats(table: pa.Table, name: str) -> ValueArray:
    found: ValueArray = table[name].to_numpy()  # what is missing becomes NaN
    return found


def _said(e: BaseException) -> str:
    text = str(e.args[0]) if isinstance(e, KeyError) and e.args else str(e)
    return brief(text, 300)[1:-1] if text else type(e).__name__
