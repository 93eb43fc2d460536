"""The power path: one-line diagram, what fails over to what, and what is stranded."""

from __future__ import annotations

import orjson
from dash import html

from dashboard import power_frames
from dashboard.components.panel import aria, live_table, panel
from dashboard.data import ConsoleData
from dashboard.page import Asked, Level, Live, Page, Payload
from dashboard.words import say


def layout(asked: Asked) -> html.Div:
    """Return the page."""
    structure = orjson.dumps(power_frames.structure(asked.data.site)).decode()
    legend = [
        html.Span(say(f"power.key_{state}"), className=f"key power-key {state}")
        for state in ("near", "over", "battery", "off")
    ]
    losses = [say(f"power.{name}") for name in ("unit", "now", "at_peak", "nearest")]
    rooms = [say(f"power.{name}") for name in ("pod", "built", "usable", "stranded_head", "bound")]
    return html.Div(
        [
            html.Div(structure, id="power-structure", hidden=True),
            panel(
                say("power.oneline"),
                html.Div(id="oneline", className="oneline", role="group", **aria(say("power.oneline"))),
                area="area-oneline",
                extra=html.Div(legend, className="power-legend"),
            ),
            panel(
                say("power.unit"),
                html.Div(id="unit-detail"),
                area="area-unit",
                extra=html.Span(id="unit-name", className="muted"),
            ),
            html.Div(
                [
                    panel(
                        say("power.if_fails"),
                        html.Div(id="reserve-answer", className="reserve-answer value"),
                        live_table("reserve-rows", losses, say("power.if_fails")),
                        area="area-reserve",
                        extra=html.Span(id="reserve-note", className="muted"),
                    ),
                    panel(
                        say("power.room"),
                        live_table("room-rows", rooms, say("power.room")),
                        area="area-room",
                        extra=html.Span(id="stranded-total", className="muted"),
                    ),
                ],
                className="power-lower",
            ),
        ],
        className="power-page",
    )


def _oneline(data: ConsoleData, _object: str) -> Payload:
    return power_frames.oneline(data.power.path(), data.site.zone)


def _reserve(data: ConsoleData, _object: str) -> Payload:
    return power_frames.reserve(data.power.reserve(), data.power.hidden(), data.site)


PAGE = Page(
    name="power",
    path="/power",
    level=Level.SYSTEM,
    layout=layout,
    live={"oneline": Live(_oneline), "reserve": Live(_reserve, every_s=2.0)},
)
