"""The site: what no device tells. Limits, redundancy, floor positions, time zone.

Read from `site.yaml` (see `config/site.schema.json`, generated from these models). Quantities may be written with
a unit, such as ``16 MW``; they are kept in canonical units.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from domain.envelope import Envelope, EnvelopeNode, LimitChange
from domain.errors import UnitError, brief
from domain.topology import PlantObject
from domain.units import parse_quantity


def _in(canonical: str, example: str) -> BeforeValidator:
    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"write a quantity such as '{example}'")
        try:
            return parse_quantity(value, canonical)
        except UnitError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(parse)


_QUANTITY = WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}], "examples": ["16 MW"]})
Power = Annotated[float, _in("W", "16 MW"), _QUANTITY]
Temperature = Annotated[float, _in("Cel", "45 Cel"), _QUANTITY]

_DIGITS = "0123456789"
MOST_IDS = 10_000
"""One list of ids names this many at most."""
MOST_IDS_IN_ALL = 100_000


def expand(text: str) -> list[str]:
    """Return the ids that a range such as ``R001..008`` or ``R001..R008`` stands for; any other text stands for itself.

    Raises
    ------
    ValueError
        If what has the dots of a range is none, runs backwards or stands for more than `MOST_IDS`.
    """
    parts = _range(text)
    if parts is None:
        if ".." in text:
            raise ValueError(f"{brief(text)} is no range; only its number may change, as in R001..008")
        return [text]
    prefix, first, last, tail = parts
    if span(text) > MOST_IDS:
        raise ValueError(f"{brief(text)} is a range of more than {MOST_IDS:,} ids")
    if int(last) < int(first):
        raise ValueError(f"{brief(text)} runs backwards; write the lower number first")
    return [f"{prefix}{n:0{len(first)}d}{tail}" for n in range(int(first), int(last) + 1)]


def _range(text: str) -> tuple[str, str, str, str] | None:
    """Return prefix, first and last number and tail of a range, or None."""
    head, dots, rest = text.partition("..")
    prefix = head.rstrip(_DIGITS)
    rest = rest.removeprefix(prefix)
    tail = rest.lstrip(_DIGITS)
    first, last = head[len(prefix) :], rest[: len(rest) - len(tail)]
    return (prefix, first, last, tail) if dots and first and last else None


def span(text: object) -> int:
    """Return how many ids a text stands for, without writing them out."""
    parts = _range(text) if isinstance(text, str) else None
    if parts is None:
        return 1
    if max(len(parts[1]), len(parts[2])) > 9:
        return MOST_IDS_IN_ALL + 1
    return max(int(parts[2]) - int(parts[1]) + 1, 0)


def _ids(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(t, (str, int)) for t in texts):
        raise ValueError("write an id, a range such as R001..008, or a list of these")
    found: list[str] = []
    for text in texts:
        found += expand(str(text))
        if len(found) > MOST_IDS:
            raise ValueError(f"names more than {MOST_IDS:,} ids")
    return tuple(found)


Ids = Annotated[
    tuple[str, ...],
    BeforeValidator(_ids),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""One id, a range (``R001..008``), or a list of either."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ThermalLimits(_Model):
    """Temperatures that must not be passed."""

    gpu: Temperature = Field(87.0, description="GPU core temperature, Cel")
    coolant_supply: Temperature = Field(40.0, description="Coolant into a rack, Cel")
    coolant_return: Temperature = Field(52.0, description="Coolant out of a rack, Cel")


class PodSite(_Model):
    """A group of racks that shares two busways and its CDUs."""

    id: str = Field(description="Its id")
    racks: Ids = Field(description="Ids of its racks, in the order in which they stand: R001..008 is a range")
    cdus: Ids = Field((), description="Ids of the CDUs that cool it")
    busways: Ids = Field((), description="Ids of the busways that feed it")
    row: int = Field(ge=1, description="Row on the floor, 1 at the top")
    column: int = Field(1, ge=1, description="Column of its first rack; the others stand to the right")
    rack_limit: Power | None = Field(None, description="Limit of each rack, if not the site's")


class NodeSite(_Model):
    """A node of the power path above the racks."""

    id: str = Field(description="Its id")
    type: Literal["Feed", "UPS", "PowerMeter"] = Field(description="What it is; a busway is a PowerMeter")
    limit: Power = Field(description="What its 15-minute average power may reach")
    serves: Ids = Field(description="Ids of the nodes, busways or racks that hang on it")
    meter: str = Field("", description="Id of the object whose ActivePower is the node's; itself if empty")


class LimitSchedule(_Model):
    """A change of the site limit, such as a demand-response event or a contract step."""

    start: datetime = Field(description="From when, with time zone")
    end: datetime = Field(description="Until when, with time zone")
    limit: Power = Field(description="What the site's 15-minute average power may reach meanwhile")
    reason: str = Field("", description="Why, shown to operators")

    @field_validator("start", "end")
    @classmethod
    def _zoned(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("write the time with its zone, such as 2026-07-01T14:00:00+08:00")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> LimitSchedule:
        if self.end <= self.start:
            raise ValueError("end must come after start")
        return self


class Site(_Model):
    """The whole site file."""

    id: str = Field(description="Short id, in points and in the API")
    name: str = Field(description="What people call it")
    timezone: str = Field("UTC", description="IANA name; operators see its local time")
    country: str = Field("", description="ISO 3166 code, for holidays")
    limit: Power = Field(description="What the site's 15-minute average power may reach")
    installed: Power = Field(
        description="Power that the site draws with everything at full load; bounds forecasts"
    )
    idle: Power = Field(0.0, description="Power that the site never falls under; bounds forecasts")
    rack_limit: Power = Field(description="What a rack's 15-minute average power may reach")
    rack_gpus: int = Field(72, ge=0, description="GPUs in a rack")
    thermal: ThermalLimits = Field(ThermalLimits(), description="Temperatures that must not be passed")
    schedule: tuple[LimitSchedule, ...] = ()
    nodes: tuple[NodeSite, ...] = Field((), max_length=1000)
    pods: tuple[PodSite, ...] = Field(min_length=1, max_length=1000)
    meters: Ids = Field(
        (),
        description="Objects whose ActivePower, summed, is the site's; all feeds if empty, the racks' own power without feeds",
    )
    chassis: dict[str, str] = Field(
        default_factory=dict,
        max_length=MOST_IDS,
        description="Racks by the serial number of their chassis, as GPUs tell it: trays that are not configured find their "
        "rack by it",
    )
    redundancy: dict[str, Ids] = Field(default_factory=dict, description="Groups of which one may fail")

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        """Refuse short ranges that stand for more than any site has, before one is written out."""
        total = 0
        for part in ("pods", "nodes"):
            entries = value.get(part) if isinstance(value, dict) else None
            for entry in entries if isinstance(entries, list) else ():
                lists = entry.values() if isinstance(entry, dict) else ()
                total += sum(
                    span(text) for ids in lists for text in (ids if isinstance(ids, list) else [ids])
                )
        if total > MOST_IDS_IN_ALL:
            raise ValueError(f"pods and nodes name more than {MOST_IDS_IN_ALL:,} ids in all")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as 'Asia'
            raise ValueError(
                f"{brief(value)} is no IANA time zone; write one such as 'Asia/Taipei'"
            ) from None
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Site:
        racks = [r for pod in self.pods for r in pod.racks]
        twice = sorted(rack for rack, times in Counter(racks).items() if times > 1)
        if twice:
            raise ValueError(f"racks listed in more than one pod: {', '.join(twice)}")
        strange = sorted(set(self.chassis.values()) - set(racks))
        if strange:
            raise ValueError(f"chassis are named of racks that no pod has: {', '.join(strange)}")
        if self.installed <= self.idle:
            raise ValueError("installed must be greater than idle")
        known = set(racks) | {n.id for n in self.nodes} | {b for p in self.pods for b in p.busways}
        for node in self.nodes:
            unknown = sorted(set(node.serves) - known)
            if unknown:
                raise ValueError(f"node {node.id} serves unknown ids: {', '.join(unknown)}")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The site's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def racks(self) -> tuple[str, ...]:
        """Ids of all racks, pod by pod."""
        return tuple(rack for pod in self.pods for rack in pod.racks)

    @property
    def cdus(self) -> tuple[str, ...]:
        """Ids of all CDUs, pod by pod."""
        return tuple(cdu for pod in self.pods for cdu in pod.cdus)

    def pod_of(self, object_id: str) -> PodSite | None:
        """Return the pod that a rack, CDU or busway belongs to, or None."""
        return next((p for p in self.pods if object_id in (*p.racks, *p.cdus, *p.busways)), None)

    def position(self, rack: str) -> tuple[int, int] | None:
        """Return (row, column) of a rack on the floor, both from 1, or None for an unknown rack."""
        pod = self.pod_of(rack)
        return None if pod is None or rack not in pod.racks else (pod.row, pod.column + pod.racks.index(rack))

    def site_meters(self) -> tuple[str, ...]:
        """Return the ids of the objects whose ActivePower, summed, is the site's power.

        Falls back to the racks themselves (RackPower) where the site has neither meters nor feeds.
        """
        feeds = tuple(n.meter or n.id for n in self.nodes if n.type == "Feed")
        return self.meters or feeds or self.racks

    def objects(self) -> list[PlantObject]:
        """Return the plant objects that the site file itself knows."""
        found = [PlantObject(self.id, "Site", self.name)]
        found += [PlantObject(n.id, n.type, n.id) for n in self.nodes]
        for pod in self.pods:
            found.append(PlantObject(pod.id, "Pod", pod.id))
            found += [PlantObject(r, "Rack", r) for r in pod.racks]
            found += [PlantObject(c, "CDU", c) for c in pod.cdus]
            found += [PlantObject(b, "PowerMeter", b) for b in pod.busways]
        return found

    def edges(self) -> list[tuple[str, str]]:
        """Return the (serves, served) pairs that the site file itself knows."""
        pairs = [(node.id, child) for node in self.nodes for child in node.serves]
        top = [n.id for n in self.nodes if n.type == "Feed"]
        pairs += [(self.id, feed) for feed in top]
        pairs += [(cdu, rack) for pod in self.pods for cdu in pod.cdus for rack in pod.racks]
        return pairs

    def envelope(self) -> Envelope:
        """Return the tree of power limits: the site, the nodes above the racks, the racks."""
        changes = tuple(LimitChange(_ms(c.start), _ms(c.end), c.limit, c.reason) for c in self.schedule)
        feeds = tuple(n.id for n in self.nodes if n.type == "Feed")
        nodes = {
            self.id: EnvelopeNode(
                self.id, "Site", self.limit, self.site_meters(), feeds or self.racks, changes
            )
        }
        for node in self.nodes:
            nodes[node.id] = EnvelopeNode(
                node.id, node.type, node.limit, (node.meter or node.id,), node.serves
            )
        for pod in self.pods:
            for rack in pod.racks:
                limit = self.rack_limit if pod.rack_limit is None else pod.rack_limit
                nodes[rack] = EnvelopeNode(rack, "Rack", limit, (rack,))
        return Envelope(self.id, nodes)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
