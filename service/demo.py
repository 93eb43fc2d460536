"""`hallwatch demo`: a simulated factory in a process of its own, and the whole service on it, over real protocols."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
import typer
import yaml

from domain.batch import now_ms
from domain.errors import HallwatchError
from domain.points import IntArray
from domain.role import Role
from domain.site import Site
from service import logs
from service.configuration import SHIPPED, load
from simulator.factory import Factory
from simulator.history import RECENT_MS, UPS_POWERS, announced, history
from simulator.sizing import first_racks
from simulator.snmp.agents import devices
from simulator.traces import Traces

if TYPE_CHECKING:
    from service.system import System

log = structlog.get_logger(__name__)

CADENCE = "GPUs every 5 s, racks, meters and CDUs every 2 s, SNMP every 10 s"
CREDENTIALS_FILE = "demo-credentials.json"
BEGAN_FILE = "demo-began"
"""When the simulated factory was first started on a data folder, UTC ms."""
SCHEDULE = "jobs"
ON_CALL = SHIPPED / "examples" / "on-call" / "on-call.yaml"
WHO_IS_TOLD = "# Who is told."
"""Where the part of the shipped rules begins that `ON_CALL` stands for."""
STANDS_IN = ("facility", "jonas")
_PAGER = re.compile(r"http://127\.0\.0\.1:\d+/pager/")
_CONSOLE = re.compile(r'console_url: "(?:http://127\.0\.0\.1:\d+)?"')
TARIFF = SHIPPED / "examples" / "tariffs" / "taiwan-illustrative.yaml"
CONTRACTED = 0.95
"""Share of the demo's limit that its energy contract covers."""

FLEXIBILITY = {
    "classes": [
        {"name": "batch", "jobs": ["job-*-1-*"], "sheds": 0.5, "within": 60},
        {"name": "fine-tuning", "jobs": ["job-*-2-*"], "sheds": 0.25, "within": 120},
        {"name": "pretraining", "jobs": ["job-*"], "sheds": 0.1, "within": 300, "longest": 7200},
    ]
}
"""Which of the simulated jobs give how much when the grid asks: by the slot that they run in."""


class Demo:
    """The demonstration.

    Parameters
    ----------
    data
        Data folder. The configuration is written into it, so that it can be looked at and changed.
    racks
        Size of the factory; a smaller one has its limits scaled down.
    port
        Of the console and the API.
    seed
        Of the simulated factory.
    roughness
        How unlike the model it is: 0, 1 or 2.
    traces
        Folder of measured traces that its training jobs replay.
    """

    def __init__(
        self,
        data: Path,
        racks: int,
        port: int,
        seed: int,
        roughness: int = 0,
        traces: Path | None = None,
    ) -> None:
        self._data = data.resolve()
        self._racks = racks
        self._port = port
        self._seed = seed
        self._roughness = roughness
        self._began = 0
        self._folder = None if traces is None else traces.resolve()
        self._traces = None if traces is None else Traces.read(traces)
        self._control = ""
        self._upkeep: asyncio.Task[Any] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._broker: dict[str, str] = {}
        self._keys: dict[str, Path] = {}
        self.ready = asyncio.Event()
        """Set when history is laid down and the service begins to serve."""

    async def run(self) -> None:
        """Run until cancelled."""
        folder = self._data / "config"
        folder.mkdir(parents=True, exist_ok=True)
        site = self._write_site(folder)
        # the simulated past ends where the simulator takes over
        start = now_ms() // 1000 * 1000 - RECENT_MS
        self._began = self._first_start(start)
        twin = (self._seed, start, self._roughness, self._began, self._folder)
        async with _simulator(folder / "site.yaml", *twin) as told:
            # a second's worth of libraries, loaded while the factory starts in its own process
            from service import demo_partner
            from service.application import run_service
            from service.settings import read_configuration

            ports = await told()
            self._control = f"http://127.0.0.1:{ports['control']}"
            self._write_configuration(folder, site, ports)
            self._find_pager(folder / "alerts.yaml")
            configuration = read_configuration(folder, self._data)
            logs.configure("warning")

            async def prepare(system: System, url: str) -> None:
                self._introduce(system, url)
                if not (system.latest.observed > 0).any():
                    await self._lay_down_history(system, site, start)
                if system.grid is not None and system.grid.flex is not None:
                    asking = demo_partner.ask(
                        system.grid.flex, self._broker, self._keys[demo_partner.PARTY], site.limit
                    )
                    self._asking = asyncio.create_task(asking)
                self.ready.set()

            await run_service(
                configuration, port=self._port, note=f"Demo: {CADENCE}; simulated", ready=prepare
            )

    def _first_start(self, start: int) -> int:
        """Return when a demonstration first started on this data folder, UTC ms."""
        path = self._data / BEGAN_FILE
        if not path.exists():
            path.write_text(str(start), encoding="utf-8")
        try:
            return int(path.read_text(encoding="utf-8"))
        except ValueError:
            return start

    def _write_site(self, folder: Path) -> Site:
        path = folder / "site.yaml"
        if not path.exists():
            site = first_racks(load(SHIPPED / "site.yaml", Site), self._racks)
            path.write_text(
                "# The demo's factory. Made once by `hallwatch demo`; yours to change.\n"
                + yaml.safe_dump(
                    site.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True
                ),
                encoding="utf-8",
            )
        site = load(path, Site)
        if len(site.racks) != self._racks:
            log.warning("the data folder holds a factory of another size; it is kept", racks=len(site.racks))
        if not (folder / "alerts.yaml").exists():
            rules, _, _ = (SHIPPED / "alerts.yaml").read_text(encoding="utf-8").partition(WHO_IS_TOLD)
            told = ON_CALL.read_text(encoding="utf-8")
            (folder / "alerts.yaml").write_text(rules + told, encoding="utf-8")
        if not (folder / "tariff.yaml").exists():
            tariff = yaml.safe_load(TARIFF.read_text(encoding="utf-8"))
            tariff["demand"][0]["contracted"] = CONTRACTED * site.limit
            (folder / "tariff.yaml").write_text(
                yaml.safe_dump(tariff, sort_keys=False, allow_unicode=True), encoding="utf-8"
            )
        return site

    def _write_configuration(self, folder: Path, site: Site, ports: dict[str, Any]) -> None:
        targets = [
            {
                "host": "127.0.0.1",
                "port": ports["snmp"] + i,
                "object_id": device.object_id,
                **({"serves": list(device.serves)} if device.serves else {}),
                **({"object_type": device.object_type} if device.object_type else {}),
                **({"associate": device.associate} if device.associate else {}),
            }
            for i, device in enumerate(devices(site))
        ]
        broker = {"url": f"mqtt://127.0.0.1:{ports['mqtt']}"}
        if ports["broker"] == "amqtt":
            broker["protocol"] = "3.1.1"  # it knows no more, and asking for more first costs seconds
        settings = {
            "site": "site.yaml",
            "alerts": "alerts.yaml",
            "tariff": "tariff.yaml",
            "data": "..",
            "mqtt": [{"name": "bms", "broker": broker}],
            "snmp": {"polling": {"interval": 10}, "targets": targets},
            "schedule": [{"name": SCHEDULE, "url": f"{self._control}/jobs"}],
            "web": {"host": "127.0.0.1", "port": self._port},
            "grid": self._grid(broker),
        }
        (folder / "hallwatch.yaml").write_text(
            "# Written by `hallwatch demo` at each start: the ports are those of the simulated devices.\n"
            + yaml.safe_dump(settings, sort_keys=False),
            encoding="utf-8",
        )

    def _find_pager(self, alerts: Path) -> None:
        """Put into the rules where the demo's pager listens, and where its console does, as of this start."""
        told = alerts.read_text(encoding="utf-8")
        found = _PAGER.sub(f"{self._control}/pager/", told)
        if self._port and found != told:  # the demo's own people, and a console whose address is known
            found = _CONSOLE.sub(f'console_url: "http://127.0.0.1:{self._port}"', found)
        if found != told:
            alerts.write_text(found, encoding="utf-8")

    def _stand_in(self, system: System) -> None:
        """Let somebody stand in for a night, as people do, where the demo's own schedules hold."""
        people = system.configuration.alerts.on_call
        if STANDS_IN[0] in people.schedules and STANDS_IN[1] in people.people:
            zone = system.site.zone
            night = datetime.now(zone).replace(hour=20, minute=0, second=0, microsecond=0) + timedelta(days=1)
            start, end = (int(t.timestamp() * 1000) for t in (night, night + timedelta(hours=12)))
            system.records.add_override(*STANDS_IN, start, end, "demo", note="Ting is at a wedding")

    def _grid(self, broker: dict[str, str]) -> dict[str, Any]:
        """Return how the demo's energy partner reaches it: over the simulated devices' own broker."""
        from service import demo_partner

        keys = self._keys = demo_partner.demo_keys(self._data / "grid-keys")
        self._broker = broker
        party, site = demo_partner.PARTY, demo_partner.SITE
        return {
            "flexibility": FLEXIBILITY,
            "flex": {
                "identifier": site,
                "broker": broker,
                "keys": [{"id": party, "party": party, "key_file": str(keys[f"{party}.pub"])}],
                "sign": {"id": site, "key_file": str(keys[site])},
            },
        }

    def _introduce(self, system: System, url: str) -> None:
        user, password, key = self._credentials(system)
        typer.echo(
            f"""
Hallwatch demo: {len(system.site.racks)} racks, {len(system.site.racks) * system.site.rack_gpus:,} GPUs, \
limit {system.site.limit / 1e6:.3g} MW
  Console      {url}   user {user}   password {password}
  Partner API  {url}/api/v1/forecasts/power   (Authorization: Bearer {key})
  API pages    {url}/api/v1/docs
  Cadence      {CADENCE}
  Grid         hallwatch grid status --data {self._data}   (an energy partner asks for less in two hours)
  Faults       curl {self._control}/catalogue; curl --json '{{"name": "leak", "target": "R001"}}' {self._control}/faults
  Pager        curl {self._control}/pager   (whom alerts told; nobody is really called)
  Data         {self._data}
Ctrl-C stops everything; the next start continues on the same data.
"""
        )

    def _credentials(self, system: System) -> tuple[str, str, str]:
        path = self._data / CREDENTIALS_FILE
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            return kept["user"], kept["password"], kept["api_key"]
        password = secrets.token_urlsafe(9)
        system.accounts.add_user("demo", password, Role.ADMINISTRATOR)
        key, _ = system.accounts.add_api_key("demo partner")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"user": "demo", "password": password, "api_key": key}, file)
        return "demo", password, key

    async def _lay_down_history(self, system: System, site: Site, start: int) -> None:
        began = time.monotonic()
        factory = Factory(
            site,
            self._seed,
            start,
            roughness=self._roughness,
            began_ms=self._began,
            traces=self._traces,
        )
        ups = await _ups_points(system, factory.layout.ups)
        steps = history(factory, system.registry, now_ms() // 1000 * 1000, ups=ups)
        await asyncio.to_thread(self._stand_in, system)
        past = announced(factory.workload, site.racks, start, SCHEDULE)
        await asyncio.to_thread(system.records.keep_past_schedule, past)
        rows = 0
        coming = asyncio.create_task(asyncio.to_thread(next, steps, None))
        while (batch := await coming) is not None:
            coming = asyncio.create_task(
                asyncio.to_thread(next, steps, None)
            )  # made while this one is written
            rows += len(batch)
            if self._upkeep is None and batch.observed[0] >= start:
                # the fortnight is there: its rollups are made while the last minutes are still laid down
                self._upkeep = asyncio.create_task(asyncio.to_thread(system.store.maintain, now_ms()))
            await system.ingest.accept(batch)
        typer.echo(
            f"  History: {rows:,} readings of the last 14 days laid down in {time.monotonic() - began:.1f} s"
        )


async def _ups_points(system: System, upses: Sequence[str]) -> dict[str, IntArray]:
    """Return the points under which the collector files the powers of the UPSes: it looks at each of them for the first time."""
    from collectors.snmp.collector import SnmpCollector

    collector = system.collectors["snmp"]
    assert isinstance(collector, SnmpCollector)
    await asyncio.gather(*(collector.devices[name].poll() for name in upses))
    found: dict[str, IntArray] = {}
    for power in UPS_POWERS:
        points = [system.registry.select("UPS", power, name, phase="") for name in upses]
        if all(len(p) == 1 for p in points):
            found[power] = np.concatenate(points)
        else:
            log.warning("the UPSes' past is left out: not all of them answered", quantity=power)
    return found


@contextlib.asynccontextmanager
async def _simulator(
    site: Path, seed: int, start: int, roughness: int, began: int, traces: Path | None
) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any]]]]:
    """Run the simulated factory in a process of its own; gives a way to wait for the ports that it took."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # a folder named service where the user happens to be is not ours
        "-m",
        "service.simulated",
        *("--site", str(site), "--seed", str(seed), "--start-ms", str(start)),
        *("--roughness", str(roughness), "--began-ms", str(began)),
        *(() if traces is None else ("--traces", str(traces))),
        *("--mqtt-port", "0", "--snmp-base-port", "0", "--control-port", "0"),
        stdout=asyncio.subprocess.PIPE,
    )

    async def told() -> dict[str, Any]:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if not line:
            raise HallwatchError("the simulated factory did not start; its messages are above")
        ports: dict[str, Any] = json.loads(line)
        return ports

    try:
        yield told
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
