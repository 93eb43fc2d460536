"""Answers of InfluxDB as arrays: JSON of every version, and MessagePack of 1.x, which is several times as fast.

MessagePack tells the rows of a series one by one, but as numbers they mostly have one width: those are read as one array.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import orjson
from numpy.typing import NDArray

from domain.errors import StorageError

MESSAGEPACK = "application/x-msgpack"
_NUMBERS = {0xCB: ">f8", 0xD3: ">i8", 0xD2: ">i4", 0xD1: ">i2", 0xD0: ">i1", 0xCF: ">u8", 0xCE: ">u4", 0xCD: ">u2", 0xCC: ">u1"}  # fmt: skip
"""Types of MessagePack that are a type byte and a number."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its measurement, the value of its tag ``key``, its columns, and its rows.

    `rows` is an array of shape (n, columns) where all are numbers that were told alike, and lists otherwise.
    """

    measurement: str
    key: str
    columns: list[str]
    rows: NDArray[np.float64] | list[list[Any]]


def series_of(answer: bytes, kind: str) -> Iterator[Series]:
    """Yield the series of an answer of content type `kind`.

    Raises
    ------
    StorageError
        If the server refused the question, or cut the answer short.
    """
    told = _unpacked(answer) if kind.startswith(MESSAGEPACK) else orjson.loads(answer)
    if "error" in told:
        raise StorageError(str(told["error"]))
    for result in told.get("results", []):
        if "error" in result:
            raise StorageError(str(result["error"]))
        for series in result.get("series", ()):
            if series.get("partial") or result.get("partial"):
                raise StorageError("the answer was cut short; set max-row-limit = 0 on the server")
            yield Series(
                series.get("name", ""),
                series.get("tags", {}).get("key", ""),
                series["columns"],
                series["values"],
            )


def _unpacked(answer: bytes) -> dict[str, Any]:
    """Return what `orjson` would, but rows of numbers as arrays."""
    reader = msgpack.Unpacker(max_buffer_size=0)
    reader.feed(answer)

    def members() -> Iterator[str]:
        for _ in range(reader.read_map_header()):
            yield reader.unpack()

    def series() -> dict[str, Any]:
        return {name: _rows(reader, answer) if name == "values" else reader.unpack() for name in members()}

    def result() -> dict[str, Any]:
        return {
            name: [series() for _ in range(reader.read_array_header())]
            if name == "series"
            else reader.unpack()
            for name in members()
        }

    return {
        name: [result() for _ in range(reader.read_array_header())] if name == "results" else reader.unpack()
        for name in members()
    }


def _rows(reader: Any, answer: bytes) -> NDArray[np.float64] | list[list[Any]]:
    count = reader.read_array_header()
    start = reader.tell()
    layout = _row_layout(answer, start) if count else None
    if layout is not None:
        width, places, types = layout
        if start + count * width <= len(answer):
            table = np.frombuffer(answer, np.uint8, count * width, start).reshape(count, width)
            heads = table[:, places]
            small = heads < 0x80  # a number below 128 is its own type byte
            if ((heads == heads[0]) | (small & small[0])).all():
                rows = np.empty((count, len(types)))
                for n, (place, kind) in enumerate(zip(places[1:], types, strict=True)):
                    if kind is None:
                        rows[:, n] = table[:, place]
                    else:
                        size = np.dtype(kind).itemsize
                        rows[:, n] = np.ascontiguousarray(table[:, place + 1 : place + 1 + size]).view(kind)[
                            :, 0
                        ]
                reader.read_bytes(count * width)
                return rows
    return [reader.unpack() for _ in range(count)]


def _row_layout(answer: bytes, start: int) -> tuple[int, list[int], list[str | None]] | None:
    """Return a row's width, the places of its type bytes (its own first), and its types; None if not all are numbers."""
    columns = answer[start]
    if not 0x90 < columns <= 0x9F:
        return None
    places, types = [0], []
    at = 1
    for _ in range(columns - 0x90):
        if start + at >= len(answer):
            return None
        head = answer[start + at]
        kind = _NUMBERS.get(head)
        if kind is None and head >= 0x80:
            return None
        places.append(at)
        types.append(kind)
        at += 1 + (0 if kind is None else np.dtype(kind).itemsize)
    return at, places, types
