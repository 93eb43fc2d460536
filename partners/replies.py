"""Answers as they go out: entity tag, compression, 304; and those that are kept for a while."""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from fastapi import Response

from partners.formats import MEDIA, Format
from partners.workers import MOST_ANSWERS, Workers

SMALLEST_PACKED = 1_000
"""Bytes; what is smaller is not worth compressing."""
FASTEST = 5
PACKED = "-gz"
"""End of the tag of an answer that is compressed: to another sequence of bytes belongs another tag."""
VARY = "Accept, Accept-Encoding, Authorization"


@dataclass(frozen=True, slots=True)
class Made:
    """An answer: its bytes, compressed too where that is smaller, and the tag that names them."""

    content: bytes
    packed: bytes | None
    tag: str
    form: Format

    @classmethod
    def of(cls, content: bytes, form: Format) -> Made:
        """Return an answer; takes a millisecond for each 50 kB."""
        packed = None
        if form is not Format.PARQUET and len(content) >= SMALLEST_PACKED:
            packed = gzip.compress(content, FASTEST, mtime=0)
        return cls(content, packed, hashlib.sha256(content).hexdigest()[:32], form)


class Replies:
    """Answers that are ready, for a while each; the one that was asked for longest ago is dropped first."""

    def __init__(self, workers: Workers, clock: Callable[[], int]) -> None:
        self._workers = workers
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[Made, int]] = OrderedDict()

    async def of(self, key: Hashable, fresh_ms: int, form: Format, make: Callable[[], bytes]) -> Made:
        """Return what was made for a key within the last `fresh_ms`, or make it, in a thread."""
        now = self._clock()
        kept = self._kept.get((key, form))
        if kept is None or not kept[1] <= now < kept[1] + fresh_ms:
            kept = (await self._workers(lambda: Made.of(make(), form)), now)
            self._kept[key, form] = kept
            while len(self._kept) > MOST_ANSWERS:
                self._kept.popitem(last=False)
        self._kept.move_to_end((key, form))
        return kept[0]


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a caller takes gzip, by its Accept-Encoding header."""
    for part in accept_encoding.lower().split(","):
        coding, *parameters = (piece.strip() for piece in part.split(";"))
        if coding in ("gzip", "*"):
            weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
            return weight.strip("0.") != ""
    return False


def reply(
    made: Made,
    headers: Mapping[str, str],
    name: str,
    max_age: int = 60,
    changed: int | None = None,
    more: Mapping[str, str] | None = None,
) -> tuple[Response, Response]:
    """Return the answer, whole and for who has it already.

    Parameters
    ----------
    headers
        The request's.
    name
        Of the file, without its end.
    max_age
        Seconds that the caller may keep it.
    changed
        When it last became another, UTC ms.
    more
        Further headers of the answer.
    """
    packed = made.packed if takes_gzip(headers.get("accept-encoding", "")) else None
    told = {
        "etag": f'"{made.tag}{PACKED if packed else ""}"',
        "cache-control": f"private, max-age={max_age}",
        "vary": VARY,
        **(more or {}),
    }
    if changed is not None:
        told["last-modified"] = format_datetime(datetime.fromtimestamp(changed // 1000, UTC), usegmt=True)
    unchanged = Response(status_code=304, headers=told)
    if made.form is not Format.JSON:
        told["content-disposition"] = f'inline; filename="{name}.{made.form}"'
    if packed:
        told["content-encoding"] = "gzip"
    media = MEDIA[made.form] + ("; charset=utf-8; header=present" if made.form is Format.CSV else "")
    whole = Response(packed or made.content, headers=told, media_type=media)
    return whole, unchanged


def chosen(
    made: Made,
    headers: Mapping[str, str],
    name: str,
    max_age: int = 60,
    changed: int | None = None,
    more: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer to one request: whole, or 304."""
    whole, unchanged = reply(made, headers, name, max_age, changed, more)
    none_match, since = headers.get("if-none-match"), headers.get("if-modified-since")
    return unchanged if is_unchanged(made.tag, changed, none_match, since) else whole


def is_unchanged(
    tag: str, changed: int | None, if_none_match: str | None, if_modified_since: str | None
) -> bool:
    """Return whether a caller has the answer of this tag, by what it says that it has."""
    if if_none_match is not None:  # takes precedence, RFC 9110 13.1.3
        tags = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
        return not tags.isdisjoint((f'"{tag}"', f'"{tag}{PACKED}"', "*"))
    if if_modified_since is None or changed is None:
        return False
    try:
        return changed // 1000 <= parsedate_to_datetime(if_modified_since).timestamp()
    except (ValueError, OverflowError):
        return False
