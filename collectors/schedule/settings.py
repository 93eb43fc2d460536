"""Settings of a schedule: where planned work is told, and how often it is read."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from domain.configuration import SettingsModel
from domain.errors import brief


class ScheduleSettings(SettingsModel):
    """A schedule of jobs or of maintenance, at a URL that answers JSON or in a file."""

    name: str = Field("jobs", min_length=1, description="Names the source in records and on the health page")
    url: str = Field("", description="http:// or https://, answers the JSON list of planned work")
    file: Path | None = Field(
        None, description="Instead of a URL: a JSON or YAML file, read again when it changes"
    )
    interval: float = Field(60.0, ge=1, description="Seconds between two looks")
    timeout: float = Field(10.0, gt=0, le=300, description="Seconds for a whole answer, however it drips")
    max_bytes: int = Field(
        4 << 20, ge=1 << 10, le=64 << 20, description="Size of an answer or a file at most, bytes unpacked"
    )
    bearer_token_env: str = Field("", description="Environment variable that holds a bearer token")
    ca_file: Path | None = Field(None, description="Certificates to trust, PEM; the system's where absent")

    @field_validator("url")
    @classmethod
    def _web(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError(f"{brief(url)} is no URL; write one such as https://scheduler.example/planned")
        return url

    @model_validator(mode="after")
    def _one_source(self) -> ScheduleSettings:
        if bool(self.url) == (self.file is not None):
            raise ValueError("name either a url or a file")
        return self
