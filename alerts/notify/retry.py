"""When what could not be delivered is tried again."""

from __future__ import annotations

import random

LONGEST_PAUSE_MS = 60_000
GIVE_UP_MS = 24 * 3600 * 1000
"""What could not be delivered for a day is given up, and counted."""


def pause_ms(attempts: int, retry_after: float | None) -> int:
    """Return the pause after so many attempts, ms: doubling from a second, or as long as the receiver asks (s).

    It is spread: what failed together at a receiver that is down does not come back together.
    """
    pause = min(1000 * 2 ** min(attempts - 1, 10), LONGEST_PAUSE_MS) * random.uniform(0.7, 1)
    if retry_after is not None:
        pause = max(pause, min(retry_after * 1000, LONGEST_PAUSE_MS))
    return int(pause)
