"""What `config/alerts.yaml` may say about each kind of rule."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from domain.alert import Severity
from domain.breaches import AHEAD_S
from domain.catalogue import POINT_TYPES, STATE, PointType
from domain.configuration import SettingsModel
from domain.errors import UnitError
from domain.languages import LANGUAGES, Language
from domain.site import ThermalLimits
from domain.units import parse_quantity


def _quantity(canonical: str, example: str) -> BeforeValidator:
    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"write a quantity such as '{example}'")
        try:
            return parse_quantity(value, canonical)
        except UnitError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(parse)


def _schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}], "examples": [example]})


Duration = Annotated[float, _quantity("s", "30 s"), _schema("30 s"), Field(ge=0)]
"""Seconds; a bare number or a quantity such as ``15 min``."""
Share = Annotated[float, _quantity("1", "50 %"), _schema("50 %"), Field(ge=0)]
"""A ratio; a bare number (0 to 1) or a quantity such as ``50 %``."""


LONGEST_RATE_S = 3600.0
OVERRIDES = "What is otherwise for some objects; the first that covers an object holds"
LEAKS = frozenset({"RackLeakDetect", "RackLeakDetectTray", "LeakDetect"})
"""Point types that tell of water."""


class Strict(SettingsModel):
    """A model that refuses keys it does not know."""

    model_config = ConfigDict(populate_by_name=True)


class RuleSettings(Strict):
    """What every rule has."""

    name: str = Field(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="Stable: it is half of an alert's identity"
    )
    severity: Severity
    hold_for: Duration = Field(
        0.0, alias="for", description="The condition must hold this long before it alerts"
    )
    keep_firing_for: Duration = Field(
        0.0, description="It must be gone this long before the alert is cleared"
    )
    advice: str = Field("", description="What to do first; told with the alert")
    takes_over: tuple[str, ...] = Field(
        (), description="Rules that foretell it: their alert on the same object becomes this rule's"
    )
    never_muted: bool = Field(
        False,
        description="Nothing may explain its alerts away, and no glob, window or mode keeps them quiet: only what names "
        "rule and object. So are rules of leaks; smoke should be",
    )
    enabled: bool = True

    @property
    def is_safety(self) -> bool:
        """Whether only what names the rule and the object in full may keep its alarms quiet."""
        return self.never_muted


class EnvelopeExceeded(RuleSettings):
    """Power above the limit of a node of the envelope."""

    kind: Literal["envelope_exceeded"]
    basis: Literal["running", "quarter_hour", "projected"] = Field(
        description="Power now; the 15-minute average of a quarter hour; or where this quarter hour will end "
        "if power stays as it is"
    )
    nodes: tuple[Literal["Site", "Feed", "UPS", "PowerMeter", "Rack"], ...] = Field(
        ("Site", "Feed", "UPS", "PowerMeter", "Rack"), description="Kinds of envelope nodes that it watches"
    )
    share: Share = Field(1.0, gt=0, description="Share of the limit above which it alerts")
    clear_share: Share = Field(0.98, gt=0, description="Share of the limit under which it clears")

    @model_validator(mode="after")
    def _ordered(self) -> EnvelopeExceeded:
        if self.clear_share > self.share:
            raise ValueError("clear_share must not be above share")
        return self


class EnvelopePredicted(RuleSettings):
    """A limit that the newest forecast will likely exceed."""

    kind: Literal["envelope_predicted"]
    probability: Share = Field(
        0.5,
        gt=0,
        le=1,
        description="Probability that the limit is passed at all meanwhile at which it alerts",
    )
    clear_probability: Share = Field(0.35, description="That probability under which it clears")
    within: Duration = Field(AHEAD_S, description="How far ahead it looks")
    objects: tuple[str, ...] = Field(
        (), description="Whose forecasts, as ids or globs such as `UPS-*`; the site's if empty"
    )
    point_type: str = "ActivePower"

    @model_validator(mode="after")
    def _ordered(self) -> EnvelopePredicted:
        if self.clear_probability > self.probability:
            raise ValueError("clear_probability must not be above probability")
        return self


class Override(Strict):
    """What is otherwise for some objects."""

    objects: tuple[str, ...] = Field(min_length=1, description="Ids or globs of the objects alerted on")
    severity: Severity | None = Field(None, description="The rule's if not written")
    enabled: bool = Field(True, description="Whether these objects are watched by the rule at all")

    def covers(self, object_id: str) -> bool:
        """Return whether the object is one of them."""
        return any(fnmatchcase(object_id, pattern) for pattern in self.objects)


Overriding = TypeVar("Overriding", bound=Override)


class LimitOverride(Override):
    """Another limit for some objects."""

    limit: float | str | None = Field(None, description="Instead of the rule's `above` or `below`")


class Limit(RuleSettings):
    """A measured value above or below a limit, such as a temperature."""

    kind: Literal["limit"]
    points: tuple[str, ...] = Field(min_length=1, description="Point types, all of one unit")
    object_types: tuple[str, ...] = Field((), description="Only on these object types")
    process_area: tuple[str, ...] = Field((), description="Only points of this process area, such as Supply")
    above: float | str | None = Field(None, description="A quantity, or a name of the site's thermal limits")
    below: float | str | None = Field(None, description="A quantity, or a name of the site's thermal limits")
    hysteresis: float = Field(
        0.0, ge=0, description="How far back within the limit it clears, canonical unit"
    )
    per: Literal["object", "associate"] = Field(
        "object", description="One alert per object, or one per object that it is part of (a GPU's rack)"
    )
    overrides: tuple[LimitOverride, ...] = Field((), description=OVERRIDES)

    @field_validator("points")
    @classmethod
    def _measured(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _of_one_unit(value)

    @model_validator(mode="after")
    def _one_limit(self) -> Limit:
        if (self.above is None) == (self.below is None):
            raise ValueError("write either 'above' or 'below'")
        self.bound(ThermalLimits())
        for override in self.overrides:
            self.bound(ThermalLimits(), override.limit)
        return self

    @property
    def unit(self) -> str:
        """Canonical unit of the limit."""
        return _point_type(self.points[0]).unit

    def bound(self, thermal: ThermalLimits, other: float | str | None = None) -> float:
        """Return the limit, or another one, in the canonical unit; a name is looked up in the site's thermal limits."""
        text = other if other is not None else self.above if self.above is not None else self.below
        if isinstance(text, str) and text in ThermalLimits.model_fields:
            return float(getattr(thermal, text))
        try:
            return parse_quantity(text if text is not None else "", self.unit)
        except UnitError as error:
            names = ", ".join(ThermalLimits.model_fields)
            raise ValueError(f"{error}; or name one of the site's thermal limits: {names}") from error


class RateOfChange(RuleSettings):
    """A measured value that rises or falls fast, whatever it is."""

    kind: Literal["rate_of_change"]
    points: tuple[str, ...] = Field(min_length=1, description="Point types, all of one unit")
    object_types: tuple[str, ...] = Field((), description="Only on these object types")
    process_area: tuple[str, ...] = Field((), description="Only points of this process area, such as Supply")
    by: float | str = Field(description="The change at which it alerts, such as `4 Cel`")
    within: Duration = Field(
        gt=0, le=LONGEST_RATE_S, description="The time in which it changes that much; an hour at most"
    )
    direction: Literal["rises", "falls", "either"] = "rises"
    clear_share: Share = Field(0.7, gt=0, le=1, description="Share of the change below which it clears")
    per: Literal["object", "associate"] = Field(
        "object", description="One alert per object, or one per object that it is part of (a GPU's rack)"
    )
    overrides: tuple[Override, ...] = Field((), description=OVERRIDES)

    @field_validator("points")
    @classmethod
    def _measured(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _of_one_unit(value)

    @model_validator(mode="after")
    def _positive(self) -> RateOfChange:
        if not self.change > 0:
            raise ValueError("'by' must be above 0; 'direction' says which way")
        return self

    @property
    def unit(self) -> str:
        """Canonical unit of the change."""
        return _point_type(self.points[0]).unit

    @property
    def change(self) -> float:
        """The change at which it alerts, canonical unit."""
        try:
            return parse_quantity(self.by, self.unit)
        except UnitError as error:
            raise ValueError(str(error)) from error


class Absence(RuleSettings):
    """A reading that should be there and is not, whether its source is heard or not."""

    kind: Literal["absence"]
    points: tuple[str, ...] = Field(
        min_length=1, description="Point types; one of them that is fresh is enough"
    )
    object_types: tuple[str, ...] = Field((), description="Only on these object types")
    objects: tuple[str, ...] = Field(
        (),
        description="Ids or globs of plant objects that must have such a reading; if empty, those that have had one",
    )
    after: Duration = Field(300.0, gt=0, description="How old the newest reading may be")
    overrides: tuple[Override, ...] = Field((), description=OVERRIDES)

    @field_validator("points")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            _point_type(name)
        return value


class State(RuleSettings):
    """A state that is not a normal one, such as a leak, or one of those that are not, such as a UPS on battery."""

    kind: Literal["state"]
    points: tuple[str, ...] = Field(min_length=1, description="Point types whose values are states")
    object_types: tuple[str, ...] = Field((), description="Only on these object types")
    normal: tuple[str, ...] = Field(
        (), description="Labels (any case) or numbers of the states that are fine; every other state alerts"
    )
    abnormal: tuple[str, ...] = Field(
        (),
        description="Instead of `normal`: labels or numbers of the states that alert; every other state is fine",
    )
    overrides: tuple[Override, ...] = Field((), description=OVERRIDES)

    @property
    def is_safety(self) -> bool:
        """Whether only what names the rule and the object may keep its alarms quiet: always of leaks."""
        return self.never_muted or not LEAKS.isdisjoint(self.points)

    @model_validator(mode="after")
    def _one_list(self) -> State:
        if bool(self.normal) == bool(self.abnormal):
            raise ValueError("list either the normal states or the abnormal ones")
        return self

    @field_validator("normal", "abnormal", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return [str(v) for v in value] if isinstance(value, (list, tuple)) else value

    @field_validator("points")
    @classmethod
    def _states(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            kind = _point_type(name)
            if kind.unit != STATE and not kind.state:
                raise ValueError(f"{name} is measured in {kind.unit}; use a rule of kind 'limit'")
        return value


class SourceAge(Strict):
    """How long sources of some names may be silent."""

    sources: str = Field(description="Name or glob, such as snmp:*")
    after: Duration = Field(gt=0)


class SharedPath(Strict):
    """Something that many sources come through, such as a broker: when most are silent, it is to blame."""

    name: str = Field(description="What the alert is raised on")
    sources: tuple[str, ...] = Field(min_length=1, description="Names or globs of the sources behind it")
    share: Share = Field(0.9, gt=0, le=1, description="Share of silent sources at which it is to blame")
    after: Duration | None = Field(
        None, gt=0, description="How long so many may be silent at once, where that is shorter than for each"
    )
    severity: Severity | None = Field(None, description="The rule's if not written")


class StaleSource(RuleSettings):
    """A source that is not heard, or whose device does not answer: one alert a source, not one a point."""

    kind: Literal["stale_source"]
    after: Duration = Field(120.0, gt=0, description="How long a source may be silent")
    overrides: tuple[SourceAge, ...] = Field(
        (), description="Other times for some sources; the first match holds"
    )
    heartbeat_after: Duration = Field(
        45.0, gt=0, description="How long a source's heartbeat (HeartbeatTimestampBms) may be missing"
    )
    shared: tuple[SharedPath, ...] = ()
    ignore: tuple[str, ...] = Field((), description="Names or globs of sources that may fall silent")


class ForecastAge(RuleSettings):
    """A forecast that was not renewed in time."""

    kind: Literal["forecast_age"]
    after: Duration = Field(45 * 60.0, gt=0, description="How old the newest forecast may be")
    objects: tuple[str, ...] = Field(
        (),
        description="Whose forecasts, as ids or globs; the site's if empty. Of a node that is not measured none is expected",
    )
    point_type: str = "ActivePower"


class EvaluationError(RuleSettings):
    """A rule that cannot be evaluated: our own fault, which says nothing of the plant."""

    kind: Literal["evaluation_error"]


REDUNDANCY = "redundancy"
"""Stands for the groups of redundancy of the site file, and the CDUs of a pod, where object types are named."""
PLACEHOLDERS = ("found", "all", "racks", "gpus", "sides", "time")
_WORDED = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {tag: {"type": "string"} for tag in LANGUAGES},
                "required": ["en"],
            },
        ]
    }
)


def _worded(value: Any) -> Any:
    return {"en": value} if isinstance(value, str) else value


class SharedCause(RuleSettings):
    """What several objects that find something have in common: what serves them is told in their place."""

    kind: Literal["shared_cause"]
    of: tuple[str, ...] = Field(min_length=1, description="Rules whose findings are the evidence")
    roots: tuple[str, ...] = Field(
        min_length=1,
        description="What may be to blame: object types such as Feed, or `redundancy` for the groups of the site file",
    )
    share: Share = Field(0.5, gt=0, le=1, description="Share of what it serves that must show it")
    least: int = Field(2, ge=1, description="And so many objects at least")
    says: Annotated[dict[Language, str], BeforeValidator(_worded), _WORDED] = Field(
        default={"en": "{found} of {all} at once", "zh-Hant": "{all} 個中同時有 {found} 個"},
        description="What is told, in English or by language: {found} of {all} objects for {time}, {racks} racks with {gpus} GPUs {sides}",
    )

    @field_validator("says")
    @classmethod
    def _placeholders(cls, value: dict[Language, str]) -> dict[Language, str]:
        if "en" not in value:
            raise ValueError("English ('en') is told where a reader's language is not there")
        try:
            for text in value.values():
                text.format(**dict.fromkeys(PLACEHOLDERS, ""))
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise ValueError(f"it may hold {known} and no other braces") from error
        return value


AnyRule = Annotated[
    EnvelopeExceeded
    | EnvelopePredicted
    | Limit
    | RateOfChange
    | State
    | Absence
    | StaleSource
    | ForecastAge
    | SharedCause
    | EvaluationError,
    Field(discriminator="kind"),
]


def override_for(overrides: Sequence[Overriding], object_id: str) -> Overriding | None:
    """Return what is otherwise for an object: the first override that covers it."""
    return next((o for o in overrides if o.covers(object_id)), None)


def _of_one_unit(names: tuple[str, ...]) -> tuple[str, ...]:
    units = {_point_type(name).unit for name in names}
    if len(units) > 1:
        raise ValueError(
            f"its point types have several units ({', '.join(sorted(units))}); write one rule each"
        )
    if units == {STATE}:
        raise ValueError("its points are states; use a rule of kind 'state'")
    return names


def _point_type(name: str) -> PointType:
    if name not in POINT_TYPES:
        raise ValueError(f"{name!r} is no point type; the catalogue (docs/reference) lists them")
    return POINT_TYPES[name]
