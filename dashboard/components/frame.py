"""The frame around every page: header, connection banner, and the elements that the live updates arrive in."""

from __future__ import annotations

from dash import dcc, html

from dashboard.components.panel import figure

LIVE = (
    "header",
    "alerts",
    "power",
    "floor",
    "cooling",
    "supply",
    "work",
    "rack",
    "health",
    "alarms",
    "session",
)
"""The sections that are pushed, each as JSON into the hidden element ``live-<name>``.

Not into a ``dcc.Store`` that a callback takes as its input: Dash's renderer keeps the past of every such property for
ever, to undo it, whether or not its undo buttons are shown.
"""


def frame(site_name: str, note: str, user: str, role: str) -> html.Div:
    """Return the whole screen of one person; the page goes into ``page``."""
    return html.Div(
        [
            dcc.Location(id="url"),
            html.Div([html.Div(id=f"live-{name}") for name in LIVE], id="live", hidden=True),
            dcc.Store(id="minute"),
            dcc.Store(id="acknowledge-request"),
            dcc.Store(id="acknowledge-answer"),
            dcc.Store(id="alarm-act-request"),
            dcc.Store(id="alarm-act-answer"),
            html.A("Skip to the page", href="#page", className="skip"),
            _header(site_name, user),
            html.Div(note, id="demo-note", className="demo-note", hidden=not note),
            html.Div(id="connection", role="alert", className="connection", hidden=True),
            html.Div(id="message", role="status", className="message", hidden=True),
            html.Main(id="page", tabIndex=-1),
        ],
        id="console",
        className=role,
    )


def _header(site_name: str, user: str) -> html.Header:
    links = [
        ("Overview", "/", "nav-overview"),
        ("Alerts", "/alerts", "nav-alerts"),
        ("On call", "/oncall", "nav-oncall"),
        ("Health", "/health", "nav-health"),
    ]
    return html.Header(
        [
            html.Div(
                [
                    html.Div(site_name, id="site-name", className="site-name"),
                    html.Nav([dcc.Link(text, href=path, id=name) for text, path, name in links]),
                ],
                className="head-site",
            ),
            html.Div(
                [
                    figure("Site power", "site-power", size="big"),
                    figure("Limit", "site-limit"),
                    figure("Margin", "site-margin"),
                    figure("Quarter hour will end at", "quarter-end", "quarter-margin", "quarter-risk"),
                ],
                className="head-power",
            ),
            html.Div(
                [
                    figure("Open alerts", "alert-count", "alert-counts"),
                    figure("Data age", "data-age", "store-state"),
                    figure("Site time", "clock-site", "clock-utc"),
                ],
                className="head-state",
            ),
            html.Form(
                [
                    html.Span(user, id="user-name"),
                    html.Button("Log out", id="log-out", type="submit"),
                ],
                action="/logout",
                method="post",
                className="head-user",
            ),
        ]
    )
