"""What an agent answered: values by OID, and the snmprec files in which recordings keep them."""

from __future__ import annotations

import math
import re
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from domain.errors import InputError, brief

Scalar = int | float | str | bytes | None
"""A value as the wire gave it; OIDs and addresses as text, octet strings as bytes."""

_NUMBER = re.compile(
    r"\s*([-+]?)(\d{1,3}(?:,\d{3})+\.\d+|\d{1,3}(?:\.\d{3})+,\d+|[1-9]\d{0,2}(?:,\d{3})+(?![\d,])|\d+[.,]\d+|\.\d+|\d+)"
    r"([eE][-+]\d{1,3}|(?<=[.]\d)[eE]\d{1,3})?"
)
"""A number at the start of a text: with thousands, a decimal point or comma, an exponent that nobody takes for a serial number."""
_UNIT_BEHIND = re.compile(
    r"\s*(?:\(?\s*(?:degrees?|deg|celsius|centigrade|fahrenheit|kelvin|[℃℉]|[°º]\s?[cf]?|%\s?(?:rh|r\.h\.)?|percent|pct|rh|"
    r"[kmµu]?(?:volts?|v|vac|vdc|vrms|v\s?ac|v\s?dc)|[kmµu]?(?:amperes?|amps?|a|aac|adc|arms)|[kmg]?(?:watts?|w|va|vars?)|"
    r"volt-?amps?|[kmg]?(?:wh|vah|varh|joules?|j)|ah|[kmg]?(?:hertz|hz)|rpm|rps|[kmh]?(?:pascals?|pa)|m?bars?|psig?|in\s?h2o|inwc|"
    r"l/min|l/s|lpm|gpm|m3/h|m³/h|cfm|m/s|g/m3|ppm|ppb|lux|lx|db|dba|mm|cm|m|ohms?|kohms?|ms|s|secs?|seconds?|mins?|minutes?|"
    r"h|hrs?|hours?|d|days?|c|f|k|counts?|pulses?|steps?|bytes?|kb|mb|gb|tokens?)(?!-?[a-z])(?![\w/-]*\d)|[:;,]?\s*$)",
    re.IGNORECASE,
)
"""What may stand behind the number of a reading: a unit, or nothing."""


_OID = re.compile(r"\d{1,10}(\.\d{1,10}){1,127}", re.ASCII)


def arcs(oid: str) -> tuple[int, ...]:
    """Return the arcs of a numeric OID."""
    return tuple(map(int, oid.split(".")))


def text(value: Scalar) -> str:
    """Return a value as text; octet strings as UTF-8, GBK, Big5 or Latin-1, whichever they are."""
    if isinstance(value, bytes):
        return decoded(value).strip("\x00 \t\r\n")
    return "" if value is None else str(value)


def decoded(value: bytes) -> str:
    """Return an octet string as text: agents send names in the encoding that their owner typed."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        pass
    for encoding, common in (("big5", (0xA4, 0xC6)), ("gbk", (0xB0, 0xD7))):
        pairs = _pairs(value)
        if not pairs or (len(pairs) == 1 and _touches_a_letter(value)):
            break
        # In GB 2312 both octets of a character have their high bit; in Big5 half of the second ones have not.
        if encoding == "big5" and all(second >= 0xA1 for _, second in pairs):
            continue
        if 2 * sum(common[0] <= first <= common[1] for first, _ in pairs) >= len(pairs):
            try:
                return value.decode(encoding)
            except UnicodeDecodeError:
                continue
    return value.decode("latin-1")


def _pairs(value: bytes) -> list[tuple[int, int]]:
    """Return the two-octet characters of a text; none where its high octets do not pair up."""
    found, at = [], 0
    while at < len(value):
        if value[at] < 0x80:
            at += 1
            continue
        if at + 1 >= len(value) or value[at] in {0x80, 0xFF} or value[at + 1] < 0x40:
            return []
        found.append((value[at], value[at + 1]))
        at += 2
    return found


def _touches_a_letter(value: bytes) -> bool:
    return re.search(rb"[A-Za-z][\x80-\xff]|[\x80-\xff]{2}[A-Za-z]|[\x80-\xff][A-Za-z]", value) is not None


def number(value: Scalar) -> float | None:
    """Return the number that a value is, or that a text such as ``23.5 C`` tells; None where it tells none.

    A text must be a number and its unit, whole: a serial number (``849867E3``), a date (``07/30/20``), a version or an
    address is none.
    """
    if isinstance(value, (int, float)):
        try:
            real = float(value)
        except OverflowError:  # a recording may tell any digits
            return None
        return real if math.isfinite(real) else None
    if isinstance(value, bytes) and (told := _opaque(value)) is not None:
        return told if math.isfinite(told) else None
    said = text(value)
    match = _NUMBER.match(said)
    if match is None or not _UNIT_BEHIND.match(said, match.end()):
        return None
    sign, digits, exponent = match[1], match[2], match[3] or ""
    if "," in digits and "." in digits:
        digits = (
            digits.replace(",", "")
            if digits.rindex(".") > digits.rindex(",")
            else digits.replace(".", "").replace(",", ".")
        )
    elif "," in digits:
        thousands = re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+", digits)
        digits = digits.replace(",", "" if thousands else ".")
    try:
        found = float(f"{sign}{digits}{exponent}")
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _opaque(value: bytes) -> float | None:
    """Return the float or double that an Opaque wraps (net-snmp's 9f78 and 9f79), or None."""
    if value[:3] == b"\x9f\x78\x04" and len(value) == 7:
        return float(struct.unpack(">f", value[3:])[0])
    if value[:3] == b"\x9f\x79\x08" and len(value) == 11:
        return float(struct.unpack(">d", value[3:])[0])
    return None


class Walk:
    """Values by OID, with the rows of a column at hand."""

    def __init__(self, values: Mapping[str, Scalar] | Iterable[tuple[str, Scalar]] = ()) -> None:
        self._values: dict[str, Scalar] = dict(values)
        self._columns: dict[str, dict[str, Scalar]] = {}
        self._sorted: list[str] = []

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
        self._sorted.clear()

    def column(self, oid: str) -> dict[str, Scalar]:
        """Return index text to value of everything under `oid`, in the order of the OIDs."""
        rows = self._columns.get(oid)
        if rows is None:
            if not self._sorted:
                self._sorted = sorted(self._values)
            # As texts, too, all names under a prefix lie together; "/" comes next after ".".
            first, last = bisect_left(self._sorted, f"{oid}."), bisect_left(self._sorted, f"{oid}/")
            skip = len(oid) + 1
            found = [(o[skip:], self._values[o]) for o in self._sorted[first:last]]
            rows = self._columns[oid] = dict(sorted(found, key=lambda row: arcs(row[0])))
        return rows


INTEGER, OCTETS, NULL, OBJECT_ID, ADDRESS, COUNTER32, GAUGE32, TICKS, OPAQUE, COUNTER64 = (
    2,
    4,
    5,
    6,
    64,
    65,
    66,
    67,
    68,
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
        if kind in {OCTETS, OPAQUE}:
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
