"""The DSX Exchange contract (NVIDIA, BMS Event Bus 1.0.0) as pure logic: topics, metadata, values; no wire.

A fault in metadata that leaves its meaning clear is tolerated and told in `DsxPoint.violations`; one that does not
raises `ContractViolation`. Both carry a stable `reason` of `REASONS`, which is what gets counted and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from domain.catalogue import ANY, CONTRACT, OBJECT_TYPES, POINT_TYPES, STATE
from domain.errors import ContractViolation, UnitError, brief
from domain.points import Point, Quality
from domain.units import Unit, parse_unit

BMS = "PUB"
"""The publisher level of every topic that the BMS itself writes."""
VALUES = "BMS/v1/+/Value/#"
METADATA = "BMS/v1/+/Metadata/#"
"""Topic filters that cover the whole contract, integrations included."""
HEARTBEATS = frozenset(
    {"HeartbeatTimestampBms", "HeartbeatEchoBms", "HeartbeatTimestampIntegration", "HeartbeatEchoIntegration"}
)

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "bad_topic": "the topic is not of the contract's form",
        "bad_json": "the payload is not JSON (NaN and Infinity are none)",
        "too_large": "the payload is larger than any message of the contract",
        "too_deep": "the payload is nested deeper than any message of the contract",
        "too_long": "a text or a list is longer than any of the contract",
        "unreadable": "the message cannot be read, for a reason that nobody foresaw",
        "not_an_object": "the payload is JSON, but no object",
        "missing_field": "a field that the contract requires is absent",
        "wrong_type": "a field has another type than the contract says",
        "unexpected_field": "a field that the contract does not know",
        "metadata_not_from_bms": "metadata from a publisher other than the BMS",
        "wrong_publisher": "a value from a publisher that does not own the point",
        "type_mismatch": "topic and payload disagree on objectType or pointType",
        "unknown_object_type": "an objectType that neither the contract nor the catalogue knows",
        "unknown_point_type": "a pointType that neither the contract nor the catalogue knows",
        "point_not_allowed": "the contract does not allow this pointType on this objectType",
        "unit_and_state": "engUnit and stateText together",
        "no_unit": "neither engUnit nor stateText on a point that needs one",
        "unknown_unit": "an engUnit that is not understood",
        "wrong_unit": "an engUnit that measures something else than the pointType",
        "unwanted_unit": "an engUnit on a point that has none",
        "unusual_unit": "an engUnit that is understood, but is not the one that the contract fixes",
        "bad_state_text": "stateText is not a list of distinct integers, each with a text",
        "object_and_associate": "objectId or servesId together with associateId",
        "no_identity": "nothing tells which object the point belongs to",
        "bad_phase": "phase is absent where needed, or none of A, B, C, 1, 2, 3",
        "bad_value": "value is neither a finite number nor null",
        "bad_timestamp": "timestamp is not an integer of milliseconds",
        "bad_quality": "quality is not an integer",
        "too_many_heartbeats": "more systems with a heartbeat than any site has",
        "too_many_points": "more points than the limits on points allow",
        "refused_point": "a point that somebody retired and refused",
        "unknown_state": "a state that stateText does not name",
        "impossible_value": "a value that no such object can have",
        "metadata_changed": "the metadata of a point that was known has changed",
        "metadata_not_retained": "metadata that the broker was not told to keep",
        "serves_cycle": "an object that serves itself, directly or by way of others",
        "unknown_target": "servesId or associateId names an object that no metadata describes",
        "told_twice": "two tags tell one quantity of one object",
        "tag_used_twice": "one tagPath under two object or point types",
        "differs_by_case": "two topics that differ by case alone",
        "no_heartbeat": "no BMS tells that it lives",
        "heartbeat_stopped": "a BMS that told that it lives has stopped doing so",
        "time_backwards": "a value older than the one before it",
        "one_time_twice": "two values for one moment",
        "clock_off": "the publisher's clock differs from ours",
        "retained_value": "a value that the broker kept: values are not retained",
        "absurd_time": "observed too far in the future or in the past",
    }
)
"""Why a message is refused or frowned upon."""

TOPIC_LENGTH = 1_000
"""Characters of a topic at most."""
TEXT_LENGTH = 250
"""Characters of an id, a name or a label at most."""
LIST_LENGTH = 1_000
"""Entries of a list in metadata at most: what a feed serves, the states of a point."""
METADATA_BYTES = 65_536
"""Bytes of a metadata message at most."""

_UNITLESS = HEARTBEATS | {"PowerFactor"}
_INTEGRATION_POINTS = frozenset(
    {
        "RackLeakDetectTray",
        "RackLiquidIsolationRequest",
        "RackElectricalIsolationRequest",
        "LiquidTemperatureSpRequest",
        "HeartbeatTimestampIntegration",
        "HeartbeatEchoIntegration",
    }
)
# Point types whose contract leaves engUnit or stateText open although they usually carry a unit.
_MAY_BE_STATE = frozenset(
    [
        "LiquidDifferentialPressure",
        "LiquidFlow",
        "LiquidPressure",
        "ValvePosition",
        "PumpSpeed",
        "FanSpeed",
        "DamperPosition",
        "AirDifferentialPressure",
        "AirFlow",
        "AirPressure",
        "AirRelativeHumidity",
        "GenericPoint",
    ]
)
_MAY_BE_SETPOINT = frozenset(
    [
        "LiquidTemperature",
        "LiquidDifferentialPressure",
        "LiquidFlow",
        "LiquidPressure",
        "AirTemperature",
        "AirDifferentialPressure",
        "AirFlow",
        "AirPressure",
        "AirRelativeHumidity",
        "RackLiquidDifferentialPressureSp",
        "GenericPoint",
    ]
)
# The engUnit that the contract fixes to one spelling.
_FIXED_UNIT: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        [
            "RackLiquidSupplyTemperature",
            "RackLiquidReturnTemperature",
            "LiquidTemperature",
            "AirTemperature",
            "LiquidTemperatureSpRequest",
        ],
        "C",
    )
    | dict.fromkeys(("RackLiquidDifferentialPressure", "RackLiquidDifferentialPressureSp"), "kPa")
    | {"RackLiquidFlow": "LPM", "RackControlValvePosition": "%", "RackPower": "kW"}
)
_USUAL_UNIT = MappingProxyType(
    {"W": "kW", "VA": "kVA", "Cel": "C", "Pa": "kPa", "L/min": "LPM", "1": "%", "J": "kWh"}
)
_FIELDS = frozenset(
    [
        "objectType",
        "pointType",
        "engUnit",
        "stateText",
        "objectName",
        "objectId",
        "servesId",
        "associateId",
        "processArea",
        "phase",
        "isSetpoint",
        "rackLocationName",
        "rackLocationId",
        "scope",
        "integration",
    ]
)
_EXTRAS_TOLD = 5
_STATE_MAX = 1 << 31
_PHASES = MappingProxyType({"A": "A", "B": "B", "C": "C", "1": "A", "2": "B", "3": "C"})


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of the contract taken apart; `kind` is ``"Value"`` or ``"Metadata"``."""

    publisher: str
    kind: str
    object_type: str
    point_type: str
    tag_path: str

    @property
    def key(self) -> str:
        """Key of the point, the same for its values and its metadata."""
        return f"{self.object_type}/{self.point_type}/{self.tag_path}"


@dataclass(frozen=True, slots=True)
class DsxPoint:
    """What metadata tells.

    Parameters
    ----------
    point
        In canonical unit.
    unit
        The publisher's unit: maps its values onto the point's canonical one.
    integration
        Who writes the values, where it is not the BMS.
    scope
        For a heartbeat: the namespace that it vouches for.
    violations
        What breaks the contract without making the metadata unusable.
    """

    point: Point
    unit: Unit
    integration: str = ""
    scope: str = ""
    violations: tuple[ContractViolation, ...] = field(default=(), compare=False)

    @property
    def owner(self) -> str:
        """The one publisher that may write the point's values: the integration that is named, else the BMS."""
        return self.integration or BMS


class DsxValue(NamedTuple):
    """A value message: `value` None where the BMS has no valid reading; `timestamp` in Unix ms."""

    value: float | None
    timestamp: int
    quality: Quality


_NEW: Callable[..., DsxValue] = tuple.__new__  # half the time of the named tuple's own way, for each value
_GOOD, _BAD = Quality.GOOD, Quality.BAD


def parse_topic(topic: str) -> Topic:
    """Take a topic ``BMS/v1/{publisher}/{Value|Metadata}/{objectType}/{pointType}/{tagPath}`` apart.

    Raises
    ------
    ContractViolation
        ``bad_topic`` where it is not of that form.
    """
    parts = topic.split("/", 6)
    if (
        len(parts) != 7
        or parts[:2] != ["BMS", "v1"]
        or parts[3] not in ("Value", "Metadata")
        or not all(parts)
        or len(topic) > TOPIC_LENGTH
        or not topic.isprintable()
    ):
        raise ContractViolation("bad_topic", brief(topic, 200))
    return Topic(*parts[2:])


def value_topic(key: str, publisher: str = BMS) -> str:
    """Return the topic on which the values of the point with this key are published."""
    return f"BMS/v1/{publisher}/Value/{key}"


def metadata_topic(key: str) -> str:
    """Return the topic of the point's metadata; only the BMS publishes metadata."""
    return f"BMS/v1/{BMS}/Metadata/{key}"


def point_from_metadata(topic: Topic, payload: Mapping[str, Any], source: str = "") -> DsxPoint:
    """Return the point that metadata describes.

    An unknown objectType becomes GenericObject, an unknown pointType GenericPoint; the key keeps the
    publisher's own words.

    Raises
    ------
    ContractViolation
        Where the metadata cannot be used, with the reason.
    """
    if not isinstance(payload, Mapping):
        raise ContractViolation("not_an_object", topic.key)
    return _Metadata(topic, payload).read(source)


def read_value(payload: Any) -> DsxValue:
    """Return what a value message says; a bad quality and a null value are no violation.

    Raises
    ------
    ContractViolation
        ``not_an_object``, ``missing_field``, ``bad_value``, ``bad_timestamp`` or ``bad_quality``.
    """
    if type(payload) is not dict:
        raise ContractViolation("not_an_object", brief(payload))
    try:
        value, timestamp, quality = payload["value"], payload["timestamp"], payload["quality"]
    except KeyError as missing:
        raise ContractViolation("missing_field", str(missing.args[0])) from None
    if type(value) is not float and type(value) is not int and value is not None:
        raise ContractViolation("bad_value", brief(value))
    if type(timestamp) is not int or not 0 <= timestamp < 1 << 62:
        raise ContractViolation("bad_timestamp", brief(timestamp))
    if type(quality) is not int:
        raise ContractViolation("bad_quality", brief(quality))
    return _NEW(DsxValue, (value, timestamp, _GOOD if quality == 1 else _BAD))


def eng_unit(point: Point) -> str:
    """Return the engUnit under which DSX publishers usually tell this point; empty for states and the unitless."""
    if point.is_state or point.point_type in _UNITLESS:
        return ""
    if point.point_type == "AirRelativeHumidity":
        return "%RH"
    if point.point_type == "AirDifferentialPressure":
        return "Pa"
    return _FIXED_UNIT.get(point.point_type) or _USUAL_UNIT.get(point.unit, point.unit)


def metadata_payload(point: Point, unit: str | None = None, integration: str = "") -> dict[str, Any]:
    """Return the metadata message of a point whose values are published in `unit` (default `eng_unit`).

    Raises
    ------
    ContractViolation
        ``point_not_allowed`` where the contract has no such point on such an object.
    """
    if point.point_type not in CONTRACT.get(point.object_type, ()):
        raise ContractViolation("point_not_allowed", f"{point.point_type} on {point.object_type}")
    payload: dict[str, Any] = {"objectType": point.object_type, "pointType": point.point_type}
    if point.is_state:
        payload["stateText"] = [{"value": value, "text": text} for value, text in point.state_text]
    elif point.point_type not in _UNITLESS:
        payload["engUnit"] = eng_unit(point) if unit is None else unit
    name = point.object_name or point.object_id
    if point.object_type == "Rack":
        payload |= {"rackLocationName": name, "rackLocationId": point.object_id}
    elif point.object_type != "PowerMeter" and point.associate:
        payload["associateId"] = point.associate
    else:
        payload |= {"objectName": name, "objectId": point.object_id}
        if point.object_type == "PowerMeter" or point.serves:
            payload["servesId"] = list(point.serves)
    if point.point_type == "GenericPoint" or (
        point.process_area and point.object_type not in ("Rack", "PowerMeter", "System")
    ):
        payload["processArea"] = list(point.process_area)
    if point.phase and point.point_type in ("PhaseCurrent", "GenericPoint"):
        payload["phase"] = point.phase
    if point.setpoint and point.point_type in _MAY_BE_SETPOINT:
        payload["isSetpoint"] = True
    if integration:
        payload["integration"] = integration
    return payload


def value_payload(value: float | None, timestamp: int, quality: int = Quality.GOOD) -> dict[str, Any]:
    """Return the value message; `value` is already in the published unit."""
    return {"value": value, "timestamp": timestamp, "quality": int(quality == Quality.GOOD)}


class _Metadata:
    """One metadata message while it is read: collects what is tolerated, raises on what is not."""

    def __init__(self, topic: Topic, payload: Mapping[str, Any]) -> None:
        self.topic = topic
        self.payload = payload
        self.noted: list[ContractViolation] = []

    def note(self, reason: str, detail: str) -> None:
        self.noted.append(ContractViolation(reason, f"{self.topic.key}: {detail}"))

    def fail(self, reason: str, detail: str) -> ContractViolation:
        return ContractViolation(reason, f"{self.topic.key}: {detail}")

    def read(self, source: str) -> DsxPoint:
        if self.topic.publisher != BMS:
            raise self.fail("metadata_not_from_bms", self.topic.publisher)
        self._same_type("objectType", self.topic.object_type)
        self._same_type("pointType", self.topic.point_type)
        for extra in sorted(self.payload.keys() - _FIELDS)[:_EXTRAS_TOLD]:
            self.note("unexpected_field", brief(extra))
        object_type, point_type = self._types()
        states = self._state_text()
        unit = self._unit(point_type, states)
        object_id, name, associate = self._identity(object_type)
        integration = self._text("integration")
        if self.topic.point_type in _INTEGRATION_POINTS and not integration:
            self.note("missing_field", "integration")
        setpoint = self.payload.get("isSetpoint", False)
        if not isinstance(setpoint, bool):
            self.note("wrong_type", "isSetpoint is no boolean")
            setpoint = setpoint == "true"
        point = Point(
            key=self.topic.key,
            object_type=object_type,
            point_type=point_type,
            object_id=object_id,
            object_name=name,
            unit="" if states else unit.canonical,
            state_text=states,
            serves=self._texts("servesId"),
            associate=associate,
            process_area=self._texts("processArea"),
            phase=self._phase(),
            setpoint=setpoint or point_type == "RackLiquidDifferentialPressureSp",
            source=source,
        )
        return DsxPoint(point, unit, integration, self._text("scope"), tuple(self.noted))

    def _same_type(self, name: str, told: str) -> None:
        if name not in self.payload:
            self.note("missing_field", name)
        elif self.payload[name] != told:
            raise self.fail("type_mismatch", f"{name} is {brief(self.payload[name])}")

    def _types(self) -> tuple[str, str]:
        object_type, point_type = self.topic.object_type, self.topic.point_type
        known_object, known_point = object_type in OBJECT_TYPES, point_type in POINT_TYPES
        if not known_object:
            self.note("unknown_object_type", object_type)
        if not known_point:
            self.note("unknown_point_type", point_type)
        if known_object and known_point and point_type not in CONTRACT.get(object_type, ()):
            self.note("point_not_allowed", f"{point_type} on {object_type}")
        return object_type if known_object else "GenericObject", point_type if known_point else "GenericPoint"

    def _state_text(self) -> tuple[tuple[int, str], ...]:
        rows = self.payload.get("stateText")
        if rows is None:
            return ()
        if "engUnit" in self.payload:
            raise self.fail("unit_and_state", "a point has a unit or states")
        try:
            if len(rows) > LIST_LENGTH:
                raise self.fail("too_long", f"{len(rows)} states")
            states = tuple((row["value"], row["text"]) for row in rows)
        except (TypeError, KeyError):
            raise self.fail("bad_state_text", "each state is an object with value and text") from None
        if not states or not all(type(v) is int and isinstance(t, str) for v, t in states):
            raise self.fail("bad_state_text", "each state is an integer with a text")
        if len({v for v, _ in states}) != len(states):
            raise self.fail("bad_state_text", "two texts for one integer")
        if not all(-_STATE_MAX <= v <= _STATE_MAX for v, _ in states):
            raise self.fail("bad_state_text", "a state is an integer of 32 bits")
        return tuple((v, self._fit("stateText", t)) for v, t in states)

    def _unit(self, point_type: str, states: tuple[tuple[int, str], ...]) -> Unit:
        wanted = POINT_TYPES[point_type]
        if states:
            if wanted.unit not in (STATE, ANY) and point_type not in _MAY_BE_STATE:
                raise self.fail("wrong_unit", f"{point_type} is measured in {wanted.unit}, it has no states")
            return Unit(STATE)
        spelling = self.payload.get("engUnit")
        if spelling is None:
            if point_type in _UNITLESS or wanted.unit == ANY:
                return Unit("1" if wanted.unit == ANY else wanted.unit)
            raise self.fail("no_unit", point_type)
        if not isinstance(spelling, str):
            raise self.fail("wrong_type", "engUnit is no text")
        if wanted.unit == STATE:
            raise self.fail("wrong_unit", f"{point_type} is a state, not a measurement in {spelling[:40]}")
        try:
            unit = parse_unit(spelling)
        except UnitError:
            if wanted.unit == ANY:
                self.note("unknown_unit", spelling[:40])
                return Unit(self._fit("engUnit", spelling)[:40])
            raise self.fail("unknown_unit", spelling[:40]) from None
        if wanted.unit not in (ANY, unit.canonical):
            raise self.fail("wrong_unit", f"{point_type} in {spelling}")
        if point_type in _UNITLESS:
            self.note("unwanted_unit", f"{point_type} in {spelling}")
        if _FIXED_UNIT.get(point_type, spelling) != spelling:
            self.note("unusual_unit", f"{spelling} in place of {_FIXED_UNIT[point_type]}")
        return unit

    def _identity(self, object_type: str) -> tuple[str, str, str]:
        """Return (object id, object name, associate id)."""
        id_field, name_field = (
            ("rackLocationId", "rackLocationName") if object_type == "Rack" else ("objectId", "objectName")
        )
        object_id, name, associate = (self._text(f) for f in (id_field, name_field, "associateId"))
        if associate and (object_id or self.payload.get("servesId")):
            self.note("object_and_associate", f"{object_id} and {associate}")
            associate = "" if object_id else associate
        if associate:
            # Part of another object and without an id of its own: named after what it is a part of.
            return "/".join((associate, self.topic.object_type, *self._texts("processArea"))), name, associate
        if not object_id and not name:
            raise self.fail("no_identity", f"neither {id_field} nor associateId")
        for given, name_of_field in ((object_id, id_field), (name, name_field)):
            if not given:
                self.note("missing_field", name_of_field)
        if object_type == "PowerMeter" and "servesId" not in self.payload:
            self.note("missing_field", "servesId")
        return object_id or name, name, ""

    def _phase(self) -> str:
        told = self.payload.get("phase")
        phase = _PHASES.get(told, "") if isinstance(told, str) else ""
        if (told is not None and not phase) or (told is None and self.topic.point_type == "PhaseCurrent"):
            self.note("bad_phase", brief(told, 40))
        return phase

    def _text(self, name: str) -> str:
        told = self.payload.get(name, "")
        if isinstance(told, str):
            return self._fit(name, told)
        self.note("wrong_type", f"{name} is no text")
        return ""

    def _fit(self, name: str, text: str) -> str:
        if len(text) > TEXT_LENGTH:
            raise self.fail("too_long", f"{name} of {len(text)} characters")
        return text if text.isprintable() else "".join(c for c in text if c.isprintable())

    def _texts(self, name: str) -> tuple[str, ...]:
        told = self.payload.get(name, ())
        if isinstance(told, list | tuple) and len(told) > LIST_LENGTH:
            raise self.fail("too_long", f"{name} of {len(told)} entries")
        if isinstance(told, list | tuple) and all(isinstance(t, str) for t in told):
            return tuple(self._fit(name, t) for t in told)
        if not any(v.detail.endswith(f"{name} is no list of texts") for v in self.noted):
            self.note("wrong_type", f"{name} is no list of texts")
        return (self._fit(name, told),) if isinstance(told, str) else ()
