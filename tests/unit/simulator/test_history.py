import numpy as np
import orjson
import pytest

from collectors.mqtt.decoder import Decoder
from collectors.mqtt.settings import MqttSettings
from domain.batch import Batch
from domain.dsx import metadata_topic
from domain.envelope import QUARTER_MS
from domain.points import Point, PointRegistry
from domain.tray import tray_points
from simulator.bms import Bms
from simulator.history import RECENT_MS, UPS_POWERS, history
from tests.unit.simulator.factories import NOW, small_factory


@pytest.fixture(scope="module")
def laid():
    registry = PointRegistry()
    factory = small_factory(start=NOW - RECENT_MS)
    batches = list(history(factory, registry, NOW, days=2))
    return factory, registry, Batch.concat(batches)


def rows(laid, key):
    _, registry, batch = laid
    of = batch.point == registry.index(key)
    return batch.observed[of], batch.value[of]


def test_history_ends_where_the_live_factory_goes_on(laid):
    factory, _, batch = laid
    assert factory.time_ms == NOW
    assert batch.observed.max() == NOW
    live = small_factory(start=NOW - RECENT_MS)
    live.advance_to(NOW)
    assert np.array_equal(live.gpus.energy, factory.gpus.energy)
    observed, energy = rows(laid, "GPU/GpuEnergy/nvml/R001/T01/G0")
    assert energy[-1] == pytest.approx(live.gpus.energy[0], abs=0.01)
    assert observed[-1] == NOW


def test_keys_are_those_that_collectors_give(laid):
    factory, registry, _ = laid
    bms = Bms(factory)
    assert all(registry.index(key) is not None for key in bms.keys)
    for point in tray_points("R002", "T07", 4, source="tray:R002-T07"):
        index = registry.index(point.key)
        assert index is not None
        assert registry[index] == point


def test_the_points_themselves_are_those_of_the_mqtt_collector(laid):
    factory, registry, _ = laid
    seen = PointRegistry()
    decoder = Decoder(MqttSettings(), seen)
    bms = Bms(factory)
    messages = [
        (metadata_topic(key).encode(), orjson.dumps(payload), 0)
        for key, payload in zip(bms.keys, bms.payloads, strict=True)
    ]
    decoder.decode(messages, NOW)
    assert len(seen) == len(bms.keys)
    for point in seen:
        assert registry[registry.index(point.key)] == point


def test_the_past_is_told_in_quarter_hours_without_gaps(laid):
    factory, _, _ = laid
    key = f"PowerMeter/ActivePower/{factory.site.id}/FEED-A/power/activePower/value"
    observed, value = rows(laid, key)
    quarters = observed[observed < NOW - RECENT_MS]
    assert len(quarters) == 2 * 96 + 1  # with the one that has begun
    assert (np.diff(quarters) == QUARTER_MS).all()
    assert (quarters % QUARTER_MS == 0).all()
    assert 0.3e6 < value.min() < value.max() < 0.9e6


def test_quarter_hours_and_the_last_minutes_are_of_one_kind(laid):
    factory, _, _ = laid
    for key in (
        f"PowerMeter/ActivePower/{factory.site.id}/FEED-A/power/activePower/value",
        f"Rack/RackLiquidReturnTemperature/{factory.site.id}/P01/R008/energyValve/returnTemperature/value",
        f"CDU/PumpSpeed/{factory.site.id}/P01/P01-CDU1/secondary/pump/pump1/speed/value",
    ):
        observed, value = rows(laid, key)
        recent = value[observed >= NOW - RECENT_MS]
        past = value[observed < NOW - RECENT_MS]
        assert len(recent) > 3
        assert past.min() * 0.85 < recent.mean() < past.max() * 1.15


def test_no_reading_is_laid_down_twice_and_none_is_missing(laid):
    _, _, batch = laid
    pairs = batch.point.astype(np.int64) * 2**41 + batch.observed % 2**41
    assert len(np.unique(pairs)) == len(pairs)
    assert np.isfinite(batch.value).all()


def test_every_gpu_has_its_fields_in_the_last_minutes(laid):
    _, registry, batch = laid
    told = set(batch.point[batch.observed >= NOW - RECENT_MS].tolist())
    for field in (
        "GpuPower",
        "GpuTemperature",
        "GpuUtilization",
        "GpuClock",
        "GpuAvailable",
        "GpuMemoryTotal",
    ):
        assert registry.index(f"GPU/{field}/nvml/R008/T18/G3") in told


def test_what_upses_take_and_give_is_laid_down_where_their_collector_files_it():
    factory, registry = small_factory(start=NOW - RECENT_MS), PointRegistry()
    upses = factory.layout.ups
    ups = {
        power: np.array(
            [registry.register(Point(f"{power}/{u}", "UPS", power, u, unit="W")) for u in upses], np.int32
        )
        for power in UPS_POWERS
    }
    batch = Batch.concat(list(history(factory, registry, NOW, days=1, ups=ups)))
    feeds = [
        registry.index(f"PowerMeter/ActivePower/{factory.site.id}/{f}/power/activePower/value")
        for f in factory.layout.feeds
    ]

    def sums(points):
        of = np.isin(batch.point, points) & (batch.observed < NOW - RECENT_MS)
        starts, place = np.unique(batch.observed[of], return_inverse=True)
        return starts, np.bincount(place, batch.value[of])

    (starts, given), (_, taken), (_, drawn) = sums(ups["ActivePower"]), sums(ups["InputPower"]), sums(feeds)
    assert len(starts) == 97  # a day, and the quarter hour that has begun
    assert (taken / given > 1.01).all()
    assert (taken / given < 1.08).all()
    assert (drawn / given > 1.1).all()
    assert (drawn / given < 1.35).all()
    recent = batch.observed[(batch.point == ups["ActivePower"][0]) & (batch.observed >= NOW - RECENT_MS)]
    assert (np.diff(recent) == 10_000).all()
    newest = batch.value[(batch.point == ups["InputPower"][0]) & (batch.observed == NOW)]
    assert newest == pytest.approx(factory.state.ups_in[0], abs=1)


def test_the_live_twin_goes_on_from_the_very_state_in_which_the_laid_down_past_ends():
    past, live = small_factory(start=NOW - RECENT_MS), small_factory(start=NOW - RECENT_MS)
    for _ in history(past, PointRegistry(), NOW, days=0.1):
        pass
    live.advance_to(NOW)  # as the simulator's process does before it tells anything
    assert past.time_ms == live.time_ms == NOW
    for quantity in ("power", "flow", "ret", "cdu_flow", "ups_in"):
        assert np.array_equal(getattr(past.state, quantity), getattr(live.state, quantity))
    assert np.array_equal(past.gpus.die, live.gpus.die)
