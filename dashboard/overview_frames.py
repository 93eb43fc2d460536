"""What the browser is sent of the overview: site power with its forecast, floor, cooling, supply, work."""

from __future__ import annotations

import math
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from dashboard import cells, fans, power_frames
from dashboard.data import ConsoleData
from dashboard.glance import Glance, Sources
from dashboard.power import Reserve
from dashboard.views import CduState, Floor, Series, SupplyState, Work
from dashboard.words import count, say, term
from domain.forecast import Forecast, Ramps
from domain.site import Site

Payload = dict[str, Any]

MOST_NAMED = 5
"""Silent sources that are named."""
RAMP_S = 60


def power(data: ConsoleData) -> Payload:
    """Return the chart of the site's power: the last hours, and what is forecast."""
    now = data.clock()
    series, forecast = data.power_series(), data.forecast()
    end = now + 48 * 3_600_000 if forecast is None else int(forecast.start[-1]) + 900_000
    steps = data.limit_steps(now - 6 * 3_600_000, end)
    return {"site": data.site.id} | power_chart(series, steps, forecast, now, data.site.zone)


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
        payload["fan"] = fans.coming(forecast, now, zone, 1e6)
    return payload


def floor(f: Floor, site: Site) -> Payload:
    """Return what the map can show of each rack, in the order of the site's racks; `marks` name what is bad or old."""
    metrics = {
        "power": (f.power, 1e-3, 1),
        "return": (f.return_temperature, 1.0, 1),
        "gpu": (f.gpu_temperature, 1.0, 1),
        "anomaly": (f.anomaly, 1.0, 2),
        "supply": (f.supply_temperature, 1.0, 1),
        "flow": (f.flow, 1.0, 0),
        "risk": (f.risk, 100.0, 1),
    }
    values = {k: cells.numbers(now.value * scale, digits) for k, (now, scale, digits) in metrics.items()}
    marks = {k: cells.marked(now, f.now) for k, (now, _, _) in metrics.items()}
    values["headroom"] = cells.numbers((site.rack_limit - f.power.value) / 1e3, 1)
    marks["headroom"] = marks["power"]
    return {
        "values": values,
        "marks": marks,
        "limits": {
            "power": round(site.rack_limit / 1e3),
            "return": site.thermal.coolant_return,
            "gpu": site.thermal.gpu,
            "anomaly": 1.0,
            "supply": site.thermal.coolant_supply,
            "flow": None,  # none that all racks have
            "headroom": 0,
            "risk": 50,
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
                    [running(c), down or ("" if c.status else "missing")],
                    [redundancy(c.redundancy), thin or ("" if c.redundancy else "missing")],
                ],
            }
        )
    known = [c.running for c in cdus if c.running is not None]
    summary = say("cooling.running", n=sum(known), all=len(cdus)) if known else say("cooling.unknown")
    return {"rows": rows, "cells": {"cooling-summary": [summary, "alarm" if not all(known) else ""]}}


def running(c: CduState) -> str:
    """Return the state of a CDU in words; of one that says that it runs and cannot carry load, this too."""
    state = term("state", c.status) or cells.DASH
    return say("cooling.unavailable") if c.running is False and c.status.lower() == "on" else state


def redundancy(standing: str) -> str:
    """Return how a CDU's group stands: ``N+1``, ``N``, or how many of it are down."""
    n, _, down = standing.partition(" ")
    return say("cooling.down", n=n) if down else standing or cells.DASH


def supply(nodes: list[SupplyState], now: int) -> Payload:
    """Return feeds and UPSes with their load."""
    rows = []
    for s in nodes:
        share = s.power.value / s.limit if s.limit else math.nan
        mark = "alarm" if share > 1 else "warning" if share > 0.9 else ""
        dark = s.kind == "Feed" and s.power.value < 0.001 * s.limit
        battery: cells.Cell = ["", ""] if s.kind == "Feed" else cells.number(s.charge, 100.0, 0, now)
        supplies = "alarm" if _ups_mark(s.status) == "alarm" else ""  # its minutes run
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
                    ["", ""] if s.kind == "Feed" else cells.number(s.runtime, 1 / 60, 0, now, mark=supplies),
                    [say("power.off") if dark else "", "alarm" if dark else ""]
                    if s.kind == "Feed"
                    else [term("state", s.status) or cells.DASH, _ups_mark(s.status)],
                ],
            }
        )
    return {"rows": rows}


def _ups_mark(status: str) -> str:
    """Return the mark of a UPS's state, told in words that differ from maker to maker."""
    if not status:
        return "missing"
    return ("", "", "warning", "alarm")[cells.alarming(status)]


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


def work(w: Work, glance: Glance, reserve: Reserve | None, now: int, site: Site) -> Payload:
    """Return what the factory makes and how, whether it would hold the loss of a unit, and how fresh all of this is."""
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
                count("work.unseen", unseen) if unseen > 0 else "",
            ],
            **_pue(glance, now),
            **_sources(glance.sources()),
            **power_frames.holding(reserve, site.zone),
            **_ramps(glance.ramps(), glance.ramps_from(), site.zone),
        }
    }


def _pue(glance: Glance, now: int) -> dict[str, cells.Cell]:
    told, where = glance.pue()
    cell = cells.number(told, 1.0, 2, now)
    why = say(f"work.pue_{where}")
    return {
        "pue": cell if cell[1] == "missing" else [*cell[:2], why, cell[3]],
        "pue-why": [why if where == "batteries" else "", "muted"],
    }


def _sources(s: Sources) -> dict[str, cells.Cell]:
    fresh = f"{cells.thousands(s.number - len(s.late))} / {cells.thousands(s.number)}"
    named = say("text.comma").join(s.late[:MOST_NAMED]) + (" \u2026" if len(s.late) > MOST_NAMED else "")
    late = say("work.late", names=named) if s.late else say("work.fresh")
    doubtful = count("work.doubtful", s.doubtful) if s.doubtful else ""
    return {
        "fresh-sources": [fresh, "warning" if s.late else "", late, 0, "/health"],
        "doubtful": [doubtful, "warning", say("work.doubtful_hint")],
    }


def _ramps(r: Ramps | None, known_from: int, zone: ZoneInfo) -> dict[str, cells.Cell]:
    """Return the largest rise and fall within a minute to expect in the hour, and what 95 % stay under."""
    if r is None or RAMP_S not in r.windows_s:
        soon = say("work.ramps_from", time=cells.clock(known_from, zone, "%H:%M")) if known_from else ""
        return {
            "ramps": [cells.DASH, "missing", say("foretold.no_ramps")],
            "ramps-most": [soon, "muted", say("foretold.no_ramps")],
        }
    window, middle = r.windows_s.index(RAMP_S), r.quantiles.index(0.5)

    def both(level: int) -> str:
        up, down = (cells.quantity(float(each[window, level]), "W", 2) for each in (r.up, r.down))
        return f"+{up}  \u2212{down}"

    return {
        "ramps": [both(middle), "", say("work.ramps_hint"), 0, "/forecast"],
        "ramps-most": [say("work.ramps_most", both=both(-1)), "", ""],
    }
