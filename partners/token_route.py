"""The token endpoint: OAuth 2 client credentials."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated
from urllib.parse import unquote_plus

from fastapi import APIRouter, Form, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from partners.access import Access
from partners.problems import MEDIA_TYPE, ApiError
from partners.routes import problems
from partners.settings import Shows
from partners.tokens import LIFETIME_S, Tokens
from partners.usage import Calls, address
from partners.workers import Workers
from storage.accounts import Accounts

PATH = "/oauth/token"
GRANT = "client_credentials"
_NOT_STORED = {"cache-control": "no-store"}


class TokenTold(BaseModel):
    """An access token (RFC 6749, 5.1)."""

    access_token: str
    token_type: str = Field("Bearer")
    expires_in: int = Field(LIFETIME_S, description="Seconds")
    scope: str = Field(description="What it shows, separated by spaces")


class TokenRefused(BaseModel):
    """Why there is none (RFC 6749, 5.2)."""

    error: str
    error_description: str


def add(
    api: APIRouter, accounts: Accounts, access: Access, tokens: Tokens, calls: Calls, workers: Workers
) -> None:
    """Add the route."""

    @api.post(
        PATH,
        summary="An access token for an API key",
        response_model=None,
        tags=["access"],
        responses={
            200: {"model": TokenTold, "description": "The token, for an hour"},
            400: {
                "model": TokenRefused,
                "description": "The request is wrong",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
            401: {"model": TokenRefused, "description": "The client is not known, or its key ended"},
            **problems(413),
        },
    )
    async def token(
        request: Request,
        grant_type: Annotated[str, Form(max_length=100, description=f"Always `{GRANT}`")] = "",
        scope: Annotated[
            str,
            Form(
                max_length=400,
                description="What it shall show, separated by spaces; all that the key shows if empty",
            ),
        ] = "",
        client_id: Annotated[str, Form(max_length=100, description="The key's first part")] = "",
        client_secret: Annotated[str, Form(max_length=200, description="The whole key")] = "",
        authorization: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> JSONResponse:
        """Get a token by OAuth 2 client credentials (RFC 6749, 4.4) and send it as a key is sent: `Authorization: Bearer TOKEN`.

        The client's id is the key's first part as the operator's list has it (`hw_ID_...`), its secret the whole key; by HTTP
        Basic or in the form. A token ends with its key.
        """
        if authorization:
            client_id, client_secret = _basic(authorization)
        key = await workers(accounts.verify_api_key, client_secret)
        if key is None or key.prefix != client_id:
            known = accounts.whose(client_secret)
            partner, prefix = ("", "") if known is None else (known.partner, known.prefix)
            error = ApiError(401, "", None, partner, prefix, "bad client credentials")
            calls.refuse(error, request.scope["route"].path_format, address(request.scope))
            why = "the client is not known, or its key has expired or was revoked"
            return _refused(401, "invalid_client", why, {"www-authenticate": "Basic"})
        caller = access.of(key)
        request.state.caller = caller
        if grant_type != GRANT:
            wrong = "unsupported_grant_type" if grant_type else "invalid_request"
            return _refused(400, wrong, f"grant_type must be {GRANT}")
        wanted = frozenset(scope.split())
        unknown = wanted - {s.value for s in caller.shows}
        if unknown:
            return _refused(400, "invalid_scope", f"not shown: {' '.join(sorted(unknown))[:200]}")
        if caller.pace.take(caller.partner):
            return _refused(400, "slow_down", "more calls a minute than allowed")
        shown = wanted or frozenset(s.value for s in caller.shows)
        told = TokenTold(access_token=tokens.make(key, wanted), scope=" ".join(sorted(shown)))
        await workers(accounts.note_use, key)
        return JSONResponse(told.model_dump(), headers=_NOT_STORED)


def scopes() -> dict[str, str]:
    """Return all scopes, each with what it shows."""
    return {
        Shows.FORECASTS.value: "Forecasts, their archive, expected ramps and accuracy",
        Shows.DEMAND.value: "15-minute demand and the running quarter hour",
        Shows.LIMITS.value: "Limits and their schedule",
        Shows.PLANS.value: "Planned changes of power",
        Shows.CONTRACT.value: "The month against the contract",
        Shows.SITE.value: "Facts of the site",
        Shows.ENERGY.value: "Energy, PUE and carbon by day and month",
        Shows.TOKENS.value: "Tokens made, and per joule",
    }


def _basic(header: str) -> tuple[str, str]:
    """Return id and secret of HTTP Basic; each is form-encoded within (RFC 6749, 2.3.1)."""
    scheme, _, told = header.partition(" ")
    try:
        name, _, secret = base64.b64decode(told, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return (unquote_plus(name), unquote_plus(secret)) if scheme.lower() == "basic" else ("", "")


def _refused(status: int, error: str, why: str, headers: dict[str, str] | None = None) -> JSONResponse:
    content = {"error": error, "error_description": why}
    return JSONResponse(content, status, {**_NOT_STORED, **(headers or {})})
