"""Alerts of every state, with a filter."""

from __future__ import annotations

from dash import dcc, html

from dashboard.components.panel import choice, panel
from domain.alert import Severity


def layout() -> html.Div:
    """Return the page."""
    filters = html.Div(
        [
            choice(
                "alert-state",
                {"active": "Active", "cleared": "Cleared", "all": "All"},
                "active",
                "State of the alerts",
            ),
            choice(
                "alert-severity",
                {"all": "Any priority", **{s.value: s.value.capitalize() for s in Severity}},
                "all",
                "Priority",
            ),
            dcc.Input(
                id="alert-text",
                type="search",
                placeholder="object, rule or words",
                debounce=False,
                maxLength=100,
            ),
            html.Span(id="alert-shown", className="muted"),
        ],
        className="filters",
    )
    return html.Div(
        [
            dcc.Store(id="alert-change"),
            dcc.Store(id="alert-history"),
            panel(
                "Alerts",
                html.Div(id="alert-table", className="alert-list long"),
                area="area-all",
                extra=filters,
            ),
        ],
        className="single",
    )
