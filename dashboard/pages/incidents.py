"""Incidents: what leads and why, what hangs on it, and what happened when."""

from __future__ import annotations

from dash import dcc, html

from dashboard import incident_frames
from dashboard.components.panel import figure, live_table, panel
from dashboard.page import Asked, Level, Live, Page
from dashboard.words import say, several


def layout(_asked: Asked) -> html.Div:
    """Return the page of all incidents."""
    return html.Div(
        [
            panel(
                say("incident.open_title"),
                html.Div(id="incident-open", className="incident-list"),
                area="area-incidents",
                extra=html.Span(id="incidents-open", className="value"),
            ),
            html.Div(
                [
                    panel(
                        say("incident.alone_title"),
                        html.Div(id="incident-alone", className="incident-list"),
                        extra=html.Span(id="incidents-alone", className="muted"),
                    ),
                    panel(
                        say("incident.past_title"),
                        html.Div(id="incident-past", className="incident-list"),
                        extra=html.Span(id="incidents-past", className="muted"),
                    ),
                ],
                className="incidents-side",
            ),
        ],
        className="incidents-page",
    )


def one(asked: Asked) -> html.Div:
    """Return the page of one incident."""
    head = html.Div(
        [
            dcc.Link(f"\u2190 {say('page.incidents')}", href="/incidents", id="incident-back"),
            html.H1(id="incident-title"),
            html.Span(id="incident-lasted", className="muted"),
        ],
        className="incident-head",
    )
    figures = html.Div(
        [
            figure(say("incident.beneath"), "incident-members-count"),
            figure(say("incident.active"), "incident-active"),
            figure(say("incident.racks"), "incident-racks"),
            figure(say("incident.gpus"), "incident-gpus"),
        ],
        className="figures",
    )
    return html.Div(
        [
            html.Div(asked.object, id="incident-shown", hidden=True),
            html.Div([head, figures], className="area-incident-head"),
            html.Div(
                [
                    panel(
                        say("incident.lead"),
                        html.Div(id="incident-alert", className="alert-list long"),
                        area="incident-small",
                    ),
                    panel(say("incident.cause"), html.Div(id="incident-cause"), area="incident-small"),
                    panel(
                        say("incident.members"), html.Div(id="incident-members", className="alert-list long")
                    ),
                ],
                className="incident-column",
            ),
            html.Div(
                [
                    panel(
                        say("incident.affected"),
                        html.Div(id="incident-affected", className="incident-racks"),
                        area="incident-small",
                    ),
                    panel(
                        say("incident.timeline"),
                        live_table(
                            "incident-steps",
                            several("incident", "time", "object", "alarm", "became", "note"),
                            say("incident.timeline"),
                        ),
                    ),
                    panel(
                        say("incident.notes"),
                        live_table(
                            "incident-notes",
                            several("incident", "time", "who", "note"),
                            say("incident.notes"),
                        ),
                        html.Form(id="incident-note-form", className="note"),
                        area="incident-small",
                    ),
                ],
                className="incident-column",
            ),
        ],
        className="incident-page",
    )


PAGE = Page(
    name="incidents",
    path="/incidents",
    level=Level.SYSTEM,
    layout=layout,
    live={"incidents": Live(lambda data, _: incident_frames.incidents(data))},
)
ONE = Page(
    name="incident",
    path="/incident/{object}",
    level=Level.UNIT,
    layout=one,
    live={"incident": Live(incident_frames.incident)},
    known=lambda _data, which: which.isdigit() and len(which) < 16,
    in_navigation=False,
)
