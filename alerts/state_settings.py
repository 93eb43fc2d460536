"""What `alerts.yaml` says of alarm states: shelving, modes of the equipment, flapping, what returned unacknowledged."""

from __future__ import annotations

from pydantic import Field

from alerts.rules.settings import Duration, Strict

MOST_MODES = 50


class Shelving(Strict):
    """How an operator may put a single alarm on the shelf."""

    longest: Duration = Field(
        12 * 3600.0, gt=0, description="A shelf ends by then, also a one-shot whose alarm still stands"
    )


class Mode(Strict):
    """A state of the equipment in which its alarms are expected, such as a CDU in maintenance."""

    object_types: tuple[str, ...] = Field((), description="Only on these object types")
    points: tuple[str, ...] = Field(min_length=1, description="Point types that tell the mode")
    states: tuple[str, ...] = Field(
        min_length=1, description="Labels (any case) or numbers of the mode's states"
    )
    rules: tuple[str, ...] = Field(
        ("*",),
        min_length=1,
        description="Rules, or globs, that page nobody meanwhile; leaks and smoke always do",
    )
    below: bool = Field(False, description="Whether what hangs under the object is meant too")


class Flapping(Strict):
    """When an alarm that comes and goes is told as one."""

    times: int = Field(
        3, ge=2, le=100, description="So many openings of an alarm within `within` are flapping"
    )
    within: Duration = Field(30 * 60.0, gt=0)
    quiet: Duration = Field(15 * 60.0, gt=0, description="It is held until it was quiet for so long")


class Performance(Strict):
    """What alarm performance is counted against."""

    operators: int = Field(1, ge=1, le=1000, description="People at the console at a time")
    stale_after: Duration = Field(24 * 3600.0, gt=0, description="An alarm that stands longer is stale")
