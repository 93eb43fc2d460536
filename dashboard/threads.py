"""The console's own threads for what blocks: nothing else of the service waits behind the console, nor it behind others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""Readings of store and records for the console at a time; whoever waits for one holds a connection, which are bounded."""

_readers = ThreadPoolExecutor(READERS, "console")
_past = ThreadPoolExecutor(1, "console-past")
_worker = ThreadPoolExecutor(1, "console-behind")


async def reading(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run in a thread of the console, in the language of whoever asks."""
    inside = partial(copy_context().run, partial(work, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_readers, inside)


async def reading_past(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run what reads of a past moment, one after the other in a thread of its own: what is live does not wait for it."""
    inside = partial(copy_context().run, partial(work, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_past, inside)


def in_background(work: Callable[[], None]) -> None:
    """Run what nobody waits for, one after the other in a thread of its own."""
    _worker.submit(work)


def background_done() -> None:
    """Wait until all that was put in the background, or reads of the past, is done: before its store is closed."""
    for worker in (_worker, _past):
        worker.submit(lambda: None).result()
