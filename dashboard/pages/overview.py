"""The overview: everything that matters on one screen, without scrolling."""

from __future__ import annotations

from dash import html

from dashboard import overview_frames
from dashboard.components.floor import METRICS, floor_legend, floor_map
from dashboard.components.panel import aria, choice, figure, live_table, panel
from dashboard.data import ConsoleData
from dashboard.page import Asked, Level, Live, Page, Payload
from dashboard.words import say, several


def layout(asked: Asked) -> html.Div:
    """Return the page."""
    site = asked.data.site
    return html.Div(
        [
            html.Section(
                [
                    figure(say("work.reserve"), "reserve", "reserve-units"),
                    figure(say("work.ramps"), "ramps", "ramps-most"),
                    figure(say("work.tokens"), "token-rate"),
                    figure(say("work.efficiency"), "token-efficiency"),
                    figure(say("work.pue"), "pue", "pue-why"),
                    figure(say("work.gpus"), "gpu-count"),
                    figure(say("work.sources"), "fresh-sources", "doubtful"),
                ],
                className="panel area-work figures work",
                **aria(say("overview.work")),
            ),
            panel(
                say("overview.power"),
                html.Div(id="power-chart", className="chart", role="img", **aria(say("overview.power"))),
                area="area-power",
                extra=html.Div(
                    [
                        html.Span(id="forecast-note", className="muted"),
                        choice(
                            "forecast-span", {"24": "24 h", "48": "48 h"}, "24", say("overview.forecast_span")
                        ),
                    ],
                    className="panel-extra",
                ),
            ),
            panel(
                say("overview.racks"),
                floor_map(site),
                floor_legend(),
                area="area-floor",
                extra=choice(
                    "floor-metric", {m: say(f"floor.{m}") for m in METRICS}, "power", say("floor.shows")
                ),
            ),
            panel(
                say("overview.alerts"),
                html.Div(id="alert-list", className="alert-list"),
                area="area-alerts",
                extra=html.Span(id="alert-summary", className="muted"),
            ),
            panel(
                say("overview.cooling"),
                live_table(
                    "cooling-rows",
                    [
                        "CDU",
                        say("cooling.supply"),
                        say("cooling.return"),
                        "L/min",
                        "\u0394p kPa",
                        say("cooling.pump"),
                        say("cooling.state"),
                        say("cooling.redundancy"),
                    ],
                    say("overview.cooling"),
                ),
                area="area-cooling",
                extra=html.Span(id="cooling-summary", className="muted"),
            ),
            panel(
                say("overview.supply"),
                live_table(
                    "supply-rows",
                    several("supply", "unit", "power", "load", "battery", "minutes", "state"),
                    say("overview.supply"),
                    "bars",
                ),
                area="area-supply",
            ),
        ],
        className="overview",
    )


def _work(data: ConsoleData, _object: str) -> Payload:
    return overview_frames.work(data.work(), data.glance, data.power.reserve(), data.clock(), data.site)


PAGE = Page(
    name="overview",
    path="/",
    level=Level.SITE,
    layout=layout,
    live={
        "power": Live(lambda data, _: overview_frames.power(data), 10.0),  # its tip moves with every header
        "floor": Live(lambda data, _: overview_frames.floor(data.floor(), data.site)),
        "cooling": Live(
            lambda data, _: overview_frames.cooling(
                data.cooling(), data.clock(), data.site.thermal.coolant_supply
            )
        ),
        "supply": Live(lambda data, _: overview_frames.supply(data.supply(), data.clock())),
        "work": Live(_work),
    },
    choices=("floor-metric", "forecast-span"),
)
