"""A simulated factory, read the way the service reads it: what the benchmarks of faults and of wear watch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import yaml

from analytics.anomaly.air import AirReadings
from analytics.anomaly.cdus import CduReadings
from analytics.anomaly.gpus import GpuTable
from analytics.anomaly.racks import RackReadings
from analytics.anomaly.taps import TapReadings
from analytics.anomaly.upses import UpsReadings
from analytics.anomaly.virtual import coolant_heat
from analytics.anomaly.watch import Equipment, PlantReadings, Taps, feeds_of
from analytics.live.gather import FRESH_MS, along_rack
from domain.points import Quality, ValueArray
from domain.site import Site
from domain.topology import PlantObject, Topology
from simulator.bms import Bms, ChangeFilter, Reading
from simulator.factory import Factory
from simulator.faults import Catalogue
from simulator.nvml_values import GpuReadings
from simulator.snmp.devices import cooling_unit, ups
from simulator.traces import Traces

ROOT = Path(__file__).parent.parent
START = 1_780_000_000_000


def shipped_site() -> Site:
    """Return the demo's site: 96 racks, 6,912 GPUs."""
    return Site.model_validate(yaml.safe_load((ROOT / "config" / "site.yaml").read_text()))


class Plant:
    """A simulated factory, read the way the service reads it."""

    def __init__(
        self,
        site: Site,
        seed: int,
        catalogue: Catalogue | None = None,
        traces: Traces | None = None,
        roughness: int = 0,
    ) -> None:
        self.site = site
        self.factory = Factory(site, seed, START, catalogue=catalogue, traces=traces, roughness=roughness)
        self.bms = Bms(self.factory)
        self._changes = ChangeFilter(self.bms)
        self._held: ValueArray = np.full(len(self.bms.points), np.nan)
        self._worth: ValueArray = np.zeros(len(self.bms.points))
        self.gpus = GpuReadings(self.factory)
        layout = self.factory.layout
        self._table: ValueArray = np.zeros(0)
        self.setpoint: dict[str, int] = {}
        self._rows: dict[tuple[str, str, str, tuple[str, ...]], np.ndarray] = {}
        self.where: dict[tuple[str, str, str], dict[str, int]] = {}
        for i, p in enumerate(self.bms.points):
            q = p.point
            if q.setpoint:
                if q.point_type == "LiquidTemperature":
                    self.setpoint[q.object_id] = i
            else:
                key = (q.object_type, q.point_type, " ".join(q.process_area) + q.phase)
                self.where.setdefault(key, {})[q.object_id] = i
        taps = layout.taps()
        self.taps = Taps(
            tuple(taps),
            tuple(np.repeat(layout.racks, 2).tolist()),
            tuple(layout.busways[b] for b in layout.tap_busway.ravel()),
        )
        self._ups, self._air = ups().values, cooling_unit().values
        gpus = [
            ["{}-{}-G{}".format(*self.factory.gpu_name(r * layout.gpus_per_rack + g)) for g in range(layout.gpus_per_rack)]
            for r in range(len(layout.racks))
        ]  # fmt: skip
        self.equipment = Equipment(self.taps, layout.ups, layout.crahs, gpus, "CHW-PLANT")

    def topology(self) -> Topology:
        """Return what serves what, GPUs and trays by name only."""
        gpus = [PlantObject(g, "GPU") for row in self.equipment.gpus for g in row]
        air = [PlantObject(name, "CRAH") for name in self.equipment.air_units]
        trays = [PlantObject(name, "Tray") for name in {g.id.rpartition("-")[0] for g in gpus}]
        known = (p.point for p in self.bms.points)
        return Topology.from_points(known, [*self.site.objects(), *gpus, *trays, *air], self.site.edges())

    def move(self, seconds: float, tick: float) -> None:
        """Let the factory go on by so many seconds, in steps of a tick at most, and tell at each what has moved."""
        ticks = max(math.ceil(seconds / tick), 1)
        for _ in range(ticks - 1):
            self.factory.step(seconds / ticks)
            self._hear()
        self.factory.step(seconds / ticks)

    def _hear(self) -> Reading:
        """Take what the BMS tells now; what moved by less than its deadband stands as it was heard last."""
        reading = self.bms.read()
        moved = self._changes(reading)
        self._held[moved], self._worth[moved] = reading.value[moved], reading.quality[moved]
        return reading

    def water(self, side: str) -> ValueArray:
        """Return the facility water's temperature at the CDUs' "Inlet" or "Outlet", as of the last `read`, Cel."""
        found = self.where["CDU", "LiquidTemperature", f"Primary {side}"]
        return self._table[[found[cdu] for cdu in self.site.cdus]]

    def read(self) -> PlantReadings:
        """Return what the instruments tell now."""
        self._hear()  # a gap is over with the next message, seconds later: a long step must not stretch it to a whole round
        reading = self._hear()
        table = self._held * self.bms.scale + self.bms.offset
        table[self._worth == Quality.BAD] = np.nan
        table[np.abs(reading.late) > FRESH_MS] = np.nan  # as the service does
        self._table = table

        def of(kind: str, point: str, ids: tuple[str, ...], area: str = "") -> ValueArray:
            key = (kind, point, area, ids)
            if key not in self._rows:
                found = self.where[kind, point, area]
                self._rows[key] = np.array([found[i] for i in ids])
            return np.asarray(table[self._rows[key]])

        racks, cdus, taps, layout = self.site.racks, self.site.cdus, self.taps.ids, self.factory.layout
        shape = (len(racks), self.site.rack_gpus)
        told = {name: np.asarray(column, float).reshape(shape) for name, column in self.gpus.told().items()}
        temperature, gpu_power = told["GpuTemperature"], told["GpuPower"]
        upses, air = self._ups(self.bms.meters).astype(float), self._air(self.bms.meters).astype(float)
        power = of("Rack", "RackPower", racks)
        flow = of("CDU", "LiquidFlow", cdus, "Secondary")
        return PlantReadings(
            RackReadings(
                power,
                of("Rack", "RackLiquidSupplyTemperature", racks),
                of("Rack", "RackLiquidReturnTemperature", racks),
                of("Rack", "RackLiquidFlow", racks),
                of("Rack", "RackLiquidDifferentialPressure", racks),
                np.fmax.reduce(temperature, axis=1),
                along_rack(np.nanmean, gpu_power),
                of("Rack", "RackControlValvePosition", racks),
                of("Rack", "RackLeakDetect", racks),
            ),
            CduReadings(
                flow,
                of("CDU", "LiquidDifferentialPressure", cdus, "Secondary"),
                of("CDU", "PumpSpeed", cdus, "Secondary Pump1"),
                of("CDU", "LiquidDifferentialPressure", cdus, "Secondary Filter1"),
                of("CDU", "LiquidTemperature", cdus, "Secondary Supply"),
                of("CDU", "LiquidTemperature", cdus, "Secondary Return"),
                of("CDU", "LiquidFlow", cdus, "Primary"),
                coolant_heat(
                    power, flow, layout.rack_pod, layout.cdu_pod, ~self.factory.plant.built.air_cooled
                ),
                of("CDU", "ValvePosition", cdus, "Primary"),
                table[[self.setpoint[name] for name in cdus]],
                of("CDU", "LiquidPressure", cdus, "Secondary Return"),
            ),
            TapReadings(
                of("PowerMeter", "ActivePower", taps),
                of("PowerMeter", "PowerFactor", taps),
                of("PowerMeter", "Voltage", taps),
                np.stack([of("PowerMeter", "PhaseCurrent", taps, p) for p in "ABC"], axis=1),
                np.repeat(power, 2),
            ),
            # columns of the UPS-MIB's and the cooling unit's tables (simulator.snmp.devices), the up-time before them
            UpsReadings(
                upses[:, [12, 16, 20]].sum(axis=1),
                upses[:, [25, 29, 33]].sum(axis=1),
                upses[:, 10],
                upses[:, 4] / 100.0,
                upses[:, 3] * 60.0,
            ),
            AirReadings(air[:, 6] / 1000.0, air[:, 5], air[:, 7]),
            GpuTable(
                temperature,
                told["GpuMemoryTemperature"],
                gpu_power,
                told["GpuClock"],
                told["GpuUtilization"],
                told["GpuAvailable"],
                told["GpuEccCorrected"],
                told["GpuEccUncorrected"],
                told["GpuNvlinkErrors"],
            ),
            of("PowerMeter", "Voltage", feeds_of(self.site)),
            float(of("Chiller", "LiquidTemperature", ("CHW-PLANT",), "Supply")[0]),
            reading.late[[self.where["Rack", "RackPower", ""][name] for name in racks]] / 1000.0,
        )
