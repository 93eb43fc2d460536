from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from alerts.settings import AlertSettings
from analytics.outlook.excursions import exceedance
from analytics.outlook.whatif import AddedJob, MovedJob, Present, Scenario, WhatIf
from domain.batch import Batch, now_ms
from domain.breaches import breach_ahead
from domain.envelope import QUARTER_MS
from domain.errors import InputError
from domain.forecast import QUANTILES, Forecast
from domain.points import Point, PointRegistry
from domain.site import Site, ThermalLimits
from service.configuration import SHIPPED, load
from service.system import System
from simulator.factory import Factory
from storage.latest import LatestValues
from storage.plant import PlantView

SITE = load(SHIPPED / "site.yaml", Site)
NOW = 1_790_000_000_000 // QUARTER_MS * QUARTER_MS
WHAT_IF = WhatIf(SITE)


def present(kw=110.0):
    n = len(SITE.racks)
    return Present(np.full(n, kw * 1e3), np.full(n, 32.5), np.full(n, 44.0), np.full(n, 68.0))


def forecast(level=14.5e6, spread=0.2e6):
    values = level + spread * np.linspace(-1.6, 1.6, 19)[None, :].repeat(192, 0)
    limit = np.full(192, SITE.limit)
    return Forecast(
        SITE.id, "ActivePower", "W", NOW, NOW, 15, NOW + QUARTER_MS * np.arange(192), QUANTILES, values, limit,
        exceedance(values, QUANTILES, limit), "test",
    )  # fmt: skip


def test_nothing_lost_changes_nothing():
    answer = WHAT_IF.ask(Scenario(), present(), forecast(), NOW)
    assert answer.hot == ()
    assert answer.overloaded == ()
    assert all(n.after == pytest.approx(n.before) for n in answer.nodes)
    assert answer.forecast.values == pytest.approx(forecast().values)


def test_one_cdu_of_a_redundant_pair_may_be_lost():
    answer = WHAT_IF.ask(Scenario(lost=("P01-CDU1",)), present(), None, NOW)
    assert not [h for h in answer.hot if h.quantity == "gpu"]


def test_both_cdus_of_a_pod_lost_heat_its_racks_and_no_others_within_minutes():
    answer = WHAT_IF.ask(Scenario(lost=("P01-CDU1", "P01-CDU2")), present(), None, NOW)
    pod = set(SITE.pods[0].racks)
    assert {h.rack for h in answer.hot} == pod
    assert min(h.seconds for h in answer.hot) < 600
    assert all(h.peak > h.limit for h in answer.hot)


def test_the_time_to_a_limit_without_cooling_is_that_of_the_simulator():
    # under 85 Cel, where the simulator's GPUs begin to throttle: what-if takes the load to stay
    limits = ThermalLimits(gpu=83.0, coolant_supply=40.0, coolant_return=52.0)
    site = SITE.model_copy(update={"thermal": limits})
    factory = Factory(site, 3, NOW)
    factory.advance_to(NOW + 60_000)

    def temperatures():
        state, racks = factory.state, len(site.racks)
        return np.stack([state.supply, state.ret, factory.gpus.die.reshape(racks, -1).max(1)])

    present = Present(factory.state.power.copy(), *temperatures())
    answer = WhatIf(site).ask(Scenario(lost=("P01-CDU1", "P01-CDU2")), present, None, factory.time_ms)
    factory.raise_fault("pod-cooling-loss", "P01", duration_s=3600.0)
    bounds = np.array([40.0, 52.0, 83.0])[:, None]
    passed = np.full((3, len(site.racks)), np.inf)
    for second in range(1, 181):
        factory.step(1.0)
        passed = np.where((temperatures() > bounds) & np.isinf(passed), second, passed)
    told = np.full(passed.shape, np.inf)
    for heat in answer.hot:
        told[("supply", "return", "gpu").index(heat.quantity), site.racks.index(heat.rack)] = heat.seconds
    assert (np.isfinite(told) == np.isfinite(passed)).all()
    pod = np.isfinite(passed).all(axis=0)
    assert pod.sum() == len(site.pods[0].racks)
    assert told[:2, pod] == pytest.approx(passed[:2, pod], abs=10)
    assert told[2, pod] == pytest.approx(passed[2, pod], abs=20)


def test_one_lost_cdu_takes_no_rack_of_the_simulator_past_its_limits_either():
    factory = Factory(SITE, 3, NOW)
    factory.advance_to(NOW + 60_000)
    state = factory.state
    gpu = factory.gpus.die.reshape(len(SITE.racks), -1).max(1)
    present = Present(state.power.copy(), state.supply.copy(), state.ret.copy(), gpu)
    assert WHAT_IF.ask(Scenario(lost=("P01-CDU1",)), present, None, NOW).hot == ()
    factory.raise_fault("cdu-trip", "P01-CDU1")
    factory.advance_to(factory.time_ms + 600_000, 5.0)
    assert factory.state.ret.max() < SITE.thermal.coolant_return
    assert factory.gpus.die.max() < SITE.thermal.gpu


def test_a_lost_feed_moves_its_load_to_the_other_and_loads_batteries():
    answer = WHAT_IF.ask(Scenario(lost=("FEED-A",)), present(), None, NOW)
    nodes = {n.id: n for n in answer.nodes}
    assert nodes["FEED-A"].after == 0
    assert {u for u in answer.on_battery if u.startswith("UPS-A")} or nodes["UPS-B1"].after > nodes[
        "UPS-B1"
    ].before
    assert answer.unpowered_racks == ()


def test_a_lost_ups_overloads_its_twin_only_where_the_load_is_high():
    high = WHAT_IF.ask(Scenario(lost=("UPS-A1",)), present(130.0), None, NOW)
    nodes = {n.id: n for n in high.nodes}
    assert nodes["UPS-A1"].after == 0
    assert nodes["UPS-B1"].after == pytest.approx(nodes["UPS-B1"].before * 2, rel=0.1)


def test_a_job_raises_the_forecast_from_its_start_and_with_it_the_risk():
    start = NOW + 8 * QUARTER_MS
    answer = WHAT_IF.ask(Scenario(jobs=(AddedJob(60, start),)), present(), forecast(), NOW)
    risk = answer.forecast.breach_probability
    assert risk[:8].max() < 0.05
    assert risk[8:].min() > 0.3
    assert answer.shed[0] == 0
    assert answer.shed[20] > 1e5
    assert list(answer.breached_by) == sorted(answer.breached_by)


def test_a_lower_limit_is_honoured():
    answer = WHAT_IF.ask(Scenario(limit=14.5e6), present(), forecast(), NOW)
    assert answer.forecast.breach_probability == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "scenario",
    [Scenario(lost=("CDU-99",)), Scenario(jobs=(AddedJob(97, NOW),)), Scenario(jobs=(AddedJob(0, NOW),))],
)
def test_what_the_site_does_not_have_is_an_error(scenario):
    with pytest.raises(InputError, match="Taipei"):
        WHAT_IF.ask(scenario, present(), None, NOW)


def test_a_question_that_changes_nothing_tells_the_risk_as_the_header_and_the_alert_do():
    issued = forecast()
    issued = replace(issued, breach_probability=np.full(len(issued.start), 0.2))
    later = NOW + 2 * QUARTER_MS
    answer = WHAT_IF.ask(Scenario(), present(), issued, later)
    ahead = breach_ahead(issued, later, 6 * 3600)
    last = int(ahead.coming[-1])
    assert answer.breached_by[last] == ahead.chance > 0.3
    over = issued.start + QUARTER_MS <= later
    assert over.any()
    assert not np.array(answer.breached_by)[over].any()


def test_now_is_what_is_measured_and_what_changes_is_counted_from_there():
    model = WHAT_IF.ask(Scenario(), present(), None, NOW)
    measured = {n.id: 0.7 * n.before for n in model.nodes if n.kind in ("Site", "Feed", "UPS")}
    seen = Present(*(getattr(present(), name) for name in ("power", "supply", "ret", "gpu")), nodes=measured)
    calm = {n.id: n for n in WHAT_IF.ask(Scenario(), seen, None, NOW).nodes}
    assert {name: calm[name].before for name in measured} == measured
    assert all(n.after == n.before for n in calm.values())
    lost = {n.id: n for n in WHAT_IF.ask(Scenario(lost=("FEED-A",)), seen, None, NOW).nodes}
    assert lost["FEED-A"].after == 0.0
    physics = {n.id: n for n in WHAT_IF.ask(Scenario(lost=("FEED-A",)), present(), None, NOW).nodes}
    assert lost["FEED-B"].after == pytest.approx(0.7 * physics["FEED-B"].after)


def test_what_nothing_measures_is_worked_out_from_the_racks():
    model = WHAT_IF.ask(Scenario(), present(), None, NOW)
    seen = Present(
        *(getattr(present(), name) for name in ("power", "supply", "ret", "gpu")), nodes={"FEED-A": 5e6}
    )
    now = {n.id: n.before for n in WHAT_IF.ask(Scenario(), seen, None, NOW).nodes}
    assert now["FEED-A"] == 5e6
    assert now["FEED-B"] == next(n.before for n in model.nodes if n.id == "FEED-B")


def test_now_is_not_what_a_rack_told_before_it_fell_silent():
    """Through the service's own way of asking."""
    registry = PointRegistry(
        Point(f"Rack/RackPower/{rack}", "Rack", "RackPower", rack, unit="W") for rack in SITE.racks[:2]
    )
    latest = LatestValues(registry)
    now = now_ms()
    latest.update(Batch.of([0, 1], [now - 1000, now - 600_000], [50e3, 70e3]))
    service = SimpleNamespace(
        plant=PlantView(SITE, registry, latest, None),
        configuration=SimpleNamespace(alerts=AlertSettings(rules=())),
        records=SimpleNamespace(latest_forecast=lambda *_: None),
        site=SITE,
    )
    told = {n.id: n.before for n in System.what_if(service, Scenario()).nodes}
    seen = Present.of(service.plant, now - 300_000)
    assert seen.power[0] == 50e3
    assert np.isnan(seen.power[1])
    assert told[SITE.racks[0]] == 50e3
    assert told[SITE.racks[1]] != 70e3


def test_a_lost_busway_is_taken_over_by_the_other_of_its_pod():
    answer = WHAT_IF.ask(Scenario(lost=("P01-BUS-A",)), present(), None, NOW)
    loads = {n.id: n for n in answer.nodes}
    assert loads["P01-BUS-A"].after == 0
    assert loads["P01-BUS-B"].after == pytest.approx(8 * 110e3)
    assert answer.unpowered_racks == ()


def test_hotter_weather_costs_power_for_cooling_and_warms_the_water():
    answer = WHAT_IF.ask(Scenario(warmer=8.0), present(), forecast(), NOW)
    more = answer.forecast.values - forecast().values
    assert 20e3 < more.mean() < 500e3
    assert answer.nodes[0].after > answer.nodes[0].before
    with pytest.raises(InputError, match="0 to 25 K"):
        WHAT_IF.ask(Scenario(warmer=-1.0), present(), None, NOW)


def test_a_moved_job_draws_its_power_later_and_none_of_it_where_it_was():
    hour = 3_600_000
    job = MovedJob(SITE.racks[:8], NOW + 2 * hour, NOW + 10 * hour, 4.0, 120e3)
    change = (
        WHAT_IF.ask(Scenario(moved=(job,)), present(), forecast(), NOW).forecast.values - forecast().values
    )
    assert change[8:24].max() < -0.5e6
    assert change[40:56].min() > 0.5e6
    assert change[8:24].sum() + change[40:56].sum() == pytest.approx(0.0, abs=1.0)
    assert abs(change[:8]).max() == abs(change[24:40]).max() == pytest.approx(0.0)
    with pytest.raises(InputError, match="no such racks"):
        WHAT_IF.ask(Scenario(moved=(MovedJob(("R999",), NOW, NOW),)), present(), None, NOW)


def test_a_job_that_runs_now_and_is_moved_away_leaves_its_racks_idle():
    job = MovedJob(SITE.racks[:8], NOW - 3_600_000, NOW + 7_200_000)
    loads = {n.id: n for n in WHAT_IF.ask(Scenario(moved=(job,)), present(), None, NOW).nodes}
    assert loads["R001"].after < 0.3 * loads["R001"].before
    assert loads["R009"].after == loads["R009"].before
