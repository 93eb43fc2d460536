"""SNMP messages of versions 1 and 2c in BER (X.690): requests put together, answers taken apart.

What a device sends is taken apart binding by binding: one that cannot be read costs itself, not its neighbours. There
is a codec here beside the libraries' because both hide what a sick agent must be told apart by: gufo-snmp keeps error
status and index to itself and raises on an odd object, pysnmp takes thirty times the time.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from collectors.snmp.walk import Scalar

GET, GET_NEXT, RESPONSE, GET_BULK = 0xA0, 0xA1, 0xA2, 0xA5
LARGEST_DATAGRAM = 65_535
MOST_ARCS = 128
"""RFC 3416 4: sub-identifiers of a name."""
LONGEST_STRING = 8_192
"""A text longer than this is cut off; no reading needs it."""

TOO_BIG, NO_SUCH_NAME, GEN_ERR = 1, 2, 5
_STATUS = ("noError", "tooBig", "noSuchName", "badValue", "readOnly", "genErr", "noAccess", "wrongType", "wrongLength",
           "wrongEncoding", "wrongValue", "noCreation", "inconsistentValue", "resourceUnavailable", "commitFailed",
           "undoFailed", "authorizationError", "notWritable", "inconsistentName")  # fmt: skip
_INTEGER, _BITS, _STRING, _NULL, _OID, _SEQUENCE = 0x02, 0x03, 0x04, 0x05, 0x06, 0x30
_ADDRESS, _OPAQUE, _NSAP, _COUNTER64 = 0x40, 0x44, 0x45, 0x46
_UNSIGNED32 = frozenset((0x41, 0x42, 0x43, 0x47))


class Malformed(ValueError):
    """Octets that are not what the standard says."""


class Absent(Enum):
    """What an agent says where it has no value."""

    MISSING = "no such object or instance"
    END = "end of MIB view"


Told = Scalar | Absent
"""A value, or what stands in its place."""


@dataclass(slots=True)
class Answer:
    """What an agent answered.

    Parameters
    ----------
    status, index
        Error status and index of RFC 3416 3; 0 where there is no error.
    rows
        Name and value of each binding that could be read.
    unreadable
        How many could not.
    reason
        Why the first of these could not.
    whole
        Whether it is exactly what was asked for, a number or text for each name, in order.
    """

    status: int = 0
    index: int = 0
    rows: list[tuple[str, Told]] = field(default_factory=list)
    unreadable: int = 0
    reason: str = ""
    whole: bool = field(default=False, compare=False)


def status_name(status: int) -> str:
    """Return what RFC 3416 calls an error status."""
    return _STATUS[status] if 0 <= status < len(_STATUS) else f"error status {status}"


@lru_cache(maxsize=65_536)
def encode_oid(oid: str) -> bytes:
    """Return the content of an object identifier, without tag and length.

    Raises
    ------
    Malformed
        If it is none.
    """
    try:
        arcs = [int(a) for a in oid.strip(".").split(".")]
    except ValueError:
        raise Malformed(f"{oid[:80]!r} is no OID") from None
    if len(arcs) < 2:
        arcs.append(0)
    most = (2, 39 if arcs[0] < 2 else (1 << 32) - 81)  # both share their first octets: X.690, 8.19.4
    if (
        len(arcs) > MOST_ARCS
        or min(arcs) < 0
        or max(arcs) >= 1 << 32
        or arcs[0] > most[0]
        or arcs[1] > most[1]
    ):
        raise Malformed(f"{oid[:80]!r} is no OID")
    out = bytearray()
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        out += bytes(reversed(digits))
    return bytes(out)


def decode_oid(content: bytes) -> str:
    """Return an object identifier as text.

    Raises
    ------
    Malformed
        If it is empty, cut off or longer than the standard lets it be.
    """
    if not content or content[-1] & 0x80 or len(content) > 5 * MOST_ARCS:
        raise Malformed("an OID without octets" if not content else "an OID cut off or too long")
    arcs: list[int] = []
    value = 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
        elif value >= 1 << 25:
            raise Malformed("an OID with an arc beyond 32 bits")
    if len(arcs) >= MOST_ARCS:
        raise Malformed("an OID of too many arcs")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


@dataclass(frozen=True, slots=True)
class Asked:
    """Objects that are asked for, encoded once for all requests that ask for them."""

    names: dict[bytes, str]
    """By the content of their encoding."""
    heads: tuple[tuple[str, bytes, int], ...]
    """Name, its encoding with tag and length, and where the value begins behind it in a binding."""
    bindings: bytes


def encode_names(oids: tuple[str, ...]) -> Asked:
    """Return the objects of a request, encoded.

    Raises
    ------
    Malformed
        If one is no OID.
    """
    contents = [encode_oid(o) for o in oids]
    heads = tuple(_tlv(_OID, c) for c in contents)
    bindings = b"".join(_tlv(_SEQUENCE, head + b"\x05\x00") for head in heads)
    return Asked(
        dict(zip(contents, oids, strict=True)),
        tuple((oid, head, 2 + len(head)) for oid, head in zip(oids, heads, strict=True)),
        _tlv(_SEQUENCE, bindings),
    )


cached_names = lru_cache(maxsize=2048)(encode_names)
"""The same for requests that come again at every poll; devices of one model share them."""


def encode_request(
    version: int, community: bytes, kind: int, request_id: int, asked: Asked, count: int = 0
) -> bytes:
    """Return a request.

    Parameters
    ----------
    version
        0 is version 1, 1 is version 2c.
    kind
        `GET`, `GET_NEXT` or `GET_BULK`.
    count
        Repetitions, GETBULK only.
    """
    pdu = _tlv(kind, _integer(request_id) + _integer(0) + _integer(count) + asked.bindings)
    return _tlv(_SEQUENCE, _integer(version) + _tlv(_STRING, community) + pdu)


def decode_answer(data: bytes, asked: Asked | None = None) -> tuple[int, Answer]:
    """Take an answer apart; return its request id too.

    Parameters
    ----------
    asked
        What was asked for, so that names which come back as they were sent need no decoding.

    Raises
    ------
    Malformed
        If it is no answer of version 1 or 2c.
    """
    try:
        at, end = _enter(data, 0, len(data), _SEQUENCE)
        at, version = _take_integer(data, at, end)
        if version not in (0, 1):
            raise Malformed(f"version {version}")
        _, at = _enter(data, at, end, _STRING)
        if data[at] != RESPONSE:
            raise Malformed(f"a PDU of kind {data[at]:#x}, no response")
        at, end = _enter(data, at, end, RESPONSE)
        at, request_id = _take_integer(data, at, end)
        at, status = _take_integer(data, at, end)
        at, index = _take_integer(data, at, end)
        at, end = _enter(data, at, end, _SEQUENCE)
    except IndexError:
        raise Malformed("cut off") from None
    answer = Answer(status, index)
    if asked is not None:
        at = _take_expected(data, at, end, asked, answer)
    names = asked.names if asked is not None else {}
    while at < end:
        try:
            inner, at = _enter(data, at, end, _SEQUENCE)
        except (Malformed, IndexError) as error:
            # Where the next one would begin is not known: the rest is lost, what came before is not.
            _set_aside(answer, error)
            break
        try:
            begin, finish = _enter(data, inner, at, _OID)
            raw = data[begin:finish]
            answer.rows.append((names.get(raw) or decode_oid(raw), _value(data, finish, at)))
        except (Malformed, IndexError) as error:
            _set_aside(answer, error)
    return request_id, answer


def _take_expected(data: bytes, at: int, end: int, asked: Asked, answer: Answer) -> int:
    """Take in the bindings that come as they were asked for; return where the first other one begins.

    This is what nearly every answer consists of, so it does without calls.
    """
    take, starts, number = answer.rows.append, data.startswith, int.from_bytes
    for oid, head, value_at in asked.heads:
        tag_at = at + value_at
        if tag_at + 2 > end or data[at] != 0x30 or not starts(head, at + 2):
            return at
        octets = data[tag_at + 1]
        begin = tag_at + 2
        after = begin + octets
        # Longer forms, and whatever does not fit, are left to the general way.
        if octets > 0x7F or after - at - 2 != data[at + 1] or after > end:
            return at
        tag = data[tag_at]
        if tag == 0x04:
            take((oid, data[begin:after]))
        elif not 0 < octets < 6:
            return at
        elif tag == 0x02:
            take((oid, number(data[begin:after], "big", signed=True)))
        elif tag in _UNSIGNED32:
            take((oid, number(data[begin:after], "big", signed=True) & 0xFFFF_FFFF))
        else:
            return at
        at = after
    answer.whole = at == end
    return at


def _set_aside(answer: Answer, error: Exception) -> None:
    answer.unreadable += 1
    answer.reason = answer.reason or str(error)[:120]


def _value(data: bytes, at: int, end: int) -> Told:
    tag = data[at]
    begin, stop = _enter(data, at, end, tag)
    size = stop - begin
    if tag == _INTEGER:
        if not 0 < size <= 9:
            raise Malformed(f"an integer of {size} octets")
        return int.from_bytes(data[begin:stop], "big", signed=True)
    if tag == _STRING:
        return data[begin : min(stop, begin + LONGEST_STRING)]
    if tag in _UNSIGNED32 or tag == _COUNTER64:
        if not 0 < size <= 9:
            raise Malformed(f"an unsigned number of {size} octets")
        # Some agents leave out the leading zero octet: net-snmp, too, takes the two's complement for the number.
        mask = 0xFFFF_FFFF_FFFF_FFFF if tag == _COUNTER64 else 0xFFFF_FFFF
        return int.from_bytes(data[begin:stop], "big", signed=True) & mask
    if tag == _OID:
        return decode_oid(data[begin:stop]) if size else "0.0"
    if tag == _NULL or tag in (0x80, 0x81):
        return Absent.MISSING
    if tag == 0x82:
        return Absent.END
    if tag == _ADDRESS:
        return ".".join(map(str, data[begin:stop])) if size == 4 else data[begin:stop][:64]
    if tag == _OPAQUE:
        return _opaque(data[begin:stop])
    if tag in (_BITS, _NSAP):
        return data[begin : min(stop, begin + LONGEST_STRING)]
    raise Malformed(f"a value of unknown type {tag:#x}")


def _opaque(content: bytes) -> Told:
    """Return what an Opaque wraps: floats and doubles as net-snmp's UCD-SNMP-MIB does it."""
    for head, form in ((b"\x9f\x78\x04", ">f"), (b"\x9f\x79\x08", ">d")):
        if content.startswith(head) and len(content) == len(head) + head[2]:
            value: float = struct.unpack(form, content[len(head) :])[0]
            return value if math.isfinite(value) else Absent.MISSING
    return content[:LONGEST_STRING]


def _enter(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Return where the content of the element at `at` begins and ends."""
    if at >= end:
        raise Malformed("cut off")
    if data[at] != tag:
        raise Malformed(f"tag {data[at]:#x} where {tag:#x} belongs")
    n = data[at + 1]
    at += 2
    if n & 0x80:
        octets = n & 0x7F
        if not 0 < octets <= 4:
            raise Malformed("a length in a form that SNMP does not use")
        n = int.from_bytes(data[at : at + octets], "big")
        at += octets
    if at + n > end:
        raise Malformed("cut off")
    return at, at + n


def _take_integer(data: bytes, at: int, end: int) -> tuple[int, int]:
    begin, stop = _enter(data, at, end, _INTEGER)
    if not 0 < stop - begin <= 8:
        raise Malformed(f"an integer of {stop - begin} octets")
    return stop, int.from_bytes(data[begin:stop], "big", signed=True)


def _tlv(tag: int, content: bytes) -> bytes:
    n = len(content)
    if n < 0x80:
        return bytes((tag, n)) + content
    raw = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(raw))) + raw + content


def _integer(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
    return bytes((_INTEGER, len(raw))) + raw
