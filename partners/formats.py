"""How an answer is written: JSON, CSV or Parquet, by the `format` parameter or by the Accept header."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from domain.spreadsheet import guarded
from partners.problems import ApiError


class Format(StrEnum):
    """How the answer is written."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


MEDIA = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
}
_ASKED = {
    **{media: form for form, media in MEDIA.items()},
    "application/x-parquet": Format.PARQUET,
    "application/*": Format.JSON,
    "*/*": Format.JSON,
    "": Format.JSON,
    "text/*": Format.CSV,
}
ALL = tuple(Format)


def negotiated(form: Format | None, accept: str, offered: Sequence[Format] = ALL) -> Format:
    """Return how to answer: as `format` says, else the best that the Accept header allows.

    Raises
    ------
    ApiError
        406 where it allows none.
    """
    if form is not None:
        return form
    best: tuple[float, Format | None] = (0.0, None)
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        found = _ASKED.get(kind.lower())
        try:
            share = float(weight)
        except ValueError:
            share = 0.0
        if found in offered and share > best[0]:
            best = (share, found)
    if best[1] is None:
        kinds = [MEDIA[f] for f in offered]
        raise ApiError(406, f"'Accept: {accept[:100]}' allows none of {', '.join(kinds)}")
    return best[1]


Columns = Mapping[str, Sequence[Any]]
"""A table by column: texts, numbers, times (RFC 3339 in UTC); None is missing."""


def records_of(columns: Columns) -> list[dict[str, Any]]:
    """Return a table's rows, as JSON has them."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def as_csv(columns: Columns) -> bytes:
    """Return a head line and one line a row; a missing figure is an empty cell."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(columns)
    table.writerows(
        zip(*([guarded(c) if isinstance(c, str) else c for c in of] for of in columns.values()), strict=True)
    )
    return text.getvalue().encode()


def as_parquet(columns: Columns, about: Mapping[str, Any], times: Sequence[str] = ("start", "end")) -> bytes:
    """Return a Parquet file; `about` (all but the rows) is its metadata, as JSON under `hallwatch`.

    Columns named in `times`, and those that end in ``_time``, become timestamps in UTC, milliseconds.
    """
    moments = pa.timestamp("ms", tz="UTC")
    arrays = {}
    for name, of in columns.items():
        if name in times or name.endswith("_time"):
            read = pa.array(of, pa.string()).cast(moments)
            arrays[name] = read
        else:
            arrays[name] = pa.array(of)
    table = pa.table(arrays).replace_schema_metadata({"hallwatch": orjson.dumps(dict(about))})
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def written(form: Format, document: Mapping[str, Any], columns: Columns, rows: str) -> bytes:
    """Return a document in one of the forms; `rows` names what in it `columns` are the table of."""
    if form is Format.JSON:
        return orjson.dumps(document)
    if form is Format.CSV:
        return as_csv(columns)
    return as_parquet(columns, {name: of for name, of in document.items() if name != rows})
