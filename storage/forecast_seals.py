"""The chain that seals issued forecasts: each hash covers a forecast's whole content and the hash before.

Who changes, removes or swaps what was issued leaves a place where the chain does not hold. Who can write to the records
could make the whole chain anew: that is seen by whoever kept a hash, and partners are told them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.engine import Row

from storage import record_tables as t
from storage.database import Database

GENESIS = bytes(32)
"""Stands for the hash before the first forecast of an object."""
AT_ONCE = 2000
"""Forecasts that are looked at in one transaction."""
MOST_FAULTS = 1000
"""Faults that are told of one chain; more are not looked for."""
_HEAD = (
    "object_id", "point_type", "unit", "issued", "data_cutoff", "interval_minutes", "quantiles", "intervals",
    "model", "quality",
)  # fmt: skip
_f, _s, _c = t.forecasts, t.forecast_seals, t.forecast_chains


def digest(before: bytes, number: int, fields: Mapping[Any, Any], ramps: bytes | None) -> bytes:
    """Return the hash of a forecast, 32 bytes.

    SHA-256 over four parts, each after its length in bytes (8 bytes, big-endian): the hash before; a JSON list (ASCII,
    without spaces) of its number and the fields object_id, point_type, unit, issued, data_cutoff, interval_minutes,
    quantiles, intervals, model, quality; its arrays and its ramps as they are kept.
    """
    head = json.dumps([number, *(fields[name] for name in _HEAD)], separators=(",", ":")).encode()
    found = hashlib.sha256()
    for part in (before, head, fields["arrays"], ramps or b""):
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.digest()


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a chain does not hold: the number of the forecast, when it was issued (UTC ms, 0 if unknown), and why."""

    number: int
    issued: int
    what: str


@dataclass(slots=True)
class ChainReport:
    """What looking over the forecasts of one object showed.

    Attributes
    ----------
    first, last, head
        Numbers of the oldest and the newest that are kept, and the hash of the newest.
    looked_at
        How many were compared with their seals.
    unsealed
        Forecasts that were kept before there were seals.
    faults
        Where the chain does not hold, `MOST_FAULTS` at most.
    """

    object_id: str
    point_type: str
    first: int
    last: int
    head: str
    looked_at: int = 0
    unsealed: int = 0
    faults: list[Fault] = field(default_factory=list)


def verify(records: Database, object_id: str = "", known: str = "") -> Iterator[ChainReport]:
    """Look over the chains, of one object if named; blocks, and reads every forecast that is kept.

    Parameters
    ----------
    known
        A hash that somebody was told (hexadecimal): the chain of the object must have it.
    """
    query = select(_c).order_by(_c.c.object_id, _c.c.point_type)
    with records.reading() as db:
        chains = db.execute(query.where(_c.c.object_id == object_id) if object_id else query).all()
    for chain in chains:
        yield _verify(records, chain, bytes.fromhex(known))


def _verify(records: Database, chain: Row[Any], known: bytes) -> ChainReport:
    report = ChainReport(chain.object_id, chain.point_type, chain.first, chain.last, chain.hash.hex())
    number, before, last_issued = chain.first - 1, bytes(chain.before), 0
    seen = not known or known == before
    while number < chain.last and len(report.faults) < MOST_FAULTS:
        with records.reading() as db:
            rows = _page(db, chain.id, number, chain.last)
            first = db.scalar(select(_c.c.first).where(_c.c.id == chain.id)) or 0
        if not rows:
            break
        for row in rows:
            if row.number < first:  # removed by age while this was looking
                number, before = row.number, bytes(row.hash)
                continue
            if row.number > max(number + 1, first):
                report.faults.append(_gap(max(number + 1, first), row.number - 1))
            follows = row.number == number + 1
            report.looked_at += 1
            if row.object_id is None:
                report.faults.append(Fault(row.number, 0, "missing: its seal is there, its content is not"))
            elif (row.object_id, row.point_type) != (chain.object_id, chain.point_type):
                report.faults.append(Fault(row.number, row.issued, "changed: it is another object's"))
            elif follows and digest(before, row.number, dict(row._mapping), row.ramps) != row.hash:
                why = "out of order" if row.issued < last_issued else "changed"
                told = f"{why}: it is not what was sealed after number {number}"
                report.faults.append(Fault(row.number, row.issued, told))
            seen = seen or row.hash == known
            number, before = row.number, bytes(row.hash)
            last_issued = row.issued or last_issued
    if number < chain.last:
        report.faults.append(_gap(number + 1, chain.last))
    elif before != chain.hash:
        report.faults.append(Fault(number, last_issued, "changed: the newest hash is not the one noted last"))
    _beside(records, chain, report)
    if not seen:
        report.faults.append(Fault(0, 0, "the hash that was told is not in this chain"))
    return report


def _gap(first: int, last: int) -> Fault:
    what = "missing" if first == last else f"missing: numbers {first} to {last}"
    return Fault(first, 0, what)


def _page(db: Connection, chain: int, after: int, last: int) -> list[Row[Any]]:
    query = (
        select(_s.c.number, _s.c.hash, _s.c.ramps, *(_f.c[name] for name in (*_HEAD, "arrays")))
        .select_from(_s.outerjoin(_f, _f.c.id == _s.c.forecast_id))
        .where(_s.c.chain_id == chain, _s.c.number > after, _s.c.number <= last)
        .order_by(_s.c.number)
        .limit(AT_ONCE)
    )
    return list(db.execute(query))


def _beside(records: Database, chain: Row[Any], report: ChainReport) -> None:
    """Look for forecasts without a seal: older than the chain, or put in beside it."""
    mine = (_f.c.object_id == chain.object_id) & (_f.c.point_type == chain.point_type)
    loose = (
        select(_f.c.id, _f.c.issued)
        .select_from(_f.outerjoin(_s, _s.c.forecast_id == _f.c.id))
        .where(mine, _s.c.forecast_id.is_(None))
    )
    sealed = (
        select(func.min(_s.c.forecast_id))
        .select_from(_s)
        .where(_s.c.chain_id == chain.id, _s.c.number >= chain.first)
    )
    with records.reading() as db:
        oldest = db.scalar(sealed)
        rows = db.execute(loose.order_by(_f.c.id)).all()
    strange = [row for row in rows if oldest is not None and row.id > oldest]
    report.unsealed = len(rows) - len(strange)
    room = MOST_FAULTS - len(report.faults)
    report.faults += [Fault(0, row.issued, "put in: it was never sealed") for row in strange[: max(room, 0)]]


def forget(db: Connection, ids: list[int]) -> None:
    """Remove forecasts whose time is over, with their seals; the chain begins with what is left."""
    mine = _s.c.forecast_id.in_(ids)
    newest = select(_s.c.chain_id, func.max(_s.c.number).label("number")).where(mine).group_by(_s.c.chain_id)
    gone = newest.subquery()
    last = select(_s.c.chain_id, _s.c.number, _s.c.hash).join(
        gone, (gone.c.chain_id == _s.c.chain_id) & (gone.c.number == _s.c.number)
    )
    for row in db.execute(last).all():
        later = (_c.c.id == row.chain_id) & (_c.c.first <= row.number)
        db.execute(update(_c).where(later).values(first=row.number + 1, before=row.hash))
    db.execute(delete(_s).where(mine))
    db.execute(delete(_f).where(_f.c.id.in_(ids)))
