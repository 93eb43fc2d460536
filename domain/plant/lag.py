"""First-order lag, exact for any length of step."""

from __future__ import annotations

import numpy as np

from domain.points import ValueArray


def toward(now: ValueArray, target: ValueArray, dt: float, tau: ValueArray | float) -> ValueArray:
    """Return where a quantity is after `dt` seconds on its way to `target` with time constant `tau`.

    The exact solution for a constant target, hence stable however long the step; `dt` may be infinite, which
    gives the steady state.
    """
    remaining: ValueArray = np.exp(-dt / np.asarray(tau))
    return target + (now - target) * remaining
