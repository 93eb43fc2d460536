"""Heat maps: the racks on the floor, the GPUs in a rack."""

from __future__ import annotations

from dash import dcc, html

from dashboard.components.panel import aria
from dashboard.words import say
from domain.site import Site

METRICS = ("power", "return", "gpu", "anomaly", "headroom", "risk", "supply", "flow")
"""What the floor map can show: the text ``floor.NAME``."""


def floor_map(site: Site) -> html.Div:
    """Return the racks where they stand, each a link to its page; the live updates colour them."""
    cells = []
    for order, rack in enumerate(site.racks):
        row, column = site.position(rack) or (1, 1)
        cells.append(
            dcc.Link(
                [html.Span(rack, className="rack-name"), html.Span(className="rack-value")],
                id=f"rack-{rack}",
                href=f"/rack/{rack}",
                className=f"cell rack order-{order}",
                style={"gridRow": row, "gridColumn": column},
            )
        )
    return html.Div(cells, id="floor", className="floor", role="group", **aria(say("floor.racks")))


def floor_legend() -> html.Div:
    """Return the colour scale's legend, filled by the live updates."""
    return html.Div(
        [
            html.Span(id="floor-low"),
            html.Span(id="floor-scale", className="scale"),
            html.Span(id="floor-high"),
            html.Span(say("floor.no_data"), className="hatched key"),
            html.Span(say("floor.alert"), className="outlined key"),
        ],
        className="legend",
    )


def gpu_grid(count: int, per_tray: int = 4) -> html.Div:
    """Return the GPUs of a rack, a row a tray."""
    rows = []
    for tray in range(-(-count // per_tray)):
        gpus = range(tray * per_tray, min(count, (tray + 1) * per_tray))
        cells = [html.A(id=f"gpu-{gpu}", className="cell gpu") for gpu in gpus]
        rows.append(
            html.Div([html.Span(f"T{tray + 1:02d}", className="tray-name"), *cells], className="tray")
        )
    return html.Div(rows, id="gpus", className="gpus", role="group", **aria(say("rack.gpus")))
