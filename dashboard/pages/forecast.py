"""Forecasts: fans as issued and what came, ramps, scores, planned work, and what if things were otherwise."""

from __future__ import annotations

from typing import Any

import orjson
from dash import Dash, Input, Output, State, dcc, html, no_update

from dashboard import foretold_frames
from dashboard.broadcast import Broadcaster
from dashboard.components.panel import aria, choice, data_of, live_table, panel
from dashboard.data import ConsoleData
from dashboard.foretold import AGO
from dashboard.moments import seen
from dashboard.page import Asked, Level, Page
from dashboard.words import say
from domain.errors import HallwatchError


def layout(asked: Asked) -> html.Div:
    """Return the page; `node` of the address says of what, and the browser's script fills in `lose` of a question."""
    data = asked.data
    wanted = asked.search.get("node", "")
    node = wanted if data.foretold.known(wanted) else data.site.id
    chooser = dcc.Dropdown(
        [{"label": n.id, "value": n.id} for n in data.plant.envelope],
        node,
        id="foretold-node",
        clearable=False,
        className="foretold-node",
    )
    ago = choice("foretold-ago", {key: say(f"foretold.ago_{key}") for key in AGO}, "0", say("foretold.issue"))
    columns = [say(f"foretold.{name}") for name in ("within", "rise", "rise_95", "fall", "fall_95")]
    jobs = [say(f"foretold.{name}") for name in ("job", "racks", "start", "end", "rack_power")]
    return html.Div(
        [
            dcc.Store(id="foretold"),
            dcc.Store(id="whatif-request"),
            dcc.Store(id="whatif-answer"),
            panel(
                say("foretold.chart"),
                html.Div(id="foretold-chart", className="chart", role="img", **aria(say("foretold.chart"))),
                area="area-foretold",
                extra=html.Div(
                    [html.Span(id="foretold-issued", className="muted"), ago, chooser],
                    className="panel-extra",
                ),
            ),
            panel(
                say("foretold.what_if"),
                html.Div(orjson.dumps(data.foretold.units).decode(), id="whatif-units", hidden=True),
                html.Form(id="whatif-form", className="whatif-form"),
                html.Div(
                    id="whatif-lines",
                    className="whatif-lines",
                    role="status",
                    **data_of("empty", say("foretold.ask_hint")),
                ),
                area="area-whatif",
            ),
            html.Div(
                [
                    panel(
                        say("foretold.ramps"),
                        live_table("ramp-rows", columns, say("foretold.ramps")),
                        area="area-ramps",
                        extra=html.Span(say("foretold.coming_hour"), className="muted"),
                    ),
                    panel(
                        say("foretold.planned"),
                        live_table("planned-rows", jobs, say("foretold.planned")),
                        area="area-planned",
                    ),
                ],
                className="forecast-left",
            ),
            panel(
                say("foretold.worth"),
                html.Div(id="foretold-came", className="foretold-came"),
                html.Div(id="worth-chart", className="chart", role="img", **aria(say("foretold.worth"))),
                area="area-scores",
                extra=html.Span(id="foretold-worth-note", className="muted"),
            ),
        ],
        className="forecast-page",
    )


def _connect(app: Dash, data: ConsoleData, _broadcaster: Broadcaster) -> None:
    @app.callback(
        Output("foretold", "data"),
        Input("foretold-node", "value"),
        Input("foretold-ago", "value"),
        Input("url", "search"),
        Input("minute", "data"),
    )
    async def foretold(node: str, ago: str, search: str | None, _minute: int) -> Any:
        """Return what is foretold of a node, anew each minute."""
        if not data.foretold.known(node) or ago not in AGO:
            return no_update
        return await seen(data, search, foretold_frames.page, node, ago)

    @app.callback(
        Output("whatif-answer", "data"),
        Input("whatif-request", "data"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def what_if(asked: dict[str, Any] | None, search: str | None) -> Any:
        """Answer a what-if question; it changes nothing, so that anybody who may look may ask."""
        if not asked:
            return no_update
        try:
            return await seen(data, search, foretold_frames.ask, asked)
        except (HallwatchError, KeyError, TypeError, ValueError) as error:
            return {"error": str(error)}


PAGE = Page(
    name="forecast",
    path="/forecast",
    level=Level.SYSTEM,
    layout=layout,
    stores=("foretold", "whatif-answer"),
    connect=_connect,
)
