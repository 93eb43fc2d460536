"""Notes pinned to moments: what the console lists of them, and marks in its charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dashboard import cells
from dashboard.lately import Lately
from dashboard.things import Things
from dashboard.words import say
from domain.errors import InputError
from domain.site import Site
from storage.moment_notes import MomentNote
from storage.records import Records

BACK_MS = 7 * 86_400_000
"""Notes on moments so long before the one that is shown are marked: as long as the longest chart."""
AHEAD_MS = 86_400_000
"""In the past also those on moments so long after it."""
MOST_MARKED = 200


class NoteDesk:
    """Notes near the moment that is shown.

    Parameters
    ----------
    site, things, records, clock
        Where they belong, and the moment that is shown, UTC ms.
    keep_ms
        For how long what was found holds; 0 where `clock` stands still.
    """

    def __init__(
        self, site: Site, things: Things, records: Records, clock: Callable[[], int], keep_ms: int
    ) -> None:
        self._site = site
        self._things = things
        self._records = records
        self._clock = clock
        self._near = Lately(self._ask, keep_ms, clock)

    def near(self) -> list[MomentNote]:
        """Return the notes on moments about the one that is shown, the newest first."""
        return self._near()

    def pin(self, request: Mapping[str, Any], who: str) -> str:
        """Pin a note and return what was done, in a sentence.

        Parameters
        ----------
        request
            ``moment`` (as an address has it; empty for now), ``object`` (empty for the site) and ``note``.

        Raises
        ------
        InputError
            If it cannot be pinned.
        KeyError
            If the request is none.
        """
        now, text = self._clock(), str(request.get("moment") or "").strip()
        at = cells.moment_of(text, self._site.zone) if text else now
        if not at:
            raise InputError(say("notes.no_moment", text=text[:50]))
        name = str(request.get("object") or "").strip()
        if name and not self._things.known(name):
            raise InputError(say("notes.no_object", object=name[:100]))
        made = self._records.pin_note(at, name, who, str(request["note"]), now)
        self._near.forget()
        return say("notes.done", time=cells.date(made.at, self._site.zone, "long"))

    def _ask(self) -> list[MomentNote]:
        now = self._clock()
        return self._records.moment_notes(now - BACK_MS, now + AHEAD_MS, MOST_MARKED)


def notes(desk: NoteDesk, site: Site) -> dict[str, Any]:
    """Return what the browser lists and marks; `wall` is the moment on the site's wall clock, as the charts have it."""
    return {
        "notes": [
            {
                "id": n.id,
                "at": n.at,
                "wall": cells.wall(np.array([n.at]), site.zone).tolist()[0],
                "time": cells.date(n.at, site.zone, "long"),
                "object": n.object_id,
                "who": n.who,
                "note": n.note,
                "written": cells.date(n.written, site.zone),
            }
            for n in desk.near()
        ]
    }
