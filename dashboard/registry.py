"""Which page lies at an address, and which live sections it needs: all of it follows from `dashboard.pages.PAGES`."""

from __future__ import annotations

from urllib.parse import unquote

from dashboard import alarm_frames, frames
from dashboard.data import ConsoleData
from dashboard.notes import notes
from dashboard.page import Asked, Level, Live, Page, Payload, fields_of
from dashboard.pages import PAGES
from dashboard.words import speaking
from domain.languages import LANGUAGES, Language
from domain.role import Role


def _header(data: ConsoleData) -> Payload:
    told = frames.header(data.header(), data.site.zone)
    if data.moment:  # how the store was then is not kept
        told["cells"]["store-state"] = ["", "", ""]
    return told | {"moment": data.moment}


ALWAYS = {
    "header": Live(lambda data, _: _header(data)),
    "alerts": Live(lambda data, _: alarm_frames.alerts(data)),
    "notes": Live(lambda data, _: notes(data.notes, data.site), every_s=2.0),
}
"""Sections that every page shows."""
LIVE: dict[str, Live] = ALWAYS | {name: live for page in PAGES for name, live in page.live.items()}


def page_at(path: str) -> tuple[Page, str] | None:
    """Return the page at a path with the object that the path names, or None where there is none."""
    for page in PAGES:
        found = page.match(path)
        if found is not None:
            return page, unquote(found)
    return None


def asked(data: ConsoleData, which: str, search: str | None, user: str, role: Role) -> Asked:
    """Return what a browser asks a page for."""
    return Asked(data, which, fields_of(search), user, role)


def navigation(role: Role) -> list[tuple[Level, list[Page]]]:
    """Return the pages that the frame links to, by level of detail."""
    seen = [page for page in PAGES if page.in_navigation and role.includes(page.role)]
    groups = [(level, [page for page in seen if page.level is level]) for level in Level]
    return [(level, pages) for level, pages in groups if pages]


def sections_of(
    path: str, data: ConsoleData, role: Role = Role.ADMINISTRATOR, past: bool = False
) -> frozenset[str]:
    """Return the sections that the page at `path` shows to a role, or can show of the past: those of an object as ``NAME:OBJECT``."""
    found = page_at(path)
    if found is None:
        return frozenset(ALWAYS)
    page, which = found
    if not role.includes(page.role) or (past and not page.of_past):
        return frozenset(ALWAYS)
    if not page.of_objects:
        return frozenset(ALWAYS) | set(page.live)
    if not page.known(data, which):
        return frozenset(ALWAYS)
    return frozenset(ALWAYS) | {f"{name}:{which}" for name in page.live}


def section(data: ConsoleData, name: str) -> Payload:
    """Return the payload of one section: ``header``, ``floor``, ..., or ``rack:R001``."""
    kind, _, which = name.partition(":")
    return LIVE[kind].build(data, which)


def spoken(name: str, language: Language) -> str:
    """Return the name of a section in a language, as the broadcaster keeps it: a section is built once for each language."""
    return f"{name}@{language}"


def unspoken(name: str) -> tuple[str, Language]:
    """Return the section and the language of a name that `spoken` made."""
    section_name, _, tag = name.rpartition("@")
    return section_name, next(known for known in LANGUAGES if known == tag)


def spoken_section(data: ConsoleData, name: str) -> Payload:
    """Return the payload of a section in its language."""
    section_name, language = unspoken(name)
    with speaking(language):
        return section(data, section_name)


def slow(name: str) -> float:
    """Return the seconds for which a section holds."""
    return LIVE[unspoken(name)[0].partition(":")[0]].every_s
