"""How often something may happen: token buckets, one a key, in bounded memory."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MOST_KEYS = 10_000


class Pace:
    """Lets through `burst` at once and `rate` a second after that, for each key; safe to use from several threads.

    Parameters
    ----------
    rate
        Per second.
    burst
        As many may come at once after a pause.
    most
        Keys that are remembered; of more, the one that was quiet longest is forgotten.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, rate: float, burst: float, most: int = MOST_KEYS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str) -> float:
        """Return the seconds until one may come, 0 where it may now; takes nothing."""
        with self._lock:
            left, _ = self._now(key)
        return max(0.0, (1.0 - left) / self._rate)

    def take(self, key: str) -> float:
        """Let one through and return 0; or return the seconds until one may come."""
        with self._lock:
            left, now = self._now(key)
            if left < 1.0:
                return (1.0 - left) / self._rate
            self._left[key] = (left - 1.0, now)
            self._left.move_to_end(key)
            while len(self._left) > self._most:
                self._left.popitem(last=False)
            return 0.0

    def give_back(self, key: str) -> None:
        """Undo one `take`."""
        with self._lock:
            left, now = self._now(key)
            self._left[key] = (min(self._burst, left + 1.0), now)

    def _now(self, key: str) -> tuple[float, float]:
        now = self._clock()
        left, then = self._left.get(key, (self._burst, now))
        return min(self._burst, left + (now - then) * self._rate), now


def network(address: str) -> str:
    """Return what one customer has: the address, or the /64 network of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 6:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address
