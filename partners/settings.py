"""What energy partners may see, and who they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from fnmatch import fnmatchcase

from pydantic import Field, field_validator, model_validator

from domain.configuration import SettingsModel
from domain.envelope import Envelope


class Shows(StrEnum):
    """A part of what the API tells: a scope of keys and tokens."""

    FORECASTS = "forecasts"
    DEMAND = "demand"
    LIMITS = "limits"
    PLANS = "plans"
    CONTRACT = "contract"
    SITE = "site"
    ENERGY = "energy"
    TOKENS = "tokens"


class ForecastEvent(StrEnum):
    """What is pushed."""

    ISSUED = "forecast.issued"
    REVISED = "forecast.revised"


class WebhookSettings(SettingsModel):
    """Where a partner is told of events, signed the way of Standard Webhooks."""

    url: str = Field(pattern=r"^https?://", max_length=300, description="Takes messages by POST")
    secret_env: str = Field(
        "", description="Environment variable that holds the signing secret: `whsec_` and base64"
    )
    secret_file: str = Field("", description="File that holds the signing secret")
    ca_file: str = Field("", description="Certificates to trust; the system's if empty")
    timeout: float = Field(10.0, gt=0, le=60, description="Seconds that one attempt may take")
    events: tuple[ForecastEvent, ...] = Field(
        (ForecastEvent.ISSUED, ForecastEvent.REVISED),
        description="`forecast.issued`: every forecast that says about what the one before said; `forecast.revised`: one that "
        "says something else",
    )

    @model_validator(mode="after")
    def _signed(self) -> WebhookSettings:
        if not self.secret_env and not self.secret_file:
            raise ValueError("name the signing secret: secret_env or secret_file")
        return self


class PartnerContract(SettingsModel):
    """One partner whose contract shows something else than `shows` and `published`."""

    name: str = Field(description="As its keys were made for it")
    shows: tuple[Shows, ...] | None = Field(None, description="What it may read, instead of `partners.shows`")
    published: tuple[str, ...] | None = Field(
        None, description="Nodes that it may read, instead of `partners.published`"
    )
    calls_per_minute: int | None = Field(
        None,
        ge=1,
        description="Calls that it may make in a minute, instead of `web.partner_calls_per_minute`",
    )
    webhooks: tuple[WebhookSettings, ...] = Field(
        (), max_length=10, description="Where it is told of issued forecasts, if its contract shows them"
    )


class PartnerSettings(SettingsModel):
    """What the partner API tells, and to whom."""

    published: tuple[str, ...] = Field(
        (),
        description="Feeds, UPSes, busways and racks whose figures partners may read beside the site's, as ids or globs such as "
        "`FEED-*`; none if empty",
    )
    shows: tuple[Shows, ...] = Field(
        (Shows.FORECASTS,),
        description="What partners may read that `contracts` do not name: `forecasts` (with accuracy and expected ramps), `demand` "
        "(15-minute demand, running quarter hour), `limits`, `plans` (planned changes of power), `contract` (the month against the "
        "contract), `site` (facts), `energy` (energy, PUE, carbon), `tokens`",
    )
    contracts: tuple[PartnerContract, ...] = Field(
        (), description="Partners whose contract shows something else"
    )

    @field_validator("contracts")
    @classmethod
    def _told_apart(cls, contracts: tuple[PartnerContract, ...]) -> tuple[PartnerContract, ...]:
        twice = [name for name, n in Counter(c.name for c in contracts).items() if n > 1]
        if twice:
            raise ValueError(f"{', '.join(map(repr, twice))} has more than one contract: write one")
        return contracts

    def contract(self, partner: str) -> PartnerContract:
        """Return what holds for a partner, every part filled in but its pace."""
        found = next((c for c in self.contracts if c.name == partner), PartnerContract(name=partner))
        shows = self.shows if found.shows is None else found.shows
        published = self.published if found.published is None else found.published
        return found.model_copy(update={"shows": shows, "published": published})

    def unknown(self, envelope: Envelope) -> list[tuple[tuple[str | int, ...], str]]:
        """Return the patterns that name no node of the site, each after its place."""
        lists: list[tuple[tuple[str | int, ...], tuple[str, ...]]] = [(("published",), self.published)]
        lists += [(("contracts", i, "published"), c.published or ()) for i, c in enumerate(self.contracts)]
        return [
            ((*place, i), pattern)
            for place, patterns in lists
            for i, pattern in enumerate(patterns)
            if not any(_named(node, (pattern,)) for node in envelope.nodes)
        ]


def visible(published: Iterable[str], envelope: Envelope) -> frozenset[str]:
    """Return the ids that may be asked for: the site, and the nodes that are published."""
    patterns = tuple(published)
    return frozenset({envelope.root, *(i for i in envelope.nodes if _named(i, patterns))})


def _named(object_id: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(object_id, pattern) for pattern in patterns)
