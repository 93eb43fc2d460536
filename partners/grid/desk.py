"""Where requests of the grid come in, wait for an operator, and become limits of the envelope."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import structlog

from domain.batch import now_ms
from domain.errors import InputError
from domain.grid import (
    BOUNDING,
    GridRequest,
    HeldLimit,
    Kind,
    Part,
    Standing,
    changes_of,
    held_limits,
)
from partners.grid.settings import GridSettings
from storage.plant import PlantView
from storage.records import Records

log = structlog.get_logger(__name__)

POLICY = "policy"
"""Who decided what needed no operator."""
SHOWN_MS = 7 * 86_400_000
"""Requests that ended longer ago are listed only when asked for."""


class GridDesk:
    """Keeps requests, applies the policy of consent, and lets what is agreed to hold. Calls block; safe from threads.

    Parameters
    ----------
    settings
        What needs consent.
    plant
        Whose limits change.
    records
        Where requests are kept.
    """

    def __init__(self, settings: GridSettings, plant: PlantView, records: Records) -> None:
        self._settings = settings
        self._plant = plant
        self._records = records
        self._lock = threading.Lock()
        self.held: list[HeldLimit] = []
        """Limits that are agreed to and not over, by their start."""
        self.waiting: list[GridRequest] = []
        """Requests that an operator has to decide on."""
        self.told: list[GridRequest] = []
        """Prices and notices that are not over."""
        self.changes = 0
        """Grows when either may have changed."""

    def refresh(self, now: int) -> None:
        """Read anew what is asked, and let the limits that are agreed to hold."""
        with self._lock:
            lasting = self._records.lasting_grid_requests(now)
            held = [h for h in held_limits(lasting) if h.end > now]
            self.waiting = [r for r in lasting if r.standing is Standing.WAITING]
            self.told = [r for r in lasting if r.kind not in BOUNDING]
            if held != self.held or self.changes == 0:
                self._plant.lower_limits(changes_of(held))
                self.held = held
            self.changes += 1

    def take(self, request: GridRequest, digest: str) -> GridRequest:
        """Keep a request; it is agreed to, or waits for an operator, by the policy.

        Raises
        ------
        InputError
            If the very same was taken before, or too many last.
        """
        standing = Standing.WAITING if self._needs_consent(request) else Standing.AGREED
        if standing is Standing.AGREED:
            request = replace(request, decided=request.received, decided_by=POLICY)
        earlier = self._earlier(request, request.received)
        version = max((r.version for r in earlier), default=-1) + 1
        kept = self._records.keep_grid_request(replace(request, standing=standing, version=version), digest)
        for older in earlier:
            if older.standing is Standing.WAITING:
                self._replaced(older, kept, request.received)
        log.info("the grid asks", request=kept.id, party=kept.party, text=kept.text, standing=standing.value)
        self._settled(kept, request.received)
        return kept

    def consent(self, number: int, who: str, note: str = "") -> GridRequest:
        """Agree to a request that waits.

        Raises
        ------
        InputError
            If there is none of that number that waits.
        """
        now = now_ms()
        done = self._records.decide_grid_request(
            number, Standing.AGREED, who, note, now, of=(Standing.WAITING,)
        )
        self._settled(done, now)
        return done

    def refuse(self, number: int, who: str, note: str = "") -> GridRequest:
        """Refuse a request that waits, or withdraw from one that was agreed to.

        Raises
        ------
        InputError
            If there is none of that number that may still be refused.
        """
        now = now_ms()
        done = self._records.decide_grid_request(number, Standing.REFUSED, who, note, now)
        self.refresh(now)
        return done

    def end(self, request: GridRequest, standing: Standing, note: str, now: int) -> None:
        """Let a request end because its party called it off, or something took its place."""
        try:
            self._records.decide_grid_request(request.id, standing, request.party, note, now)
        except InputError as error:  # an operator was faster, or it is over
            log.info("a request had ended already", request=request.id, reason=str(error))
        self.refresh(now)

    def lasting(self, source: str, now: int) -> list[GridRequest]:
        """Return requests of a source that wait or are agreed to and are not over."""
        return self._records.lasting_grid_requests(now, source)

    def requests(self, now: int, since: int | None = None) -> list[GridRequest]:
        """Return requests that are not over for longer than a week, or that ended since a time, UTC ms."""
        return self._records.grid_requests(now - SHOWN_MS if since is None else since)

    def _settled(self, request: GridRequest, now: int) -> None:
        """Take out what a request that is agreed to takes the place of, or leaves nothing of; let the rest hold."""
        if request.standing is Standing.AGREED:
            for older in self._records.lasting_grid_requests(now, request.source):
                same = older.reference == request.reference
                over = older.series == request.series and _covered(older, request, now)
                if older.id < request.id and (same or over):
                    self._replaced(older, request, now)
        self.refresh(now)

    def _earlier(self, request: GridRequest, now: int) -> list[GridRequest]:
        """Return the versions of a request that last."""
        lasting = self._records.lasting_grid_requests(now, request.source)
        return [r for r in lasting if r.reference == request.reference]

    def _replaced(self, older: GridRequest, newer: GridRequest, now: int) -> None:
        self._records.decide_grid_request(
            older.id, Standing.REPLACED, newer.party, f"by request {newer.id}", now
        )

    def _needs_consent(self, request: GridRequest) -> bool:
        if request.kind in (Kind.PRICE, Kind.NOTICE) or self._settings.consent == "never":
            return False
        if self._settings.consent == "always":
            return True
        site = self._plant.site.id
        return any(
            part.node != site or not part.value >= self._settings.consent_below for part in request.parts
        )


def _covered(older: GridRequest, newer: GridRequest, now: int) -> bool:
    """Return whether what is still to come of a request lies within the parts of a newer one."""
    return all(
        part.end <= now
        or any(
            n.node == part.node and n.start <= max(part.start, now) and n.end >= part.end for n in newer.parts
        )
        for part in older.parts
    )


def as_json(request: GridRequest) -> dict[str, Any]:
    """Return a request as plain values; a value of None lifts what was asked before."""
    return {
        "id": request.id,
        "source": request.source,
        "party": request.party,
        "reference": request.reference,
        "version": request.version,
        "kind": request.kind.value,
        "standing": request.standing.value,
        "received": request.received,
        "start": request.start,
        "end": request.end,
        "unit": request.unit,
        "text": request.text,
        "best_effort": request.best_effort,
        "decided": request.decided,
        "decided_by": request.decided_by,
        "note": request.note,
        "parts": [_part(part) for part in request.parts],
    }


def _part(part: Part) -> dict[str, Any]:
    value = None if part.value != part.value else part.value
    return {"node": part.node, "start": part.start, "end": part.end, "value": value}
