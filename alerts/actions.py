"""What people do with alerts, the same from the console, the internal API and the command. Calls block.

Every act is written into the audit trail with who did it and why.
"""

from __future__ import annotations

from collections.abc import Sequence

from alerts.state_settings import Shelving
from domain.alert import Alert, AlertState
from domain.errors import InputError
from domain.suppression import Suppression, SuppressionKind
from storage.records import Records

LONGEST_REASON = 500


def acknowledge(records: Records, alert_id: int, who: str, note: str, now: int) -> Alert:
    """Note that somebody has taken an alert: it escalates no more. Return it as it is then.

    It goes on being shown; nothing about it is silenced. One whose condition is gone is over then.

    Raises
    ------
    InputError
        If there is no such alert, or it is cleared already.
    """
    alert = records.acknowledge_alert(alert_id, who, note, now)
    records.audit(who, "acknowledged alert", f"{alert_id} {alert.condition.key} {note}".strip())
    return alert


def acknowledge_returned(records: Records, who: str, note: str, now: int) -> list[Alert]:
    """Take all alerts whose condition is gone and that nobody took, and return them."""
    taken = [records.acknowledge_alert(a.id, who, note, now) for a in records.returned_alerts()]
    if taken:
        numbers = ", ".join(str(alert.id) for alert in taken[:50])
        records.audit(who, "acknowledged what returned", f"{len(taken)}: {numbers} {note}".strip())
    return taken


def comment(records: Records, alert_id: int, who: str, note: str, now: int) -> Alert:
    """Keep a note on an alarm; it is shown when the alarm comes again, too.

    Raises
    ------
    InputError
        If there is no such alert, or the note is empty.
    """
    records.add_alert_note(alert_id, who, _reason(note), now)
    alert = records.alert(alert_id)
    records.audit(who, "commented on alert", f"{alert_id} {alert.condition.key} {note}")
    return alert


def retire(records: Records, alert_ids: Sequence[int], who: str, reason: str, now: int) -> list[Alert]:
    """Clear alerts by hand, such as those of a rule or a device that was taken away; found again they open again.

    Whoever was told of them is told that they are over. Those cleared already are left alone.

    Raises
    ------
    InputError
        If one of them does not exist, no reason is given, or none is left to retire.
    """
    reason = _reason(reason)
    retired = records.clear_alerts(list(alert_ids), now, who, reason)
    if not retired:
        raise InputError("none of these alerts is left to retire: they are cleared already")
    for alert in retired:
        records.audit(who, "retired alert", f"{alert.id} {alert.condition.key} {reason}")
    return retired


def shelve(
    records: Records,
    alert_id: int,
    who: str,
    reason: str,
    now: int,
    until: int = 0,
    once: bool = False,
    shelving: Shelving | None = None,
) -> Suppression:
    """Put one alarm on the shelf until a time (UTC ms), or (`once`) until it clears; at most as long as configured.

    Raises
    ------
    InputError
        If there is no such alert or it is over, no reason is given, or it would last too long.
    """
    longest = int((shelving or Shelving()).longest * 1000)
    alert = records.alert(alert_id)
    if alert.state is AlertState.CLEARED or alert.state is AlertState.RETURNED:
        raise InputError(f"alert {alert_id} is over; there is nothing to shelve")
    if not until and not once:
        raise InputError("say how long, or that it is until the alarm clears")
    if until - now > longest:
        raise InputError(
            f"a shelf lasts {longest / 3.6e6:g} h at most (shelving.longest in alerts.yaml); what takes longer is a "
            "maintenance window, or out of service"
        )
    condition = alert.condition
    return suppress(
        records,
        SuppressionKind.SHELVED,
        condition.object_id,
        who,
        reason,
        now,
        rule=condition.rule,
        end=until or now + longest,
        once=once,
    )


def suppress(
    records: Records,
    kind: SuppressionKind,
    object_id: str,
    who: str,
    reason: str,
    now: int,
    rule: str = "*",
    start: int = 0,
    end: int = 0,
    below: bool = False,
    once: bool = False,
) -> Suppression:
    """Keep alarms of an object quiet: a maintenance window from `start` (now if 0) to `end`, or out of service.

    Raises
    ------
    InputError
        If no reason is given, a window has no end or ends before it begins, or `below` is asked of a glob.
    """
    if kind is not SuppressionKind.OUT_OF_SERVICE and not end:
        raise InputError("say how long; what has no end is out of service")
    if end and end <= now:
        raise InputError("it would be over already")
    if below and any(c in object_id for c in "*?["):
        raise InputError(
            f"{object_id!r} is a glob; what hangs under an object is meant only of one named in full"
        )
    made = records.add_suppression(
        kind, rule, object_id, start or now, end, who, _reason(reason), below=below, once=once
    )
    records.audit(who, f"{kind} begun", f"{made.id} {rule} on {object_id}: {made.reason}")
    return made


def resume(records: Records, number: int, who: str, why: str, now: int) -> Suppression:
    """End a suppression by hand: unshelve, end a window, put back into service. What still holds is told.

    Raises
    ------
    InputError
        If there is none of that number that still holds, or it is the equipment's mode.
    """
    known = {s.id: s for s in records.suppressions()}
    if number in known and known[number].kind is SuppressionKind.MODE:
        raise InputError(
            f"{number} ends when {known[number].object_id} leaves its mode; nobody can end it by hand"
        )
    ended = records.end_suppression(number, now, who, why)
    records.audit(who, f"{ended.kind} ended", f"{number} {ended.rule} on {ended.object_id} {why}".strip())
    return ended


def _reason(text: str) -> str:
    text = text.strip()
    if not text:
        raise InputError("say why: whoever looks next wants to know")
    return text[:LONGEST_REASON]
