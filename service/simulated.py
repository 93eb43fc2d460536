"""``python -m service.simulated``: the simulated factory, with every tray's agent going through the NVML collector.

The sweeps are those of a real node, only that one process makes them for all trays, over a few connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator

import orjson

from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.settings import BrokerSettings
from collectors.nvml.agent import TraySweeps
from collectors.nvml.sweeper import Sweeper
from domain.batch import now_ms
from domain.tray import presence_topic
from simulator.gpus import TRAY_GPUS
from simulator.nvml import Driver, TrayNvml
from simulator.run import command
from simulator.simulation import Simulation

INTERVAL_S = 5.0
SLOW_EVERY = 12
"""Limits and health come once a minute, as from an agent that sweeps every second."""
CONNECTIONS = 4
_TICK_S = 0.05
_CONNECT_S = 30.0
_OFFLINE = orjson.dumps({"online": False})


class TrayAgents:
    """The agents of all trays of a simulation, their sweeps spread evenly over the interval.

    Parameters
    ----------
    simulation
        Whose GPUs are swept; its broker is used.
    interval_s
        From one sweep of a tray to its next.
    """

    def __init__(self, simulation: Simulation, interval_s: float = INTERVAL_S) -> None:
        self.factory = simulation.factory
        self._driver = Driver(self.factory)
        self._interval_s = interval_s
        started = now_ms()
        self.trays: list[TraySweeps] = []
        for first in range(0, self.factory.layout.gpus, TRAY_GPUS):
            rack, tray, _ = self.factory.gpu_name(first)
            sweeper = Sweeper(TrayNvml(self._driver, first), TRAY_GPUS, SLOW_EVERY)
            self.trays.append(TraySweeps(rack, tray, sweeper, started))
        self._rack = [self.factory.layout.racks.index(t.rack) for t in self.trays]
        self._sequence = [0] * len(self.trays)
        self._greeted = [0] * len(self.trays)
        url = f"mqtt://127.0.0.1:{simulation.mqtt_port}"
        self._connections = [
            Connection(BrokerSettings(url=url, client_id=f"trays-{i}", protocol="3.1.1"))
            for i in range(CONNECTIONS)
        ]
        self.sent = self.unsent = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the agents for as long as the context is open."""
        for connection in self._connections:
            connection.start()
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            for connection in self._connections:
                await asyncio.to_thread(connection.stop)

    def stats(self) -> dict[str, int]:
        """Return counts of sweeps sent, and of sweeps that no connection took."""
        return {"sweeps": self.sent, "unsent": self.unsent}

    async def _run(self) -> None:
        ticks = max(1, round(self._interval_s / _TICK_S))
        for connection in self._connections:
            await asyncio.to_thread(connected, connection, _CONNECT_S)
        begun = time.monotonic()
        tick = 0
        while True:
            first = tick % ticks * len(self.trays) // ticks
            last = (tick % ticks + 1) * len(self.trays) // ticks
            self._driver.refresh()
            for i in range(first, last):
                self._sweep(i)
            tick += 1
            wait = begun + tick * _TICK_S - time.monotonic()
            if wait < -self._interval_s:  # far behind: leave sweeps out, as an agent does
                begun = time.monotonic() - tick * _TICK_S
            await asyncio.sleep(max(wait, 0.0))

    def _sweep(self, i: int) -> None:
        tray = self.trays[i]
        connection = self._connections[i % CONNECTIONS]
        number = connection.state.connects if connection.state.connected else 0
        rack = self._rack[i]
        dark = not self.factory.state.power[rack]
        if dark or f"{tray.rack}-{tray.tray}" in self.factory.faults.silent["tray"]:
            if self._greeted[i]:
                self._greeted[i] = 0
                connection.publish(presence_topic(tray.rack, tray.tray), _OFFLINE, qos=1, retain=True)
            return
        serving = rack >= self.factory.workload.training
        trays = self.factory.layout.gpus_per_rack // TRAY_GPUS
        sweep = tray.take(
            self._sequence[i],
            now_ms(),
            float(self.factory.tokens[rack]) / trays if serving else None,
            round(float(self.factory.tokens_total[rack]) / trays) if serving else None,
        )
        self._sequence[i] += 1
        if number and self._greeted[i] != number:
            connection.publish(presence_topic(tray.rack, tray.tray), tray.presence(), qos=1, retain=True)
            self._greeted[i] = number
        if connection.publish(tray.topic, tray.message(sweep), qos=1) is None:
            self.unsent += 1
        else:
            self.sent += 1


@contextlib.asynccontextmanager
async def tray_agents(simulation: Simulation) -> AsyncIterator[None]:
    """Run the tray agents along with a simulation that has a broker."""
    agents = TrayAgents(simulation)
    simulation.also_tell("trays", agents.stats)
    async with agents.running():
        yield


if __name__ == "__main__":
    sys.exit(command(None, "python -m service.simulated", tray_agents))
