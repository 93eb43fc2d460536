import numpy as np
import pytest

from domain.errors import InputError
from domain.plant.conditions import Conditions
from domain.plant.layout import PlantLayout
from domain.plant.model import Plant
from domain.plant.power import UpsModel, line_current, share_taps
from domain.site import Site
from simulator.options import SITE, read_site

FULL = read_site(SITE)
LAYOUT = PlantLayout.of(FULL)
RACKS = len(LAYOUT.racks)


@pytest.fixture(scope="module")
def plant():
    rng = np.random.default_rng(5)
    share = rng.uniform(0.4, 0.6, RACKS)
    return Plant(LAYOUT, tap_share=np.stack([share, 1 - share], -1))


def test_taps_sum_to_their_rack_busways_to_their_racks_and_feeds_to_the_site(plant):
    power = np.random.default_rng(1).uniform(40e3, 132e3, RACKS)
    state = plant.settle(power, wet_bulb=20.0)
    assert state.taps.sum(-1) == pytest.approx(power)
    for pod in range(12):
        assert state.busways[2 * pod : 2 * pod + 2].sum() == pytest.approx(power[8 * pod : 8 * pod + 8].sum())
    assert state.feeds.sum() == pytest.approx(state.site)
    assert state.site == pytest.approx(state.ups_in.sum() + state.mechanical)


def test_the_site_draws_16_mw_at_132_kw_a_rack_and_breaks_its_envelope_at_140(plant):
    site = {kw: float(plant.settle(np.full(RACKS, kw * 1e3), wet_bulb=22.0).site) for kw in (40, 132, 140)}
    assert site[132] == pytest.approx(16.0e6, rel=0.005)
    assert site[140] > FULL.limit * 1.04
    assert FULL.idle < site[40] < site[132] < FULL.installed


def test_it_power_is_12_7_mw_of_racks_and_three_quarters_of_a_megawatt_of_network_and_storage(plant):
    state = plant.settle(np.full(RACKS, 132e3))
    assert float(state.it) == pytest.approx(12.67e6 + 0.75e6, rel=0.002)
    assert float(state.site / state.it) == pytest.approx(1.19, abs=0.02)


def test_a_lost_feed_puts_its_upses_on_battery_until_they_are_empty_and_the_other_side_takes_over(plant):
    power = np.full(RACKS, 120e3)
    state = plant.settle(power)
    conditions = Conditions.healthy(LAYOUT)
    conditions.feed_available[0] = 0
    a, b = LAYOUT.ups_feed == 0, LAYOUT.ups_feed == 1
    plant.step(state, power, conditions, 1.0)
    assert (state.ups_on_battery[a] > 0).all()
    assert not (state.ups_on_battery[b] > 0).any()
    assert state.taps[:, 0].min() > 0
    charge = state.ups_charge[a].copy()
    plant.step(state, power, conditions, 60.0)
    assert (state.ups_charge[a] < charge).all()
    for _ in range(100):
        plant.step(state, power, conditions, 20.0)
    assert state.taps[:, 0].sum() == 0
    assert state.taps[:, 1] == pytest.approx(power)
    assert state.feeds[0] == 0
    assert state.power == pytest.approx(power)


def test_a_rack_without_a_live_tap_draws_nothing(plant):
    conditions = Conditions.healthy(LAYOUT)
    conditions.tap_available[3] = 0
    state = plant.settle(np.full(RACKS, 100e3), conditions)
    assert state.power[3] == 0
    assert state.power[4] == 100e3


def test_a_ups_loses_about_four_percent_and_its_battery_lasts_minutes():
    model = UpsModel()
    rating, load = np.array([2.4e6]), np.array([1.1e6])
    assert 0.03 < float(model.loss(load, rating)[0] / load[0]) < 0.05
    assert model.runtime_left(np.ones(1), rating, rating, np.ones(1)) == pytest.approx(300.0)
    after = model.charge(np.ones(1), rating, rating, np.ones(1), np.ones(1), 150.0)
    assert after == pytest.approx(0.5)
    worn = model.charge(np.ones(1), rating, rating, np.ones(1), np.full(1, 0.5), 150.0)
    assert worn == pytest.approx(0.0)


def test_a_dead_taps_share_moves_over():
    share = np.array([[0.4, 0.6], [0.5, 0.5]])
    moved = share_taps(share, np.array([[0.0, 1.0], [0.0, 0.0]]))
    assert moved.tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_line_current_of_a_balanced_load():
    assert line_current(np.array([132e3]), 415.0, np.array([0.98])) == pytest.approx(187.4, abs=0.1)
    assert line_current(np.array([1e3]), 0.0, np.array([0.98])) == 0.0


def site_with(**changes):
    return Site.model_validate(FULL.model_dump() | changes)


def test_a_site_that_the_model_cannot_run_is_told_why():
    no_ups = [n for n in FULL.model_dump()["nodes"] if n["type"] != "UPS"]
    for node in no_ups:
        if node["type"] == "Feed":
            node["serves"] = ("P01-BUS-A",)
    with pytest.raises(InputError, match="no UPS serves P01-BUS-A"):
        PlantLayout.of(site_with(nodes=no_ups))
    pods = list(FULL.model_dump()["pods"])
    pods[0] = pods[0] | {"cdus": ()}
    with pytest.raises(InputError, match="P01 has no CDU"):
        PlantLayout.of(site_with(pods=pods))
    orphan = [n for n in FULL.model_dump()["nodes"] if n["id"] != "FEED-B"]
    with pytest.raises(InputError, match="no feed serves UPS-B1"):
        PlantLayout.of(site_with(nodes=orphan))
