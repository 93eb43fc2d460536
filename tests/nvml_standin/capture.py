"""What ``nvidia-smi -q -x`` told of real GPUs, as a table that the C stand-in plays.

The captures are not part of this repository: ``HALLWATCH_TESTDATA`` names the folder that holds ``nvml/*.xml``. They say
nothing of NVLinks: the stand-in has 18 of them up, as NVIDIA names for these parts.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

OK, NOT_SUPPORTED, NO_PERMISSION = 0, 3, 4
UNSIGNED, UNSIGNED_LONG, SIGNED = 1, 3, 5  # NVML_VALUE_TYPE_...
LINKS = 18
_MODULE, _MEMORY = 1, 2
_CALLS = {
    "temperature": ("temperature/gpu_temp", 1),
    "margin": ("temperature/gpu_temp_tlimit", 1),
    "utilization": ("utilization/gpu_util", 1),
    "memory utilization": ("utilization/memory_util", 1),
    "clock": ("clocks/sm_clock", 1),
    "memory clock": ("clocks/mem_clock", 1),
    "memory total": ("fb_memory_usage/total", 2**20),
    "memory used": ("fb_memory_usage/used", 2**20),
    "limit": ("gpu_power_readings/current_power_limit", 1000),
    "set limit": ("gpu_power_readings/requested_power_limit", 1000),
    "fan": ("fan_speed", 1),
    "PCIe": ("pci/pci_gpu_link_info/pcie_gen/current_link_gen", 1),
    "PCIe max": ("pci/pci_gpu_link_info/pcie_gen/max_link_gen", 1),
    "PCIe width": ("pci/pci_gpu_link_info/link_widths/current_link_width", 1),
    "PCIe width max": ("pci/pci_gpu_link_info/link_widths/max_link_width", 1),
    "fabric": ("fabric/state", 1),
    "fabric health": ("fabric/health/summary", 1),
    "channel repair": ("ecc_errors/channel_repair_pending", 1),
    "TPC repair": ("ecc_errors/tpc_repair_pending", 1),
    "SRAM threshold": ("ecc_errors/aggregate/sram_threshold_exceeded", 1),
}
_FIELDS = {
    (185, 0): ("gpu_power_readings/average_power_draw", 1000, UNSIGNED),
    (186, 0): ("gpu_power_readings/instant_power_draw", 1000, UNSIGNED),
    (185, _MODULE): ("module_power_readings/average_power_draw", 1000, UNSIGNED),
    (186, _MODULE): ("module_power_readings/instant_power_draw", 1000, UNSIGNED),
    (190, _MODULE): ("module_power_readings/current_power_limit", 1000, UNSIGNED),
    (185, _MEMORY): ("gpu_memory_power_readings/average_power_draw", 1000, UNSIGNED),
    (186, _MEMORY): ("gpu_memory_power_readings/instant_power_draw", 1000, UNSIGNED),
    (82, 0): ("temperature/memory_temp", 1, UNSIGNED),
    (193, 0): ("temperature/gpu_temp_max_tlimit_threshold", 1, SIGNED),
    (194, 0): ("temperature/gpu_temp_slow_tlimit_threshold", 1, SIGNED),
    (195, 0): ("temperature/gpu_temp_max_mem_tlimit_threshold", 1, SIGNED),
    (196, 0): ("temperature/gpu_temp_max_gpu_tlimit_threshold", 1, SIGNED),
    (142, 0): ("remapped_rows/remapped_row_corr", 1, UNSIGNED),
    (143, 0): ("remapped_rows/remapped_row_unc", 1, UNSIGNED),
    (144, 0): ("remapped_rows/remapped_row_pending", 1, UNSIGNED),
    (145, 0): ("remapped_rows/remapped_row_failure", 1, UNSIGNED),
    (94, 0): ("pci/replay_counter", 1, UNSIGNED),
    (230, 0): ("gpu_recovery_action", 1, UNSIGNED),
    (251, 0): ("power_smoothing", 1, UNSIGNED),
    (74, 0): (
        "clocks_event_reasons_counters/clocks_event_reasons_counters_sw_power_cap",
        1000,
        UNSIGNED_LONG,
    ),
    (269, 0): (
        "clocks_event_reasons_counters/clocks_event_reasons_counters_sw_therm_slowdown",
        1000,
        UNSIGNED_LONG,
    ),
    (270, 0): (
        "clocks_event_reasons_counters/clocks_event_reasons_counters_hw_therm_slowdown",
        1000,
        UNSIGNED_LONG,
    ),
    (271, 0): (
        "clocks_event_reasons_counters/clocks_event_reasons_counters_hw_power_brake",
        1000,
        UNSIGNED_LONG,
    ),
}
_WORDS = {"No": 0, "Yes": 1, "None": 0, "Completed": 3, "Healthy": 1, "Unhealthy": 2}
_REASONS = {
    "gpu_idle": 0x1,
    "applications_clocks_setting": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
    "display_clocks_setting": 0x100,
}
_CORRECTED = ("sram_correctable", "dram_correctable")
_UNCORRECTED = ("sram_uncorrectable_parity", "sram_uncorrectable_secded", "dram_uncorrectable")


def gpus_of(capture: Path) -> list[ET.Element]:
    """Return what the capture tells of each GPU, in the driver's order."""
    return ET.parse(capture).getroot().findall("gpu")


def number(text: str | None) -> float | None:
    """Return the number in front of a unit; None where there is none."""
    word = (text or "").strip().removesuffix("x").split(" ")[0]
    try:
        return float(word)
    except ValueError:
        return None


def table_of(capture: Path) -> str:
    """Return the table that lets the stand-in answer as the GPUs of a capture did."""
    root = ET.parse(capture).getroot()
    gpus = root.findall("gpu")
    lines = [["gpus", len(gpus), root.findtext("driver_version")]]
    for i, gpu in enumerate(gpus):
        name, uuid, serial = (gpu.findtext(tag) for tag in ("product_name", "uuid", "serial"))
        lines.append(["identity", i, uuid, name, serial])
        lines.append(_place(i, gpu))
        lines.append(["links", i, LINKS])
        lines.append(
            ["power", i, round(number(gpu.findtext("gpu_power_readings/instant_power_draw")) * 1000)]
        )
        lines += _answers(i, gpu)
    return "".join("\t".join(str(word) for word in line) + "\n" for line in lines)


def _place(i: int, gpu: ET.Element) -> list[object]:
    told = {tag.tag: (tag.text or "").strip() for tag in gpu.find("platformInfo")}
    numbers = [
        int(n) if (n := told[tag]).isdigit() else 0
        for tag in ("slot_number", "tray_index", "host_id", "module_id")
    ]
    chassis = told["chassis_serial_number"]
    return ["place", i, chassis if chassis.isdigit() else "-", *numbers]


def _answers(i: int, gpu: ET.Element) -> list[list[object]]:
    lines = []
    for name, (path, scale) in _CALLS.items():
        text = gpu.findtext(path)
        code, value = (OK, 0) if (name, text) == ("fabric health", "N/A") else _told(text)
        lines.append(["call", i, name, code, round(value * scale), 0])
    for (field, scope), (path, scale, kind) in _FIELDS.items():
        code, value = _told(gpu.findtext(path))
        lines.append(["field", i, field, scope, kind, code, round(value * scale), 0])
    active = [tag.tag for tag in gpu.find("clocks_event_reasons") if tag.text == "Active"]
    mask = sum(_REASONS[tag.removeprefix("clocks_event_reason_")] for tag in active)
    lines.append(["call", i, "reasons", OK, mask, 0])
    for field, kinds in ((3, _CORRECTED), (4, _UNCORRECTED)):
        errors = [number(gpu.findtext(f"ecc_errors/volatile/{kind}")) for kind in kinds]
        lines.append(["field", i, field, 0, UNSIGNED_LONG, OK, round(sum(errors)), 0])
    for field, path in ((197, "pci/tx_util"), (198, "pci/rx_util")):
        lines.append(["field", i, field, 0, UNSIGNED_LONG, OK, 10**9, number(gpu.findtext(path)) * 1e3])
    return lines


def _told(text: str | None) -> tuple[int, float]:
    """Return the code and the value that NVML answers with where nvidia-smi shows a text."""
    if text == "Insufficient Permissions":
        return NO_PERMISSION, 0
    value = _WORDS.get(text, number(text))
    return (NOT_SUPPORTED, 0) if value is None else (OK, value)
