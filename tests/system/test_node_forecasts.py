"""Forecasts of nodes along the operator's way: readings, issue in a child process, records, alert rule, partner API."""

import asyncio

import numpy as np
import pytest
from fastapi import FastAPI

from alerts.engine import AlertEngine
from alerts.settings import AlertSettings
from alerts.view import View
from analytics.issuing.issue import ForecastIssuer
from analytics.settings import AnalyticsSettings
from domain.batch import Batch
from domain.breaches import breach_ahead
from domain.configuration import validated
from domain.envelope import QUARTER_MS
from domain.points import Point, PointRegistry
from domain.site import Site
from partners.api import router
from partners.settings import PartnerSettings
from service.configuration import SHIPPED, load
from storage.accounts import Accounts
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings
from tests.unit.partners.conftest import Client

DAYS = 3
NOW = 1_790_000_000_000 // QUARTER_MS * QUARTER_MS + 30_000
SITE = validated(
    Site,
    {
        "id": "lab", "name": "Lab", "timezone": "Asia/Taipei", "limit": "300 kW", "installed": "400 kW",
        "idle": "20 kW", "rack_limit": "150 kW",
        "pods": [{"id": "P1", "racks": "R1..2", "busways": ["BUS-1", "BUS-2"], "row": 1}],
        "nodes": [
            {"id": "UPS-1", "type": "UPS", "limit": "90 kW", "serves": ["BUS-1"]},
            {"id": "UPS-2", "type": "UPS", "limit": "150 kW", "serves": ["BUS-2"]},
            {"id": "BUS-1", "type": "PowerMeter", "limit": "150 kW", "serves": ["R1"]},
            {"id": "BUS-2", "type": "PowerMeter", "limit": "150 kW", "serves": ["R2"]},
        ],
    },
    "site.yaml",
)  # fmt: skip
RULE = {
    "name": "ups-will-be-overloaded", "kind": "envelope_predicted", "objects": ["UPS-*"], "probability": "40 %",
    "severity": "warning",
}  # fmt: skip
NODES = next(
    r.model_dump()
    for r in load(SHIPPED / "alerts.yaml", AlertSettings).rules
    if r.name == "node-breach-predicted"
)


def told(view, point_type):
    """The newest readings of a kind, by object."""
    points = view.registry.match(f"*/{point_type}/*")
    values = view.values(points).tolist()
    return {view.registry[i].object_id: v for i, v in zip(points.tolist(), values, strict=True) if v == v}


@pytest.fixture
async def plant(tmp_path):
    """Three days of two racks behind a UPS each: R1 at 95 kW passes what UPS-1 may carry, R2 passes nothing."""
    registry = PointRegistry()
    settings = StorageSettings(path=tmp_path)
    store = open_store(settings, registry)
    ingest = Ingest.open(settings, registry, store)
    start = NOW - NOW % QUARTER_MS - DAYS * 96 * QUARTER_MS + QUARTER_MS * np.arange(DAYS * 96)
    rhythm = 4e3 * np.sin(np.arange(DAYS * 96) * 2 * np.pi / 96)
    for rack, level in (("R1", 95e3), ("R2", 80e3)):
        point = registry.register(
            Point(f"Rack/RackPower/{rack}", "Rack", "RackPower", rack, unit="W", source="dsx:x")
        )
        await ingest.accept(Batch.of(np.full(len(start), point), start, level + rhythm, received=NOW))
    store.maintain(NOW)
    yield PlantView(SITE, registry, ingest.latest, store), ingest, tmp_path
    await ingest.close()
    store.close()


async def test_a_rule_on_upses_fires_on_what_is_issued_of_them_and_partners_read_what_is_published(plant):
    view, ingest, folder = plant
    records = Records(f"sqlite:///{folder / 'records.sqlite'}")
    risks_told = asyncio.Event()

    async def sink(batch):
        await ingest.accept(batch)
        risks_told.set()

    issuer = ForecastIssuer(AnalyticsSettings(), view, records, sink, folder / "models", clock=lambda: NOW)
    issuing = asyncio.create_task(issuer.run())
    async with asyncio.timeout(300):
        await risks_told.wait()
    issuing.cancel()
    kept = await asyncio.to_thread(records.latest_forecasts, [node.id for node in view.envelope])
    assert set(kept) == {"lab", "UPS-1", "UPS-2", "BUS-1", "BUS-2", "R1", "R2"}

    settings = AlertSettings.model_validate({"rules": [RULE, NODES]})
    engine = AlertEngine(settings, View(view, records), records, {}, lambda: NOW)
    await asyncio.to_thread(lambda: engine.keep(engine.look(NOW)))
    alerts = {a.condition.key: a.condition for a in await asyncio.to_thread(records.active_alerts)}
    assert set(alerts) == {"ups-will-be-overloaded/UPS-1", "node-breach-predicted/UPS-1"}
    foretold = alerts["ups-will-be-overloaded/UPS-1"]
    assert "UPS-1: " in foretold.summary
    assert "exceed 90.00 kW" in foretold.summary
    # the readings of nodes ask as the rule on issued forecasts does
    chances = told(view, "PowerBreachProbability")
    assert f"{100 * chances['UPS-1']:.0f} % likely" in foretold.summary
    assert chances["UPS-1"] == alerts["node-breach-predicted/UPS-1"].value
    for name, forecast in kept.items():
        if name != "lab":
            assert chances[name] == pytest.approx(breach_ahead(forecast, NOW, 6 * 3600).chance, abs=1e-3)

    accounts = Accounts(records)
    key, _ = await asyncio.to_thread(accounts.add_api_key, "Taipower")
    settings = PartnerSettings(published=("UPS-*",))
    app = FastAPI()
    app.include_router(router(records, accounts, SITE, clock=lambda: NOW, settings=settings))
    client = Client(app, {"Authorization": f"Bearer {key}"})
    path = "/api/v1/forecasts/power"

    def asked(object_id):
        return client.get(path, params={"object_id": object_id})

    answer = await asyncio.to_thread(asked, "UPS-1")
    assert answer.json()["object_id"] == "UPS-1"
    assert answer.json()["intervals"][0]["limit"] == 90e3
    assert (await asyncio.to_thread(asked, "R1")).status_code == 404
    records.close()
