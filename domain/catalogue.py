"""The catalogue: every object type and point type, DSX's and ours, with its quantity.

DSX words and which of them go together come from NVIDIA's DSX Exchange contract, BMS Event Bus 1.0.0
(repository NVIDIA/dsx-exchange). Ours name what that contract has no word for.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

ANY = "*"
"""Unit of a point type that takes whatever its metadata says (DSX GenericPoint)."""
STATE = ""
"""Unit of a point type whose values are integer states."""


@dataclass(frozen=True, slots=True)
class ObjectType:
    """A kind of plant object; `ours` marks what DSX has no word for."""

    name: str
    description: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class PointType:
    """A kind of point.

    Parameters
    ----------
    name
        The DSX pointType, or ours.
    unit
        Canonical unit of its quantity; `STATE` for a state only, `ANY` where the metadata decides.
    description
        What is measured, in a phrase.
    state
        Whether its values may be states although it has a unit (a DSX PumpSpeed may be on/off).
    counter
        Whether it only grows, but for wrap and reset.
    ours
        Whether DSX has no such word.
    """

    name: str
    unit: str
    description: str
    state: bool = False
    counter: bool = False
    ours: bool = False


def _objects(ours: bool, rows: dict[str, str]) -> dict[str, ObjectType]:
    return {name: ObjectType(name, text, ours) for name, text in rows.items()}


OBJECT_TYPES: MappingProxyType[str, ObjectType] = MappingProxyType(
    _objects(
        False,
        {
            "System": "The BMS itself, or an integration with it",
            "Rack": "A rack position",
            "PowerMeter": "A meter in the power path: feed, busway, tap, PDU inlet",
            "BESS": "Battery energy storage",
            "UPS": "Uninterruptible power supply",
            "ATS": "Automatic transfer switch",
            "Generator": "Generator",
            "Shunt": "Shunt trip",
            "Breaker": "Circuit breaker",
            "CDU": "Coolant distribution unit",
            "CoolingTower": "Cooling tower",
            "HX": "Heat exchanger",
            "CRAH": "Computer-room air handler (chilled water)",
            "CRAC": "Computer-room air conditioner (refrigerant)",
            "AHU": "Air-handling unit",
            "Chiller": "Chiller",
            "Valve": "Valve",
            "Pump": "Pump",
            "Fan": "Fan",
            "Damper": "Damper",
            "Sensor": "Environment or process sensor",
            "Tank": "Tank",
            "GenericObject": "Anything without a word of its own",
        },
    )
    | _objects(
        True,
        {
            "Site": "The whole facility",
            "Feed": "A utility feed of the site",
            "Pod": "A group of racks that shares busways and CDUs",
            "GPU": "One GPU",
            "Tray": "A compute tray: the node that its GPUs live in",
            "Outlet": "An outlet of a rack PDU",
            "Bank": "A bank, branch or circuit of a rack PDU",
            "Battery": "A battery or battery string",
            "Device": "A polled device as such: how well it answers",
            "Inference": "An inference server",
            "Service": "Hallwatch itself: one of its processes, or a source that it gathers from",
            "Forecast": "A kind of forecast that Hallwatch issues",
        },
    )
)

_EQUIPMENT = (
    "LiquidTemperature LiquidDifferentialPressure LiquidFlow LiquidPressure Status Available ValvePosition "
    "PumpSpeed FanSpeed DamperPosition AirTemperature AirDifferentialPressure AirRelativeHumidity AirFlow "
    "AirPressure LeakDetect GenericPoint"
)
_ELECTRICAL = "Status Available GenericPoint"

CONTRACT: MappingProxyType[str, frozenset[str]] = MappingProxyType(
    {
        object_type: frozenset(point_types.split())
        for object_type, point_types in {
            "Rack": "RackLiquidSupplyTemperature RackLiquidReturnTemperature RackLiquidFlow "
            "RackLiquidDifferentialPressure RackLiquidDifferentialPressureSp RackControlValvePosition RackPower "
            "RackLeakDetect RackLeakSensorFault RackLeakDetectTray RackLiquidIsolationStatus "
            "RackElectricalIsolationStatus RackLiquidIsolationRequest RackElectricalIsolationRequest",
            "PowerMeter": "Voltage PowerFactor Frequency ApparentPower ActivePower Current CurrentLimit "
            "PhaseCurrent GenericPoint",
            **dict.fromkeys(("BESS", "UPS", "ATS", "Generator", "Shunt", "Breaker"), _ELECTRICAL),
            **dict.fromkeys(("CoolingTower", "HX", "CRAH", "CRAC", "AHU", "Chiller", "Tank"), _EQUIPMENT),
            "CDU": f"{_EQUIPMENT} LiquidTemperatureSpRequest",
            "GenericObject": f"{_EQUIPMENT} LiquidTemperatureSpRequest Sound",
            "Valve": "ValvePosition Available GenericPoint",
            "Pump": "PumpSpeed Available GenericPoint",
            "Fan": "FanSpeed Available GenericPoint",
            "Damper": "DamperPosition Available GenericPoint",
            "Sensor": "LiquidTemperature LiquidDifferentialPressure LiquidFlow LiquidPressure AirTemperature "
            "AirDifferentialPressure AirRelativeHumidity AirFlow AirPressure LeakDetect Sound Available "
            "GenericPoint",
            "System": "HeartbeatTimestampBms HeartbeatEchoBms HeartbeatTimestampIntegration "
            "HeartbeatEchoIntegration Status Available GenericPoint",
        }.items()
    }
)
"""Which point types the DSX contract allows on which object type."""

_DSX = (
    PointType("RackPower", "W", "Electric power of a rack"),
    PointType("RackLiquidSupplyTemperature", "Cel", "Coolant temperature into a rack"),
    PointType("RackLiquidReturnTemperature", "Cel", "Coolant temperature out of a rack"),
    PointType("RackLiquidFlow", "L/min", "Coolant flow through a rack"),
    PointType("RackLiquidDifferentialPressure", "Pa", "Coolant pressure drop over a rack"),
    PointType("RackLiquidDifferentialPressureSp", "Pa", "Setpoint of a rack's coolant pressure drop"),
    PointType("RackControlValvePosition", "1", "Opening of a rack's control valve"),
    PointType("RackLeakDetect", STATE, "Leak at a rack"),
    PointType("RackLeakSensorFault", STATE, "Broken leak sensor at a rack (not a leak)"),
    PointType("RackLeakDetectTray", STATE, "Leak in a tray of a rack"),
    PointType("RackLiquidIsolationStatus", STATE, "Whether a rack is cut off from the coolant"),
    PointType("RackElectricalIsolationStatus", STATE, "Whether a rack is cut off from power"),
    PointType("RackLiquidIsolationRequest", STATE, "Request to cut a rack off from the coolant"),
    PointType("RackElectricalIsolationRequest", STATE, "Request to cut a rack off from power"),
    PointType("ActivePower", "W", "Active power"),
    PointType("ApparentPower", "VA", "Apparent power"),
    PointType("PowerFactor", "1", "Power factor"),
    PointType("Voltage", "V", "Voltage; on a three-phase DSX meter the mean of the line-to-line voltages"),
    PointType("Frequency", "Hz", "Mains frequency"),
    PointType("Current", "A", "Current"),
    PointType("CurrentLimit", "A", "Rated current"),
    PointType("PhaseCurrent", "A", "Current of one phase"),
    PointType("LiquidTemperature", "Cel", "Liquid temperature"),
    PointType("LiquidDifferentialPressure", "Pa", "Liquid pressure difference"),
    PointType("LiquidFlow", "L/min", "Liquid flow"),
    PointType("LiquidPressure", "Pa", "Liquid pressure"),
    PointType("LiquidTemperatureSpRequest", "Cel", "Requested liquid temperature setpoint"),
    PointType("AirTemperature", "Cel", "Air temperature"),
    PointType("AirDifferentialPressure", "Pa", "Air pressure difference"),
    PointType("AirRelativeHumidity", "1", "Relative humidity of the air"),
    PointType("AirFlow", "L/min", "Air flow"),
    PointType("AirPressure", "Pa", "Air pressure"),
    PointType("ValvePosition", "1", "Valve opening", state=True),
    PointType("PumpSpeed", "1", "Pump speed as a share of its maximum", state=True),
    PointType("FanSpeed", "1", "Fan speed as a share of its maximum", state=True),
    PointType("DamperPosition", "1", "Damper opening", state=True),
    PointType("LeakDetect", STATE, "Leak"),
    PointType("Sound", "dB", "Sound pressure level"),
    PointType("Status", STATE, "State of an object"),
    PointType("Available", STATE, "Whether an object is available"),
    PointType("HeartbeatTimestampBms", "s", "Time stamp by which the BMS shows that it lives"),
    PointType("HeartbeatEchoBms", "s", "An integration's time stamp, echoed by the BMS"),
    PointType("HeartbeatTimestampIntegration", "s", "Time stamp by which an integration shows that it lives"),
    PointType("HeartbeatEchoIntegration", "s", "The BMS's time stamp, echoed by an integration"),
    PointType("GenericPoint", ANY, "A point without a word of its own", state=True),
)


def _ours(name: str, unit: str, description: str, *, state: bool = False, counter: bool = False) -> PointType:
    return PointType(name, unit, description, state=state, counter=counter, ours=True)


_OURS = (
    # electrical, mostly from SNMP devices
    _ours("SmokeDetect", STATE, "Smoke"),
    _ours("ReactivePower", "var", "Reactive power"),
    _ours("Energy", "J", "Active energy since the meter was made", counter=True),
    _ours("ApparentEnergy", "VAh", "Apparent energy since the meter was made", counter=True),
    _ours("PhaseVoltage", "V", "Voltage of one phase to neutral"),
    _ours("LineVoltage", "V", "Voltage between two phases"),
    _ours("PhasePower", "W", "Active power of one phase"),
    _ours("NeutralCurrent", "A", "Current in the neutral conductor"),
    _ours("ResidualCurrent", "A", "Residual (earth leakage) current"),
    _ours("PeakPower", "W", "Highest active power since the meter's last reset"),
    _ours("PeakCurrent", "A", "Highest current since the meter's last reset"),
    _ours("CrestFactor", "1", "Peak over effective current"),
    _ours("CurrentUnbalance", "1", "Unbalance of the phase currents"),
    _ours("VoltageUnbalance", "1", "Unbalance of the phase voltages"),
    _ours("Load", "1", "Load as a share of the rating"),
    _ours("PowerLimit", "W", "Rated power"),
    _ours("Demand", "W", "Average active power of the meter's demand interval"),
    _ours("InputVoltage", "V", "Voltage at the input of a UPS or transfer switch"),
    _ours("InputCurrent", "A", "Current at the input of a UPS or transfer switch"),
    _ours("InputFrequency", "Hz", "Frequency at the input of a UPS or transfer switch"),
    _ours("InputPower", "W", "Active power at the input of a UPS"),
    _ours("BypassVoltage", "V", "Voltage at the bypass of a UPS"),
    _ours("BypassCurrent", "A", "Current in the bypass of a UPS"),
    _ours("BypassFrequency", "Hz", "Frequency at the bypass of a UPS"),
    _ours("BypassPower", "W", "Active power in the bypass of a UPS"),
    _ours("BatteryCharge", "1", "Charge of a battery"),
    _ours("BatteryRuntime", "s", "Time for which the battery carries the present load"),
    _ours("BatteryVoltage", "V", "Battery voltage"),
    _ours("BatteryCurrent", "A", "Battery current, positive while it charges"),
    _ours("BatteryTemperature", "Cel", "Battery temperature"),
    _ours("TimeOnBattery", "s", "Time since the UPS went on battery"),
    _ours("Count", "count", "A number of things"),
    # cooling and environment
    _ours("CoolingPower", "W", "Heat that a cooling unit removes"),
    _ours("CoolingDemand", "1", "Cooling asked of a unit, as a share of its capacity"),
    _ours("FanRotation", "rpm", "Fan speed in revolutions"),
    _ours("PumpRotation", "rpm", "Pump speed in revolutions"),
    _ours("CompressorSpeed", "1", "Compressor speed as a share of its maximum"),
    _ours("RefrigerantPressure", "Pa", "Refrigerant pressure"),
    _ours("RefrigerantTemperature", "Cel", "Refrigerant temperature"),
    _ours("SuperheatTemperature", "K", "Superheat of the refrigerant"),
    _ours("DewPoint", "Cel", "Dew point of the air"),
    _ours("EnergyEfficiencyRatio", "1", "Heat removed per electric power"),
    _ours("Temperature", "Cel", "Temperature of something that is neither air nor liquid"),
    _ours("AirVelocity", "m/s", "Air speed"),
    _ours("RunTime", "s", "Time that a component has run", counter=True),
    # a polled device as such
    _ours("DeviceUp", STATE, "Whether the device answered its last poll"),
    _ours("DeviceLatency", "s", "Time that the last poll took"),
    _ours("DeviceTimeouts", "count", "Requests that got no answer", counter=True),
    _ours("DeviceErrors", "count", "Answers that could not be used", counter=True),
    _ours("DeviceUptime", "s", "Time since the device's agent started"),
    # GPUs and trays, NVML
    _ours("GpuPower", "W", "GPU power from the difference of its energy counter, or instantaneous"),
    _ours("GpuPowerInstant", "W", "GPU power, instantaneous"),
    _ours("GpuPowerAverage", "W", "GPU power, averaged by the driver over its window"),
    _ours("GpuEnergy", "J", "GPU energy since the driver was loaded", counter=True),
    _ours(
        "GpuModulePower",
        "W",
        "Power of the module that the GPU sits on, its CPU included; told by one GPU of each module",
    ),
    _ours("GpuModulePowerLimit", "W", "Power limit of the module, told by one GPU of each module"),
    _ours("TrayModulePower", "W", "Power of all GPU modules of a tray, each counted once"),
    _ours("GpuMemoryPower", "W", "Power of the GPU's memory, averaged by the driver over its window"),
    _ours("GpuPowerLimit", "W", "GPU power limit in force"),
    _ours("GpuPowerLimitDefault", "W", "GPU power limit that was set"),
    _ours("GpuTemperature", "Cel", "GPU core temperature"),
    _ours("GpuMemoryTemperature", "Cel", "GPU memory temperature"),
    _ours("GpuTemperatureMargin", "K", "How far the GPU is below its highest operating temperature"),
    _ours("GpuTemperatureLimit", "Cel", "GPU temperature at which it slows down"),
    _ours("GpuTemperatureShutdown", "Cel", "GPU temperature at which it shuts down"),
    _ours("GpuMemoryTemperatureLimit", "Cel", "GPU memory temperature at which it slows down"),
    _ours("GpuUtilization", "1", "Share of time in which a kernel ran"),
    _ours("GpuMemoryUtilization", "1", "Share of time in which memory was read or written"),
    _ours("GpuMemoryUsed", "By", "GPU memory in use"),
    _ours("GpuMemoryTotal", "By", "GPU memory fitted"),
    _ours("GpuClock", "Hz", "Streaming multiprocessor clock"),
    _ours("GpuMemoryClock", "Hz", "Memory clock"),
    _ours("GpuThrottleReasons", "count", "NVML clock event reasons, a bit mask"),
    _ours("GpuEccCorrected", "count", "Corrected memory errors since the driver was loaded", counter=True),
    _ours(
        "GpuEccUncorrected", "count", "Uncorrected memory errors since the driver was loaded", counter=True
    ),
    _ours("GpuRowsRemapped", "count", "Memory rows remapped for good", counter=True),
    _ours("GpuRowRemapPending", STATE, "Whether a row remapping waits for a reset"),
    _ours("GpuRowRemapFailed", STATE, "Whether a row could not be remapped"),
    _ours("GpuRepair", STATE, "Whether a repair of the GPU waits for a reset, or it has to be replaced"),
    _ours("GpuRecoveryAction", STATE, "What the driver asks for so that the GPU recovers"),
    _ours("GpuPowerCapTime", "s", "Time for which the GPU was held back by its power limit", counter=True),
    _ours("GpuThermalSlowdownTime", "s", "Time for which the GPU was slowed down by heat", counter=True),
    _ours("GpuPowerBrakeTime", "s", "Time for which the GPU was slowed down from outside", counter=True),
    _ours("GpuPowerSmoothing", STATE, "Whether the GPU smooths its power"),
    _ours("GpuPcieGeneration", "count", "PCIe generation that the GPU's link runs at"),
    _ours("GpuPcieGenerationMax", "count", "PCIe generation that GPU and system can do"),
    _ours("GpuPcieWidth", "count", "PCIe lanes in use"),
    _ours("GpuPcieWidthMax", "count", "PCIe lanes that GPU and system have"),
    _ours("GpuNvlinksUp", "count", "NVLinks that are up"),
    _ours("GpuNvlinksDown", "count", "NVLinks that are there and down"),
    _ours("GpuFabric", STATE, "How the GPU stands in the NVLink fabric"),
    _ours("GpuProduct", STATE, "What the GPUs of a tray are called"),
    _ours("GpuPcieReplay", "count", "PCIe replays", counter=True),
    _ours("GpuPcieReceive", "By/s", "PCIe receive throughput"),
    _ours("GpuPcieTransmit", "By/s", "PCIe transmit throughput"),
    _ours("GpuNvlinkErrors", "count", "NVLink errors, all links", counter=True),
    _ours("GpuNvlinkReceive", "By", "NVLink bytes received, all links", counter=True),
    _ours("GpuNvlinkTransmit", "By", "NVLink bytes sent, all links", counter=True),
    _ours("GpuFanSpeed", "1", "GPU fan speed"),
    _ours("GpuXid", "count", "XID of a GPU error event (NVML)"),
    _ours("GpuAvailable", STATE, "Whether the driver still reaches the GPU"),
    _ours("GpuFault", STATE, "Fault of a GPU or of a tray's GPUs"),
    _ours("GpuDegraded", STATE, "A GPU does less than it can, or will fail"),
    _ours("GpuNotice", STATE, "Event on a GPU that mostly needs no work"),
    _ours("TrayOnline", STATE, "Whether the tray's agent is connected"),
    _ours("SweepsTaken", "count", "Sequence number of the tray agent's sweep", counter=True),
    _ours("SweepsSpooled", "count", "Sweeps that wait in the tray agent's spool"),
    _ours("SweepsDropped", "count", "Sweeps that the tray agent's full spool dropped", counter=True),
    # what Hallwatch works out itself
    _ours("IncidentClass", STATE, "Fault at the root of an open incident"),
    _ours("SensorVerdict", STATE, "Verdict on an instrument"),
    _ours(
        "AsMeasured", ANY, "What an instrument says that is not trusted; its own point carries an estimate"
    ),
    _ours("ForecastCalibration", STATE, "Whether forecasts of a kind have been what they said"),
    _ours("TimeToLimit", "s", "Time until a part that wears reaches its limit"),
    _ours("AnomalyScore", "1", "Deviation from usual behaviour"),
    _ours(
        "TemperatureBreachProbability", "1", "Probability that a rack passes a temperature limit in an hour"
    ),
    _ours(
        "PowerBreachProbability",
        "1",
        "Probability that a node passes its limit in any quarter hour of the coming six hours",
    ),
    _ours(
        "PowerToShed",
        "W",
        "Most to shed in the coming six hours so that a node passes its limit with under 1 %",
    ),
    _ours(
        "TimeToBreach",
        "s",
        "Time until a node has passed its limit with a probability of one half; 21600: six hours or more",
    ),
    _ours(
        "ExpectedRamp",
        "W/min",
        "Steepest change of the site's power expected in the coming hour, planned jobs included; negative: a fall",
    ),
    _ours(
        "ExpectedRise",
        "W",
        "Largest rise of power within ten seconds in the coming hour; exceeded in one hour of twenty",
    ),
    _ours(
        "ExpectedFall",
        "W",
        "Largest fall of power within ten seconds in the coming hour; exceeded in one hour of twenty",
    ),
    _ours("QuarterHourPower", "W", "Expected average power of the running quarter hour at its end"),
    _ours(
        "QuarterHourBreachProbability", "1", "Probability that the running quarter hour ends above the limit"
    ),
    _ours("ExpectedSupplyTemperature", "Cel", "Highest coolant supply temperature expected within the hour"),
    _ours("ExpectedReturnTemperature", "Cel", "Highest coolant return temperature expected within the hour"),
    _ours(
        "ExpectedGpuTemperature",
        "Cel",
        "Highest temperature expected of a rack's hottest GPU within the hour",
    ),
    _ours(
        "ExpectedApproach",
        "K",
        "Largest approach of a CDU expected within the hour: supply over facility water",
    ),
    _ours(
        "TimeToLimitWithoutFlow",
        "s",
        "Time until a rack passes a temperature limit if its coolant stops now; 3600: an hour or more",
    ),
    _ours(
        "TimeToLimitOnTrip",
        "s",
        "Time until a rack of the pod passes a temperature limit if this CDU trips now; 3600: an hour or more",
    ),
    # what the grid asks
    _ours("GridRequestsWaiting", "count", "Requests of the grid that wait for an operator's consent"),
    _ours("GridLimitPhase", STATE, "Whether a limit that the grid asked for comes, or is in force"),
    _ours("GridLimitKept", STATE, "Whether the power keeps the limit that the grid asked for"),
    _ours("GridLimitFeasible", STATE, "Whether the forecast lets limits of the grid be kept"),
    _ours("GridPrice", "currency/kWh", "Price of energy that the grid tells for now"),
    _ours("GridEmissions", "g/kWh", "Marginal greenhouse gas emissions that the grid tells for now"),
    _ours("GridNotices", "count", "Notices of the grid that hold now, such as an emergency"),
    _ours("GridLink", STATE, "Whether the grid's broker or server is reached"),
    # Hallwatch itself
    _ours(
        "ServiceClockOffset",
        "s",
        "How far our own clock is off where most sources say so; 0 where they do not",
    ),
    _ours("ServiceReadingsRefused", "1", "Share of the readings of five minutes that were quarantined"),
    _ours("ServiceSpoolFill", "1", "Share of the spool's room that is taken"),
    _ours("ServiceDiskFree", "1", "Share of the data folder's disk that is free"),
    _ours("ServicePartsDown", "count", "Parts of the service that are not running"),
    _ours("ServiceEvaluationInterval", "s", "Time between the last two evaluations of the alert rules"),
    _ours("SourceFrozen", "1", "Share of a source's objects that say the same for ever"),
    # workload
    _ours("TokenRate", "token/s", "Tokens generated in a second"),
    _ours("TokensGenerated", "token", "Tokens generated since the server started", counter=True),
    _ours("TokenEfficiency", "token/J", "Tokens generated for a joule"),
)

POINT_TYPES: MappingProxyType[str, PointType] = MappingProxyType({t.name: t for t in (*_DSX, *_OURS)})
"""Every point type by name."""
