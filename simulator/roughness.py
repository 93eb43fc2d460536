"""A plant unlike the model that everybody assumes: what differs, what is not there yet, and what people do to it by hand.

Level 0 is the plant of the model. Level 1 is what a well-kept plant of real parts may look like, level 2 is twice as far from the
model, with four times the noise. What instruments do is in `simulator.instruments`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domain.plant.built import AsBuilt
from domain.plant.layout import PlantLayout
from domain.plant.model import PlantModel
from domain.points import IntArray, TimeArray, ValueArray

LEVELS = (0, 1, 2)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

AIR_GPU, AIR_RESISTANCE, AIR_BASE = 350.0 / 1200.0, 4.2, 1.0 / 3.0
"""An air-cooled rack of 40 kW: power of a GPU (an L40S draws 350 W) and its resistance to the air, over an NVL72's; its other power."""
NEW_GPU, NEW_RESISTANCE = 1400.0 / 1200.0, 0.83
"""The same of the newer generation of GPUs."""
LEAST_FLOW = 0.8
"""The least that a rack's flow is set to, over the model's."""
WORKS_DAYS = 70
"""For how long works are planned, from the beginning; a plant that runs for longer is left alone then."""
WORKS_EVERY_MS = 36 * HOUR_MS
"""At level 1 somebody works on the plant about so often."""
FIRST_WORK_MS = 8 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Work:
    """Somebody works on the plant; times are UTC ms.

    Parameters
    ----------
    what
        ``"valve"``: a rack is switched off and gets another valve; ``"service"``: a CDU is stopped for its service;
        ``"calibration"``: the instruments of a rack are adjusted.
    target
        The rack or CDU.
    start, end
        When.
    """

    what: str
    target: str
    start: int
    end: int


FAULT_OF = {"valve": "rack-trip", "service": "cdu-trip"}
"""The entry of the fault catalogue that does the same to the plant."""


@dataclass(slots=True, eq=False)
class Roughness:
    """By what one factory differs from the model.

    Parameters
    ----------
    level
        0, 1 or 2.
    built
        By what its objects differ.
    generation, resistance
        Power and thermal resistance of each GPU over the model's, shape (G,).
    live_from
        When each rack is commissioned, with its pod, UTC ms, 0 for long ago, shape (R,).
    works
        What people do, in order of the end.
    """

    level: int
    built: AsBuilt
    generation: ValueArray
    resistance: ValueArray
    live_from: TimeArray
    works: tuple[Work, ...]

    @classmethod
    def of(cls, level: int, layout: PlantLayout, model: PlantModel, seed: int, began_ms: int) -> Roughness:
        """Draw a factory; `began_ms` is when it was first started, from which commissioning and works are counted."""
        racks = len(layout.racks)
        built = AsBuilt.alike(layout, model.rack.liquid_share)
        plain = np.ones(layout.gpus)
        live_from = np.zeros(racks, np.int64)
        if not level:
            return cls(0, built, plain, plain, live_from, ())
        rng = np.random.default_rng([seed, 1009])

        def about(size: int | tuple[int, ...], spread: float) -> ValueArray:
            """Factors about 1, none of them more than 2.5 spreads out."""
            drawn = np.clip(rng.standard_normal(size), -2.5, 2.5)
            return np.asarray(np.exp(spread * level * drawn))

        built.rack_valve, built.rack_flow = about(racks, 0.08), about(racks, 0.08)
        # nobody sets a flow so low that GPUs throttle
        built.rack_flow = np.maximum(built.rack_flow, LEAST_FLOW)
        built.rack_overhead, built.rack_base = about(racks, 0.15), about(racks, 0.08)
        built.rack_liquid = np.clip(built.rack_liquid - 0.02 * level * rng.random(racks) + 0.01, 0.0, 0.99)
        units = len(layout.cdus)
        built.cdu_head, built.cdu_filter = about(units, 0.03), about(units, 0.10)
        built.cdu_exchanger = about(units, 0.08)
        built.cdu_setpoint = np.round(0.4 * level * rng.standard_normal(len(layout.pods)), 1)[layout.cdu_pod]
        built.ups_losses, built.crah_air = about(len(layout.ups), 0.08), about(len(layout.crahs), 0.04)
        built.tap_power_factor = np.clip(0.004 * level * rng.standard_normal((racks, 2)), -0.03, 0.015)
        generation, resistance = _parts(built, layout, level)
        late = layout.pods[-level:] if len(layout.pods) > 2 * level else ()
        for i, pod in enumerate(late, 1):
            live_from[layout.rack_pod == layout.pods.index(pod)] = began_ms + 2 * i * DAY_MS
        works = _works(layout, level, live_from, rng, began_ms)
        return cls(level, built, generation, resistance, live_from, works)

    def change_valve(self, rack: int, number: int) -> None:
        """Put another valve into a rack; the same `number` of a work gives the same valve."""
        rng = np.random.default_rng([number, 1013])
        self.built.rack_valve[rack] = np.exp(0.08 * self.level * np.clip(rng.standard_normal(), -2.5, 2.5))


def _parts(built: AsBuilt, layout: PlantLayout, level: int) -> tuple[ValueArray, ValueArray]:
    """Place air-cooled racks and the newer generation; return power and resistance of each GPU over the model's."""
    generation, resistance = np.ones(len(layout.racks)), np.ones(len(layout.racks))
    newer = layout.rack_pod % 4 == 1
    generation[newer], resistance[newer] = NEW_GPU, NEW_RESISTANCE
    for pod in range(0, len(layout.pods), 4 - level):
        mine = np.flatnonzero(layout.rack_pod == pod)
        if len(mine) > 2:
            built.air_cooled[mine[-1]] = True
    air = built.air_cooled
    generation[air], resistance[air] = AIR_GPU, AIR_RESISTANCE
    built.rack_base[air], built.rack_liquid[air] = AIR_BASE, 0.0
    each = layout.gpus_per_rack
    return np.repeat(generation, each), np.repeat(resistance, each)


def _works(
    layout: PlantLayout, level: int, live_from: TimeArray, rng: np.random.Generator, began_ms: int
) -> tuple[Work, ...]:
    """Plan works for some weeks, on what has been in service for a day."""
    works = []
    start = began_ms + FIRST_WORK_MS
    while start < began_ms + WORKS_DAYS * DAY_MS:
        what = str(rng.choice(["valve", "service", "calibration"]))
        minutes = int(rng.integers(20, 60))
        ready: IntArray = np.flatnonzero(live_from < start - DAY_MS).astype(np.int32)
        target = layout.racks[int(rng.choice(ready))]
        if what == "service":
            pods = np.unique(layout.rack_pod[ready])
            target = layout.cdus[int(rng.choice(np.flatnonzero(np.isin(layout.cdu_pod, pods))))]
        works.append(Work(what, target, start, start + minutes * 60_000))
        start += round(WORKS_EVERY_MS / level * rng.uniform(0.6, 1.4))
    return tuple(works)
