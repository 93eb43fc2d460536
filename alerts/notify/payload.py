"""A message as JSON-ready data, for programs: `config/schemas/webhook.schema.json` describes it."""

from __future__ import annotations

import math
from typing import Any

from alerts.notify.facts import Facts
from alerts.notify.message import Notice, Notification, iso, line, local
from alerts.notify.sheet import Reader, sheet

MOST_OF_TEXT = 1000
"""Characters of one text that a device or a person wrote."""


def payload(notification: Notification, reader: Reader) -> dict[str, Any]:
    """Return the message; its figures are for programs, `headline` and `links` for people, in the reader's language."""
    return {
        "version": 1,
        "id": notification.id,
        "site": {
            "id": notification.site_id,
            "name": notification.site_name,
            "timezone": str(notification.zone),
        },
        "console_url": notification.console_url or None,
        "alerts": [_record(notification, notice, reader) for notice in notification.notices],
    }


def _record(notification: Notification, notice: Notice, reader: Reader) -> dict[str, Any]:
    alert, condition, facts = notice.alert, notice.alert.condition, notice.facts
    told = sheet(notification, notice, reader)
    return {
        "event": notice.event.value,
        "alert_id": alert.id,
        "delivery": notice.delivery,
        "key": line(condition.key, MOST_OF_TEXT),
        "rule": condition.rule,
        "object_id": line(condition.object_id, MOST_OF_TEXT),
        "severity": condition.severity.value,
        "state": alert.state.value,
        "headline": told.headline,
        "summary": line(condition.summary, MOST_OF_TEXT),
        "advice": told.first_action,
        "place": [{"kind": kind, "name": line(name, MOST_OF_TEXT)} for kind, name in facts.place.parts],
        "racks": facts.place.racks,
        "gpus": facts.place.gpus,
        "outlook": {kind: value for kind, value in facts.outlook.items() if math.isfinite(value)},
        "cause": _cause(facts),
        "links": [{"text": text, "url": url} for text, url in told.links],
        "value": _number(condition.value),
        "limit": _number(condition.limit),
        "unit": condition.unit,
        "opened": iso(alert.opened),
        "opened_local": local(alert.opened, notification.zone),
        "observed": iso(condition.observed),
        "acknowledged": iso(alert.acknowledged_at),
        "acknowledged_by": line(alert.acknowledged_by, MOST_OF_TEXT) or None,
        "note": line(alert.note, MOST_OF_TEXT) or None,
        "cleared": iso(alert.cleared_at),
    }


def _cause(facts: Facts) -> dict[str, str] | None:
    if facts.cause is None:
        return None
    where, what = (line(text, MOST_OF_TEXT) for text in facts.cause)
    return {"object_id": where, "class": what}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
