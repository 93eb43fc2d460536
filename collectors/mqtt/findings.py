"""What is wrong on a bus, told by reason and topic: what was refused, and what was used all the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from domain import dsx, tray
from domain.errors import ContractViolation
from storage.quarantine import Quarantine

MEANING = {**dsx.REASONS, **tray.REASONS}
"""What each reason means, in a phrase."""
FINDINGS_KEPT = 2_000
"""Pairs of reason and topic that are kept apart; beyond that the reason alone is counted."""


@dataclass(slots=True)
class Finding:
    """One fault of one topic: how often, what was said of it last, and whether the message was used all the same."""

    reason: str
    topic: str
    detail: str
    tolerated: bool
    count: int = 0


class Findings:
    """Violations of the contract, counted by reason in the quarantine and kept apart by topic here.

    Parameters
    ----------
    quarantine
        Keeps the messages themselves.
    most
        Pairs of reason and topic kept.
    """

    def __init__(self, quarantine: Quarantine, most: int = FINDINGS_KEPT) -> None:
        self._quarantine = quarantine
        self._most = most
        self._found: dict[tuple[str, str], Finding] = {}
        self.overflow = 0
        """Faults of topics that there was no room for."""

    def refused(self, topic: str, payload: bytes, violation: ContractViolation) -> None:
        """Set a message aside."""
        self._quarantine.message(topic, payload, violation.reason, violation.detail)
        self._note(topic, violation, tolerated=False)

    def tolerated(self, topic: str, violation: ContractViolation, count: int = 1) -> None:
        """Note a fault of a message that is used all the same."""
        self._quarantine.note(f"tolerated:{violation.reason}", count)
        self._note(topic, violation, tolerated=True, count=count)

    def rows(self) -> list[dict[str, Any]]:
        """Return every fault, ready for JSON: reason, meaning, topic, detail, count, and whether it was tolerated."""
        return [
            {
                "topic": f.topic,
                "reason": f.reason,
                "meaning": MEANING.get(f.reason, ""),
                "detail": f.detail,
                "count": f.count,
                "tolerated": f.tolerated,
            }
            for f in list(self._found.values())
        ]

    def _note(self, topic: str, violation: ContractViolation, tolerated: bool, count: int = 1) -> None:
        key = (violation.reason, topic)
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= self._most:
                self.overflow += count
                return
            self._found[key] = found = Finding(violation.reason, topic, violation.detail, tolerated)
        found.detail, found.count = violation.detail, found.count + count
