"""What the browser is sent of cooling."""

from __future__ import annotations

import math
from typing import Any
from zoneinfo import ZoneInfo

from dashboard import cells, overview_frames
from dashboard.cooling import AirUnit, CduLoop, Hall, PodLoop
from dashboard.words import count, measured, say, term
from domain.site import ThermalLimits
from domain.units import shown

Payload = dict[str, Any]
URGENCY = ("critical", "high", "alarm", "warning", "info", "")
"""Marks of rows, what is worst first."""
APPROACH_K = 10.0
"""A larger approach is marked: the heat exchanger fouls, or the water does not flow."""
BALANCE = 0.1
"""Heat of the coolant and of the water that differ by more are marked: one of four instruments lies, or heat is lost."""
RESERVE_S = 120.0
"""A pod that lasts shorter than this when a CDU trips is marked."""
LEAST_HEAT = 20e3
"""Below it (W) a balance says nothing."""


def hall(h: Hall, limits: ThermalLimits, zone: ZoneInfo) -> Payload:
    """Return the tables of the page and the figures beside them."""
    ratio = h.site.value / h.it.value if h.it.value > 0 and not h.it.missing else math.nan
    if ratio < 1:  # what batteries carry, or a feed that nothing measures, is not in the site's power
        ratio = math.nan
    balance = [p for p in h.pods if not math.isnan(p.carried)]
    carried = (
        sum(p.heat.value for p in balance) / sum(p.power.value for p in balance) if balance else math.nan
    )
    return {
        "pods": [_pod(p, h.now, limits) for p in h.pods],
        "cdus": sorted((_cdu(c, h.now, limits) for p in h.pods for c in p.cdus), key=lambda row: URGENCY.index(row["mark"])),
        "loops": {p.pod: _loop(p, h.now) for p in h.pods},
        "leaks": [
            {
                "id": f"leak-{n}",
                "mark": "alarm",
                "cells": [
                    cells.thing(p.point.object_id),
                    [measured(p.point.point_type), ""],
                    [term("state", p.point.state_label(p.value)), "alarm"],
                    [cells.date(p.observed, zone, "long"), ""],
                ],
            }
            for n, p in enumerate(h.leaks)
        ]
        or [{"id": "leak-none", "mark": "", "cells": [[say("cool.no_leak"), "muted"]]}],
        "air": [_air(u, h.now) for u in h.air]
        or [{"id": "air-none", "mark": "", "cells": [[say("cool.no_air"), "muted"]]}],
        "cells": {
            "cool-leaks": _leaks(h),
            "cool-water": cells.reading(h.water, "Cel", h.now, 3),
            "cool-wet-bulb": cells.reading(h.wet_bulb, "Cel", h.now, 3),
            "cool-heat": [_kilowatts(sum(p.heat.value for p in balance)) if balance else cells.DASH, "" if balance else "missing"],
            "cool-carried": [cells.percent(carried), cells.absent(carried), say("cool.carried_is")],
            "cool-ratio": [
                cells.DASH if math.isnan(ratio) else f"{ratio:.2f}", cells.absent(ratio), say("cool.ratio_is"),
            ],
            "cool-standing": _standing(h),
        },
    }  # fmt: skip


def _pod(p: PodLoop, now: int, limits: ThermalLimits) -> Payload:
    litres = p.flow.value / p.power.value * 1e3 if p.power.value > 0 else math.nan
    redundancy = next((c.state.redundancy for c in p.cdus), "")
    lasts = [c.last.value for c in p.cdus if not math.isnan(c.last.value)]
    shortest = min(lasts, default=math.nan)
    return {
        "id": f"loop-{p.pod}",
        "mark": p.severity.value if p.severity else "",
        "cells": [
            [p.pod, "name"],
            cells.reading(p.power, "W", now, 3),
            cells.reading(p.heat, "W", now, 3),
            [cells.percent(p.carried), cells.absent(p.carried), say("cool.carried_is")],
            [
                cells.DASH if math.isnan(litres) else f"{litres:.2f}",
                cells.absent(litres),
                say("cool.litres_is"),
            ],
            cells.reading(p.supply, "Cel", now, 3, _over(p.supply.value, limits.coolant_supply), bare=True),
            cells.reading(p.back, "Cel", now, 3, _over(p.back.value, limits.coolant_return), bare=True),
            [overview_frames.redundancy(redundancy), _thin(redundancy)],
            _lasts(shortest),
        ],
    }


def _cdu(c: CduLoop, now: int, limits: ThermalLimits) -> Payload:
    s = c.state
    down = "alarm" if s.running is False else ""
    far = "warning" if c.approach.value > APPROACH_K else ""
    return {
        "id": f"cdu-loop-{s.id}",
        "mark": s.severity.value if s.severity else down,
        "cells": [
            cells.thing(s.id),
            [overview_frames.running(s), down or ("" if s.status else "missing")],
            cells.reading(s.supply, "Cel", now, 3, _over(s.supply.value, limits.coolant_supply), bare=True),
            cells.reading(c.setpoint, "Cel", now, 3, bare=True),
            cells.reading(s.back, "Cel", now, 3, bare=True),
            cells.number(s.flow, 1.0, 0, now),
            cells.number(s.pressure, 1e-3, 0, now),
            cells.number(s.pump, 100.0, 0, now),
            cells.number(c.filter, 1e-3, 1, now),
            cells.reading(c.water_in, "Cel", now, 3, bare=True),
            cells.reading(c.water_out, "Cel", now, 3, bare=True),
            cells.number(c.water_flow, 1.0, 0, now),
            cells.number(c.valve, 100.0, 0, now),
            cells.number(c.approach, 1.0, 1, now, mark=far),
            cells.number(c.expected, 1.0, 1, now),
            cells.number(c.heat, 1e-3, 0, now),
            _balance(c),
        ],
    }


def _loop(p: PodLoop, now: int) -> Payload:
    """Return the texts of a pod's loop for its drawing."""
    return {
        "mark": p.severity.value if p.severity else "",
        "power": cells.quantity(p.power.value, "W", 3),
        "back": cells.reading(p.back, "Cel", now, 3)[:2],
        "supply": cells.reading(p.supply, "Cel", now, 3)[:2],
        "cdus": [
            {
                "id": c.state.id,
                "running": c.state.running,
                "state": overview_frames.running(c.state),
                "supply": cells.reading(c.state.supply, "Cel", now, 3)[:2],
                "back": cells.reading(c.state.back, "Cel", now, 3)[:2],
                "flow": cells.number(c.state.flow, 1.0, 0, now, " L/min")[:2],
                "in": cells.reading(c.water_in, "Cel", now, 3)[:2],
                "out": cells.reading(c.water_out, "Cel", now, 3)[:2],
                "heat": cells.reading(c.heat, "W", now, 3)[:2],
            }
            for c in p.cdus
        ],
    }


def _air(u: AirUnit, now: int) -> Payload:
    return {
        "id": f"air-{u.id}",
        "mark": u.severity.value if u.severity else "",
        "cells": [
            cells.thing(u.id),
            cells.reading(u.supply, "Cel", now, 3, bare=True),
            cells.reading(u.back, "Cel", now, 3, bare=True),
            cells.number(u.fan, 100.0, 0, now),
            cells.number(u.heat, 1e-3, 0, now),
        ],
    }


def _balance(c: CduLoop) -> cells.Cell:
    """Return by how much the water takes more or less than the coolant brings, in per cent."""
    if math.isnan(c.heat.value) or math.isnan(c.given.value) or c.heat.value < LEAST_HEAT:
        return [cells.DASH, "missing", say("cool.balance_none")]
    off = c.given.value / c.heat.value - 1
    return [f"{100 * off:+z.0f}", "warning" if abs(off) > BALANCE else "", say("cool.balance_is")]


def _lasts(seconds: float) -> cells.Cell:
    if math.isnan(seconds):
        return [cells.DASH, "missing", say("cool.lasts_is")]
    text = say("cool.hour") if seconds >= 3600 else cells.duration(1000 * seconds)
    return [text, "warning" if seconds < RESERVE_S else "", say("cool.lasts_is")]


def _leaks(h: Hall) -> cells.Cell:
    if h.leaks:
        return [count("cool.leaks", len(h.leaks)), "alarm"]
    if not h.detectors:
        return [say("cool.no_detectors"), "missing"]
    return [say("cool.dry", n=h.dry, of=h.detectors), "" if h.dry == h.detectors else "warning"]


def _standing(h: Hall) -> cells.Cell:
    states = [c.state.running for p in h.pods for c in p.cdus]
    if not states or all(s is None for s in states):
        return [cells.DASH, "missing"]
    down = sum(s is False for s in states)
    return [say("cool.running", n=sum(bool(s) for s in states), of=len(states)), "alarm" if down else ""]


def _over(value: float, limit: float) -> str:
    return "alarm" if value > limit else "warning" if value > limit - 2 else ""


def _thin(redundancy: str) -> str:
    return (
        "missing"
        if not redundancy
        else ""
        if redundancy == "N+1"
        else "warning"
        if redundancy == "N"
        else "alarm"
    )


def _kilowatts(watts: float) -> str:
    return shown(watts, "W", 3)
