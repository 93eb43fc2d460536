"""Alerts of every state, with a filter; what is kept quiet; how the alarms perform."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, dcc, html
from fastapi import APIRouter

from dashboard import alarm_frames
from dashboard.broadcast import Broadcaster
from dashboard.components.panel import aria, choice, live_table, panel
from dashboard.data import ConsoleData
from dashboard.moments import seen
from dashboard.page import Asked, Level, Live, Page
from dashboard.threads import reading
from dashboard.words import say, several
from domain.alert import Severity


def layout(_asked: Asked) -> html.Div:
    """Return the page."""
    filters = html.Div(
        [
            choice(
                "alert-state",
                {state: say(f"alerts.{state}") for state in ("active", "quiet", "cleared", "all")},
                "active",
                say("alerts.state"),
            ),
            choice(
                "alert-severity",
                {"all": say("alerts.any_priority"), **{s.value: say(f"severity.{s}") for s in Severity}},
                "all",
                say("alerts.priority"),
            ),
            dcc.Input(
                id="alert-text",
                type="search",
                placeholder=say("alerts.words"),
                debounce=False,
                maxLength=100,
            ),
            _select("alert-sort", ("urgent", "newest", "longest", "object")),
            _select("alert-group", ("cause", "nothing", "pod", "object", "rule", "severity")),
            html.Span(id="alert-shown", className="muted"),
            html.Button(say("alerts.take_over"), id="take-returned", className="acknowledge", type="button"),
        ],
        className="filters",
    )
    return html.Div(
        [
            dcc.Store(id="alert-change"),
            dcc.Store(id="alert-history"),
            panel(
                say("page.alerts"),
                html.Div(id="alert-table", className="alert-list long"),
                area="area-all",
                extra=filters,
            ),
            panel(
                say("alerts.kept_quiet"),
                html.Div(id="quiet-list", className="quiet-list"),
                html.Div(id="window-place"),
                area="area-quiet",
                extra=html.Span(id="quiet-summary", className="muted"),
            ),
            panel(
                say("alerts.performance"),
                live_table(
                    "alarm-measures",
                    several("alerts", "last_day", "measured", "target"),
                    say("alerts.performance"),
                ),
                live_table("alarm-top", several("alerts", "frequent", "times"), say("alerts.frequent")),
                area="area-measures",
                extra=html.Span("ISA-18.2, EEMUA 191", className="muted"),
            ),
        ],
        className="alerts-page",
    )


def _select(name: str, values: tuple[str, ...]) -> html.Select:
    """Return a choice of how the list is ordered; the browser's script reads it, and keeps it in this browser."""
    key = name.removeprefix("alert-")
    options = [html.Option(say(f"alerts.{key}_{value}"), value=value) for value in values]
    return html.Select(options, id=name, title=say(f"alerts.{key}"), **aria(say(f"alerts.{key}")))


def _routes(data: ConsoleData) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/alerts/{alert_id}/timeline")
    async def timeline(alert_id: int) -> list[list[str]]:
        """Return what became of an alert, the oldest step first."""
        return await reading(alarm_frames.timeline, data, alert_id)

    return router


def _connect(app: Dash, data: ConsoleData, _broadcaster: Broadcaster) -> None:
    @app.callback(Output("alert-history", "data"), Input("alert-change", "data"), Input("url", "search"))
    async def alert_history(_change: str, search: str | None) -> Any:
        """Return the newest alerts of every state, whenever an alert opened, was taken or cleared."""
        return await seen(data, search, alarm_frames.alert_history)


PAGE = Page(
    name="alerts",
    path="/alerts",
    level=Level.SYSTEM,
    layout=layout,
    live={"alarms": Live(lambda data, _: alarm_frames.alarms(data))},
    choices=("alert-state", "alert-severity", "alert-text"),
    stores=("alert-history",),
    connect=_connect,
    routes=_routes,
)
