"""Settings of the analytics."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AnalyticsSettings(BaseModel):
    """How often and how far the models look ahead."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    horizon_hours: int = Field(48, ge=1, le=168, description="How far the power forecast reaches")
    history_days: int = Field(56, ge=1, le=400, description="How much history a power forecast is fitted on")
    refit_hours: float = Field(24, gt=0, description="Age at which the forecast model is fitted anew")
    settle_seconds: float = Field(
        20, ge=0, description="Wait after a quarter hour ends before it is forecast from"
    )
    timeout_seconds: float = Field(
        240, gt=0, description="After this a fit is given up and a simple model answers"
    )
    processes: int = Field(
        0,
        ge=0,
        description="Processes that fit forecast models at a time; 0: half as many as there are cores",
    )
    rack_interval_seconds: float = Field(10, gt=0, description="Between two looks at all racks")
    outlook_interval_seconds: float = Field(
        60, gt=0, description="Between two looks an hour ahead at temperatures"
    )
    upkeep_interval_seconds: float = Field(
        3600, gt=0, description="Between two looks through the past for parts that wear"
    )
    replace_faulty_readings: bool = Field(
        True,
        description="Whether readings of an instrument that lies are replaced by estimates, marked as such",
    )
