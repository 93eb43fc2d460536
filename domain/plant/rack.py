"""A rack: what it draws, and what its coolant does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domain.plant.lag import toward
from domain.points import ValueArray

COOLANT_HEAT = 66.3
"""Heat that 1 L/min of coolant carries per kelvin, W: 25 % propylene glycol at 40 Cel, 1.015 kg/L x 3.92 kJ/(kg K)."""
WATER_HEAT = 69.3
"""The same for plain water, W per L/min and K."""


@dataclass(frozen=True, slots=True)
class RackModel:
    """Parameters of a liquid-cooled rack (NVL72).

    Parameters
    ----------
    base
        Power of switch trays, CPUs and controllers that does not follow the GPUs, W.
    overhead
        Further power per GPU power: memory, NICs, converters, power-supply losses.
    liquid_share
        Share of the heat that leaves in the liquid; the rest goes to the air.
    flow_per_watt, flow_min, flow_max
        What the rack's control valve aims at, L/min per W, and its bounds, L/min.
    kvs, rangeability
        Valve: flow fully open, L/min per square root of Pa, and the ratio of its equal-percentage curve.
    heat_capacity
        Of metal and coolant inside, J/K.
    valve_lag
        Time constant of the valve, s.
    stagnant
        Flow that convection keeps up when pumps stand still, L/min.
    """

    base: float = 24e3
    overhead: float = 0.25
    liquid_share: float = 0.95
    flow_per_watt: float = 1.18e-3
    flow_min: float = 40.0
    flow_max: float = 230.0
    kvs: float = 0.79
    rangeability: float = 30.0
    heat_capacity: float = 4.0e5
    valve_lag: float = 12.0
    stagnant: float = 0.5

    def power(self, gpu_power: ValueArray) -> ValueArray:
        """Return the rack's electric power, W, from the sum of its GPUs' power."""
        power: ValueArray = self.base + (1.0 + self.overhead) * gpu_power
        return power

    def full(self, gpus: int, tdp: float) -> float:
        """Return the power of a rack with all its GPUs at their limit, W."""
        return self.base + (1.0 + self.overhead) * gpus * tdp

    def valve_wanted(
        self, power: ValueArray, differential_pressure: ValueArray, blockage: ValueArray | float = 1.0
    ) -> ValueArray:
        """Return the valve position, 0 to 1, that gives the flow that `power` asks for.

        The valve controls on measured flow, so it opens further where a rack is partly blocked.
        """
        flow = np.clip(self.flow_per_watt * power, self.flow_min, self.flow_max)
        open_flow = self.kvs * np.maximum(blockage, 1e-3) * np.sqrt(np.maximum(differential_pressure, 1.0))
        position: ValueArray = 1.0 + np.log(flow / open_flow) / np.log(self.rangeability)
        return np.clip(position, 0.05, 1.0)

    def conductance(self, valve: ValueArray) -> ValueArray:
        """Return flow per square root of pressure drop at a valve position, L/min/sqrt(Pa)."""
        result: ValueArray = self.kvs * self.rangeability ** (valve - 1.0)
        return result

    def return_temperature(
        self, now: ValueArray, supply: ValueArray, flow: ValueArray, heat: ValueArray, dt: float
    ) -> ValueArray:
        """Return the coolant's outlet temperature after `dt` s, Cel.

        Heat balance of a mixed volume: C dT/dt = heat - flow x heat capacity x (T - supply).
        """
        carried = COOLANT_HEAT * np.maximum(flow, self.stagnant)
        return toward(now, supply + heat / carried, dt, self.heat_capacity / carried)
