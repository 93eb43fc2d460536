"""A full-size hall in trouble behind the real console, for what is measured of server and browser."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import uvicorn
from fastapi import FastAPI

from alerts.oncall.people import OnCall
from alerts.settings import AlertSettings
from analytics.contract.tariff import Tariff
from analytics.outlook.quarters import QuarterWatch
from benchmarks._watched_plant import shipped_site
from dashboard.app import mount
from dashboard.data import ConsoleData
from domain.alert import Condition, Severity
from domain.batch import Batch, now_ms
from domain.envelope import QUARTER_MS, quarter_start
from domain.forecast import QUANTILES, Forecast
from domain.points import Point, PointRegistry
from domain.role import Role
from service.configuration import SHIPPED, load
from service.contract import Contract
from service.web import energy_calls
from storage.accounts import Accounts
from storage.latest import LatestValues
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings

USER, PASSWORD = "bench", "benchmark-only"
PEOPLE = 10
"""Others who may log in."""
MINUTE = 60_000
TRIPPED = "P01-CDU1"
HOT = ("R002", "R003", "R005", "R007")
KEPT = ("FEED-A", "FEED-B", "UPS-A1", "R001", TRIPPED)
"""Objects whose past is stored: those that a page's charts show."""
STAFF = {"mei": "Chen Mei-ling", "jun": "Lin Jun"}


class Hall:
    """The points that the console shows, values for them, and what is wrong: a CDU is down, racks beneath it are hot.

    `incident` is the number of the CDU's alert, which leads the others.
    """

    def __init__(self, folder: Path) -> None:
        self.site = shipped_site()
        self.registry = PointRegistry()
        self.store = open_store(StorageSettings(path=folder), self.registry)
        self.latest = LatestValues(self.registry)
        self.records = Records(f"sqlite:///{folder}/records.sqlite")
        self.accounts = Accounts(self.records)
        for user in (USER, *(f"{USER}{n}" for n in range(PEOPLE))):
            self.accounts.add_user(user, PASSWORD, Role.ADMINISTRATOR)
        self._level: list[float] = []
        self._register()
        self._noise = np.random.default_rng(1)
        self._kept = np.array(
            [i for i in range(len(self.registry)) if self._shown(self.registry[i])], np.int32
        )
        plant = PlantView(self.site, self.registry, self.latest, self.store)
        self._quarters = QuarterWatch(plant, 2000)
        tariff = load(SHIPPED / "examples" / "tariffs" / "taiwan-illustrative.yaml", Tariff)
        alerting = _alerting()
        self._newest: dict[str, Forecast] = {}
        self.data = ConsoleData(
            self.site,
            self.registry,
            self.latest,
            self.store,
            self.records,
            plant,
            sources=lambda: {"mqtt:bms": {"connected": True, "messages": now_ms() // 1000 % 10**6}},
            newest=lambda: self._newest,
            on_call=OnCall(alerting, self.site.zone),
            alert_settings=alerting,
            energy_calls=energy_calls(
                Contract(plant, self.records, tariff), lambda: self._quarters.told, grid=None
            ),
        )
        self.incident = self._trouble(now_ms())

    def _add(self, kind: str, what: str, of: str, level: float, unit: str = "W", **more: Any) -> None:
        tag = "/".join(more.get("process_area", ()))
        unit = "" if "state_text" in more else unit
        self.registry.register(Point(f"{kind}/{what}/{of}{tag}", kind, what, of, of, unit, **more))
        self._level.append(level)

    def _register(self) -> None:
        site, running = self.site, ((0, "Off"), (1, "On"))
        self._add("Site", "TokenRate", site.id, 1.9e6, "token/s")
        for node in site.nodes:
            kind = "UPS" if node.type == "UPS" else "PowerMeter"
            self._add(kind, "ActivePower", node.id, node.limit * 0.44, serves=node.serves)
            if node.type == "UPS":
                self._add("UPS", "BatteryCharge", node.id, 0.98, "1")
        for pod in site.pods:
            for cdu in pod.cdus:
                self._add("CDU", "LiquidTemperature", cdu, 32.5, "Cel", process_area=("Secondary", "Supply"))
                self._add("CDU", "LiquidTemperature", cdu, 44.0, "Cel", process_area=("Secondary", "Return"))
                self._add("CDU", "LiquidFlow", cdu, 580.0, "L/min", process_area=("Secondary",))
                self._add("CDU", "LiquidDifferentialPressure", cdu, 82e3, "Pa", process_area=("Secondary",))
                self._add("CDU", "PumpSpeed", cdu, 0.6, "1", process_area=("Secondary",))
                self._add("CDU", "Status", cdu, float(cdu != TRIPPED), state_text=running)
            for rack in pod.racks:
                self._add("Rack", "RackPower", rack, 126e3)
                self._add("Rack", "RackLiquidSupplyTemperature", rack, 32.6, "Cel")
                self._add("Rack", "RackLiquidReturnTemperature", rack, 53.5 if rack in HOT else 44.0, "Cel")
                self._add("Rack", "RackLiquidFlow", rack, 150.0, "L/min")
                self._add("Rack", "RackLiquidDifferentialPressure", rack, 80e3, "Pa")
                self._add("Rack", "AnomalyScore", rack, 0.3, "1")
                for side in "AB":
                    self._add("PowerMeter", "ActivePower", f"{rack}-TAP-{side}", 63e3, serves=(rack,))
                for n in range(site.rack_gpus):
                    name = f"{rack}-T{n // 4 + 1:02d}-G{n % 4}"
                    self._add("GPU", "GpuTemperature", name, 68.0, "Cel", associate=rack)
                    self._add("GPU", "GpuPower", name, 1150.0, associate=rack)

    @staticmethod
    def _shown(point: Point) -> bool:
        return point.object_type != "GPU" and point.object_id.startswith(KEPT)

    def _trouble(self, now: int) -> int:
        """Open the alerts, and return which of them leads the others."""
        down = Condition("cdu-down", TRIPPED, Severity.HIGH, f"{TRIPPED} is down", 0.0, 1.0, "", now)
        hot = [
            Condition("temperature", rack, Severity.WARNING, f"{rack} returns coolant at 53.5 \u00b0C", 53.5, 52.0, "Cel", now)
            for rack in HOT
        ]  # fmt: skip
        leak = Condition("leak", "R050", Severity.WARNING, "R050 leaks", 1.0, 0.0, "", now)
        lead, *below, other = self.records.open_alerts([down, *hot, leak], now)
        self.records.keep_incidents([lead.id, other.id], {alert.id: lead.id for alert in below}, now)
        return lead.id

    def batch(self, now: int, points: np.ndarray[Any, np.dtype[np.int32]]) -> Batch:
        """Return a reading of each of these points, a little off its level."""
        level = np.array(self._level)[points]
        noise = np.where(level < 2, 0.0, 0.01) * self._noise.standard_normal(len(points))
        return Batch.of(points, now, level * (1 + noise))

    def lay_down(self, hours: float) -> None:
        """Store the past of what charts show, and what was forecast."""
        now = now_ms()
        times = range(now - int(hours * 3_600_000), now, MINUTE)
        self.store.write(Batch.concat([self.batch(t, self._kept) for t in times]))
        self.store.maintain(now)
        self.records.save_forecasts([self._forecast(now - ago * QUARTER_MS) for ago in range(24, 0, -1)])
        self._issue(now)

    def _issue(self, now: int) -> None:
        """Issue the site's forecast, as the service does each quarter hour."""
        if self.site.id in self._newest and self._newest[self.site.id].data_cutoff == quarter_start(now):
            return
        issued = self._forecast(now)
        self.records.save_forecasts([issued])
        self._newest = {self.site.id: issued}

    def _forecast(self, now: int) -> Forecast:
        """Return a day and night around 90 % of the site's limit, ever less certain."""
        limit, ahead = self.site.limit, np.arange(192)
        start = quarter_start(now) + QUARTER_MS * ahead.astype(np.int64)
        middle = limit * (0.9 + 0.08 * np.sin(start / 86_400_000 * 2 * np.pi))
        spread = limit * 0.006 * np.sqrt(1 + ahead / 8)
        odds = np.log(np.array(QUANTILES) / (1 - np.array(QUANTILES))) / 1.7
        risk = 1 / (1 + np.exp(1.7 * (limit - middle) / spread))
        return Forecast(
            self.site.id, "ActivePower", "W", now, quarter_start(now), 15, start, QUANTILES,
            middle[:, None] + spread[:, None] * odds, np.full(192, limit), risk, "benchmark",
        )  # fmt: skip

    async def change(self) -> None:
        """Measure everything every two seconds, and store what charts show."""
        every = np.arange(len(self.registry), dtype=np.int32)
        minute = 0
        while True:
            now = now_ms()
            self.latest.update(self.batch(now, every))
            await asyncio.to_thread(self._keep, now, now // MINUTE != minute)
            minute = now // MINUTE
            await asyncio.sleep(2)

    def _keep(self, now: int, maintain: bool) -> None:
        self.store.write(self.batch(now, self._kept))
        self._quarters.look(now)
        self._issue(now)
        if maintain:
            self.store.maintain(now)


def _alerting() -> AlertSettings:
    """Return two people who take turns."""
    mail = {"kind": "smtp", "host": "127.0.0.1", "sender": "hallwatch@b.example"}
    people = {key: {"name": name, "reach": [key]} for key, name in STAFF.items()}
    layer = {"people": list(STAFF), "start": date(2026, 1, 5), "turn_days": 1}
    on_call = {"people": people, "schedules": {"night": {"timezone": "Asia/Taipei", "layers": [layer]}}}
    channels = {key: {**mail, "recipients": [f"{key}@b.example"]} for key in STAFF}
    return AlertSettings.model_validate({"channels": channels, "on_call": on_call})


@contextlib.asynccontextmanager
async def hall_served() -> AsyncIterator[tuple[str, Hall]]:
    """Serve the hall, and give its address and itself."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )  # figures are alone on the other
    with tempfile.TemporaryDirectory() as folder:
        hall = Hall(Path(folder))
        await asyncio.to_thread(hall.lay_down, 6.0)
        app = FastAPI()
        console = mount(app, hall.data, hall.accounts, "a secret for the benchmark")
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
        parts = [asyncio.create_task(p) for p in (hall.change(), console.run())]
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - the server tells it no other way
            await asyncio.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", hall
        finally:
            server.should_exit = True
            await serving
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            hall.store.close()
            hall.records.close()
