"""What the API tells beside issued forecasts comes from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analytics.contract.energy import EnergySettings
from analytics.outlook.power import PlannedSteps
from analytics.outlook.quarters import QuartersTold
from storage.plant import PlantView


@dataclass(frozen=True, slots=True)
class Sources:
    """Parts of the running service.

    Attributes
    ----------
    plant
        What is measured, and the limits.
    quarters
        Returns what was last said of the running quarter hours.
    steps
        Returns the jumps of the site's power that planned work brings.
    month
        Returns the month against the contract at a time (UTC ms), ready for JSON; blocks.
    energy
        How energy is reported.
    """

    plant: PlantView
    quarters: Callable[[], QuartersTold | None]
    steps: Callable[[], PlannedSteps]
    month: Callable[[int], dict[str, Any]]
    energy: EnergySettings
