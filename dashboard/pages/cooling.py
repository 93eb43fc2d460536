"""Cooling: the loops of the pods, their CDUs, leaks, water and weather, air units."""

from __future__ import annotations

from dash import html

from dashboard import cooling_frames
from dashboard.components.panel import aria, figure, live_table, panel
from dashboard.data import ConsoleData
from dashboard.page import Asked, Level, Live, Page, Payload
from dashboard.words import say, several

LOOPS = ("pod", "power", "heat", "carried", "litres", "supply", "return", "redundancy", "lasts")
CDUS = (
    "cdu", "state", "supply", "setpoint", "return", "flow", "pressure", "pump", "filter", "water_in", "water_out",
    "water_flow", "valve", "approach", "expected", "heat_kw", "balance",
)  # fmt: skip


def layout(_asked: Asked) -> html.Div:
    """Return the page."""
    return html.Div(
        [
            html.Section(
                [
                    figure(say("cool.standing"), "cool-standing"),
                    figure(say("cool.heat"), "cool-heat", "cool-carried"),
                    figure(say("cool.leak"), "cool-leaks"),
                    figure(say("cool.water"), "cool-water"),
                    figure(say("cool.wet_bulb"), "cool-wet-bulb"),
                    figure(say("cool.ratio"), "cool-ratio"),
                ],
                className="panel figures area-cool-figures",
                **aria(say("page.cooling")),
            ),
            panel(
                say("cool.loops"),
                live_table("loop-rows", several("cool", *LOOPS), say("cool.loops")),
                area="area-loops",
            ),
            panel(
                say("cool.loop"),
                html.Div(id="loop-drawing", className="loop-drawing", role="img", **aria(say("cool.loop"))),
                area="area-loop",
                extra=html.Span(id="loop-name", className="muted"),
            ),
            panel(
                say("cool.cdus"),
                live_table("cdu-loop-rows", several("cool", *CDUS), say("cool.cdus")),
                area="area-cdus",
            ),
            panel(
                say("cool.leak_title"),
                live_table(
                    "leak-rows", several("cool", "object", "point", "state", "told"), say("cool.leak_title")
                ),
                area="area-leaks",
            ),
            panel(
                say("cool.air"),
                live_table(
                    "air-rows",
                    several("cool", "unit", "air_supply", "air_return", "fan", "heat_kw"),
                    say("cool.air"),
                ),
                area="area-air",
            ),
        ],
        className="cooling-page",
    )


def _hall(data: ConsoleData, _object: str) -> Payload:
    return cooling_frames.hall(data.loops.look(), data.site.thermal, data.site.zone)


PAGE = Page(
    name="cooling",
    path="/cooling",
    level=Level.SYSTEM,
    layout=layout,
    live={"hall": Live(_hall, every_s=2.0)},
)
