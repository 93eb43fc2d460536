"""What windows that look at a past moment are sent: each section is built once, and kept for whoever looks at the same."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from urllib.parse import urlsplit

import structlog

from dashboard import cells
from dashboard.data import ConsoleData
from dashboard.lately import Kept
from dashboard.moments import moment_in
from dashboard.page import Payload
from dashboard.registry import section
from dashboard.threads import reading_past
from dashboard.words import count, say, speaking
from domain.alert import AlertState
from domain.errors import HallwatchError
from domain.languages import Language

log = structlog.get_logger(__name__)

MOST_SECTIONS = 64
"""Sections of past moments that are kept; the one that was sent longest ago goes."""
CHANGING = frozenset({"notes"})
"""Sections that change also of a moment that is past: notes are pinned to it later."""
LOOK_AGAIN = 4
"""Beats after which these are looked at again; so is a moment that could not be shown."""
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
        built: dict[str, Payload] = {}
        trouble = ""
        with speaking(language):
            try:
                then = self._data.at(moment)
            except HallwatchError as error:
                return {}, told(self._data, self._data, moment) | {
                    "trouble": say("past.trouble", error=error)
                }
            for name in sorted(names):
                try:
                    built[name] = self._section(then, name, language)
                except Exception as error:
                    log.exception("a section of the past cannot be built", section=name, moment=moment)
                    trouble = say("past.partly", error=f"{type(error).__name__}: {error}")
            return built, told(then, self._data, moment) | {"trouble": trouble}

    def window(self) -> PastWindow:
        """Return what one window is sent of the past."""
        return PastWindow(self)

    def _section(self, then: ConsoleData, name: str, language: Language) -> Payload:
        if name in CHANGING:
            return section(then, name)
        return self._kept.get((name, then.moment, language), partial(section, then, name))


class PastWindow:
    """One browser window that looks at past moments: it is sent what it has not got."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._shown: tuple[frozenset[str], int] | None = None
        self._changing: dict[str, Payload] = {}
        self._told: Payload = {}
        self._beats = 0

    async def changes(self, names: frozenset[str], moment: int, language: Language) -> dict[str, Payload]:
        """Return by section what is to be sent, and as ``past`` what the frame tells: after all that it tells of."""
        new = self._shown != (names, moment)
        self._beats = 0 if new else self._beats + 1
        changed: dict[str, Payload] = {}
        if self._beats % LOOK_AGAIN == 0:
            whole = new or bool(self._told["trouble"])
            wanted = names if whole else names & CHANGING
            changed, self._told = await self._past.sections(wanted, moment, language)
            self._shown = (names, moment)
            for name in CHANGING & changed.keys():
                if not whole and self._changing.get(name) == changed[name]:
                    del changed[name]
                else:
                    self._changing[name] = changed[name]
        return {name: payload | {"moment": moment} for name, payload in changed.items()} | {
            "past": self._told
        }

    def left(self) -> bool:
        """Return whether the window has just come back from the past."""
        was, self._shown = self._shown is not None, None
        return was


def told(then: ConsoleData, now: ConsoleData, moment: int) -> Payload:
    """Return what the frame tells of a past moment: which it is, what its figures are, and what asks for somebody now."""
    zone = now.site.zone
    this_year = cells.clock(moment, zone, "%Y") == cells.clock(now.clock(), zone, "%Y")
    time = cells.date(moment, zone, "long") if this_year else cells.clock(moment, zone, "%Y-%m-%d %H:%M:%S")
    waiting = [a.condition.severity for a in now.alarms.listed() if a.state is AlertState.OPEN]
    worst = max(waiting, key=lambda severity: severity.rank, default=None)
    return {
        "moment": moment,
        "text": say("past.banner", time=time),
        "figures": say(f"past.{_STEPS[then.step]}"),
        "trouble": "",
        "waiting": count("past.waiting", len(waiting)) if waiting else "",
        "worst": worst.value if worst else "",
    }
