"""Demand, limits, plans, contract, energy and tokens as partners read them, from a plant that was measured for two days."""

import asyncio
import csv
import io
from dataclasses import dataclass
from types import SimpleNamespace

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI

from analytics.contract.energy import EnergySettings
from analytics.contract.tariff import Tariff
from analytics.outlook.power import PlannedSteps
from analytics.outlook.quarters import QuarterWatch
from domain.batch import Batch
from domain.configuration import validated
from domain.envelope import QUARTER_MS
from domain.planned import PlannedWork
from domain.points import Point, PointRegistry
from domain.site import Site
from partners.api import router
from partners.forecasts import iso
from partners.settings import PartnerSettings
from partners.sources import Sources
from partners.usage import Calls
from service.configuration import SHIPPED, load
from service.contract import Contract
from storage.accounts import Accounts
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings
from tests.unit.partners.conftest import Client
from tests.unit.partners.test_archive_api import fits
from tests.unit.partners.test_power_forecast_api import assert_problem

DAY, MINUTE = 86_400_000, 60_000
MIDNIGHT = 1_790_006_400_000  # 2026-09-22T00:00 in Taipei
NOW = MIDNIGHT + DAY + 12 * 3_600_000 + 6 * MINUTE  # noon of the next day, six minutes into a quarter hour
GAP = MIDNIGHT + 6 * 3_600_000
SITE = {
    "id": "lab", "name": "Lab", "timezone": "Asia/Taipei", "country": "TW", "limit": "300 kW", "installed": "400 kW",
    "idle": "20 kW", "rack_limit": "150 kW",
    "schedule": [{"start": "2026-09-24T14:00:00+08:00", "end": "2026-09-24T16:00:00+08:00", "limit": "200 kW", "reason": "event"}],
    "pods": [{"id": "P1", "racks": "R1..2", "row": 1}],
    "nodes": [
        {"id": "FEED-A", "type": "Feed", "limit": "200 kW", "serves": ["UPS-A"]},
        {"id": "FEED-B", "type": "Feed", "limit": "200 kW", "serves": ["UPS-B"]},
        {"id": "UPS-A", "type": "UPS", "limit": "150 kW", "serves": ["R1"]},
        {"id": "UPS-B", "type": "UPS", "limit": "150 kW", "serves": ["R2"]},
    ],
}  # fmt: skip
SHOWS = ["forecasts", "demand", "limits", "plans", "contract", "site", "energy", "tokens"]
SETTINGS = {
    "contracts": [
        {"name": "Grid", "shows": SHOWS, "published": ["FEED-*"]},
        {"name": "Narrow", "shows": ["forecasts"]},
    ]
}
CARBON = {"carbon": [{"start": "2026-01-01", "kg_per_kwh": 0.5, "source": "made up"}]}


@dataclass
class World:
    """A plant that tells readings."""

    registry: PointRegistry
    ingest: Ingest
    store: object
    plant: PlantView

    async def tell(self, kind, quantity, object_id, unit, times, values):
        key = f"{kind}/{quantity}/{object_id}"
        point = self.registry.register(Point(key, kind, quantity, object_id, unit=unit, source="dsx:bms"))
        await self.ingest.accept(Batch.of(np.full(len(times), point), times, values, received=NOW))


async def measured(folder):
    """Feeds of 120 and 130 kW with energy counters, silent for an hour; UPSes of 100 each; two trays with tokens."""
    registry = PointRegistry()
    settings = StorageSettings(path=folder)
    store = open_store(settings, registry)
    ingest = Ingest.open(settings, registry, store)
    site = validated(Site, SITE, "site.yaml")
    world = World(registry, ingest, store, PlantView(site, registry, ingest.latest, store, lambda: NOW))
    times = np.arange(MIDNIGHT - QUARTER_MS, NOW + 1, MINUTE, dtype=np.int64)
    heard = times[(times < GAP) | (times >= GAP + 4 * QUARTER_MS)]
    for feed, power in (("FEED-A", 120e3), ("FEED-B", 130e3)):
        await world.tell("PowerMeter", "ActivePower", feed, "W", heard, np.full(len(heard), power))
        joules = 1e12 + power * (heard - times[0]) / 1000
        await world.tell("PowerMeter", "Energy", feed, "J", heard, joules)
    for ups in ("UPS-A", "UPS-B"):
        await world.tell("UPS", "ActivePower", ups, "W", times, np.full(len(times), 100e3))
    for tray in ("T1", "T2"):
        await world.tell("Tray", "TokenRate", tray, "token/s", times, np.full(len(times), 1000.0))
    await ingest.close()
    store.maintain(NOW)
    return world


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plant")
    world = asyncio.run(measured(folder))
    plant = world.plant
    records = Records(f"sqlite:///{folder}/records.sqlite")
    works = [
        PlannedWork("jobs", "secret job", ("R1", "R2"), NOW + 2 * QUARTER_MS, NOW + 9 * QUARTER_MS, 90e3),
        PlannedWork("jobs", "unknown size", ("R1",), NOW + QUARTER_MS, NOW + 3 * QUARTER_MS),
    ]
    records.keep_schedule("jobs", works, NOW - DAY)
    accounts = Accounts(records)
    watch = QuarterWatch(plant, 60_000)
    watch.look(NOW)
    steps = PlannedSteps(np.array([NOW + 2 * QUARTER_MS], np.int64), np.array([-50e3]))
    tariff = load(SHIPPED / "examples/tariffs/taiwan-illustrative.yaml", Tariff)
    contract = SimpleNamespace(month=Contract(plant, records, tariff).month)
    sources = Sources(
        plant, lambda: watch.told, lambda: steps, lambda now: contract.month(now),
        EnergySettings.model_validate(CARBON),
    )  # fmt: skip
    clock = SimpleNamespace(now=NOW)
    app, calls = FastAPI(), Calls()
    app.include_router(
        router(
            records, accounts, plant.site, calls, lambda: clock.now,
            settings=PartnerSettings.model_validate(SETTINGS), sources=sources,
        )
    )  # fmt: skip
    clients = {
        name: Client(app, {"Authorization": f"Bearer {accounts.add_api_key(name)[0]}"})
        for name in ("Grid", "Narrow")
    }

    def get(path, who="Grid", headers=None, **parameters):
        return clients[who].get(f"/api/v1{path}", params=parameters, headers=headers)

    yield SimpleNamespace(
        get=get, app=app, plant=plant, records=records, contract=contract, clock=clock, watch=watch
    )
    world.store.close()
    records.close()


def told(grid, path, name, **parameters):
    answer = grid.get(path, **parameters)
    assert answer.status_code == 200, answer.text
    fits(grid, name, answer.json())
    return answer.json()


def test_demand_is_told_as_metered_and_what_was_not_measured_is_missing(grid):
    body = told(
        grid, "/demand", "Demand", **{"from": iso(GAP - 2 * QUARTER_MS), "to": iso(GAP + 6 * QUARTER_MS)}
    )
    rows = body["intervals"]
    assert [r["start"] for r in rows] == [iso(GAP + i * QUARTER_MS) for i in range(-2, 6)]
    assert [r["quality"] for r in rows] == [
        *("metered", "metered", "averaged", "missing", "missing", "missing", "averaged", "metered")
    ]
    assert [r["power"] for r in rows] == [250e3, 250e3, 250e3, None, None, None, 250e3, 250e3]
    assert not any(r["provisional"] for r in rows)


def test_only_quarter_hours_that_are_over_are_told_and_the_last_hour_may_still_change(grid):
    rows = told(grid, "/demand", "Demand")["intervals"]
    assert rows[-1]["start"] == iso(NOW - NOW % QUARTER_MS - QUARTER_MS)
    assert [r["provisional"] for r in rows[-6:]] == [False, False, True, True, True, True]
    ahead = told(grid, "/demand", "Demand", **{"from": iso(NOW), "to": iso(NOW + DAY)})
    assert (ahead["intervals"], ahead["next"]) == ([], None)


def test_demand_comes_page_by_page(grid):
    span = {"from": iso(MIDNIGHT), "to": iso(MIDNIGHT + 10 * QUARTER_MS)}
    whole = told(grid, "/demand", "Demand", **span)["intervals"]
    rows, cursor = [], {}
    for _ in range(3):
        body = told(grid, "/demand", "Demand", limit=4, **span, **cursor)
        rows += body["intervals"]
        cursor = {"cursor": body["next"]}
    assert rows == whole
    assert body["next"] is None


def test_demand_of_published_nodes_only(grid):
    assert told(grid, "/demand", "Demand", object_id="FEED-B")["intervals"][-1]["power"] == 130e3
    assert_problem(grid.get("/demand", object_id="UPS-A"), 404, "'UPS-A'")
    assert_problem(grid.get("/limits", object_id="R1"), 404, "'R1'")


def test_demand_comes_as_csv_and_parquet(grid, tmp_path):
    span = {"from": iso(GAP), "to": iso(GAP + 2 * QUARTER_MS)}
    rows = list(csv.DictReader(io.StringIO(grid.get("/demand", format="csv", **span).text)))
    assert [(r["power"], r["quality"]) for r in rows] == [("250000.0", "averaged"), ("", "missing")]
    (tmp_path / "demand.parquet").write_bytes(grid.get("/demand", format="parquet", **span).content)
    table = pq.read_table(tmp_path / "demand.parquet")
    assert table["power"].to_pylist() == [250e3, None]
    assert str(table.schema.field("start").type) == "timestamp[ms, tz=UTC]"


def test_the_running_quarter_hour_is_told_with_its_limit(grid):
    body = told(grid, "/demand/running", "RunningQuarter")
    assert body["start"] == iso(NOW - 6 * MINUTE)
    assert body["elapsed"] == pytest.approx(0.4, abs=0.01)
    assert body["so_far"] == pytest.approx(250e3, rel=1e-3)
    assert body["expected"] == pytest.approx(250e3, rel=1e-2)
    assert (body["power"], body["limit"]) == (250e3, 300e3)
    assert body["breach_probability"] < 0.05
    grid.clock.now = NOW + 10 * MINUTE
    stale = grid.get("/demand/running")
    grid.clock.now = NOW
    assert_problem(stale, 503, "meters are silent")
    assert stale.headers["retry-after"] == "10"


def test_limits_are_told_with_their_schedule_also_what_the_grid_agreed(grid):
    body = told(grid, "/limits", "Limits")
    assert (body["limit"], body["standing"]) == (300e3, 300e3)
    event = {
        "start": "2026-09-24T06:00:00Z",
        "end": "2026-09-24T08:00:00Z",
        "limit": 200e3,
        "reason": "event",
    }
    assert body["changes"] == [event]
    assert told(grid, "/limits", "Limits", **{"from": "2026-09-25T00:00:00Z"})["changes"] == []


def test_plans_tell_power_and_neither_names_nor_racks(grid):
    answer = grid.get("/plans")
    body = told(grid, "/plans", "Plans")
    assert body["changes"] == [{"time": iso(NOW + 2 * QUARTER_MS), "change": -50e3}]
    assert [w["power"] for w in body["work"]] == [None, 180e3]
    assert "secret" not in answer.text
    assert "R1" not in answer.text


def test_the_site_tells_its_facts_and_what_the_caller_may_read(grid):
    body = told(grid, "/site", "SiteFacts")
    assert (body["timezone"], body["limit"], body["installed"]) == ("Asia/Taipei", 300e3, 400e3)
    assert [n["object_id"] for n in body["nodes"]] == ["FEED-A", "FEED-B"]
    assert body["shows"] == sorted(SHOWS)


def test_the_month_is_set_against_the_contract(grid):
    body = told(grid, "/contract/month", "MonthTold")
    assert body["periods"][0]["end"] == body["periods"][1]["start"]
    assert body["periods"][0]["price"] > 0
    assert (body["month"], body["currency"]) == ("2026-09", "TWD")
    assert body["peaks"][0]["so_far"] == 250e3


def test_energy_is_counted_also_across_gaps_with_pue_and_carbon(grid):
    body = told(grid, "/energy", "Energy", **{"from": "2026-09-22", "to": "2026-09-22"})
    (day,) = body["periods"]
    assert (day["start"], day["end"]) == (iso(MIDNIGHT), iso(MIDNIGHT + DAY))
    assert day["energy"] == pytest.approx(250e3 * 86_400, rel=1e-6)
    assert (day["measured"], day["it_measured"]) == (1.0, 1.0)
    assert (day["pue"], body["it_measured_at"]) == (1.25, "ups")
    assert day["carbon"] == pytest.approx(250 * 24 * 0.5, rel=1e-6)
    (month,) = told(grid, "/energy", "Energy", by="month")["periods"]
    assert month["period"] == "2026-09"
    # a quarter hour before the first midnight, and from it until the newest that is over
    assert month["energy"] == pytest.approx(250e3 * (1.5 * 86_400 + 900), rel=1e-2)
    assert month["measured"] < 0.1
    assert month["carbon"] is None or month["carbon"] > 0


def test_a_day_without_factor_has_no_carbon_and_a_day_without_readings_no_energy(grid):
    (day,) = told(grid, "/energy", "Energy", **{"from": "2025-12-30", "to": "2025-12-30"})["periods"]
    assert (day["energy"], day["carbon"], day["pue"], day["measured"]) == (None, None, None, 0.0)


def test_old_days_cost_no_look_at_what_came_after(grid, monkeypatch):
    asked = []
    ask = type(grid.plant).demand_by_origin
    monkeypatch.setattr(
        type(grid.plant), "demand_by_origin", lambda *a, **m: asked.append(a[2:4]) or ask(*a, **m)
    )
    told(grid, "/energy", "Energy", **{"from": "1999-12-30", "to": "1999-12-31"})
    assert {end - start for start, end in asked} == {2 * DAY}


def test_tokens_are_told_with_what_they_cost(grid):
    rows = told(grid, "/tokens", "TokensTold", **{"from": iso(GAP), "to": iso(GAP + 2 * QUARTER_MS)})
    first, second = rows["intervals"]
    assert first["tokens_per_second"] == pytest.approx(2000.0)
    assert first["tokens_per_joule"] == pytest.approx(2000 / 250e3)
    assert (second["tokens_per_joule"], second["reporting"]) == (None, 1.0)


@pytest.mark.parametrize(
    "path",
    ["/demand", "/demand/running", "/limits", "/plans", "/contract/month", "/site", "/energy", "/tokens"],
)
def test_what_a_contract_does_not_show_is_refused(grid, path):
    assert_problem(grid.get(path, who="Narrow"), 403, "is not shown to you")
    assert Client(grid.app).get(f"/api/v1{path}").status_code == 401
    whole = grid.get(path)
    again = grid.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert (whole.status_code, again.status_code) == (200, 304)


@pytest.mark.parametrize(
    ("path", "parameters", "words"),
    [
        ("/demand", {"from": "2020-01-01T00:00:00Z"}, "at most 400 days"),
        ("/demand", {"from": iso(NOW), "to": iso(NOW - 1)}, "'to' must come after 'from'"),
        ("/energy", {"from": "2026-09-30"}, "'from' must not come after"),
        ("/energy", {"from": "2020-01-01"}, "400 days"),
        ("/energy", {"by": "week"}, "by"),
        ("/tokens", {"from": iso(NOW - 8 * DAY)}, "at most 7 days"),
        ("/plans", {"from": iso(NOW), "to": iso(NOW)}, "'to' must come after"),
        ("/limits", {"from": "0001-01-01T00:00:00+23:59"}, "years 1970 to 8999"),
        ("/demand", {"object": "FEED-A"}, "no parameter 'object' here; possible are: cursor, format, from"),
    ],
)
def test_a_wrong_question_is_told_so(grid, path, parameters, words):
    answer = grid.get(path, **parameters)
    assert_problem(answer, 400, words)


def test_every_answer_has_an_example_that_fits_its_schema(grid):
    spec = Client(grid.app).get("/api/v1/openapi.json").json()
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            content = operation["responses"]["200"]["content"]["application/json"]
            schema = {**content["schema"], "components": spec["components"]}
            jsonschema.validate(content["example"], schema, format_checker=jsonschema.FormatChecker())
            assert set(content["example"]) == set(
                spec["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]["properties"]
            ), path


def test_a_site_without_contract_says_so(grid):
    before = grid.contract.month
    grid.contract.month = Contract(grid.plant, grid.records, None).month
    grid.clock.now = NOW + 2 * MINUTE
    answer = grid.get("/contract/month")
    grid.contract.month, grid.clock.now = before, NOW
    assert_problem(answer, 404, "no contract")
