"""Errors as RFC 9457 problem details, and every call counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from domain.errors import HallwatchError

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "Not authorised",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    413: "Content too large",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available now",
}


class Problem(BaseModel):
    """An error, as RFC 9457 describes it."""

    type: str = Field("about:blank", description="Always about:blank: status and detail tell all")
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do")
    errors: list[dict[str, str]] | None = Field(None, description="For bad parameters: each with its message")


class ApiError(Exception):
    """An answer other than success; `partner` is empty where the caller did not say who it is."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, partner: str = ""
    ) -> None:
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.partner = partner
        super().__init__(detail)


class Calls:
    """Counts of API calls by partner and status; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: Counter[tuple[str, int]] = Counter()

    def note(self, partner: str, status: int) -> None:
        """Count one call; `partner` is empty where the caller did not say who it is."""
        with self._lock:
            self._count[partner, status] += 1

    def stats(self) -> dict[str, int]:
        """Return counts for the health page: all calls, by status, and by partner."""
        with self._lock:
            counted = dict(self._count)
        found: Counter[str] = Counter(calls=sum(counted.values()))
        for (partner, status), number in counted.items():
            found[f"status_{status}"] += number
            found[f"partner_{partner or 'unknown'}"] += number
        return dict(found)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """Return an error as a problem document."""
    content = Problem(title=_TITLES.get(status, "Error"), status=status, detail=detail, **more)
    return JSONResponse(
        content.model_dump(exclude_none=True),
        status,
        {"cache-control": "no-store", **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def refused(error: ApiError) -> Response:
    """Return an error of ours as a problem document."""
    return problem(error.status, error.detail, error.headers)


def route_class(calls: Calls, at_once: Callable[[Scope], Response | None]) -> type[APIRoute]:
    """Return a route that answers errors as problem documents and counts every call in `calls`.

    `at_once` may have the answer to a request with a key; it counts those itself.
    """

    class ProblemRoute(APIRoute):
        """A route of the partner API."""

        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            """Answer at once where that is possible."""
            asks = bool(self.dependencies) and scope["method"] in (self.methods or ())
            answer = at_once(scope) if asks else None
            if answer is not None:
                await answer(scope, receive, send)
                return
            await super().handle(scope, receive, send)

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """Return the handler, wrapped."""
            answer = super().get_route_handler()

            async def handler(request: Request) -> Response:
                response = await _answered(answer, request)
                partner = getattr(request.state, "partner", "")
                calls.note(partner, response.status_code)
                if response.status_code >= 400 and response.status_code != 429:
                    log.debug("partner call refused", partner=partner, status=response.status_code)
                return response

            return handler

    return ProblemRoute


async def _answered(answer: Callable[[Request], Coroutine[Any, Any, Response]], request: Request) -> Response:
    try:
        return await answer(request)
    except ApiError as error:
        return refused(error)
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
