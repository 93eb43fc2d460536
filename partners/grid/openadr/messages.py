# ruff: noqa: N815 - the names are the contract's
"""What a VTN tells, as far as it is used here (OpenADR 3.1.0); what is not known is left alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MOST_INTERVALS = 2_000
Text = Annotated[str, StringConstraints(min_length=1, max_length=128)]
ObjectId = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class IntervalPeriod(_Told):
    """When an interval begins, and how long it is; a year 1 is now, more than 100 years is till further notice."""

    start: datetime | None = None
    duration: timedelta | None = None


class Values(_Told):
    """Values of one type."""

    type: Text
    values: tuple[Any, ...] = Field(max_length=1000)


class Interval(_Told):
    """A time and what holds in it."""

    id: int
    intervalPeriod: IntervalPeriod | None = None
    payloads: tuple[Values, ...] = Field(max_length=100)


class PayloadDescriptor(_Told):
    """Units of a type of values."""

    payloadType: Text
    units: str | None = None
    currency: str | None = None


class ReportDescriptor(_Told):
    """Which report is asked for, of which intervals, how often."""

    payloadType: Text
    readingType: str | None = None
    units: str | None = None
    startInterval: int = -1
    numIntervals: int = -1
    historical: bool = True
    frequency: int = -1
    repeat: int = 1


class Event(_Told):
    """An event of a program."""

    id: ObjectId
    programID: ObjectId
    modificationDateTime: Text
    eventName: str | None = None
    priority: int | None = None
    duration: timedelta | None = None
    targets: tuple[Text, ...] | None = Field(None, max_length=1000)
    intervalPeriod: IntervalPeriod | None = None
    intervals: tuple[Interval, ...] | None = Field(None, max_length=MOST_INTERVALS)
    payloadDescriptors: tuple[PayloadDescriptor, ...] | None = Field(None, max_length=100)
    reportDescriptors: tuple[ReportDescriptor, ...] | None = Field(None, max_length=50)


class Program(_Told):
    """A program, and the units of its events."""

    id: ObjectId
    programName: Text
    payloadDescriptors: tuple[PayloadDescriptor, ...] | None = Field(None, max_length=100)
