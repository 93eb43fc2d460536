"""Alerts of every state, with a filter; what is kept quiet; how the alarms perform."""

from __future__ import annotations

from dash import dcc, html

from dashboard.components.panel import choice, live_table, panel
from domain.alert import Severity


def layout() -> html.Div:
    """Return the page."""
    filters = html.Div(
        [
            choice(
                "alert-state",
                {"active": "Active", "quiet": "Quiet", "cleared": "Cleared", "all": "All"},
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
            html.Button("Take what is over", id="take-returned", className="acknowledge", type="button"),
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
            panel(
                "Kept quiet",
                html.Div(id="quiet-list", className="quiet-list"),
                html.Div(id="window-place"),
                area="area-quiet",
                extra=html.Span(id="quiet-summary", className="muted"),
            ),
            panel(
                "Alarm performance",
                live_table("alarm-measures", ["last 24 h", "", "target"], "How the alarms performed"),
                live_table("alarm-top", ["most frequent", "times"], "Alarms that came most often"),
                area="area-measures",
                extra=html.Span("ISA-18.2, EEMUA 191", className="muted"),
            ),
        ],
        className="alerts-page",
    )
