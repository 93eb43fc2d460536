"""What the browser is sent of one rack: its figures, GPUs, supply and points, and the charts of its past."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from dashboard import alarm_frames, cells, fans
from dashboard.data import ConsoleData
from dashboard.views import SPANS, RackState, Series
from dashboard.words import measured, say, state, term
from domain.errors import StorageError
from domain.forecast import Forecast
from storage.plant import Reading

Payload = dict[str, Any]
GRADES = {"GpuFault": "fault", "GpuDegraded": "degraded", "GpuNotice": "notice"}
"""Findings on GPUs by their point type; each tells what it is and what to do."""


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
        "rack-leak": [
            term("state", r.leak) or cells.DASH,
            "alarm" if r.leaking else "" if r.leak else "missing",
        ],
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
        "paths": [
            [[s.id, cells.quantity(s.power.value, "W", 3), s.severity or ""] for s in path] for path in r.paths
        ],
        "cdus": list(r.cdus),
        "points": [
            [
                p.point.object_id,
                measured(p.point.point_type) + (f" {'/'.join(p.point.process_area)}" if p.point.process_area else "")
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
                say(f"grade.{GRADES[p.point.point_type]}"),
                state(p.point, 1),
                cells.duration(r.now - p.observed),
                GRADES[p.point.point_type],
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
    expected = None if forecast is None else fans.coming(forecast, at or now, zone, 1e3)
    if expected is None or not expected["time"]:
        expected, ahead = None, end
    return {
        "start": start,
        "end": end,
        "ahead": min(ahead, expected["time"][-1]) if expected else end,
        "fan": expected,
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
