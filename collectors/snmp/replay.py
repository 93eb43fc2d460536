"""A recording that answers as the device did, without a wire."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from collectors.snmp.client import MOST_ROWS, Traffic
from collectors.snmp.walk import Scalar, Walk, arcs


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
