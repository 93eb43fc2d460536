"""A recording that answers as the device did, without a wire."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collectors.snmp.client import MOST_ROWS, Traffic
from collectors.snmp.profiles import Profile
from collectors.snmp.readings import Device, Reading
from collectors.snmp.survey import Survey, survey
from collectors.snmp.walk import Scalar, Walk, arcs, number, text


class RecordedClient:
    """A device that exists as a recording only; an `SnmpClient`.

    Parameters
    ----------
    walk
        Everything that the device answered.
    """

    def __init__(self, walk: Walk) -> None:
        self.traffic = Traffic()
        self.troubles: dict[str, str] = {}
        self._walk = walk
        self._order = sorted((arcs(oid), oid) for oid in walk)

    async def get(self, oids: Sequence[str]) -> dict[str, Scalar]:  # noqa: D102
        self.traffic.requests += 1
        return {oid: value for oid in oids if (value := self._walk.get(oid)) is not None}

    async def walk(  # noqa: D102
        self, oid: str, *, count: int = 40, most: int = MOST_ROWS
    ) -> list[tuple[str, Scalar]]:
        self.traffic.requests += 1
        start = arcs(oid)
        rows: list[tuple[str, Scalar]] = []
        for at in range(bisect_right(self._order, (start, oid)), len(self._order)):
            path, name = self._order[at]
            if path[: len(start)] != start or len(rows) >= most:
                break
            rows.append((name, self._walk.get(name)))
        return rows

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a recording.

    Parameters
    ----------
    survey
        Which profiles matched, and why.
    readings
        Everything that it offers.
    unread
        (oid, value) of the numbers in the makers' subtrees that nothing reads.
    """

    survey: Survey
    readings: tuple[Reading, ...]
    unread: tuple[tuple[str, str], ...]

    @property
    def read(self) -> int:
        """Readings that have a value and are no second telling of another."""
        return sum(r.value is not None and not r.duplicate for r in self.readings)

    def rows(self) -> list[list[str]]:
        """Return a line for each reading."""
        return [
            [
                r.point.object_id,
                r.point.point_type + (f" [{r.point.phase}]" if r.point.phase else ""),
                r.name,
                "-"
                if r.value is None
                else r.point.state_label(r.value)
                if r.point.is_state
                else f"{r.value:.8g}",
                r.point.unit,
                r.symbol + (" (told already)" if r.duplicate else ""),
            ]
            for r in self.readings
        ]

    def remarks(self) -> list[str]:
        """Return what physics doubts, what was corrected, and the tables that failed."""
        corrected = {r.corrected: r.symbol for r in self.readings if r.corrected}
        return [
            *(f"{d.symbol} ({d.oid}): {d.text}" for d in self.survey.doubts(self.readings)),
            *(f"corrected: {symbol}: {why}" for why, symbol in corrected.items()),
            *(f"failed: {f}" for f in self.survey.inventory.failed),
        ]

    def to_dict(self) -> dict[str, object]:
        """Return the object that `hallwatch profile test --json` prints."""
        return {
            "profile": self.survey.profile.name if self.survey.profile is not None else None,
            "evidence": [str(e) for e in self.survey.evidence],
            "readings": [
                {
                    "oid": r.oid, "symbol": r.symbol, "objectType": r.point.object_type, "objectId": r.point.object_id,
                    "pointType": r.point.point_type, "name": r.name, "value": r.value, "unit": r.point.unit,
                    "phase": r.point.phase, "duplicate": r.duplicate,
                }
                for r in self.readings
            ],
            "remarks": self.remarks(),
            "unread": [list(row) for row in self.unread],
        }  # fmt: skip


async def replay(walk: Walk, profiles: Mapping[str, Profile], wanted: str, device: Device) -> Replayed:
    """Return what Hallwatch reads of a recorded device."""
    found = await survey(RecordedClient(walk), profiles, wanted)
    readings = tuple(found.readings(device))
    read = {r.oid for r in readings}
    unread = tuple(
        (oid, text(walk.get(oid)))
        for oid in walk
        if oid.startswith("1.3.6.1.4.1.") and oid not in read and number(walk.get(oid)) is not None
    )
    return Replayed(found, readings, unread)
