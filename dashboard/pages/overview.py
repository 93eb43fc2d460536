"""The overview: everything that matters on one screen, without scrolling."""

from __future__ import annotations

from dash import html

from dashboard import frames
from dashboard.components.floor import METRICS, floor_legend, floor_map
from dashboard.components.panel import aria, choice, figure, live_table, panel
from dashboard.page import Asked, Level, Live, Page


def layout(asked: Asked) -> html.Div:
    """Return the page."""
    site = asked.data.site
    return html.Div(
        [
            panel(
                "Site power and forecast",
                html.Div(id="power-chart", className="chart", role="img", **aria("Site power")),
                area="area-power",
                extra=html.Div(
                    [
                        html.Span(id="forecast-note", className="muted"),
                        choice("forecast-span", {"24": "24 h", "48": "48 h"}, "24", "Forecast span"),
                    ],
                    className="panel-extra",
                ),
            ),
            panel(
                "Racks",
                floor_map(site),
                floor_legend(),
                area="area-floor",
                extra=choice("floor-metric", METRICS, "power", "What the map shows"),
            ),
            panel(
                "Active alerts",
                html.Div(id="alert-list", className="alert-list"),
                area="area-alerts",
                extra=html.Span(id="alert-summary", className="muted"),
            ),
            panel(
                "Cooling units",
                live_table(
                    "cooling-rows",
                    [
                        "CDU",
                        "Supply \u00b0C",
                        "Return \u00b0C",
                        "L/min",
                        "\u0394p kPa",
                        "Pump %",
                        "State",
                        "Redund.",
                    ],
                    "Cooling units, worst first",
                ),
                area="area-cooling",
                extra=html.Span(id="cooling-summary", className="muted"),
            ),
            panel(
                "Feeds and UPS",
                live_table(
                    "supply-rows",
                    ["", "Power", "Load", "Battery %", "min", "State"],
                    "Feeds and UPSes",
                    "bars",
                ),
                area="area-supply",
            ),
            html.Section(
                [
                    figure("Tokens", "token-rate"),
                    figure("Tokens / J", "token-efficiency"),
                    figure("GPUs reporting", "gpu-count"),
                ],
                className="panel area-work figures work",
                **aria("Work"),
            ),
        ],
        className="overview",
    )


PAGE = Page(
    name="overview",
    path="/",
    level=Level.SITE,
    layout=layout,
    live={
        "power": Live(lambda data, _: frames.power(data), 10.0),  # its tip moves with every header
        "floor": Live(lambda data, _: frames.floor(data.floor(), data.site)),
        "cooling": Live(
            lambda data, _: frames.cooling(data.cooling(), data.clock(), data.site.thermal.coolant_supply)
        ),
        "supply": Live(lambda data, _: frames.supply(data.supply(), data.clock())),
        "work": Live(lambda data, _: frames.work(data.work(), data.clock())),
    },
    choices=("floor-metric", "forecast-span"),
)
