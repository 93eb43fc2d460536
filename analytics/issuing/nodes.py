"""Forecasts of the envelope's nodes below the site: feeds, UPSes, busways, racks, a few hours ahead.

There are many of them and each is asked the same small question, so each gets the simple model that also serves a
young site (`analytics.forecast.early`). What a whole draws beyond its parts (mechanical plant, network) is a part of its
own, so that feeds and what hangs on them add up to the site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from joblib import Parallel, delayed

from analytics.forecast.coherence import reconcile
from analytics.forecast.early import early_quantiles
from analytics.forecast.levels import LEVELS
from domain.forecast import QUANTILES
from domain.points import ValueArray

STEPS_PER_DAY = 96
REST = " (rest)"
MANY = 2000
"""Nodes from which on starting processes takes less time than it saves."""
ISSUED = np.searchsorted(LEVELS, np.array(QUANTILES) - 1e-9)
"""Columns of the issued quantiles among the models' levels."""


def node_forecasts(
    histories: Mapping[str, ValueArray],
    parts: Mapping[str, Sequence[str]],
    whole: Mapping[str, ValueArray],
    steps: int,
    given: Mapping[str, ValueArray] | None = None,
    jobs: int = 1,
) -> dict[str, ValueArray]:
    """Foretell every node's power.

    Parameters
    ----------
    histories
        Quarter-hour means, W, oldest first, NaN where missing, by node; all end at the same time.
    parts
        Which nodes a node's power is made of; nodes with two wholes (a rack on two busways) are left out of it.
    whole
        Forecasts that are known already (the site's), shape (at least `steps`, quantiles).
    steps
        How many quarter hours ahead.
    given
        Better forecasts of some nodes (of racks that follow plans); they may still move so that parts add up.
    jobs
        Processes; more than one pays from `MANY` nodes on.

    Returns
    -------
    Quantiles (`domain.forecast.QUANTILES`) by node, shape (steps, quantiles); nodes without history are left out.
    """
    series = {name: _filled(values) for name, values in histories.items()}
    told = {name: values[:steps] for name, values in whole.items()}
    told |= {name: values for name, values in (given or {}).items() if name in series and name not in told}
    asked = [name for name, values in series.items() if len(values) >= 4 and name not in told]
    found = Parallel(n_jobs=jobs if len(asked) >= MANY else 1)(
        delayed(_early)(series[name], steps) for name in asked
    )
    told |= dict(zip(asked, found, strict=True))
    tree: dict[str, list[str]] = {}
    for name, members in parts.items():
        if name not in told or not members or any(m not in told for m in members):
            continue
        rest = _rest(histories.get(name), [histories[m] for m in members if m in histories])
        tree[name] = list(members)
        if rest is not None and len(rest) >= 4:
            tree[name].append(name + REST)
            told[name + REST] = _early(rest, steps)
    in_tree = set(tree) | {m for members in tree.values() for m in members}
    if tree:
        # what is known already is the better forecast and stays: the parts move to it
        weighed = {n: _narrow(told[n]) if n in whole else told[n] for n in told if n in in_tree}
        agreed = reconcile(weighed, tree, QUANTILES)
        told |= {name: values for name, values in agreed.items() if name not in whole}
    return {name: values for name, values in told.items() if not name.endswith(REST)}


def _early(values: ValueArray, steps: int) -> ValueArray:
    return early_quantiles(values, np.arange(steps), STEPS_PER_DAY)[:, ISSUED]


def _narrow(values: ValueArray) -> ValueArray:
    median = values[:, [values.shape[1] // 2]]
    return median + 1e-3 * (values - median)


def _filled(values: ValueArray) -> ValueArray:
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == 0:
        return values[:0]
    position = np.arange(known[0], len(values))
    filled: ValueArray = np.interp(position, known, values[known])
    return filled


def _rest(whole: ValueArray | None, members: Sequence[ValueArray]) -> ValueArray | None:
    """Return what a whole draws beyond its members over the hours in which all are known."""
    if whole is None or not members:
        return None
    n = min(len(whole), *(len(m) for m in members))
    return _filled(whole[-n:] - np.sum([m[-n:] for m in members], axis=0))
