"""What is broken, worn or set otherwise: the knobs that faults and what-if questions turn."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np

from domain.plant.layout import PlantLayout
from domain.points import ValueArray

HEALTHY: MappingProxyType[str, tuple[str, float]] = MappingProxyType(
    {
        "load_factor": ("rack", 1.0),
        "rack_blockage": ("rack", 1.0),
        "rack_isolated": ("rack", 0.0),
        "rack_valve_stuck": ("rack", np.nan),
        "rack_leak": ("rack", 0.0),
        "rack_powered": ("rack", 1.0),
        "tap_available": ("tap", 1.0),
        "tap_power_factor": ("tap", 0.98),
        "tap_phase_skew": ("tap", 0.0),
        "tap_resistance": ("tap", 0.0),
        "cdu_available": ("cdu", 1.0),
        "cdu_pump_health": ("cdu", 1.0),
        "cdu_filter_clogging": ("cdu", 1.0),
        "cdu_exchanger_health": ("cdu", 1.0),
        "cdu_valve_stuck": ("cdu", np.nan),
        "cdu_setpoint_shift": ("cdu", 0.0),
        "ups_available": ("ups", 1.0),
        "ups_input": ("ups", 1.0),
        "ups_loss_factor": ("ups", 1.0),
        "ups_battery_health": ("ups", 1.0),
        "feed_available": ("feed", 1.0),
        "feed_voltage": ("feed", 1.0),
        "crah_available": ("crah", 1.0),
        "crah_fan_health": ("crah", 1.0),
        "water_offset": ("site", 0.0),
        "gpu_resistance_factor": ("gpu", 1.0),
        "gpu_available": ("gpu", 1.0),
        "gpu_cap": ("gpu", 1.0),
    }
)
"""Every knob: what kind of object has one, and its value when all is well (NaN: nothing is stuck)."""


@dataclass(slots=True, eq=False)
class Conditions:
    """One array per knob of `HEALTHY`, one element per object of its kind; taps have shape (R, 2).

    Parameters
    ----------
    load_factor
        Multiplies the GPUs' activity of a rack (over 1: an unplanned load).
    rack_blockage
        Share of a rack's hydraulic conductance that is left.
    rack_isolated, rack_powered
        Liquid cut off (1); electricity connected (1).
    rack_valve_stuck, cdu_valve_stuck
        Position that a valve is stuck at; NaN where it moves.
    rack_leak
        Coolant lost, L/min.
    tap_available, tap_power_factor, tap_phase_skew, tap_resistance
        Breaker closed (1); power factor; share by which phase A carries more; voltage drop per A, V/A.
    cdu_available, cdu_pump_health, cdu_filter_clogging, cdu_exchanger_health, cdu_setpoint_shift
        Runs (1); share of pump head and of heat-exchanger conductance left; filter loss over that of a clean one; K.
    ups_available, ups_input, ups_loss_factor, ups_battery_health
        Output on (1); input on (1); multiplies losses; share of battery capacity left.
    feed_available, feed_voltage
        Utility present (1); voltage over nominal.
    crah_available, crah_fan_health
        Runs (1); share of air flow left at the same speed.
    water_offset
        Warmth of the facility water over its setpoint, K, shape (1,).
    gpu_resistance_factor, gpu_available, gpu_cap
        Multiplies thermal resistance; on the bus (1); cap on activity.
    """

    load_factor: ValueArray
    rack_blockage: ValueArray
    rack_isolated: ValueArray
    rack_valve_stuck: ValueArray
    rack_leak: ValueArray
    rack_powered: ValueArray
    tap_available: ValueArray
    tap_power_factor: ValueArray
    tap_phase_skew: ValueArray
    tap_resistance: ValueArray
    cdu_available: ValueArray
    cdu_pump_health: ValueArray
    cdu_filter_clogging: ValueArray
    cdu_exchanger_health: ValueArray
    cdu_valve_stuck: ValueArray
    cdu_setpoint_shift: ValueArray
    ups_available: ValueArray
    ups_input: ValueArray
    ups_loss_factor: ValueArray
    ups_battery_health: ValueArray
    feed_available: ValueArray
    feed_voltage: ValueArray
    crah_available: ValueArray
    crah_fan_health: ValueArray
    water_offset: ValueArray
    gpu_resistance_factor: ValueArray
    gpu_available: ValueArray
    gpu_cap: ValueArray

    @classmethod
    def healthy(cls, layout: PlantLayout) -> Conditions:
        """Return conditions in which nothing is wrong."""
        sizes: dict[str, tuple[int, ...]] = {
            "rack": (len(layout.racks),),
            "tap": (len(layout.racks), 2),
            "cdu": (len(layout.cdus),),
            "ups": (len(layout.ups),),
            "feed": (len(layout.feeds),),
            "crah": (len(layout.crahs),),
            "gpu": (layout.gpus,),
            "site": (1,),
        }
        return cls(**{name: np.full(sizes[kind], value) for name, (kind, value) in HEALTHY.items()})

    def heal(self) -> None:
        """Set every knob back to its healthy value, in place."""
        for each in fields(self):
            getattr(self, each.name).fill(HEALTHY[each.name][1])
