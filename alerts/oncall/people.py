"""Who is told by a step of an escalation: people by schedule, team and name, through what reaches them, when they may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from alerts.oncall.calendar import spans
from alerts.oncall.schedule import Rota
from alerts.oncall.settings import Step
from alerts.settings import AlertSettings
from domain.alert import Severity
from storage.oncall_records import Override

NEXT_QUIET_MS = 2 * 86_400_000
"""How far ahead the end of quiet hours is looked for where one window goes over into the next."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The name of a delivery, and not before when (UTC ms) it may be made."""

    target: str
    not_before: int


class OnCall:
    """People and schedules of a site, with what people changed in them (`change`).

    Parameters
    ----------
    settings
        The alerting configuration.
    zone
        The site's.
    """

    def __init__(self, settings: AlertSettings, zone: ZoneInfo) -> None:
        self.settings = settings.on_call
        self.zone = zone
        self._alerting = settings
        self._people = {target: key for target, (key, _) in settings.people().items()}
        self._changes: Sequence[Override] = ()
        self._rotas = self._built(())

    def change(self, overrides: Sequence[Override]) -> None:
        """Take over what people changed in the schedules."""
        if overrides != self._changes:
            self._rotas = self._built(overrides)
            self._changes = overrides

    def rotas(self) -> dict[str, Rota]:
        """Return the schedules by name."""
        return self._rotas

    def zone_of(self, person: str) -> ZoneInfo:
        """Return the time zone of a person, by key; the site's where nobody told, or there is no such person."""
        known = self.settings.people.get(person)
        return ZoneInfo(known.timezone) if known is not None and known.timezone else self.zone

    def name_of(self, person: str) -> str:
        """Return what others call a person."""
        known = self.settings.people.get(person)
        return known.name if known is not None and known.name else person

    def step(self, step: Step, severity: Severity, at: int) -> list[Reached]:
        """Return who is told by a step at a moment (UTC ms); whoever stands in where nobody is on call by it."""
        people = [p for name in step.schedules if (p := self._rotas[name].on_call(at))]
        people += [member for team in step.teams for member in self.settings.teams[team]]
        people += step.people
        if people or step.channels:
            return self._reached(people, step.channels, severity, at)
        return self.instead(severity, at)

    def instead(self, severity: Severity, at: int) -> list[Reached]:
        """Return who is told where nobody is on call."""
        people, channels = [], []
        for name in self.settings.fallback:
            if name in self.settings.people:
                people.append(name)
            elif name in self.settings.teams:
                people += self.settings.teams[name]
            else:
                channels.append(name)
        return self._reached(people, channels, severity, at)

    def person(self, key: str, severity: Severity, at: int) -> list[Reached]:
        """Return what tells a person of an alert, and not before when."""
        targets = self._alerting.targets(self.settings.people[key].through(severity))
        return [Reached(target, self._awake(key, severity, at)) for target in targets]

    def quiet(self, target: str, severity: Severity, at: int) -> bool:
        """Return whether a delivery waits at a moment (UTC ms) for the end of its person's quiet hours."""
        key = self._people.get(target)
        return key is not None and self._awake(key, severity, at) > at

    def _reached(
        self, people: Sequence[str], channels: Sequence[str], severity: Severity, at: int
    ) -> list[Reached]:
        found = [reached for key in dict.fromkeys(people) for reached in self.person(key, severity, at)]
        found += [Reached(target, at) for target in self._alerting.targets(channels)]
        return list({reached.target: reached for reached in reversed(found)}.values())[::-1]

    def _awake(self, key: str, severity: Severity, at: int) -> int:
        """Return the moment from which a person may be told: now, or when their quiet hours are over."""
        windows = [w for w in self.settings.people[key].quiet if severity in w.severities]
        awake = at
        if not windows:
            return at
        for begin, end in sorted(spans(windows, at, at + NEXT_QUIET_MS, self.zone_of(key))):
            if begin <= awake < end:
                awake = end
        return awake

    def _built(self, overrides: Sequence[Override]) -> dict[str, Rota]:
        return {
            name: Rota(
                schedule,
                ZoneInfo(schedule.timezone) if schedule.timezone else self.zone,
                tuple(self._known(name, overrides)),
            )
            for name, schedule in self.settings.schedules.items()
        }

    def _known(self, schedule: str, overrides: Sequence[Override]) -> Iterator[Override]:
        """Yield the changes of a schedule that name people who are there still."""
        people = self.settings.people
        for change in overrides:
            if change.schedule == schedule and change.person in people and change.other in ("", *people):
                yield change
