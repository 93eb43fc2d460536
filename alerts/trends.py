"""How the quantity behind an alert went and will go: what the picture of a page shows. Asks store and records; it may take long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from alerts.notify.facts import Trend
from alerts.rules.settings import (
    AnyRule,
    EnvelopeExceeded,
    EnvelopePredicted,
    ForecastAge,
    Limit,
    StaleSource,
)
from alerts.view import View
from domain.alert import Alert
from domain.points import IntArray
from storage.telemetry import Aggregate

HOUR_MS = 3_600_000
STEP_MS = 60_000
AHEAD_MS = {True: 6 * HOUR_MS, False: HOUR_MS}
"""How much of the forecast is shown: of a breach that is only foretold, and otherwise."""
_INSTEAD = {"Rack": ("RackLiquidFlow", "RackPower"), "CDU": ("LiquidFlow",), "UPS": ("BatteryCharge",)}
"""What is shown of an object whose alert is about a state."""
_FORETOLD = (
    ("ExpectedSupplyTemperature", "RackLiquidSupplyTemperature", "coolant_supply"),
    ("ExpectedReturnTemperature", "RackLiquidReturnTemperature", "coolant_return"),
    ("ExpectedGpuTemperature", "GpuTemperature", "gpu"),
)
_NOTHING = np.array([], np.int64), np.array([]), np.array([]), np.array([])


class Trends:
    """Finds what to show of an alert.

    Parameters
    ----------
    view
        What rules look at, too.
    rules
        By name.
    """

    def __init__(self, view: View, rules: Mapping[str, AnyRule]) -> None:
        self._view = view
        self._rules = rules

    def of(self, alert: Alert, now: int) -> Trend | None:
        """Return the last hour of the quantity behind an alert, and its forecast; None where there is none. Blocks.

        Raises
        ------
        StorageError
            If the store or the records cannot be read now.
        """
        rule, object_id = self._rules.get(alert.condition.rule), alert.condition.object_id
        if isinstance(rule, StaleSource | ForecastAge) or rule is None:
            return None
        about_power = isinstance(rule, EnvelopeExceeded | EnvelopePredicted) or (
            isinstance(rule, Limit) and "PowerBreachProbability" in rule.points
        )
        if about_power or object_id in self._feeds():
            return self._power(object_id, now, ahead=not isinstance(rule, EnvelopeExceeded))
        if isinstance(rule, Limit):
            for point_type, limit in self._limited(rule, object_id):
                if (found := self._measured(object_id, point_type, limit, now)) is not None:
                    return found
            return None
        thing = self._view.topology().objects.get(object_id)
        for point_type in _INSTEAD.get(thing.type if thing is not None else "", ()):
            if (found := self._measured(object_id, point_type, math.nan, now)) is not None:
                return found
        return None

    def _feeds(self) -> set[str]:
        return {node.id for node in self._view.nodes if node.kind == "Feed"}

    def _limited(self, rule: Limit, object_id: str) -> Iterator[tuple[str, float]]:
        """Yield the point types of a limit rule with their limits; of a foretold one those that come nearest first."""
        thermal = self._view.site.thermal
        if "TemperatureBreachProbability" not in rule.points:
            yield from ((point_type, rule.bound(thermal)) for point_type in rule.points)
            return
        near = []
        for expected, point_type, name in _FORETOLD:
            value = self._view.values(self._points(object_id, expected))
            limit = float(getattr(thermal, name))
            if len(value) and not np.isnan(value).all():
                near.append((limit - float(np.nanmax(value)), point_type, limit))
        yield from ((point_type, limit) for _, point_type, limit in sorted(near))

    def _points(self, object_id: str, point_type: str) -> IntArray:
        """Return an object's points of a type; those of its parts where it has none itself."""
        registry = self._view.registry
        own = registry.select(point_type=point_type, object_id=object_id)
        if len(own):
            return own
        parts = [
            registry.select(point_type=point_type, object_id=member) for member in registry.members(object_id)
        ]
        return np.concatenate(parts) if parts else own

    def _measured(self, object_id: str, point_type: str, limit: float, now: int) -> Trend | None:
        points = self._points(object_id, point_type)
        values = self._view.values(points)
        if len(points) == 0 or np.isnan(values).all():
            return None
        worst = int(points[int(np.nanargmax(values))])
        grid = self._view.plant.history(
            np.array([worst], np.int32), now - HOUR_MS, now, STEP_MS, Aggregate.TIME_WEIGHTED
        )
        measured = self._view.registry[worst]
        times = np.append(grid.start, now)
        shown = np.append(grid.values[0], float(np.nanmax(values)))
        return Trend(measured.object_id, point_type, measured.unit, times, shown, limit, *_NOTHING)

    def _power(self, node: str, now: int, *, ahead: bool) -> Trend | None:
        plant = self._view.plant
        known = {n.id: n for n in self._view.nodes}
        if node not in known:
            return None
        grid = plant.power_history(node, now - HOUR_MS, now, STEP_MS)
        limit = known[node].limit_at(now)
        coming = _NOTHING
        forecast = self._view.newest_forecast(node)
        if forecast is not None:
            middle = forecast.start + forecast.interval_minutes * 30_000
            shown = (middle > now) & (middle < now + AHEAD_MS[ahead])
            low, half, high = (forecast.quantile(level)[shown] for level in (0.05, 0.5, 0.95))
            coming = (middle[shown], low, half, high)
        power = plant.power_now(node)
        times, values = np.append(grid.start, now), np.append(grid.values[0], power.value)
        return Trend(node, "power", "W", times, values, limit, *coming)
