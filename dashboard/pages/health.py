"""How Hallwatch itself is: sources, ingest, store, forecast; and what maintenance has to know."""

from __future__ import annotations

from dash import html

from dashboard import health_frames
from dashboard.components.panel import figure, live_table, panel
from dashboard.page import Asked, Level, Live, Page
from dashboard.words import say, several


def layout(_asked: Asked) -> html.Div:
    """Return the page: what is wrong comes first."""
    figures = html.Div(
        [
            figure(say(f"health.{name}"), f"health-{cell}")
            for name, cell in (
                ("troubles", "troubles-count"),
                ("sources_silent", "silent"),
                ("devices_down", "down"),
                ("trays_online", "trays"),
                ("violations", "refused"),
                ("aside", "aside"),
                ("spool", "spool"),
                ("waiting", "waiting"),
                ("lag", "lag"),
            )
        ],
        className="figures",
    )
    return html.Div(
        [
            html.Div(figures, className="area-health-head"),
            html.Div(
                [
                    _table("troubles", "troubles", "source", "what", "since"),
                    _table("violations", "violations", "reason", "topic", "detail", "times", "then"),
                    _table("quarantine", "quarantine", "when", "reason", "of", "sample", "detail"),
                    _table("instruments", "instruments", "object", "quantity", "verdict", "instead"),
                    _table(
                        "upkeep", "upkeep", "part", "what", "now", "limit", "left", "interval", "advice"
                    ),
                    _table(
                        "worth", "worth", "forecast", "ahead", "inside", "error", "of_persistence", "of_naive",
                        "brier", "scored", "verdict",
                    ),
                ],
                className="health-column",
            ),
            html.Div(
                [
                    _table("sources", "collectors", "collector", "state", "counters"),
                    _table("ages", "ages", "source", "points", "newest", extra="ages-summary"),
                    _table("clocks", "clocks", "source", "off", "drift", "steps"),
                    _table("counters", "ingest", "counter", "now"),
                    _table("store", "store", "what", "now"),
                    _table("forecast", "forecast", "what", "now"),
                ],
                className="health-column",
            ),
        ],
        className="health",
    )  # fmt: skip


def _table(name: str, title: str, *columns: str, extra: str = "") -> html.Section:
    """Return a panel with the table that the section ``NAME`` of the live updates fills."""
    return panel(
        say(f"health.{title}"),
        live_table(f"health-{name}", several("health", *columns), say(f"health.{title}")),
        area=f"area-{name}",
        extra=html.Span(id=extra, className="muted") if extra else None,
    )


PAGE = Page(
    name="health",
    path="/health",
    level=Level.DIAGNOSIS,
    layout=layout,
    live={"health": Live(lambda data, _: health_frames.health(data.health(), data.site.zone))},
    of_past=False,
)
