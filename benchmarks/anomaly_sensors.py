"""Sensor faults against plant faults: `python -m benchmarks.anomaly_sensors` prints a confusion table as JSON.

Flow meters of 96 racks under a wandering load, half an hour at 10 s. Sensor faults change what is read; the plant
fault changes the flow itself, and the coolant's rise with it, so that the virtual reading follows.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable

import numpy as np

from analytics.anomaly.sensors import SensorHabits, Verdict, classify
from analytics.anomaly.virtual import flow_from_heat
from domain.plant.rack import COOLANT_HEAT
from domain.points import ValueArray

ROWS, RACKS, SEEDS = 180, 96, 20
TOLERANCE = 10.0
Fault = Callable[[ValueArray, np.random.Generator], ValueArray]

SENSOR_FAULTS: dict[str, Fault] = {
    "stuck": lambda v, rng: np.where(np.arange(ROWS)[:, None] > rng.integers(20, 120, RACKS), v[20], v),
    "drifting": lambda v, rng: v * (1.0 + np.linspace(0, 1, ROWS)[:, None] * rng.uniform(0.12, 0.3, RACKS)),
    "spiking": lambda v, rng: v + rng.uniform(30, 90, RACKS) * (rng.random(v.shape) < 0.03),
    "noisy": lambda v, rng: v + rng.uniform(5, 15, RACKS) * rng.normal(size=v.shape),
    "wrong_unit": lambda v, rng: v * rng.choice([1 / 60, 0.06, 0.264172], RACKS),
}


def factory(rng: np.random.Generator, lost: ValueArray | float = 1.0) -> tuple[ValueArray, ValueArray]:
    """Return flows as read and as the heat says, shape (rows, racks); `lost` is the share of flow that is left."""
    phase, pace = rng.uniform(0, 6, RACKS), rng.uniform(20, 80, RACKS)
    power = 1e5 * (1.0 + 0.2 * np.sin(np.arange(ROWS)[:, None] / pace + phase))
    flow = 1.18e-3 * power * lost
    supply = 32.0 + rng.normal(0, 0.1, flow.shape)
    ret = 32.0 + 0.95 * power / (COOLANT_HEAT * flow) + rng.normal(0, 0.1, flow.shape)
    read = np.round(flow * (1.0 + rng.normal(0, 0.01, RACKS)) + rng.normal(0, 0.6, flow.shape), 1)
    return read, flow_from_heat(power * (1.0 + rng.normal(0, 0.005, flow.shape)), supply, ret)


def confusion() -> dict[str, dict[str, float]]:
    """Return the share of verdicts, %, for what really was the case."""
    counts: dict[str, np.ndarray] = {}
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        read, virtual = factory(rng)
        habits = SensorHabits.learn(read, np.full(RACKS, TOLERANCE))
        read, virtual = factory(rng)
        cases = {"healthy": (read, virtual)}
        cases |= {name: (fault(read, rng), virtual) for name, fault in SENSOR_FAULTS.items()}
        closing = np.where(np.arange(ROWS)[:, None] > 60, rng.uniform(0.3, 0.7, RACKS), 1.0)
        cases["plant: valve closes"] = factory(rng, closing)
        slow = 1.0 - np.linspace(0, 1, ROWS)[:, None] * rng.uniform(0.2, 0.5, RACKS)
        cases["plant: filter clogs"] = factory(rng, slow)
        for name, (values, estimate) in cases.items():
            found = np.bincount(classify(values, estimate, habits), minlength=len(Verdict))
            counts[name] = counts.get(name, np.zeros(len(Verdict))) + found
    return {
        name: {
            v.name.lower(): round(100 * float(n) / (SEEDS * RACKS), 2)
            for v, n in zip(Verdict, c, strict=True)
            if n
        }
        for name, c in counts.items()
    }


def main() -> None:
    table = confusion()
    right = [table[name].get(name, 0.0) for name in SENSOR_FAULTS]
    mistaken = [100.0 - shares.get("good", 0.0) for name, shares in table.items() if name.startswith("plant")]
    figures = {
        "sensor_faults_right": {"value": round(float(np.mean(right)), 2), "unit": "%", "reference": None, "ratio": None},
        "plant_faults_taken_for_sensor": {
            "value": round(float(np.mean(mistaken)), 2), "unit": "%", "reference": None, "ratio": None,
        },
    }  # fmt: skip
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    report = {"name": "anomaly_sensors", "machine": machine, "figures": figures, "confusion": table}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
