"""Rows of alerts: to and from `Alert`, and which of them are not over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import literal_column
from sqlalchemy.engine import Row

from domain.alert import Alert, AlertState, Condition, Severity
from domain.said import as_text, of_text
from storage import record_tables as t

T = TypeVar("T")
SEVERITIES = {severity.value: severity for severity in Severity}
STATES = {state.value: state for state in AlertState}
"""By what a row holds: thousands are read at a look, and an enumeration that is called takes ten times as long."""
IDS_OF_A_STATEMENT = 1000
ACTIVE = (AlertState.OPEN.value, AlertState.ACKNOWLEDGED.value)
LISTED = t.alerts.c.state != literal_column(f"'{AlertState.CLEARED.value}'")
"""What is not over: in the words of an index, so that it is found among a million that are."""


def parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield as many items at a time as one statement takes."""
    yield from (items[i : i + IDS_OF_A_STATEMENT] for i in range(0, len(items), IDS_OF_A_STATEMENT))


def condition_fields(condition: Condition) -> dict[str, Any]:
    """Return what an alert's row keeps of its condition, but for rule and object."""
    return {
        "severity": condition.severity.value,
        "summary": condition.summary,
        "said": as_text(condition.said),
        "value": _number(condition.value),
        "limit": _number(condition.limit),
        "unit": condition.unit,
        "observed": int(condition.observed),
    }


def alert_of(row: Row[Any]) -> Alert:
    """Return the alert of a row."""
    condition = Condition(
        row.rule,
        row.object_id,
        SEVERITIES[row.severity],
        (row.said and of_text(row.said)) or row.summary,
        math.nan if row.value is None else row.value,
        math.nan if row.limit is None else row.limit,
        row.unit,
        row.observed,
    )
    return Alert(
        row.id,
        condition,
        STATES[row.state],
        row.opened,
        row.updated,
        row.acknowledged_at,
        row.acknowledged_by,
        row.note,
        row.cleared_at,
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
