"""Energy: the running quarter hour, today's demand, the month against contract and tariff, the grid's requests, flexibility."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, dcc, html, no_update

from dashboard import energy_frames
from dashboard.auth import session_now
from dashboard.broadcast import Broadcaster
from dashboard.components.panel import aria, figure, live_table, panel
from dashboard.data import ConsoleData
from dashboard.page import Asked, Level, Live, Page
from dashboard.threads import reading
from dashboard.words import say, several
from domain.errors import HallwatchError


def layout(_asked: Asked) -> html.Div:
    """Return the page."""

    def table(name: str, title: str, *columns: str) -> html.Table:
        heads = several("energy", *columns) if columns else ["", ""]
        return live_table(f"energy-{name}", heads, say(f"energy.{title}"))

    quarter = html.Div(
        [
            figure(say("energy.so_far"), "energy-so-far"),
            figure(say("energy.ends"), "energy-ends", "energy-elapsed", size="big"),
            figure(say("energy.room"), "energy-room"),
            figure(say("energy.risk"), "energy-risk"),
        ],
        className="figures",
    )
    chart = html.Div(id="energy-chart", className="chart", role="img", **aria(say("energy.today")))
    return html.Div(
        [
            dcc.Store(id="energy-account"),
            dcc.Store(id="grid-act-request"),
            dcc.Store(id="grid-act-answer"),
            panel(say("energy.quarter"), quarter, area="area-energy-quarter"),
            panel(
                say("energy.today"),
                chart,
                area="area-energy-today",
                extra=html.Span(id="energy-today-told", className="muted"),
            ),
            panel(
                say("energy.month"),
                table(
                    "peaks",
                    "month",
                    "charge",
                    "contracted",
                    "highest",
                    "month_end",
                    "exceeded",
                    "excess_now",
                    "excess_end",
                ),
                table("costs", "costs"),
                area="area-energy-month",
                extra=html.Span(id="energy-month"),
            ),
            panel(
                say("energy.tariff"),
                table("tariff", "tariff", "from", "period", "price", "ends_at"),
                area="area-energy-tariff",
            ),
            panel(
                say("energy.grid"),
                table("nodes", "limits", "node", "limit", "state", "power", "kept", "feasible"),
                table(
                    "requests", "requests", "number", "party", "what", "from", "to", "standing", "decision"
                ),
                table("links", "links", "link", "link_state", "taken", "refused"),
                area="area-energy-grid",
                extra=html.Span(id="energy-waiting"),
            ),
            panel(
                say("energy.flexibility"),
                table(
                    "offers",
                    "flexibility",
                    "node",
                    "power",
                    "headroom",
                    "could_shed",
                    "within",
                    "could_raise",
                ),
                table(
                    "jobs",
                    "order",
                    "first",
                    "job",
                    "racks",
                    "gives",
                    "why_head",
                    "for",
                    "planned_until",
                    "lost",
                ),
                html.P(say("energy.advice"), className="muted"),
                area="area-energy-flexibility",
                extra=html.Span(id="energy-unmeasured"),
            ),
            panel(
                say("energy.account"),
                table(
                    "energy", "account", "part", "energy", "it_energy", "pue", "carbon", "highest", "measured"
                ),
                area="area-energy-account",
            ),
        ],
        className="energy-page",
    )


def _connect(app: Dash, data: ConsoleData, broadcaster: Broadcaster) -> None:
    @app.callback(Output("energy-account", "data"), Input("minute", "data"))
    async def energy_account(_minute: int) -> Any:
        """Return what changes by quarter hour, anew each minute."""
        return await reading(energy_frames.account, data)

    @app.callback(
        Output("grid-act-answer", "data"), Input("grid-act-request", "data"), prevent_initial_call=True
    )
    async def decide(request: dict[str, Any] | None) -> Any:
        """Agree to what the grid asks, or refuse it: in the name of the session, never of the browser."""
        if not request:
            return no_update
        who = session_now().user
        try:
            if not session_now().role.may("grid"):
                return {"error": say("done.no_change", who=who)}
            number, how = int(request["id"]), str(request["act"])
            await reading(data.energy.decide, number, how, who, str(request.get("note", "")).strip())
        except (HallwatchError, KeyError, TypeError, ValueError) as error:
            return {"error": str(error)}
        broadcaster.refresh()
        key = "energy.done_consent" if how == "consent" else "energy.done_refuse"
        return {"text": say(key, number=number, who=who)}


PAGE = Page(
    name="energy",
    path="/energy",
    level=Level.SITE,
    layout=layout,
    live={"energy": Live(lambda data, _: energy_frames.now(data), every_s=2.0)},
    stores=("energy-account", "grid-act-answer"),
    connect=_connect,
    of_past=False,
)
