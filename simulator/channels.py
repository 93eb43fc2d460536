"""What the building-management system measures: one row per kind of point, as data.

A channel says which DSX point it is, under which tag, where its values come from in the factory, and how the
instrument tells them: resolution, deadband, noise. The figures are those of a real DSX capture of such a plant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from domain.plant.conditions import Conditions
from domain.plant.layout import PlantLayout
from domain.plant.model import PlantState
from domain.plant.power import line_current
from domain.points import ValueArray
from simulator.factory import Factory

TAP_VOLTS, FEED_VOLTS = 415.0, 22_800.0
TAP_AMPERES, BUSWAY_AMPERES = 250.0, 1_600.0
ON_OFF = ((0, "Off"), (1, "On"))
AVAILABLE = ((0, "NotAvailable"), (1, "Available"))
LEAK = ((0, "NoLeak"), (1, "Leak"))
ISOLATED = ((0, "NotIsolated"), (1, "Isolated"))
FAULT = ((0, "NoFault"), (1, "Fault"))

Read = Callable[["Meters"], ValueArray]


@dataclass(frozen=True, slots=True)
class Thing:
    """An object that channels belong to: its id, its place in tags, what it serves."""

    id: str
    path: str
    serves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of point over all objects of a kind.

    Parameters
    ----------
    objects
        Of `Meters.things`: whose points these are.
    object_type, point_type
        DSX words.
    tag
        Last part of the tag path.
    read
        Gives the values, one per object, in canonical units.
    resolution, deadband, noise
        Smallest step, change that is published, and standard deviation of the noise, in the published unit.
    area, phase, setpoint, states
        DSX processArea, phase, isSetpoint, stateText.
    history
        Whether the first fortnight holds it.
    """

    objects: str
    object_type: str
    point_type: str
    tag: str
    read: Read
    resolution: float = 0.01
    deadband: float = 0.0
    noise: float = 0.0
    area: tuple[str, ...] = ()
    phase: str = ""
    setpoint: bool = False
    states: tuple[tuple[int, str], ...] = ()
    history: bool = False


class Meters:
    """What is derived once per reading of the factory: currents, voltages, pressures.

    With the settled state of many times in place of the factory's own, arrays are (times, objects).
    """

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        self.layout = factory.layout
        rng = np.random.default_rng([factory.seed, 601])
        racks = len(self.layout.racks)
        self.things = things(self.layout, factory.site.id)
        level = factory.roughness.level
        skew = 0.025 * (1.0 + 0.4 * level) * rng.standard_normal((racks, 2, 3))
        self.tap_skew = skew - skew.mean(-1, keepdims=True)
        self.sound = 66.0 + 2.0 * rng.standard_normal(len(self.layout.pods))
        # two meters of a UPS that differ by a thousandth look like a thirtieth of its losses
        self.ups_input_gain = 1.0 + 0.001 * level * rng.standard_normal(len(self.layout.ups))
        self.state = factory.state
        self.conditions = factory.conditions
        self.refresh()

    def refresh(self, state: PlantState | None = None, conditions: Conditions | None = None) -> None:
        """Derive everything again, from the factory's present state unless another is given."""
        s = self.state = self.factory.state if state is None else state
        c = self.conditions = self.factory.conditions if conditions is None else conditions
        n = self.layout
        self.tap_pf = np.clip(c.tap_power_factor + self.factory.plant.built.tap_power_factor, 0.05, 1.0)
        upstream = c.feed_voltage[n.tap_feed] * s.tap_live
        self.tap_current = line_current(s.taps, TAP_VOLTS * np.maximum(upstream, 1e-3), self.tap_pf)
        self.tap_volts = np.maximum(TAP_VOLTS * upstream - c.tap_resistance * self.tap_current, 0.0)
        skew = self.tap_skew + c.tap_phase_skew[..., None] * np.array([1.0, -0.5, -0.5])
        self.tap_phases = self.tap_current[..., None] * (1.0 + skew)
        flat = self.tap_phases.reshape(*self.tap_phases.shape[:-3], -1, 3)
        self.bus_phases = np.swapaxes(np.swapaxes(flat, -1, -2) @ n.taps_to_busways, -1, -2)
        self.bus_current = self.bus_phases.mean(-1)
        apparent = (s.taps / self.tap_pf).reshape(*s.taps.shape[:-2], -1)
        self.bus_apparent = apparent @ n.taps_to_busways
        self.bus_pf = np.divide(
            s.busways, self.bus_apparent, out=np.full_like(s.busways, 0.98), where=self.bus_apparent > 1.0
        )
        self.bus_volts = TAP_VOLTS * c.feed_voltage[n.ups_feed[n.busway_ups]] * s.ups_live[..., n.busway_ups]
        self.feed_pf = np.full_like(s.feeds, 0.985)
        self.feed_volts = FEED_VOLTS * c.feed_voltage * c.feed_available * np.ones_like(s.feeds)
        self.feed_current = line_current(s.feeds, np.maximum(self.feed_volts, 1e-3), self.feed_pf)
        self.loop = self.factory.loop_pressure[n.cdu_pod]
        self.leak = (c.rack_leak > 0.2).astype(float)
        self.pod_leak = np.minimum(self.leak @ n.racks_to_pods, 1.0)


def things(layout: PlantLayout, site: str) -> dict[str, list[Thing]]:
    """Return the objects by kind, each with its tag path."""
    pods = layout.pods
    racks_of = [
        tuple(r for r, p in zip(layout.racks, layout.rack_pod, strict=True) if p == i)
        for i in range(len(pods))
    ]
    taps = layout.taps()
    busway_pod = {
        int(b): int(p) for pair, p in zip(layout.tap_busway, layout.rack_pod, strict=True) for b in pair
    }
    tap_owner = layout.tap_busway.reshape(-1)
    return {
        "rack": [
            Thing(r, f"{site}/{pods[p]}/{r}") for r, p in zip(layout.racks, layout.rack_pod, strict=True)
        ],
        "tap": [
            Thing(
                t,
                f"{site}/{pods[layout.rack_pod[i // 2]]}/{layout.racks[i // 2]}/{t}",
                (layout.racks[i // 2],),
            )
            for i, t in enumerate(taps)
        ],
        "busway": [
            Thing(
                b,
                f"{site}/{pods[busway_pod[i]]}/{b}",
                tuple(t for t, o in zip(taps, tap_owner, strict=True) if o == i),
            )
            for i, b in enumerate(layout.busways)
        ],
        "ups": [
            Thing(
                u,
                f"{site}/{u}",
                tuple(b for b, o in zip(layout.busways, layout.busway_ups, strict=True) if o == i),
            )
            for i, u in enumerate(layout.ups)
        ],
        "feed": [
            Thing(
                f, f"{site}/{f}", tuple(u for u, o in zip(layout.ups, layout.ups_feed, strict=True) if o == i)
            )
            for i, f in enumerate(layout.feeds)
        ],
        "cdu": [
            Thing(c, f"{site}/{pods[p]}/{c}", racks_of[p])
            for c, p in zip(layout.cdus, layout.cdu_pod, strict=True)
        ],
        "pod": [Thing(f"{p}-ENV", f"{site}/{p}/environment") for p in pods],
        "plant": [Thing("CHW-PLANT", f"{site}/chilledWater")],
    }


def _meter(objects: str, kind: str, history: bool) -> list[Channel]:
    """Return the channels of a power meter; `kind` names its arrays in `Meters`."""

    def of(name: str) -> Read:
        return lambda m: _flat(getattr(m, f"{kind}_{name}"), objects)

    def power(m: Meters) -> ValueArray:
        return _flat({"tap": m.state.taps, "bus": m.state.busways, "feed": m.state.feeds}[kind], objects)

    def apparent(m: Meters) -> ValueArray:
        return m.bus_apparent if kind == "bus" else power(m) / of("pf")(m)

    def phase(i: int) -> Read:
        if kind == "feed":
            return lambda m: m.feed_current * (1.0 + (0.004, -0.007, 0.003)[i])
        return lambda m: _flat(getattr(m, f"{kind}_phases")[..., i], objects)

    large = kind != "tap"
    step, band, amps = (0.1, 1.0, 2.0) if large else (0.01, 0.10, 0.4)
    rows = [
        Channel(
            objects,
            "PowerMeter",
            "ActivePower",
            "power/activePower/value",
            power,
            step,
            band,
            history=history,
        ),
        Channel(
            objects, "PowerMeter", "ApparentPower", "power/apparentPower/value", apparent, step, 2 * band
        ),
        Channel(objects, "PowerMeter", "PowerFactor", "power/powerFactor/value", of("pf"), 0.001, 0.002),
        Channel(objects, "PowerMeter", "Voltage", "voltage/value", of("volts"), 0.1, 0.5, 0.1),
        Channel(
            objects, "PowerMeter", "Frequency", "frequency/value", _frequency(objects), 0.001, 0.008, 0.0005
        ),
        Channel(objects, "PowerMeter", "Current", "current/value", of("current"), 0.01, amps),
    ]
    rows += [
        Channel(
            objects,
            "PowerMeter",
            "PhaseCurrent",
            f"current/phase{i + 1}/value",
            phase(i),
            0.01,
            amps,
            phase="ABC"[i],
        )
        for i in range(3)
    ]
    if kind != "feed":
        rating = BUSWAY_AMPERES if kind == "bus" else TAP_AMPERES
        rows.append(
            Channel(
                objects, "PowerMeter", "CurrentLimit", "current/capacity/value",
                lambda m: np.full(len(m.things[objects]), rating), 1.0, 1.0,
            )
        )  # fmt: skip
    return rows


def _flat(values: ValueArray, objects: str) -> ValueArray:
    return values.reshape(*values.shape[:-2], -1) if objects == "tap" else values


def _frequency(objects: str) -> Read:
    return lambda m: np.full(len(m.things[objects]), m.factory.frequency)


def _constant(objects: str, value: float) -> Read:
    return lambda m: np.full(len(m.things[objects]), value)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Makes the channels of one kind of object."""

    objects: str
    object_type: str

    def __call__(
        self,
        point_type: str,
        tag: str,
        area: tuple[str, ...],
        read: Read,
        resolution: float = 0.01,
        deadband: float = 0.0,
        noise: float = 0.0,
        *,
        setpoint: bool = False,
        states: tuple[tuple[int, str], ...] = (),
        history: bool = False,
    ) -> Channel:
        return Channel(
            self.objects, self.object_type, point_type, tag, read, resolution, deadband, noise, area,
            setpoint=setpoint, states=states, history=history,
        )  # fmt: skip


_rack = _Kind("rack", "Rack")
_cdu = _Kind("cdu", "CDU")
_env = _Kind("pod", "Sensor")
_NONE = _constant("rack", 0.0)

RACK_CHANNELS = (
    _rack("RackPower", "info/power/value", (), lambda m: m.state.power, 0.01, 0.10, history=True),
    _rack("RackLiquidSupplyTemperature", "energyValve/supplyTemperature/value", (), lambda m: m.state.supply, 0.01, 0.05, 0.012, history=True),
    _rack("RackLiquidReturnTemperature", "energyValve/returnTemperature/value", (), lambda m: m.state.ret, 0.01, 0.05, 0.015, history=True),
    _rack("RackLiquidFlow", "energyValve/flow/value", (), lambda m: m.state.flow, 0.01, 0.40, 0.12, history=True),
    _rack("RackLiquidDifferentialPressure", "energyValve/dp/value", (), lambda m: m.state.dp, 0.01, 0.40, 0.12, history=True),
    _rack("RackLiquidDifferentialPressureSp", "energyValve/dpSetpoint/value", (), lambda m: m.factory.plant.model.cdu.dp_setpoint * m.factory.plant.dp_share, 0.1, 0.1, setpoint=True),
    _rack("RackControlValvePosition", "energyValve/position/value", (), lambda m: m.state.valve, 0.1, 0.4, history=True),
    _rack("RackLeakDetect", "leakStatus/state", (), lambda m: m.leak, states=LEAK),
    _rack("RackLeakSensorFault", "leakStatus/deviceFail", (), _NONE, states=FAULT),
    _rack("RackLiquidIsolationStatus", "leakDetection/liqIsolateFlag", (), lambda m: m.conditions.rack_isolated, states=ISOLATED),
    _rack("RackElectricalIsolationStatus", "leakDetection/elecIsolateFlag", (), lambda m: 1.0 - m.conditions.rack_powered, states=ISOLATED),
)  # fmt: skip

CDU_CHANNELS = (
    _cdu("Available", "availability", (), lambda m: m.conditions.cdu_available, states=AVAILABLE),
    _cdu("Status", "cduStatus", (), lambda m: m.conditions.cdu_available, states=ON_OFF),
    _cdu("LiquidTemperature", "secondary/supply/temperature/value", ("Secondary", "Supply"), lambda m: m.state.cdu_supply, 0.01, 0.05, 0.015, history=True),
    _cdu("LiquidTemperature", "secondary/return/temperature/value", ("Secondary", "Return"), lambda m: m.state.cdu_return, 0.01, 0.05, 0.015, history=True),
    _cdu("LiquidTemperature", "secondary/temperatureSetpoint", ("Secondary", "Supply"), lambda m: m.factory.plant.model.cdu.setpoint + m.factory.plant.built.cdu_setpoint + m.conditions.cdu_setpoint_shift, 0.1, 0.1, setpoint=True),
    _cdu("LiquidTemperature", "primary/inlet/temperature/value", ("Primary", "Inlet"), lambda m: m.state.primary_in, 0.01, 0.05, 0.015, history=True),
    _cdu("LiquidTemperature", "primary/outlet/temperature/value", ("Primary", "Outlet"), lambda m: m.state.primary_out, 0.01, 0.05, 0.02, history=True),
    _cdu("LiquidFlow", "secondary/flow/value", ("Secondary",), lambda m: m.state.cdu_flow, 0.1, 2.0, 0.5, history=True),
    _cdu("LiquidFlow", "primary/flow/value", ("Primary",), lambda m: m.state.primary_flow, 0.1, 2.0, 0.5, history=True),
    _cdu("LiquidPressure", "secondary/supply/pressure/value", ("Secondary", "Supply"), lambda m: m.loop * m.factory.plant.model.cdu.return_pressure + m.state.cdu_dp, 0.1, 0.5, 0.15),
    _cdu("LiquidPressure", "secondary/return/pressure/value", ("Secondary", "Return"), lambda m: m.loop * m.factory.plant.model.cdu.return_pressure, 0.1, 0.5, 0.15, history=True),
    _cdu("LiquidPressure", "primary/inlet/pressure/value", ("Primary", "Inlet"), _constant("cdu", 286e3), 0.1, 0.6, 0.15),
    _cdu("LiquidPressure", "primary/outlet/pressure/value", ("Primary", "Outlet"), lambda m: 286e3 - 60e3 * np.maximum(m.state.primary_valve, 0.1) - 60e3, 0.1, 0.6, 0.15),
    _cdu("LiquidDifferentialPressure", "secondary/dp/value", ("Secondary",), lambda m: m.state.cdu_dp, 0.1, 0.4, 0.12, history=True),
    _cdu("LiquidDifferentialPressure", "secondary/dpSetpoint", ("Secondary",), lambda m: np.full(len(m.layout.cdus), m.factory.plant.model.cdu.dp_setpoint), 0.1, 0.1, setpoint=True),
    _cdu("LiquidDifferentialPressure", "secondary/filter/filter1/dp/value", ("Secondary", "Filter1"), lambda m: m.state.cdu_filter_dp, 0.01, 0.15, 0.03, history=True),
    _cdu("PumpSpeed", "secondary/pump/pump1/speed/value", ("Secondary", "Pump1"), lambda m: m.state.cdu_speed, 0.1, 0.3, 0.08, history=True),
    _cdu("ValvePosition", "primary/valve/valve1/position/value", ("Primary",), lambda m: m.state.primary_valve, 0.1, 0.3, history=True),
    _cdu("LeakDetect", "leak/state", (), _constant("cdu", 0.0), states=LEAK),
)  # fmt: skip

ENVIRONMENT_CHANNELS = (
    _env("AirTemperature", "coldAisle/temperature/temp01/value", ("ColdAisle",), lambda m: m.state.cold_aisle - 0.2, 0.01, 0.1, 0.03),
    _env("AirTemperature", "coldAisle/temperature/temp02/value", ("ColdAisle",), lambda m: m.state.cold_aisle + 0.4, 0.01, 0.1, 0.03),
    _env("AirTemperature", "hotAisle/temperature/temp01/value", ("HotAisle",), lambda m: m.state.hot_aisle + 0.3, 0.01, 0.1, 0.03),
    _env("AirTemperature", "hotAisle/temperature/temp02/value", ("HotAisle",), lambda m: m.state.hot_aisle - 0.3, 0.01, 0.1, 0.03),
    _env("AirRelativeHumidity", "coldAisle/relativeHumidity/rh01/value", ("ColdAisle",), lambda m: np.clip(0.45 - 0.02 * (m.state.cold_aisle - 24.0), 0.1, 0.9), 0.01, 0.3, 0.08),
    _env("AirRelativeHumidity", "hotAisle/relativeHumidity/rh01/value", ("HotAisle",), lambda m: np.clip(0.30 - 0.01 * (m.state.hot_aisle - 33.0), 0.1, 0.9), 0.01, 0.3, 0.08),
    _env("AirDifferentialPressure", "dp/dp01/value", ("ColdAisle",), _constant("pod", 8.0), 0.01, 0.5, 0.15),
    _env("Sound", "hotAisle/sound/sound01/value", ("HotAisle",), lambda m: m.sound, 0.5, 0.5, 0.15),
    Channel("pod", "Sensor", "LeakDetect", "leakStatus/state", lambda m: m.pod_leak, states=LEAK),
)  # fmt: skip

PLANT_CHANNELS = (
    Channel("plant", "Chiller", "LiquidTemperature", "supply/temperature/value", lambda m: np.asarray(m.state.water)[..., None], 0.01, 0.05, 0.01, ("Supply",), history=True),
    Channel("plant", "Chiller", "AirTemperature", "outdoor/wetBulb/value", lambda m: np.asarray(m.state.wet_bulb)[..., None], 0.01, 0.1, 0.02, ("Outdoor",), history=True),
    Channel("ups", "UPS", "Available", "availability", lambda m: m.state.ups_live, states=AVAILABLE),
    Channel("ups", "UPS", "Status", "onBattery", lambda m: m.state.ups_on_battery, states=((0, "Normal"), (1, "OnBattery"))),
)  # fmt: skip

CHANNELS: tuple[Channel, ...] = (
    *_meter("feed", "feed", True),
    *RACK_CHANNELS,
    *_meter("tap", "tap", False),
    *_meter("busway", "bus", False),
    *CDU_CHANNELS,
    *ENVIRONMENT_CHANNELS,
    *PLANT_CHANNELS,
)
"""Everything that the BMS publishes, in the order of its points."""
