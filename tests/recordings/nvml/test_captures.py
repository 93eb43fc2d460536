"""What real GB300, GB200, B200 and H100 nodes told: each figure is read, in its unit, and modules are counted once.

The captures (nvidia-smi -q -x) are played by the C stand-in for NVML, through the real nvidia-ml-py.
"""

import time

import orjson
import pytest

from collectors.mqtt.trays import Trays
from collectors.nvml.agent import TraySweeps
from collectors.nvml.placement import tray_of
from collectors.nvml.probe import probe
from collectors.nvml.sweeper import Sweeper
from domain.points import PointRegistry
from domain.tray import GPU_FIELDS
from service.configuration import load_gpu_health
from tests.nvml_standin.capture import gpus_of, number, table_of

PARTS = ["gb300", "gb200", "b200", "h100"]
WITH_MODULES = ["gb300", "gb200"]
NOW = 1_800_000_000_000
SECONDS = 0.3
MIB = 2**20

FIGURES = {
    "GpuPower": ("gpu_power_readings/instant_power_draw", 1),
    "GpuPowerInstant": ("gpu_power_readings/instant_power_draw", 1),
    "GpuPowerAverage": ("gpu_power_readings/average_power_draw", 1),
    "GpuMemoryPower": ("gpu_memory_power_readings/average_power_draw", 1),
    "GpuPowerLimit": ("gpu_power_readings/current_power_limit", 1),
    "GpuPowerLimitDefault": ("gpu_power_readings/requested_power_limit", 1),
    "GpuTemperature": ("temperature/gpu_temp", 1),
    "GpuTemperatureMargin": ("temperature/gpu_temp_tlimit", 1),
    "GpuMemoryTemperature": ("temperature/memory_temp", 1),
    "GpuUtilization": ("utilization/gpu_util", 0.01),
    "GpuMemoryUtilization": ("utilization/memory_util", 0.01),
    "GpuMemoryUsed": ("fb_memory_usage/used", MIB),
    "GpuMemoryTotal": ("fb_memory_usage/total", MIB),
    "GpuClock": ("clocks/sm_clock", 1e6),
    "GpuMemoryClock": ("clocks/mem_clock", 1e6),
    "GpuPcieReplay": ("pci/replay_counter", 1),
    "GpuPcieReceive": ("pci/rx_util", 1e3),
    "GpuPcieTransmit": ("pci/tx_util", 1e3),
    "GpuPcieGeneration": ("pci/pci_gpu_link_info/pcie_gen/current_link_gen", 1),
    "GpuPcieGenerationMax": ("pci/pci_gpu_link_info/pcie_gen/max_link_gen", 1),
    "GpuPcieWidth": ("pci/pci_gpu_link_info/link_widths/current_link_width", 1),
    "GpuPcieWidthMax": ("pci/pci_gpu_link_info/link_widths/max_link_width", 1),
    "GpuPowerCapTime": ("clocks_event_reasons_counters/clocks_event_reasons_counters_sw_power_cap", 1e-6),
    "GpuPowerBrakeTime": ("clocks_event_reasons_counters/clocks_event_reasons_counters_hw_power_brake", 1e-6),
}
"""Where the capture tells a figure, and its unit over the canonical one."""
ZERO = [
    "GpuEccCorrected",
    "GpuEccUncorrected",
    "GpuRowsRemapped",
    "GpuRowRemapPending",
    "GpuRowRemapFailed",
    "GpuRepair",
    "GpuRecoveryAction",
    "GpuFabric",
    "GpuNvlinksDown",
]
"""What healthy GPUs tell as none."""
OF_ENERGY = {"GpuPower", "GpuPcieReceive", "GpuPcieTransmit"}


@pytest.fixture(scope="module", params=PARTS)
def part(request):
    return request.param


@pytest.fixture(scope="module")
def capture(part, testdata):
    return testdata / "nvml" / f"nvidia-smi-q-x.{part}.xml"


@pytest.fixture(scope="module")
def table(capture, tmp_path_factory):
    table = tmp_path_factory.mktemp("capture") / "table"
    table.write_text(table_of(capture))
    return table


def swept(standin, table):
    """Return a sweeper that has swept once, so that counters have something to grow from."""
    standin.fresh()
    standin.play(table)
    sweeper = Sweeper(standin.nvml, slow_every=1)
    sweeper.sweep(NOW)
    time.sleep(SECONDS)
    return sweeper


@pytest.fixture(scope="module")
def told(loaded_standin, table, capture):
    """What the sweeper tells of each GPU beside what the capture says: pairs of a row and an element."""
    sweeper = swept(loaded_standin, table)
    values = sweeper.sweep(NOW + 1000)
    rows = {
        slot.uuid: dict(zip(GPU_FIELDS, values[i * len(GPU_FIELDS) :], strict=False))
        for i, slot in enumerate(sweeper.slots)
    }
    sweeper.close()
    return [(rows[gpu.findtext("uuid")], gpu) for gpu in gpus_of(capture)]


@pytest.fixture
def sweeper(loaded_standin, table):
    sweeper = swept(loaded_standin, table)
    sweeper.sweep(NOW + 1000)
    yield sweeper
    sweeper.close()


@pytest.mark.parametrize("point_type", FIGURES)
def test_every_figure_is_told_in_its_unit(told, point_type):
    path, scale = FIGURES[point_type]
    for row, gpu in told:
        expected = number(gpu.findtext(path))
        assert expected is not None
        near = 0.1 if point_type in OF_ENERGY else 1e-9  # counters grow with the clock of a busy machine
        assert row[point_type] == pytest.approx(expected * scale, rel=near, abs=1e-12)


@pytest.mark.parametrize("point_type", ZERO)
def test_what_healthy_gpus_tell_as_none_is_zero_not_missing(told, point_type):
    assert [row[point_type] for row, _ in told] == [0] * len(told)


def test_the_margin_gives_the_temperatures_of_slowdown_and_shutdown(told):
    for row, gpu in told:
        temperature, margin, slowdown, shutdown = (
            number(gpu.findtext(f"temperature/{tag}"))
            for tag in (
                "gpu_temp",
                "gpu_temp_tlimit",
                "gpu_temp_slow_tlimit_threshold",
                "gpu_temp_max_tlimit_threshold",
            )
        )
        assert row["GpuTemperatureLimit"] == temperature + margin - slowdown
        assert row["GpuTemperatureShutdown"] == temperature + margin - shutdown
        assert temperature < row["GpuTemperatureLimit"] < row["GpuTemperatureShutdown"] < 100


def test_slowdown_by_heat_is_that_of_software_and_of_hardware(told):
    for row, gpu in told:
        counters = [
            number(gpu.findtext(f"clocks_event_reasons_counters/clocks_event_reasons_counters_{kind}"))
            for kind in ("sw_therm_slowdown", "hw_therm_slowdown")
        ]
        assert row["GpuThermalSlowdownTime"] == pytest.approx(sum(counters) * 1e-6)


def test_idle_is_the_only_reason_for_the_clocks(told):
    assert {row["GpuThrottleReasons"] for row, _ in told} == {1}


def test_what_the_part_does_not_tell_is_missing_not_zero(told, part):
    missing = {"GpuFanSpeed", "GpuMemoryTemperatureLimit", "GpuPowerSmoothing"}
    if part not in WITH_MODULES:
        missing |= {"GpuModulePower", "GpuModulePowerLimit"}
    for row, _ in told:
        assert {name for name in missing if row[name] is not None} == set()


def test_power_smoothing_says_why_it_is_missing(sweeper, part):
    why = {slot.faults["field 251"] for slot in sweeper.slots}
    assert why == {f"GpuPowerSmoothing: {'not supported' if part == 'h100' else 'not permitted'}"}


def test_a_module_that_two_gpus_tell_is_counted_once(sweeper, told, capture, part):
    modules = {}
    for gpu in gpus_of(capture):
        power = number(gpu.findtext("module_power_readings/instant_power_draw"))
        modules.setdefault(gpu.findtext("serial"), []).append(power)
    sums = [row["GpuModulePower"] for row, _ in told if row["GpuModulePower"] is not None]
    limits = [row["GpuModulePowerLimit"] for row, _ in told if row["GpuModulePowerLimit"] is not None]
    if part not in WITH_MODULES:
        assert (sums, limits, sweeper.module_power) == ([], [], None)
        return
    assert len(sums) == len(limits) == len(modules) == 2
    for watts, told_twice in zip(sums, modules.values(), strict=True):
        assert any(watts == pytest.approx(told) for told in told_twice)
    assert limits == [2900.0 if part == "gb300" else 2500.0] * 2
    assert sweeper.module_power == pytest.approx(sum(sums))
    assert 0.9 < sweeper.module_power / (2 * sums[0]) < 1.1  # two modules, not four


def test_a_module_is_told_by_its_other_gpu_when_the_first_is_lost(sweeper, loaded_standin, part):
    if part not in WITH_MODULES:
        assert sweeper.module_power is None
        return
    before = sweeper.module_power
    (lost,) = [i for i, slot in enumerate(sweeper.slots) if slot.place.module == 1]
    nvml_index = next(i for i in range(4) if _uuid(loaded_standin, i) == sweeper.slots[lost].uuid)
    loaded_standin.lose(nvml_index, 1)
    values = sweeper.sweep(NOW + 2000)
    assert values[lost * len(GPU_FIELDS) + GPU_FIELDS.index("GpuAvailable")] == 0
    assert sweeper.module_power == pytest.approx(before, rel=0.02)


def _uuid(standin, index):
    return standin.nvml.nvmlDeviceGetUUID(standin.nvml.nvmlDeviceGetHandleByIndex(index))


def test_gpus_stand_in_the_order_of_their_place_in_the_tray(sweeper, part):
    assert [slot.place.module for slot in sweeper.slots] == list(range(1, len(sweeper.slots) + 1))


def test_the_platform_tells_rack_and_tray_where_it_knows(sweeper, part):
    where = tray_of([slot.place for slot in sweeper.slots])
    assert where == {"gb300": ("1820000000001", "T16"), "gb200": ("1820000000001", "T05")}.get(part)


def test_all_of_it_reaches_the_collector(sweeper, told, capture):
    registry = PointRegistry()
    trays = Trays(registry, "tray")
    sweeps = TraySweeps("R001", "T16", sweeper, NOW)
    trays.presence("R001", "T16", orjson.loads(sweeps.presence("node")), NOW)
    trays.sweep("R001", "T16", orjson.loads(sweeps.message(sweeps.take(0, NOW + 2000))), NOW + 2000)
    batch = trays.rows(NOW + 2000)
    heard = {
        (registry[int(i)].object_id, registry[int(i)].point_type): value
        for i, value in zip(batch.point, batch.value, strict=True)
    }
    assert ("R001-T16", "TrayModulePower") in heard or sweeper.module_power is None
    for g, slot in enumerate(sweeper.slots):
        row = next(row for row, gpu in told if gpu.findtext("uuid") == slot.uuid)
        for name in {*FIGURES, *ZERO} - OF_ENERGY:
            assert heard[f"R001-T16-G{g}", name] == pytest.approx(row[name], abs=1e-12)
    product = next(p for p in registry if p.point_type == "GpuProduct")
    assert product.state_label(1) == gpus_of(capture)[0].findtext("product_name")


def test_the_probe_finds_nothing_implausible_and_nothing_wrong(loaded_standin, sweeper):
    found = probe(loaded_standin.nvml, seconds=0.1, health=load_gpu_health())
    assert [r for gpu in found["gpus"] for r in gpu["readings"] if r["doubt"]] == []
    assert found["findings"] == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"name": "PCIe width", "value": 8}, "pcie_narrow"),
        ({"name": "channel repair", "value": 1}, "repair_pending"),
        ({"name": "SRAM threshold", "value": 1}, "replace"),
        ({"name": "fabric health", "value": 2}, "fabric_unhealthy"),
        ({"name": "memory total", "value": 60e9}, "memory_short"),
        ({"name": "reasons", "value": 0x40}, "slowdown_by_heat"),
        ({"field": 144, "value": 1}, "rows_pending"),
        ({"field": 145, "value": 1}, "rows_failed"),
        ({"field": 230, "value": 2}, "reboot_asked"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_goes_wrong_with_such_a_part_is_found(loaded_standin, sweeper, change, finding):
    loaded_standin.answer(0, **change)
    found = probe(loaded_standin.nvml, seconds=0.0, health=load_gpu_health())["findings"]
    assert [f["finding"] for f in found] == [finding]


def test_a_gpu_that_is_gone_is_missing_or_lost_by_its_place(loaded_standin, sweeper):
    loaded_standin.lose(0, 1)
    found = probe(loaded_standin.nvml, seconds=0.0, health=load_gpu_health())["findings"]
    assert len(found) == 1
    assert found[0]["finding"] in ("lost", "missing")  # the last place leaves no gap
