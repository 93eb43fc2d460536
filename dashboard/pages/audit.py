"""Who did what: logins, acts on alerts, changes of people and keys; for administrators."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, dcc, html, no_update

from dashboard import cells
from dashboard.auth import session_now
from dashboard.broadcast import Broadcaster
from dashboard.components.panel import choice, live_table, panel
from dashboard.data import ConsoleData
from dashboard.moments import seen
from dashboard.page import Asked, Level, Page, Payload
from dashboard.words import count, say, several, term
from domain.errors import StorageError
from domain.role import Role
from storage.api_keys import LONGEST_NAME

MOST_ENTRIES = 300
"""Entries that are listed, the newest first."""
LONGEST_WORDS = 100
DAYS = {"1": 1, "7": 7, "30": 30, "all": 0}
DAY_MS = 86_400_000


def layout(_asked: Asked) -> html.Div:
    """Return the page."""
    filters = html.Div(
        [
            choice("audit-days", {key: say(f"audit.days_{key}") for key in DAYS}, "7", say("audit.since")),
            dcc.Input(
                id="audit-who",
                type="search",
                placeholder=say("audit.who"),
                maxLength=LONGEST_NAME,
                debounce=0.4,
            ),
            dcc.Input(
                id="audit-words",
                type="search",
                placeholder=say("audit.words"),
                maxLength=LONGEST_WORDS,
                debounce=0.4,
            ),
            html.Span(id="audit-told", className="muted"),
        ],
        className="filters",
    )
    return html.Div(
        [
            dcc.Store(id="audit-trail"),
            panel(
                say("page.audit"),
                live_table(
                    "audit-rows", several("audit", "when", "who", "what", "detail"), say("page.audit")
                ),
                extra=filters,
                area="area-audit",
            ),
        ],
        className="single",
    )


def trail(data: ConsoleData, days: str, who: str, words: str) -> Payload:
    """Return the newest entries of some days, of a person if named, that hold some words. Blocks."""
    length = DAYS.get(days, 7)
    start = data.clock() - length * DAY_MS if length else 0
    try:
        found = data.records.audit_trail(start, limit=MOST_ENTRIES, who=who, words=words)
    except StorageError as error:
        return {"rows": [], "told": str(error)}
    rows = [
        {
            "id": "",
            "mark": "",
            "cells": [
                [cells.date(entry.at, data.site.zone, "long"), ""],
                [entry.who, "name"],
                [term("audit_what", entry.what), ""],
                [entry.detail, "name"],
            ],
        }
        for entry in found
    ]
    told = say("audit.newest", n=len(rows)) if len(rows) == MOST_ENTRIES else count("audit.n", len(rows))
    return {"rows": rows, "told": told}


def _connect(app: Dash, data: ConsoleData, _broadcaster: Broadcaster) -> None:
    @app.callback(
        Output("audit-trail", "data"),
        Input("audit-days", "value"),
        Input("audit-who", "value"),
        Input("audit-words", "value"),
        Input("url", "search"),
        Input("minute", "data"),
    )
    async def audit(days: str, who: str | None, words: str | None, search: str | None, _minute: int) -> Any:
        """Return what was done, to an administrator only, whatever the browser asks for."""
        if not session_now().role.may("audit"):
            return no_update
        return await seen(
            data,
            search,
            trail,
            days,
            str(who or "").strip()[:LONGEST_NAME],
            str(words or "").strip()[:LONGEST_WORDS],
        )


PAGE = Page(
    name="audit",
    path="/audit",
    level=Level.DIAGNOSIS,
    layout=layout,
    stores=("audit-trail",),
    connect=_connect,
    role=Role.ADMINISTRATOR,
)
