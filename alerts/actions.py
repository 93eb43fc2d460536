"""What people do with alerts, the same from the console and from the command: taken, cleared by hand. Calls block."""

from __future__ import annotations

from domain.alert import Alert, AlertState
from domain.errors import InputError
from storage.records import Records


def acknowledge(records: Records, alert_id: int, who: str, note: str, now: int) -> Alert:
    """Note that somebody has taken an alert: it escalates no more. Return it as it is then.

    Raises
    ------
    InputError
        If there is no such alert, or it is cleared already.
    """
    alert = records.acknowledge_alert(alert_id, who, note, now)
    records.audit(who, "acknowledged alert", f"{alert_id} {alert.condition.key} {note}".strip())
    return alert


def clear(records: Records, alert_id: int, who: str, note: str, now: int) -> Alert:
    """Clear an alert by hand, such as that of a device that was taken away. It opens again if it is found again.

    Raises
    ------
    InputError
        If there is no such alert, or it is cleared already.
    """
    if records.alert(alert_id).state is AlertState.CLEARED:
        raise InputError(f"alert {alert_id} is cleared already")
    records.clear_alerts([alert_id], now, who, note)
    alert = records.alert(alert_id)
    records.audit(who, "cleared alert", f"{alert_id} {alert.condition.key} {note}".strip())
    return alert
