"""How Hallwatch itself is: sources, ingest, store, forecast."""

from __future__ import annotations

from dash import html

from dashboard.components.panel import live_table, panel


def layout() -> html.Div:
    """Return the page."""
    return html.Div(
        [
            panel(
                "Collectors",
                live_table("health-sources", ["Collector", "Counters"], "Collectors"),
                area="area-sources",
            ),
            panel(
                "Age of what they tell",
                live_table("health-ages", ["Source", "Points", "Newest reading"], "Age by source"),
                area="area-ages",
                extra=html.Span(id="ages-summary", className="muted"),
            ),
            panel("Ingest", live_table("health-counters", ["Counter", ""], "Ingest"), area="area-ingest"),
            panel("Store", live_table("health-store", ["", ""], "Store"), area="area-store"),
            panel("Forecast", live_table("health-forecast", ["", ""], "Forecast"), area="area-forecast"),
        ],
        className="health",
    )
