"""Internal routes of what the grid asks: for the console and for commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.errors import InputError
from partners.grid.desk import as_json
from partners.grid.part import Grid

MOST_NAME = 200
MOST_TEXT = 500
NONE = "the site listens to no grid: add 'grid:' to hallwatch.yaml, see docs/grid.md"


class Decided(BaseModel):
    """Who decides on a request, and why."""

    model_config = ConfigDict(extra="forbid")

    who: str = Field(min_length=1, max_length=MOST_NAME)
    note: str = Field("", max_length=MOST_TEXT)


def add(routes: APIRouter, grid: Grid | None) -> None:
    """Add the routes to the internal ones."""

    def answer(work: Callable[[Grid], Any]) -> Response:
        if grid is None:
            raise HTTPException(404, NONE)
        try:
            return Response(orjson.dumps(work(grid)), media_type="application/json")
        except InputError as error:
            raise HTTPException(400, str(error)) from error

    @routes.get("/grid")
    def status() -> Response:
        """Tell limits, how nodes stand against them, what waits, and the connections."""
        return answer(lambda grid: grid.status())

    @routes.get("/grid/requests")
    def requests(since: int | None = None) -> Response:
        """Tell requests, the newest first: of the last week, or those that ended since a time (UTC ms)."""
        return answer(lambda grid: grid.requests(since))

    @routes.get("/flexibility")
    def flexibility(node: str = "", target: float | None = None, start: int = 0, end: int = 0) -> Response:
        """Tell what a node could shed or raise, and with a target (W, from start to end, UTC ms) an advisory plan."""
        return answer(lambda grid: grid.flexibility(node[:MOST_NAME], target, start, end))

    @routes.post("/grid/requests/{number}/consent")
    def consent(number: int, body: Decided) -> Response:
        """Agree to a request."""
        return answer(lambda grid: as_json(grid.desk.consent(number, body.who, body.note)))

    @routes.post("/grid/requests/{number}/refuse")
    def refuse(number: int, body: Decided) -> Response:
        """Refuse a request, or withdraw from it."""
        return answer(lambda grid: as_json(grid.desk.refuse(number, body.who, body.note)))


def notices(grid: Grid) -> APIRouter:
    """Return the route at which a VTN tells that something changed; what it says is not used, only that it said so."""
    routes = APIRouter(prefix="/grid/openadr", include_in_schema=False)

    @routes.post("/{name}/notify", status_code=204)
    async def notify(name: str, request: Request) -> Response:
        ven = grid.vens.get(name)
        if ven is None or not ven.notified(request.headers.get("authorization", "")):
            raise HTTPException(401, "the token of the subscription is needed")
        return Response(status_code=204)

    return routes
