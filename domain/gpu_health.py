"""What is wrong with a GPU, and what to do: the catalogue of GPU health (`config/gpu-health.yaml`) and how it is applied.

Facts are NVIDIA's, each with its source: the Xid catalog, the health validation reference, the NVML API reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from domain.catalogue import POINT_TYPES, STATE
from domain.configuration import SettingsModel
from domain.errors import UnitError
from domain.points import ValueArray
from domain.said import Field as Part
from domain.said import Said, Term
from domain.units import parse_quantity

LONGEST_TEXT = 240
"""Characters of a meaning, and of an action, at most: they stand in the text of an alert."""
MOST_XIDS = 1_000
MOST_PRODUCTS = 100
_SHORT_OF_MEMORY = 0.98
"""A GPU that shows less than this share of its product's memory lacks some."""
_HW_SLOWDOWN, _HW_THERMAL, _HW_POWER_BRAKE = 0x8, 0x40, 0x80  # nvmlClocksEventReasonHw...


class Grade(StrEnum):
    """How bad a finding is; each has a point type of its own, so that each has a rule of its own."""

    FAULT = "fault"
    DEGRADED = "degraded"
    NOTICE = "notice"

    @property
    def point_type(self) -> str:
        """The point type of findings of this grade."""
        return f"Gpu{self.value.capitalize()}"


GRADES = frozenset(grade.point_type for grade in Grade)
"""Point types of findings."""

Kind = Literal[
    "lost",
    "missing",
    "reset_asked",
    "reboot_asked",
    "drain_asked",
    "fabric_recovery_asked",
    "rows_failed",
    "rows_pending",
    "repair_pending",
    "replace",
    "uncorrected_errors",
    "links_down",
    "fabric_limited",
    "fabric_unhealthy",
    "memory_short",
    "pcie_narrow",
    "pcie_slow",
    "slowdown",
    "slowdown_by_heat",
    "power_brake",
    "implausible",
]
"""What is found in the readings; `missing` of a tray, everything else of a GPU."""
KINDS: tuple[str, ...] = Kind.__args__  # type: ignore[attr-defined]
READINGS: tuple[str, ...] = (
    "GpuAvailable",
    "GpuRecoveryAction",
    "GpuRowRemapFailed",
    "GpuRowRemapPending",
    "GpuRepair",
    "GpuEccUncorrected",
    "GpuNvlinksUp",
    "GpuNvlinksDown",
    "GpuFabric",
    "GpuMemoryTotal",
    "GpuPcieWidth",
    "GpuPcieWidthMax",
    "GpuPcieGeneration",
    "GpuPcieGenerationMax",
    "GpuUtilization",
    "GpuThrottleReasons",
)
"""Point types that findings come from, beside those that a product has ranges for."""
_ACTIONS = {
    "reset_asked": (1, 6),
    "reboot_asked": (2, 7),
    "drain_asked": (3, 4),
    "fabric_recovery_asked": (5,),
}
"""States of `GpuRecoveryAction`."""

Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]


class Finding(SettingsModel):
    """One entry: how bad it is, what it means, what NVIDIA says to do, and where that is written."""

    grade: Grade = Field(description="fault: act now; degraded: in working hours; notice: shown only")
    meaning: Text = Field(description="What it is, in a phrase")
    action: str = Field(description="What to do first: one of `actions`")
    then: str = Field("", description="What to do if it comes again: one of `actions`")
    source: str = Field("xid-catalog", description="Where that is written: one of `sources`")


class XidFinding(Finding):
    """XIDs that mean the same."""

    xid: tuple[int, ...] = Field(min_length=1, description="Their numbers")

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and isinstance(value.get("xid"), int):
            return {**value, "xid": [value["xid"]]}
        return value


def _bytes(value: Any) -> float:
    try:
        return parse_quantity(value, "By")
    except UnitError as error:
        raise ValueError(str(error)) from error


def _range(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError("write the lowest and the highest value, such as [20 W, 1500 W]")
    return value[0], value[1]


_RANGE = WithJsonSchema({"type": "array", "minItems": 2, "maxItems": 2})


class Product(SettingsModel):
    """What a node with these GPUs has when nothing is missing."""

    gpus: int = Field(ge=1, le=64, description="GPUs of a node")
    links: int = Field(0, ge=0, le=256, description="NVLinks of a GPU; 0 where that is not known")
    memory: Annotated[float, BeforeValidator(_bytes), WithJsonSchema({"type": "string"})] = Field(
        description="What a GPU shows as its memory, such as 284208 MiB"
    )
    ranges: dict[str, Annotated[tuple[Any, Any], BeforeValidator(_range), _RANGE]] = Field(
        default_factory=dict, description="Lowest and highest plausible value by point type"
    )

    @cached_property
    def limits(self) -> dict[str, tuple[float, float]]:
        """The ranges in canonical units."""
        found = {}
        for name, (low, high) in self.ranges.items():
            unit = POINT_TYPES[name].unit
            found[name] = parse_quantity(low, unit), parse_quantity(high, unit)
        return found

    @model_validator(mode="after")
    def _ranged(self) -> Product:
        for name in self.ranges:
            kind = POINT_TYPES.get(name)
            if kind is None or kind.unit == STATE or not name.startswith("Gpu"):
                raise ValueError(f"{name} is no measured quantity of a GPU")
        try:
            turned = [name for name, (low, high) in self.limits.items() if low > high]
        except UnitError as error:
            raise ValueError(str(error)) from error
        if turned:
            raise ValueError(f"the ranges of {', '.join(turned)} run backwards")
        return self


class GpuHealth(SettingsModel):
    """`gpu-health.yaml`: XIDs and conditions of GPUs with their meaning and remedy, and what nodes have."""

    sources: dict[str, str] = Field(description="Where the facts are written, by name")
    actions: dict[str, Text] = Field(description="What to do, by NVIDIA's word for it")
    xids: tuple[XidFinding, ...] = Field(max_length=MOST_XIDS, description="XIDs, each number once")
    other_xid: Finding = Field(description="An XID that is not listed")
    conditions: dict[Kind, Finding] = Field(description="What is found in readings; every one is listed")
    products: dict[str, Product] = Field(
        max_length=MOST_PRODUCTS, description="By the name that the driver gives the GPUs"
    )
    xid_stands_minutes: float = Field(
        60, gt=0, le=10_080, description="How long a finding stands after the last XID of its number"
    )

    @model_validator(mode="after")
    def _consistent(self) -> GpuHealth:
        numbers = [number for entry in self.xids for number in entry.xid]
        twice = sorted({n for n in numbers if numbers.count(n) > 1})
        if twice:
            raise ValueError(f"XIDs listed twice: {', '.join(map(str, twice))}")
        missing = [kind for kind in KINDS if kind not in self.conditions]
        if missing:
            raise ValueError(f"conditions lack {', '.join(missing)}")
        entries = [*self.xids, self.other_xid, *self.conditions.values()]
        actions = {a for entry in entries for a in (entry.action, entry.then) if a}
        for what, named, known in (
            ("actions", actions, self.actions),
            ("sources", {entry.source for entry in entries}, self.sources),
        ):
            if unknown := sorted(named - set(known)):
                raise ValueError(f"{what} that are not listed: {', '.join(unknown)}")
        return self

    @cached_property
    def _by_number(self) -> dict[int, XidFinding]:
        return {number: entry for entry in self.xids for number in entry.xid}

    def xid(self, number: int) -> Finding:
        """Return the entry of an XID; that of an unlisted one where it is none."""
        return self._by_number.get(number, self.other_xid)

    def condition(self, kind: str) -> Finding:
        """Return the entry of a condition, one of `KINDS`."""
        return self._by_kind[kind]

    @cached_property
    def _by_kind(self) -> dict[str, Finding]:
        return {str(kind): entry for kind, entry in self.conditions.items()}

    def text(self, entry: Finding, name: str = "", detail: str = "") -> str:
        """Return an entry for people: what it is, what to do, and what if it comes again."""
        told = f"{name}: {entry.meaning}" if name else entry.meaning[:1].upper() + entry.meaning[1:]
        told = f"{told} ({detail})." if detail else f"{told}."
        told = f"{told} {self.actions[entry.action]}"
        return f"{told} If it comes again: {self.actions[entry.then]}" if entry.then else told


_TOLD = re.compile(
    r"(?:(?P<name>XID \d+): )?(?P<meaning>.+?)(?: \((?P<detail>[^()]*)\))?\. (?P<action>.+?)"
    r"(?: If it comes again: (?P<then>.+))?"
)


def finding(text: str) -> Said | str:
    """Return what `GpuHealth.text` tells as a sentence of which each part is told in the reader's language."""
    parts = _TOLD.fullmatch(text)
    if parts is None:
        return text
    what: Part = Term("gpu", parts["meaning"])
    if parts["name"]:
        what = Said.of("named", name=parts["name"], what=what)
    if parts["detail"]:
        what = Said.of("detailed", what=what, detail=parts["detail"])
    action = Term("gpu", parts["action"])
    if not parts["then"]:
        return Said.of("finding", what=what, action=action)
    return Said.of("finding_again", what=what, action=action, then=Term("gpu", parts["then"]))


def judge(values: Mapping[str, ValueArray], product: Product | None) -> dict[str, NDArray[np.bool_]]:
    """Return which GPUs have which findings.

    Parameters
    ----------
    values
        Readings by point type, canonical units, each of shape (G,), NaN where there is none; those that are not told at all
        may be absent.
    product
        What they are; None where that is not known.

    Returns
    -------
    dict
        By kind, of shape (G,): what no reading tells is not found.
    """
    size = max((len(v) for v in values.values()), default=0)
    nothing = np.full(size, np.nan)

    def of(name: str) -> ValueArray:
        return values.get(name, nothing)

    with np.errstate(invalid="ignore"):
        action, repair, fabric = of("GpuRecoveryAction"), of("GpuRepair"), of("GpuFabric")
        reasons = np.nan_to_num(of("GpuThrottleReasons"), posinf=0.0).astype(np.int64)
        by_heat, braked = (reasons & _HW_THERMAL) > 0, (reasons & _HW_POWER_BRAKE) > 0
        found = {
            "lost": of("GpuAvailable") == 0,
            **{kind: np.isin(action, states) for kind, states in _ACTIONS.items()},
            "rows_failed": of("GpuRowRemapFailed") == 1,
            "rows_pending": of("GpuRowRemapPending") == 1,
            "repair_pending": repair == 1,
            "replace": repair == 2,
            "uncorrected_errors": of("GpuEccUncorrected") > 0,
            "links_down": of("GpuNvlinksDown") > 0,
            "fabric_limited": fabric == 1,
            "fabric_unhealthy": fabric >= 2,
            "memory_short": np.zeros(size, bool),
            "pcie_narrow": of("GpuPcieWidth") < of("GpuPcieWidthMax"),
            # an idle link may go slower to save power
            "pcie_slow": (of("GpuPcieGeneration") < of("GpuPcieGenerationMax"))
            & (of("GpuUtilization") > 0.05),
            "slowdown": ((reasons & _HW_SLOWDOWN) > 0) & ~by_heat & ~braked,
            "slowdown_by_heat": by_heat,
            "power_brake": braked,
            "implausible": np.zeros(size, bool),
        }
        if product is not None:
            found["links_down"] |= of("GpuNvlinksUp") < product.links
            found["memory_short"] = of("GpuMemoryTotal") < product.memory * _SHORT_OF_MEMORY
            for name, (low, high) in product.limits.items():
                found["implausible"] |= (of(name) < low) | (of(name) > high)
    return found
