"""What serves the whole site: facility water, heat rejection, room air, lighting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domain.points import ValueArray


@dataclass(frozen=True, slots=True)
class FacilityModel:
    """Parameters of the chilled-water plant and of the air side.

    Parameters
    ----------
    house_per_rack
        Network and storage power per rack, W (0.75 MW at 96 racks); its heat goes to the air.
    lighting_per_rack
        Lighting, offices, controls, W per rack.
    water
        Facility water supply temperature, Cel, while the wet bulb is under `wet_bulb_limit`.
    cop, cop_slope
        Heat removed per electric power of chillers, towers and pumps at 15 Cel wet bulb, and its loss per kelvin.
    cop_load
        Loss of the same at part load, per share of the plant that is not used.
    crah_air, crah_fan
        Heat that a CRAH's full air flow carries per kelvin, W/K, and its fans' power at full speed, W.
    air_supply, air_rise
        Temperature of the air out of a CRAH, Cel, and the rise over the racks that its fans are controlled to, K.
    """

    house_per_rack: float = 7.8e3
    lighting_per_rack: float = 4.0e3
    water: float = 25.0
    wet_bulb_limit: float = 21.0
    cop: float = 9.3
    cop_slope: float = 0.10
    cop_load: float = 1.2
    crah_air: float = 13.5e3
    crah_fan: float = 6.5e3
    air_supply: float = 23.0
    air_rise: float = 9.0

    def water_temperature(self, wet_bulb: ValueArray, offset: ValueArray | float) -> ValueArray:
        """Return the facility water supply temperature, Cel; it rises a little in humid heat."""
        return self.water + 0.25 * np.maximum(wet_bulb - self.wet_bulb_limit, 0.0) + offset

    def rejection_power(self, heat: ValueArray, wet_bulb: ValueArray, full: float) -> ValueArray:
        """Return electric power of chillers, towers and pumps, W, for a heat load in W."""
        part = self.cop_load * (1.0 - np.clip(heat / full, 0.0, 1.0))
        return heat / np.maximum(self.cop - self.cop_slope * (wet_bulb - 15.0) - part, 2.0)

    def crah_speed(self, heat: ValueArray, health: ValueArray) -> ValueArray:
        """Return the fan speed, 0.3 to 1, that removes a CRAH's `heat` at the controlled rise."""
        return np.clip(heat / (self.crah_air * self.air_rise * np.maximum(health, 1e-3)), 0.3, 1.0)

    def crah_rise(self, heat: ValueArray, speed: ValueArray, health: ValueArray) -> ValueArray:
        """Return how much warmer the air comes back, K."""
        return heat / (self.crah_air * np.maximum(speed * health, 0.02))
