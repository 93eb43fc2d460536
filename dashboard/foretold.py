"""What the console knows of forecasts: of the site and every node, as issued and as it came, and what if things were otherwise."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analytics.outlook.whatif import Answer, Present, Scenario, WhatIf
from dashboard.lately import Lately
from dashboard.series import merged
from dashboard.views import MINUTE_MS, QUARTER_MS, Series
from domain.envelope import EnvelopeNode
from domain.errors import InputError
from domain.forecast import Forecast, Ramps
from domain.planned import PlannedWork
from domain.scores import SLOT_MS, Accuracy, by_lead
from storage.plant import PlantView
from storage.records import Records
from storage.telemetry import Grid

HOUR_MS = 3_600_000
AGO: Mapping[str, int] = {
    "0": 0,
    "1h": HOUR_MS,
    "6h": 6 * HOUR_MS,
    "24h": 24 * HOUR_MS,
    "48h": 48 * HOUR_MS,
    "7d": 168 * HOUR_MS,
}
"""How long ago the forecast was issued that is looked at, ms."""
ISSUED_WITHIN_MS = HOUR_MS
"""A forecast that was issued so long before the time asked for, at most, stands for it."""
PAST_MS = 6 * HOUR_MS
"""What is measured before a forecast was issued is shown for so long."""
AHEAD_MS = 48 * HOUR_MS
SCORED_MS = 7 * 24 * HOUR_MS
SCORED_LEADS = (15, 60, 360)
"""Lead times whose scores are shown over time, minutes."""
SCORES_MS = 10 * MINUTE_MS
MOST_PLANNED = 60


@dataclass(frozen=True, slots=True, eq=False)
class Foretold:
    """A node's forecast of some time ago, and what came.

    `measured` are means of minutes or more, `actual` the quarter hours of `forecast` that are over (NaN where nothing is
    known), `limit` the corners of a stepwise line; all W.
    """

    now: int
    node: EnvelopeNode
    measured: Series
    limit: Series
    forecast: Forecast | None
    actual: Series
    ramps: Ramps | None


@dataclass(frozen=True, slots=True)
class Worth:
    """What a node's forecasts were worth, slot by slot: start (UTC ms), and accuracy by lead time (minutes)."""

    slots: Sequence[tuple[int, Mapping[int, Accuracy]]]


class ForecastDesk:
    """Answers what the forecast page asks. Everything here blocks.

    Parameters
    ----------
    plant, records, clock
        Where figures come from, and the present, UTC ms.
    newest
        Gives the newest forecast of every node, with the ramps to expect.
    max_age_ms
        What was told longer ago is not how the plant is now.
    """

    def __init__(
        self,
        plant: PlantView,
        records: Records,
        clock: Callable[[], int],
        newest: Callable[[], Mapping[str, Forecast]],
        max_age_ms: int,
    ) -> None:
        self._plant = plant
        self._records = records
        self._clock = clock
        self._newest = newest
        self._max_age_ms = max_age_ms
        self._scores: dict[str, Lately[Worth]] = {}
        self._asking = threading.Lock()

    def known(self, node: str) -> bool:
        """Return whether the envelope has a node of that name."""
        return node in self._plant.envelope.nodes

    def look(self, node_id: str, ago_ms: int = 0) -> Foretold:
        """Return a node's forecast as it was issued some time ago, with what was measured before and since.

        Raises
        ------
        StorageError
            If store or records do not answer.
        """
        now, node = self._clock(), self._plant.envelope[node_id]
        forecast = self._issued(node_id, now, ago_ms)
        begin = now - ago_ms - PAST_MS
        step = MINUTE_MS if ago_ms <= 6 * HOUR_MS else 5 * MINUTE_MS if ago_ms <= 48 * HOUR_MS else QUARTER_MS
        fine = self._plant.power_history(node_id, begin, now, step)
        quarters = self._plant.demand_history(node_id, begin - QUARTER_MS, now)
        end = now + AHEAD_MS if forecast is None else int(forecast.start[-1]) + QUARTER_MS
        newest = self._newest().get(node_id) or (None if ago_ms else forecast)
        return Foretold(
            now,
            node,
            merged(fine, quarters),
            _steps(node, begin, max(end, now)),
            forecast,
            Series(np.zeros(0, np.int64), np.zeros(0))
            if forecast is None
            else _came(forecast, quarters, now),
            None if newest is None else newest.ramps,
        )

    def worth(self, node_id: str) -> Worth:
        """Return what a node's forecasts of the last week were worth, as of some minutes ago."""
        if node_id not in self._scores:
            self._scores[node_id] = Lately(lambda: self._ask_worth(node_id), SCORES_MS, self._clock)
        return self._scores[node_id]()

    def planned(self) -> list[PlannedWork]:
        """Return what is planned for the next two days, as it is known now; the first of it, if it is much."""
        now = self._clock()
        return self._records.planned_work(now, now + AHEAD_MS, now)[:MOST_PLANNED]

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Ids of what may be lost in a question."""
        site = self._plant.site
        above = [n.id for n in self._plant.envelope if n.kind not in ("Site", "Rack")]
        return (*above, *site.cdus)

    @cached_property
    def _physics(self) -> WhatIf:
        return WhatIf(self._plant.site)

    def ask(self, scenario: Scenario) -> tuple[Answer, Forecast | None]:
        """Answer a what-if question, one at a time; with the forecast that it starts from.

        Raises
        ------
        InputError
            If the question names what the site does not have, or its power path is not described to the last busway.
        StorageError
            If the records do not answer.
        """
        now = self._clock()
        with self._asking:
            present = Present.of(self._plant, now - self._max_age_ms)
            if np.isnan(present.power).all():
                raise InputError("no rack tells its power now: nothing to start from")
            forecast = self._records.latest_forecast(self._plant.site.id)
            return self._physics.ask(scenario, present, forecast, now), forecast

    def _issued(self, node_id: str, now: int, ago_ms: int) -> Forecast | None:
        if not ago_ms:
            return self._records.latest_forecast(node_id)
        until = now - ago_ms
        found = self._records.issued("ActivePower", until - ISSUED_WITHIN_MS, until, [node_id])
        return found.get(node_id)

    def _ask_worth(self, node_id: str) -> Worth:
        now = self._clock()
        found = []
        for slot in self._records.scores("ActivePower", now - SCORED_MS, now + SLOT_MS):
            accuracy = by_lead([slot], [node_id])
            if accuracy:
                found.append((slot.start, accuracy))
        return Worth(found)


def _came(forecast: Forecast, quarters: Grid, now: int) -> Series:
    """Return what came in those intervals of a forecast that are over."""
    over = forecast.start[forecast.start + QUARTER_MS <= now]
    place = {int(t): i for i, t in enumerate(quarters.start.tolist())}
    row = quarters.values[0]
    value = [float(row[place[int(t)]]) if int(t) in place else math.nan for t in over]
    return Series(over, np.array(value))


def _steps(node: EnvelopeNode, start: int, end: int) -> Series:
    edges = {t for c in node.schedule for t in (c.start, c.end) if start < t < end}
    time = np.array(sorted({start, end} | edges), np.int64)
    return Series(time, np.array([node.limit_at(int(t)) for t in time]))
