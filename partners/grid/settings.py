"""Settings of what the grid may ask: over which connections, and what an operator has to consent to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from analytics.flexibility.settings import FlexibilitySettings
from domain.configuration import SettingsModel
from domain.site import Power
from partners.grid.flex.settings import FlexSettings
from partners.grid.openadr.settings import VenSettings


class GridSettings(SettingsModel):
    """What energy partners ask of the site, and what it takes for a request to count; nothing is ever switched."""

    consent: Literal["always", "below", "never"] = Field(
        "always",
        description="Which limits wait for an operator's consent: all, those below `consent_below` (or on a node that is "
        "not the site), or none",
    )
    consent_below: Power = Field(
        0.0, description="With `consent: below`: site limits from this one up count at once"
    )
    notice: float = Field(
        3600.0,
        ge=0,
        le=7 * 86_400,
        description="Seconds before a limit begins from which it is told as coming",
    )
    settle: float = Field(
        300.0,
        ge=0,
        le=86_400,
        description="Seconds after a limit begins in which power may still come down to it",
    )
    mean: float = Field(
        60.0,
        ge=1,
        le=900,
        description="Seconds over which power is averaged before it is set against a limit",
    )
    tolerance: float = Field(
        0.01, ge=0, le=0.5, description="Share of a limit by which power may exceed it and still keep it"
    )
    flex: FlexSettings | None = Field(None, description="DSX Flex over an MQTT broker")
    openadr: tuple[VenSettings, ...] = Field((), max_length=10, description="OpenADR 3.1, one for each VTN")
    flexibility: FlexibilitySettings = FlexibilitySettings()

    @field_validator("openadr")
    @classmethod
    def _told_apart(cls, vens: tuple[VenSettings, ...]) -> tuple[VenSettings, ...]:
        names = [ven.name for ven in vens]
        twice = sorted({name for name in names if names.count(name) > 1 or name == "flex"})
        if twice:
            raise ValueError(
                f"connections called {', '.join(twice)}: give each a name of its own, and none `flex`"
            )
        return vens
