"""Which jobs give how much of their power when the grid asks, and in which order."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pydantic import Field, model_validator

from domain.configuration import SettingsModel


class JobClass(SettingsModel):
    """A class of jobs of one priority."""

    name: str = Field(min_length=1, max_length=60, description="What people call it, such as `flexible`")
    jobs: tuple[str, ...] = Field(
        (),
        max_length=1000,
        description="Names of planned work that are of this class, as globs such as `batch-*`; the first class that names a job has it",
    )
    sheds: float = Field(
        0.0, ge=0, le=1, description="Share of a rack's power that its jobs give up at most, such as 0.25"
    )
    within: float = Field(
        120.0, ge=0, le=86_400, description="Seconds from the decision until that much is shed"
    )
    longest: float = Field(
        4 * 3600.0, gt=0, le=30 * 86_400, description="Seconds for which it may be shed at a time"
    )


class FlexibilitySettings(SettingsModel):
    """Classes of jobs, the first to give first; without any nothing can be shed."""

    classes: tuple[JobClass, ...] = Field(
        (), max_length=50, description="Classes in the order in which they give up power"
    )
    unbooked: str = Field(
        "", description="Class of racks on which no planned work is known; without one they give nothing"
    )
    idle: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="Share of a rack's limit that an idle rack draws: nothing sheds below it",
    )

    @model_validator(mode="after")
    def _named_once(self) -> FlexibilitySettings:
        names = [c.name for c in self.classes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"classes with one name: {', '.join(twice)}")
        if self.unbooked and self.unbooked not in names:
            raise ValueError(
                f"unbooked: there is no class {self.unbooked!r}; classes are {', '.join(names) or 'none'}"
            )
        return self

    def rank_of(self, job: str) -> int | None:
        """Return the place of a job's class among `classes`, of no job that of `unbooked`; None where none has it."""
        for rank, kind in enumerate(self.classes):
            if kind.name == self.unbooked if not job else any(fnmatchcase(job, glob) for glob in kind.jobs):
                return rank
        return None
