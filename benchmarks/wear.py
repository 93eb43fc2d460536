"""How well the time that worn parts have left is told: `python -m benchmarks.wear` prints JSON.

Every slow fault of the catalogue that the list of worn parts is about grows in one factory of full size, each in a pod of
its own, stretched so that its limit lies weeks ahead. After two simulated weeks the list is made of hourly and daily
means, as the service makes it of the store's tiers, and compared with when the limit will in truth be reached.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analytics.anomaly import indicators as wear
from analytics.anomaly.indicators import Indicator
from analytics.anomaly.watch import PlantReadings
from analytics.anomaly.wear import WornPart, ranked
from benchmarks._fault_runs import of_pod
from benchmarks._watched_plant import START, Plant, shipped_site
from benchmarks.faults import figure
from domain.plant.cdu import CduModel
from domain.points import ValueArray
from domain.site import Site
from simulator.faults import Catalogue, objects

STEP_S = 240.0
HOUR, DAY = 15, 360
"""Steps in an hour and in a day."""
STRETCH = 6.0
"""The catalogue's parts wear out within days; real ones take months."""
ONSET_MS = 6 * 3_600_000
KINDS: dict[str, tuple[Indicator, float]] = {
    "filter-clogging": (wear.FILTER, 1.5 / 5.0),
    "pump-wear": (wear.PUMP, 0.25 / 0.45),
    "exchanger-fouling": (wear.EXCHANGER, 0.3 / 0.5),
    "ups-battery-aging": (wear.BATTERY, 0.2 / 0.6),
    "crah-filter": (wear.FAN, 0.25 / 0.4),
    "cold-plate-fouling": (wear.PLATE, 0.35 / 0.7),
}
"""What tells each fault, and the share of its full course at severity 1 at which the limit is reached."""


@dataclass
class Kept:
    """Means of what is read, hour by hour; of the GPUs day by day."""

    hours: dict[str, list[ValueArray]] = field(default_factory=dict)
    days: dict[str, list[ValueArray]] = field(default_factory=dict)
    _sum: dict[str, ValueArray] = field(default_factory=dict)
    _steps: int = 0

    def take(self, readings: PlantReadings, water_in: ValueArray, water_out: ValueArray) -> None:
        """Take in one moment."""
        r, c, u, a, g = readings.racks, readings.cdus, readings.upses, readings.air, readings.gpus
        coolant = np.repeat(0.5 * (r.supply + r.ret), g.temperature.shape[1])
        now = {
            "flow": c.flow, "dp": c.dp, "filter_dp": c.filter_dp, "speed": c.speed, "supply": c.supply, "ret": c.ret,
            "water_in": water_in, "water_out": water_out, "runtime": u.runtime, "load": u.power_out, "charge": u.charge,
            "fan": a.fan, "air": a.flow, "valve": r.valve, "power": r.power, "gpu": g.temperature.ravel(),
            "gpu_power": g.power.ravel(), "coolant": coolant,
        }  # fmt: skip
        for name, value in now.items():
            self._sum[name] = self._sum.get(name, 0.0) + value
        self._steps += 1
        daily = ("gpu", "gpu_power", "coolant")
        if self._steps % HOUR == 0:
            for name in now.keys() - set(daily):
                self.hours.setdefault(name, []).append(self._sum.pop(name) / HOUR)
        if self._steps % DAY == 0:
            for name in daily:
                self.days.setdefault(name, []).append(self._sum.pop(name) / DAY)

    def indicators(self, plant: Plant) -> Iterator[tuple[Indicator, tuple[str, ...], ValueArray, ValueArray]]:
        """Return what `analytics.live.upkeep` works out of the store."""
        h = {name: np.array(rows).T for name, rows in self.hours.items()}
        d = {name: np.array(rows).T for name, rows in self.days.items()}
        site, layout = plant.site, plant.factory.layout
        hours = np.asarray((np.arange(h["flow"].shape[1]) + 0.5) / 24, np.float64)
        days = np.asarray(np.arange(d["gpu"].shape[1]) + 0.5, np.float64)
        yield wear.FILTER, site.cdus, hours, wear.filters(h["filter_dp"], h["flow"])
        yield (
            wear.PUMP,
            site.cdus,
            hours,
            wear.pumps(h["dp"], h["filter_dp"], h["flow"], h["speed"], CduModel()),
        )
        lost = wear.exchangers(h["flow"], h["supply"], h["ret"], h["water_in"], h["water_out"])
        yield wear.EXCHANGER, site.cdus, hours, lost
        yield wear.BATTERY, layout.ups, hours, wear.batteries(h["runtime"], h["load"], h["charge"])
        yield wear.FAN, layout.crahs, hours, wear.fans(h["air"], h["fan"])
        shape = (len(site.racks), -1, 24)
        off = wear.valves(h["valve"].reshape(shape), h["power"].reshape(shape))
        yield wear.VALVE, site.racks, days[: off.shape[1]], off
        gpus = tuple(gpu for row in plant.equipment.gpus for gpu in row)
        yield wear.PLATE, gpus, days, wear.plates(d["gpu"], d["coolant"], d["gpu_power"])


def one_factory(site: Site, seed: int, days: float) -> tuple[list[dict[str, Any]], list[WornPart]]:
    """Let parts wear in one factory; return what was told of each, and the parts that were listed without being worn."""
    shipped = Catalogue.shipped()
    slower = [
        kind.model_copy(update={"onset": kind.onset * STRETCH, "duration": None}) for kind in shipped.values()
    ]
    plant = Plant(site, seed, Catalogue(slower))
    rng = np.random.default_rng([seed, 11])
    known = objects(plant.factory.layout, site.id)
    due: dict[str, tuple[str, float]] = {}
    for name, pod in zip(KINDS, rng.permutation(len(site.pods)).tolist(), strict=False):
        kind = plant.factory.faults.catalogue[name]
        target = str(
            rng.choice([n for n, k in known.items() if k == kind.object and n in of_pod(plant, pod)])
        )
        severity = float(rng.uniform(*kind.severity))
        plant.factory.raise_fault(name, target, START + ONSET_MS, severity)
        at = ONSET_MS / 86_400_000 + KINDS[name][1] / severity * kind.onset / 86_400
        due[name] = (target, at - days)
    kept = Kept()
    for _ in range(int(days * DAY)):
        plant.factory.step(STEP_S)
        kept.take(plant.read(), plant.water("Inlet"), plant.water("Outlet"))
    listed: list[WornPart] = []
    for indicator, ids, times, values in kept.indicators(plant):
        listed += wear.worn(indicator, ids, times, values)
    listed = ranked(listed)
    rows = []
    for name, (target, truth) in due.items():
        own = [p for p in listed if p.object_id == target and p.indicator == KINDS[name][0].name]
        left = own[0].remaining if own else None
        rows.append(
            {
                "fault": name, "target": target, "seed": seed, "true_days": round(truth, 1), "listed": left is not None,
                "place": listed.index(own[0]) + 1 if own else None,
                "days": None if left is None else round(left.middle, 1),
                "interval": None if left is None else [round(left.low, 1), round(left.high, 1)],
                "holds": left is not None and left.low - 1.0 <= truth <= left.high + 1.0,
            }
        )  # fmt: skip
    worn = {(target, KINDS[name][0].name) for name, (target, _) in due.items()}
    return rows, [p for p in listed if (p.object_id, p.indicator) not in worn]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[961, 962])
    parser.add_argument("--days", type=float, default=14.0)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    others: list[str] = []
    for seed in options.seeds:
        found, false = one_factory(shipped_site(), seed, options.days)
        rows += found
        others += [f"{p.object_id}: {p.indicator}, {p.remaining.middle:.0f} days" for p in false]
        print(seed, found, others, file=sys.stderr, flush=True)
    told = [r for r in rows if r["listed"]]
    errors = [abs(r["days"] - r["true_days"]) / r["true_days"] for r in told]
    print(
        json.dumps(
            {
                "name": "wear",
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
                "figures": {
                    "listed": figure(100 * len(told) / len(rows), "%"),
                    "days_error_median": figure(
                        100 * statistics.median(errors) if errors else float("nan"), "%"
                    ),
                    "interval_holds": figure(100 * sum(r["holds"] for r in told) / max(len(told), 1), "%"),
                    "listed_without_wear": figure(len(others), f"in {len(options.seeds)} factories"),
                },
                "days": options.days,
                "stretch": STRETCH,
                "parts": rows,
                "others": others,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
