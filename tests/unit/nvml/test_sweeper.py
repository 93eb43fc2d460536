"""The real nvidia-ml-py on a C stand-in with four GPUs."""

import time

import pytest

from collectors.nvml.probe import examine, probe
from collectors.nvml.sweeper import Sweeper
from domain.errors import SourceError
from domain.tray import GPU_FIELDS
from service.configuration import load_gpu_health

WIDTH = len(GPU_FIELDS)
NOW = 1_800_000_000_000


def reading(values, gpu, point_type):
    return values[gpu * WIDTH + GPU_FIELDS.index(point_type)]


class Clock:
    """Seconds that only a test lets pass."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def sweeper(standin):
    sweeper = Sweeper(standin.nvml, slow_every=1)
    yield sweeper
    sweeper.close()


def two_sweeps(sweeper, seconds=0.12):
    sweeper.sweep(NOW)
    time.sleep(seconds)
    return sweeper.sweep(NOW + 1000)


def test_four_gpus_are_found(sweeper):
    values = sweeper.sweep(NOW)
    assert len(values) == 4 * WIDTH
    assert sweeper.driver == "999.12"
    assert [s.name for s in sweeper.slots] == ["Stand-in GPU"] * 4


def test_power_is_the_energy_counters_growth(sweeper):
    values = two_sweeps(sweeper)
    assert reading(values, 0, "GpuPower") == pytest.approx(700, rel=0.01)
    assert reading(values, 3, "GpuPower") == pytest.approx(850, rel=0.01)


def test_before_there_is_a_difference_power_is_the_instantaneous_one(sweeper):
    assert reading(sweeper.sweep(NOW), 1, "GpuPower") == 750.0


def test_an_energy_counter_that_was_reset_gives_no_negative_power(sweeper, standin):
    two_sweeps(sweeper)
    standin.reset_energy(0)
    assert reading(sweeper.sweep(NOW), 0, "GpuPower") == 700.0


def test_values_are_in_canonical_units(sweeper):
    values = two_sweeps(sweeper)
    told = {name: reading(values, 0, name) for name in GPU_FIELDS}
    assert told["GpuPowerInstant"] == 700.0
    assert told["GpuModulePower"] == 770.0
    assert told["GpuPowerLimit"] == 1200.0
    assert told["GpuEnergy"] == pytest.approx(1e6, rel=0.01)
    assert told["GpuUtilization"] == 0.97
    assert told["GpuClock"] == 1.965e9
    assert told["GpuMemoryUsed"] == 150 * 2**30
    assert told["GpuTemperature"] == 45
    assert told["GpuMemoryTemperature"] == 53
    assert told["GpuMemoryTemperatureLimit"] == 105
    assert told["GpuNvlinkTransmit"] == 1138 * 1024
    assert told["GpuAvailable"] == 1


def test_two_kinds_of_remapped_rows_are_added(sweeper):
    assert reading(sweeper.sweep(NOW), 0, "GpuRowsRemapped") == 3


def test_the_margin_is_told_in_every_sweep(standin):
    sweeper = Sweeper(standin.nvml, slow_every=3)
    assert [reading(sweeper.sweep(NOW), 0, "GpuTemperatureMargin") for _ in range(3)] == [40, 40, 40]
    sweeper.close()


def test_where_there_is_only_a_margin_it_is_added_to_the_temperature(sweeper):
    assert reading(sweeper.sweep(NOW), 0, "GpuTemperatureLimit") == 45 + 40


@pytest.mark.parametrize(
    "point_type", ["GpuFanSpeed", "GpuEccUncorrected", "GpuNvlinkErrors", "GpuPcieReceive"]
)
def test_an_unsupported_or_blank_field_is_missing_not_zero(sweeper, point_type):
    assert reading(two_sweeps(sweeper), 0, point_type) is None


def test_with_mig_utilization_is_missing_and_power_counted_once(sweeper, standin):
    standin.mig(2, 1)
    values = two_sweeps(sweeper)
    assert reading(values, 2, "GpuUtilization") is None
    assert reading(values, 2, "GpuPower") == pytest.approx(800, rel=0.01)
    assert len(values) == 4 * WIDTH


def test_a_lost_gpu_keeps_its_slot_and_comes_back_to_it(sweeper, standin):
    sweeper.sweep(NOW)
    standin.lose(1, 1)
    values = sweeper.sweep(NOW)
    assert reading(values, 1, "GpuAvailable") == 0
    assert reading(values, 1, "GpuPower") is None
    assert reading(values, 2, "GpuPowerInstant") == 800.0
    assert reading(sweeper.sweep(NOW), 2, "GpuPowerInstant") == 800.0
    standin.lose(1, 0)
    assert reading(sweeper.sweep(NOW), 1, "GpuPowerInstant") == 750.0


@pytest.mark.parametrize("code", [999, 15, 3, 10], ids=["unknown", "lost", "not-supported", "timeout"])
def test_a_call_for_all_fields_that_fails_does_not_lose_a_gpu_whose_other_calls_answer(
    sweeper, standin, code
):
    standin.fields_fail(code)
    values = two_sweeps(sweeper)
    assert [reading(values, gpu, "GpuAvailable") for gpu in range(4)] == [1] * 4
    assert reading(values, 0, "GpuTemperature") == 45
    assert reading(values, 0, "GpuPowerAverage") == 700
    assert reading(values, 0, "GpuPower") == pytest.approx(
        700, rel=0.01
    )  # of the energy that another call tells
    assert "fields" in sweeper.slots[0].faults
    standin.fields_fail(0)
    assert reading(sweeper.sweep(NOW), 0, "GpuMemoryTemperature") == 53
    assert "fields" not in sweeper.slots[0].faults


def test_an_energy_counter_that_stands_still_is_no_power_of_zero(standin):
    clock = Clock()
    sweeper = Sweeper(standin.nvml, slow_every=1000, clock=clock)
    standin.stuck(1)
    told = []
    for _ in range(30):
        told.append(reading(sweeper.sweep(NOW), 0, "GpuPower"))
        clock.now += 1
    assert told == [700.0] * 30
    assert "stands still" in sweeper.slots[0].faults["energy counter"]
    sweeper.close()


def test_the_step_of_a_counter_that_was_stuck_is_no_power(standin):
    clock = Clock()
    sweeper = Sweeper(standin.nvml, slow_every=1000, clock=clock)
    standin.stuck(1)
    for _ in range(15):
        sweeper.sweep(NOW)
        clock.now += 1
    standin.stuck(0)
    time.sleep(0.1)
    assert reading(sweeper.sweep(NOW), 0, "GpuPower") == 700.0
    sweeper.close()


def test_a_step_of_the_clock_is_no_power(standin):
    clock = Clock()
    sweeper = Sweeper(standin.nvml, slow_every=1000, clock=clock)
    sweeper.sweep(NOW)
    time.sleep(0.1)
    clock.now += 3600  # an hour by our clock, a tenth of a second by the GPU's
    assert reading(sweeper.sweep(NOW), 0, "GpuPower") == 700.0
    sweeper.close()


def test_a_value_that_nvml_cannot_have_meant_costs_itself(sweeper, standin):
    standin.busy(-1)
    values = sweeper.sweep(NOW)
    assert reading(values, 0, "GpuUtilization") is None
    assert reading(values, 0, "GpuMemoryUtilization") == pytest.approx(0.41)


def test_a_replaced_gpu_takes_the_free_slot(sweeper, standin):
    sweeper.sweep(NOW)
    before = [s.uuid for s in sweeper.slots]
    standin.lose(1, 1)
    sweeper.sweep(NOW)
    standin.replace(1)
    standin.lose(1, 0)
    sweeper.sweep(NOW)
    after = [s.uuid for s in sweeper.slots]
    assert len(after) == 4
    assert [b == a for b, a in zip(before, after, strict=True)] == [True, False, True, True]


def test_a_gpu_that_is_not_there_from_the_start_is_missing_from_its_slot(standin):
    standin.lose(3, 1)
    sweeper = Sweeper(standin.nvml, gpus=4, slow_every=1)
    values = sweeper.sweep(NOW)
    sweeper.close()
    assert [reading(values, gpu, "GpuAvailable") for gpu in range(4)] == [1, 1, 1, 0]


def test_the_driver_may_be_reloaded(sweeper, standin):
    sweeper.sweep(NOW)
    standin.driver(0)
    values = sweeper.sweep(NOW)
    assert [reading(values, gpu, "GpuAvailable") for gpu in range(4)] == [0, 0, 0, 0]
    standin.driver(1)
    for _ in range(10):
        values = sweeper.sweep(NOW)
    assert [reading(values, gpu, "GpuAvailable") for gpu in range(4)] == [1, 1, 1, 1]


def test_xid_errors_come_as_events_once(sweeper, standin):
    sweeper.sweep(NOW)
    standin.xid(2, 79)
    standin.xid(0, 13)
    sweeper.sweep(NOW)
    assert {(e.gpu, e.xid, e.observed) for e in sweeper.events} == {(2, 79, NOW), (0, 13, NOW)}
    sweeper.events.clear()
    sweeper.sweep(NOW)
    assert not sweeper.events


def test_the_same_xid_twice_is_two_events(sweeper, standin):
    sweeper.sweep(NOW)
    standin.xid(2, 94)
    standin.xid(2, 94)
    sweeper.sweep(NOW)
    assert [(e.gpu, e.xid, e.observed) for e in sweeper.events] == [(2, 94, NOW), (2, 94, NOW + 1)]


def test_links_that_are_down_are_counted(sweeper, standin):
    standin.links(1, 18, 3)
    values = sweeper.sweep(NOW)
    assert (reading(values, 1, "GpuNvlinksUp"), reading(values, 1, "GpuNvlinksDown")) == (15, 3)
    assert (reading(values, 0, "GpuNvlinksUp"), reading(values, 0, "GpuNvlinksDown")) == (18, 0)


def test_a_gpu_without_links_has_none_not_zero(sweeper, standin):
    standin.links(0, 0, 0)
    assert reading(sweeper.sweep(NOW), 0, "GpuNvlinksUp") is None


def test_waiting_for_events_returns_as_soon_as_one_comes(sweeper, standin):
    sweeper.sweep(NOW)
    standin.xid(1, 48)
    begun = time.monotonic()
    sweeper.fetch_events(None, wait_ms=150_000)
    assert time.monotonic() - begun < 100
    assert [(e.gpu, e.xid) for e in sweeper.events] == [(1, 48)]


def test_limits_are_read_only_now_and_then(standin):
    sweeper = Sweeper(standin.nvml, slow_every=3)
    told = [reading(sweeper.sweep(NOW), 0, "GpuPowerLimit") for _ in range(4)]
    sweeper.close()
    assert told == [1200.0, None, None, 1200.0]


def test_probe_tells_what_is_here(standin):
    told = probe(standin.nvml, seconds=0.1)
    assert len(told["gpus"]) == 4
    first = {r["pointType"]: r["value"] for r in told["gpus"][0]["readings"]}
    assert first["GpuPower"] == pytest.approx(700, rel=0.02)
    assert "GpuFanSpeed" in told["gpus"][0]["missing"]


def test_probe_without_a_driver_says_so(standin):
    standin.driver(0)
    with pytest.raises(SourceError, match="no NVIDIA driver"):
        probe(standin.nvml)


def test_a_look_tells_what_is_read_missing_and_wrong(standin):
    standin.fields_fail(999)
    standin.busy(2619)
    found = examine(standin.nvml, gpus=5, seconds=0.1)
    told = {(f.level, f.about) for f in found.findings}
    assert told == {
        ("fine", "driver"),
        ("problem", "GPUs"),
        ("problem", "readings"),
        ("note", "readings"),
        ("fine", "readings"),
    }
    assert "2619 % cannot be" in next(
        r["doubt"] for r in found.readings if r["pointType"] == "GpuUtilization"
    )
    assert "G0 GpuMemoryTemperature" in found.missing
    assert not found.ok


def test_a_look_at_healthy_gpus_finds_nothing(standin):
    found = examine(standin.nvml, seconds=0.1)
    assert found.ok
    assert len(found.readings) > 80


def test_a_look_tells_what_is_wrong_with_a_gpu_and_what_to_do(standin):
    standin.links(1, 18, 2)
    found = examine(standin.nvml, seconds=0.1, health=load_gpu_health())
    (told,) = [f for f in found.findings if f.about == "health"]
    assert told.level == "problem"
    assert told.text.startswith("G1: NVLinks are down. Drain the node")
    assert not found.ok


def test_a_look_without_a_driver_says_so(standin):
    standin.driver(0)
    (finding,) = examine(standin.nvml).findings
    assert (finding.level, finding.about) == ("problem", "driver")
