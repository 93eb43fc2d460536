"""How many threads the parts share that have none of their own, and how many there are of each kind.

What must wait for nobody has threads of its own: ingest, alerts, logins, console, partners, each collector. The rest shares
two bounded rooms: one for the service's own work in the background, and one for the calls of commands.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import anyio.to_thread

BACKGROUND = 16
"""Upkeep, forecasts, analytics and closing; who comes when all are taken waits."""
CALLS = 16
"""Internal calls at a time; who waits for one holds a connection, which are bounded."""


def share_few() -> None:
    """Bound the threads that the running loop gives to who asks for any."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(BACKGROUND, "background"))
    anyio.to_thread.current_default_thread_limiter().total_tokens = CALLS


def stats() -> dict[str, int]:
    """Return how many threads there are of each kind, for the health page."""
    kinds = Counter(thread.name.rstrip("0123456789").rstrip("_-") for thread in threading.enumerate())
    return {"all": kinds.total(), **kinds}
