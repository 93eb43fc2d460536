"""What issued forecasts say: an envelope that will likely be exceeded, a forecast that grows old."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from alerts.rules.condition import condition, local_time, unknown
from alerts.rules.settings import EnvelopePredicted, ForecastAge
from alerts.view import View
from domain.alert import Condition
from domain.breaches import BreachesAhead
from domain.forecast import Forecast
from domain.said import Quantity, Said, Span


class EnvelopePredictedRule:
    """A limit that will likely be passed within the time that it looks ahead."""

    def __init__(self, settings: EnvelopePredicted) -> None:
        self.settings = settings
        self._ahead = BreachesAhead()

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per forecast object that will likely pass its limit, naming its likeliest interval."""
        rule = self.settings
        objects = view.foretold(rule.objects)
        newest = view.forecasts(objects, rule.point_type)
        told = (self._of(o, newest.get(o), now, view, o in active) for o in objects)
        return [c for c in told if c is not None]

    def _of(
        self, object_id: str, forecast: Forecast | None, now: int, view: View, active: bool
    ) -> Condition | None:
        rule = self.settings
        length = 0 if forecast is None else forecast.interval_minutes * 60_000
        if forecast is None or len(forecast.start) == 0 or forecast.start[-1] + length <= now:
            return unknown(rule, object_id) if active else None
        ahead = self._ahead.of(forecast, now, rule.within)
        if ahead is None or ahead.chance < (rule.clear_probability if active else rule.probability):
            return None
        likeliest = ahead.likeliest
        start, zone = int(forecast.start[likeliest]), view.site.zone
        middle = int(np.argmin(np.abs(np.array(forecast.quantiles) - 0.5)))
        value, limit = float(forecast.values[likeliest, middle]), float(forecast.limit[likeliest])
        said = Said.of(
            "likely_to_exceed",
            object=object_id,
            chance=Quantity(round(ahead.chance, 2), "1", 1),
            limit=Quantity(limit, forecast.unit, 4),
            by=local_time(int(forecast.start[ahead.coming[-1]]) + length, zone, "%Y-%m-%d %H:%M"),
            first=local_time(start, zone),
            last=local_time(start + length, zone),
            value=Quantity(value, forecast.unit, 4),
            issued=local_time(forecast.issued, zone),
        )
        return condition(rule, object_id, said, value, limit, forecast.unit, forecast.issued)


class ForecastAgeRule:
    """No forecast was issued for too long."""

    def __init__(self, settings: ForecastAge) -> None:
        self.settings = settings

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per object whose newest forecast is too old, or that has none since the start."""
        rule = self.settings
        found = []
        objects = view.foretold(rule.objects)
        newest = view.forecasts(objects, rule.point_type)
        for object_id in objects:
            forecast = newest.get(object_id)
            if forecast is None and not view.is_foretold(object_id):
                continue
            # what was issued before this process started may be old without anybody being at fault yet
            issued = 0 if forecast is None else forecast.issued
            since = issued if issued and object_id in active else max(issued, view.started)
            age = (now - since) / 1000
            if age <= rule.after:
                continue
            said = Said.of(
                "no_forecast_yet" if forecast is None else "no_new_forecast",
                object=object_id,
                age=Span(60.0 * round(age / 60), counted=True),
                last=local_time(issued, view.site.zone, "%Y-%m-%d %H:%M"),
            )
            found.append(condition(rule, object_id, said, age, rule.after, "s", issued or now))
        return found
