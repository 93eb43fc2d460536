"""The part of BER (X.690) that SNMP needs: encode values, take requests apart."""

from __future__ import annotations

from typing import NamedTuple

INTEGER, STRING, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
COUNTER32, GAUGE32, TIMETICKS = 0x41, 0x42, 0x43
NO_SUCH_OBJECT, END_OF_MIB = 0x80, 0x82
GET, GET_NEXT, RESPONSE, SET, GET_BULK = 0xA0, 0xA1, 0xA2, 0xA3, 0xA5


class Malformed(ValueError):
    """A datagram that is no SNMP request of version 1 or 2c."""


class Request(NamedTuple):
    """A request: `version` 0 is SNMPv1, 1 is v2c; `request_id` and `oids` as encoded; two numbers as in the PDU."""

    version: int
    community: bytes
    kind: int
    request_id: bytes
    first: int
    second: int
    oids: list[bytes]


def length(n: int) -> bytes:
    """Return the encoding of a length."""
    if n < 0x80:
        return bytes((n,))
    raw = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(raw),)) + raw


def tlv(tag: int, content: bytes) -> bytes:
    """Return tag, length and content."""
    n = len(content)
    if n < 0x80:
        return bytes((tag, n)) + content
    return bytes((tag,)) + length(n) + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """Return an integer; for unsigned tags `value` must not be negative."""
    bits = (value if value >= 0 else ~value).bit_length()
    raw = value.to_bytes(bits // 8 + 1, "big", signed=True)
    return bytes((tag, len(raw))) + raw


def oid(arcs: tuple[int, ...]) -> bytes:
    """Return the content of an object identifier, without tag and length."""
    out = bytearray((arcs[0] * 40 + arcs[1],))
    for arc in arcs[2:]:
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        out += bytes(reversed(digits))
    return bytes(out)


def arcs(content: bytes) -> tuple[int, ...]:
    """Return the arcs of an object identifier's content."""
    if not content:
        return ()
    out, value = list(divmod(min(content[0], 119), 40)), 0
    for octet in content[1:]:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            out.append(value)
            value = 0
    return tuple(out)


def parse_request(data: bytes) -> Request:
    """Take a request apart.

    Raises
    ------
    Malformed
        If it is none.
    """
    try:
        start, end = _enter(data, 0, SEQUENCE)
        at, stop = _enter(data, start, INTEGER)
        version = int.from_bytes(data[at:stop], "big", signed=True)
        at, stop = _enter(data, stop, STRING)
        community = data[at:stop]
        kind = data[stop]
        at, stop = _enter(data, stop, kind)
        first_at = at
        at, _ = _skip_integer(data, at)
        request_id = data[first_at:at]
        at, first = _skip_integer(data, at)
        at, second = _skip_integer(data, at)
        at, stop = _enter(data, at, SEQUENCE)
        oids = []
        while at < stop:
            inner, after = _enter(data, at, SEQUENCE)
            begin, finish = _enter(data, inner, OID)
            oids.append(data[begin:finish])
            at = after
    except IndexError:
        raise Malformed("truncated") from None
    if version not in (0, 1) or kind not in (GET, GET_NEXT, SET, GET_BULK) or end > len(data):
        raise Malformed("not a request of version 1 or 2c")
    return Request(version, community, kind, request_id, first, second, oids)


def _enter(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return where the content of the element at `at` begins and ends."""
    if data[at] != tag:
        raise Malformed(f"tag {data[at]:#x} where {tag:#x} belongs")
    n = data[at + 1]
    at += 2
    if n & 0x80:
        octets = n & 0x7F
        n = int.from_bytes(data[at : at + octets], "big")
        at += octets
    if at + n > len(data):
        raise Malformed("truncated")
    return at, at + n


def _skip_integer(data: bytes, at: int) -> tuple[int, int]:
    begin, end = _enter(data, at, INTEGER)
    return end, int.from_bytes(data[begin:end], "big", signed=True)
