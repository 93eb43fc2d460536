"""Supervision: every long-running part is a named task that is started again when it fails, and says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

log = structlog.get_logger(__name__)

LONGEST_WAIT_S = 30.0
"""A part that fails again and again is started again at least this often."""


@dataclass(slots=True)
class PartState:
    """How a part is: running since when, how often it failed, and the last error."""

    name: str
    running: bool = False
    since: float = 0.0
    failures: int = 0
    error: str = ""


@dataclass(slots=True)
class Supervisor:
    """Runs parts until it is cancelled.

    `parts` maps a name to a function that runs the part; a part that returns has ended on purpose.
    """

    parts: dict[str, Callable[[], Awaitable[None]]]
    states: dict[str, PartState] = field(init=False)

    def __post_init__(self) -> None:
        self.states = {name: PartState(name) for name in self.parts}

    async def run(self) -> None:
        """Run all parts; returns when all have ended, or is cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, part in self.parts.items():
                group.create_task(self._keep_running(name, part), name=name)

    async def _keep_running(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        state = self.states[name]

        def failed(retry: RetryCallState) -> None:
            error = retry.outcome.exception() if retry.outcome else None
            state.running = False
            state.failures += 1
            state.error = f"{type(error).__name__}: {error}"
            log.error("part failed, starts again", part=name, failures=state.failures, exc_info=error)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT_S),
            before_sleep=failed,
        )
        async for attempt in retrying:
            with attempt:
                state.running, state.since = True, time.time()
                await part()
        state.running = False
