"""A coolant distribution unit: pumps, filter and heat exchanger between the racks' loop and facility water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domain.plant.rack import COOLANT_HEAT, WATER_HEAT
from domain.points import ValueArray


@dataclass(frozen=True, slots=True)
class CduModel:
    """Parameters of a CDU; two of them share a pod, and one alone can carry it.

    Parameters
    ----------
    setpoint, dp_setpoint
        Coolant supply temperature, Cel, and pressure difference over the racks' header, Pa.
    head
        Pump head at full speed and no flow, Pa.
    loss, filter_loss
        Pressure lost inside the unit and over its filter, Pa per (L/min)^2.
    ua
        Conductance of the clean heat exchanger, W/K.
    primary_max
        Facility water at a fully open primary valve, L/min.
    pump_efficiency, controls
        Electric: efficiency of pump and motor, and what the controls draw, W.
    supply_lag, return_lag, valve_lag
        Time constants, s.
    return_pressure
        Static pressure at the pumps' inlet, Pa.
    """

    setpoint: float = 32.5
    dp_setpoint: float = 85e3
    head: float = 280e3
    loss: float = 0.070
    filter_loss: float = 0.017
    ua: float = 110e3
    primary_max: float = 1500.0
    pump_efficiency: float = 0.55
    controls: float = 600.0
    supply_lag: float = 15.0
    return_lag: float = 20.0
    valve_lag: float = 25.0
    return_pressure: float = 235e3

    def highest_dp(
        self, conductance: ValueArray, share: ValueArray, pump_health: ValueArray, clogging: ValueArray
    ) -> ValueArray:
        """Return the header pressure that a unit reaches at full speed, Pa.

        Pump curve: head x health x speed^2 = dp + loss x flow^2, with flow = share x conductance x sqrt(dp).
        """
        return self.head * pump_health / (1.0 + self._loss(clogging) * (share * conductance) ** 2)

    def speed(
        self, dp: ValueArray, flow: ValueArray, pump_health: ValueArray, clogging: ValueArray
    ) -> ValueArray:
        """Return the pump speed, 0 to 1, that gives `flow` at header pressure `dp`."""
        needed = dp + self._loss(clogging) * flow**2
        return np.where(
            flow > 0, np.clip(np.sqrt(needed / (self.head * np.maximum(pump_health, 1e-3))), 0, 1), 0
        )

    def filter_dp(self, flow: ValueArray, clogging: ValueArray) -> ValueArray:
        """Return the pressure drop over the filter, Pa."""
        return self.filter_loss * clogging * flow**2

    def pump_power(self, dp: ValueArray, flow: ValueArray, clogging: ValueArray) -> ValueArray:
        """Return electric power, W: hydraulic power over efficiency, plus the controls."""
        hydraulic = (dp + self._loss(clogging) * flow**2) * flow / 60e3
        return hydraulic / self.pump_efficiency + np.where(flow > 0, self.controls, 100.0)

    def _loss(self, clogging: ValueArray) -> ValueArray:
        return self.loss + self.filter_loss * clogging

    def supply_temperature(
        self,
        ret: ValueArray,
        flow: ValueArray,
        primary_in: ValueArray,
        primary_flow: ValueArray,
        health: ValueArray,
    ) -> ValueArray:
        """Return the coolant temperature behind the heat exchanger, Cel (effectiveness-NTU, counterflow)."""
        secondary = COOLANT_HEAT * np.maximum(flow, 1.0)
        primary = WATER_HEAT * np.maximum(primary_flow, 0.5)
        least, most = np.minimum(secondary, primary), np.maximum(secondary, primary)
        ratio = np.minimum(least / most, 0.999)  # the formula is 0/0 at equal streams
        ntu = self.ua * health / least
        lost = np.exp(-ntu * (1.0 - ratio))
        effectiveness = (1.0 - lost) / (1.0 - ratio * lost)
        return ret - effectiveness * least / secondary * (ret - primary_in)

    def primary_wanted(
        self,
        ret: ValueArray,
        flow: ValueArray,
        primary_in: ValueArray,
        setpoint: ValueArray,
        health: ValueArray,
    ) -> ValueArray:
        """Return the primary valve position, 0 to 1, that holds the supply at its setpoint (by bisection)."""
        low, high = np.zeros_like(ret), np.ones_like(ret)
        for _ in range(13):
            middle = 0.5 * (low + high)
            warm = (
                self.supply_temperature(ret, flow, primary_in, middle * self.primary_max, health) > setpoint
            )
            low, high = np.where(warm, middle, low), np.where(warm, high, middle)
        return 0.5 * (low + high)
