"""A factory to watch: the plant's physics under changing load, seen through noisy instruments."""

from pathlib import Path

import numpy as np
import yaml

from analytics.anomaly.racks import RackReadings, RackScorer, RackScores
from domain.plant.conditions import Conditions
from domain.plant.layout import PlantLayout
from domain.plant.model import Plant
from domain.site import Site

STEP = 10.0
FAULTY = 5


def shipped_site() -> Site:
    """The demo's 96 racks."""
    site = Path(__file__).parents[3] / "config" / "site.yaml"
    return Site.model_validate(yaml.safe_load(site.read_text()))


def site_layout() -> PlantLayout:
    """Their layout."""
    return PlantLayout.of(shipped_site())


class Factory:
    """Racks in jobs that change their load, seen through noisy instruments of differing offsets."""

    def __init__(self, layout: PlantLayout, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.racks = len(layout.racks)
        self.layout = layout
        self.plant = Plant(layout, dp_share=0.94 - self.rng.uniform(0, 0.05, self.racks))
        self.conditions = Conditions.healthy(layout)
        self.level = self.rng.uniform(0.2, 0.9, 12)
        self.state = self.plant.settle(self.plant.model.rack.power(72 * self._gpu_power()), self.conditions)
        self.offset = self.rng.normal(0, 1, (6, self.racks))

    def _gpu_power(self) -> np.ndarray:
        return self.plant.model.gpu.power(np.repeat(self.level, 8))

    def readings(self) -> RackReadings:
        if self.rng.random() < 0.2:
            self.level[self.rng.integers(12)] = self.rng.uniform(0.15, 0.98)
        gpu_power = self._gpu_power()
        self.plant.step(self.state, self.plant.model.rack.power(72 * gpu_power), self.conditions, STEP)
        worst = self.conditions.gpu_resistance_factor.reshape(self.racks, -1).max(axis=1)
        s, model = self.state, self.plant.model.gpu
        hottest = s.coolant + 1.08 * model.resistance * worst * gpu_power
        return RackReadings(
            power=s.power * self._noisy(0, 0.003),
            supply=s.supply + self._near(1, 0.05),
            ret=s.ret + self._near(2, 0.05),
            flow=s.flow * self._noisy(3, 0.01),
            dp=s.dp * self._noisy(4, 0.01),
            gpu_max=np.round(hottest + self._near(5, 0.3)),
            gpu_power=gpu_power,
            valve=s.valve.copy(),
            leak=np.zeros(self.racks),
        )

    def _near(self, signal: int, size: float) -> np.ndarray:
        return size * (2 * self.offset[signal] + self.rng.normal(0, 1, self.racks))

    def _noisy(self, signal: int, size: float) -> np.ndarray:
        return 1.0 + self._near(signal, size / 2)


def run(factory: Factory, scorer: RackScorer, steps: int) -> list[RackScores]:
    return [scorer.update(factory.readings(), STEP) for _ in range(steps)]
