"""As built: by what each object of a plant differs from the model that its kind goes by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domain.plant.layout import PlantLayout
from domain.points import ValueArray


@dataclass(slots=True, eq=False)
class AsBuilt:
    """One array per property, one element per object; factors are 1 and shifts 0 where an object is as the model says.

    Parameters
    ----------
    rack_valve, rack_flow
        Factors on the size of a rack's control valve and on the flow that it is set to, shape (R,).
    rack_base, rack_overhead
        Factors on the power that does not follow the GPUs, and on that which does, shape (R,).
    rack_liquid
        Share of a rack's heat that leaves in the liquid, shape (R,).
    air_cooled
        Whether a rack has no coolant at all, shape (R,).
    cdu_head, cdu_filter, cdu_exchanger
        Factors on pump head, filter loss and heat exchanger conductance, shape (C,).
    cdu_setpoint
        Shift of the supply temperature that a unit is set to, K, shape (C,).
    ups_losses
        Factor on losses, shape (U,).
    crah_air
        Factor on the air at the same fan speed, shape (H,).
    tap_power_factor
        Shift of the power factor, shape (R, 2).
    """

    rack_valve: ValueArray
    rack_flow: ValueArray
    rack_base: ValueArray
    rack_overhead: ValueArray
    rack_liquid: ValueArray
    air_cooled: np.ndarray[tuple[int], np.dtype[np.bool_]]
    cdu_head: ValueArray
    cdu_filter: ValueArray
    cdu_exchanger: ValueArray
    cdu_setpoint: ValueArray
    ups_losses: ValueArray
    crah_air: ValueArray
    tap_power_factor: ValueArray

    @classmethod
    def alike(cls, layout: PlantLayout, liquid_share: float) -> AsBuilt:
        """Return a plant in which all objects of a kind are the same."""
        racks, cdus, units = len(layout.racks), len(layout.cdus), len(layout.crahs)
        return cls(
            rack_valve=np.ones(racks),
            rack_flow=np.ones(racks),
            rack_base=np.ones(racks),
            rack_overhead=np.ones(racks),
            rack_liquid=np.full(racks, liquid_share),
            air_cooled=np.zeros(racks, bool),
            cdu_head=np.ones(cdus),
            cdu_filter=np.ones(cdus),
            cdu_exchanger=np.ones(cdus),
            cdu_setpoint=np.zeros(cdus),
            ups_losses=np.ones(len(layout.ups)),
            crah_air=np.ones(units),
            tap_power_factor=np.zeros((racks, 2)),
        )
