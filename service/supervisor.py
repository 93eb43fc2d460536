"""Supervision: every long-running part is a named task that is started again when it fails or ends, and says so."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from domain.errors import HallwatchError
from domain.redaction import redacted

log = structlog.get_logger(__name__)

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
"""A part that fails again and again is started again at least this often."""
HEALTHY_S = 300.0
"""A part that ran this long was well: what fails after it is waited for as if it were the first time."""
_ERROR_CHARACTERS = 500


class EndedByItselfError(HallwatchError):
    """A part returned, although it is to run for as long as the service does."""


@dataclass(slots=True)
class PartState:
    """How a part is: running since when, how often it failed and when last, the last error, the wait before a start.

    `since` and `failed` are Unix seconds, 0 where it has not happened; `wait` is in seconds, 0 while it runs.
    """

    name: str
    running: bool = False
    since: float = 0.0
    failures: int = 0
    failed: float = 0.0
    error: str = ""
    wait: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """Runs parts until it is cancelled.

    `parts` maps a name to a function that runs the part until it is cancelled; one that raises, or returns, is started
    again, after a wait that doubles from failure to failure and is short again once the part ran for `HEALTHY_S`.
    """

    parts: dict[str, Callable[[], Awaitable[None]]]
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    states: dict[str, PartState] = field(init=False)

    def __post_init__(self) -> None:
        self.states = {name: PartState(name) for name in self.parts}

    async def run(self) -> None:
        """Run all parts until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, part in self.parts.items():
                group.create_task(self._keep_running(name, part), name=name)

    async def _keep_running(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        state = self.states[name]
        in_a_row = 0
        while True:
            state.running, state.since, state.wait = True, time.time(), 0.0
            began = self.clock()
            error = await _ended(part)
            if self.clock() - began >= HEALTHY_S:
                in_a_row = 0
            longest = min(FIRST_WAIT_S * 2**in_a_row, LONGEST_WAIT_S)
            in_a_row = min(in_a_row + 1, 16)
            # spread: what failed together, such as at a lost broker, does not come back together
            state.running, state.wait = False, longest * random.uniform(0.5, 1)
            state.failures, state.failed = state.failures + 1, time.time()
            state.error = redacted(f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS])
            log.error(
                "part failed, starts again",
                part=name,
                failures=state.failures,
                wait=round(state.wait, 1),
                exc_info=error,
            )
            await self.pause(state.wait)


async def _ended(part: Callable[[], Awaitable[None]]) -> BaseException:
    """Run a part and return why it ended; only our own being cancelled ends this."""
    try:
        await part()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return error  # a library cancelled what it was waiting for
    except Exception as error:
        return error
    return EndedByItselfError("it returned, although it is to run for as long as the service does")
