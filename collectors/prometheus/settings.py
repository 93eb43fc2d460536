"""Settings of the Prometheus scraper, and the mapping of an exporter's metrics to points, which is data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from domain.catalogue import POINT_TYPES
from domain.errors import UnitError
from domain.units import parse_unit


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricMapping(_Model):
    """One metric of an exporter."""

    point: str = Field(description="Point type of the catalogue")
    unit: str = Field(description="Unit in which the exporter tells it")
    mig: Literal["once", "sum"] = Field(
        "once", description="What to do with values repeated per MIG instance"
    )
    add: bool = Field(False, description="Several metrics add up to this point")
    event: bool = Field(False, description="A reading only when the value changes")
    rate: str = Field("", description="Point type of this counter's growth in a second")

    @model_validator(mode="after")
    def _fits(self) -> MetricMapping:
        for name in filter(None, (self.point, self.rate)):
            if name not in POINT_TYPES:
                raise ValueError(f"{name!r} is no point type of the catalogue")
        try:
            measured = parse_unit(self.unit).canonical
        except UnitError as error:
            raise ValueError(str(error)) from error
        wanted = POINT_TYPES[self.point].unit
        if measured != wanted:
            raise ValueError(f"{self.unit} measures {measured}, but {self.point} is in {wanted or 'states'}")
        return self


class ExporterMapping(_Model):
    """An exporter: which of its metrics are which points, and which labels tell the GPU."""

    name: str
    host_labels: tuple[str, ...] = Field(
        description="Labels that may hold the node's name; the first present counts"
    )
    gpu_label: str = Field(description="Label that holds the GPU's index in its node")
    metrics: dict[str, MetricMapping]


class Target(_Model):
    """One exporter to scrape."""

    url: str = Field(description="Where its metrics are")
    rack: str = Field("", description="Rack of the node")
    tray: str = Field("", description="Tray of the node")


class PrometheusSettings(_Model):
    """The scraper: targets here or in discovery files, and how a node's name tells its place."""

    name: str = Field("dcgm", description="Names the source in points and on the health page")
    mapping: str = Field("dcgm-exporter", description="Name of a file in config/prometheus, without .yaml")
    targets: tuple[Target, ...] = ()
    files: tuple[Path, ...] = Field(
        (),
        description="Prometheus file_sd files (JSON or YAML), read again when they change; labels rack and tray",
    )
    place: str = Field(
        "", description="Regular expression with groups rack and tray, for nodes whose target names no place"
    )
    interval: float = Field(10.0, ge=1, description="Seconds between scrapes")
    timeout: float = Field(5.0, gt=0, description="Seconds")
    at_once: int = Field(32, ge=1, description="Scrapes under way at a time")
    bearer_token_env: str = Field("", description="Environment variable that holds a bearer token")
    ca_file: Path | None = Field(None, description="Certificates to trust, PEM; the system's where absent")

    @field_validator("place")
    @classmethod
    def _compiles(cls, text: str) -> str:
        try:
            groups = re.compile(text).groupindex
        except re.error as error:
            raise ValueError(f"{text!r} is no regular expression ({error})") from error
        if text and not {"rack", "tray"} <= set(groups):
            raise ValueError("name the groups, such as (?P<rack>R\\d+)-(?P<tray>T\\d+)")
        return text
