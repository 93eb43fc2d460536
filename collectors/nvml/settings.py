"""Settings of the tray agent; `sample.yaml` shows them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from domain.configuration import SettingsModel

_ID_OR_NONE = r"^[A-Za-z0-9._-]*$"


class InferenceSettings(SettingsModel):
    """An inference server on this tray whose Prometheus counters tell the tokens that it generated."""

    url: str = Field(description="Its metrics, such as http://127.0.0.1:8000/metrics")
    counters: tuple[str, ...] = Field(
        (
            "vllm:generation_tokens_total",
            "sglang:generation_tokens_total",
            "trtllm_generation_tokens_total",
            "tgi_request_generated_tokens_sum",
        ),
        description="Counters of generated tokens; all that are present are summed",
    )
    timeout: float = Field(2.0, gt=0, description="Seconds")


class AgentSettings(SettingsModel):
    """The tray agent: which tray this is, how often it sweeps, and what it keeps while the broker is away."""

    rack: str = Field(
        "",
        pattern=_ID_OR_NONE,
        description="Id of the rack, as the BMS has it; the chassis' serial number, as the GPUs tell it, if empty",
    )
    tray: str = Field(
        "",
        pattern=_ID_OR_NONE,
        description="Name of the tray within the rack, such as T01; as the GPUs tell it if empty",
    )
    interval: float = Field(1.0, ge=0.05, le=3600, description="Seconds between sweeps")
    gpus: int = Field(
        0, ge=0, le=64, description="GPUs that the tray should have; 0: those found at the start"
    )
    slow_every: int = Field(60, ge=1, description="Limits and other settings are read every so many sweeps")
    spool: Path | None = Field(
        None, description="Folder for sweeps that are not delivered; memory only if absent"
    )
    spool_bytes: int = Field(
        256 << 20, ge=1 << 20, description="Size of the spool; beyond it the oldest are dropped"
    )
    replay_rate: float = Field(10.0, gt=0, description="Spooled sweeps sent a second once the broker is back")
    inference: tuple[InferenceSettings, ...] = ()

    @model_validator(mode="after")
    def _placed(self) -> AgentSettings:
        if bool(self.rack) != bool(self.tray):
            raise ValueError("name both rack and tray, or neither: the GPUs of an NVL72 tell where they sit")
        return self
