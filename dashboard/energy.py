"""What the console knows of energy: the running quarter hour, demand, contract and tariff, the grid's requests, flexibility.

Nothing is reckoned here: all of it comes from the functions that the partner API and the commands call. Everything blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analytics.contract.energy import midnight
from analytics.outlook.excursions import QuarterOutlook
from analytics.outlook.quarters import QuartersTold
from dashboard.lately import Lately
from dashboard.views import QUARTER_MS
from domain.errors import InputError
from domain.points import TimeArray, ValueArray
from storage.plant import PlantView

Told = Mapping[str, Any]
FRESH_MS = 120_000
"""What was said of the running quarter hour longer ago than this is not shown."""
GRID_MS, FLEXIBLE_MS = 4_000, 10_000
ACCOUNT_MS = 55_000
"""The page asks once a minute for what changes by quarter hour; windows together are answered once."""
LONGEST_NOTE = 500
DECISIONS = ("consent", "refuse")


@dataclass(frozen=True, slots=True)
class GridCalls:
    """What of the grid the console shows and asks for, as commands do.

    `status`, `requests` and `flexibility` return what ``hallwatch grid status``, ``hallwatch grid events`` and ``hallwatch
    flexibility`` tell; `consent` and `refuse` take the number of a request, who decides, and why.
    """

    status: Callable[[], Told]
    requests: Callable[[], Sequence[Told]]
    flexibility: Callable[[], Told]
    consent: Callable[[int, str, str], object]
    refuse: Callable[[int, str, str], object]


@dataclass(frozen=True, slots=True)
class EnergyCalls:
    """Where the page has its figures from; without a contract or a grid their answers are None.

    `month` returns the running month against the contract, `energy` energy, PUE and carbon of the newest days or the month,
    `quarters` what was said last of the running quarter hours.
    """

    month: Callable[[], Told | None] = lambda: None
    energy: Callable[[Literal["day", "month"]], Told | None] = lambda _by: None
    quarters: Callable[[], QuartersTold | None] = lambda: None
    grid: GridCalls | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """The site's running quarter hour: present power and limit in W, and where it will end."""

    power: float
    limit: float
    outlook: QuarterOutlook


@dataclass(frozen=True, slots=True, eq=False)
class Today:
    """Quarter hours of today that are over: starts (UTC ms) and average power, W, shape (n,); `metered` by counters.

    `limit` is that of each quarter hour of the day, W, those to come too.
    """

    begin: int
    end: int
    start: TimeArray
    power: ValueArray
    limit: ValueArray
    metered: np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Account:
    """What changes by quarter hour: today's demand, the month, energy by day and month."""

    today: Today
    month: Told | None
    days: Told | None
    months: Told | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the grid asks: status and requests, newest first; and what could be shed."""

    status: Told
    requests: Sequence[Told]
    flexibility: Told


class EnergyDesk:
    """Answers the energy page.

    Parameters
    ----------
    plant, clock
        Where demand comes from, and the present, UTC ms.
    calls
        The functions behind API and commands.
    """

    def __init__(self, plant: PlantView, clock: Callable[[], int], calls: EnergyCalls) -> None:
        self._plant = plant
        self._clock = clock
        self._calls = calls
        self.account = Lately(self._account, ACCOUNT_MS, clock)
        """Returns an `Account`."""
        grid = calls.grid
        self._grid = (
            None if grid is None else Lately(lambda: (grid.status(), grid.requests()), GRID_MS, clock)
        )
        self._flexible = None if grid is None else Lately(grid.flexibility, FLEXIBLE_MS, clock)

    def running(self) -> Running | None:
        """Return the running quarter hour of the site, or None where nothing was said of it just now."""
        told, site = self._calls.quarters(), self._plant.site.id
        if told is None or self._clock() - told.at > FRESH_MS or site not in told.nodes:
            return None
        i = told.nodes.index(site)
        return Running(float(told.present[i]), float(told.limits[i]), told.outlooks[i])

    def asked(self) -> Asked | None:
        """Return what the grid asks and what could be given, or None where the site listens to no grid."""
        if self._grid is None or self._flexible is None:
            return None
        status, requests = self._grid()
        return Asked(status, requests, self._flexible())

    def decide(self, number: int, how: str, who: str, note: str) -> None:
        """Agree to a request of the grid (``consent``), or refuse or withdraw from it (``refuse``).

        Raises
        ------
        InputError
            If there is no such request that could be decided so.
        """
        grid = self._calls.grid
        if grid is None or how not in DECISIONS:
            raise InputError("the site listens to no grid, or this is no decision")
        (grid.consent if how == "consent" else grid.refuse)(number, who, note[:LONGEST_NOTE])
        if self._grid is not None:
            self._grid.forget()

    def _account(self) -> Account:
        try:
            month = self._calls.month()
        except InputError:  # no contract is configured
            month = None
        return Account(self._today(), month, self._calls.energy("day"), self._calls.energy("month"))

    def _today(self) -> Today:
        now, site = self._clock(), self._plant.site
        day = pd.Timestamp(now, unit="ms", tz="UTC").tz_convert(site.zone).date()
        begin, end = midnight(day, site.zone), midnight(day + pd.Timedelta(days=1), site.zone)
        until = max(begin, now - now % QUARTER_MS)
        node = self._plant.envelope.site
        limit = np.array([node.binding_limit(t, t + QUARTER_MS) for t in range(begin, end, QUARTER_MS)])
        if until == begin:
            none = np.array([])
            return Today(begin, end, none.astype(np.int64), none, limit, none.astype(np.bool_))
        grid, metered = self._plant.demand_by_origin(site.id, begin, until)
        inside = (grid.start >= begin) & (grid.start < until)
        return Today(begin, end, grid.start[inside], grid.values[0, inside], limit, metered[inside])
