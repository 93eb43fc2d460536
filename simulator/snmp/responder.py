"""An SNMP responder, versions 1 and 2c: a sorted table of OIDs, answers put together from encoded parts.

One table serves all devices of a kind; what differs between devices, and between moments, is a row of integers and
one of texts. Read-only: SET is refused.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.snmp import ber

NO_SUCH_NAME, GEN_ERR, NOT_WRITABLE = 2, 5, 17
_SYS_UPTIME = ber.oid((1, 3, 6, 1, 2, 1, 1, 3, 0))
_NAMELESS = ber.tlv(ber.SEQUENCE, ber.tlv(ber.OID, b"") + ber.integer(1))
_LARGEST = 1400  # of a GETBULK answer: what fits an Ethernet frame


@dataclass(frozen=True, slots=True)
class Live:
    """A value that changes: an integer from the device's row."""

    column: int
    tag: int = ber.INTEGER


@dataclass(frozen=True, slots=True)
class Text:
    """A text that differs between devices, from the device's texts."""

    column: int


Content = bytes | Live | Text
"""What an OID holds: an encoded constant, or something of the device."""


class OidTable:
    """All objects that devices of one kind have.

    Parameters
    ----------
    rows
        OID (dotted, with instance) to what it holds.
    """

    def __init__(self, rows: dict[str, Content]) -> None:
        ordered = sorted((tuple(map(int, text.split("."))), content) for text, content in rows.items())
        self._arcs = [arcs for arcs, _ in ordered]
        self._contents = [content for _, content in ordered]
        self._names = [ber.tlv(ber.OID, ber.oid(arcs)) for arcs in self._arcs]
        self._at = {ber.oid(arcs): i for i, arcs in enumerate(self._arcs)}

    def __len__(self) -> int:
        return len(self._names)

    def find(self, oid: bytes) -> int | None:
        """Return the position of an encoded OID, or None."""
        return self._at.get(oid)

    def after(self, oid: bytes) -> int:
        """Return the position of the first OID behind an encoded one; the table's length where there is none."""
        here = self._at.get(oid)
        return bisect_right(self._arcs, ber.arcs(oid)) if here is None else here + 1

    def bind(self, at: int, values: Sequence[int], texts: Sequence[bytes]) -> bytes:
        """Return the variable binding at a position."""
        content = self._contents[at]
        if type(content) is Live:
            value = values[content.column]
            encoded = ber.integer(value if content.tag == ber.INTEGER else value & 0xFFFFFFFF, content.tag)
        elif type(content) is Text:
            encoded = ber.tlv(ber.STRING, texts[content.column])
        else:
            encoded = content  # type: ignore[assignment]
        return ber.tlv(ber.SEQUENCE, self._names[at] + encoded)


def answer(
    data: bytes,
    table: OidTable,
    values: Sequence[int],
    texts: Sequence[bytes],
    community: bytes = b"public",
    wrong: frozenset[str] = frozenset(),
) -> bytes | None:
    """Return the answer to a request, or None where a device stays silent: a wrong community.

    `wrong` holds what the agent does wrong, as in `simulator.faults.Effect.agent`.

    Raises
    ------
    ber.Malformed
        If `data` is no request.
    """
    asked = ber.parse_request(data)
    if asked.community != community:
        return None
    if asked.kind == ber.SET:
        error = NO_SUCH_NAME if asked.version == 0 else NOT_WRITABLE
        return _message(asked, error, 1, [_unset(oid) for oid in asked.oids])
    if asked.kind == ber.GET_BULK:
        if "half" in wrong:
            return _message(asked, GEN_ERR, 0, [_unset(oid) for oid in asked.oids])
        return _message(asked, 0, 0, _bulk(asked, table, values, texts))
    bindings = []
    oids = asked.oids[: max(1, len(asked.oids) // 2)] if "half" in wrong else asked.oids
    for number, oid in enumerate(oids, 1):
        if "no_clock" in wrong and oid == _SYS_UPTIME and asked.kind == ber.GET and asked.version:
            bindings.append(_nothing(oid, ber.NO_SUCH_OBJECT))
            continue
        at = table.find(oid) if asked.kind == ber.GET else table.after(oid)
        if at is not None and at < len(table):
            bindings.append(table.bind(at, values, texts))
        elif asked.version == 0:
            return _message(asked, NO_SUCH_NAME, number, [_unset(o) for o in asked.oids])
        else:
            missing = ber.NO_SUCH_OBJECT if asked.kind == ber.GET else ber.END_OF_MIB
            bindings.append(_nothing(oid, missing))
    if "odd" in wrong:
        bindings.append(_NAMELESS)
    return _message(asked, 0, 0, bindings)


def _bulk(asked: ber.Request, table: OidTable, values: Sequence[int], texts: Sequence[bytes]) -> list[bytes]:
    once, repeats = max(0, asked.first), max(0, asked.second)
    bindings, size = [], 0
    for oid in asked.oids[:once]:
        at = table.after(oid)
        bindings.append(table.bind(at, values, texts) if at < len(table) else _nothing(oid, ber.END_OF_MIB))
    positions = [table.after(oid) for oid in asked.oids[once:]]
    for _ in range(repeats if positions else 0):
        for i, at in enumerate(positions):
            if at < len(table):
                bindings.append(table.bind(at, values, texts))
                positions[i] = at + 1
            else:
                bindings.append(_nothing(asked.oids[once + i], ber.END_OF_MIB))
            size += len(bindings[-1])
        if size > _LARGEST or min(positions) >= len(table):
            break
    return bindings


def _unset(oid: bytes) -> bytes:
    return ber.tlv(ber.SEQUENCE, ber.tlv(ber.OID, oid) + b"\x05\x00")


def _nothing(oid: bytes, exception: int) -> bytes:
    return ber.tlv(ber.SEQUENCE, ber.tlv(ber.OID, oid) + bytes((exception, 0)))


def _message(asked: ber.Request, error: int, index: int, bindings: list[bytes]) -> bytes:
    body = asked.request_id + ber.integer(error) + ber.integer(index)
    body += ber.tlv(ber.SEQUENCE, b"".join(bindings))
    head = ber.integer(asked.version) + ber.tlv(ber.STRING, asked.community)
    return ber.tlv(ber.SEQUENCE, head + ber.tlv(ber.RESPONSE, body))
