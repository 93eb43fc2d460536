"""Guessing passwords must be slow, and must not lock out the people whose passwords they are.

Failures are counted for a name from an address, and each beyond the fifth doubles the wait. An address as a whole, and a
name from all addresses, have a pace; whoever logged in from this browser before holds a cookie that exempts them from
both, so that neither a neighbour behind the same proxy nor a stranger elsewhere keeps a person out.
"""

from __future__ import annotations

import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from domain.pace import Pace, network

FREE_FAILURES = 5
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 900.0
FORGOTTEN_S = 3600.0
"""After so long without a failure all is forgotten."""
MOST_KEYS = 10_000
ADDRESS_PACE = (1 / 3, 20)
"""Failures a second, and at once, that one address may have over all names."""
NAME_PACE = (1 / 10, 50)
"""The same for one name over all addresses."""


class Failures:
    """Failures by key; the wait after each grows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST_KEYS) -> None:
        self._clock = clock
        self._most = most
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def wait(self, key: str) -> float:
        """Return the seconds until this key may try again, 0 where it may now."""
        number, last = self._of(key)
        if number < FREE_FAILURES:
            return 0.0
        delay = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(30, number - FREE_FAILURES))
        return max(0.0, last + delay - self._clock())

    def failed(self, key: str) -> None:
        """Count one failure."""
        number, _ = self._of(key)
        self._failures[key] = (number + 1, self._clock())
        self._failures.move_to_end(key)
        while len(self._failures) > self._most:  # an attacker with many addresses must not fill the memory
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def _of(self, key: str) -> tuple[int, float]:
        number, last = self._failures.get(key, (0, 0.0))
        return (0, 0.0) if self._clock() - last > FORGOTTEN_S else (number, last)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login under way, counted as failed until it succeeds."""

    key: str
    address: str
    name: str
    known: bool


class LoginThrottle:
    """Decides who may try a password now.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = Failures(clock)
        self._addresses = Pace(*ADDRESS_PACE, clock=clock)
        self._names = Pace(*NAME_PACE, clock=clock)

    def begin(self, name: str, address: str, device: str = "") -> Attempt | float:
        """Count a try before it is made, so that parallel ones cannot slip through; or return the seconds to wait.

        `device` tells a browser from which this very person logged in before.
        """
        name, address = same_name(name), network(address)
        attempt = Attempt(f"{name}\n{device or address}", address, name, bool(device))
        wait = self._failures.wait(attempt.key)
        if not attempt.known:
            wait = max(wait, self._addresses.wait(address), self._names.wait(name))
        if wait > 0:
            return wait
        self._failures.failed(attempt.key)
        if not attempt.known:
            self._addresses.take(address)
            self._names.take(name)
        return attempt

    def wait(self, address: str) -> float:
        """Return the seconds until somebody from this address may try who was never there before, 0 where he may now."""
        return self._addresses.wait(network(address))

    def succeeded(self, attempt: Attempt) -> None:
        """Take back what was counted for this try; what others failed from the same address stays counted."""
        self._failures.succeeded(attempt.key)
        if not attempt.known:
            self._addresses.give_back(attempt.address)
            self._names.give_back(attempt.name)


def same_name(name: str) -> str:
    """Return one spelling for all spellings of a name: blanks around it, case and look-alikes make no other name."""
    return unicodedata.normalize("NFKC", name).strip().casefold()
