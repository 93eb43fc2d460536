"""What a look at one source found: what is read, set aside, doubtful and missing, and why. For `probe` and `doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["fine", "note", "problem"]
_ORDER = {"problem": 0, "note": 1, "fine": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    level
        ``problem`` where nothing, or not all, can be read; ``note`` where one should look.
    about
        What was looked at, in a word or two: ``reachability``, ``credentials``, ``clock``, ``readings``, ...
    text
        What was found, and what to do where something is to be done.
    """

    level: Level
    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Aside:
    """What gives no reading: why, how often, and an example."""

    reason: str
    count: int
    example: str = ""


@dataclass(slots=True)
class Examination:
    """A look at one source, as the service would see it.

    Parameters
    ----------
    source
        Which, for people.
    readings
        What would be stored, ready for JSON; each with ``objectType``, ``pointType``, ``objectId``, ``value``, ``unit``,
        and ``doubt``, empty or why its value is not taken for good.
    set_aside
        What gives no reading.
    missing
        Point types that such a source can tell and this one does not.
    findings
        What was looked at, problems first.
    """

    source: str
    readings: list[dict[str, Any]] = field(default_factory=list)
    set_aside: list[Aside] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way of what the source has to tell."""
        return all(finding.level != "problem" for finding in self.findings)

    def find(self, level: Level, about: str, text: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(level, about, text))
        self.findings.sort(key=lambda finding: _ORDER[finding.level])

    def as_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {"ok": self.ok, **asdict(self)}
