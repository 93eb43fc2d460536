"""One rack: what it draws, how it is cooled, its GPUs, its past, and what it hangs on."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, dcc, html, no_update

from dashboard import rack_frames
from dashboard.broadcast import Broadcaster
from dashboard.components.floor import gpu_grid
from dashboard.components.panel import choice, figure, live_table, panel
from dashboard.data import ConsoleData
from dashboard.moments import moment_in
from dashboard.page import Asked, Level, Live, Page
from dashboard.threads import reading, reading_past
from dashboard.views import SPANS
from dashboard.words import say, several


def layout(asked: Asked) -> html.Div:
    """Return the page of a rack."""
    site, rack = asked.data.site, asked.object
    racks = site.racks
    if rack not in racks:
        return unknown(rack)
    place = racks.index(rack)
    pod = site.pod_of(rack)
    row, column = site.position(rack) or (0, 0)
    title = html.Div(
        [
            dcc.Link(say("rack.floor"), href="/", id="back"),
            html.H1(rack, id="rack-title"),
            html.Span(
                say("rack.place", pod=pod.id if pod else "", row=row, column=column), className="muted"
            ),
            dcc.Link(f"\u2039 {racks[place - 1]}", href=f"/rack/{racks[place - 1]}", id="rack-before"),
            dcc.Link(
                f"{racks[(place + 1) % len(racks)]} \u203a",
                href=f"/rack/{racks[(place + 1) % len(racks)]}",
                id="rack-after",
            ),
        ],
        className="rack-head",
    )
    figures = html.Div(
        [
            figure(say("rack.power"), "rack-power", "rack-load", size="big"),
            figure(say("rack.tap_a"), "rack-tap-a", "rack-tap-a-share"),
            figure(say("rack.tap_b"), "rack-tap-b", "rack-tap-b-share"),
            figure(say("rack.supply"), "rack-supply"),
            figure(say("rack.return"), "rack-return"),
            figure(say("rack.rise"), "rack-rise"),
            figure(say("rack.flow"), "rack-flow"),
            figure(say("rack.pressure"), "rack-pressure"),
            figure(say("rack.valve"), "rack-valve"),
            figure(say("rack.leak"), "rack-leak"),
            figure(say("rack.anomaly"), "rack-anomaly"),
            figure(say("rack.modules"), "rack-modules"),
        ],
        className="figures rack-figures",
    )
    return html.Div(
        [
            dcc.Store(id="rack-history"),
            dcc.Store(id="rack-shown", data=rack),
            html.Div([title, figures], className="area-head"),
            panel(
                say("rack.gpus"),
                gpu_grid(site.rack_gpus),
                area="area-gpus",
                extra=choice(
                    "gpu-metric",
                    {"temperature": "\u00b0C", "power": "W"},
                    "temperature",
                    say("rack.gpu_figure"),
                ),
            ),
            panel(
                say("rack.history"),
                html.Div(id="rack-chart-power", className="chart"),
                html.Div(id="rack-chart-temperature", className="chart"),
                html.Div(id="rack-chart-flow", className="chart"),
                area="area-history",
                extra=choice("rack-span", {s: s for s in SPANS}, "1h", say("rack.span")),
            ),
            panel(
                say("rack.gpu_health"),
                live_table(
                    "gpu-health", several("rack", "object", "grade", "finding", "age"), say("rack.gpu_health")
                ),
                area="area-health",
            ),
            panel(say("rack.paths"), html.Div(id="rack-paths", className="paths"), area="area-paths"),
            panel(say("rack.alerts"), html.Div(id="rack-alerts", className="alert-list"), area="area-alerts"),
            panel(
                say("rack.values"),
                live_table(
                    "rack-points",
                    several("rack", "object", "point", "value", "quality", "age"),
                    say("rack.values"),
                ),
                area="area-points",
            ),
        ],
        className="rack-page",
    )


def unknown(rack: str) -> html.Div:
    """Return what is shown for a rack that the site has not."""
    return html.Div(
        [
            html.H1(say("rack.unknown")),
            html.P(say("rack.not_in_site", rack=rack)),
            dcc.Link(say("rack.to_floor"), href="/"),
        ],
        className="plain",
    )


def _connect(app: Dash, data: ConsoleData, _broadcaster: Broadcaster) -> None:
    @app.callback(
        Output("rack-history", "data"),
        Input("rack-span", "value"),
        Input("rack-shown", "data"),
        Input("url", "search"),
        Input("minute", "data"),
    )
    async def history(span: str, rack_id: str, search: str | None, _minute: int) -> Any:
        """Return a rack's history, anew each minute (the minute is pushed, not polled)."""
        if span not in SPANS or rack_id not in data.site.racks:
            return no_update
        moment = moment_in(search, data.site.zone, data.clock())
        asked = reading_past if moment else reading
        return await asked(rack_frames.rack_charts, data, rack_id, span, moment)


PAGE = Page(
    name="rack",
    path="/rack/{object}",
    level=Level.UNIT,
    layout=layout,
    live={"rack": Live(lambda data, rack: rack_frames.rack(data.rack(rack), data))},
    known=lambda data, rack: rack in data.site.racks,
    choices=("gpu-metric",),
    stores=("rack-history",),
    connect=_connect,
    in_navigation=False,
)
