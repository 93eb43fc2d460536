"""One service process: the system's parts and, where it serves, the web server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from service import running, threads, web
from service.settings import Configuration
from service.supervisor import Supervisor
from service.system import Role, System

log = structlog.get_logger(__name__)

Announce = Callable[[System, str], Awaitable[None]]


async def run_service(
    configuration: Configuration,
    role: Role = Role.COLLECT | Role.SERVE,
    port: int | None = None,
    note: str = "",
    ready: Announce | None = None,
) -> None:
    """Run until cancelled.

    Parameters
    ----------
    configuration
        What to run.
    role
        Which parts.
    port
        Of the web server, instead of the configured one.
    note
        A line for the console's header.
    ready
        Called with the system and the console's URL once it serves, before the collectors start.
    """
    threads.share_few()
    system = System(configuration, role)
    if Role.SERVE not in role:
        with system.collections.kept_short(), system.loop_watch.watching():
            await system.run()
        return
    settings = configuration.settings.web
    bound = web.listen(settings.host, settings.port if port is None else port)
    host, actual = bound.getsockname()[:2]
    url = f"http://[{host}]:{actual}" if ":" in host else f"http://{host}:{actual}"
    service = running.announce(configuration.data, url)
    try:
        gate = web.gate(settings)
        app, console = web.build(system, service.token, gate, note)
        front = Supervisor({"web": lambda: web.serve(app, bound, gate), "console": console.run})
        system.supervisor.states.update(front.states)
        with system.collections.kept_short(), system.loop_watch.watching():
            serving = asyncio.create_task(front.run())
            try:
                if ready is not None:
                    try:
                        await ready(system, url)
                    except BaseException:
                        await system.close()
                        raise
                log.info("serving", url=url, site=system.site.id)
                await system.run()
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
    finally:
        bound.close()
        running.withdraw(configuration.data)
