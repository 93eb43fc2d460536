"""What an agent answered: values by OID, and the snmprec files in which recordings keep them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from domain.errors import InputError, brief

Scalar = int | float | str | bytes | None
"""A value as the wire gave it; OIDs and addresses as text, octet strings as bytes."""

_NUMBER = re.compile(r"\s*([-+]?\d+(?:[.,]\d+)?)")


_OID = re.compile(r"\d{1,10}(\.\d{1,10}){1,127}", re.ASCII)


def arcs(oid: str) -> tuple[int, ...]:
    """Return the arcs of a numeric OID."""
    return tuple(map(int, oid.split(".")))


def text(value: Scalar) -> str:
    """Return a value as text; octet strings as UTF-8, or Latin-1 where they are not that."""
    if isinstance(value, bytes):
        try:
            decoded = value.decode("utf-8")
        except UnicodeDecodeError:
            decoded = value.decode("latin-1")
        return decoded.strip("\x00 \t\r\n")
    return "" if value is None else str(value)


def number(value: Scalar) -> float | None:
    """Return the number that a value is or begins with ("23.5 C"), or None where it is none."""
    if isinstance(value, (int, float)):
        return float(value)
    match = _NUMBER.match(text(value))
    return float(match[1].replace(",", ".")) if match else None


class Walk:
    """Values by OID, with the rows of a column at hand."""

    def __init__(self, values: Mapping[str, Scalar] | Iterable[tuple[str, Scalar]] = ()) -> None:
        self._values: dict[str, Scalar] = dict(values)
        self._columns: dict[str, dict[str, Scalar]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, oid: str) -> bool:
        return oid in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get(self, oid: str) -> Scalar:
        """Return the value of an instance, or None."""
        return self._values.get(oid)

    def update(self, values: Mapping[str, Scalar] | Iterable[tuple[str, Scalar]]) -> None:
        """Add values, or replace those with the same OID."""
        self._values.update(values)
        self._columns.clear()

    def column(self, oid: str) -> dict[str, Scalar]:
        """Return index text to value of everything under `oid`, in the order of the OIDs."""
        rows = self._columns.get(oid)
        if rows is None:
            prefix = oid + "."
            found = [(o[len(prefix) :], v) for o, v in self._values.items() if o.startswith(prefix)]
            rows = dict(sorted(found, key=lambda row: arcs(row[0])))
            self._columns[oid] = rows
        return rows


INTEGER, OCTETS, NULL, OBJECT_ID, ADDRESS, COUNTER32, GAUGE32, TICKS, COUNTER64 = (
    2,
    4,
    5,
    6,
    64,
    65,
    66,
    67,
    70,
)


def parse_snmprec(line: str) -> tuple[str, int, Scalar]:
    """Return (oid, ASN.1 tag, value) of one line of a recording.

    Raises
    ------
    InputError
        If the line is not ``OID|TAG|VALUE``.
    """
    try:
        oid, tag, raw = line.rstrip("\r\n").split("|", 2)
        if not _OID.fullmatch(oid):
            raise ValueError("no OID")
        kind = int(tag.rstrip("x"))
        if kind == OCTETS:
            return oid, kind, bytes.fromhex(raw) if tag.endswith("x") else raw.encode("utf-8")
        if kind in {OBJECT_ID, ADDRESS}:
            return oid, kind, raw
        return oid, kind, None if kind == NULL else int(raw)
    except ValueError as error:
        raise InputError(
            f"{brief(line)} is not a line of a recording (OID|TAG|VALUE): {str(error)[:80]}"
        ) from None


def format_snmprec(oid: str, tag: int, value: Scalar) -> str:
    """Return one line of a recording, without its line end."""
    if isinstance(value, bytes):
        plain = all(32 <= b < 127 and b != 124 for b in value)
        return f"{oid}|{tag}|{value.decode('ascii')}" if plain else f"{oid}|{tag}x|{value.hex()}"
    return f"{oid}|{tag}|{'' if value is None else value}"


def read_snmprec(path: Path) -> Walk:
    """Return the values of a recording.

    Raises
    ------
    InputError
        Naming file and line.
    """
    values: dict[str, Scalar] = {}
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for n, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                oid, _, value = parse_snmprec(line)
            except InputError as error:
                raise InputError(f"{path}:{n}: {error}") from None
            values[oid] = value
    return Walk(values)
