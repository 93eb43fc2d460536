"""What a page of the console is: where it lies, what it shows, and which live data it needs.

A new page is a file in `pages/` with a `PAGE`, and its line in `pages/__init__.py`; its words are in `languages/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from fastapi import APIRouter

from dashboard.broadcast import Broadcaster
from dashboard.data import ConsoleData
from domain.role import Role

if TYPE_CHECKING:
    from dash import Dash

Payload = dict[str, Any]


class Level(StrEnum):
    """Levels of detail (ISA-101, 6.3): each answers what the one above it raised."""

    SITE = "site"
    SYSTEM = "system"
    UNIT = "unit"
    DIAGNOSIS = "diagnosis"


MOST_FIELDS = 20
"""Fields of an address that are read."""


def fields_of(search: str | None) -> dict[str, str]:
    """Return the fields of an address, such as ``?at=...&point=...``, each once."""
    try:
        found = parse_qs((search or "").removeprefix("?"), max_num_fields=MOST_FIELDS)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a browser asks a page for, and who asks: `object` is what the path names, `search` the address's own words."""

    data: ConsoleData
    object: str = ""
    search: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    role: Role = Role.VIEWER


@dataclass(frozen=True, slots=True)
class Live:
    """A section of live data. `build` is given the console's data and the object that the path names; it blocks.

    Built for every snapshot (each second) unless `every_s` says after how many seconds it is built again.
    """

    build: Callable[[ConsoleData, str], Payload]
    every_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the console.

    Parameters
    ----------
    name
        Its key: the text ``page.NAME`` is its title, ``nav-NAME`` the id of its link.
    path
        Its address, such as ``/power``; ``/rack/{object}`` stands for all that have one more part.
    level
        The level of detail, by which the navigation groups pages.
    layout
        Returns the page; must not block.
    live
        The live sections that it shows, by a name that no other page gives to another section. Each arrives in the browser
        as ``hallwatch.on('live-NAME', ...)``; of a page with an object the section's payload is of that object.
    known
        Whether the site has the object that a path names; without it no section of an object is built.
    choices
        Ids of radio groups and inputs whose value the browser's script reads as ``hallwatch.chosen[ID]``.
    stores
        Ids of the `dcc.Store` of the layout that the browser's script paints, with ``hallwatch.on(ID, ...)``.
    connect
        Registers the page's own callbacks, once.
    routes
        Returns routes of its own, such as files to download; behind the login, and for no lesser role than the page.
    in_navigation
        Whether the frame has a link to it.
    role
        The least role that may see it.
    of_past
        Whether it can show a past moment; one of whose content no past is kept says that it cannot.
    """

    name: str
    path: str
    level: Level
    layout: Callable[[Asked], Any]
    live: Mapping[str, Live] = field(default_factory=dict)
    known: Callable[[ConsoleData, str], bool] = lambda _data, _object: False
    choices: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    connect: Callable[[Dash, ConsoleData, Broadcaster], None] | None = None
    routes: Callable[[ConsoleData], APIRouter] | None = None
    in_navigation: bool = True
    role: Role = Role.VIEWER
    of_past: bool = True

    @property
    def of_objects(self) -> bool:
        """Return whether the page is one of many, each of an object that its path names."""
        return self.path.endswith("{object}")

    def match(self, path: str) -> str | None:
        """Return the object that `path` names (empty for a page of its own), or None if the path is not this page's."""
        if not self.of_objects:
            return "" if path == self.path else None
        head = self.path.removesuffix("{object}")
        name = path.removeprefix(head)
        return name if path.startswith(head) and name and "/" not in name else None
