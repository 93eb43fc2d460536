"""The twin made unlike the model that everybody assumes."""

import numpy as np
import pytest

from domain.errors import InputError
from domain.points import PointRegistry
from simulator.bms import Bms
from simulator.factory import Factory
from simulator.history import RECENT_MS, history
from simulator.instruments import HOLD_MS
from simulator.options import SITE, parse, read_site
from simulator.roughness import DAY_MS
from simulator.sizing import first_racks
from tests.unit.simulator.factories import NOW

FOUR_PODS = first_racks(read_site(SITE), 32)


def rough(level: int, start: int = NOW, began: int | None = None) -> Factory:
    return Factory(FOUR_PODS, 5, start, roughness=level, began_ms=began)


def test_on_a_plain_plant_all_objects_of_a_kind_are_alike_and_instruments_add_nothing_but_their_noise():
    factory = rough(0)
    bms = Bms(factory)
    bms.noise[:] = 0.0
    exact = (bms.exact() - bms.offset) / bms.scale
    assert np.allclose(bms.read().value, exact, atol=0.51 * bms.resolution)
    assert np.ptp(factory.plant.built.rack_valve) == 0.0
    assert bms.present.all()
    assert factory.live.all()
    assert not factory.roughness.works


def test_the_rougher_the_plant_the_more_its_racks_differ_in_flow_for_the_same_power():
    spread = []
    for level in (0, 1, 2):
        factory = rough(level)
        watered = factory.live & ~factory.plant.built.air_cooled
        per_watt = factory.state.flow[watered] / factory.state.power[watered]
        spread.append(np.std(np.log(per_watt)))
    assert spread[0] < 0.01
    assert spread[1] > 0.04
    assert spread[2] > 1.5 * spread[1]


def test_noise_doubles_with_each_level():
    quiet, loud = Bms(rough(0)), Bms(rough(2))
    assert np.array_equal(loud.noise, 4.0 * quiet.noise)


def test_an_air_cooled_rack_draws_some_forty_kilowatts_and_no_instrument_of_coolant_is_told_of():
    factory = rough(1)
    air = np.flatnonzero(factory.plant.built.air_cooled & factory.live)
    full = factory.plant.rack_power(factory.gpus.tdp.reshape(32, -1).sum(-1))[air]
    assert ((full > 30e3) & (full < 50e3)).all()
    assert (factory.state.flow[air] < 1e-6).all()
    bms = Bms(factory)
    name = factory.layout.racks[air[0]]
    told = {
        p.point.point_type
        for p, there in zip(bms.points, bms.present, strict=True)
        if there and p.point.object_id == name
    }
    assert "RackPower" in told
    assert not {t for t in told if t.startswith("RackLiquid")}


def test_gpus_of_an_air_cooled_rack_run_warmer_than_their_aisle_and_do_not_throttle_for_it():
    factory = rough(1)
    factory.advance_to(NOW + 600_000, 20.0)
    air = factory.plant.built.air_cooled & factory.live
    die = factory.gpus.die.reshape(32, -1)[air]
    assert (die > 25.0).all()
    assert (factory.gpus.throttle.reshape(32, -1)[air] < 0.05).all()


def test_a_plant_is_commissioned_pod_by_pod_and_what_is_not_there_yet_tells_nothing():
    factory = rough(1)
    dark = ~factory.live
    assert dark.sum() == 8
    bms = Bms(factory)
    last = factory.layout.racks[-1]
    power = next(
        i for i, p in enumerate(bms.points) if (p.point.object_id, p.point.point_type) == (last, "RackPower")
    )
    assert np.isnan(bms.read().value[power])
    assert factory.state.power[-1] == 0.0
    later = rough(1, NOW + 3 * DAY_MS, NOW)
    assert later.live.all()
    assert Bms(later).read().value[power] > 10.0


def test_a_factory_that_is_started_again_has_the_valves_that_its_works_left():
    end = NOW + 6 * DAY_MS
    through, again = rough(2), rough(2, end, NOW)
    through.advance_to(end, 3600.0)
    assert through.works_done == again.works_done > 3
    assert np.array_equal(through.plant.built.rack_valve, again.plant.built.rack_valve)
    assert not np.array_equal(through.plant.built.rack_valve, rough(2).plant.built.rack_valve)


def test_a_cdu_is_stopped_for_its_service_and_runs_again():
    factory = rough(2)
    work = next(w for w in factory.roughness.works if w.what == "service")
    cdu = factory.layout.cdus.index(work.target)
    factory.advance_to(work.start - 60_000, 60.0)
    flows = []
    for _ in range((work.end - work.start) // 60_000 + 10):
        factory.step(60.0)
        flows.append(factory.state.cdu_flow[cdu])
    assert min(flows) == 0.0
    assert flows[-1] > 0.0


def test_some_firmware_holds_a_value_for_ten_seconds():
    factory = rough(2)
    bms = Bms(factory)
    holding = bms.instruments._hold & bms.present & (bms.noise > 20 * bms.resolution / 100)
    told = []
    for _ in range(3 * HOLD_MS // 1000):
        factory.step(1.0)
        told.append(bms.read().value[holding])
    table = np.array(told)
    changes = ((np.diff(table, axis=0) != 0) & np.isfinite(np.diff(table, axis=0))).sum(axis=0)
    # thirty seconds hold at most three changes of a held value, but for what a gap hides
    assert np.median(changes) <= 3


def test_history_of_a_rough_plant_holds_only_what_was_there():
    factory = rough(1, NOW - RECENT_MS, NOW - RECENT_MS)
    registry = PointRegistry()
    batches = list(history(factory, registry, NOW - RECENT_MS + 5_000, days=0.5))
    told = set()
    for batch in batches:
        assert np.isfinite(batch.value).all()
        told |= set(batch.point.tolist())
    assert all(i >= 0 for i in told)
    last = factory.layout.racks[-1]
    assert not [i for i in told if registry[i].object_id == last and registry[i].object_type == "Rack"]


def test_the_command_line_takes_a_roughness_and_refuses_one_that_there_is_not():
    _, options, _ = parse(["--roughness", "2", "--began-ms", "5"], "simulator")
    assert (options.roughness, options.began_ms) == (2, 5)
    with pytest.raises(InputError, match="choose from 0, 1, 2"):
        rough(3)
