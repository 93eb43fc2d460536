"""Any object: its readings, the past of any of them, its alerts, what serves it and what it serves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from typing import Any
from urllib.parse import quote

import numpy as np
from dash import Dash, Input, Output, dcc, html, no_update

from dashboard import alarm_frames, cells
from dashboard.broadcast import Broadcaster
from dashboard.components.panel import choice, live_table, panel
from dashboard.data import ConsoleData
from dashboard.moments import moment_in
from dashboard.page import Asked, Level, Live, Page, Payload, fields_of
from dashboard.rack_frames import GRADES
from dashboard.threads import reading, reading_past
from dashboard.views import SPANS, STALE_MS, PointNow
from dashboard.words import measured, say, several, state
from domain.errors import StorageError
from domain.points import Point, Quality
from domain.units import shown_in
from storage.plant import Reading


def layout(asked: Asked) -> html.Div:
    """Return the page of an object."""
    name = asked.object
    if not asked.data.things.known(name):
        return html.Div(
            [html.H1(say("object.unknown")), html.P(say("object.not_known", object=name))], className="plain"
        )
    head = html.Div(
        [
            html.H1(name, id="object-title"),
            html.Span(id="object-kind", className="muted"),
            dcc.Link(say("object.rack", rack=name), href=f"/rack/{quote(name)}")
            if name in asked.data.site.racks
            else html.Span(),
        ],
        className="rack-head",
    )
    columns = [
        *several("rack", "point", "value"),
        say("object.usual"),
        say("object.place"),
        *several("rack", "quality", "age"),
    ]
    return html.Div(
        [
            dcc.Store(id="object-history"),
            dcc.Store(id="object-shown", data=name),
            html.Div([head, html.Div(id="object-findings")], className="area-head"),
            panel(
                say("object.points"),
                live_table("object-points", columns, say("object.points")),
                area="area-points",
            ),
            panel(
                say("rack.history"),
                html.Div(id="object-chart", className="chart"),
                area="area-history",
                extra=choice("object-span", {s: s for s in SPANS}, "1h", say("rack.span")),
            ),
            panel(
                say("object.alerts"), html.Div(id="object-alerts", className="alert-list"), area="area-alerts"
            ),
            panel(say("object.around"), html.Div(id="object-around", className="paths"), area="area-paths"),
        ],
        className="object-page",
    )


def payload(data: ConsoleData, name: str) -> Payload:
    """Return an object's readings, neighbours and alerts."""
    thing, now = data.things.get(name), data.clock()
    if thing is None:
        return {"object": None}
    counted = Counter(_words(p.point) for p in thing.points)
    twice = {words for words, n in counted.items() if n > 1}
    return {
        "object": name,
        "findings": [
            [
                say(f"grade.{GRADES[p.point.point_type]}"),
                state(p.point, 1),
                cells.duration(now - p.observed),
                GRADES[p.point.point_type],
            ]
            for p in thing.points
            if p.point.point_type in GRADES and p.value == 1 and p.observed > now - STALE_MS
        ],
        "kind": " \u00b7 ".join(part for part in (thing.type, thing.name) if part),
        "around": [
            [say(f"object.{how}"), list(ids)]
            for how, ids in (
                ("up", thing.up),
                ("down", thing.down),
                ("part_of", (thing.part_of,) if thing.part_of else ()),
                ("parts", thing.parts),
            )
            if ids
        ],
        "rows": [
            {
                "id": "",
                "mark": "",
                "cells": [
                    [
                        _told_apart(p.point, twice),
                        "name",
                        p.point.key,
                        0,
                        f"/object/{quote(name)}?point={quote(p.point.key)}",
                    ],
                    [_value(p), cells.trust(Reading(p.value, p.observed, p.quality, 0), now)],
                    *_among(p, data, now - STALE_MS),
                    [cells.quality_told(p, data.site.racks), ""],
                    [cells.duration(now - p.observed) if p.observed else cells.DASH, ""],
                ],
            }
            for p in thing.points
        ],
        "alerts": [
            alarm_frames.alert_row(a, data) for a in data.active_alerts() if a.condition.object_id == name
        ],
    }


def history(data: ConsoleData, name: str, key: str, span: str, at: int) -> Payload:
    """Return the past of one point of an object, of `at` (UTC ms) or up to now."""
    now = data.clock()
    end = min(at + SPANS[span][0] // 4, now) if 0 < at < now else now
    point = data.things.point(name, key) or data.things.usual_point(name)
    told: Payload = {
        "object": name,
        "point": "",
        "time": [],
        "value": [],
        "unit": "",
        "trouble": "",
        "peers": {},
    }
    if point is None:
        return told
    try:
        series = data.things.past(point, span, end)
        peers = data.peers.past(point, span, end)
    except StorageError as error:
        return told | {"trouble": str(error)}
    known = np.concatenate([series.value[~np.isnan(series.value)], peers[3]])
    peak = np.abs(known).max(initial=0.0)
    scale, unit = (1.0, "") if point.is_state else shown_in(float(peak), point.unit)
    start, stop = cells.wall(np.array([end - SPANS[span][0], end]), data.site.zone).tolist()
    return told | {
        "point": _words(point),
        "key": point.key,
        "time": cells.wall(series.time, data.site.zone).tolist(),
        "value": cells.numbers(series.value / scale, 4),
        "unit": unit,
        "peers": {
            "time": cells.wall(peers[0], data.site.zone).tolist(),
            **{
                name: cells.numbers(line / scale, 4)
                for name, line in zip(("low", "middle", "high"), peers[1:], strict=True)
            },
        },
        "start": start,
        "end": stop,
        "momentText": cells.date(at, data.site.zone) if end < now else "",
    }


def _value(p: PointNow) -> str:
    """Return a point's value; of a finding whether it holds: what it says stands on top of the page."""
    if p.point.point_type in GRADES and not math.isnan(p.value):
        return say(f"grade.{GRADES[p.point.point_type]}") if p.value else say("cell.none")
    return cells.point_value(p)


def _among(p: PointNow, data: ConsoleData, since: int) -> list[cells.Cell]:
    """Return what is usual among an object's peers, and the place of its own figure among theirs."""
    known = p.quality == Quality.GOOD and p.observed > since
    found = data.peers.among(p.point, p.value, since) if known else None
    if found is None:
        return [["", ""], ["", ""]]
    low, middle, high = (cells.amount(p.point, v, 3) for v in (found.low, found.median, found.high))
    if found.low == found.high == p.value:
        return [
            [middle, "muted", say("object.range", low=low, high=high)],
            ["=", "muted", say("object.alike")],
        ]
    return [
        [middle, "muted", say("object.range", low=low, high=high)],
        [f"{found.place}/{found.count}", "warning" if found.apart else "muted", say("object.place_is")],
    ]


def _words(point: Point) -> str:
    parts = [measured(point.point_type), "/".join(point.process_area), point.phase]
    return " ".join(part for part in parts if part)


def _told_apart(point: Point, twice: Collection[str]) -> str:
    """Return what a point is called; of several that are called alike, with how its source calls it."""
    words = _words(point)
    return f"{words} ({point.key.rpartition('/')[2]})" if words in twice else words


def _connect(app: Dash, data: ConsoleData, _broadcaster: Broadcaster) -> None:
    @app.callback(
        Output("object-history", "data"),
        Input("object-span", "value"),
        Input("object-shown", "data"),
        Input("url", "search"),
        Input("minute", "data"),
    )
    async def past(span: str, name: str, search: str | None, _minute: int) -> Any:
        """Return the past of the point that the address names, anew each minute."""
        if span not in SPANS:
            return no_update
        moment = moment_in(search, data.site.zone, data.clock())
        asked = reading_past if moment else reading
        return await asked(history, data, name, fields_of(search).get("point", ""), span, moment)


PAGE = Page(
    name="object",
    path="/object/{object}",
    level=Level.DIAGNOSIS,
    layout=layout,
    live={"object": Live(payload)},
    known=lambda data, name: data.things.known(name),
    stores=("object-history",),
    connect=_connect,
    in_navigation=False,
)
