"""The specification of the partner API, of its own routes only."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from domain import __version__
from domain.site import Site
from partners import token_route
from partners.examples import ANSWERS

PREFIX = "/api/v1"
"""Where the API lives; what changes incompatibly gets another."""


_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}


def specification(api: APIRouter, site: Site) -> dict[str, Any]:
    """Return the OpenAPI document of the API's routes."""
    spec = get_openapi(
        title=f"{site.name}: forecasts for energy partners",
        version=__version__,
        description=(
            "Power forecasts to plan on. Every call but this document needs an API key or an access token in the header "
            "`Authorization: Bearer KEY`. Power is in W, times are UTC (RFC 3339). Errors are problem documents "
            "(RFC 9457)."
        ),
        routes=api.routes,
    )
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            example = ANSWERS.get(path.removeprefix(PREFIX))
            if example is not None:
                operation["responses"]["200"]["content"]["application/json"]["example"] = example
            operation["responses"].pop("422", None)  # wrong parameters are answered 400
            for status, response in operation["responses"].items():
                told = response.get("content", {}).get("application/json")
                if status[0] in "45" and told == _PROBLEM:
                    response["content"] = {"application/problem+json": told}
            if "security" in operation:
                part = operation.pop("x-shows")
                operation["security"] = [{"API key": []}, {"OAuth 2": [part]}]
    flow = {"tokenUrl": f"{PREFIX}{token_route.PATH}", "scopes": token_route.scopes()}
    spec["components"]["securitySchemes"]["OAuth 2"] = {
        "type": "oauth2",
        "flows": {"clientCredentials": flow},
    }
    schemas = spec["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return spec
