"""Search over pages, objects, alerts, runbooks and points: what a person types, found within a few milliseconds.

All names of a kind are one text, a line a name, in which the words are looked for: 350,000 points are some 20 MB, through
which Python's own search goes faster than through any index that must follow each change of the plant.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter

from dashboard.auth import session_now
from dashboard.data import ConsoleData
from dashboard.page import Page
from dashboard.threads import reading
from dashboard.words import language, say
from domain.role import Role

LONGEST = 100
"""Characters of what is searched for."""
MOST_WORDS = 6
MOST_OF_A_KIND = 8
"""Results of one kind."""
MOST_LOOKED_AT = 400
"""Names of one kind that hold the words and are ranked; the first ones in order of their index."""
REBUILD_MS = 30_000
"""Names of points are gathered anew no sooner than after this."""


@dataclass(frozen=True, slots=True)
class Found:
    """A result: what it is, its name, a word beside it, and where it leads."""

    kind: str
    text: str
    note: str
    href: str


class Names:
    """Names that can be searched, in lower case, a line each."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._text = "\n".join(name.lower() for name in names)
        self._starts = [0, *accumulate(len(name.lower()) + 1 for name in names)]

    def holding(self, words: Sequence[str], most: int = MOST_LOOKED_AT) -> list[int]:
        """Return which names hold all words, in order, `most` at most."""
        found: list[int] = []
        if not self.names or not words:
            return found
        longest = max(words, key=len)
        at = self._text.find(longest)
        while at >= 0 and len(found) < most:
            line = bisect_right(self._starts, at) - 1
            end = self._starts[line + 1] - 1
            if all(word in self._text[self._starts[line] : end] for word in words):
                found.append(line)
            at = self._text.find(longest, end)
        return found


class Search:
    """Answers what is typed. Everything here blocks, but for no longer than it takes to go through some megabytes.

    Parameters
    ----------
    data
        What the console knows.
    pages
        The console's pages.
    """

    def __init__(self, data: ConsoleData, pages: Sequence[Page]) -> None:
        self._data = data
        self._pages = pages
        self._gathering = threading.Lock()
        self._points: tuple[int, int, Names, list[str]] = (-1, 0, Names([]), [])
        self._objects: tuple[int, Names, list[str]] = (-1, Names([]), [])

    def find(self, text: str, role: Role) -> list[Found]:
        """Return what fits all words of a text: pages, objects, alerts, runbooks, points, of each kind the best first."""
        words = text[:LONGEST].lower().split()[:MOST_WORDS]
        if not words:
            return []
        return [
            *self._of_pages(words, role),
            *self._of_objects(words),
            *self._of_alerts(words),
            *self._of_runbooks(words),
            *self._of_points(words),
        ]

    def _of_pages(self, words: list[str], role: Role) -> list[Found]:
        pages = [p for p in self._pages if not p.of_objects and role.includes(p.role)]
        return self._best(
            words,
            Names([f"{say(f'page.{p.name}')} {p.path}" for p in pages]),
            lambda i: Found("page", say(f"page.{pages[i].name}"), pages[i].path, pages[i].path),
        )

    def _of_objects(self, words: list[str]) -> list[Found]:
        names, ids = self._object_names()
        racks = set(self._data.site.racks)
        objects = self._data.plant.topology().objects

        def told(i: int) -> Found:
            name = ids[i]
            where = "rack" if name in racks else "object"
            known = objects.get(name)
            return Found("object", name, known.type if known else "", f"/{where}/{quote(name, safe='')}")

        return self._best(words, names, told)

    def _of_alerts(self, words: list[str]) -> list[Found]:
        alerts = self._data.alarms.listed()
        title = self._data.alarms.title
        names = Names(
            [
                f"{a.condition.object_id} {a.condition.rule} {title(a.condition.rule, language())} {a.condition.told(language())}"
                for a in alerts
            ]
        )
        return self._best(
            words,
            names,
            lambda i: Found(
                "alert",
                f"{alerts[i].condition.object_id}: {title(alerts[i].condition.rule, language())}",
                say(f"severity.{alerts[i].condition.severity}"),
                f"/alerts?alert={alerts[i].id}",
            ),
        )

    def _of_runbooks(self, words: list[str]) -> list[Found]:
        rules = self._data.runbooks.names()
        titles = [getattr(self._data.runbooks.find(rule, language()), "title", "") or rule for rule in rules]
        return self._best(
            words,
            Names([f"{rule} {title}" for rule, title in zip(rules, titles, strict=True)]),
            lambda i: Found("runbook", titles[i], rules[i], f"/runbooks/{quote(rules[i])}"),
        )

    def _of_points(self, words: list[str]) -> list[Found]:
        names, keys = self._point_names()

        def told(i: int) -> Found:
            index = self._data.registry.current(keys[i])
            point = None if index is None else self._data.registry[index]
            of = point.object_id if point is not None else ""
            what = (
                " ".join((point.point_type, *point.process_area, point.phase)).strip() if point else keys[i]
            )
            where = f"/object/{quote(of, safe='')}?point={quote(keys[i], safe='')}"
            return Found("point", what, of, where)

        return self._best(words, names, told)

    @staticmethod
    def _best(words: list[str], names: Names, told: Callable[[int], Found]) -> list[Found]:
        found = names.holding(words)
        whole = " ".join(words)

        def rank(i: int) -> tuple[bool, bool, int, str]:
            name = names.names[i].lower()
            return name.split(" ")[0] != whole, not name.startswith(words[0]), len(name), name

        return [told(i) for i in sorted(found, key=rank)[:MOST_OF_A_KIND]]

    def _object_names(self) -> tuple[Names, list[str]]:
        version = self._data.registry.plant_version
        known = self._objects
        if known[0] == version:
            return known[1], known[2]
        with self._gathering:
            if self._objects[0] != version:
                objects = self._data.plant.topology().objects
                ids = list(
                    dict.fromkeys([*self._data.site.racks, *self._data.plant.envelope.nodes, *objects])
                )
                names = [
                    f"{i} {objects[i].name if i in objects and objects[i].name != i else ''}" for i in ids
                ]
                self._objects = (version, Names(names), ids)
            return self._objects[1], self._objects[2]

    def _point_names(self) -> tuple[Names, list[str]]:
        version, now = self._data.registry.version, self._data.clock()
        known = self._points
        if known[0] == version or (known[0] >= 0 and 0 <= now - known[1] < REBUILD_MS):
            return known[2], known[3]
        with self._gathering:
            if self._points[0] != version:
                points = [p for p in self._data.registry if not p.retired]
                names = [
                    " ".join((p.object_id, p.point_type, *p.process_area, p.phase, p.key)) for p in points
                ]
                self._points = (version, now, Names(names), [p.key for p in points])
            return self._points[2], self._points[3]


def search_router(search: Search) -> APIRouter:
    """Return the route of the search; mount it behind the console's guard."""
    router = APIRouter(include_in_schema=False)

    @router.get("/search")
    async def find(q: str = "") -> list[dict[str, Any]]:
        role = session_now().role
        return [
            {"kind": one.kind, "text": one.text, "note": one.note, "href": one.href}
            for one in await reading(search.find, q, role)
        ]

    return router
