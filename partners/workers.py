"""The API's own threads, and how much is kept ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 2
MOST_ANSWERS = 256
"""Rendered answers that are kept, each some tens of kilobytes."""


class Workers:
    """The API's own threads for what blocks; a caller waits for one while it holds a connection, which are bounded."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "partners")

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in one of them."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))
