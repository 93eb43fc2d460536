"""Records that change: alerts and what became of them, issued forecasts, planned work, requests of the grid, audit; accounts lie there too."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.engine import Row

from domain.batch import now_ms
from domain.forecast import Forecast
from storage import record_tables as t
from storage.forecast_arrays import ForecastArrays, pack, unpack
from storage.grid_records import GridRecords
from storage.incident_records import IncidentRecords
from storage.oncall_records import OnCallRecords
from storage.planned_records import PlannedRecords
from storage.score_records import ScoreRecords


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, when (UTC ms)."""

    at: int
    who: str
    what: str
    detail: str


class Records(GridRecords, IncidentRecords, OnCallRecords, PlannedRecords, ScoreRecords):
    """The records of one site. Calls block: on the event loop use ``asyncio.to_thread``.

    Parameters
    ----------
    url
        SQLAlchemy URL, such as ``sqlite:///data/records.sqlite`` or ``postgresql+psycopg://host/hallwatch``.

    Raises
    ------
    InputError
        If the URL cannot be used, or the records were made by another version of the tables.
    StoreUnavailable
        If the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._newest: dict[tuple[str, str], tuple[int, Forecast]] = {}
        self.forecasts_saved = 0
        """How often this process saved forecasts: whoever keeps the newest sees by it that there is a newer."""

    # --- issued forecasts: kept as long as the settings say ------------------------------------------------------------------------

    def save_forecast(self, forecast: Forecast) -> None:
        """Keep an issued forecast."""
        self.save_forecasts([forecast])

    def save_forecasts(self, issued: Sequence[Forecast]) -> None:
        """Keep forecasts that were issued together: all of them or none."""
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
                        forecast.start, forecast.values, forecast.limit, forecast.breach_probability
                    )
                ),
                "model": forecast.model,
                "quality": forecast.quality,
            }
            for forecast in issued
        ]
        with self.writing() as db:
            db.execute(insert(t.forecasts), rows)
        self.forecasts_saved += 1

    def latest_forecast(self, object_id: str, point_type: str = "ActivePower") -> Forecast | None:
        """Return the newest forecast of a quantity, or None where none was issued."""
        return self.latest_forecasts([object_id], point_type).get(object_id)

    def latest_forecasts(
        self, object_ids: Sequence[str], point_type: str = "ActivePower"
    ) -> dict[str, Forecast]:
        """Return the newest forecast of a quantity by object; objects for which none was issued are left out."""
        f = t.forecasts
        found: dict[str, Forecast] = {}
        with self.reading() as db:
            for object_id in object_ids:
                newest = (
                    select(f.c.id)
                    .where(f.c.object_id == object_id, f.c.point_type == point_type)
                    .order_by(f.c.issued.desc(), f.c.id.desc())
                    .limit(1)
                )
                number = db.scalar(newest)
                if number is None:
                    continue
                key = (object_id, point_type)
                kept = self._newest.get(key)
                if kept is None or kept[0] != number:
                    kept = (number, _forecast(db.execute(select(f).where(f.c.id == number)).one()))
                    self._newest[key] = kept
                found[object_id] = kept[1]
        return found

    def forecasts(
        self, object_id: str, point_type: str, start: int, end: int, limit: int = 1000
    ) -> list[Forecast]:
        """Return the forecasts that were issued in [start, end), oldest first, `limit` at most."""
        f = t.forecasts
        query = (
            select(f)
            .where(f.c.object_id == object_id, f.c.point_type == point_type)
            .where(f.c.issued >= start, f.c.issued < end)
            .order_by(f.c.issued, f.c.id)
            .limit(limit)
        )
        with self.reading() as db:
            return [_forecast(row) for row in db.execute(query)]

    def issued(
        self, point_type: str, start: int, end: int, objects: Collection[str] | None = None
    ) -> dict[str, Forecast]:
        """Return by object the newest forecast of a quantity that was issued in [start, end); of some objects if named."""
        f = t.forecasts
        query = select(f).where(f.c.issued >= start, f.c.issued < end, f.c.point_type == point_type)
        if objects is not None:
            query = query.where(f.c.object_id.in_(objects))
        with self.reading() as db:
            return {row.object_id: _forecast(row) for row in db.execute(query.order_by(f.c.issued, f.c.id))}

    def issue_times(self, point_type: str, start: int, end: int) -> list[int]:
        """Return when forecasts of a quantity were issued in [start, end), UTC ms, each time once."""
        f = t.forecasts
        query = select(f.c.issued).where(f.c.issued >= start, f.c.issued < end, f.c.point_type == point_type)
        with self.reading() as db:
            return sorted(db.scalars(query.distinct()))

    # --- audit ----------------------------------------------------------------------------------------------

    def audit(self, who: str, what: str, detail: str = "") -> None:
        """Note that somebody did something."""
        with self.writing() as db:
            db.execute(insert(t.audit).values(at=now_ms(), who=who, what=what, detail=detail))

    def audit_trail(
        self, start: int = 0, end: int | None = None, limit: int = 1000, who: str = ""
    ) -> list[AuditEntry]:
        """Return what was done in [start, end), by one person if named, newest first, `limit` at most."""
        query = select(t.audit).where(t.audit.c.at >= start)
        if who:
            query = query.where(t.audit.c.who == who)
        if end is not None:
            query = query.where(t.audit.c.at < end)
        with self.reading() as db:
            rows = db.execute(query.order_by(t.audit.c.id.desc()).limit(limit))
            return [AuditEntry(row.at, row.who, row.what, row.detail) for row in rows]


def _forecast(row: Row[Any]) -> Forecast:
    levels = tuple(json.loads(row.quantiles))
    start, values, limit, breach = unpack(row.arrays, row.intervals, len(levels))
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
    )
