"""What every page's header is sent: texts, marks and rounded numbers, never whole figures.

A cell is ``[text, marks, tooltip, observed ms]``; marks are CSS classes. A missing value is an em dash and the mark
``missing``, a value of bad quality keeps its number and carries ``bad``. Not-a-number becomes null.
"""

from __future__ import annotations

import math
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

from dashboard import cells
from dashboard.glance import USUAL_DAYS
from dashboard.views import AHEAD_H, Header, Usual
from dashboard.words import say
from domain.breaches import BreachAhead
from domain.units import shown

Payload = dict[str, Any]

AGE_WARNING_MS, AGE_ALARM_MS = 10_000, 30_000
"""Age of the site's power from which the header turns amber, then red."""
MARGIN_WARNING = 0.03
"""Share of the limit that should be left; below it the header turns amber."""


def header(h: Header, zone: ZoneInfo) -> Payload:
    """Return the header that every page shows."""
    margin = h.limit - h.power.value
    age = h.now - h.held if h.held else None
    tight = "alarm" if margin < 0 else "warning" if margin < MARGIN_WARNING * h.limit else ""
    end = h.quarter_end.value
    risk = h.quarter_risk.value
    quarter_mark = "alarm" if end > h.quarter_limit else "warning" if risk > 0.05 else ""
    limit_note = (
        say("header.limit_changed", reason=h.limit_reason) if h.limit_reason else say("header.average")
    )
    open_alerts = sum(h.alerts.values())
    worst = next((s.value for s, n in h.alerts.items() if n), "")
    return {
        "now": h.now,
        "power": [h.power.observed, cells.rounded(h.power.value, 0)],
        "cells": {
            "site-power": cells.reading(h.power, "W", h.now, 4, tight),
            "site-usual": _usual(h.usual) if not h.batteries else _batteries(h.batteries),
            "site-limit": [cells.quantity(h.limit, "W", 4), "changed" if h.limit_reason else "", limit_note],
            "site-margin": [
                cells.quantity(margin, "W", 3),
                tight or cells.absent(margin),
                say("header.margin_hint"),
            ],
            "quarter-end": cells.reading(h.quarter_end, "W", h.now, 4, quarter_mark),
            "quarter-margin": [
                say("header.to_limit", margin=cells.signed(h.quarter_limit - end, "W"))
                if not math.isnan(end)
                else cells.DASH,
                quarter_mark or cells.absent(end),
                say("header.quarter_hint", limit=cells.quantity(h.quarter_limit, "W", 4)),
            ],
            "quarter-risk": [
                "" if math.isnan(risk) else say("header.risk", risk=cells.percent(risk)),
                quarter_mark,
                say("header.risk_hint"),
            ],
            **_breach_ahead(h.breach_ahead, h.now, zone),
            "clock-site": [cells.clock(h.now, zone), "", say("frame.site_time")],
            "clock-utc": [f"{cells.clock(h.now, UTC)} UTC", "", ""],
            "data-age": [
                cells.DASH if age is None else cells.duration(age),
                "alarm" if age is None or age > AGE_ALARM_MS else "warning" if age > AGE_WARNING_MS else "",
                say("header.age_hint"),
                h.power.observed,
            ],
            "alert-count": [str(open_alerts), worst, say("header.alerts_hint")],
            "alert-counts": [_alert_counts(h), "", ""],
            "store-state": [
                say("header.store" if h.store.available else "header.store_down", kind=h.store.kind),
                "" if h.store.available else "alarm",
                f"{h.store.version} {h.store.detail}".strip(),
            ],
        },
    }


def _batteries(power: float) -> cells.Cell:
    """Return what the feeds' meters do not see: while it lasts the site's power and margin look better than they are."""
    told = say("header.batteries", power=cells.quantity(power, "W", 3))
    return [told, "alarm", say("header.batteries_hint")]


def _usual(usual: Usual | None) -> cells.Cell:
    if usual is None:
        return ["", "", ""]
    low, high = (shown(v, "W", 3) for v in (usual.low, usual.high))
    if low.rpartition(" ")[2] == high.rpartition(" ")[2]:
        low = low.rpartition(" ")[0]
    return [say("header.usual", low=low, high=high), "", say("header.usual_hint", days=USUAL_DAYS)]


def _breach_ahead(ahead: BreachAhead | None, now: int, zone: ZoneInfo) -> dict[str, cells.Cell]:
    hint = say("header.ahead_hint", hours=AHEAD_H)
    if ahead is None:
        return {"breach-in": [cells.DASH, "missing", hint], "breach-risk": ["", "", hint]}
    at = ahead.likely
    mark = "" if at is None else "warning"
    value, told = f"> {AHEAD_H} h", ""
    if at is not None:
        value = cells.duration(at - now) if at > now else say("header.ahead_now")
        told = f" \u00b7 {cells.clock(max(at, now), zone, '%H:%M')}"
    risk = say("header.risk", risk=cells.percent(ahead.chance)) + told
    return {"breach-in": [value, mark, hint], "breach-risk": [risk, mark, hint]}


def _alert_counts(h: Header) -> str:
    told = [f"{n} {say(f'severity.{s}')}" for s, n in h.alerts.items() if n]
    return say("text.comma").join(told)
