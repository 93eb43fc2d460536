"""The arrays of an issued forecast as bytes: small enough that those of every rack can be kept.

Quantiles lie close to each other and to those of the interval before, so they are rounded to a millionth of the largest
and kept as differences of differences, least significant bytes apart; a rack's 24 intervals take 0.6 kB instead of 3.8.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.forecast import PERSISTENCE, Ramps
from domain.points import TimeArray, ValueArray

_ROUNDED = b"\x01"
"""First byte; what was kept whole begins with that of zlib, 0x78."""
BITS = 20
"""Values are rounded to their largest magnitude over 2**BITS, or up to twice that."""
_STEPS_OF_CHANCE, _NO_CHANCE = 65534, 65535


class ForecastArrays(NamedTuple):
    """Start (UTC ms, shape (n,)), quantiles (n, q), limit (n,), breach probability (n,); correlation of neighbouring intervals."""

    start: TimeArray
    values: ValueArray
    limit: ValueArray
    breach: ValueArray
    persistence: float = PERSISTENCE


def pack(arrays: ForecastArrays) -> bytes:
    """Return them as bytes; values to a millionth of the largest, probabilities to 0.00002, all else exactly."""
    start, values, limit, breach, persistence = arrays
    if not np.isfinite(values).all():
        whole = (start.astype("<i8"), *(np.asarray(a, "<f8") for a in (values, limit, breach, persistence)))
        return zlib.compress(b"".join(np.ascontiguousarray(part).tobytes() for part in whole))
    largest = float(np.abs(values).max(initial=0.0))
    unit = 2.0 ** np.ceil(np.log2(largest) - BITS) if largest > 0 else 1.0
    counts = np.rint(values / unit).astype(np.int64)
    change = np.diff(np.diff(counts, axis=1, prepend=0), axis=0, prepend=0)
    chance = np.where(np.isnan(breach), _NO_CHANCE, np.rint(breach * _STEPS_OF_CHANCE)).astype("<u2")
    parts = (
        np.float64(unit).astype("<f8").tobytes(),
        np.diff(start, prepend=0).astype("<i8").tobytes(),
        limit.astype("<f8").tobytes(),
        chance.tobytes(),
        _apart(change),
        np.float64(persistence).astype("<f8").tobytes(),
    )
    return _ROUNDED + zlib.compress(b"".join(parts))


def unpack(data: bytes, n: int, q: int) -> ForecastArrays:
    """Return what was packed, of `n` intervals and `q` quantiles; also what earlier releases packed."""
    if data[:1] != _ROUNDED:
        raw = zlib.decompress(data)
        numbers = np.frombuffer(raw, "<f8", offset=8 * n).astype(np.float64)
        values, limit, breach, more = np.split(numbers, [n * q, n * q + n, n * q + 2 * n])
        start = np.frombuffer(raw, "<i8", n).astype(np.int64)
        return ForecastArrays(start, values.reshape(n, q), limit, breach, *more.tolist())
    raw = zlib.decompress(data[1:])
    unit = float(np.frombuffer(raw, "<f8", 1)[0])
    start = np.cumsum(np.frombuffer(raw, "<i8", n, 8)).astype(np.int64)
    limit = np.frombuffer(raw, "<f8", n, 8 + 8 * n).astype(np.float64)
    chance = np.frombuffer(raw, "<u2", n, 8 + 16 * n)
    end = 8 + 18 * n + 4 * n * q
    change = _together(raw[8 + 18 * n : end], n, q)
    counts = np.cumsum(np.cumsum(change, axis=0), axis=1)
    probability: ValueArray = np.where(chance == _NO_CHANCE, np.nan, chance / _STEPS_OF_CHANCE)
    persistence = np.frombuffer(raw[end:], "<f8").tolist()  # earlier releases kept none
    return ForecastArrays(start, (counts * unit).astype(np.float64), limit, probability, *persistence)


def _apart(change: NDArray[np.int64]) -> bytes:
    """Return small numbers of either sign so that they compress: sign in the lowest bit, bytes by significance."""
    folded = ((change << 1) ^ (change >> 63)).astype("<u4")
    return np.ascontiguousarray(folded).view(np.uint8).reshape(-1, 4).T.tobytes()


def _together(raw: bytes, n: int, q: int) -> NDArray[np.int64]:
    planes = np.frombuffer(raw, np.uint8).reshape(4, n * q)
    folded = np.ascontiguousarray(planes.T).view("<u4").reshape(n, q).astype(np.int64)
    return (folded >> 1) ^ -(folded & 1)


def pack_ramps(ramps: Ramps) -> bytes:
    """Return expected ramps as bytes, to seven digits: minutes, numbers of windows and levels, these, rises, falls."""
    head = (ramps.minutes, len(ramps.windows_s), len(ramps.quantiles), *ramps.windows_s, *ramps.quantiles)
    return np.concatenate([head, ramps.up.ravel(), ramps.down.ravel()]).astype("<f4").tobytes()


def unpack_ramps(data: bytes) -> Ramps:
    """Return what `pack_ramps` packed."""
    numbers = np.frombuffer(data, "<f4").astype(np.float64)
    minutes, w, q = (int(n) for n in numbers[:3])
    windows, levels, rest = numbers[3 : 3 + w], numbers[3 + w : 3 + w + q], numbers[3 + w + q :]
    return Ramps(
        tuple(int(n) for n in windows),
        tuple(round(float(level), 6) for level in levels),
        rest[: w * q].reshape(w, q),
        rest[w * q :].reshape(w, q),
        minutes,
    )
