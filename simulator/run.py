"""Runs a simulation until it is told to end, and says on standard output where its endpoints are."""

from __future__ import annotations

import asyncio
import contextlib
import select
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import orjson
import structlog

from domain.errors import HallwatchError, InputError
from domain.site import Site
from simulator.options import parse
from simulator.simulation import Options, Simulation

Joined = Callable[[Simulation], AbstractAsyncContextManager[None]]
"""What runs along with the simulation, such as the tray agents."""


def command(arguments: Sequence[str] | None, program: str, joined: Joined | None = None) -> int:
    """Read a command line and run until interrupted; return the exit code. `joined` needs a broker to talk to."""
    try:
        site, options, seconds = parse(arguments, program)
        run(site, options, seconds, None if options.mqtt_port is None else joined)
    except InputError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    except HallwatchError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    return 0


def run(site: Site, options: Options, seconds: float | None = None, joined: Joined | None = None) -> None:
    """Simulate until SIGINT or SIGTERM, or for some seconds.

    Once everything listens, one line of JSON on standard output tells where: the ports ``mqtt``, ``snmp`` (the first)
    and ``control``, the ``broker``'s program, and ``start_ms``. If that line was read through a pipe, the simulation also
    ends when the reader is gone, so that a killed demo leaves no factory behind.
    """
    # standard output belongs to that one line
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(_run(site, options, seconds, joined))


async def _run(site: Site, options: Options, seconds: float | None, joined: Joined | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    simulation = Simulation(site, options)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(simulation.endpoints())
        if joined is not None:
            await stack.enter_async_context(joined(simulation))
        print(orjson.dumps(simulation.where()).decode(), flush=True)
        stopped = asyncio.create_task(stop.wait())
        reader = asyncio.create_task(_until_nobody_reads())
        # whatever of the simulation ends by itself has failed, and says so when its context is left
        await asyncio.wait(
            {stopped, reader, *simulation.tasks}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        stopped.cancel()
        reader.cancel()


async def _until_nobody_reads() -> None:
    """Return when standard output is a pipe whose reader has closed it."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    while True:
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0)):
            return
        await asyncio.sleep(1.0)
