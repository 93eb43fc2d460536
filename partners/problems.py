"""Errors as RFC 9457 problem details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "Not authorised",
    403: "Not shown",
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
    """An answer other than success.

    `partner` and `prefix` (of the key) are empty where the caller did not say who it is; `reason` is why it was refused,
    for the log of refusals.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        partner: str = "",
        prefix: str = "",
        reason: str = "",
    ) -> None:
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.partner = partner
        self.prefix = prefix
        self.reason = reason
        super().__init__(detail)


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
