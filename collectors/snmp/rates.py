"""Counters turned into rates."""

from __future__ import annotations


class Counter:
    """One counter of 32 or 64 bits.

    Parameters
    ----------
    bits
        Where it wraps: 32 or 64.
    fastest
        Rate, per second, above which a backward step is taken for a reset rather than a wrap.
    """

    __slots__ = ("_at", "_fastest", "_size", "_value")

    def __init__(self, bits: int, *, fastest: float = 1.25e10) -> None:
        self._size = 1 << bits
        self._fastest = fastest
        self._value: int | None = None
        self._at = 0

    def rate(self, value: int, at: int) -> float | None:
        """Return the rate per second since the last call, or None where none can be told.

        Parameters
        ----------
        value
            The counter now.
        at
            When it was read, ms.
        """
        before, then = self._value, self._at
        self._value, self._at = value, at
        if before is None or at <= then:
            return None
        seconds = (at - then) / 1000
        step = value - before
        if step < 0:
            step += self._size
            if step / seconds > self._fastest or step > self._size // 2:
                return None
        return step / seconds
