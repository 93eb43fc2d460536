"""From what the console knows to what a browser is sent: texts, marks and rounded numbers, never whole figures.

A cell is ``[text, marks, tooltip, observed ms]``; marks are CSS classes. A missing value is an em dash and the mark
``missing``, a value of bad quality keeps its number and carries ``bad``. Not-a-number becomes null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from dashboard import alarm_frames, cells
from dashboard.data import ConsoleData
from dashboard.views import (
    AHEAD_H,
    SPANS,
    STALE_MS,
    BreachAhead,
    CduState,
    Floor,
    Header,
    Health,
    RackState,
    Series,
    SupplyState,
    Work,
)
from dashboard.words import count, say, term
from domain.errors import StorageError
from domain.forecast import Forecast
from domain.site import Site
from domain.units import shown
from storage.plant import Reading

Payload = dict[str, Any]

FAN = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that the forecast fan shows."""
AGE_WARNING_MS, AGE_ALARM_MS = 10_000, 30_000
"""Age of the site's power from which the header turns amber, then red."""
MOST_AGES = 200
"""Sources of points that the health page lists, the longest silent first."""
MARGIN_WARNING = 0.03
OFF_WARNING_S = 30.0
"""A source's clock that is further off is marked."""
SOON_DAYS = 30.0
"""Parts that reach their limit within so many days are marked."""
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


def _breach_ahead(ahead: BreachAhead | None, now: int, zone: ZoneInfo) -> dict[str, cells.Cell]:
    hint = say("header.ahead_hint", hours=AHEAD_H)
    if ahead is None:
        return {"breach-in": [cells.DASH, "missing", hint], "breach-risk": ["", "", hint]}
    mark = "warning" if ahead.at else ""
    value, told = f"> {AHEAD_H} h", ""
    if ahead.at:
        value = cells.duration(ahead.at - now) if ahead.at > now else say("header.ahead_now")
        told = f" \u00b7 {cells.clock(max(ahead.at, now), zone, '%H:%M')}"
    risk = say("header.risk", risk=cells.percent(ahead.risk)) + told
    return {"breach-in": [value, mark, hint], "breach-risk": [risk, mark, hint]}


def floor(f: Floor, site: Site) -> Payload:
    """Return four figures a rack, in the order of the site's racks; `marks` name what is bad or old."""
    metrics = {
        "power": (f.power, 1e-3, 1),
        "return": (f.return_temperature, 1.0, 1),
        "gpu": (f.gpu_temperature, 1.0, 1),
        "anomaly": (f.anomaly, 1.0, 2),
    }
    return {
        "values": {
            k: cells.numbers(now.value * scale, digits) for k, (now, scale, digits) in metrics.items()
        },
        "marks": {k: cells.marked(now, f.now) for k, (now, _, _) in metrics.items()},
        "limits": {
            "power": round(site.rack_limit / 1e3),
            "return": site.thermal.coolant_return,
            "gpu": site.thermal.gpu,
            "anomaly": 1.0,
        },
        "severity": {rack: severity.value for rack, severity in f.severity.items()},
    }


def cooling(cdus: list[CduState], now: int, limit: float) -> Payload:
    """Return the CDU table, worst first."""
    rows = []
    for c in cdus:
        hot = "alarm" if c.supply.value > limit else "warning" if c.supply.value > limit - 2 else ""
        down = "alarm" if c.running is False else ""
        thin = "" if c.redundancy in ("N+1", "") else "warning" if c.redundancy == "N" else "alarm"
        rows.append(
            {
                "id": f"cdu-{c.id}",
                "mark": c.severity.value if c.severity else down,
                "cells": [
                    cells.thing(c.id),
                    cells.reading(c.supply, "Cel", now, 3, hot, bare=True),
                    cells.reading(c.back, "Cel", now, 3, bare=True),
                    cells.number(c.flow, 1.0, 0, now),
                    cells.number(c.pressure, 1e-3, 0, now),
                    cells.number(c.pump, 100.0, 0, now),
                    [c.status or cells.DASH, down or ("" if c.status else "missing")],
                    [_redundancy(c), thin or ("" if c.redundancy else "missing")],
                ],
            }
        )
    known = [c.running for c in cdus if c.running is not None]
    summary = say("cooling.running", n=sum(known), all=len(cdus)) if known else say("cooling.unknown")
    return {"rows": rows, "cells": {"cooling-summary": [summary, "alarm" if not all(known) else ""]}}


def _redundancy(c: CduState) -> str:
    """Return how a CDU's group stands: ``N+1``, ``N``, or how many of it are down."""
    n, _, down = c.redundancy.partition(" ")
    return say("cooling.down", n=n) if down else c.redundancy or cells.DASH


def supply(nodes: list[SupplyState], now: int) -> Payload:
    """Return feeds and UPSes with their load."""
    rows = []
    for s in nodes:
        share = s.power.value / s.limit if s.limit else math.nan
        mark = "alarm" if share > 1 else "warning" if share > 0.9 else ""
        battery: cells.Cell = ["", ""] if s.kind == "Feed" else cells.number(s.charge, 100.0, 0, now)
        rows.append(
            {
                "id": f"supply-{s.id}",
                "mark": s.severity.value if s.severity else "",
                "bar": cells.rounded(share, 3),
                "cells": [
                    cells.thing(s.id),
                    cells.reading(s.power, "W", now, 3, mark),
                    [
                        cells.percent(share),
                        mark or cells.absent(share),
                        "; ".join(
                            t
                            for t in (
                                say("supply.of", limit=cells.quantity(s.limit, "W", 3)),
                                _ahead(s.ahead, now),
                                _risk(s.risk.value),
                            )
                            if t
                        ),
                    ],
                    battery,
                    ["", ""] if s.kind == "Feed" else cells.number(s.runtime, 1 / 60, 0, now),
                    ["", ""] if s.kind == "Feed" else [s.status or cells.DASH, _ups_mark(s.status)],
                ],
            }
        )
    return {"rows": rows}


def _ahead(forecast: Forecast | None, now: int) -> str:
    """Return the highest quarter hour that is forecast of a node from now on: its median, and what 95 % stay under."""
    if forecast is None:
        return ""
    coming = forecast.start + forecast.interval_minutes * 60_000 > now
    if not coming.any():
        return ""
    middle, high = (cells.quantity(float(forecast.quantile(q)[coming].max()), "W", 3) for q in (0.5, 0.95))
    hours = (int(forecast.start[-1]) + forecast.interval_minutes * 60_000 - now) / 3_600_000
    return say("supply.foretold", middle=middle, hours=f"{hours:.0f}", high=high)


def _risk(risk: float) -> str:
    return "" if math.isnan(risk) else say("supply.risk", risk=cells.percent(risk))


def work(w: Work, now: int) -> Payload:
    """Return the token figures."""
    rate = w.rate.value
    million = cells.DASH if math.isnan(rate) else f"{rate / 1e6:.2f} M/s"
    joule = cells.DASH if math.isnan(w.efficiency.value) else f"{w.efficiency.value:.3f}"
    unseen = w.gpus_installed - w.gpus_seen
    return {
        "cells": {
            "token-rate": [million, cells.trust(w.rate, now), cells.missing_members(w.rate), w.rate.observed],
            "token-efficiency": [
                joule,
                cells.trust(w.efficiency, now),
                say("work.efficiency_hint"),
            ],
            "gpu-count": [
                f"{cells.thousands(w.gpus_seen)} / {cells.thousands(w.gpus_installed)}",
                "warning" if unseen > 0 else "",
                count("work.unseen", unseen),
            ],
        }
    }


def power_chart(
    series: Series, limit: Series, forecast: Forecast | None, now: int, zone: ZoneInfo
) -> Payload:
    """Return the measured line, the stepwise limit and the forecast fan, W in MW, times on the site's wall clock."""
    payload: Payload = {
        "now": int(cells.wall(np.array([now]), zone)[0]),
        "offset": int(cells.wall(np.array([now]), zone)[0]) - now,
        "time": cells.wall(series.time, zone).tolist(),
        "power": cells.numbers(series.value / 1e6, 3),
        "limitTime": cells.wall(limit.time, zone).tolist(),
        "limit": cells.numbers(limit.value / 1e6, 3),
        "fan": None,
    }
    if forecast is not None:
        payload["fan"] = _fan(forecast, now, zone, 1e6)
    return payload


def _fan(forecast: Forecast, now: int, zone: ZoneInfo, scale: float) -> Payload:
    """Return what a forecast says of the running and the coming intervals, in units of `scale` W."""
    step = forecast.interval_minutes * 60_000
    keep = forecast.start + step > now
    return {
        "time": cells.wall(forecast.start[keep] + step // 2, zone).tolist(),
        "quantiles": [cells.numbers(forecast.quantile(q)[keep] / scale, 3) for q in FAN],
        "risk": cells.numbers(forecast.breach_probability[keep], 4),
        "issued": cells.date(forecast.issued, zone),
        "model": forecast.model,
        "quality": "" if forecast.quality == "good" else term("forecast_quality", forecast.quality),
    }


_GRADES = {"GpuFault": "fault", "GpuDegraded": "degraded", "GpuNotice": "notice"}


def rack(r: RackState | None, data: ConsoleData) -> Payload:
    """Return everything of one rack but its history."""
    if r is None:
        return {"rack": None}
    thermal = data.site.thermal
    share = r.power.value / r.limit
    load = "alarm" if share > 1 else "warning" if share > 0.95 else ""
    warm = "alarm" if r.back.value > thermal.coolant_return else ""
    cold = "alarm" if r.supply.value > thermal.coolant_supply else ""
    rise = Reading(r.back.value - r.supply.value, min(r.back.observed, r.supply.observed), r.back.quality, 0)
    figures: dict[str, cells.Cell] = {
        "rack-power": cells.reading(r.power, "W", r.now, 4, load),
        "rack-load": [
            cells.percent(share),
            load or cells.absent(share),
            say("supply.of", limit=cells.quantity(r.limit, "W", 3)),
        ],
        "rack-supply": cells.reading(r.supply, "Cel", r.now, 3, cold),
        "rack-return": cells.reading(r.back, "Cel", r.now, 3, warm),
        "rack-rise": cells.number(rise, 1.0, 1, r.now, " K"),
        "rack-flow": cells.number(r.flow, 1.0, 0, r.now, " L/min"),
        "rack-pressure": cells.number(r.pressure, 1e-3, 0, r.now, " kPa"),
        "rack-valve": cells.number(r.valve, 100.0, 0, r.now, " %"),
        "rack-leak": [r.leak or cells.DASH, "alarm" if r.leaking else "" if r.leak else "missing"],
        "rack-modules": cells.reading(r.module_power, "W", r.now, 3),
        "rack-anomaly": cells.number(r.anomaly, 1.0, 2, r.now, mark="warning" if r.anomaly.value > 1 else ""),
    }
    total = sum(t.power.value for t in r.taps)
    for i, letter in enumerate("ab"):
        tap = r.taps[i] if i < len(r.taps) else None
        value = tap.power.value if tap else math.nan
        part = value / total if total else math.nan
        figures[f"rack-tap-{letter}"] = (
            cells.reading(tap.power, "W", r.now, 3) if tap else [cells.DASH, "missing"]
        )
        figures[f"rack-tap-{letter}-share"] = [cells.percent(part), cells.absent(part), tap.id if tap else ""]
    return {
        "rack": r.id,
        "now": r.now,
        "power": [r.power.observed, cells.rounded(r.power.value / 1e3, 2)],
        "cells": figures,
        "gpus": {
            "temperature": cells.numbers(r.gpu_temperature.value, 1),
            "power": cells.numbers(r.gpu_power.value, 0),
            "marks": cells.marked(r.gpu_temperature, r.now),
            "ids": list(r.gpu_ids),
            "limit": thermal.gpu,
            "powerLimit": r.gpu_power_limit,
        },
        "paths": [[[s.id, cells.quantity(s.power.value, "W", 3)] for s in path] for path in r.paths],
        "cdus": list(r.cdus),
        "points": [
            [
                p.point.object_id,
                p.point.point_type + (f" {'/'.join(p.point.process_area)}" if p.point.process_area else "")
                + (f" {p.point.phase}" if p.point.phase else "") + (say("rack.not_used") if p.instead else ""),
                cells.point_value(p),
                cells.quality_told(p, data.site.racks),
                cells.duration(r.now - p.observed) if p.observed else cells.DASH,
                cells.trust(Reading(p.value, p.observed, p.quality, 0), r.now),
                p.point.key + (say("rack.told_by", point=p.instead) if p.instead else ""),
            ]
            for p in r.points
        ],
        "alerts": [alarm_frames.alert_row(a, data) for a in r.alerts],
        "findings": [
            [
                p.point.object_id,
                say(f"grade.{_GRADES[p.point.point_type]}"),
                p.point.state_label(1),
                cells.duration(r.now - p.observed),
                _GRADES[p.point.point_type],
            ]
            for p in r.gpu_findings
        ],
    }  # fmt: skip


def rack_charts(data: ConsoleData, rack_id: str, span: str, at: int = 0) -> Payload:
    """Return the charts of one rack: its past over one of `SPANS`, and what is forecast of its power.

    With `at` (UTC ms) they are of that moment, a quarter of the span after it included, and of the forecast as issued then.
    """
    now = data.clock()
    end = min(at + SPANS[span][0] // 4, now) if 0 < at < now else now
    try:
        found, trouble = data.rack_history(rack_id, span, end), ""
        forecast = (data.at(at) if end < now else data).forecast(rack_id)
    except StorageError as error:
        found, forecast, trouble = {}, None, str(error)
    past = end < now
    charts = rack_history(found, forecast, rack_id, span, end, data.site.zone, at if past else 0)
    return charts | {
        "trouble": trouble,
        "moment": cells.wall(np.array([at]), data.site.zone).tolist()[0] if past else "",
        "momentText": cells.date(at, data.site.zone) if past else "",
    }


def rack_history(
    history: Mapping[str, Series],
    forecast: Forecast | None,
    rack_id: str,
    span: str,
    now: int,
    zone: ZoneInfo,
    at: int = 0,
) -> Payload:
    """Return the lines of one rack's charts up to `now`, power in kW; the forecast (from `at` on) reaches as far ahead as the past goes back."""
    length = SPANS[span][0]
    start, end, ahead = cells.wall(np.array([now - length, now, now + length]), zone).tolist()
    fan = None if forecast is None else _fan(forecast, at or now, zone, 1e3)
    if fan is None or not fan["time"]:
        fan, ahead = None, end
    return {
        "start": start,
        "end": end,
        "ahead": min(ahead, fan["time"][-1]) if fan else end,
        "fan": fan,
        "rack": rack_id,
        "span": span,
        "lines": {
            point_type: {
                "time": cells.wall(s.time, zone).tolist(),
                "value": cells.numbers(s.value / (1e3 if point_type == "RackPower" else 1.0), 2),
            }
            for point_type, s in history.items()
        },
    }


def health(h: Health, zone: ZoneInfo) -> Payload:
    """Return the health page's tables."""
    sources = [row for name, stats in sorted(h.sources.items()) for row in _source_rows(name, stats)]
    ages = [
        {
            "id": f"age-{a.source}",
            "mark": "",
            "cells": [
                [a.source or cells.DASH, "name"],
                [cells.thousands(a.points), ""],
                [
                    cells.duration(h.now - a.newest) if a.newest else say("health.never"),
                    "old" if a.newest and h.now - a.newest > STALE_MS else "" if a.newest else "warning",
                ],
            ],
        }
        for a in h.ages[:MOST_AGES]
    ]
    counters = [
        {
            "id": f"counter-{name}",
            "mark": "",
            "cells": [[cells.words(name), "name"], [cells.counter(value), ""]],
        }
        for name, value in h.counters.items()
    ]
    s = h.store
    store = {
        "kind": s.kind,
        "version": s.version,
        "answers": say("cell.yes" if s.available else "cell.no"),
        "detail": s.detail or cells.DASH,
        "rows": cells.DASH if s.rows is None else cells.thousands(s.rows),
        "size": cells.DASH if s.size_bytes is None else shown(s.size_bytes, "By"),
        "points-known": cells.thousands(h.points),
    }
    f = h.forecast
    forecast = {"issued": cells.DASH} if f is None else {
        "issued": cells.date(f.issued, zone, "long"),
        "age": cells.duration(h.now - f.issued),
        "data-until": cells.date(f.data_cutoff, zone),
        "model": f.model,
        "quality": term("forecast_quality", f.quality),
        "horizon": f"{len(f.start) * f.interval_minutes / 60:.0f} h",
    }  # fmt: skip
    return {
        "sources": sources,
        "ages": ages,
        "cells": {"ages-summary": [_ages_summary(h), ""]},
        "counters": counters,
        "store": [_pair("store", k, v) for k, v in store.items()],
        "forecast": [_pair("forecast", k, v) for k, v in forecast.items()],
        "worth": [_worth_row(row) for row in h.worth] or [_nothing("worth", say("health.none_due"))],
        "upkeep": [_worn_row(row) for row in h.upkeep] or [_nothing("upkeep", say("health.none_worn"))],
        "instruments": [_instrument_row(row) for row in h.instruments]
        or [_nothing("instruments", say("health.none_lies"))],
        "clocks": _clock_rows(h.clocks) or [_nothing("clocks", say("health.none_off"))],
    }


def power(data: ConsoleData) -> Payload:
    """Return the chart of the site's power: the last hours, and what is forecast."""
    now = data.clock()
    series, forecast = data.power_series(), data.forecast()
    end = now + 48 * 3_600_000 if forecast is None else int(forecast.start[-1]) + 900_000
    return power_chart(series, data.limit_steps(now - 6 * 3_600_000, end), forecast, now, data.site.zone)


def _ups_mark(status: str) -> str:
    """Return the mark of a UPS's state, told in words that differ from maker to maker."""
    if not status:
        return "missing"
    return ("", "", "warning", "alarm")[cells.alarming(status)]


def _alert_counts(h: Header) -> str:
    told = [f"{n} {say(f'severity.{s}')}" for s, n in h.alerts.items() if n]
    return say("text.comma").join(told)


def _source_rows(name: str, stats: Mapping[str, Any]) -> list[Payload]:
    """Return a row of a collector's plain counters, and one for each list or table that holds anything."""
    plain = {k: v for k, v in stats.items() if not isinstance(v, Mapping | list | tuple)}
    rows = [
        _source_row(
            f"source-{name}",
            name,
            " \u00b7 ".join(f"{cells.words(k)} {cells.counter(v)}" for k, v in plain.items()),
        )
    ]
    for key, value in stats.items():
        if key not in plain and value:
            rows.append(
                _source_row(f"source-{name}-{key}", f"{name} {cells.words(key)}", cells.counter(value))
            )
    return rows


def _source_row(row_id: str, name: str, text: str) -> Payload:
    return {"id": row_id, "mark": "", "cells": [[name, "name"], [text, ""]]}


def _worn_row(row: Mapping[str, Any]) -> Payload:
    """Return a line of the maintenance list; days, and a dash where there may be no end."""

    def days(name: str) -> str:
        value = row[name]
        return (
            cells.DASH
            if value is None
            else say("health.now")
            if value == 0
            else say("span.days", d=f"{value:.0f}")
        )

    left = row["days_left"]
    mark = "warning" if left is not None and left <= SOON_DAYS else ""
    return {
        "id": f"upkeep-{row['object']}-{row['what']}".replace(" ", "-"),
        "mark": mark,
        "cells": [
            cells.thing(row["object"]),
            [term("wear", row["what"]), ""],
            [f"{row['now']:.2f}", ""],
            [f"{row['limit']:.2f}", ""],
            [days("days_left"), mark],
            [say("health.from_to", first=days("earliest"), last=days("latest")), ""],
            [term("wear", row["advice"]), ""],
        ],
    }


def _worth_row(row: Mapping[str, Any]) -> Payload:
    """Return a line of what forecasts were worth; the verdict is that of its lead time."""

    def number(name: str, digits: int) -> str:
        value = row[name]
        return cells.DASH if math.isnan(value) else f"{value:.{digits}f}"

    mark = "warning" if row["state"] not in (None, "Good") else ""
    worse = "warning" if row["to_persistence"] > 1 else ""
    unscored = [say(f"health.{name}", n=row[name]) for name in ("missing", "revised") if row[name]]
    return {
        "id": f"worth-{row['forecast']}-{row['lead']}".replace(" ", "-"),
        "mark": mark,
        "cells": [
            [term("worth", row["forecast"]), "name"],
            [term("worth", row["ahead"]), ""],
            [cells.percent(row["coverage"]), mark, say("health.inside_hint")],
            [cells.quantity(row["error"], row["unit"], 3), "", say("health.error_hint")],
            [number("to_persistence", 2), worse, say("health.persistence_hint")],
            [number("to_naive", 2), "", say("health.naive_hint")],
            [number("brier", 3), "", count("health.brier_hint", row["breaches"])],
            [cells.thousands(row["scored"]), "", say("text.comma").join(unscored)],
            [
                term("worth", row["state"]) if row["state"] else say("health.not_known"),
                mark or ("" if row["state"] else "muted"),
            ],
        ],
    }


def _instrument_row(row: Mapping[str, Any]) -> Payload:
    return {
        "id": f"instrument-{row['object']}-{row['quantity']}".replace(" ", "-"),
        "mark": "warning",
        "cells": [
            cells.thing(row["object"]),
            [term("quantity", cells.words(row["quantity"])), ""],
            [term("verdict", cells.words(row["verdict"])), ""],
            [
                say("health.estimate" if row["estimated"] else "health.nothing"),
                "estimated" if row["estimated"] else "missing",
            ],
        ],
    }


def _clock_rows(clocks: Mapping[str, Any]) -> list[Payload]:
    """Return a line for each source whose clock is off or was stepped, after one for our own where many say so."""
    ours = clocks.get("our_own_off_s", 0.0)
    told = [("ours", say("health.own_clock"), _off(ours), "alarm", "", "")] if ours else []
    for name, clock in clocks.get("off", {}).items():
        mark = "warning" if abs(clock["offset_s"]) >= OFF_WARNING_S else ""
        drift = clock["drift_s_per_minute"]
        shown_drift = f"{drift:+.2f} s/min" if drift else ""
        told.append((name, name, _off(clock["offset_s"]), mark, shown_drift, str(clock["steps"] or "")))
    return [
        {
            "id": f"clock-{row}".replace(" ", "-"),
            "mark": mark,
            "cells": [[name, "name"], [off, mark], [drift, ""], [steps, ""]],
        }
        for row, name, off, mark, drift, steps in told
    ]


def _off(seconds: float) -> str:
    return say("health.clock_ahead" if seconds > 0 else "health.clock_behind", s=f"{abs(seconds):.1f}")


def _nothing(table: str, text: str) -> Payload:
    return {"id": f"{table}-none", "mark": "", "cells": [[text, "muted"]]}


def _ages_summary(h: Health) -> str:
    late = sum(h.now - a.newest > STALE_MS for a in h.ages)
    return say("health.late", late=late, all=cells.thousands(len(h.ages)))


def _pair(table: str, key: str, value: str) -> Payload:
    return {
        "id": f"{table}-{key.replace(' ', '-')}",
        "mark": "",
        "cells": [[say(f"{table}.{key}"), "name"], [value, ""]],
    }
