"""What of the grid's word was refused, as it is shown."""

from __future__ import annotations

from dataclasses import dataclass

SHOWN = 50
"""Refusals that are shown of each agent, the newest."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused or not understood: when (UTC ms), as whose (as it says), under which reason, and why in words."""

    at: int
    party: str
    reason: str
    detail: str
