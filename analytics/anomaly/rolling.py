"""Statistics of the last N numbers, brought up to date one number at a time."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque

RESUM = 1000  # numbers after which a running sum is taken afresh


class SlidingMean:
    """Mean of the last `size` numbers."""

    def __init__(self, size: int) -> None:
        self.window: deque[float] = deque(maxlen=size)
        self.total = 0.0
        self.pushes = 0

    def __len__(self) -> int:
        return len(self.window)

    def push(self, value: float) -> None:
        """Take in one number; the oldest leaves."""
        if len(self.window) == self.window.maxlen:
            self.total -= self.window[0]
        self.window.append(value)
        self.total += value
        self.pushes += 1
        if self.pushes % RESUM == 0:  # rounding errors must not pile up over months
            self.total = math.fsum(self.window)

    @property
    def mean(self) -> float:
        """Their mean."""
        return self.total / len(self.window)


class SlidingOrder:
    """The last `size` numbers in order: their quantiles, and where another number stands among them."""

    def __init__(self, size: int) -> None:
        self.window: deque[float] = deque()
        self.ordered: list[float] = []
        self.size = size

    def __len__(self) -> int:
        return len(self.window)

    def push(self, value: float) -> None:
        """Take in one number; the oldest leaves."""
        if len(self.window) == self.size:
            oldest = self.window.popleft()
            del self.ordered[bisect_left(self.ordered, oldest)]
        self.window.append(value)
        insort(self.ordered, value)

    def quantile(self, q: float) -> float:
        """Linear-interpolated quantile, `q` in 0 to 1."""
        place = q * (len(self.ordered) - 1)
        low = int(place)
        high = min(low + 1, len(self.ordered) - 1)
        return self.ordered[low] + (place - low) * (self.ordered[high] - self.ordered[low])

    def rank(self, value: float) -> float:
        """Share of the numbers below `value`, ties counted half; 0 to 1."""
        below, upto = bisect_left(self.ordered, value), bisect_right(self.ordered, value)
        return (below + upto) / (2.0 * len(self.ordered))
