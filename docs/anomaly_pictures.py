"""Draw the pictures of docs/anomalies.md: three incidents on the plant's physics, from onset to diagnosis.

python docs/anomaly_pictures.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import yaml

from analytics.anomaly.incidents import Finding, Grouping, IncidentBook
from analytics.anomaly.racks import SIGNALS, RackReadings, RackScorer
from analytics.anomaly.virtual import flow_from_heat
from domain.plant.conditions import Conditions
from domain.plant.layout import PlantLayout
from domain.plant.model import Plant
from domain.said import told
from domain.site import Site

ROOT = Path(__file__).parent
STEP, ONSET, END = 10.0, 240, 330
RACK = 5


class Scene:
    """One fault: what was read, scored and opened."""

    def __init__(self, seed, knob=None, where=None, value=None, sensor=None):
        site = yaml.safe_load((ROOT.parent / "config" / "site.yaml").read_text())
        self.layout = PlantLayout.of(Site.model_validate(site))
        rng = np.random.default_rng(seed)
        racks = len(self.layout.racks)
        plant, conditions = Plant(self.layout), Conditions.healthy(self.layout)
        level = rng.uniform(0.4, 0.9, 12)
        level[0] = 0.8
        scorer = RackScorer(self.layout.racks, self.layout.rack_pod)
        book = IncidentBook(self.grouping())
        state = None
        self.readings, self.scores, self.parts, self.opened = [], [], [], []
        for step in range(END):
            if step % 30 == 29:
                level[rng.integers(1, 12)] = rng.uniform(0.3, 0.95)
            if step == ONSET and knob:
                getattr(conditions, knob)[where] = value
            gpu_power = plant.model.gpu.power(np.repeat(level, 8))
            power = plant.model.rack.power(72 * gpu_power)
            if state is None:
                state = plant.settle(power, conditions)
            plant.step(state, power, conditions, STEP)
            flow = state.flow * (1 + 0.005 * rng.normal(size=racks))
            if sensor and step >= ONSET:
                flow[RACK] *= sensor
            now = RackReadings(
                power=state.power.copy(),
                supply=state.supply + 0.05 * rng.normal(size=racks),
                ret=state.ret + 0.05 * rng.normal(size=racks),
                flow=flow,
                dp=state.dp * (1 + 0.005 * rng.normal(size=racks)),
                gpu_max=np.round(state.coolant + 1.08 * plant.model.gpu.resistance * gpu_power),
                gpu_power=gpu_power,
                valve=state.valve.copy(),
                leak=np.zeros(racks),
            )
            scores = scorer.update(now, STEP)
            found = [
                Finding(self.layout.racks[n], dict(zip(SIGNALS, scores.contributions[n], strict=True)))
                for n in np.flatnonzero(scores.score > 1)
            ]
            self.opened += [(step, i) for i in book.update(int(1000 * STEP * step), found)[0]]
            self.readings.append(now)
            self.scores.append(scores.score)
            self.parts.append(scores.contributions)

    def grouping(self):
        n = self.layout
        parents = {
            r: [c for c, p in zip(n.cdus, n.cdu_pod, strict=True) if p == n.rack_pod[k]]
            for k, r in enumerate(n.racks)
        }
        types = dict.fromkeys(n.racks, "Rack") | dict.fromkeys(n.cdus, "CDU")
        return Grouping(parents, types, frozenset(n.racks))

    def of(self, name, racks):
        return np.array([getattr(r, name)[racks] for r in self.readings])


def draw(name, scene, lines, unit, racks):
    minutes = (np.arange(END) - ONSET) * STEP / 60
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(7.2, 4.2), sharex=True, constrained_layout=True)
    for label, values, style in lines:
        top.plot(minutes, values, style, lw=1.2, label=label)
    top.set_ylabel(unit)
    top.legend(frameon=False, fontsize=8, loc="center left")
    parts = np.array(scene.parts)[:, racks].max(axis=1)
    for k, signal in enumerate(SIGNALS):
        if np.nanmax(parts[:, k]) > 1:
            bottom.plot(minutes, parts[:, k], lw=1.2, label=signal)
    bottom.axhline(1, color="grey", lw=0.8, ls=":")
    bottom.set(ylabel="score", xlabel="minutes from onset", xlim=(-8, 14))
    bottom.legend(frameon=False, fontsize=8, loc="upper left")
    for step, incident in scene.opened:
        at = minutes[step]
        for axis in (top, bottom):
            axis.axvline(at, color="crimson", lw=0.9)
        bottom.annotate(
            f"{incident.cause.root}:\n{incident.cause.fault}", (at, 0.45), xycoords=("data", "axes fraction"),
            xytext=(4, 0), textcoords="offset points", fontsize=8, color="crimson",
        )  # fmt: skip
        print(
            name,
            f"opened {60 * at:.0f} s after onset:",
            incident.cause.root,
            incident.cause.fault,
            [told(said) for said in incident.cause.evidence],
        )
    fig.savefig(ROOT / "pictures" / f"{name}.png", dpi=90)
    plt.close(fig)


def main():
    blocked = Scene(1, "rack_blockage", RACK, 0.12)
    draw(
        "anomaly-blocked-rack", blocked,
        [("flow, L/min", blocked.of("flow", RACK), "C0"), ("return, Cel", blocked.of("ret", RACK), "C3")],
        "rack R006", [RACK],
    )  # fmt: skip
    warm = Scene(2, "cdu_valve_stuck", slice(0, 2), 0.12)
    draw(
        "anomaly-warm-pod", warm,
        [("supply of the pod, mean", warm.of("supply", slice(0, 8)).mean(axis=1), "C3"), ("supply of another pod", warm.of("supply", 40), "C7")],
        "Cel", list(range(8)),
    )  # fmt: skip
    lying = Scene(3, sensor=0.6)
    virtual = flow_from_heat(lying.of("power", RACK), lying.of("supply", RACK), lying.of("ret", RACK))
    draw(
        "anomaly-flow-sensor", lying,
        [("flow as read", lying.of("flow", RACK), "C0"), ("flow that carries the heat", virtual, "C2--")],
        "L/min", [RACK],
    )  # fmt: skip


if __name__ == "__main__":
    main()
