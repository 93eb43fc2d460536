"""The one place that keeps secrets out of logs, messages, tracebacks and pages.

A secret is known by its shape (the user part of a URL, a query parameter called token, an Authorization header), or
because whoever read it said so with `keep_secret`.
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
_SHORTEST = 6
_MOST_KEPT = 10_000

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # to the last @ of the same word: a password may hold : / and @ where somebody forgot to quote them
    (
        re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}://)[^\s'\"<>/:@]{0,200}:(?!\d{1,5}/)[^\s'\"<>]{0,500}@"),
        rf"\1{HIDDEN}@",
    ),
    (re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}://)[^\s'\"<>/@]{0,500}@(?=[^\s'\"<>@])"), rf"\1{HIDDEN}@"),
    (
        re.compile(
            r"([?&;][\w.-]{0,40}(?:token|passw|pwd|secret|key|sig|auth|credential)[\w.-]{0,40}=)[^&;\s'\"<>]{1,1000}",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b((?:Bearer|Basic|Token)\s+)[A-Za-z0-9._~+/=:-]{8,1000}"), rf"\1{HIDDEN}"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]{4,1000}"), f"whsec_{HIDDEN}"),
)
_kept: dict[str, None] = {}
_any_kept: re.Pattern[str] | None = None


def keep_secret(*secrets: str) -> None:
    """Never show these texts; what is shorter than six characters cannot be told from ordinary words and is left."""
    global _any_kept
    for secret in secrets:
        if len(secret) >= _SHORTEST and secret not in _kept:
            if len(_kept) >= _MOST_KEPT:
                del _kept[next(iter(_kept))]
            _kept[secret] = None
            _any_kept = None


def redacted(text: str) -> str:
    """Return a text without the secrets in it."""
    global _any_kept
    if _kept:
        pattern = _any_kept
        if pattern is None:
            # the longest first: one secret may begin with another
            pattern = re.compile("|".join(map(re.escape, sorted(_kept, key=len, reverse=True))))
            _any_kept = pattern
        text = pattern.sub(HIDDEN, text)
    if "://" in text or "=" in text or " " in text or "whsec_" in text:
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
    return text


def redacted_all(data: Any) -> Any:
    """Return nested plain data (mappings, lists, texts) without the secrets in it; keys are seen to as well."""
    if isinstance(data, str):
        return redacted(data)
    if isinstance(data, dict):
        return {redacted_all(key): redacted_all(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [redacted_all(value) for value in data]
    return data
