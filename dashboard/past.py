"""What windows that look at a past moment are sent: each section is built once, and kept for whoever looks at the same."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from urllib.parse import urlsplit

import structlog

from alerts.languages import Language
from dashboard import cells
from dashboard.data import ConsoleData
from dashboard.lately import Kept
from dashboard.moments import moment_in
from dashboard.page import Payload
from dashboard.registry import section
from dashboard.threads import reading_past
from dashboard.words import say, speaking
from domain.errors import HallwatchError

log = structlog.get_logger(__name__)

MOST_SECTIONS = 64
"""Sections of past moments that are kept; the one that was sent longest ago goes."""
BEAT_S = 0.5
"""How often a window in the past is asked whether it went elsewhere, and told that it is connected."""
_STEPS = {0: "readings", 60_000: "minute", 900_000: "quarter", 3_600_000: "hour"}


def where(href: str | None, data: ConsoleData) -> tuple[str, int]:
    """Return the path of an address and the past moment (UTC ms) that it asks for, 0 for the present."""
    try:
        parts = urlsplit(href or "/")
    except ValueError:
        return "/", 0
    return parts.path or "/", moment_in(parts.query, data.site.zone, data.clock())


class Past:
    """Sections of past moments, by name, moment and language."""

    def __init__(self, data: ConsoleData) -> None:
        self._data = data
        self._kept: Kept[Payload] = Kept(MOST_SECTIONS)

    async def sections(
        self, names: Collection[str], moment: int, language: Language
    ) -> tuple[dict[str, Payload], Payload]:
        """Return sections of a moment (UTC ms) by name, and what the frame tells of it; what cannot be built is told in words."""
        return await reading_past(self._sections, names, moment, language)

    def _sections(
        self, names: Collection[str], moment: int, language: Language
    ) -> tuple[dict[str, Payload], Payload]:
        with speaking(language):
            try:
                then = self._data.at(moment)
                built = {
                    name: self._kept.get((name, moment, language), partial(section, then, name))
                    for name in sorted(names)
                }
                return built, told(then)
            except HallwatchError as error:
                return {}, told(self._data, moment) | {"trouble": say("past.trouble", error=error)}
            except Exception as error:
                log.exception("a past moment cannot be shown", moment=moment)
                return {}, told(self._data, moment) | {
                    "trouble": say("past.trouble", error=type(error).__name__)
                }


def told(data: ConsoleData, moment: int = 0) -> Payload:
    """Return what the frame tells of a past moment: which it is, and what its figures are."""
    moment, zone = moment or data.moment, data.site.zone
    return {
        "moment": moment,
        "text": say("past.banner", time=cells.date(moment, zone, "long")),
        "figures": say(f"past.{_STEPS[data.step]}"),
        "trouble": "",
    }
