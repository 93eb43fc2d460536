"""What `on_call` of `alerts.yaml` says: people, teams, schedules with their layers, escalations in steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from alerts.rules.settings import Duration, Strict
from domain.alert import Severity
from domain.errors import brief
from domain.languages import Language

MOST_PEOPLE = 200
MOST_LAYERS, MOST_WINDOWS, MOST_STEPS = 10, 20, 20
MOST_TURN_DAYS = 366
MOST_REPEATS = 1000
SHORTEST_PAUSE_S = 60.0
"""A round of an escalation is not begun again sooner than this after its last step."""
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
UNTIL_TAKEN: Literal["until taken"] = "until taken"


def _minutes(value: Any) -> int:
    """Return minutes from midnight; YAML itself reads 22:00 as the number 1320, which is the same."""
    if isinstance(value, str):
        hour, colon, minute = value.strip().partition(":")
        if colon and hour.isdecimal() and minute.isdecimal() and len(minute) == 2 and int(minute) < 60:
            value = int(hour) * 60 + int(minute)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 24 * 60:
        raise ValueError(f"{brief(value)} is no time of day; write one such as '08:00', 24:00 at the latest")
    return value


def _days(value: Any) -> tuple[str, ...]:
    """Return days of the week, in order, from a list in which ``mon-fri`` stands for five."""
    found: set[str] = set()
    for word in [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]:
        first, dash, last = str(word).strip().lower().partition("-")
        if first not in WEEK or (dash and last not in WEEK):
            raise ValueError(f"{brief(word)} is no day; write {', '.join(WEEK)}, or a range such as mon-fri")
        at, to = WEEK.index(first), WEEK.index(last or first)
        found |= {WEEK[n % 7] for n in range(at, to + 1 if to >= at else to + 8)}
    return tuple(day for day in WEEK if day in found)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as 'Asia'
        raise ValueError(f"{brief(value)} is no IANA time zone; write one such as 'Asia/Taipei'") from None
    return value


TimeOfDay = Annotated[
    int,
    BeforeValidator(_minutes),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}], "examples": ["08:00"]}),
]
"""Minutes from midnight by the clocks of a zone, written ``08:00``."""
Days = Annotated[
    tuple[str, ...],
    BeforeValidator(_days),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "examples": ["mon-fri"],
        }
    ),
]
ZoneName = Annotated[str, AfterValidator(_zone)]
"""IANA name of a time zone; empty where another is meant."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]


class Window(Strict):
    """Hours of some days; past midnight where it ends before it begins, and then it is the day's on which it began."""

    days: Days = Field(WEEK, description="`mon` to `sun`, ranges such as `mon-fri`; every day if absent")
    begin: TimeOfDay = Field(0, alias="from", description="From when, such as `08:00`")
    end: TimeOfDay = Field(24 * 60, alias="to", description="Until when; `24:00` is midnight")


class QuietHours(Window):
    """When somebody is told of lesser alerts only afterwards; never of critical ones."""

    severities: tuple[Severity, ...] = Field(
        tuple(s for s in Severity if s is not Severity.CRITICAL), description="Which wait; never `critical`"
    )

    @field_validator("severities")
    @classmethod
    def _not_critical(cls, severities: tuple[Severity, ...]) -> tuple[Severity, ...]:
        if Severity.CRITICAL in severities:
            raise ValueError("critical alerts wait for nobody's quiet hours; leave critical out")
        return severities


class Person(Strict):
    """Somebody who may be on call."""

    name: str = Field("", max_length=100, description="As others know them; the key if empty")
    timezone: ZoneName = Field("", description="Where they are; the site's if empty")
    language: Language = Field("en", description="Of what they are told")
    reach: tuple[str, ...] = Field(
        min_length=1, max_length=20, description="Channels, or channel/recipient, that tell them"
    )
    reach_by_severity: dict[Severity, Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]] = Field(
        default_factory=dict, description="Others instead for alerts of a severity"
    )
    quiet: tuple[QuietHours, ...] = Field((), max_length=MOST_WINDOWS, description="Their quiet hours")

    def through(self, severity: Severity) -> tuple[str, ...]:
        """Return what tells them of an alert of a severity, as the file names it."""
        return self.reach_by_severity.get(severity, self.reach)

    def all_ways(self) -> Iterator[str]:
        """Yield whatever tells them of anything, each once."""
        yield from dict.fromkeys(
            [*self.reach, *(w for ways in self.reach_by_severity.values() for w in ways)]
        )


class Layer(Strict):
    """A rotation: people who take turns of so many days, some hours of which may be left to others."""

    people: tuple[str, ...] = Field(min_length=1, max_length=MOST_PEOPLE, description="In their order")
    start: date = Field(description="The first of them takes over on this day")
    until: date | None = Field(None, description="The layer ends with this day's hand-over")
    turn_days: int = Field(7, ge=1, le=MOST_TURN_DAYS, description="Days of a turn: 1 is daily, 7 weekly")
    hand_over: TimeOfDay = Field(9 * 60, description="When one takes over from the other, such as `09:00`")
    only: tuple[Window, ...] = Field(
        (), max_length=MOST_WINDOWS, description="The hours that it covers; all if absent"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Layer:
        if self.until is not None and self.until <= self.start:
            raise ValueError("until must come after start")
        return self


class Schedule(Strict):
    """Who is on call when: the last of the layers that covers a moment tells."""

    timezone: ZoneName = Field("", description="Whose clocks its hours are told by; the site's if empty")
    layers: tuple[Layer, ...] = Field(min_length=1, max_length=MOST_LAYERS)
    notice: Duration | None = Field(
        900.0,
        le=7 * 86400,
        description="Who takes over, and who is relieved, is told so long before; null: not",
    )


class Step(Strict):
    """Who is told so long after the alert was first told, if nobody has taken it."""

    after: Duration = Field(0.0, le=7 * 86400)
    schedules: tuple[str, ...] = Field((), description="Whoever is on call by them then")
    teams: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    channels: tuple[str, ...] = Field((), description="Channels, or channel/recipient, that are nobody's own")

    @model_validator(mode="after")
    def _somebody(self) -> Step:
        if not (self.schedules or self.teams or self.people or self.channels):
            raise ValueError("a step tells somebody: write schedules, teams, people or channels")
        return self


class Escalation(Strict):
    """Who is told in which order, until somebody takes the alert."""

    steps: tuple[Step, ...] = Field(min_length=1, max_length=MOST_STEPS)
    repeat: Annotated[int, Field(ge=0, le=MOST_REPEATS)] | Literal["until taken"] = Field(
        0, description="How often all of it is gone through again, or `until taken`"
    )
    repeat_after: Duration = Field(
        900.0, ge=SHORTEST_PAUSE_S, description="Time from the last step to the first of the next round"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Escalation:
        times = [step.after for step in self.steps]
        if times != sorted(times):
            raise ValueError("steps come in the order of their 'after'")
        if times[0]:
            raise ValueError("the first step is told at once; its 'after' is 0")
        return self

    @property
    def rounds(self) -> float:
        """How often the steps are gone through at most."""
        return float("inf") if self.repeat == UNTIL_TAKEN else 1 + int(self.repeat)

    def after(self, number: int) -> float:
        """Return when a step is due, seconds after the first; numbers go on over the rounds."""
        done, step = divmod(number, len(self.steps))
        return done * (self.steps[-1].after + self.repeat_after) + self.steps[step].after


class OnCallSettings(Strict):
    """People, teams, schedules and escalations, by names of yours."""

    people: dict[Name, Person] = Field(default_factory=dict, max_length=MOST_PEOPLE)
    teams: dict[Name, tuple[str, ...]] = Field(default_factory=dict, max_length=MOST_PEOPLE)
    schedules: dict[Name, Schedule] = Field(default_factory=dict, max_length=50)
    escalations: dict[Name, Escalation] = Field(default_factory=dict, max_length=50)
    fallback: tuple[str, ...] = Field(
        (), description="People, teams or channels that are told where nobody is on call"
    )

    link_lifetime: Duration = Field(
        24 * 3600.0,
        ge=60,
        le=7 * 86400,
        description="How long the link in a message takes an alert without a login",
    )

    @model_validator(mode="after")
    def _known(self) -> OnCallSettings:
        for name, members in self.teams.items():
            _all_known(f"team {name}", members, self.people, "people")
        for name, schedule in self.schedules.items():
            for layer in schedule.layers:
                _all_known(f"schedule {name}", layer.people, self.people, "people")
        for name, escalation in self.escalations.items():
            for step in escalation.steps:
                _all_known(f"escalation {name}", step.people, self.people, "people")
                _all_known(f"escalation {name}", step.teams, self.teams, "teams")
                _all_known(f"escalation {name}", step.schedules, self.schedules, "schedules")
        both = sorted(set(self.people) & set(self.teams))
        if both:
            raise ValueError(f"a person and a team are both called {both[0]}; rename the team")
        return self

    def ways(self) -> Iterator[tuple[str, str]]:
        """Yield every channel or channel/recipient that is named, after who names it."""
        for name, person in self.people.items():
            yield from ((f"person {name}", way) for way in person.all_ways())
        for name, escalation in self.escalations.items():
            yield from ((f"escalation {name}", way) for step in escalation.steps for way in step.channels)
        own = self.people.keys() | self.teams.keys()
        yield from (("fallback", way) for way in self.fallback if way not in own)


def _all_known(where: str, named: Iterable[str], known: Iterable[str], what: str) -> None:
    missing = sorted(set(named) - set(known))
    if missing:
        raise ValueError(f"{where} names unknown {what}: {', '.join(missing)}; add them under '{what}'")
