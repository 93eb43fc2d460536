"""Messages of DSX Flex 1.7 in their envelopes: CloudEvents 1.0.2, structured, with signed data."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

UNITS = {"watt": 1.0, "kilowatt": 1e3, "megawatt": 1e6}
LARGEST = 64 * 1024
"""Bytes of a message."""
MOST_TARGETS = 100
"""Targets in one message."""


class _Strict(BaseModel):
    # what the contract does not name is left alone: a newer version may carry more
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class LoadTargetEvent(_Strict):
    """The envelope of ``grid.loadtarget.set.v1``; only what is inside `data` is signed."""

    specversion: Literal["1.0.2"]
    id: uuid.UUID
    source: Annotated[str, StringConstraints(pattern=r"^//grid/v1/isv/[^/]{1,100}$")]
    type: Literal["grid.loadtarget.set.v1"]
    time: AwareDatetime
    datacontenttype: Literal["application/json"]
    subject: Annotated[str, StringConstraints(max_length=200)]
    correlationid: uuid.UUID | None = None
    traceparent: Annotated[
        str, StringConstraints(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
    ]
    data: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]

    @property
    def party(self) -> str:
        """Who sends it, as it says itself."""
        return self.source.rpartition("/")[2]

    @property
    def reference(self) -> str:
        """By which later messages name the target."""
        return str(self.correlationid or self.id)


class Constraint(_Strict):
    """A limit of power."""

    value: float = Field(gt=0, le=1e12, allow_inf_nan=False)
    unit: Literal["watt", "kilowatt", "megawatt"]

    @property
    def watts(self) -> float:
        """The limit, W."""
        return self.value * UNITS[self.unit]


class Interval(_Strict):
    """From when to when; from now on, and until something takes its place, where it does not say."""

    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None


class Strategy(_Strict):
    """How the target is meant."""

    best_effort: bool = False


class Target(_Strict):
    """One target: a limit, or none any more, of some feeds, or of all."""

    interval: Interval
    feed_tags: tuple[Annotated[str, StringConstraints(max_length=100)], ...] = Field((), max_length=100)
    load_constraint: Constraint | None
    strategy: Strategy = Strategy()


class SetLoadTarget(_Strict):
    """What is signed in ``grid.loadtarget.set.v1``."""

    targets: tuple[Target, ...] = Field(min_length=1, max_length=MOST_TARGETS)


def watts(value: float) -> dict[str, Any]:
    """Return a power as the contract writes it."""
    return {"value": max(float(f"{value:.6g}"), 0.0), "unit": "watt"}


def moment(ms: int) -> str:
    """Return UTC ms as the contract writes a time."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(
    identifier: str, kind: str, subject: str, signed: str, now: int, correlation: str = "", trace: str = ""
) -> bytes:
    """Return a message of the site's.

    Parameters
    ----------
    identifier
        The site's.
    kind
        Its type, such as ``grid.powerstate.status.v1``.
    subject
        What it is about.
    signed
        Data, signed (JWS, compact).
    now
        UTC ms.
    correlation
        Of the target that it answers.
    trace
        The traceparent that it carries on; a trace of its own if empty.
    """
    trace_id = trace.split("-")[1] if trace else uuid.uuid4().hex
    envelope: Mapping[str, Any] = {
        "specversion": "1.0.2",
        "id": str(uuid.uuid4()),
        "source": f"//grid/v1/dsx-flex-agent/{identifier}",
        "type": kind,
        "time": moment(now),
        "datacontenttype": "application/json",
        "subject": subject,
        **({"correlationid": correlation} if correlation else {}),
        "traceparent": f"00-{trace_id}-{uuid.uuid4().hex[:16]}-01",
        "data": signed,
    }
    return orjson.dumps(envelope)
