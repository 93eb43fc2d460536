"""One rack: what it draws, how it is cooled, its GPUs, its past, and what it hangs on."""

from __future__ import annotations

from dash import dcc, html

from dashboard.components.floor import gpu_grid
from dashboard.components.panel import choice, figure, live_table, panel
from dashboard.views import SPANS
from domain.site import Site


def layout(site: Site, rack: str) -> html.Div:
    """Return the page of a rack that the site has."""
    racks = site.racks
    place = racks.index(rack)
    pod = site.pod_of(rack)
    row, column = site.position(rack) or (0, 0)
    title = html.Div(
        [
            dcc.Link("\u2190 Floor", href="/", id="back"),
            html.H1(rack, id="rack-title"),
            html.Span(f"pod {pod.id if pod else ''}, row {row}, column {column}", className="muted"),
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
            figure("Power", "rack-power", "rack-load", size="big"),
            figure("Tap A", "rack-tap-a", "rack-tap-a-share"),
            figure("Tap B", "rack-tap-b", "rack-tap-b-share"),
            figure("Coolant supply", "rack-supply"),
            figure("Coolant return", "rack-return"),
            figure("Rise", "rack-rise"),
            figure("Flow", "rack-flow"),
            figure("Pressure drop", "rack-pressure"),
            figure("Valve", "rack-valve"),
            figure("Leak", "rack-leak"),
            figure("Anomaly", "rack-anomaly"),
            figure("GPU modules", "rack-modules"),
        ],
        className="figures rack-figures",
    )
    return html.Div(
        [
            dcc.Store(id="rack-history"),
            dcc.Store(id="rack-shown", data=rack),
            html.Div([title, figures], className="area-head"),
            panel(
                "GPUs by tray",
                gpu_grid(site.rack_gpus),
                area="area-gpus",
                extra=choice(
                    "gpu-metric", {"temperature": "\u00b0C", "power": "W"}, "temperature", "GPU figure"
                ),
            ),
            panel(
                "History",
                html.Div(id="rack-chart-power", className="chart"),
                html.Div(id="rack-chart-temperature", className="chart"),
                html.Div(id="rack-chart-flow", className="chart"),
                area="area-history",
                extra=choice("rack-span", {s: s for s in SPANS}, "1h", "Time span"),
            ),
            panel(
                "GPU health",
                live_table("gpu-health", ["Object", "Grade", "What it is, what to do", "Age"], "GPU health"),
                area="area-health",
            ),
            panel("Supply path", html.Div(id="rack-paths", className="paths"), area="area-paths"),
            panel(
                "Alerts of this rack", html.Div(id="rack-alerts", className="alert-list"), area="area-alerts"
            ),
            panel(
                "Last values",
                live_table(
                    "rack-points", ["Object", "Point", "Value", "Quality", "Age"], "Last values of this rack"
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
            html.H1("No such rack"),
            html.P(f"{rack} is not in the site file."),
            dcc.Link("To the floor", href="/"),
        ],
        className="plain",
    )
