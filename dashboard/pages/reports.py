"""Reports of a shift, a day or a month: on the screen, on paper, as a file."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, dcc, html, no_update
from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from dashboard import report_frames
from dashboard.broadcast import Broadcaster
from dashboard.components.panel import aria, choice, live_table, panel
from dashboard.data import ConsoleData
from dashboard.moments import seen
from dashboard.page import Asked, Level, Page
from dashboard.reports import SPANS
from dashboard.words import say, several
from domain.errors import InputError, StorageError


def layout(asked: Asked) -> html.Div:
    """Return the page; `span` and `back` of the address say which report."""
    span = asked.search.get("span", "")
    kind = span if span in SPANS else "day"
    text = asked.search.get("back", "0")
    back = int(text) if text.isdigit() and len(text) < 4 else 0
    head = html.Div(
        [
            html.H1([say("page.reports"), " ", html.Span(id="report-title")]),
            html.Span(id="report-state", className="muted"),
            html.Div(
                [
                    choice("report-span", {s: say(f"report.{s}") for s in SPANS}, kind, say("report.span")),
                    html.Button(
                        "\u2039",
                        id="report-before",
                        type="button",
                        title=say("report.before"),
                        **aria(say("report.before")),
                    ),
                    html.Button(
                        "\u203a",
                        id="report-after",
                        type="button",
                        title=say("report.after"),
                        **aria(say("report.after")),
                    ),
                    html.Button(say("report.print"), id="report-print", type="button"),
                    html.A(say("report.file"), id="report-file", href="#"),
                    html.Button(say("report.tables"), id="report-tables", type="button"),
                ],
                className="report-acts",
            ),
        ],
        className="report-head",
    )

    def table(name: str, title: str, *columns: str) -> html.Section:
        heads = several("report", *columns) if columns else ["", ""]
        return panel(
            say(f"report.{title}"), live_table(name, heads, say(f"report.{title}")), area=f"area-{name}"
        )

    return html.Div(
        [
            dcc.Store(id="report"),
            dcc.Store(id="report-back", data=back),
            head,
            panel(
                say("report.chart"),
                html.Div(id="report-chart", className="chart", role="img", **aria(say("report.chart"))),
                area="area-report-chart",
            ),
            table("report-envelope", "envelope"),
            table("report-energy", "energy_title"),
            table("report-parts", "parts", "part", "energy", "it_energy", "pue", "highest", "measured"),
            table("report-incidents", "incidents", "when", "object", "alarm", "lasted", "beneath", "taken"),
            table("report-over", "over_title", "when", "power", "limit", "by"),
            table(
                "report-contract", "contract", "charge", "contracted", "so_far_peak", "month_end", "exceeds"
            ),
            table("report-alarms", "alarms", "measure", "value", "target"),
        ],
        className="reports-page report",
    )


def _connect(app: Dash, data: ConsoleData, _broadcaster: Broadcaster) -> None:
    @app.callback(
        Output("report", "data"),
        Input("report-span", "value"),
        Input("report-back", "data"),
        Input("url", "search"),
        Input("minute", "data"),
    )
    async def report(span: str, back: int, search: str | None, _minute: int) -> Any:
        """Return a report, anew each minute while its time lasts."""
        if span not in SPANS or not isinstance(back, int):
            return no_update
        return await seen(data, search, report_frames.page, span, max(0, back))


def _routes(data: ConsoleData) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/reports/quarters.csv")
    async def quarters(request: Request, span: str = "day", back: int = 0) -> Response:
        try:
            name, text = await seen(data, request.url.query, report_frames.quarters_csv, span, back)
        except InputError as error:
            raise HTTPException(400, str(error)) from error
        except StorageError as error:
            raise HTTPException(503, str(error)) from error
        disposition = f'attachment; filename="{name}"'
        return Response(text, media_type="text/csv", headers={"Content-Disposition": disposition})

    return router


PAGE = Page(
    name="reports",
    path="/reports",
    level=Level.SITE,
    layout=layout,
    choices=("report-span",),
    stores=("report",),
    connect=_connect,
    routes=_routes,
)
