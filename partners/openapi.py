"""The specification of the partner API, of its own routes only."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from domain import __version__
from domain.site import Site

PREFIX = "/api/v1"
"""Where the API lives; what changes incompatibly gets another."""


def specification(api: APIRouter, site: Site) -> dict[str, Any]:
    """Return the OpenAPI document of the API's routes."""
    spec = get_openapi(
        title=f"{site.name}: forecasts for energy partners",
        version=__version__,
        description=(
            "Power forecasts to plan on. Every call but this document needs an API key in the header "
            "`Authorization: Bearer KEY`. Power is in W, times are UTC (RFC 3339). Errors are problem documents "
            "(RFC 9457)."
        ),
        routes=api.routes,
    )
    for operations in spec["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # wrong parameters are answered 400
            for status, response in operation["responses"].items():
                if status[0] in "45" and "content" in response:
                    response["content"] = {
                        "application/problem+json": response["content"]["application/json"]
                    }
    schemas = spec["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return spec
