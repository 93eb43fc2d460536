"""From what the console knows to what a browser is sent: texts, marks and rounded numbers, never whole figures.

A cell is ``[text, marks, tooltip, observed ms]``; marks are CSS classes. A missing value is an em dash and the mark
``missing``, a value of bad quality keeps its number and carries ``bad``. Not-a-number becomes null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from dashboard.data import (
    STALE_MS,
    CduState,
    ConsoleData,
    Floor,
    Header,
    Health,
    Now,
    RackState,
    Reading,
    Series,
    SupplyState,
    Work,
)
from domain.alert import Alert
from domain.forecast import Forecast
from domain.points import Quality, TimeArray, ValueArray
from domain.site import Site
from domain.units import shown

Cell = list[Any]
Payload = dict[str, Any]

DASH = "\u2014"
FAN = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that the forecast fan shows."""
AGE_WARNING_MS, AGE_ALARM_MS = 10_000, 30_000
"""Age of the site's power from which the header turns amber, then red."""
MARGIN_WARNING = 0.03
"""Share of the limit that should be left; below it the header turns amber."""


def section(data: ConsoleData, name: str) -> Payload:
    """Return the payload of one section: ``header``, ``floor``, ..., or ``rack:R001``."""
    kind, _, which = name.partition(":")
    build: Mapping[str, Callable[[], Payload]] = {
        "header": lambda: header(data.header(), data.site.zone),
        "floor": lambda: floor(data.floor(), data.site),
        "cooling": lambda: cooling(data.cooling(), data.clock(), data.site.thermal.coolant_supply),
        "supply": lambda: supply(data.supply(), data.clock()),
        "work": lambda: work(data.work(), data.clock()),
        "alerts": lambda: alerts(data.active_alerts(), data),
        "power": lambda: _power(data),
        "rack": lambda: rack(data.rack(which), data),
        "health": lambda: health(data.health(), data.site.zone),
    }
    return build[kind]()


def header(h: Header, zone: ZoneInfo) -> Payload:
    """Return the header that every page shows."""
    margin = h.limit - h.power.value
    age = h.now - h.power.observed if h.power.observed else None
    tight = "alarm" if margin < 0 else "warning" if margin < MARGIN_WARNING * h.limit else ""
    end = h.quarter_end.value
    risk = h.quarter_risk.value
    quarter_mark = "alarm" if end > h.limit else "warning" if risk > 0.05 else ""
    limit_note = f"changed by schedule: {h.limit_reason}" if h.limit_reason else "15-minute average"
    open_alerts = sum(h.alerts.values())
    worst = next((s.value for s, n in h.alerts.items() if n), "")
    return {
        "now": h.now,
        "power": [h.power.observed, _round(h.power.value, 0)],
        "cells": {
            "site-power": _reading(h.power, "W", h.now, 4, tight, hint=_missing_note(h.power)),
            "site-limit": [_text(h.limit, "W", 4), "changed" if h.limit_reason else "", limit_note],
            "site-margin": [_text(margin, "W", 3), tight or _absent(margin), "limit less power now"],
            "quarter-end": _reading(h.quarter_end, "W", h.now, 4, quarter_mark),
            "quarter-margin": [
                _signed(h.limit - end, "W") + " to limit" if not math.isnan(end) else DASH,
                quarter_mark or _absent(end),
                "" if math.isnan(risk) else f"{_percent(risk)} likely to end above the limit",
            ],
            "quarter-risk": [_percent(risk), quarter_mark or _absent(risk), "risk of ending above the limit"],
            "clock-site": [_clock(h.now, zone), "", "site time"],
            "clock-utc": [_clock(h.now, UTC), "", "UTC"],
            "data-age": [
                DASH if age is None else duration(age),
                "alarm" if age is None or age > AGE_ALARM_MS else "warning" if age > AGE_WARNING_MS else "",
                "age of the oldest reading in the site's power",
                h.power.observed,
            ],
            "alert-count": [str(open_alerts), worst, _alert_counts(h)],
            "store-state": [
                h.store.kind if h.store.available else f"{h.store.kind} does not answer".strip(),
                "" if h.store.available else "alarm",
                f"{h.store.version} {h.store.detail}".strip(),
            ],
        },
    }


def floor(f: Floor, site: Site) -> Payload:
    """Return four figures a rack, in the order of the site's racks; `marks` name what is bad or old."""
    metrics = {
        "power": (f.power, 1e-3, 1),
        "return": (f.return_temperature, 1.0, 1),
        "gpu": (f.gpu_temperature, 1.0, 1),
        "anomaly": (f.anomaly, 1.0, 2),
    }
    return {
        "values": {k: _numbers(now.value * scale, digits) for k, (now, scale, digits) in metrics.items()},
        "marks": {k: _marks(now, f.now) for k, (now, _, _) in metrics.items()},
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
                    [c.id, "name"],
                    _reading(c.supply, "Cel", now, 3, hot, unit_shown=False),
                    _reading(c.back, "Cel", now, 3, unit_shown=False),
                    _number(c.flow, 1.0, 0, now),
                    _number(c.pressure, 1e-3, 0, now),
                    _number(c.pump, 100.0, 0, now),
                    [c.status or DASH, down or ("" if c.status else "missing")],
                    [c.redundancy or DASH, thin or ("" if c.redundancy else "missing")],
                ],
            }
        )
    known = [c.running for c in cdus if c.running is not None]
    summary = f"{sum(known)} of {len(cdus)} running" if known else "no state known"
    return {"rows": rows, "cells": {"cooling-summary": [summary, "alarm" if not all(known) else ""]}}


def supply(nodes: list[SupplyState], now: int) -> Payload:
    """Return feeds and UPSes with their load."""
    rows = []
    for s in nodes:
        share = s.power.value / s.limit if s.limit else math.nan
        mark = "alarm" if share > 1 else "warning" if share > 0.9 else ""
        battery = [DASH, ""] if s.kind == "Feed" else _number(s.charge, 100.0, 0, now)
        rows.append(
            {
                "id": f"supply-{s.id}",
                "mark": s.severity.value if s.severity else "",
                "bar": _round(share, 3),
                "cells": [
                    [s.id, "name"],
                    _reading(s.power, "W", now, 3, mark),
                    [_percent(share), mark or _absent(share), f"of {_text(s.limit, 'W', 3)}"],
                    battery,
                    [s.status or DASH, "" if s.status else "missing"],
                ],
            }
        )
    return {"rows": rows}


def work(w: Work, now: int) -> Payload:
    """Return the token figures."""
    rate = w.rate.value
    million = DASH if math.isnan(rate) else f"{rate / 1e6:.2f} M/s"
    joule = DASH if math.isnan(w.efficiency.value) else f"{w.efficiency.value:.3f}"
    unseen = w.gpus_installed - w.gpus_seen
    return {
        "cells": {
            "token-rate": [million, _mark(w.rate, now), _missing_note(w.rate), w.rate.observed],
            "token-efficiency": [joule, _mark(w.efficiency, now), "tokens generated for a joule at the feeds"],
            "gpu-count": [
                f"{w.gpus_seen:,} of {w.gpus_installed:,}".replace(",", "\u2009"),
                "warning" if unseen > 0 else "",
                f"{unseen} GPUs told nothing in the last three minutes",
            ],
        }
    }


def alerts(active: list[Alert], data: ConsoleData) -> Payload:
    """Return the active alerts; the browser tells for how long, so that nothing changes while nothing happens."""
    return {"rows": [alert_row(a, data) for a in active]}


def alert_row(a: Alert, data: ConsoleData) -> Payload:
    """Return one alert as the lists show it."""
    c = a.condition
    return {
        "id": a.id,
        "severity": c.severity.value,
        "state": a.state.value,
        "rule": c.rule,
        "object": c.object_id,
        "rack": data.rack_of(c.object_id),
        "summary": c.summary,
        "value": DASH if math.isnan(c.value) else shown(c.value, c.unit),
        "limit": DASH if math.isnan(c.limit) else shown(c.limit, c.unit),
        "opened": a.opened,
        "openedText": _clock(a.opened, data.site.zone, "%d %b %H:%M:%S"),
        "cleared": a.cleared_at,
        "who": a.acknowledged_by,
        "acknowledged": a.acknowledged_at,
        "note": a.note,
    }


def power_chart(series: Series, limit: Series, forecast: Forecast | None, now: int, zone: ZoneInfo) -> Payload:
    """Return the measured line, the stepwise limit and the forecast fan, W in MW, times on the site's wall clock."""
    payload: Payload = {
        "now": int(wall(np.array([now]), zone)[0]),
        "offset": int(wall(np.array([now]), zone)[0]) - now,
        "time": wall(series.time, zone).tolist(),
        "power": _numbers(series.value / 1e6, 3),
        "limitTime": wall(limit.time, zone).tolist(),
        "limit": _numbers(limit.value / 1e6, 3),
        "fan": None,
    }
    if forecast is not None:
        keep = forecast.start + forecast.interval_minutes * 60_000 > now
        step = forecast.interval_minutes * 60_000
        payload["fan"] = {
            "time": wall(forecast.start[keep] + step // 2, zone).tolist(),
            "quantiles": [_numbers(forecast.quantile(q)[keep] / 1e6, 3) for q in FAN],
            "risk": _numbers(forecast.breach_probability[keep], 4),
            "issued": _clock(forecast.issued, zone, "%d %b %H:%M"),
            "model": forecast.model,
            "quality": forecast.quality,
        }
    return payload


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
    cells: dict[str, Cell] = {
        "rack-power": _reading(r.power, "W", r.now, 4, load),
        "rack-load": [_percent(share), load or _absent(share), f"of {_text(r.limit, 'W', 3)}"],
        "rack-supply": _reading(r.supply, "Cel", r.now, 3, cold),
        "rack-return": _reading(r.back, "Cel", r.now, 3, warm),
        "rack-rise": _number(rise, 1.0, 1, r.now, " K"),
        "rack-flow": _number(r.flow, 1.0, 0, r.now, " L/min"),
        "rack-pressure": _number(r.pressure, 1e-3, 0, r.now, " kPa"),
        "rack-valve": _number(r.valve, 100.0, 0, r.now, " %"),
        "rack-leak": [r.leak or DASH, "alarm" if r.leaking else "" if r.leak else "missing"],
        "rack-anomaly": _number(r.anomaly, 1.0, 2, r.now),
    }
    total = sum(t.power.value for t in r.taps)
    for i, letter in enumerate("ab"):
        tap = r.taps[i] if i < len(r.taps) else None
        value = tap.power.value if tap else math.nan
        part = value / total if total else math.nan
        cells[f"rack-tap-{letter}"] = _reading(tap.power, "W", r.now, 3) if tap else [DASH, "missing"]
        cells[f"rack-tap-{letter}-share"] = [_percent(part), _absent(part), tap.id if tap else ""]
    return {
        "rack": r.id,
        "now": r.now,
        "power": [r.power.observed, _round(r.power.value / 1e3, 2)],
        "cells": cells,
        "gpus": {
            "temperature": _numbers(r.gpu_temperature.value, 1),
            "power": _numbers(r.gpu_power.value, 0),
            "marks": _marks(r.gpu_temperature, r.now),
            "limit": thermal.gpu,
            "powerLimit": r.gpu_power_limit,
        },
        "paths": [[[s.id, _text(s.power.value, "W", 3)] for s in path] for path in r.paths],
        "cdus": list(r.cdus),
        "points": [
            [
                p.point.object_id,
                p.point.point_type + (f" {'/'.join(p.point.process_area)}" if p.point.process_area else "")
                + (f" {p.point.phase}" if p.point.phase else ""),
                _point_value(p.point.unit, p.value, p.point.state_label if p.point.is_state else None),
                _quality(p.quality, p.value),
                duration(r.now - p.observed) if p.observed else DASH,
                _mark(Reading(p.value, p.observed, p.quality, 0), r.now),
                p.point.key,
            ]
            for p in r.points
        ],
        "alerts": [alert_row(a, data) for a in r.alerts],
    }  # fmt: skip


def rack_history(history: Mapping[str, Series], rack_id: str, span: str, zone: ZoneInfo) -> Payload:
    """Return the history charts' lines of one rack."""
    return {
        "rack": rack_id,
        "span": span,
        "lines": {
            point_type: {
                "time": wall(s.time, zone).tolist(),
                "value": _numbers(s.value / (1e3 if point_type == "RackPower" else 1.0), 2),
            }
            for point_type, s in history.items()
        },
    }


def health(h: Health, zone: ZoneInfo) -> Payload:
    """Return the health page's tables."""
    sources = [
        {"id": f"source-{name}", "mark": "", "cells": [[name, "name"], *_counter_cells(stats)]}
        for name, stats in sorted(h.sources.items())
    ]
    counters = [
        {"id": f"counter-{name}", "mark": "", "cells": [[_words(name), "name"], [_counter(value), ""]]}
        for name, value in h.counters.items()
    ]
    s = h.store
    store = {
        "kind": s.kind,
        "version": s.version,
        "answers": "yes" if s.available else "no",
        "detail": s.detail or DASH,
        "rows": DASH if s.rows is None else _thousands(s.rows),
        "size": DASH if s.size_bytes is None else shown(s.size_bytes, "By"),
        "points known": _thousands(h.points),
    }
    f = h.forecast
    forecast = {"issued": DASH} if f is None else {
        "issued": _clock(f.issued, zone, "%d %b %H:%M:%S"),
        "age": duration(h.now - f.issued),
        "data until": _clock(f.data_cutoff, zone, "%d %b %H:%M"),
        "model": f.model,
        "quality": f.quality,
        "horizon": f"{len(f.start) * f.interval_minutes / 60:.0f} h",
    }  # fmt: skip
    return {
        "sources": sources,
        "counters": counters,
        "store": [_pair("store", k, v) for k, v in store.items()],
        "forecast": [_pair("forecast", k, v) for k, v in forecast.items()],
    }


def wall(times: TimeArray, zone: ZoneInfo) -> TimeArray:
    """Return UTC ms moved so that a chart which knows no time zones shows the site's clock."""
    if len(times) == 0:
        return times
    first, last = _offset(int(times.min()), zone), _offset(int(times.max()), zone)
    if first == last:
        return times + first
    return times + np.array([_offset(int(t), zone) for t in times], np.int64)


def duration(ms: float) -> str:
    """Return a span of time in its largest sensible unit: ``3.2 s``, ``14 min``, ``5 h 20 min``, ``3 d``."""
    seconds = max(0.0, ms / 1000)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d"


def _power(data: ConsoleData) -> Payload:
    # whole quarter minutes, so that the section changes four times a minute and not every second
    now = data.clock() - data.clock() % 15_000
    series, forecast = data.power_series(), data.forecast()
    end = now + 48 * 3_600_000 if forecast is None else int(forecast.start[-1]) + 900_000
    return power_chart(series, data.limit_steps(now - 6 * 3_600_000, end), forecast, now, data.site.zone)


def _reading(
    r: Reading, unit: str, now: int, digits: int = 3, mark: str = "", unit_shown: bool = True, hint: str = ""
) -> Cell:
    text = _text(r.value, unit, digits)
    if not unit_shown:
        text = text.split(" ")[0]
    return [text, f"{_mark(r, now)} {mark}".strip(), hint or _quality_note(r, now), r.observed]


def _number(r: Reading, scale: float, digits: int, now: int, unit: str = "") -> Cell:
    text = DASH if math.isnan(r.value) else f"{r.value * scale:.{digits}f}{unit}"
    return [text, _mark(r, now), _quality_note(r, now), r.observed]


def _mark(r: Reading, now: int) -> str:
    if math.isnan(r.value):
        return "missing"
    if r.quality == Quality.BAD:
        return "bad"
    if r.observed and now - r.observed > STALE_MS:
        return "old"
    return "estimated" if r.quality == Quality.ESTIMATED else ""


def _marks(now: Now, moment: int) -> dict[str, str]:
    """Return the marks of those that carry one, by position."""
    bad = ~np.isnan(now.value) & (now.quality == Quality.BAD)
    old = ~np.isnan(now.value) & (now.observed < moment - STALE_MS) & ~bad
    found = {str(i): "bad" for i in np.flatnonzero(bad)}
    return found | {str(i): "old" for i in np.flatnonzero(old)}


def _quality_note(r: Reading, now: int) -> str:
    return {"missing": "no reading", "bad": "bad quality, not trustworthy", "estimated": "estimated"}.get(
        _mark(r, now), f"{duration(now - r.observed)} old" if _mark(r, now) == "old" else ""
    )


def _quality(quality: int, value: float) -> str:
    return DASH if math.isnan(value) else Quality(quality).name.lower() if quality in (0, 1, 2) else "bad"


def _missing_note(r: Reading) -> str:
    return f"{r.missing} of its meters tell nothing" if r.missing else ""


def _absent(value: float) -> str:
    return "missing" if math.isnan(value) else ""


def _text(value: float, unit: str, digits: int) -> str:
    return DASH if math.isnan(value) else shown(value, unit, digits)


def _signed(value: float, unit: str) -> str:
    sign = "+" if value >= 0 else "\u2212"
    return f"{sign}{shown(abs(value), unit)}"


def _percent(share: float) -> str:
    if math.isnan(share):
        return DASH
    return "<1 %" if 0 < share < 0.01 else f"{share:.0%}".replace("%", " %")


def _point_value(unit: str, value: float, label: Callable[[float], str] | None) -> str:
    if math.isnan(value):
        return DASH
    return label(value) if label else shown(value, unit, 4)


def _alert_counts(h: Header) -> str:
    told = [f"{n} {s.value}" for s, n in h.alerts.items() if n]
    return ", ".join(told) + " not acknowledged" if told else "nothing open"


def _counter_cells(stats: Mapping[str, Any]) -> list[Cell]:
    text = "  ".join(f"{_words(k)} {_counter(v)}" for k, v in stats.items())
    return [[text, ""]]


def _counter(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: DASH}[value]
    if isinstance(value, float):
        return DASH if math.isnan(value) else f"{value:,.2f}".replace(",", "\u2009")
    return _thousands(value) if isinstance(value, int) else str(value)


def _thousands(value: int) -> str:
    return f"{value:,}".replace(",", "\u2009")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _pair(table: str, key: str, value: str) -> Payload:
    return {"id": f"{table}-{key.replace(' ', '-')}", "mark": "", "cells": [[key, "name"], [value, ""]]}


def _clock(ms: int, zone: Any, form: str = "%H:%M:%S") -> str:
    return datetime.fromtimestamp(ms / 1000, zone).strftime(form)


def _offset(ms: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(ms / 1000, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds() * 1000)


def _round(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else round(float(value), digits)


def _numbers(values: ValueArray, digits: int) -> list[float | None]:
    return [None if math.isnan(v) else v for v in np.round(values, digits).tolist()]
