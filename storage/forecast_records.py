"""Issued forecasts: kept as they were issued, sealed one after the other, and never changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update
from sqlalchemy.engine import Row

from domain.forecast import Forecast, Seal
from storage import record_tables as t
from storage.database import Database
from storage.forecast_arrays import ForecastArrays, pack, pack_ramps, unpack, unpack_ramps
from storage.forecast_seals import GENESIS, digest

_f, _s, _c = t.forecasts, t.forecast_seals, t.forecast_chains
_before = t.forecast_seals.alias("before")
_PREVIOUS = (_before.c.chain_id == _s.c.chain_id) & (_before.c.number == _s.c.number - 1)


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue of an object's forecast, without its values; times are UTC ms. `key` orders issues of one moment."""

    key: int
    issued: int
    data_cutoff: int
    intervals: int
    model: str
    quality: str
    seal: Seal | None


class ForecastRecords(Database):
    """Issued forecasts, kept as long as the settings say. Calls block: on the event loop use ``asyncio.to_thread``."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._newest: dict[tuple[str, str], tuple[int, Forecast]] = {}
        self.forecasts_saved = 0
        """How often this process saved forecasts: whoever keeps the newest sees by it that there is a newer."""

    def save_forecast(self, forecast: Forecast) -> None:
        """Keep an issued forecast."""
        self.save_forecasts([forecast])

    def save_forecasts(self, issued: Sequence[Forecast]) -> None:
        """Keep and seal forecasts that were issued together: all of them or none."""
        rows = [
            {
                "object_id": forecast.object_id,
                "point_type": forecast.point_type,
                "unit": forecast.unit,
                "issued": forecast.issued,
                "data_cutoff": forecast.data_cutoff,
                "interval_minutes": forecast.interval_minutes,
                "quantiles": json.dumps(forecast.quantiles),
                "intervals": len(forecast.start),
                "arrays": pack(
                    ForecastArrays(
                        forecast.start,
                        forecast.values,
                        forecast.limit,
                        forecast.breach_probability,
                        forecast.persistence,
                    )
                ),
                "model": forecast.model,
                "quality": forecast.quality,
            }
            for forecast in issued
        ]
        ramps = [None if f.ramps is None else pack_ramps(f.ramps) for f in issued]
        with self.writing() as db:
            ids = db.scalars(insert(_f).returning(_f.c.id, sort_by_parameter_order=True), rows).all()
            _seal(db, list(ids), rows, ramps)
        self.forecasts_saved += 1

    def latest_forecast(self, object_id: str, point_type: str = "ActivePower") -> Forecast | None:
        """Return the newest forecast of a quantity, or None where none was issued."""
        return self.latest_forecasts([object_id], point_type).get(object_id)

    def latest_forecasts(
        self, object_ids: Sequence[str], point_type: str = "ActivePower"
    ) -> dict[str, Forecast]:
        """Return the newest forecast of a quantity by object; objects for which none was issued are left out."""
        found: dict[str, Forecast] = {}
        with self.reading() as db:
            for object_id in object_ids:
                newest = (
                    select(_f.c.id)
                    .where(_f.c.object_id == object_id, _f.c.point_type == point_type)
                    .order_by(_f.c.issued.desc(), _f.c.id.desc())
                    .limit(1)
                )
                number = db.scalar(newest)
                if number is None:
                    continue
                key = (object_id, point_type)
                kept = self._newest.get(key)
                if kept is None or kept[0] != number:
                    kept = (number, _forecast(db.execute(_whole().where(_f.c.id == number)).one()))
                    self._newest[key] = kept
                found[object_id] = kept[1]
        return found

    def forecasts(
        self, object_id: str, point_type: str, start: int, end: int, limit: int = 1000
    ) -> list[Forecast]:
        """Return the forecasts that were issued in [start, end), oldest first, `limit` at most."""
        query = (
            _whole()
            .where(_f.c.object_id == object_id, _f.c.point_type == point_type)
            .where(_f.c.issued >= start, _f.c.issued < end)
            .order_by(_f.c.issued, _f.c.id)
            .limit(limit)
        )
        with self.reading() as db:
            return [_forecast(row) for row in db.execute(query)]

    def issued(
        self, point_type: str, start: int, end: int, objects: Collection[str] | None = None
    ) -> dict[str, Forecast]:
        """Return by object the newest forecast of a quantity that was issued in [start, end); of some objects if named."""
        query = _whole().where(_f.c.issued >= start, _f.c.issued < end, _f.c.point_type == point_type)
        if objects is not None:
            query = query.where(_f.c.object_id.in_(objects))
        with self.reading() as db:
            rows = db.execute(query.order_by(_f.c.issued, _f.c.id))
            return {row.object_id: _forecast(row) for row in rows}

    def issue_times(self, point_type: str, start: int, end: int) -> list[int]:
        """Return when forecasts of a quantity were issued in [start, end), UTC ms, each time once."""
        query = select(_f.c.issued).where(
            _f.c.issued >= start, _f.c.issued < end, _f.c.point_type == point_type
        )
        with self.reading() as db:
            return sorted(db.scalars(query.distinct()))

    # --- the archive ----------------------------------------------------------------------------------------

    def forecast_at(
        self, object_id: str, time: int, exact: bool = False, point_type: str = "ActivePower"
    ) -> Forecast | None:
        """Return the forecast that was the newest at a time (UTC ms), or the one that was issued just then; or None."""
        query = _whole().where(_f.c.object_id == object_id, _f.c.point_type == point_type)
        query = query.where(_f.c.issued == time if exact else _f.c.issued <= time)
        with self.reading() as db:
            row = db.execute(query.order_by(_f.c.issued.desc(), _f.c.id.desc()).limit(1)).first()
        return None if row is None else _forecast(row)

    def issues(
        self,
        object_id: str,
        start: int,
        end: int,
        limit: int,
        before: tuple[int, int] | None = None,
        point_type: str = "ActivePower",
    ) -> list[Issue]:
        """Return what was issued in [start, end), newest first, `limit` at most.

        `before` is the moment and the key of the last issue of the page before.
        """
        query = (
            _sealed(
                select(
                    *(_f.c[n] for n in ("id", "issued", "data_cutoff", "intervals", "model", "quality")),
                    *_SEAL,
                )
            )
            .where(_f.c.object_id == object_id, _f.c.point_type == point_type)
            .where(_f.c.issued >= start, _f.c.issued < end)
        )
        if before is not None:
            issued, key = before
            query = query.where((_f.c.issued < issued) | ((_f.c.issued == issued) & (_f.c.id < key)))
        with self.reading() as db:
            rows = db.execute(query.order_by(_f.c.issued.desc(), _f.c.id.desc()).limit(limit)).all()
        return [
            Issue(r.id, r.issued, r.data_cutoff, r.intervals, r.model, r.quality, _seal_of(r)) for r in rows
        ]


_SEAL = (
    _s.c.number.label("seal_number"),
    _s.c.hash.label("seal_hash"),
    _before.c.hash.label("seal_previous"),
    _c.c.before.label("chain_before"),
)


def _sealed(query: Select[Any]) -> Select[Any]:
    whole = _f.outerjoin(_s, _s.c.forecast_id == _f.c.id).outerjoin(_before, _PREVIOUS)
    return query.select_from(whole.outerjoin(_c, _c.c.id == _s.c.chain_id))


def _whole() -> Select[Any]:
    return _sealed(select(_f, _s.c.ramps, *_SEAL))


def _seal(
    db: Connection, ids: Sequence[int], rows: Sequence[dict[str, Any]], ramps: Sequence[bytes | None]
) -> None:
    """Append forecasts that were just kept to the chains of their objects."""
    names = {(row["object_id"], row["point_type"]) for row in rows}
    chains: dict[tuple[str, str], tuple[Any, int, bytes]] = {}
    for point_type in {of for _, of in names}:
        objects = [name for name, of in names if of == point_type]
        known = select(_c).where(_c.c.point_type == point_type, _c.c.object_id.in_(objects)).with_for_update()
        chains |= {(row.object_id, point_type): (row.id, row.last, row.hash) for row in db.execute(known)}
    for object_id, point_type in sorted(names - set(chains)):
        fresh = {"first": 1, "before": GENESIS, "last": 0, "hash": GENESIS}
        key = db.scalar(
            insert(_c).values(object_id=object_id, point_type=point_type, **fresh).returning(_c.c.id)
        )
        chains[object_id, point_type] = (key, 0, GENESIS)
    seals = []
    for forecast_id, row, changes in zip(ids, rows, ramps, strict=True):
        name = (row["object_id"], row["point_type"])
        chain, last, before = chains[name]
        found = digest(before, last + 1, row, changes)
        seals.append(
            {
                "forecast_id": forecast_id,
                "chain_id": chain,
                "number": last + 1,
                "hash": found,
                "ramps": changes,
            }
        )
        chains[name] = (chain, last + 1, found)
    db.execute(insert(_s), seals)
    for name in names:
        chain, last, found = chains[name]
        db.execute(update(_c).where(_c.c.id == chain).values(last=last, hash=found))


def _seal_of(row: Row[Any]) -> Seal | None:
    if row.seal_number is None:
        return None
    # the one before may have been removed when its time was over: then the chain knows its hash
    previous = row.chain_before if row.seal_previous is None else row.seal_previous
    return Seal(row.seal_number, row.seal_hash.hex(), previous.hex())


def _forecast(row: Row[Any]) -> Forecast:
    levels = tuple(json.loads(row.quantiles))
    start, values, limit, breach, persistence = unpack(row.arrays, row.intervals, len(levels))
    return Forecast(
        row.object_id,
        row.point_type,
        row.unit,
        row.issued,
        row.data_cutoff,
        row.interval_minutes,
        start,
        levels,
        values,
        limit,
        breach,
        row.model,
        row.quality,
        None if row.ramps is None else unpack_ramps(row.ramps),
        _seal_of(row),
        persistence,
    )
