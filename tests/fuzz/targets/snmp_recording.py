"""A recording's lines, and what becomes of them when they are written again."""

from collectors.snmp.walk import Walk, format_snmprec, number, parse_snmprec, text
from domain.errors import InputError


def fuzz(data: bytes) -> None:
    walk = Walk()
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        try:
            oid, tag, value = parse_snmprec(line)
        except InputError:
            continue
        text(value)
        number(value)
        assert parse_snmprec(format_snmprec(oid, tag, value)) == (oid, tag, value)
        walk.update({oid: value})
    for oid in walk:
        walk.column(oid.rsplit(".", 1)[0])
