"""Routes of the API: what can be answered at once is, errors are problem documents, every call is counted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import structlog
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from domain.errors import HallwatchError
from partners.formats import MEDIA, Format
from partners.problems import ApiError, Problem, problem, refused
from partners.usage import Calls, address

log = structlog.get_logger(__name__)

Answer = Callable[[Request], Coroutine[Any, Any, Response]]
Answers: TypeAlias = dict[int | str, dict[str, Any]]
TABLES: dict[str, Any] = {
    MEDIA[Format.CSV]: {"schema": {"type": "string"}},
    MEDIA[Format.PARQUET]: {"schema": {"type": "string", "format": "binary"}},
}
TEXTS = {
    400: "A parameter is wrong",
    401: "The API key or token is missing or not valid",
    403: "The contract, the key or the token does not show this",
    404: "There is nothing of this object or this time",
    406: "None of the forms that there are is accepted",
    413: "The body is too large",
    429: "More calls a minute than allowed; Retry-After tells when to ask again",
    503: "Not available now; Retry-After tells when to ask again",
}


def problems(*statuses: int) -> Answers:
    """Return the answers other than success that an operation has, as the specification tells them."""
    return {status: {"model": Problem, "description": TEXTS[status]} for status in statuses}


def answers(model: type[BaseModel], description: str, *statuses: int, tables: bool = False) -> Answers:
    """Return the answers of an operation that only reads, as the specification tells them: `model`, 304 and problems.

    `statuses` are its own, besides those that all have; with `tables` it answers CSV and Parquet too.
    """
    whole: dict[str, Any] = {"model": model, "description": description}
    if tables:
        whole["content"] = TABLES
    unchanged = {"description": "Nothing new since the ETag in If-None-Match"}
    return {200: whole, 304: unchanged, **problems(*sorted({401, 403, 429, *statuses}))}


def not_allowed(method: str, route: APIRoute) -> ApiError:
    """Return the answer to a method that a route does not have."""
    methods = {"GET", "HEAD"} if "GET" in (route.methods or ()) else route.methods or set()
    allowed = ", ".join(sorted(methods))
    return ApiError(405, f"{method} is not possible here; possible is {allowed}", {"allow": allowed})


def route_class(calls: Calls, at_once: Callable[[Scope, str], Response | None]) -> type[APIRoute]:
    """Return a route that answers errors as problem documents and counts every call in `calls`.

    `at_once` may have the answer to a request with a key; it counts those itself.
    """

    class ProblemRoute(APIRoute):
        """A route of the partner API."""

        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            """Answer at once where that is possible."""
            if scope["method"] not in (self.methods or ()):
                calls.note("", 405, self.path_format)
                await refused(not_allowed(scope["method"], self))(scope, receive, send)
                return
            answer = at_once(scope, self.path_format) if self.dependencies else None
            if answer is not None:
                await answer(scope, receive, send)
                return
            await super().handle(scope, receive, send)

        def get_route_handler(self) -> Answer:
            """Return the handler, wrapped."""
            answer = super().get_route_handler()

            async def handler(request: Request) -> Response:
                told = ""
                try:
                    response = await _answered(answer, request)
                except ApiError as error:
                    told = error.partner
                    calls.refuse(error, self.path_format, address(request.scope))
                    response = refused(error)
                caller = getattr(request.state, "caller", None)
                calls.note(told if caller is None else caller.partner, response.status_code, self.path_format)
                return response

            return handler

    return ProblemRoute


async def _answered(answer: Answer, request: Request) -> Response:
    try:
        return await answer(request)
    except RequestValidationError as error:
        faults = [
            {"parameter": str(fault["loc"][-1]), "message": str(fault["msg"])} for fault in error.errors()
        ]
        detail = "; ".join(f"{f['parameter']}: {f['message']}" for f in faults)
        return problem(400, detail, errors=faults)
    except HTTPException as error:
        return problem(error.status_code, str(error.detail), error.headers)
    except HallwatchError as error:
        if not error.retryable:
            log.exception("partner call failed")
            return problem(500, "the service could not answer; the operators' log has the cause")
        log.error("partner call failed", error=str(error))
        return problem(503, "the service's records cannot be read now", {"retry-after": "10"})
