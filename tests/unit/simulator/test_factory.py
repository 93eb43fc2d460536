import numpy as np
import pytest

from domain.errors import InputError
from simulator.factory import Factory
from simulator.options import SITE, read_site
from tests.unit.simulator.factories import NOW, SMALL, small_factory

FULL = read_site(SITE)


def test_two_factories_of_one_seed_are_the_same_to_the_last_bit():
    one, two = small_factory(), small_factory()
    one.advance_to(NOW + 90_000)
    for _ in range(90):
        two.step()
    assert one.time_ms == two.time_ms
    assert np.array_equal(one.gpus.die, two.gpus.die)
    assert np.array_equal(one.gpus.energy, two.gpus.energy)
    assert one.state.site == two.state.site
    assert not np.array_equal(one.gpus.silicon, small_factory(seed=2).gpus.silicon)


def test_a_settled_factory_does_not_jump_when_it_starts_to_move():
    factory = small_factory()
    before = float(factory.state.site)
    factory.step()
    assert float(factory.state.site) == pytest.approx(before, rel=0.03)


def test_over_a_fortnight_the_full_factory_stays_near_but_under_its_limit():
    factory = Factory(FULL, 1, NOW)
    times = np.arange(NOW - 14 * 86_400_000, NOW, 900_000)
    power = factory.rack_power(factory.workload.activity(times))
    site = factory.plant.settle(power, wet_bulb=factory.workload.wet_bulb(times), rounds=4).site
    assert 14.8e6 < np.quantile(site, 0.99) < FULL.limit
    assert 13e6 < site.mean() < 15e6
    assert site.min() > FULL.idle


def test_gpus_draw_what_their_rack_does_and_their_energy_is_the_integral_of_their_power():
    factory = small_factory()
    energy, total = factory.gpus.energy.copy(), 0.0
    for _ in range(20):
        factory.step()
        total += factory.gpus.power.sum()
    assert (factory.gpus.energy - energy).sum() == pytest.approx(total)
    expected = factory.plant.model.rack.power(factory.gpus.rack_power())
    assert factory.state.power == pytest.approx(expected)
    assert factory.gpus.power.max() < 1400
    assert 40 < factory.gpus.die.mean() < factory.plant.model.gpu.slowdown


def test_gpus_have_names_by_rack_and_tray():
    factory = small_factory()
    assert factory.gpu_name(0) == ("R001", "T01", 0)
    assert factory.gpu_name(75) == ("R002", "T01", 3)
    assert factory.gpu_name(factory.layout.gpus - 1) == ("R008", "T18", 3)


def test_losing_the_coolant_throttles_gpus_before_anything_melts():
    factory = small_factory()
    factory.raise_fault("pod-cooling-loss", "P01", severity=1.0, duration_s=600)
    factory.advance_to(NOW + 120_000)
    assert factory.gpus.throttle.max() > 0.3
    assert factory.gpus.die.max() < factory.plant.model.gpu.shutdown
    assert (factory.gpus.throttle_reasons().astype(int) & 0x40).any()


def test_a_fault_that_does_not_exist_or_hits_the_wrong_thing_is_told_with_a_remedy():
    factory = Factory(SMALL, 1, NOW)
    with pytest.raises(InputError, match="did you mean 'cdu-trip'"):
        factory.raise_fault("cdu-tripp", "P01-CDU1")
    with pytest.raises(InputError, match="happens to a cdu, and 'R001' is none; write one such as P01-CDU1"):
        factory.raise_fault("cdu-trip", "R001")
    with pytest.raises(InputError, match="severity"):
        factory.raise_fault("cdu-trip", "P01-CDU1", severity=-1)
