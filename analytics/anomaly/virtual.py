"""Virtual readings: what a sensor should read, from the others. They are estimates and are marked so.

Which redundancy is used decides what can be found: a virtual reading must not depend on the sensor that it checks.
"""

from __future__ import annotations

import numpy as np

from analytics.anomaly.peers import group_median
from domain.plant.rack import COOLANT_HEAT
from domain.points import IntArray, ValueArray


def flow_from_heat(
    power: ValueArray,
    supply: ValueArray,
    ret: ValueArray,
    liquid_share: float = 0.95,
    heat: float = COOLANT_HEAT,
) -> ValueArray:
    """Return the flow that carries the heat at the measured rise, L/min; NaN below a rise of 1 K.

    Parameters
    ----------
    power, supply, ret
        W, Cel, Cel; averaged over a minute or more. Any common shape.
    liquid_share
        Share of the heat that leaves in the liquid.
    heat
        Heat that 1 L/min carries per kelvin, W.
    """
    rise = ret - supply
    return np.where(rise > 1.0, liquid_share * power / (heat * np.maximum(rise, 1.0)), np.nan)


def from_peers(values: ValueArray, group: IntArray, groups: int) -> ValueArray:
    """Return the median of the others of the same group, for quantities that they share (supply temperature).

    Parameters
    ----------
    values
        Shape (members,), NaN where missing.
    group, groups
        Index of each member's group, and their number. Two members that disagree give no verdict: NaN below three.
    """
    size = np.bincount(group[np.isfinite(values)], minlength=groups)
    median = group_median(values, group, groups)
    return np.where(size >= 3, median, np.nan)[group]


def coolant_heat(
    power: ValueArray,
    flow: ValueArray,
    rack_pod: IntArray,
    cdu_pod: IntArray,
    cooled: np.ndarray | None = None,
    liquid_share: float = 0.95,
) -> ValueArray:
    """Return the heat that each CDU takes from its pod's racks, divided among the units by their flow, W.

    Parameters
    ----------
    power
        Of the racks, W, shape (racks,). A missing one leaves its pod unknown.
    flow
        Of the CDUs, shape (cdus,); NaN counts as none.
    rack_pod, cdu_pod
        Index of each one's pod.
    cooled
        Which racks have coolant, shape (racks,): those that breathe air give it no heat. All have if not told.
    """
    if cooled is not None:
        power = np.where(cooled, power, 0.0)
    pods = int(max(rack_pod.max(initial=-1), cdu_pod.max(initial=-1))) + 1
    heat = liquid_share * np.bincount(rack_pod, weights=power, minlength=pods)
    known = np.nan_to_num(flow)
    total = np.bincount(cdu_pod, weights=known, minlength=pods)
    return heat[cdu_pod] * known / np.maximum(total, 1e-9)[cdu_pod]
