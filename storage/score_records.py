"""What forecasts were worth, slot by slot, and forecasts that are kept only until their time has come."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert, select, update

from domain.scores import SLOT_MS, ScoreSlot
from storage import record_tables as t
from storage.database import Database

Arrays = dict[str, NDArray[Any]]


class ScoreRecords(Database):
    """Scores and snapshots. Calls block: on the event loop use ``asyncio.to_thread``."""

    def save_scores(self, slots: Sequence[ScoreSlot], now: int) -> None:
        """Keep slots, in place of what was known of them: all of them or none."""
        s = t.forecast_scores
        with self.writing() as db:
            for slot in slots:
                arrays = _packed(
                    {
                        "objects": slot.objects,
                        "lead": slot.lead.astype("<i4"),
                        "sums": slot.sums.astype("<f4"),
                        "interval": slot.interval.astype("<i8"),
                        "actual": slot.actual.astype("<f4"),
                    }
                )
                known = db.scalar(
                    select(s.c.id).where(s.c.point_type == slot.point_type, s.c.slot == slot.start)
                )
                fields = {"unit": slot.unit, "updated": now, "arrays": arrays}
                if known is None:
                    db.execute(insert(s).values(point_type=slot.point_type, slot=slot.start, **fields))
                else:
                    db.execute(update(s).where(s.c.id == known).values(**fields))

    def scores(self, point_type: str, start: int, end: int) -> list[ScoreSlot]:
        """Return the slots that have a part in [start, end), UTC ms, oldest first."""
        s = t.forecast_scores
        query = (
            select(s)
            .where(s.c.point_type == point_type, s.c.slot > start - SLOT_MS, s.c.slot < end)
            .order_by(s.c.slot)
        )
        with self.reading() as db:
            return [
                ScoreSlot(
                    row.point_type,
                    row.unit,
                    row.slot,
                    (of := _unpacked(row.arrays))["objects"],
                    of["lead"],
                    of["sums"].astype(np.float64),
                    of["interval"],
                    of["actual"].astype(np.float64),
                )
                for row in db.execute(query)
            ]

    def save_snapshots(self, snapshots: Sequence[tuple[str, int, Arrays]]) -> None:
        """Keep forecasts until they are due: quantity, when they were issued (UTC ms), and their arrays."""
        rows = [
            {"point_type": point_type, "issued": issued, "arrays": _packed(arrays)}
            for point_type, issued, arrays in snapshots
        ]
        if rows:
            with self.writing() as db:
                db.execute(insert(t.forecast_snapshots), rows)

    def snapshot_times(self, point_type: str, start: int, end: int) -> list[int]:
        """Return when those that are kept were issued in [start, end)."""
        s = t.forecast_snapshots
        query = select(s.c.issued).where(s.c.point_type == point_type, s.c.issued >= start, s.c.issued < end)
        with self.reading() as db:
            return list(db.scalars(query))

    def snapshots(self, point_type: str, start: int, end: int) -> list[tuple[int, Arrays]]:
        """Return those that were issued in [start, end), oldest first."""
        s = t.forecast_snapshots
        query = (
            select(s.c.issued, s.c.arrays)
            .where(s.c.point_type == point_type, s.c.issued >= start, s.c.issued < end)
            .order_by(s.c.issued)
        )
        with self.reading() as db:
            return [(int(row.issued), _unpacked(row.arrays)) for row in db.execute(query)]


def _packed(arrays: Arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stubs take its option for an array
    return file.getvalue()


def _unpacked(data: bytes) -> Arrays:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
