"""The alerting configuration (`config/alerts.yaml`): rules, routes, inhibitions, channels."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from alerts.rules.settings import AnyRule, Duration, Strict
from domain.alert import Severity


class Route(Strict):
    """Who is told about alerts of which severity."""

    severities: tuple[Severity, ...] = Field(min_length=1)
    channels: tuple[str, ...] = Field((), description="Names of channels; none: it is only shown")
    group_wait: Duration = Field(
        0.0, description="Wait this long for more of the same rule, to tell them together"
    )
    escalate_after: Duration | None = Field(
        None, description="If nobody acknowledged by then, tell escalate_to"
    )
    escalate_to: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _escalation(self) -> Route:
        if (self.escalate_after is None) != (not self.escalate_to):
            raise ValueError("write both 'escalate_after' and 'escalate_to', or neither")
        return self


class Inhibition(Strict):
    """While an alert of rule `when` is active, alerts of the rules in `mutes` page nobody; they are shown still."""

    when: str
    mutes: tuple[str, ...] = Field(min_length=1)
    where: Literal["same", "downstream", "anywhere"] = Field(
        "same", description="On the same object, on what it serves, or anywhere"
    )


class ChannelBase(Strict):
    """What every channel may have."""

    takes_acknowledgement: ClassVar[bool] = False
    """Whether it is told that somebody has taken an alert, so that its own escalation ends."""


class Smtp(ChannelBase):
    """E-mail through an SMTP server."""

    kind: Literal["smtp"]
    host: str
    port: int = Field(25, ge=1, le=65535)
    security: Literal["none", "starttls", "tls"] = "starttls"
    username: str = ""
    password_env: str = Field("", description="Environment variable that holds the password")
    password_file: str = Field("", description="File that holds the password")
    ca_file: str = Field("", description="Certificates to trust; the system's if empty")
    sender: str
    recipients: tuple[str, ...] = Field(min_length=1)
    timeout: Duration = 20.0


class Webhook(ChannelBase):
    """JSON by HTTP POST."""

    kind: Literal["webhook"]
    url: str = Field(pattern=r"^https?://")
    secret_env: str = Field("", description="Environment variable that holds the signing secret")
    secret_file: str = Field("", description="File that holds the signing secret")
    ca_file: str = Field("", description="Certificates to trust; the system's if empty")
    timeout: Duration = 10.0


class PagerDuty(ChannelBase):
    """PagerDuty, by its Events API v2."""

    takes_acknowledgement: ClassVar[bool] = True

    kind: Literal["pagerduty"]
    url: str = Field(
        "https://events.pagerduty.com/v2/enqueue",
        pattern=r"^https?://",
        description="The EU region's is https://events.eu.pagerduty.com/v2/enqueue",
    )
    routing_key_env: str = Field("", description="Environment variable that holds the integration key")
    routing_key_file: str = Field("", description="File that holds the integration key")
    ca_file: str = Field("", description="Certificates to trust; the system's if empty")
    timeout: Duration = 10.0

    @model_validator(mode="after")
    def _key(self) -> PagerDuty:
        if bool(self.routing_key_env) == bool(self.routing_key_file):
            raise ValueError("write either 'routing_key_env' or 'routing_key_file'")
        return self


Channel = Annotated[Smtp | Webhook | PagerDuty, Field(discriminator="kind")]


class HeartbeatSettings(Strict):
    """Signs of life for an outside watcher, which pages somebody when they stop."""

    url: str = Field("", description="What to call; better from the environment or a file")
    url_env: str = Field("", description="Environment variable that holds it")
    url_file: str = Field("", description="File that holds it")
    method: Literal["GET", "POST", "HEAD"] = "POST"
    interval: Duration = Field(60.0, gt=0, description="Time between two signs")
    ca_file: str = Field("", description="Certificates to trust; the system's if empty")
    timeout: Duration = 10.0

    @model_validator(mode="after")
    def _one(self) -> HeartbeatSettings:
        if sum(map(bool, (self.url, self.url_env, self.url_file))) != 1:
            raise ValueError("write one of 'url_env', 'url_file' and 'url'")
        return self


class AlertSettings(Strict):
    """The whole file."""

    interval: Duration = Field(2.0, gt=0, description="Time between two evaluations")
    max_age: Duration = Field(300.0, gt=0, description="A reading older than this says nothing to a rule")
    console_url: str = Field("", description="Address of the console, for links in messages")
    rules: tuple[AnyRule, ...] = ()
    routes: tuple[Route, ...] = ()
    inhibitions: tuple[Inhibition, ...] = ()
    channels: dict[str, Channel] = Field(default_factory=dict)
    heartbeat: HeartbeatSettings | None = None

    @model_validator(mode="after")
    def _consistent(self) -> AlertSettings:
        names = [rule.name for rule in self.rules]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"rules of the same name: {', '.join(twice)}; give each its own")
        for inhibition in self.inhibitions:
            unknown = sorted({inhibition.when, *inhibition.mutes} - set(names))
            if unknown:
                raise ValueError(f"inhibitions name unknown rules: {', '.join(unknown)}")
        for route in self.routes:
            missing = sorted({*route.channels, *route.escalate_to} - set(self.channels))
            if missing:
                raise ValueError(
                    f"routes name unknown channels: {', '.join(missing)}; add them under 'channels'"
                )
        return self
