"""From a message to a request: what is not signed by whom it says, in time, for us and for the first time is refused."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from domain.errors import InputError, brief, printable
from domain.grid import OPEN_END, GridRequest, Kind, Part, Standing
from domain.units import shown
from partners.grid.desk import GridDesk
from partners.grid.flex.keys import KeyRegistry, Refused, digest
from partners.grid.flex.messages import LARGEST, LoadTargetEvent, SetLoadTarget, Target
from partners.grid.flex.settings import FlexSettings
from partners.grid.refusal import SHOWN, Refusal
from storage.grid_records import TakenBefore

log = structlog.get_logger(__name__)

Model = TypeVar("Model", bound=BaseModel)

SOURCE = "flex"
AHEAD_MS = 60_000
"""So far a partner's clock may be ahead of ours."""
MOST_A_MINUTE = 60
"""Targets of one partner that are taken in a minute."""
FURTHEST_MS = 400 * 86_400_000
"""A target that begins later is a mistake of units or years."""


class TargetDoor:
    """Takes messages of energy partners; what is good goes to the desk, all else is counted and shown. Blocks.

    Parameters
    ----------
    settings
        Whose keys are believed, and the feeds.
    feeds
        Nodes by the tag that partners use.
    desk
        Where good requests go.
    """

    def __init__(self, settings: FlexSettings, feeds: Mapping[str, str], desk: GridDesk) -> None:
        self._settings = settings
        self._keys = KeyRegistry(settings.keys)
        self._feeds = feeds
        self._desk = desk
        self._lately: dict[str, deque[int]] = {}
        self.counts: Counter[str] = Counter()
        self.refusals: deque[Refusal] = deque(maxlen=SHOWN)
        self.traces: dict[str, str] = {}
        """Traces of the newest targets by their references, which answers carry on."""

    def take(self, topic: str, payload: bytes, now: int) -> GridRequest | None:
        """Take one message; return the request that came of it, None where it was refused."""
        party = topic.split("/")[3] if topic.count("/") == 5 else ""
        try:
            request = self._request(party, payload, now)
        except Refused as refused:
            self.counts[f"refused_{refused.reason}"] += 1
            detail = printable(str(refused))[:300]
            self.refusals.append(Refusal(now, party[:100], refused.reason, detail))
            log.warning("a load target was refused", party=party[:100], reason=detail)
            return None
        self.counts["taken"] += 1
        return request

    def _request(self, party: str, payload: bytes, now: int) -> GridRequest:
        if len(payload) > LARGEST:
            raise Refused("too_large", f"more than {LARGEST:,} bytes")
        event = _read(LoadTargetEvent, payload, "malformed")
        if event.party != party:
            raise Refused("wrong_party", f"{brief(event.source)} is not whose topic it came on")
        self._in_time(int(event.time.timestamp() * 1000), now)
        content, header = self._keys.opened(event.data, party)
        body = _read(SetLoadTarget, content, "invalid_target")
        self._claims(header, now)
        self._often(party, now)
        parts = [part for target in body.targets for part in self._parts(target, now)]
        request = GridRequest(
            id=0,
            source=SOURCE,
            party=party,
            series=party,
            reference=event.reference,
            version=0,
            kind=Kind.LIMIT,
            parts=tuple(parts),
            unit="W",
            text="; ".join(_told(t, self._feeds) for t in body.targets)[:500],
            best_effort=all(t.strategy.best_effort for t in body.targets),
            received=now,
            standing=Standing.WAITING,
        )
        self.traces = {**dict(list(self.traces.items())[-100:]), event.reference: event.traceparent}
        try:
            return self._desk.take(request, digest(event.data))
        except TakenBefore as error:
            raise Refused("replayed", str(error)) from error
        except InputError as error:
            raise Refused("too_many", str(error)) from error

    def _in_time(self, sent: int, now: int) -> None:
        if sent > now + AHEAD_MS:
            raise Refused("from_the_future", f"its time is {(sent - now) / 1000:.0f} s ahead of ours")
        if sent < now - self._settings.max_age * 1000:
            raise Refused("expired", f"it is {(now - sent) / 1000:.0f} s old")

    def _claims(self, header: Mapping[str, Any], now: int) -> None:
        """Look at what the signed header says of whom it is for and how long it is good (RFC 7519, 4.1 and 5.3)."""
        audience = header.get("aud")
        wanted = audience if isinstance(audience, list) else [audience]
        if "aud" in header and self._settings.identifier not in wanted:
            raise Refused("wrong_audience", f"it is for {brief(audience)}")
        if _seconds(header, "exp", math.inf) * 1000 <= now:
            raise Refused("expired", f"its signed expiry has passed: {header['exp']}")
        if _seconds(header, "nbf", 0) * 1000 > now + AHEAD_MS:
            raise Refused("from_the_future", f"it is signed not to hold before {header['nbf']}")
        if self._settings.require_claims and not {"aud", "exp"} <= header.keys():
            raise Refused("unclaimed", "its signed header names no audience or no expiry")

    def _often(self, party: str, now: int) -> None:
        # only parties that have a key get here
        lately = self._lately.setdefault(party, deque(maxlen=MOST_A_MINUTE))
        if len(lately) == MOST_A_MINUTE and lately[0] > now - 60_000:
            raise Refused("too_often", f"more than {MOST_A_MINUTE} targets in a minute")
        lately.append(now)

    def _parts(self, target: Target, now: int) -> Iterable[Part]:
        interval = target.interval
        start = now if interval.start_time is None else int(interval.start_time.timestamp() * 1000)
        end = OPEN_END if interval.end_time is None else int(interval.end_time.timestamp() * 1000)
        if end <= now:
            raise Refused("expired", "its interval is over")
        if not start < end <= OPEN_END or start > now + FURTHEST_MS:
            raise Refused(
                "invalid_target", "its interval ends before it begins, or begins in more than 400 days"
            )
        unknown = sorted(set(target.feed_tags) - set(self._feeds))
        if unknown:
            raise Refused("unknown_feed", f"the site has no feed {', '.join(map(brief, unknown[:5]))}")
        value = math.nan if target.load_constraint is None else target.load_constraint.watts
        for tag in dict.fromkeys(target.feed_tags or self._feeds):
            yield Part(self._feeds[tag], start, end, value)


def _read(model: type[Model], content: bytes, reason: str) -> Model:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "message"
        raise Refused(reason, f"{place}: {first['msg']}") from error


def _told(target: Target, feeds: Mapping[str, str]) -> str:
    limit = (
        "no limit"
        if target.load_constraint is None
        else f"{shown(target.load_constraint.watts, 'W', 4)} at most"
    )
    where = ", ".join(target.feed_tags) or "all feeds"
    return f"{limit} on {where}" if len(feeds) > 1 else limit


def _seconds(header: Mapping[str, Any], claim: str, default: float) -> float:
    told = header.get(claim, default)
    if isinstance(told, bool) or not isinstance(told, (int, float)) or math.isnan(told):
        raise Refused("malformed", f"{claim} is no time")
    return told
