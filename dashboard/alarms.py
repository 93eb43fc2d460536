"""What the console knows of alarms, and what people do with them there. Everything here blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from alerts import actions
from alerts.performance import measured
from alerts.runbooks import Runbooks
from alerts.settings import AlertSettings
from dashboard.lately import Lately
from dashboard.words import count, say, term
from domain.alert import Alert, AlertState, Severity
from domain.errors import InputError
from domain.languages import Language
from domain.suppression import Suppression, SuppressionKind
from storage.alert_notes import AlertNote
from storage.alert_performance import AlarmPerformance
from storage.records import Records

HISTORY = 500
"""Alerts of every state that the alerts page has, besides all that are active or not taken."""
LONGEST_NAME = 200
DAY_MS = 24 * 3_600_000
PERFORMANCE_MS = 120_000
"""How alarms perform is worked out anew after so long."""
LONGEST_H = 24 * 366
"""Hours that a window may last from the console."""
_URGENCY = {severity: order for order, severity in enumerate(Severity)}  # the worst first
ORDER = {AlertState.OPEN: 0, AlertState.RETURNED: 1, AlertState.ACKNOWLEDGED: 2, AlertState.CLEARED: 3}
"""What asks for somebody comes first."""


class Alarms:
    """Alarms as the console shows them.

    Parameters
    ----------
    records, clock
        Where they live, and the present, UTC ms.
    settings
        How long a shelf lasts at most, and what performance is counted against.
    runbooks
        Name the rules in each language; those that ship, if none are given.
    """

    def __init__(
        self,
        records: Records,
        clock: Callable[[], int],
        settings: AlertSettings,
        runbooks: Runbooks | None = None,
    ) -> None:
        self._runbooks = runbooks or Runbooks()
        self._records = records
        self._clock = clock
        self._settings = settings
        self._listed = Lately(self._ask_listed, 500, clock)  # one snapshot asks several times
        self._quiet = Lately(records.suppressed_alerts, 1000, clock)
        self._suppressions = Lately(records.suppressions, 1000, clock)
        self._notes = Lately(self._ask_notes, 2000, clock)
        self._performance = Lately(self._ask_performance, PERFORMANCE_MS, clock)

    def listed(self) -> list[Alert]:
        """Return what is active, and what is over and nobody took: what asks for somebody first."""
        return self._listed()

    def active(self) -> list[Alert]:
        """Return what is active, the most urgent first."""
        return [alert for alert in self._listed() if alert.state is not AlertState.RETURNED]

    def history(self) -> list[Alert]:
        """Return all that is listed and the newest alerts of every state, newest first."""
        found = {alert.id: alert for alert in self._records.alert_history(limit=HISTORY)}
        found |= {alert.id: alert for alert in self._listed()}
        return sorted(found.values(), key=lambda a: (-a.opened, -a.id))

    def quiet(self) -> Mapping[int, Suppression]:
        """Return by alert what keeps it quiet now."""
        return self._quiet()

    def suppressions(self) -> list[Suppression]:
        """Return all that holds or is to come."""
        return self._suppressions()

    def notes(self) -> Mapping[tuple[str, str], AlertNote]:
        """Return by rule and object the newest note on what is listed."""
        return self._notes()

    def performance(self) -> AlarmPerformance:
        """Return how the alarms of the last day performed, as of some minutes ago."""
        return self._performance()

    def title(self, rule: str, language: Language) -> str:
        """Return what people call a rule: in English its own name, else the title of its runbook."""
        runbook = None if language == "en" else self._runbooks.find(rule, language)
        return runbook.title if runbook is not None and runbook.title else rule

    def acknowledge(self, alert: int, who: str, note: str) -> Alert:
        """Record that `who` has taken an alert.

        Raises
        ------
        InputError
            If there is no such alert, or it is cleared already.
        """
        taken = actions.acknowledge(self._records, alert, who, note, self._clock())
        self._forget()
        return taken

    def act(self, request: Mapping[str, Any], who: str) -> str:
        """Do what the alerts page asks for and return what was done, in a sentence.

        Parameters
        ----------
        request
            ``act`` (``acknowledge``, ``shelve``, ``comment``, ``retire``, ``take returned``, ``resume``, ``maintenance`` or ``out of
            service``), ``reason``, and what the act needs: ``id``, ``hours`` (0: until it clears), ``object``, ``rule``,
            ``below``.

        Raises
        ------
        InputError
            If it cannot be done.
        KeyError, TypeError, ValueError
            If the request is none.
        """
        act, reason, now = str(request["act"]), str(request.get("reason", "")), self._clock()
        records = self._records
        hours = float(request.get("hours") or 0)
        if not 0 <= hours <= LONGEST_H:
            raise InputError(f"a number of hours lies between 0 and {LONGEST_H}")
        span = int(hours * 3.6e6)
        match act:
            case "acknowledge":
                alert = actions.acknowledge(records, int(request["id"]), who, reason, now)
                text = say("done.acknowledge", alarm=alert.condition.key)
            case "shelve":
                until = now + span if span else 0
                made = actions.shelve(
                    records, int(request["id"]), who, reason, now, until, not until, self._settings.shelving
                )
                text = say("done.shelve", rule=made.rule, object=made.object_id)
            case "comment":
                alert = actions.comment(records, int(request["id"]), who, reason, now)
                text = say("done.comment", alarm=alert.condition.key)
            case "retire":
                (alert,) = actions.retire(records, [int(request["id"])], who, reason, now)
                text = say("done.retire", alarm=alert.condition.key)
            case "take returned":
                text = count(
                    "done.take_returned", len(actions.acknowledge_returned(records, who, reason, now))
                )
            case "resume":
                ended = actions.resume(records, int(request["id"]), who, reason, now)
                text = say("done.resume", rule=ended.rule, object=ended.object_id)
            case "maintenance" | "out of service":
                kind = SuppressionKind(act)
                end = now + span if kind is SuppressionKind.MAINTENANCE and span else 0
                name, rule = _name(request["object"]), _name(request.get("rule") or "*")
                below = bool(request.get("below"))
                actions.suppress(records, kind, name, who, reason, now, rule=rule, end=end, below=below)
                text = say("done.suppress", rule=rule, object=name, kind=term("suppression", kind))
            case _:
                raise InputError(f"nothing is called {act[:50]!r}")
        self._forget()
        return text

    def _forget(self) -> None:
        for asked in (self._listed, self._quiet, self._suppressions, self._notes):
            asked.forget()

    def _ask_listed(self) -> list[Alert]:
        found = [*self._records.active_alerts(), *self._records.returned_alerts()]
        return sorted(found, key=lambda a: (ORDER[a.state], _URGENCY[a.condition.severity], -a.opened))

    def _ask_performance(self) -> AlarmPerformance:
        now = self._clock()
        return measured(self._records, self._settings, now - DAY_MS, now)

    def _ask_notes(self) -> Mapping[tuple[str, str], AlertNote]:
        return self._records.newest_notes([alert.condition.object_id for alert in self._listed()])


def _name(value: object) -> str:
    name = str(value).strip()[:LONGEST_NAME]
    if not name:
        raise InputError("name an object")
    return name
