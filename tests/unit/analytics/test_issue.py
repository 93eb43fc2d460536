"""Issuing forecasts on a real store and real records, in a real child process."""

import asyncio
from dataclasses import replace

import numpy as np
import psutil
import pytest

from analytics.issuing.exchange import NODE_STEPS, Made, Task
from analytics.issuing.fitting import make_forecast
from analytics.issuing.issue import ForecastIssuer, seasonal_naive
from analytics.issuing.shelf import ModelCard, ModelShelf
from analytics.settings import AnalyticsSettings
from domain.batch import Batch
from domain.breaches import breach_ahead
from domain.configuration import validated
from domain.envelope import QUARTER_MS, LimitChange
from domain.errors import InputError
from domain.planned import PlannedWork
from domain.points import Point, PointRegistry
from domain.site import Site
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.records import Records
from storage.settings import StorageSettings

DAYS = 3
NOW = 1_790_000_000_000 // QUARTER_MS * QUARTER_MS + 30_000
SITE = validated(
    Site,
    {
        "id": "lab", "name": "Lab", "timezone": "Asia/Taipei", "country": "TW", "limit": "200 kW",
        "installed": "300 kW", "idle": "20 kW", "rack_limit": "90 kW",
        "pods": [{"id": "P1", "racks": "R1..2", "row": 1}],
    },
    "site.yaml",
)  # fmt: skip


@pytest.fixture
async def issuer(tmp_path):
    """An issuer on a store that holds three days of two racks' power: 80 and 95 kW, with a daily rhythm."""
    registry = PointRegistry()
    settings = StorageSettings(path=tmp_path)
    store = open_store(settings, registry)
    ingest = Ingest.open(settings, registry, store)
    start = NOW - NOW % QUARTER_MS - DAYS * 96 * QUARTER_MS + QUARTER_MS * np.arange(DAYS * 96)
    rhythm = 4e3 * np.sin(np.arange(DAYS * 96) * 2 * np.pi / 96)
    for rack, level in (("R1", 80e3), ("R2", 95e3)):
        point = registry.register(
            Point(f"Rack/RackPower/{rack}", "Rack", "RackPower", rack, unit="W", source="dsx:x")
        )
        await ingest.accept(Batch.of(np.full(len(start), point), start, level + rhythm, received=NOW))
    store.maintain(NOW)
    plant = PlantView(SITE, registry, ingest.latest, store)
    records = Records(f"sqlite:///{tmp_path / 'records.sqlite'}")
    yield ForecastIssuer(
        AnalyticsSettings(), plant, records, ingest.accept, tmp_path / "models", clock=lambda: NOW
    )
    await ingest.close()
    store.close()
    records.close()


async def test_a_forecast_is_issued_kept_and_bounded_by_physics(issuer):
    forecast = await issuer.issue()
    assert forecast.values.shape == (192, 19)
    assert (forecast.values >= SITE.idle).all()
    assert (forecast.values <= SITE.installed).all()
    assert forecast.start[0] == NOW - NOW % QUARTER_MS
    assert forecast.model.startswith("PowerForecaster")
    assert "short history" in forecast.quality
    assert forecast.quantile(0.5).mean() == pytest.approx(175e3, rel=0.05)
    kept = issuer._records.latest_forecast("lab", "ActivePower")
    assert kept.values == pytest.approx(forecast.values)


async def test_every_node_is_foretold_and_says_when_its_limit_falls_and_what_to_shed(issuer):
    await issuer.issue()
    assert set(issuer.nodes) == {"lab", "R1", "R2"}
    assert issuer.nodes["R1"].breach_probability[0] < 0.2
    assert issuer.nodes["R2"].breach_probability.max() > 0.5
    total = issuer.nodes["R1"].quantile(0.5)[:8] + issuer.nodes["R2"].quantile(0.5)[:8]
    assert total == pytest.approx(issuer.nodes["lab"].quantile(0.5)[:8], rel=0.02)
    found = risks(issuer, NOW)
    assert found["PowerToShed", "R2"] > 5e3
    assert found["TimeToBreach", "R2"] < found["TimeToBreach", "R1"] == 6 * 3600
    assert ("PowerBreachProbability", "lab") not in found
    assert abs(found["ExpectedRamp", "lab"]) < 2e3


def risks(issuer, now):
    """What is told of the nodes at a time, by point type and object."""
    told, registry = issuer._risks(now), issuer._plant.registry
    return {
        (registry[int(i)].point_type, registry[int(i)].object_id): v
        for i, v in zip(told.point, told.value, strict=True)
    }


async def test_a_node_is_asked_for_any_breach_ahead_as_the_alert_on_issued_forecasts_does(issuer):
    await issuer.issue()
    kept = issuer._records.latest_forecasts(["R2"])["R2"]
    assert risks(issuer, NOW)["PowerBreachProbability", "R2"] == pytest.approx(
        breach_ahead(kept, NOW, 6 * 3600).chance
    )
    one = issuer.outlooks["R1"]
    start = one.forecast.start
    many = np.where(np.arange(len(start)) < 2, 0.0, 0.35)
    issuer.outlooks = {"R1": replace(one, forecast=replace(one.forecast, issued=1, breach_probability=many))}
    found = risks(issuer, NOW)
    assert found["PowerBreachProbability", "R1"] > 0.55, "many small chances are a likely breach"
    assert kept.persistence > issuer._records.latest_forecasts(["lab"])["lab"].persistence, "of few jobs"
    assert 1800 < found["TimeToBreach", "R1"] < 6 * 3600
    late = int(start[-1]) + 1
    assert risks(issuer, late)["PowerBreachProbability", "R1"] == pytest.approx(0.35, abs=0.02)
    assert risks(issuer, late)["TimeToBreach", "R1"] == 6 * 3600
    assert risks(issuer, late + QUARTER_MS) == {}, "what is over tells nothing of what comes"


async def test_the_forecast_of_every_node_is_kept_with_the_sites(issuer):
    await issuer.issue()
    kept = issuer._records.latest_forecasts(["lab", "R1", "R2", "R3"])
    assert set(kept) == {"lab", "R1", "R2"}
    assert kept["R2"].values == pytest.approx(issuer.nodes["R2"].values)
    assert len(kept["R2"].start) == NODE_STEPS
    assert {f.issued for f in kept.values()} == {NOW}


async def test_a_limit_that_starts_within_a_quarter_hour_is_that_quarter_hours(issuer, monkeypatch):
    start = NOW - NOW % QUARTER_MS
    cut = LimitChange(start + QUARTER_MS + 600_000, start + 3 * QUARTER_MS, 120e3, "demand response")
    envelope = issuer._plant.envelope
    monkeypatch.setitem(envelope.nodes, envelope.root, replace(envelope.site, schedule=(cut,)))
    forecast = await issuer.issue()
    assert forecast.limit[:4].tolist() == [200e3, 120e3, 120e3, 200e3]
    assert forecast.breach_probability[1] > 0.9


async def test_when_the_fit_fails_a_simple_model_answers_and_says_so(issuer, monkeypatch):
    async def fail(task):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(issuer, "_in_child", fail)
    forecast = await issuer.issue()
    assert forecast.model == "seasonal naive"
    assert "out of memory" in forecast.quality
    assert issuer.counters["by_simple_model"] == 1
    assert (np.diff(forecast.values, axis=1) >= 0).all()


async def test_a_fit_that_takes_too_long_is_given_up_with_its_process_and_a_simple_model_answers(issuer):
    issuer._settings = AnalyticsSettings(timeout_seconds=0.1)  # a process has hardly begun by then
    before = set(psutil.Process().children(recursive=True))
    forecast = await issuer.issue()
    assert forecast.model == "seasonal naive"
    assert issuer.counters["by_simple_model"] == 1
    begun = [p for p in psutil.Process().children(recursive=True) if p not in before]
    fits = [p for p in begun if "spawn_main" in " ".join(p.cmdline())]
    _, alive = await asyncio.to_thread(psutil.wait_procs, fits, 60)
    assert alive == []


def test_the_simple_model_repeats_the_last_day_around_gaps(issuer):
    task = issuer._task(NOW - NOW % QUARTER_MS)
    task.power[-50:-40] = np.nan
    answer = seasonal_naive(task)
    assert isinstance(answer, Made)
    assert not np.isnan(answer.values).any()


async def test_the_model_is_kept_and_answers_again_without_a_new_fit(issuer, tmp_path):
    first = await issuer.issue()
    shelf = ModelShelf(tmp_path / "models")
    card = shelf.cards()[0]
    assert card.fitted == NOW
    second = await issuer.issue()
    assert [c.fitted for c in shelf.cards()] == [NOW]
    assert second.model == first.model
    assert second.values == pytest.approx(first.values, rel=0.05)


async def test_a_damaged_model_is_no_reason_not_to_forecast(issuer, tmp_path):
    await issuer.issue()
    shelf = ModelShelf(tmp_path / "models")
    shelf.path(shelf.cards()[0]).write_bytes(b"not a model")
    forecast = await issuer.issue()
    assert forecast.model.startswith("PowerForecaster")


def test_the_shelf_keeps_a_few_models_and_goes_back(tmp_path):
    shelf = ModelShelf(tmp_path)
    for fitted in range(1, 9):
        card = ModelCard(fitted, "", "", 0.0, "1", 0.8, 0.5)
        tmp_path.mkdir(exist_ok=True)
        shelf.path(card).write_bytes(b"model")
        shelf.put(card)
    assert [c.fitted for c in shelf.cards()] == [8, 7, 6, 5, 4]
    assert shelf.rollback().fitted == 7
    assert shelf.cards()[0].proven
    for _ in range(3):
        shelf.rollback()
    with pytest.raises(InputError, match="no older model"):
        shelf.rollback()


def test_a_kept_model_answers_where_nothing_newer_has_come(tmp_path):
    n = 12 * 96
    start = NOW - NOW % QUARTER_MS - QUARTER_MS * np.arange(n, dtype=np.int64)[::-1]
    power = 150e3 + 2e4 * np.sin(np.arange(n) * 2 * np.pi / 96) + np.random.default_rng(0).normal(0, 2e3, n)
    shelf = ModelShelf(tmp_path / "models")

    def issue(now):
        make_forecast(Task("lab", start, power, 96, 2e4, 3e5, "TW", "Asia/Taipei", tmp_path / "models", now))
        return [card.fitted for card in shelf.cards()]

    issue(NOW)
    judged = issue(NOW + 1)
    assert issue(NOW + 2) == judged


async def test_planned_work_reaches_the_forecast(issuer):
    hour = 4 * QUARTER_MS
    cutoff = NOW - NOW % QUARTER_MS
    past = [
        PlannedWork("jobs", f"j{i}", ("R1",), at - 3 * hour, at, known_since=at - 9 * hour, until=at)
        for i, at in enumerate(range(cutoff - 60 * hour, cutoff - 10 * hour, 4 * hour))
    ]
    off = PlannedWork("m", "R1 off", ("R1",), cutoff + hour, cutoff + 3 * hour, power=0.0, known_since=1)
    issuer._records.keep_past_schedule([*past, off])
    forecast = await issuer.issue()
    assert "with planned work" in forecast.model
    assert issuer.counters["planned_works"] == 1
    assert issuer.nodes["R1"].quantile(0.5)[5:11].max() < 1e3
    median = forecast.quantile(0.5)
    assert median[:3].mean() - median[5:11].mean() > 60e3


def test_racks_on_two_busways_add_up_to_the_site_with_what_else_it_draws(tmp_path):
    n = 3 * 96
    start = NOW - NOW % QUARTER_MS - QUARTER_MS * np.arange(n, dtype=np.int64)[::-1]
    wave = 1e4 * np.sin(np.arange(n) * 2 * np.pi / 96)
    nodes = {"R1": 8e4 + wave, "R2": 9e4 - 0.5 * wave, "B": 85e3 + 0.25 * wave}
    nodes["lab"] = nodes["R1"] + nodes["R2"] + 3e4
    below = {"R1": ("R1",), "R2": ("R2",), "B": ("R1", "R2")}
    task = Task(
        "lab", start, nodes["lab"], 96, 2e4, 3e5, "TW", "Asia/Taipei", tmp_path, NOW, nodes=nodes, below=below
    )
    made = make_forecast(task)
    assert set(made.nodes) == {"R1", "R2", "B", "lab"}
    total = made.nodes["R1"][:, 9] + made.nodes["R2"][:, 9] + 3e4
    assert total == pytest.approx(made.values[:24, 9], rel=0.01)


async def test_an_issued_forecast_carries_the_ramps_that_the_readings_tell_of(issuer):
    plant = issuer._plant
    times = np.arange(NOW - NOW % QUARTER_MS - 3 * QUARTER_MS, NOW, 2000)
    for rack, level in (("R1", 80e3), ("R2", 95e3)):
        point = int(plant.registry.select("Rack", "RackPower", rack)[0])
        swing = level - 30e3 * (times // 2000 % 20 == 0)
        await issuer._sink(Batch.of(np.full(len(times), point), times + 1, swing, received=NOW))
    forecast = await issuer.issue()
    assert forecast.ramps.up[1, 1] == pytest.approx(60e3, rel=0.3)
    assert issuer.nodes["R1"].ramps.down[0, 1] == pytest.approx(30e3, rel=0.3)
    told = issuer._risks(NOW)
    registry = plant.registry
    found = {
        (registry[int(i)].point_type, registry[int(i)].object_id): v
        for i, v in zip(told.point, told.value, strict=True)
    }
    assert found["ExpectedRise", "lab"] == pytest.approx(forecast.ramps.up[1, 2])
    assert found["ExpectedFall", "R1"] == pytest.approx(issuer.nodes["R1"].ramps.down[1, 2])
    within = issuer.outlooks["lab"].as_dict()["ramps"]["within"]
    assert [w["seconds"] for w in within] == [2, 10, 60, 900]
    assert within[1]["up"] == forecast.ramps.up[1].tolist()
