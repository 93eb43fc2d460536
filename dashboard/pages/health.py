"""How Hallwatch itself is: sources, ingest, store, forecast; and what maintenance has to know."""

from __future__ import annotations

from dash import html

from dashboard import frames
from dashboard.components.panel import live_table, panel
from dashboard.page import Asked, Level, Live, Page


def layout(_asked: Asked) -> html.Div:
    """Return the page."""
    collectors = live_table("health-sources", ["Collector", "Counters"], "Collectors")
    ages = live_table("health-ages", ["Source", "Points", "Newest reading"], "Age by source")
    return html.Div(
        [
            html.Div(
                [
                    panel("Collectors", collectors, area="area-sources"),
                    panel(
                        "Age by source",
                        ages,
                        area="area-ages",
                        extra=html.Span(id="ages-summary", className="muted"),
                    ),
                    panel(
                        "What forecasts were worth, last week",
                        live_table(
                            "health-worth",
                            [
                                "Forecast",
                                "Ahead",
                                "In 90 %",
                                "Error",
                                "Of persist.",
                                "Of naive",
                                "Brier",
                                "Scored",
                                "",
                            ],
                            "What forecasts were worth",
                        ),
                        area="area-worth",
                    ),
                    panel(
                        "Parts that wear",
                        live_table(
                            "health-upkeep",
                            ["Part", "What", "Now", "Limit", "Left", "Interval", "Advice"],
                            "Parts that wear",
                        ),
                        area="area-upkeep",
                    ),
                    panel(
                        "Instruments not trusted",
                        live_table(
                            "health-instruments",
                            ["Object", "Quantity", "Verdict", "Shown instead"],
                            "Instruments not trusted",
                        ),
                        area="area-instruments",
                    ),
                ]
            ),
            html.Div(
                [
                    panel(
                        "Clocks",
                        live_table("health-clocks", ["Source", "Off by", "Drift", "Steps"], "Clocks"),
                        area="area-clocks",
                    ),
                    panel(
                        "Ingest", live_table("health-counters", ["Counter", ""], "Ingest"), area="area-ingest"
                    ),
                    panel("Store", live_table("health-store", ["", ""], "Store"), area="area-store"),
                    panel(
                        "Forecast", live_table("health-forecast", ["", ""], "Forecast"), area="area-forecast"
                    ),
                ]
            ),
        ],
        className="health",
    )


PAGE = Page(
    name="health",
    path="/health",
    level=Level.DIAGNOSIS,
    layout=layout,
    live={"health": Live(lambda data, _: frames.health(data.health(), data.site.zone))},
)
