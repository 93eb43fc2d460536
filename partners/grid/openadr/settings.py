"""Settings of a VEN: the VTN, its credentials, what its events mean here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from domain.configuration import SettingsModel
from domain.errors import brief
from domain.site import Power


class VenSettings(SettingsModel):
    """OpenADR 3.1: the site as a VEN of one VTN."""

    name: str = Field(
        "openadr",
        min_length=1,
        max_length=60,
        description="Names the connection in lists and on the health page",
    )
    url: str = Field(description="Base URL of the VTN, such as https://vtn.example/openadr3/3.1.0")
    token_url: str = Field(
        "",
        description="Where tokens are had; what the VTN names at `auth/server`, else its `auth/token`, if empty",
    )
    client_id: str = Field(min_length=1, max_length=4096, description="OAuth client")
    client_secret_env: str = Field("", description="Environment variable that holds its secret")
    client_secret_file: Path | None = Field(None, description="File that holds its secret")
    scope: str = Field("", description="OAuth scope that is asked for; none if empty")
    ca_file: Path | None = Field(None, description="Certificates to trust, PEM; the system's where absent")
    program: str = Field(
        "", description="Name of the program whose events count; all that the VTN shows if empty"
    )
    ven_name: str = Field(min_length=1, max_length=128, description="Name under which the site registers")
    resource: str = Field(
        "", max_length=128, description="Name of its resource in reports; the site's id if empty"
    )
    nodes: dict[str, str] = Field(
        default_factory=dict,
        max_length=100,
        description="Nodes of the site by the targets that events name; the whole site for others",
    )
    interval: float = Field(30.0, ge=1, le=3600, description="Seconds between two polls")
    timeout: float = Field(10.0, gt=0, le=300, description="Seconds for a whole answer")
    callback_url: str = Field(
        "",
        description="Where the VTN reaches this service's `/grid/openadr/NAME/notify` to tell of changes at once; polls only if empty",
    )
    power_unit: Literal["", "KW", "MW", "W"] = Field(
        "", description="Unit of power of events that name none; such events are refused if empty"
    )
    simple: dict[Literal["1", "2", "3"], Power] = Field(
        default_factory=dict,
        description="Limits of the site by the level of SIMPLE events; a level without one is shown only",
    )

    @field_validator("url", "token_url", "callback_url")
    @classmethod
    def _web(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError(f"{brief(url)} is no URL; write one such as https://vtn.example/openadr3/3.1.0")
        return url.rstrip("/")
