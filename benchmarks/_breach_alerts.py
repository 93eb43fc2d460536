"""What the shipped alert on a likely breach tells while weeks of forecasts come in, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from alerts.rules.forecasts import EnvelopePredictedRule
from alerts.rules.settings import EnvelopeExceeded, EnvelopePredicted
from alerts.settings import AlertSettings
from alerts.view import View
from benchmarks._factory_weeks import Values
from domain.envelope import QUARTER_MS
from domain.forecast import QUANTILES, Forecast
from domain.points import PointRegistry
from domain.site import Site
from service.configuration import SHIPPED, load
from storage.latest import LatestValues
from storage.plant import PlantView
from storage.telemetry import TelemetryStore

NEVER = -1


@dataclass(slots=True)
class Told:
    """What became of breaches and alerts.

    `ahead` holds for each breach how many quarter hours before it was a fact the alert was told, `NEVER` where it was not;
    `false` counts the alerts that cleared without a breach.
    """

    ahead: list[int] = field(default_factory=list)
    false: int = 0

    def share(self, quarters: int) -> float:
        """Return the share of breaches that were told at least so many quarter hours before."""
        return float(np.mean([a >= quarters for a in self.ahead])) if self.ahead else float("nan")


def shipped_rules() -> tuple[EnvelopePredicted, EnvelopeExceeded]:
    """Return the shipped rules on a breach that is likely and on one that is there."""
    rules = {rule.name: rule for rule in load(SHIPPED / "alerts.yaml", AlertSettings).rules}
    predicted, exceeded = rules["envelope-breach-predicted"], rules["quarter-hour-exceeded"]
    assert isinstance(predicted, EnvelopePredicted)
    assert isinstance(exceeded, EnvelopeExceeded)
    return predicted, exceeded


def told(
    site: Site,
    values: Values,
    probability: Values,
    power: Values,
    limit: float,
    predicted: EnvelopePredicted,
    exceeded: EnvelopeExceeded,
) -> Told:
    """Let the rule look at every forecast as it is issued, at the beginning of its first quarter hour.

    A breach is what `exceeded` alerts on: a quarter hour whose mean passes the limit, a fact when it ends, until one stays
    under the limit's `clear_share`. It takes over the alert that foretold it; while it lasts nothing is foretold, as in the engine.

    Parameters
    ----------
    values, probability
        Quantiles and breach probabilities of each forecast, shapes (n, leads, quantiles) and (n, leads).
    power
        The measured quarter hours from the first forecast on, W, at least n.
    """
    issued = _Issued()
    registry = PointRegistry()
    history = cast(TelemetryStore, None)  # the rule asks for none
    view = View(PlantView(site, registry, LatestValues(registry), history), issued)
    rule = EnvelopePredictedRule(predicted)
    found = Told()
    since, breached = NEVER, False
    for n, (quantiles, chance) in enumerate(zip(values, probability, strict=True)):
        now = n * QUARTER_MS
        over = n > 0 and power[n - 1] > limit * (exceeded.clear_share if breached else exceeded.share)
        if over and not breached:
            found.ahead.append(n - since if since != NEVER else NEVER)
            since = NEVER
        breached = over
        if breached:  # what is there is not foretold any more
            continue
        issued.newest = _forecast(site, now, quantiles, chance, limit)
        view.read()
        likely = bool(rule.evaluate(now, view, {site.id} if since != NEVER else set()))
        if likely and since == NEVER:
            since = n
        elif since != NEVER and not likely:
            since = NEVER
            found.false += 1
    return found


class _Issued:
    """The newest forecast, in the place of the records."""

    newest: Forecast | None = None

    def latest_forecasts(
        self, object_ids: Sequence[str], point_type: str = "ActivePower"
    ) -> dict[str, Forecast]:
        return {} if self.newest is None else dict.fromkeys(object_ids, self.newest)


def _forecast(site: Site, now: int, values: Values, probability: Values, limit: float) -> Forecast:
    n = len(values)
    start = now + QUARTER_MS * np.arange(n, dtype=np.int64)
    return Forecast(
        object_id=site.id, point_type="ActivePower", unit="W", issued=now, data_cutoff=now, interval_minutes=15,
        start=start, quantiles=QUANTILES, values=values, limit=np.full(n, limit), breach_probability=probability, model="",
    )  # fmt: skip
