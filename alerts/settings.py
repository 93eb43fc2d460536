"""The alerting configuration (`config/alerts.yaml`): rules, routes, inhibitions, channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from alerts.oncall.settings import OnCallSettings, Person, Window, ZoneName
from alerts.rules.settings import AnyRule, Duration, SharedCause, Strict
from alerts.state_settings import MOST_MODES, Flapping, Mode, Performance, Shelving
from domain.alert import Severity
from domain.errors import InputError
from domain.languages import Language

MOST_RECIPIENTS = 50
MOST_ALERTMANAGERS = 10
LABEL = r"^[a-zA-Z_][a-zA-Z0-9_]*$"
"""Name of a label, as Prometheus allows it."""
OWN_LABELS = frozenset({"alertname", "severity", "site", "object", "object_type", "area"})
MOST_OF_TARGET = 200
"""Characters of the name of a channel and a recipient, as the records keep it."""


class Route(Strict):
    """Who is told about which alerts; of what is left out, each fits."""

    severities: tuple[Severity, ...] = Field(min_length=1)
    rules: tuple[str, ...] = Field(
        (), description="Only alerts of these rules: names, or globs such as `leak*`"
    )
    kinds: tuple[str, ...] = Field(
        (), description="Only alerts of rules of these kinds, such as `stale_source`"
    )
    objects: tuple[str, ...] = Field(
        (), description="Only alerts on these objects and what hangs on them: ids, or globs such as `CDU1*`"
    )
    process_areas: tuple[str, ...] = Field(
        (), description="Only alerts on objects with a point in one of these process areas"
    )
    times: tuple[Window, ...] = Field(
        (), max_length=20, description="Only then; what stands is told when it begins"
    )
    timezone: ZoneName = Field("", description="Whose clocks `times` go by; the site's if empty")
    channels: tuple[str, ...] = Field(
        (), description="Names of channels, or channel/recipient; none and no escalation: it is only shown"
    )
    escalation: str = Field("", description="Escalation of `on_call` that begins with such an alert")
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
    """An active alert of rule `when` explains alerts of the rules in `mutes`: they are shown under it and page nobody."""

    when: str
    mutes: tuple[str, ...] = Field(min_length=1)
    where: Literal["same", "downstream", "around", "anywhere"] = Field(
        "same",
        description="On the same object; on what it serves; on what it serves, what serves it and what shares "
        "the work with it; or anywhere",
    )
    wait: Duration = Field(
        3.0, le=60, description="An alert of `mutes` waits so long for its cause before it is told"
    )
    recovery: Duration = Field(
        60.0, description="What `when` explained has so long to end after it, before it is told on its own"
    )


class ChannelBase(Strict):
    """What every channel may have."""

    takes_acknowledgement: ClassVar[bool] = False
    """Whether it is told that somebody has taken an alert, so that its own escalation ends."""

    language: Language = Field("en", description="Of what it tells; a person's own goes before it")
    timezone: ZoneName = Field(
        "", description="Whose time a message tells beside the site's; a person's own goes before it"
    )
    fallback: str = Field("", description="Channel that stands in while this one takes nothing")
    fallback_after: Duration = Field(
        120.0, description="How long it takes nothing until then; what it refuses for good goes there at once"
    )

    def each(self) -> dict[str, Self]:
        """Return settings for each recipient by its name, where there are several: each has deliveries of its own."""
        return {}

    def names(self) -> tuple[str, ...]:
        """Return the names of its recipients, where it has any."""
        return ()


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
    recipients: tuple[str, ...] = Field(min_length=1, max_length=MOST_RECIPIENTS)
    timeout: Duration = 20.0

    @field_validator("recipients")
    @classmethod
    def _once(cls, recipients: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(recipients)) < len(recipients):
            raise ValueError("a recipient is named twice")
        return recipients

    def each(self) -> dict[str, Self]:
        """Return settings for each recipient, by its address."""
        if len(self.recipients) == 1:
            return {}
        return {who: self.model_copy(update={"recipients": (who,)}) for who in self.recipients}

    def names(self) -> tuple[str, ...]:
        """Return the addresses."""
        return self.recipients


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


class ChatRecipient(Strict):
    """One person, group or room of a chat service; the address holds the secret."""

    url_env: str = Field("", description="Environment variable that holds apprise's address")
    url_file: str = Field("", description="File that holds it")

    @model_validator(mode="after")
    def _one(self) -> ChatRecipient:
        if bool(self.url_env) == bool(self.url_file):
            raise ValueError("write either 'url_env' or 'url_file'")
        return self


class Chat(ChannelBase):
    """Chat services, through the library apprise."""

    kind: Literal["apprise"]
    recipients: dict[str, ChatRecipient] = Field(
        min_length=1, max_length=MOST_RECIPIENTS, description="By a name of ours"
    )
    timeout: Duration = 20.0

    def each(self) -> dict[str, Self]:
        """Return settings for each recipient, by its name."""
        if len(self.recipients) == 1:
            return {}
        return {
            name: self.model_copy(update={"recipients": {name: who}}) for name, who in self.recipients.items()
        }

    def names(self) -> tuple[str, ...]:
        """Return the names that the recipients have here."""
        return tuple(self.recipients)


class Alertmanager(ChannelBase):
    """Prometheus Alertmanager: all of a cluster, or one."""

    takes_acknowledgement: ClassVar[bool] = True

    kind: Literal["alertmanager"]
    urls: tuple[Annotated[str, Field(pattern=r"^https?://")], ...] = Field(
        min_length=1, max_length=MOST_ALERTMANAGERS, description="Each of the cluster, without /api/v2"
    )
    labels: dict[Annotated[str, Field(pattern=LABEL)], str] = Field(
        default_factory=dict, max_length=20, description="Further labels of every alert, for routing there"
    )
    resend: Duration = Field(30.0, ge=1, description="Time between two times that what holds is told again")
    expire: Duration = Field(
        900.0, description="How long an alert holds there when nothing is heard of Hallwatch any more"
    )
    username: str = ""
    password_env: str = Field("", description="Environment variable that holds the password")
    password_file: str = Field("", description="File that holds the password")
    token_env: str = Field("", description="Environment variable that holds a bearer token")
    token_file: str = Field("", description="File that holds a bearer token")
    ca_file: str = Field("", description="Certificates to trust; the system's if empty")
    timeout: Duration = 10.0

    @model_validator(mode="after")
    def _consistent(self) -> Alertmanager:
        taken = sorted(OWN_LABELS & set(self.labels))
        if taken:
            raise ValueError(f"labels that Hallwatch sets itself: {', '.join(taken)}; choose other names")
        if self.expire < 2 * self.resend:
            raise ValueError("expire must be twice resend at least, or alerts end there by themselves")
        if len(set(self.urls)) < len(self.urls):
            raise ValueError("a url is named twice")
        return self


Channel = Annotated[Smtp | Webhook | PagerDuty | Chat | Alertmanager, Field(discriminator="kind")]


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


@dataclass(frozen=True, slots=True)
class Fallback:
    """Who is told instead of a channel that has taken nothing for so many seconds."""

    after: float
    targets: tuple[str, ...]


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
    on_call: OnCallSettings = Field(
        default_factory=OnCallSettings, description="People, teams, schedules, escalations"
    )
    returned_for: Duration = Field(
        24 * 3600.0, description="An alarm that is gone and that nobody took is listed for so long"
    )
    shelving: Shelving = Shelving()
    modes: tuple[Mode, ...] = Field((), max_length=MOST_MODES)
    flapping: Flapping = Flapping()
    performance: Performance = Performance()

    def targets(self, ways: Sequence[str]) -> list[str]:
        """Return what deliveries to channels, or channel/recipient, are called: the latter where there are several.

        Raises
        ------
        KeyError
            If there is no such channel or recipient.
        """
        return list(dict.fromkeys(target for way in ways for target in self._targets(way)))

    def _targets(self, way: str) -> list[str]:
        if way in self.channels:
            return [f"{way}/{who}" for who in self.channels[way].each()] or [way]
        for name, channel in self.channels.items():
            if way.startswith(f"{name}/") and way.removeprefix(f"{name}/") in channel.names():
                return [way] if channel.each() else [name]
        raise KeyError(way)

    def people(self) -> dict[str, tuple[str, Person]]:
        """Return by the name of a delivery whose it is: their key, and what is known of them."""
        return {
            target: (key, person)
            for key, person in self.on_call.people.items()
            for target in self.targets(list(person.all_ways()))
        }

    def only(self, names: Sequence[str]) -> AlertSettings:
        """Return these settings with all rules but the named ones switched off; as they are if none is named.

        Raises
        ------
        InputError
            If there is no rule of such a name.
        """
        known = [rule.name for rule in self.rules]
        unknown = sorted(set(names).difference(known))
        if unknown:
            raise InputError(f"there is no rule {', '.join(unknown)}; there are {', '.join(known)}")
        if not names:
            return self
        kept = [r if r.name in names else r.model_copy(update={"enabled": False}) for r in self.rules]
        return self.model_copy(update={"rules": tuple(kept)})

    def fallbacks(self) -> dict[str, Fallback]:
        """Return who stands in for whom, by the names of deliveries."""
        return {
            target: Fallback(channel.fallback_after, tuple(self.targets([channel.fallback])))
            for name, channel in self.channels.items()
            if channel.fallback
            for target in (name, *self.targets([name]))
        }

    @model_validator(mode="after")
    def _told_apart(self) -> AlertSettings:
        targets = [t for name in self.channels for t in {name, *self.targets([name])}]
        for target in targets:
            if targets.count(target) > 1:
                raise ValueError(f"a channel and a recipient are both called {target!r}; rename the channel")
            if len(target) > MOST_OF_TARGET:
                raise ValueError(f"{target[:50]!r}...: a name has {MOST_OF_TARGET} characters at most")
        return self

    @model_validator(mode="after")
    def _fallbacks_end(self) -> AlertSettings:
        for name in self.channels:
            path = [name]
            while fallback := self.channels[path[-1]].fallback:
                if fallback not in self.channels:
                    raise ValueError(f"{path[-1]} falls back on {fallback}, which is no channel; add it")
                if fallback in path:
                    raise ValueError(f"channels fall back in a circle: {', '.join([*path, fallback])}")
                path.append(fallback)
        return self

    @model_validator(mode="after")
    def _consistent(self) -> AlertSettings:
        names = [rule.name for rule in self.rules]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"rules of the same name: {', '.join(twice)}; give each its own")
        for rule in self.rules:
            if strange := sorted(set(rule.takes_over) - set(names) | {rule.name} & set(rule.takes_over)):
                raise ValueError(
                    f"{rule.name}: 'takes_over' names {', '.join(strange)}; name rules that foretell it"
                )
        plain = {rule.name for rule in self.rules if not isinstance(rule, SharedCause)}
        for rule in self.rules:
            if isinstance(rule, SharedCause) and (others := sorted(set(rule.of) - plain)):
                raise ValueError(
                    f"{rule.name}: 'of' names {', '.join(others)}; name rules that find something by themselves"
                )
        for inhibition in self.inhibitions:
            unknown = sorted({inhibition.when, *inhibition.mutes} - set(names))
            if unknown:
                raise ValueError(f"inhibitions name unknown rules: {', '.join(unknown)}")
            loud = sorted(
                {rule.name for rule in self.rules if rule.never_muted}.intersection(inhibition.mutes)
            )
            if loud:
                raise ValueError(
                    f"inhibitions mute what is never muted: {', '.join(loud)}; take it out of 'mutes'"
                )
        kinds = {rule.kind for rule in self.rules}
        for route in self.routes:
            self._there("routes", [*route.channels, *route.escalate_to])
            strange = sorted(set(route.kinds) - kinds)
            if strange:
                raise ValueError(f"routes name kinds that no rule has: {', '.join(strange)}")
            if route.escalation and route.escalation not in self.on_call.escalations:
                raise ValueError(
                    f"a route names the escalation {route.escalation}; add it under 'on_call: escalations'"
                )
        return self

    @model_validator(mode="after")
    def _reached(self) -> AlertSettings:
        for who, way in self.on_call.ways():
            self._there(who, [way])
        owner: dict[str, str] = {}
        for key, person in self.on_call.people.items():
            for target in self.targets(list(person.all_ways())):
                if owner.setdefault(target, key) != key:
                    raise ValueError(
                        f"{target} tells both {owner[target]} and {key}; give each a recipient of their own"
                    )
        return self

    def _there(self, who: str, ways: Sequence[str]) -> None:
        missing = []
        for way in ways:
            try:
                self._targets(way)
            except KeyError:
                missing.append(way)
        if missing:
            told = ", ".join(sorted(set(missing)))
            verb = "name" if who == "routes" else "names"
            raise ValueError(f"{who} {verb} unknown channels: {told}; add them under 'channels'")
