"""Starting Hallwatch: as a whole, in parts, or as a demonstration; and checking a configuration."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.errors import ConfigurationError, HallwatchError, InputError
from service.commands.output import say

if TYPE_CHECKING:
    from service.settings import AgentFile

Config = Annotated[Path, typer.Option("-c", "--config", metavar="DIR", help="Configuration folder")]
For = Annotated[
    float | None, typer.Option("--for", min=0.1, metavar="SECONDS", help="Stop by itself after so long")
]


def demo(
    racks: Annotated[int, typer.Option(min=1, max=96, help="Size of the simulated factory")] = 96,
    seconds: For = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of console and API; 0 for any free one")
    ] = 8050,
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Data folder; a second start continues on it")
    ] = Path("data"),
    seed: Annotated[int, typer.Option(help="Of the simulated factory, on first start")] = 1,
    roughness: Annotated[
        int, typer.Option(min=0, max=2, help="How unlike the model the simulated plant is")
    ] = 0,
    traces: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Measured power of jobs that the training jobs replay")
    ] = None,
) -> None:
    """Run the simulated factory and the whole service on it, in one go."""
    from service.demo import Demo

    demonstration = Demo(data, racks, port, seed, roughness, traces)
    _until_stopped(demonstration.run(), seconds, demonstration.ready)


def run(
    config: Config,
    seconds: For = None,
    port: Annotated[int | None, typer.Option(help="Instead of the configured one")] = None,
) -> None:
    """Run the whole service in one process on a configuration."""
    _service(config, "all", seconds, port)


def collect(config: Config, seconds: For = None) -> None:
    """Run only the collectors and ingest, beside processes that serve (needs InfluxDB)."""
    _service(config, "collect", seconds, None)


def serve(
    config: Config,
    seconds: For = None,
    port: Annotated[int | None, typer.Option(help="Instead of the configured one")] = None,
) -> None:
    """Run only console, API, analytics and alerts, beside processes that collect (needs InfluxDB)."""
    _service(config, "serve", seconds, port)


def agent(config: Config, seconds: For = None) -> None:
    """Run the tray agent: this node's GPUs onto the bus."""
    from service import logs
    from service.configuration import load
    from service.settings import AGENT_FILE, AgentFile, anchored

    settings = anchored(load(config / AGENT_FILE, AgentFile), config.resolve())
    logs.configure()
    _until_stopped(_agent(settings), seconds)


def check(config: Config) -> None:
    """Validate a configuration without touching the network; `doctor` looks at what it names."""
    from domain.units import shown
    from service.checks import check_agent, check_configuration
    from service.settings import AGENT_FILE, MAIN_FILE, read_configuration

    if (config / AGENT_FILE).is_file() and not (config / MAIN_FILE).is_file():
        agent, problems = check_agent(config)
        if problems:
            raise ConfigurationError(*problems)
        place = f"tray {agent.tray} in rack {agent.rack}" if agent.rack else "the tray that its GPUs tell"
        say(f"{config}: fine. Agent of {place}, to {agent.broker.shown}.")
        return
    found = read_configuration(config)
    checked = check_configuration(found)
    for doubt in checked.doubts:
        say(f"note: {doubt}")
    if checked.problems:
        raise ConfigurationError(*checked.problems)
    site, settings = found.site, found.settings
    counts = {
        "rack": len(site.racks),
        "CDU": len(site.cdus),
        "broker": len(settings.mqtt),
        "SNMP device": len(settings.snmp.targets) if settings.snmp else 0,
        "exporter": sum(len(scraper.targets) for scraper in settings.prometheus),
        "schedule": len(settings.schedule),
        "alert rule": len(found.alerts.rules),
    }
    named = ", ".join(f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items() if count)
    say(
        f"{config}: fine. {site.name}, limit {shown(site.limit, 'W')}: {named}; storage {found.storage.kind}."
    )


def bench(
    name: Annotated[
        str, typer.Argument(help="Which: ingest, snmp, store, query, forecast, anomaly, console, ...")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Passed on to the benchmark, after --")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON (it always does)")] = False,
) -> None:
    """Run one of the benchmarks behind the published figures."""
    import sys

    import benchmarks

    known = sorted(p.stem for p in Path(benchmarks.__path__[0]).glob("*.py") if not p.stem.startswith("_"))
    if name not in known:
        raise InputError(f"there is no benchmark {name!r}; there are: {', '.join(known)}")
    sys.argv = [f"hallwatch bench {name}", *(arguments or [])]
    importlib.import_module(f"benchmarks.{name}").main()


async def _agent(settings: AgentFile) -> None:
    import platform

    import pynvml

    from collectors.mqtt.link import TrayLink
    from collectors.nvml.agent import TrayAgent
    from collectors.nvml.placement import where
    from service.supervisor import Supervisor

    if not settings.rack:
        rack, tray = await asyncio.to_thread(where, pynvml)
        settings = settings.model_copy(update={"rack": rack, "tray": tray})
    link = TrayLink(settings.broker, settings.rack, settings.tray)
    link.start()
    try:
        agent = TrayAgent(settings, pynvml, link, platform.node())
        await agent.run(lambda parts: Supervisor(parts).run())
    finally:
        await asyncio.to_thread(link.stop)


def _service(config: Path, what: str, seconds: float | None, port: int | None) -> None:
    from service import logs
    from service.application import run_service
    from service.settings import read_configuration
    from service.system import Role

    configuration = read_configuration(config)
    logs.configure(configuration.settings.log.level, configuration.settings.log.format)
    role = {"all": Role.COLLECT | Role.SERVE, "collect": Role.COLLECT, "serve": Role.SERVE}[what]
    _until_stopped(run_service(configuration, role, port), seconds)


def _until_stopped(
    work: Coroutine[Any, Any, None], seconds: float | None, begun: asyncio.Event | None = None
) -> None:
    """Run until it ends, a signal comes, or the time is over; the last two are a clean end.

    With `begun`, the time counts from when it is set: what is set up before does not eat it up.
    """

    async def supervised() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)

        async def wait() -> None:
            if begun is not None:
                await asyncio.wait(
                    {asyncio.create_task(begun.wait()), asyncio.create_task(stop.wait())},
                    return_when=asyncio.FIRST_COMPLETED,
                )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)

        task = asyncio.create_task(work)
        stopped = asyncio.create_task(wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        stopped.cancel()
        if task.done() and not task.cancelled() and task.exception() is not None:
            raise task.exception()  # type: ignore[misc]

    try:
        asyncio.run(supervised())
    except* HallwatchError as group:
        # the first of them says it; the log has the others
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
