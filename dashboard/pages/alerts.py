"""Alerts of every state, with a filter."""

from __future__ import annotations

from dash import dcc, html

from dashboard.components.panel import choice, panel


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
                {"all": "Any severity", "critical": "Critical", "warning": "Warning", "info": "Info"},
                "all",
                "Severity",
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
