"""The tray message: what a tray agent tells in one sweep over its GPUs, one message per sweep and tray.

Described for others in ``docs/tray-bus.asyncapi.yaml``. Values travel in canonical units as one flat array, GPU after
GPU in the order of `GPU_FIELDS`, then the tray's own in the order of `TRAY_FIELDS`; null means that there is no
reading. New fields are only ever appended, with a new `FORMAT`; what agents of older formats tell is still understood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.catalogue import POINT_TYPES
from domain.errors import ContractViolation, brief
from domain.points import Point

FORMAT = 2
GPUS_MAX = 64
"""GPU slots of one tray at most."""
EVENTS_MAX = 1_000
"""XID events in one sweep at most."""
NAME_LENGTH = 64
"""Characters of the name of a rack or a tray at most."""
PREFIX = "hallwatch/v1/trays"
SWEEPS = f"{PREFIX}/+/+/sweep"
PRESENCES = f"{PREFIX}/+/+/presence"
"""Topic filters over all trays."""

GPU_FIELDS: tuple[str, ...] = (
    "GpuPower",
    "GpuPowerInstant",
    "GpuPowerAverage",
    "GpuEnergy",
    "GpuModulePower",
    "GpuPowerLimit",
    "GpuPowerLimitDefault",
    "GpuTemperature",
    "GpuMemoryTemperature",
    "GpuTemperatureLimit",
    "GpuMemoryTemperatureLimit",
    "GpuUtilization",
    "GpuMemoryUtilization",
    "GpuMemoryUsed",
    "GpuMemoryTotal",
    "GpuClock",
    "GpuMemoryClock",
    "GpuThrottleReasons",
    "GpuEccCorrected",
    "GpuEccUncorrected",
    "GpuRowsRemapped",
    "GpuRowRemapPending",
    "GpuPcieReplay",
    "GpuPcieReceive",
    "GpuPcieTransmit",
    "GpuNvlinkErrors",
    "GpuNvlinkReceive",
    "GpuNvlinkTransmit",
    "GpuFanSpeed",
    "GpuAvailable",
    "GpuTemperatureMargin",
    "GpuTemperatureShutdown",
    "GpuMemoryPower",
    "GpuModulePowerLimit",
    "GpuPcieGeneration",
    "GpuPcieGenerationMax",
    "GpuPcieWidth",
    "GpuPcieWidthMax",
    "GpuNvlinksUp",
    "GpuNvlinksDown",
    "GpuFabric",
    "GpuRowRemapFailed",
    "GpuRepair",
    "GpuRecoveryAction",
    "GpuPowerCapTime",
    "GpuThermalSlowdownTime",
    "GpuPowerBrakeTime",
    "GpuPowerSmoothing",
)
"""Point types of one GPU, in the order of the message."""
TRAY_FIELDS: tuple[str, ...] = (
    "TokenRate",
    "TokensGenerated",
    "TokenEfficiency",
    "SweepsTaken",
    "SweepsSpooled",
    "SweepsDropped",
    "TrayModulePower",
)
"""Point types of the tray itself, in the order of the message."""
_WIDTHS: Mapping[int, tuple[int, int]] = {1: (30, 6), FORMAT: (len(GPU_FIELDS), len(TRAY_FIELDS))}
"""GPU fields and tray fields of each format."""

REASONS: Mapping[str, str] = {
    "unknown_format": "a sweep in a format that this version does not know",
    "wrong_length": "a sweep whose number of values does not fit its number of GPUs",
    "unknown_rack": "a tray of a rack that the site does not have",
    "too_many_trays": "more trays than a rack can hold",
}
"""Why a tray message is refused, beside the reasons that DSX messages are refused for (`domain.dsx.REASONS`)."""

_STATES: Mapping[str, tuple[tuple[int, str], ...]] = {
    "GpuAvailable": ((0, "Lost"), (1, "Available")),
    "GpuRowRemapPending": ((0, "None"), (1, "Pending")),
    "GpuRowRemapFailed": ((0, "None"), (1, "Failed")),
    "GpuPowerSmoothing": ((0, "Off"), (1, "On")),
    "GpuRepair": ((0, "None"), (1, "Pending"), (2, "Replace")),
    "GpuFabric": ((0, "Healthy"), (1, "Limited"), (2, "Unhealthy"), (3, "NotJoined")),
    "GpuRecoveryAction": (  # nvmlDeviceGpuRecoveryAction_t
        (0, "None"),
        (1, "ResetGpu"),
        (2, "RebootNode"),
        (3, "DrainPeers"),
        (4, "DrainAndReset"),
        (5, "RecoverImexDomain"),
        (6, "ResetBus"),
        (7, "RebootSystem"),
    ),
    "TrayOnline": ((0, "Offline"), (1, "Online")),
}


@dataclass(frozen=True, slots=True)
class XidEvent:
    """A GPU error event: which GPU of the tray, the XID number, when (UTC ms)."""

    gpu: int
    xid: int
    observed: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep of one tray.

    Parameters
    ----------
    run
        When the agent started, UTC ms; tells a restarted sequence from a gap.
    sequence
        Grows by one a sweep, also over restarts of an agent that keeps a spool.
    observed
        When the sweep was taken, UTC ms.
    gpu_count
        GPU slots of the tray; a slot stays where it is when its GPU is lost.
    values
        ``gpu_count * len(GPU_FIELDS) + len(TRAY_FIELDS)`` values, None where there is no reading.
    events
        XID errors since the sweep before.
    """

    run: int
    sequence: int
    observed: int
    gpu_count: int
    values: Sequence[float | None]
    events: tuple[XidEvent, ...] = ()


def sweep_topic(rack: str, tray: str) -> str:
    """Return the topic of a tray's sweeps."""
    return f"{PREFIX}/{rack}/{tray}/sweep"


def presence_topic(rack: str, tray: str) -> str:
    """Return the topic, retained, that tells whether the tray's agent is there; also its Will."""
    return f"{PREFIX}/{rack}/{tray}/presence"


def parse_topic(topic: str) -> tuple[str, str, str]:
    """Return (rack, tray, ``"sweep"`` or ``"presence"``).

    Raises
    ------
    ContractViolation
        ``bad_topic`` where it is no tray topic.
    """
    parts = topic.split("/")
    if (
        len(parts) != 6
        or parts[5] not in ("sweep", "presence")
        or not topic.startswith(f"{PREFIX}/")
        or not all(0 < len(name) <= NAME_LENGTH and name.isprintable() for name in parts[3:5])
    ):
        raise ContractViolation("bad_topic", brief(topic, 200))
    return parts[3], parts[4], parts[5]


def value_count(gpu_count: int) -> int:
    """Return how many values a sweep over `gpu_count` GPUs has."""
    return gpu_count * len(GPU_FIELDS) + len(TRAY_FIELDS)


def encode(sweep: Sweep) -> dict[str, Any]:
    """Return the message of a sweep, ready for JSON."""
    message: dict[str, Any] = {
        "format": FORMAT,
        "run": sweep.run,
        "seq": sweep.sequence,
        "t": sweep.observed,
        "gpus": sweep.gpu_count,
        "values": sweep.values,
    }
    if sweep.events:
        message["events"] = [[e.gpu, e.xid, e.observed] for e in sweep.events]
    return message


def decode(message: Any) -> Sweep:
    """Return the sweep that a message tells. The numbers in `values` are not looked at one by one.

    Raises
    ------
    ContractViolation
        ``not_an_object``, ``missing_field``, ``wrong_type``, ``wrong_length`` or ``unknown_format``.
    """
    if type(message) is not dict:
        raise ContractViolation("not_an_object", brief(message))
    try:
        told = (message["run"], message["seq"], message["t"], message["gpus"])
        values = message["values"]
        form = message["format"]
        if type(form) is not int or form not in _WIDTHS:
            raise ContractViolation("unknown_format", brief(form))
    except KeyError as missing:
        raise ContractViolation("missing_field", str(missing.args[0])) from None
    for number in told:
        if type(number) is not int or not 0 <= number < 1 << 62:
            raise ContractViolation(
                "wrong_type", f"run, seq, t and gpus are whole numbers, not {brief(number)}"
            )
    per_gpu, own = _WIDTHS[form]
    need = min(told[3], GPUS_MAX) * per_gpu + own
    if type(values) is not list or told[3] > GPUS_MAX or len(values) != need:
        raise ContractViolation("wrong_length", f"{told[3]} GPUs need {need} values")
    if form != FORMAT:
        values = _widened(values, told[3], per_gpu, own)
    events = message.get("events")
    return Sweep(*told, values, _events(events, told[3]) if events else ())


def _widened(values: list[Any], gpu_count: int, per_gpu: int, own: int) -> list[Any]:
    """Return the values of an older format in the order of this one: what it did not know is not told."""
    more, found = [None] * (len(GPU_FIELDS) - per_gpu), []
    for gpu in range(gpu_count):
        found += [*values[gpu * per_gpu : (gpu + 1) * per_gpu], *more]
    return [*found, *values[gpu_count * per_gpu :], *[None] * (len(TRAY_FIELDS) - own)]


def tray_keys(rack: str, tray: str, gpu_count: int) -> list[str]:
    """Return the keys of a tray's points, in the order of `tray_points`."""
    gpus = [f"{rack}/{tray}/G{gpu}" for gpu in range(gpu_count)]
    here = f"{rack}/{tray}"
    return [
        *(f"GPU/{field}/nvml/{gpu}" for gpu in gpus for field in GPU_FIELDS),
        *(f"Tray/{field}/nvml/{here}" for field in TRAY_FIELDS),
        *(f"GPU/GpuXid/nvml/{gpu}" for gpu in gpus),
        f"Tray/TrayOnline/nvml/{here}",
    ]


def product_point(rack: str, tray: str, product: str, source: str) -> Point:
    """Return the point that names the GPUs of a tray: a state of value 1 whose label is what the driver calls them."""
    place = f"{rack}-{tray}"
    states = ((1, product),)
    key = f"Tray/GpuProduct/nvml/{rack}/{tray}"
    return Point(key, "Tray", "GpuProduct", place, place, state_text=states, associate=rack, source=source)


def tray_points(rack: str, tray: str, gpu_count: int, node: str = "", source: str = "") -> list[Point]:
    """Return the points of a tray: those of a sweep in the order of its values, then one GpuXid a GPU, then TrayOnline.

    Ids: tray ``R001-T01``, its GPUs ``R001-T01-G0`` and up. `node` is the host's name, shown as the tray's name.
    """
    source = source or f"tray:{rack}-{tray}"
    return [_point(key, rack, node, source) for key in tray_keys(rack, tray, gpu_count)]


def gpu_point(rack: str, tray: str, gpu: int, point_type: str, source: str) -> Point:
    """Return one point of one GPU, as `tray_points` does."""
    return _point(f"GPU/{point_type}/nvml/{rack}/{tray}/G{gpu}", rack, "", source)


def _point(key: str, rack: str, node: str, source: str) -> Point:
    object_type, point_type, _, place = key.split("/", 3)
    object_id = place.replace("/", "-")
    states = _STATES.get(point_type, ())
    return Point(
        key,
        object_type,
        point_type,
        object_id,
        (node or object_id) if object_type == "Tray" else object_id,
        "" if states else POINT_TYPES[point_type].unit,
        states,
        associate=rack,
        source=source,
    )


def _events(rows: Any, gpu_count: int) -> tuple[XidEvent, ...]:
    if type(rows) is not list or len(rows) > EVENTS_MAX:
        raise ContractViolation("wrong_type", f"events are a list of {EVENTS_MAX} at most, not {brief(rows)}")
    for row in rows:
        if (
            type(row) is not list
            or len(row) != 3
            or any(type(n) is not int or not 0 <= n < 1 << 62 for n in row)
            or row[0] >= gpu_count
        ):
            raise ContractViolation("wrong_type", f"an event is [gpu, xid, t], not {brief(row)}")
    return tuple(XidEvent(*row) for row in rows)
