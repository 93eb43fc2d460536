"""Naming the signals behind a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domain.points import ValueArray

NAMED_SHARE = 0.5
"""A signal is named when it brings at least this share of what the strongest one brings."""


def named(contribution: ValueArray, signals: Sequence[str]) -> str:
    """Return the names of the signals that matter, strongest first; `contribution` has one number a signal."""
    order = np.argsort(-contribution, kind="stable")
    strongest = contribution[order[0]]
    return ", ".join(signals[k] for k in order if contribution[k] >= max(NAMED_SHARE * strongest, 1e-12))
