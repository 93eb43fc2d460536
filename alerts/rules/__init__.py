"""The kinds of rules: each looks at arrays and returns the conditions that hold."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from alerts.rules.absence import AbsenceRule
from alerts.rules.causes import SharedCauseRule
from alerts.rules.envelope import EnvelopeExceededRule
from alerts.rules.errors import EvaluationErrorRule
from alerts.rules.forecasts import EnvelopePredictedRule, ForecastAgeRule
from alerts.rules.limits import LimitRule
from alerts.rules.rates import RateOfChangeRule
from alerts.rules.settings import (
    Absence,
    AnyRule,
    EnvelopeExceeded,
    EnvelopePredicted,
    EvaluationError,
    ForecastAge,
    Limit,
    RateOfChange,
    RuleSettings,
    SharedCause,
    State,
)
from alerts.rules.sources import StaleSourceRule
from alerts.rules.states import StateRule
from alerts.view import View
from domain.alert import Condition


class Rule(Protocol):
    """A rule of some kind."""

    @property
    def settings(self) -> RuleSettings:
        """Its part of the configuration."""

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return the conditions that hold.

        Parameters
        ----------
        now
            UTC ms.
        view
            The plant, refreshed for `now`.
        active
            Objects on which the rule alerts already. On these its clearing threshold counts, and what cannot be
            known now (a missing reading) holds on: the condition comes back with a NaN value.
        """


def build(settings: AnyRule) -> Rule:
    """Return the rule that its settings describe."""
    match settings:
        case EnvelopeExceeded():
            return EnvelopeExceededRule(settings)
        case EnvelopePredicted():
            return EnvelopePredictedRule(settings)
        case Limit():
            return LimitRule(settings)
        case RateOfChange():
            return RateOfChangeRule(settings)
        case State():
            return StateRule(settings)
        case Absence():
            return AbsenceRule(settings)
        case ForecastAge():
            return ForecastAgeRule(settings)
        case SharedCause():
            return SharedCauseRule(settings)
        case EvaluationError():
            return EvaluationErrorRule(settings)
        case _:
            return StaleSourceRule(settings)
