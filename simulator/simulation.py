"""The running simulation: the factory at the pace of the clock, and its endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from domain.batch import now_ms
from domain.errors import InputError, SourceError
from domain.site import Site
from simulator.bms import Bms
from simulator.broker import EmbeddedBroker
from simulator.control import control_app
from simulator.dsx import DsxPublisher
from simulator.factory import Factory
from simulator.snmp.agents import SnmpAgents
from simulator.traces import Traces

log = structlog.get_logger(__name__)

STEP_MS = 1000
_FAR_MS = 3_600_000  # what lies further back is gone through in coarser steps
_COARSE_MS = 20_000


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault given at the start: `after_s` seconds from then."""

    name: str
    target: str
    after_s: float = 0.0
    severity: float = 1.0

    @classmethod
    def parse(cls, text: str) -> PlannedFault:
        """Read ``name@object``, ``name@object@seconds`` or ``name@object@seconds@severity``.

        Raises
        ------
        InputError
            If it is none of these.
        """
        parts = text.split("@")
        try:
            if len(parts) not in (2, 3, 4):
                raise ValueError(text)
            return cls(parts[0], parts[1], *(float(p) for p in parts[2:]))
        except ValueError:
            raise InputError(
                f"{text!r} is no fault; write name@object@seconds, such as leak@R005@60"
            ) from None


@dataclass(frozen=True, slots=True)
class Options:
    """What to run. Ports on 127.0.0.1; None leaves an endpoint out, 0 takes a free port.

    Parameters
    ----------
    seed, start_ms
        Of the factory; it is brought up from `start_ms` (now if None) before anything is told.
    broker
        ``"auto"``, ``"mosquitto"``, ``"amqtt"``, or ``"none"`` where one runs already on `mqtt_port`.
    cadence_s
        How often the BMS looks for changes.
    faults
        What goes wrong, and when.
    roughness, began_ms
        How unlike the model the plant is, and when it was first started (now if None): see `Factory`.
    traces
        Folder of measured traces that training jobs replay; None: their courses are made up.
    """

    seed: int = 1
    start_ms: int | None = None
    broker: str = "auto"
    mqtt_port: int | None = 1883
    snmp_base_port: int | None = 16100
    control_port: int | None = 0
    cadence_s: float = 2.0
    faults: tuple[PlannedFault, ...] = ()
    roughness: int = 0
    began_ms: int | None = None
    traces: Path | None = None


class Simulation:
    """A factory with its endpoints, in this process.

    Parameters
    ----------
    site, options
        What to simulate and how to offer it.
    """

    def __init__(self, site: Site, options: Options) -> None:
        self.options = options
        now = now_ms() // STEP_MS * STEP_MS
        self.factory = Factory(
            site,
            options.seed,
            options.start_ms or now,
            roughness=options.roughness,
            began_ms=options.began_ms,
            traces=None if options.traces is None else Traces.read(options.traces),
        )
        self._catch_up(now)
        for fault in options.faults:
            onset = self.factory.time_ms + round(fault.after_s * 1000)
            self.factory.raise_fault(fault.name, fault.target, onset, fault.severity)
        self.bms = Bms(self.factory)
        self.mqtt_port = options.mqtt_port if options.mqtt_port != 0 else free_port()
        self.dsx: DsxPublisher | None = None
        self.snmp: SnmpAgents | None = None
        self.broker: EmbeddedBroker | None = None
        self.control_port: int | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.late_steps = 0
        self._also: dict[str, Callable[[], dict[str, int]]] = {}

    def also_tell(self, name: str, stats: Callable[[], dict[str, int]]) -> None:
        """Add the counters of what runs along to `stats`."""
        self._also[name] = stats

    @contextlib.asynccontextmanager
    async def endpoints(self) -> AsyncIterator[None]:
        """Open the endpoints and run the factory for as long as the context is open.

        Raises
        ------
        SourceError
            If a port is taken, or the broker does not start.
        """
        async with contextlib.AsyncExitStack() as stack:
            work: list[Coroutine[Any, Any, None]] = []
            if self.mqtt_port is not None:
                if self.options.broker != "none":
                    self.broker = EmbeddedBroker(self.mqtt_port, self.options.broker)
                    await stack.enter_async_context(self.broker)
                self.dsx = DsxPublisher(self.bms, "127.0.0.1", self.mqtt_port, self.options.cadence_s)
                work.append(self.dsx.mqtt.run())
            if self.options.snmp_base_port is not None:
                self.snmp = SnmpAgents(self.factory, self.bms.meters)
                await self.snmp.open("127.0.0.1", self.options.snmp_base_port)
                stack.callback(self.snmp.close)
            if self.options.control_port is not None:
                work.append(self._serve_control(self._listen(self.options.control_port)))
            work.append(self._run())
            self.tasks = [asyncio.create_task(each) for each in work]
            stack.push_async_callback(self._end)
            yield

    async def _end(self) -> None:
        """Cancel what runs, and raise what any of it failed with before."""
        for task in self.tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self.tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def _listen(self, port: int) -> socket.socket:
        try:
            listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise SourceError(f"TCP port {port} for the control channel cannot be opened: {error}") from error
        self.control_port = int(listener.getsockname()[1])
        return listener

    def stats(self) -> dict[str, Any]:
        """Return what has been told so far."""
        told: dict[str, Any] = {"late_steps": self.late_steps}
        told |= {name: stats() for name, stats in self._also.items()}
        if self.dsx is not None:
            mqtt = self.dsx.mqtt
            told["dsx"] = {"published": mqtt.published, "dropped": mqtt.dropped, "connects": mqtt.connects}
        if self.snmp is not None:
            told["snmp"] = self.snmp.stats()
        if self.broker is not None:
            told["broker"] = {"program": self.broker.program, "pid": self.broker.pid}
        return told

    def where(self) -> dict[str, Any]:
        """Return where the endpoints are."""
        return {
            "mqtt": self.mqtt_port,
            "snmp": None if self.snmp is None else self.snmp.base_port,
            "control": self.control_port,
            "broker": "" if self.broker is None else self.broker.program,
            "start_ms": self.factory.start_ms,
        }

    async def _run(self) -> None:
        ticks = 0
        every = max(1, round(self.options.cadence_s * 1000 / STEP_MS))
        while True:
            wait = (self.factory.time_ms + STEP_MS - now_ms()) / 1000.0
            if wait > 0:
                await asyncio.sleep(wait)
            else:
                self.late_steps += 1
                await asyncio.sleep(0)
            if now_ms() - self.factory.time_ms > _FAR_MS:
                log.warning("simulator.clock_jumped", seconds=(now_ms() - self.factory.time_ms) / 1000)
                self._catch_up(now_ms())
            self.factory.step(STEP_MS / 1000)
            ticks += 1
            if self.dsx is not None and ticks % every == 0:
                self.dsx.tell()

    def _catch_up(self, time_ms: int) -> None:
        self.factory.advance_to(time_ms - _FAR_MS, _COARSE_MS / 1000)
        self.factory.advance_to(time_ms, STEP_MS / 1000)

    async def _serve_control(self, listener: socket.socket) -> None:
        app = control_app(self.factory, self.stats)
        settings = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        with listener:
            await _ControlServer(settings).serve(sockets=[listener])


class _ControlServer(uvicorn.Server):
    """Leaves signals to the process that it is part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def free_port() -> int:
    """Return a TCP port on loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
