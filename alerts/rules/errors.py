"""A rule that cannot be evaluated: an error of ours, told as one, and not as missing data."""

from __future__ import annotations

from collections.abc import Set

from alerts.rules.condition import condition
from alerts.rules.settings import EvaluationError
from alerts.view import View
from domain.alert import Condition
from domain.said import Said


class EvaluationErrorRule:
    """Some rule raised an error in this look."""

    def __init__(self, settings: EvaluationError) -> None:
        self.settings = settings

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per rule that could not be evaluated; see `alerts.rules.Rule`."""
        return [
            condition(
                self.settings,
                rule,
                Said.of("rule_fails", rule=rule, error=str(error)),
                float("nan"),
                float("nan"),
                "",
                now,
            )
            for rule, error in view.failing.items()
        ]
