"""How Hallwatch itself is: sources, ingest, store, forecast; and what maintenance has to know."""

from __future__ import annotations

from dash import html

from dashboard import health_frames
from dashboard.components.panel import live_table, panel
from dashboard.page import Asked, Level, Live, Page
from dashboard.words import say, several


def layout(_asked: Asked) -> html.Div:
    """Return the page."""
    collectors = live_table(
        "health-sources", several("health", "collector", "counters"), say("health.collectors")
    )
    ages = live_table("health-ages", several("health", "source", "points", "newest"), say("health.ages"))
    return html.Div(
        [
            html.Div(
                [
                    panel(say("health.collectors"), collectors, area="area-sources"),
                    panel(
                        say("health.ages"),
                        ages,
                        area="area-ages",
                        extra=html.Span(id="ages-summary", className="muted"),
                    ),
                    panel(
                        say("health.worth"),
                        live_table(
                            "health-worth",
                            several(
                                "health",
                                "forecast",
                                "ahead",
                                "inside",
                                "error",
                                "of_persistence",
                                "of_naive",
                                "brier",
                                "scored",
                                "verdict",
                            ),
                            say("health.worth"),
                        ),
                        area="area-worth",
                    ),
                    panel(
                        say("health.upkeep"),
                        live_table(
                            "health-upkeep",
                            several("health", "part", "what", "now", "limit", "left", "interval", "advice"),
                            say("health.upkeep"),
                        ),
                        area="area-upkeep",
                    ),
                    panel(
                        say("health.instruments"),
                        live_table(
                            "health-instruments",
                            several("health", "object", "quantity", "verdict", "instead"),
                            say("health.instruments"),
                        ),
                        area="area-instruments",
                    ),
                ]
            ),
            html.Div(
                [
                    panel(
                        say("health.clocks"),
                        live_table(
                            "health-clocks",
                            several("health", "source", "off", "drift", "steps"),
                            say("health.clocks"),
                        ),
                        area="area-clocks",
                    ),
                    panel(
                        say("health.ingest"),
                        live_table(
                            "health-counters", several("health", "counter", "now"), say("health.ingest")
                        ),
                        area="area-ingest",
                    ),
                    panel(
                        say("health.store"),
                        live_table("health-store", several("health", "what", "now"), say("health.store")),
                        area="area-store",
                    ),
                    panel(
                        say("health.forecast"),
                        live_table(
                            "health-forecast", several("health", "what", "now"), say("health.forecast")
                        ),
                        area="area-forecast",
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
    live={"health": Live(lambda data, _: health_frames.health(data.health(), data.site.zone))},
    of_past=False,
)
