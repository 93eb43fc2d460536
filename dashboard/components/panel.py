"""Panels, figures and tables: frames that the live updates fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html


def aria(label: str) -> dict[str, Any]:
    """Return the attribute that names an element to a screen reader."""
    return {"aria-label": label}


def data_of(name: str, value: str) -> dict[str, Any]:
    """Return an attribute that the browser's script reads."""
    return {f"data-{name}": value}


def panel(title: str, *body: Any, area: str = "", extra: Any = None) -> html.Section:
    """Return a titled panel; `extra` stands at the right end of its title."""
    heading = html.Div([html.H2(title), html.Span() if extra is None else extra], className="panel-head")
    return html.Section([heading, html.Div(list(body), className="panel-body")], className=f"panel {area}")


def figure(label: str, cell: str, *below: str, size: str = "") -> html.Div:
    """Return a labelled live figure; `cell` and `below` are the ids of its cells."""
    return html.Div(
        [
            html.Span(label, className="label"),
            html.Span(id=cell, className="value"),
            html.Span([html.Span(id=b, className="below") for b in below], className="belows"),
        ],
        className=f"figure {size}",
    )


def live_table(body: str, columns: Sequence[str], label: str, classes: str = "") -> html.Table:
    """Return a table whose body (by its id) the live updates fill."""
    head = html.Thead(html.Tr([html.Th(c, scope="col") for c in columns]))
    return html.Table([head, html.Tbody(id=body)], className=f"live {classes}", **aria(label))


def choice(name: str, options: Mapping[str, str], value: str, label: str) -> html.Div:
    """Return a small group of radio buttons; the choice is kept in the browser.

    What is chosen is the property ``value`` of the hidden input `name`. The browser's script puts the buttons into the labels:
    Dash's own radio buttons call themselves options of a list, which a screen reader takes for something else.
    """
    labels = [html.Label(text, **data_of("value", key)) for key, text in options.items()]
    buttons = html.Div(
        labels, role="radiogroup", className="choice", **data_of("choice", name), **aria(label)
    )
    return html.Div([buttons, dcc.Input(id=name, type="hidden", value=value)])
