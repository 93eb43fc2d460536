"""Conditions as rules make them, and times as people on site read them."""

from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

from alerts.rules.settings import RuleSettings
from domain.alert import Condition, Severity
from domain.catalogue import POINT_TYPES
from domain.points import Point


def condition(
    settings: RuleSettings,
    object_id: str,
    summary: str,
    value: float,
    limit: float,
    unit: str,
    observed: int,
    severity: Severity | None = None,
) -> Condition:
    """Return a condition of the rule with these settings."""
    return Condition(
        settings.name, object_id, severity or settings.severity, summary, value, limit, unit, observed
    )


def unknown(settings: RuleSettings, object_id: str) -> Condition:
    """Return the condition of an active alert of which nothing can be known now: it holds on."""
    return condition(settings, object_id, "", math.nan, math.nan, "", 0)


def measured_of(object_id: str, point: Point) -> str:
    """Return what a point measures, as a sentence about an object begins."""
    what = POINT_TYPES[point.point_type].description
    text = f"{object_id}: {what[:1].lower() if what[1:2].islower() else what[:1]}{what[1:]}"
    return text if point.object_id == object_id else f"{text} of {point.object_id}"


def lasting(seconds: float) -> str:
    """Return a time span as people write it: ``90 s``, ``2 min``, ``6 h``."""
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def local_time(time: int, zone: ZoneInfo, form: str = "%H:%M") -> str:
    """Return a time (UTC ms) as the site's clocks show it."""
    return datetime.fromtimestamp(time / 1000, zone).strftime(form)


def lasted(seconds: float) -> str:
    """Return a time span as people say it: ``12 s``, ``4 min 10 s``, ``2 h 5 min``."""
    whole = max(round(seconds), 0)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s"
