"""Faults: a catalogue as data, and the book of those that are planned or going on.

A fault turns knobs of the plant (`domain.plant.conditions`) or of the GPUs (`simulator.gpus`), falsifies readings, has the BMS
misbehave on its bus (`simulator.misbehaving`) or an SNMP agent on the wire (`simulator.snmp.responder`), silences an instrument, or makes a GPU report an error. New faults are entries of `config/simulator/faults.yaml`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from domain.catalogue import POINT_TYPES
from domain.configuration import validated
from domain.errors import ConfigurationError, InputError, Problem
from domain.plant.conditions import HEALTHY
from domain.plant.layout import PlantLayout
from domain.points import IntArray, ValueArray
from domain.units import parse_quantity
from simulator.gpus import KNOBS, TRAY_GPUS

if TYPE_CHECKING:
    from simulator.factory import Factory

CATALOGUE = Path(__file__).parents[1] / "config" / "simulator" / "faults.yaml"

ObjectKind = Literal[
    "site", "pod", "rack", "tap", "pdu", "tray", "gpu", "cdu", "ups", "feed", "crah", "busway"
]
_Seconds = Annotated[float, BeforeValidator(lambda v: parse_quantity(v, "s"))]
_Range = Annotated[tuple[float, float], Field(description="Lowest and highest severity that is drawn")]
_HELD = {"rack_valve_stuck": "valve", "cdu_valve_stuck": "primary_valve"}
"""Knobs that can hold what is: the plant's state that they freeze."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Effect(_Model):
    """One thing that a fault does. Amounts are those at severity 1."""

    knob: str | None = Field(None, description="Knob of the plant or the GPUs; with set, scale, add or hold")
    set: float | None = None
    scale: float | None = Field(None, description="Multiplies the healthy value")
    add: float | None = None
    hold: bool = Field(False, description="Freezes a valve where it is")
    share: float = Field(
        1.0, gt=0, le=1, description="Share of the object's GPUs that are hit, drawn by seed"
    )
    side: Literal["A", "B"] | None = Field(None, description="Of a rack's taps only this one")

    point: str | None = Field(None, description="Point type whose reading is falsified; with how")
    tag: str = Field("", description="Only points whose key holds this text")
    how: (
        Literal[
            "stuck", "drift", "offset", "spike", "noise", "scale", "swap", "clock", "missing", "bad", "set"
        ]
        | None
    ) = None
    amount: float = Field(
        0.0, description="In the point's canonical unit; a factor for scale; seconds for clock"
    )
    other: str = Field("", description="For swap: the tag of the point to swap with")

    bus: Literal["clock", "clock_drift", "second_tag", "retain", "rogue", "no_heartbeat"] | None = Field(
        None,
        description="What the BMS does wrong on the bus: its clock is `amount` s ahead, or gains them each minute; it tells a "
        "`quantity` under a second tag as well, `amount` times as large, or retained; somebody else tells `amount`; no heartbeat",
    )
    quantity: str = Field("", description="For bus: the point type")

    agent: Literal["half", "frozen", "no_clock", "odd"] | None = Field(
        None,
        description="What an SNMP agent does wrong: its answers hold half of what was asked for, and it has no GETBULK; its values "
        "stand still; it has no sysUpTime; each answer holds an object without a name",
    )
    silence: Literal["snmp", "tray", "dsx"] | None = Field(None, description="Endpoint that stops answering")
    xid: int | None = Field(None, description="GPU error that is reported")
    per_hour: float = Field(0.0, description="How often the XID comes again; once if 0")

    @model_validator(mode="after")
    def _one_thing(self) -> Effect:
        kinds = [
            k for k in ("knob", "point", "bus", "agent", "silence", "xid") if getattr(self, k) is not None
        ]
        if len(kinds) != 1:
            raise ValueError(
                "an effect has exactly one of knob, point, silence and xid, or is of the bus or an agent"
            )
        if self.bus in ("second_tag", "retain", "rogue") and self.quantity not in POINT_TYPES:
            raise ValueError(f"{self.bus} needs a quantity: a point type of the catalogue")
        if self.knob is not None:
            if self.knob not in HEALTHY and self.knob not in KNOBS:
                close = difflib.get_close_matches(self.knob, [*HEALTHY, *KNOBS], 1)
                raise ValueError(
                    f"no knob {self.knob!r}" + (f"; did you mean {close[0]!r}?" if close else "")
                )
            if sum(x is not None for x in (self.set, self.scale, self.add)) + self.hold != 1:
                raise ValueError("a knob needs exactly one of set, scale, add and hold")
            if self.hold and self.knob not in _HELD:
                raise ValueError(f"{self.knob} cannot hold; these can: {', '.join(_HELD)}")
        if self.point is not None and (self.how is None or self.point not in POINT_TYPES):
            raise ValueError("a falsified reading needs a point type of the catalogue and how")
        return self


class FaultKind(_Model):
    """An entry of the catalogue."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    area: Literal["power", "cooling", "gpu", "sensor", "load", "bus", "agent"]
    object: ObjectKind
    onset: _Seconds = Field(0.0, description="Time from its beginning to full severity")
    duration: _Seconds | None = Field(None, description="How long it lasts; until it is cleared if not given")
    severity: _Range = (0.6, 1.0)
    effects: tuple[Effect, ...] = Field(min_length=1)


class _File(_Model):
    faults: tuple[FaultKind, ...]

    @model_validator(mode="after")
    def _distinct(self) -> _File:
        names = [f.name for f in self.faults]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"faults named more than once: {', '.join(twice)}")
        return self


class Catalogue(Mapping[str, FaultKind]):
    """The faults that can be raised, by name."""

    def __init__(self, kinds: Iterable[FaultKind]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}

    def __getitem__(self, name: str) -> FaultKind:
        return self._kinds[name]

    def __iter__(self) -> Any:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    @classmethod
    def shipped(cls) -> Catalogue:
        """Return the catalogue that comes with Hallwatch."""
        return _shipped()

    @classmethod
    def load(cls, file: Path) -> Catalogue:
        """Read a catalogue.

        Raises
        ------
        ConfigurationError
            If the file cannot be read or an entry is wrong.
        """
        try:
            data = yaml.safe_load(file.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise ConfigurationError(Problem(str(file), "", f"cannot be read: {error}")) from error
        return cls(validated(_File, data, str(file)).faults)


@cache
def _shipped() -> Catalogue:
    return Catalogue.load(CATALOGUE)


@dataclass(slots=True, eq=False)
class Fault:
    """A fault of one object: planned, going on, or over. Times are UTC ms; `end` None until it is cleared."""

    id: int
    kind: FaultKind
    target: str
    onset: int
    end: int | None
    severity: float
    seed: int

    def progress(self, now: int) -> float:
        """Return how far it is: 0 before its onset and after its end, 1 at full severity."""
        if now < self.onset or (self.end is not None and now >= self.end):
            return 0.0
        if self.kind.onset <= 0:
            return 1.0
        return min(1.0, max((now - self.onset) / 1000.0 / self.kind.onset, 1e-6))

    def as_dict(self, now: int) -> dict[str, Any]:
        """Return it as plain data, for the control channel."""
        return {
            "id": self.id,
            "name": self.kind.name,
            "target": self.target,
            "onset": self.onset,
            "end": self.end,
            "severity": self.severity,
            "progress": round(self.progress(now), 4),
        }


class FaultBook:
    """Faults of one factory, applied before each step."""

    def __init__(self, factory: Factory, catalogue: Catalogue) -> None:
        self.factory = factory
        self.catalogue = catalogue
        self.faults: list[Fault] = []
        self.falsified: list[tuple[Fault, Effect, float]] = []
        self.silent: dict[str, frozenset[str]] = {
            "snmp": frozenset(),
            "tray": frozenset(),
            "dsx": frozenset(),
        }
        self.agents: dict[str, frozenset[str]] = {}
        """What the SNMP agents of some objects do wrong (`Effect.agent`)."""
        self.objects = objects(factory.layout, factory.site.id)
        self._next = 1
        self._held: dict[tuple[int, str], ValueArray] = {}
        self._turned = False
        self._last = 0
        self._reported: set[tuple[int, int]] = set()

    def plan(self, name: str, target: str, onset: int, severity: float, duration_s: float | None) -> Fault:
        """Enter a fault; see `Factory.raise_fault`."""
        kind = self.catalogue.get(name)
        if kind is None:
            close = difflib.get_close_matches(name, list(self.catalogue), 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(self.catalogue)}"
            raise InputError(f"no fault {name!r} in the catalogue; {hint}")
        found = self.objects.get(target)
        if found is None or found != kind.object:
            example = next(o for o, k in self.objects.items() if k == kind.object)
            raise InputError(
                f"{name} happens to a {kind.object}, and {target!r} is none; write one such as {example}"
            )
        if not 0.0 < severity <= 2.0:
            raise InputError(f"severity {severity} of {name} is not between 0 and 2")
        for (
            effect
        ) in kind.effects:  # an entry whose knob its object has not is told now, not in the middle of a step
            if effect.knob is not None:
                members(self.factory.layout, self.objects, target, self._knob(effect.knob)[1])
        seconds = kind.duration if duration_s is None else duration_s
        end = None if seconds is None else onset + round(seconds * 1000)
        fault = Fault(self._next, kind, target, onset, end, severity, self.factory.seed * 1000 + self._next)
        self._next += 1
        self.faults.append(fault)
        return fault

    def clear(self, fault_id: int | None = None) -> int:
        """End one fault, or all of them, now; return how many ended."""
        now, ended = self.factory.time_ms, 0
        for fault in self.faults:
            open_ended = fault.end is None or fault.end > now
            if open_ended and fault_id in (None, fault.id):
                fault.end = max(now, fault.onset)
                ended += 1
        return ended

    def active(self, now: int) -> list[Fault]:
        """Return the faults that go on at a time."""
        return [f for f in self.faults if f.progress(now) > 0]

    def apply(self, now: int) -> None:
        """Set knobs, falsifications and silences as they are at a time."""
        active = self.active(now) if self.faults else []
        if self._turned:
            self.factory.conditions.heal()
            for name, knob in self.factory.gpus.knobs.items():
                knob.fill(KNOBS[name])
            self.falsified = []
            self.silent = dict.fromkeys(self.silent, frozenset())
            self.agents = {}
        self._turned = bool(active)
        for fault in active:
            for effect in fault.kind.effects:
                self._apply(fault, effect, fault.progress(now), now)
        self._last = now

    def _apply(self, fault: Fault, effect: Effect, progress: float, now: int) -> None:
        if effect.knob is not None:
            self._turn(fault, effect, progress * fault.severity)
        elif effect.point is not None or effect.bus is not None:
            self.falsified.append((fault, effect, progress * fault.severity))
        elif effect.agent is not None:
            self.agents[fault.target] = self.agents.get(fault.target, frozenset()) | {effect.agent}
        elif effect.silence is not None:
            self.silent[effect.silence] |= {fault.target}
        elif effect.xid is not None:
            self._report(fault, effect.xid, effect.per_hour, now)

    def _turn(self, fault: Fault, effect: Effect, amount: float) -> None:
        assert effect.knob is not None
        knob, kind, healthy = self._knob(effect.knob)
        where = members(self.factory.layout, self.objects, fault.target, kind)
        if effect.side is not None:
            where = where[where % 2 == "AB".index(effect.side)]
        if effect.share < 1.0:
            rng = np.random.default_rng(fault.seed)
            where = rng.permutation(where)[: max(1, round(effect.share * len(where)))]
        flat = knob.reshape(-1)
        if effect.hold:
            state = getattr(self.factory.state, _HELD[effect.knob])
            flat[where] = self._held.setdefault((fault.id, effect.knob), state[where].copy())
        elif effect.set is not None:
            # a switch moves as a whole; anything else goes there by degrees
            flat[where] = effect.set if np.isnan(healthy) or amount > 0.5 else healthy
        elif effect.scale is not None:
            flat[where] *= max(0.0, 1.0 + (effect.scale - 1.0) * amount)
        elif effect.add is not None:
            flat[where] += effect.add * amount

    def _knob(self, name: str) -> tuple[ValueArray, str, float]:
        if name in KNOBS:
            return self.factory.gpus.knobs[name], "gpu", KNOBS[name]
        kind, healthy = HEALTHY[name]
        return getattr(self.factory.conditions, name), kind, healthy

    def _report(self, fault: Fault, xid: int, per_hour: float, now: int) -> None:
        from simulator.factory import Xid

        # a fault that is raised between two steps begins at the last one
        first = self._last <= fault.onset <= now and (fault.id, xid) not in self._reported
        again = (
            per_hour > 0
            and self.factory.rng.random()
            < per_hour * fault.severity * (now - max(self._last, fault.onset)) / 3.6e6
        )
        if first or again:
            self._reported.add((fault.id, xid))
            for gpu in members(self.factory.layout, self.objects, fault.target, "gpu")[:TRAY_GPUS].tolist():
                self.factory.xids.append(Xid(gpu, xid, now))


def objects(layout: PlantLayout, site_id: str) -> dict[str, str]:
    """Return every object that a fault can happen to, with its kind."""
    trays = range(1, layout.gpus_per_rack // TRAY_GPUS + 1)
    found = {site_id: "site"}
    for kind, ids in (
        ("pod", layout.pods),
        ("rack", layout.racks),
        ("tap", layout.taps()),
        ("cdu", layout.cdus),
        ("busway", layout.busways),
        ("ups", layout.ups),
        ("feed", layout.feeds),
        ("crah", layout.crahs),
    ):
        found |= dict.fromkeys(ids, kind)
    for rack in layout.racks:
        found |= {f"{rack}-PDU-{side}": "pdu" for side in "AB"}
        for tray in trays:
            found[f"{rack}-T{tray:02d}"] = "tray"
            found |= {f"{rack}-T{tray:02d}-G{gpu}": "gpu" for gpu in range(TRAY_GPUS)}
    return found


def members(layout: PlantLayout, known: Mapping[str, str], target: str, kind: str) -> IntArray:
    """Return the positions of the `kind` objects that `target` is or holds: the GPUs of a rack, the racks of a pod."""
    whole = known[target]
    if kind == "site":
        return np.array([0], np.int32)
    own = {"cdu": layout.cdus, "ups": layout.ups, "feed": layout.feeds, "crah": layout.crahs}
    if kind in own and whole == kind:
        return np.array([own[kind].index(target)], np.int32)
    if kind in ("cdu", "crah"):
        pods = _pods(layout, target, whole)
        of = layout.cdu_pod if kind == "cdu" else layout.crah_pod
        return np.flatnonzero(np.isin(of, pods)).astype(np.int32)
    if kind in own:
        return np.arange(len(own[kind]), dtype=np.int32)
    if kind == "tap" and whole == "tap":
        return np.array([layout.taps().index(target)], np.int32)
    if kind == "tap" and whole == "busway":
        return np.flatnonzero(layout.tap_busway.reshape(-1) == layout.busways.index(target)).astype(np.int32)
    if kind == "gpu" and whole in ("gpu", "tray"):
        rack, tray, gpu = re.fullmatch(r"(.+)-T(\d+)(?:-G(\d+))?", target).groups()  # type: ignore[union-attr]
        first = layout.racks.index(rack) * layout.gpus_per_rack + (int(tray) - 1) * TRAY_GPUS
        return (
            np.arange(first, first + TRAY_GPUS, dtype=np.int32)
            if gpu is None
            else np.array([first + int(gpu)], np.int32)
        )
    racks = np.flatnonzero(np.isin(layout.rack_pod, _pods(layout, target, whole)))
    if whole == "rack":
        racks = np.array([layout.racks.index(target)])
    each = {"rack": 1, "tap": 2, "gpu": layout.gpus_per_rack}[kind]
    return (racks[:, None] * each + np.arange(each)).reshape(-1).astype(np.int32)


def _pods(layout: PlantLayout, target: str, whole: str) -> list[int]:
    if whole == "pod":
        return [layout.pods.index(target)]
    if whole == "rack":
        return [int(layout.rack_pod[layout.racks.index(target)])]
    if whole == "site":
        return list(range(len(layout.pods)))
    raise InputError(f"a {whole} such as {target} has no such knob; see config/simulator/faults.yaml")


def draw(
    catalogue: Catalogue, layout: PlantLayout, site_id: str, seed: int, start: int, end: int, per_week: float
) -> list[tuple[str, str, int, float]]:
    """Return random faults as (name, target, onset, severity), Poisson in time, for scoring detectors.

    What is wrong on the bus, or with an agent, alone is not drawn: no detector is to find it.
    """
    rng = np.random.default_rng([seed, 503])
    by_kind: dict[str, list[str]] = {}
    for target, kind in objects(layout, site_id).items():
        by_kind.setdefault(kind, []).append(target)
    count = int(rng.poisson(per_week * (end - start) / (7 * 86_400_000)))
    onsets = np.sort(rng.integers(start, end, count)).tolist()
    names = sorted(name for name, kind in catalogue.items() if kind.area not in ("bus", "agent"))
    drawn = []
    for onset in onsets:
        fault = catalogue[str(rng.choice(names))]
        target = str(rng.choice(by_kind[fault.object]))
        drawn.append((fault.name, target, int(onset), float(rng.uniform(*fault.severity))))
    return drawn
