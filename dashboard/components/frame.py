"""The frame around every page: header, connection banner, and the elements that the live updates arrive in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dash import dcc, html

from dashboard.components.panel import aria, data_of, figure
from dashboard.pages import PAGES
from dashboard.preferences import THEMES
from dashboard.registry import navigation
from dashboard.words import NAMES, language, say, term
from domain.role import Role


def frame(site_name: str, note: str, user: str, role: Role, live: Sequence[str], zone: str) -> html.Div:
    """Return the whole screen of one person; the page goes into ``page``.

    Each section of `live` is pushed as JSON into the hidden element ``live-<name>``. Not into a ``dcc.Store`` that a callback
    takes as its input: Dash's renderer keeps the past of every such property for ever, to undo it, whether or not its undo
    buttons are shown.
    """
    return html.Div(
        [
            dcc.Location(id="url"),
            html.Div([html.Div(id=f"live-{name}") for name in live], id="live", hidden=True),
            dcc.Store(id="language", data=language()),
            dcc.Store(id="minute"),
            dcc.Store(id="acknowledge-request"),
            dcc.Store(id="acknowledge-answer"),
            dcc.Store(id="alarm-act-request"),
            dcc.Store(id="alarm-act-answer"),
            dcc.Store(id="note-request"),
            dcc.Store(id="note-answer"),
            html.A(say("frame.skip"), href="#page", className="skip"),
            html.Header([_bar(site_name, user, role), _figures()]),
            html.Div(
                id="time-bar", role="region", className="time-bar", hidden=True, **aria(say("time.bar"))
            ),
            html.Div(term("demo_note", note), id="demo-note", className="demo-note", hidden=not note),
            html.Div(id="connection", role="alert", className="connection", hidden=True),
            html.Div(id="message", role="status", className="message", hidden=True),
            html.Div(say("past.none"), id="past-none", className="plain", hidden=True),
            html.Main(id="page", tabIndex=-1),
        ],
        id="console",
        className=role,
        **data_of("pages", " ".join(page.path.removesuffix("{object}") for page in PAGES)),
        **data_of("present", " ".join(page.path for page in PAGES if not page.of_past)),
        **data_of("zone", zone),
    )


def nothing(path: str) -> html.Div:
    """Return what is shown at an address that has no page for whoever asks."""
    return html.Div(
        [html.H1(say("frame.nothing")), html.P(say("frame.no_page", path=path))], className="plain"
    )


def _bar(site_name: str, user: str, role: Role) -> html.Div:
    groups = [
        html.Div(
            [
                dcc.Link(
                    say(f"page.{page.name}"), href=page.path, id=f"nav-{page.name}", className="nav-link"
                )
                for page in pages
            ],
            role="group",
            className=f"nav-group {level}",
            **aria(say(f"level.{level}")),
        )
        for level, pages in navigation(role)
    ]
    return html.Div(
        [
            html.Div(site_name, id="site-name", className="site-name"),
            html.Nav(groups, id="navigation", **aria(say("frame.pages"))),
            html.Button(
                [say("search.open"), html.Kbd("Ctrl K")],
                id="search-open",
                type="button",
                className="search-open",
            ),
            html.Button(
                say("time.open"),
                id="time-open",
                type="button",
                className="search-open",
                title=say("time.open_hint"),
            ),
            html.Button(
                say("notes.open"),
                id="notes-open",
                type="button",
                className="search-open",
                title=say("notes.open_hint"),
            ),
            html.Div(
                [
                    _select(
                        "language-choice", NAMES, "Language / \u8a9e\u8a00"
                    ),  # for whoever cannot read the present one
                    _select("theme-choice", {t: say(f"theme.{t}") for t in THEMES}, say("frame.theme")),
                    html.Span(user, id="user-name"),
                    html.Form(
                        html.Button(say("frame.log_out"), id="log-out", type="submit"),
                        action="/logout",
                        method="post",
                    ),
                ],
                className="head-user",
            ),
        ],
        className="bar",
    )


def _select(name: str, options: Mapping[str, str], label: str) -> html.Select:
    """Return the choice of a preference; the browser's script shows the present one, and sends what is chosen."""
    return html.Select(
        [html.Option(text, value=key) for key, text in options.items()], id=name, title=label, **aria(label)
    )


def _figures() -> html.Div:
    return html.Div(
        [
            html.Div(
                [
                    figure(say("frame.site_power"), "site-power", "site-usual", size="big"),
                    figure(say("frame.limit"), "site-limit"),
                    figure(say("frame.margin"), "site-margin"),
                    figure(say("frame.quarter"), "quarter-end", "quarter-margin", "quarter-risk"),
                    figure(say("frame.breach_in"), "breach-in", "breach-risk"),
                ],
                className="head-power",
            ),
            html.Div(
                [
                    figure(say("frame.open_alerts"), "alert-count", "alert-counts"),
                    figure(say("frame.data_age"), "data-age", "store-state"),
                    figure(say("frame.site_time"), "clock-site", "clock-utc"),
                ],
                className="head-state",
            ),
        ],
        className="head-figures",
    )
