"""Falsified readings: stuck, drifting, spiking, noisy, wrongly scaled, missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domain.points import ValueArray
from simulator.faults import Effect, Fault

_SPIKES = 0.08  # share of readings that spike


class Falsifier:
    """Applies the effects of faults to readings; remembers what a stuck sensor showed.

    Parameters
    ----------
    rng
        Draws noise and spikes.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._stuck: dict[tuple[int, str, int], float] = {}

    def apply(
        self,
        fault: Fault,
        effect: Effect,
        amount: float,
        values: ValueArray,
        where: Sequence[int],
        unit: float = 1.0,
    ) -> None:
        """Change `values` in place at the positions `where`.

        Parameters
        ----------
        amount
            Severity times progress.
        unit
            Size of the values' unit in the canonical one, in which the effect is told.
        """
        much = effect.amount / unit * amount
        for i in where:
            if effect.how == "stuck":
                values[i] = self._stuck.setdefault((fault.id, str(effect.point), i), float(values[i]))
            elif effect.how in ("drift", "offset"):
                values[i] += much
            elif effect.how == "spike" and self._rng.random() < _SPIKES:
                values[i] += much * self._rng.choice((-0.5, 1.0))
            elif effect.how == "noise":
                values[i] += much * self._rng.standard_normal()
            elif effect.how == "scale":
                values[i] *= 1.0 + (effect.amount - 1.0) * min(amount, 1.0)
            elif effect.how == "missing":
                values[i] = np.nan
            elif effect.how == "set":
                values[i] = effect.amount / unit
