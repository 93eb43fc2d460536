"""Forecasts of a whole and of its parts that add up.

Site, pods and racks are forecast each on its own; their medians then disagree by a little. They are reconciled by
weighted least squares: the smallest change, measured in each forecast's own uncertainty, after which every whole
is the sum of its parts (Wickramasuriya, Athanasopoulos and Hyndman 2019, "Optimal forecast reconciliation for
hierarchical and grouped time series through trace minimization", with a diagonal error covariance).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from domain.errors import InputError

Floats = NDArray[np.float64]


def reconcile(
    forecasts: Mapping[str, Floats],
    parts: Mapping[str, Sequence[str]],
    quantiles: Sequence[float],
) -> dict[str, Floats]:
    """Shift forecasts so that the median of every whole is the sum of its parts' medians.

    Quantiles other than the median keep their distance from it: they do not add up, and must not, because the parts
    do not peak together.

    Parameters
    ----------
    forecasts : mapping of node to array, shape (steps, quantiles)
        All over the same steps, in one unit.
    parts : mapping of node to nodes
        What each whole is the sum of. Every node has at most one whole.
    quantiles : sequence of float
        Levels of the columns, with 0.5 among them.

    Returns
    -------
    dict of node to array, shape (steps, quantiles)

    Raises
    ------
    InputError
        If a node has no forecast, has two wholes or is part of itself, or the median is missing.
    """
    levels = list(quantiles)
    if 0.5 not in levels:
        raise InputError("reconciling needs the median: add 0.5 to the quantiles")
    names = list(forecasts)
    leaves = [name for name in names if name not in parts]
    summing = _summing(names, leaves, parts)
    median = levels.index(0.5)
    point = np.stack([forecasts[name][:, median] for name in names], axis=1)
    width = np.stack([forecasts[name][:, -1] - forecasts[name][:, 0] for name in names], axis=1)
    # A forecast without width would never be moved; a whole thousandth of the widest keeps it solvable.
    width = np.maximum(width, np.maximum(1e-3 * width.max(axis=1, keepdims=True), 1e-9))
    precision = 1.0 / width**2
    weighted = summing.T[None] * precision[:, None, :]
    bottom = np.linalg.solve(weighted @ summing, (weighted @ point[..., None]))[..., 0]
    shift = bottom @ summing.T - point
    return {name: forecasts[name] + shift[:, [j]] for j, name in enumerate(names)}


def _summing(names: list[str], leaves: list[str], parts: Mapping[str, Sequence[str]]) -> Floats:
    """Which leaves each node is the sum of: shape (nodes, leaves), 0 or 1."""
    place = {name: j for j, name in enumerate(leaves)}
    members = [part for whole in parts.values() for part in whole]
    doubled = sorted({name for name in members if members.count(name) > 1})
    if doubled:
        raise InputError(f"{doubled} are parts of more than one whole: give each of them one")
    summing = np.zeros((len(names), len(leaves)))

    def add(row: int, name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise InputError(f"{name} is a part of itself: {' > '.join((*above, name))}")
        if name not in parts:
            if name not in place:
                raise InputError(f"{name}, a part of {above[-1]}, has no forecast")
            summing[row, place[name]] += 1.0
            return
        for part in parts[name]:
            add(row, part, (*above, name))

    for row, name in enumerate(names):
        add(row, name, ())
    return summing
