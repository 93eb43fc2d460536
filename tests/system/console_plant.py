"""A plant for the console's tests: the demo's site, its points, and readings that go through the real ingest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from domain.alert import Condition, Severity
from domain.batch import Batch, now_ms
from domain.envelope import QUARTER_MS, quarter_start
from domain.forecast import QUANTILES, Forecast
from domain.grid import GridRequest, Kind, Part, Standing
from domain.points import Point, PointRegistry, Quality
from domain.site import Site

STATUS = ((0, "Off"), (1, "On"))
LEAK = ((0, "Dry"), (1, "Leak"))


def demo_site(pods: int = 12) -> Site:
    """A site of the demo's shape with as many pods of 8 racks as asked for."""
    racks = [f"R{n:03d}" for n in range(1, pods * 8 + 1)]
    pod_list = [
        {
            "id": f"P{p:02d}",
            "racks": racks[(p - 1) * 8 : p * 8],
            "cdus": [f"P{p:02d}-CDU1", f"P{p:02d}-CDU2"],
            "busways": [f"P{p:02d}-BUS-A", f"P{p:02d}-BUS-B"],
            "row": (p + 1) // 2,
            "column": 1 if p % 2 else 10,
        }
        for p in range(1, pods + 1)
    ]
    nodes = []
    for side in "AB":
        ups = [f"UPS-{side}{u}" for u in range(1, (pods + 1) // 2 + 1)]
        nodes.append({"id": f"FEED-{side}", "type": "Feed", "limit": f"{1.375 * pods} MW", "serves": ups})
        for u, name in enumerate(ups):
            served = [f"P{p:02d}-BUS-{side}" for p in (2 * u + 1, 2 * u + 2) if p <= pods]
            nodes.append({"id": name, "type": "UPS", "limit": "2.4 MW", "serves": served})
        for p in range(1, pods + 1):
            nodes.append(
                {
                    "id": f"P{p:02d}-BUS-{side}",
                    "type": "PowerMeter",
                    "limit": "1.15 MW",
                    "serves": pod_list[p - 1]["racks"],
                }
            )
    return Site.model_validate(
        {
            "id": "taipei-1",
            "name": "Taipei AI Factory 1",
            "timezone": "Asia/Taipei",
            "limit": 16e6 * pods / 12,
            "installed": 17.2e6 * pods / 12,
            "idle": 4.2e6 * pods / 12,
            "rack_limit": "142 kW",
            "pods": pod_list,
            "nodes": nodes,
            "redundancy": {f"P{p:02d}-cooling": pod_list[p - 1]["cdus"] for p in range(1, pods + 1)},
        }
    )


@dataclass
class Plant:
    """Registers the points of a site and says what they measure at a time.

    `change` may change the values of a tick before they are handed on, by point key; the keys in `bad` are told with bad
    quality.
    """

    site: Site
    registry: PointRegistry
    gpus: bool = True
    change: Callable[[dict[str, float]], None] | None = None
    bad: set[str] = field(default_factory=set)
    _keys: list[str] = field(default_factory=list)
    _index: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for point in self.points():
            self._index.append(self.registry.register(point))
            self._keys.append(point.key)

    def points(self) -> list[Point]:
        found: list[Point] = []

        def add(kind: str, what: str, of: str, unit: str = "W", key: str = "", **more: object) -> None:
            name = key or f"{kind}/{what}/{of}"
            found.append(
                Point(
                    name, kind, what, of, of, "" if "state_text" in more else unit, source="dsx:bms", **more
                )
            )  # type: ignore[arg-type]

        served = {n.id: n.serves for n in self.site.nodes}
        for node in self.site.nodes:
            if node.type == "UPS":
                add("UPS", "ActivePower", node.id, serves=served[node.id])
                add("UPS", "BatteryCharge", node.id, "1")
                add("UPS", "Status", node.id, state_text=((0, "On battery"), (1, "Online")))
            elif node.type == "Feed":
                add("PowerMeter", "ActivePower", node.id, serves=node.serves)
            else:
                side = node.id[-1]
                add(
                    "PowerMeter", "ActivePower", node.id, serves=tuple(f"{r}-TAP-{side}" for r in node.serves)
                )
        for what, unit in (
            ("QuarterHourPower", "W"), ("QuarterHourBreachProbability", "1"), ("TokenRate", "token/s")
        ):  # fmt: skip
            add("Site", what, self.site.id, unit)
        for pod in self.site.pods:
            for cdu in pod.cdus:
                for side in ("Supply", "Return"):
                    add("CDU", "LiquidTemperature", cdu, "Cel", f"CDU/LiquidTemperature/{cdu}/{side}",
                        process_area=("Secondary", side), serves=pod.racks)  # fmt: skip
                add("CDU", "LiquidFlow", cdu, "L/min", process_area=("Secondary",))
                add("CDU", "LiquidDifferentialPressure", cdu, "Pa", process_area=("Secondary",))
                add("CDU", "PumpSpeed", cdu, "1", process_area=("Secondary",))
                add("CDU", "Status", cdu, state_text=STATUS)
            for rack in pod.racks:
                add("Rack", "RackPower", rack)
                add("Rack", "RackLiquidSupplyTemperature", rack, "Cel")
                add("Rack", "RackLiquidReturnTemperature", rack, "Cel")
                add("Rack", "RackLiquidFlow", rack, "L/min")
                add("Rack", "RackLiquidDifferentialPressure", rack, "Pa")
                add("Rack", "RackControlValvePosition", rack, "1")
                add("Rack", "RackLeakDetect", rack, state_text=LEAK)
                add("Rack", "AnomalyScore", rack, "1")
                for side in "AB":
                    add("PowerMeter", "ActivePower", f"{rack}-TAP-{side}", serves=(rack,))
                for tray in range(1, self.site.rack_gpus // 4 + 1) if self.gpus else ():
                    for gpu in range(4):
                        for what, unit in (("GpuTemperature", "Cel"), ("GpuPower", "W")):
                            name = f"{rack}-T{tray:02d}-G{gpu}"
                            add("GPU", what, name, unit, f"GPU/{what}/nvml/{name}", associate=rack)
        return found

    def values(self, now: int) -> dict[str, float]:
        """Return what every point measures at `now`, by key."""
        site, t = self.site, now / 1000
        found: dict[str, float] = {}
        total = 0.0
        ups: dict[str, float] = dict.fromkeys((n.id for n in site.nodes), 0.0)
        for p, pod in enumerate(site.pods):
            wave = (
                0.93
                + 0.05 * math.sin(t / 2300 + p)
                + 0.02 * math.sin(t / 47 + 2 * p)
                + 0.004 * math.sin(t * 1.3)
            )
            flow = 0.0
            for i, rack in enumerate(pod.racks):
                power = 132e3 * wave * (1 - 0.004 * ((7 * i + 3 * p) % 9))
                share = 0.5 + 0.03 * math.sin(i + p)
                litres = power / 1e3 * 1.2
                supply = 32.5 + 0.2 * math.sin(i)
                total += power
                flow += litres
                found[f"Rack/RackPower/{rack}"] = power
                found[f"Rack/RackLiquidSupplyTemperature/{rack}"] = supply
                found[f"Rack/RackLiquidReturnTemperature/{rack}"] = supply + 0.95 * power / (
                    litres / 60 * 4186 * 0.99
                )
                found[f"Rack/RackLiquidFlow/{rack}"] = litres
                found[f"Rack/RackLiquidDifferentialPressure/{rack}"] = 80e3
                found[f"Rack/RackControlValvePosition/{rack}"] = 0.62
                found[f"Rack/RackLeakDetect/{rack}"] = 0
                found[f"Rack/AnomalyScore/{rack}"] = 0.2 + 0.15 * abs(math.sin(i * 3 + p))
                for side, part in (("A", share), ("B", 1 - share)):
                    found[f"PowerMeter/ActivePower/{rack}-TAP-{side}"] = power * part
                    bus = f"P{p + 1:02d}-BUS-{side}"
                    found[f"PowerMeter/ActivePower/{bus}"] = (
                        found.get(f"PowerMeter/ActivePower/{bus}", 0.0) + power * part
                    )
                    ups[f"UPS-{side}{p // 2 + 1}"] += power * part
                for n in range(site.rack_gpus) if self.gpus else ():
                    name = f"{rack}-T{n // 4 + 1:02d}-G{n % 4}"
                    found[f"GPU/GpuTemperature/nvml/{name}"] = (
                        55 + 14 * (wave - 0.8) * 5 + 3 * math.sin(n * 7 + i)
                    )
                    found[f"GPU/GpuPower/nvml/{name}"] = power / 110 * (1 + 0.02 * math.sin(n * 5 + t / 9))
            for c, cdu in enumerate(pod.cdus):
                found[f"CDU/LiquidTemperature/{cdu}/Supply"] = 32.4 + 0.3 * math.sin(p + c)
                found[f"CDU/LiquidTemperature/{cdu}/Return"] = 43.6 + 0.4 * math.sin(p * 2 + c)
                found[f"CDU/LiquidFlow/{cdu}"] = flow / 2
                found[f"CDU/LiquidDifferentialPressure/{cdu}"] = 82e3
                found[f"CDU/PumpSpeed/{cdu}"] = 0.55 + 0.03 * math.sin(p + c)
                found[f"CDU/Status/{cdu}"] = 1
        for name, power in ups.items():
            if name.startswith("UPS"):
                found[f"UPS/ActivePower/{name}"] = power
                found[f"UPS/BatteryCharge/{name}"] = 1.0
                found[f"UPS/Status/{name}"] = 1
        site_power = total * 1.19 + 0.75e6 * len(site.pods) / 12
        for side, part in (("A", 0.5), ("B", 0.5)):
            found[f"PowerMeter/ActivePower/FEED-{side}"] = site_power * part
        found[f"Site/QuarterHourPower/{site.id}"] = site_power * 1.005
        found[f"Site/QuarterHourBreachProbability/{site.id}"] = 0.004
        found[f"Site/TokenRate/{site.id}"] = total * 0.155
        if self.change is not None:
            self.change(found)
        return found

    def batch(self, now: int, only: frozenset[str] = frozenset()) -> Batch:
        """Return a batch of every point, or of those of the object types in `only`."""
        values = self.values(now)
        rows = [
            (i, values[k], Quality.BAD if k in self.bad else Quality.GOOD)
            for i, k in zip(self._index, self._keys, strict=True)
            if k in values and (not only or self.registry[i].object_type in only)
        ]
        return Batch.of([r[0] for r in rows], now, [r[1] for r in rows], [r[2] for r in rows])

    def history(self, now: int, hours: float, step: int) -> Batch:
        """Return the feeds' and racks' past, for the charts."""
        times = np.arange(now - int(hours * 3_600_000), now, step)
        batches = [self.batch(int(t), frozenset({"PowerMeter", "Rack"})) for t in times]
        return Batch.concat(batches)


def forecast_of(site: Site, now: int, peak: float = 0.95) -> Forecast:
    """A forecast with the shape of a day, its peak at `peak` of the limit."""
    start = quarter_start(now) + QUARTER_MS * np.arange(192, dtype=np.int64)
    middle = site.limit * (peak - 0.08 + 0.08 * np.sin(np.arange(192) / 15.0))
    spread = site.limit * 0.006 * np.sqrt(1 + np.arange(192) / 8)
    level = np.array(QUANTILES)
    z = np.log(level / (1 - level)) / 1.7
    values = middle[:, None] + spread[:, None] * z[None, :]
    limit = np.full(192, site.limit)
    breach = 1 / (1 + np.exp(1.7 * (site.limit - middle) / spread))
    return Forecast(
        site.id,
        "ActivePower",
        "W",
        now,
        quarter_start(now),
        15,
        start,
        QUANTILES,
        values,
        limit,
        breach,
        "test",
    )


def condition(
    rule: str = "temperature",
    object_id: str = "R003",
    severity: Severity = Severity.WARNING,
    value: float = 53.2,
    limit: float = 52.0,
    unit: str = "Cel",
    summary: str = "",
) -> Condition:
    """A condition, as a rule would find it."""
    text = summary or f"{object_id} coolant return is above its limit"
    return Condition(rule, object_id, severity, text, value, limit, unit, now_ms())


def less_is_asked(node: str, limit: float, now: int) -> GridRequest:
    """Return a request of an energy partner for an hour that begins in an hour (`now` in UTC ms), below a limit in W."""
    part = Part(node, now + 3_600_000, now + 7_200_000, limit)
    return GridRequest(
        0, "flex", "acme", "acme", f"r{now}", 0, Kind.LIMIT, (part,), "W", "", False, now, Standing.WAITING
    )
