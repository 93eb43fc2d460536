"""Conditions as rules make them, and times as people on site read them."""

from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

from alerts.rules.settings import RuleSettings
from domain.alert import Condition, Severity
from domain.points import Point
from domain.said import Field, Said, Term, measured


def condition(
    settings: RuleSettings,
    object_id: str,
    said: Said | str,
    value: float,
    limit: float,
    unit: str,
    observed: int,
    severity: Severity | None = None,
) -> Condition:
    """Return a condition of the rule with these settings."""
    return Condition(
        settings.name, object_id, severity or settings.severity, said, value, limit, unit, observed
    )


def unknown(settings: RuleSettings, object_id: str) -> Condition:
    """Return the condition of an active alert of which nothing can be known now: it holds on."""
    return condition(settings, object_id, "", math.nan, math.nan, "", 0)


def measured_of(object_id: str, point: Point) -> Field:
    """Return what a point measures, and of what where that is not the object that the sentence is about."""
    what: Field = measured(point.point_type)
    if point.point_type == "TimeToLimit" and point.process_area:  # an object has several parts that wear
        what = Said.of("until_worn", part=Term("wear", point.process_area[0]))
    return what if point.object_id == object_id else Said.of("measured_of", what=what, of=point.object_id)


def local_time(time: int, zone: ZoneInfo, form: str = "%H:%M") -> str:
    """Return a time (UTC ms) as the site's clocks show it."""
    return datetime.fromtimestamp(time / 1000, zone).strftime(form)
