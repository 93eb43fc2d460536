"""What a signal of a cooling loop tells, and so how far it may stray before that means something.

A valve that closes or a pump that fails shows in the flow within seconds. Temperatures follow the weather
and the load for hours without anything being wrong, so they are context: they alarm only far outside
whatever they did in training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analytics.anomaly.frames import FloatArray
from domain.errors import InputError


@dataclass(frozen=True, slots=True)
class Role:
    """How a kind of signal is judged.

    Attributes
    ----------
    name : str
        One of `ROLES`.
    margin : float
        Deviations are divided by this many times the widest usual one of the training.
    deadband : float
        Changes below this share of the signal's level mean nothing (0 to 1).
    words : tuple of str
        Beginnings of words in a signal's name that give the role away.
    """

    name: str
    margin: float
    deadband: float = 0.0
    words: tuple[str, ...] = ()


# First match wins: "pump power" is electrical, "supply temperature" thermal, "flow temperature" thermal too.
ROLES = {
    role.name: role
    for role in (
        Role("thermal", 10.0, 0.0, ("temp", "thermo", "cel", "degc", "celsius", "dewpoint")),
        # A machine's vibration wanders by a few per cent with load and mounting; ISO 20816 speaks of a
        # quarter of a zone limit as significant.
        Role("vibration", 2.0, 0.05, ("accel", "vibr")),
        Role("electrical", 2.0, 0.0, ("current", "volt", "power", "watt", "freq")),
        Role("hydraulic", 1.3, 0.0, ("flow",)),
        Role("pressure", 2.0, 0.0, ("press", "dp", "kpa", "bar", "head")),
        Role("other", 2.0),
    )
}

# Smoothed level displaced within LAG rows by more than this many times the row-to-row noise: a signal
# that drifts by itself. On known rigs, temperatures lie at 1.8 to 26 and all else at 0.2 to 2.
DRIFT_LIMIT = 1.8
LAG_WINDOWS = 3


def infer(names: Sequence[str], training: FloatArray, window: int) -> dict[str, Role]:
    """Role of each signal: from its name where that tells, else from how it moved in training.

    Parameters
    ----------
    names : sequence of str
        The signals.
    training : ndarray, shape (rows, signals)
        Their training rows, NaN where missing.
    window : int
        Rows over which a level is averaged.
    """
    drifts = _drift(training, window) > DRIFT_LIMIT
    return {
        name: by_name(name) or ROLES["thermal" if drifting else "other"]
        for name, drifting in zip(names, drifts, strict=True)
    }


def given(names: Sequence[str], roles: Mapping[str, str]) -> dict[str, Role]:
    """Look up the roles that a user gave.

    Raises
    ------
    InputError
        A role that does not exist, or a signal that is not there.
    """
    strange = sorted(set(roles.values()) - set(ROLES))
    if strange:
        raise InputError(f"no such role: {', '.join(strange)}; there are {', '.join(ROLES)}")
    absent = sorted(set(roles) - set(names))
    if absent:
        raise InputError(f"roles given for signals that are not in the frame: {', '.join(absent)}")
    return {name: ROLES[role] for name, role in roles.items()}


def by_name(name: str) -> Role | None:
    """Role that the words of a signal's name give away, None where they don't."""
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()
    parts = re.split(r"[^a-z]+", words)
    for role in ROLES.values():
        if any(part.startswith(word) for part in parts for word in role.words):
            return role
    return None


def _drift(training: FloatArray, window: int) -> FloatArray:
    """Displacement of the smoothed level over a few windows, in units of the row-to-row noise."""
    out = np.zeros(training.shape[1])
    lag = LAG_WINDOWS * window
    for k, column in enumerate(training.T):
        values = column[np.isfinite(column)]
        if len(values) <= window + lag + 1:
            continue
        level = np.convolve(values, np.full(window, 1.0 / window), mode="valid")
        noise = np.diff(values).std() / np.sqrt(2.0)
        if noise > 0:
            out[k] = np.sqrt(np.mean((level[lag:] - level[:-lag]) ** 2)) / noise
    return out
