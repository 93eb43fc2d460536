"""Settings of DSX Flex: the broker, who may ask, the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from collectors.mqtt.settings import BrokerSettings
from domain.configuration import SettingsModel

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
"""A part of a topic and of a source."""


class PartyKey(SettingsModel):
    """A public key with which an energy partner signs."""

    id: str = Field(min_length=1, max_length=200, description="Its `kid` in what is signed")
    party: Word = Field(description="Identifier of the partner whose key it is, as in its topic")
    key_file: Path = Field(
        description="The public key, PEM or JWK: P-256 for ES256, RSA of 2,048 bits or more for RS256"
    )


class SigningKey(SettingsModel):
    """The private key with which the site signs what it tells."""

    id: str = Field("hallwatch", min_length=1, max_length=200, description="Its `kid`")
    key_file: Path = Field(description="The private key, PEM or JWK: P-256 or RSA")


class FlexSettings(SettingsModel):
    """DSX Flex: load targets from energy partners, and what the site tells them."""

    identifier: Word = Field("hallwatch", description="The site's own identifier in topics and sources")
    broker: BrokerSettings = BrokerSettings()
    keys: tuple[PartyKey, ...] = Field(
        (),
        max_length=1000,
        description="Whose signatures are believed; a partner may have several while it changes keys",
    )
    sign: SigningKey = Field(description="The site's own key")
    feeds: dict[Word, str] = Field(
        default_factory=dict,
        max_length=100,
        description="Nodes of the site by the tag that partners use; the whole site as `main` if empty",
    )
    max_age: float = Field(
        900.0, gt=0, le=86_400, description="Seconds after its time at which a target is too old to be taken"
    )
    require_claims: bool = Field(
        False,
        description="Take targets only whose signed header names audience (`aud`) and expiry (`exp`); they are checked "
        "wherever they are there",
    )
    heartbeat: float = Field(
        60.0, ge=1, le=3600, description="Seconds between two status messages without a change"
    )
    breach_above: float = Field(
        0.02, ge=0, le=1, description="Share of a target by which power exceeds it in a breach"
    )
    breach_after: float = Field(60.0, ge=0, le=86_400, description="Seconds of that until a breach is told")
    escalate_after: float = Field(
        300.0, ge=0, le=86_400, description="Seconds after which a breach that lasts is escalated"
    )

    @model_validator(mode="after")
    def _keys_apart(self) -> FlexSettings:
        ids = [key.id for key in self.keys]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"keys with one id: {', '.join(twice)}; give each its own")
        return self
