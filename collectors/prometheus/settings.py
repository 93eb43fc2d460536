"""Settings of the Prometheus scraper, and the mapping of an exporter's metrics to points, which is data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from domain.catalogue import POINT_TYPES
from domain.configuration import SettingsModel
from domain.errors import UnitError
from domain.units import parse_unit


class MetricMapping(SettingsModel):
    """One metric of an exporter."""

    point: str = Field(description="Point type of the catalogue")
    unit: str = Field(description="Unit in which the exporter tells it")
    mig: Literal["once", "sum"] = Field(
        "once",
        description="What to do with the values of MIG instances where the GPU has no row of its own: all are the GPU's, "
        "or each is a share of it",
    )
    add: bool = Field(False, description="Several metrics add up to this point")
    event: bool = Field(False, description="A reading only when the value changes")
    event_label: str = Field(
        "", description="The metric counts events; this label tells which, and each growth is a reading of it"
    )
    rate: str = Field("", description="Point type of this counter's growth in a second")
    instead: tuple[str, ...] = Field(
        (), description="Points that stand in for the growth while there is none that can be"
    )

    @model_validator(mode="after")
    def _fits(self) -> MetricMapping:
        for name in filter(None, (self.point, self.rate, *self.instead)):
            if name not in POINT_TYPES:
                raise ValueError(f"{name!r} is no point type of the catalogue")
        try:
            measured = parse_unit(self.unit).canonical
        except UnitError as error:
            raise ValueError(str(error)) from error
        wanted = POINT_TYPES[self.point].unit
        if measured != (wanted or "count"):  # a state is a number without a unit
            raise ValueError(f"{self.unit} measures {measured}, but {self.point} is in {wanted or 'states'}")
        return self


class ExporterMapping(SettingsModel):
    """An exporter: which of its metrics are which points, and which labels tell the GPU.

    Where two metrics are the same point and do not add up, the one that stands first here counts.
    """

    name: str
    host_labels: tuple[str, ...] = Field(
        description="Labels that may hold the node's name; the first present counts"
    )
    gpu_label: str = Field(description="Label that holds the GPU's index in its node")
    instance_label: str = Field("", description="Label that tells the MIG instance of a row")
    metrics: dict[str, MetricMapping]


class Target(SettingsModel):
    """One exporter to scrape."""

    url: str = Field(max_length=500, description="Where its metrics are")
    rack: str = Field("", max_length=64, description="Rack of the node")
    tray: str = Field("", max_length=64, description="Tray of the node")


class PrometheusSettings(SettingsModel):
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
    interval: float = Field(10.0, ge=1, description="Seconds between two scrapes of a target")
    timeout: float = Field(5.0, gt=0, le=300, description="Seconds for a whole answer, however it drips")
    at_once: int = Field(
        32,
        ge=1,
        le=1000,
        description="Scrapes under way at a time; as many more of targets that were slow the last time, so that these "
        "keep nobody waiting",
    )
    max_targets: int = Field(
        5000, ge=1, description="Targets at most, those of `targets` first; others are told"
    )
    max_bytes: int = Field(
        4 << 20, ge=1 << 16, le=64 << 20, description="Size of a page at most, bytes unpacked"
    )
    max_samples: int = Field(
        20_000, ge=1, le=500_000, description="Samples of a page at most; those after it are left out"
    )
    max_points: int = Field(20_000, ge=1, description="Points that one target may make known at most")
    unknown_racks: Literal["refuse", "accept"] = Field(
        "refuse", description="What becomes of GPUs in racks that the site file does not have"
    )
    frozen_after: float = Field(
        600.0,
        ge=60,
        description="Seconds after which a page whose power and energy never change is taken for frozen; its readings "
        "are bad then",
    )
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
