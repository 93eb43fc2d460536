"""The words of the console, in each of its languages: data in `languages/`, one file a language.

Texts are spoken in the language of whoever asks (a request, a window's live updates), which a context variable carries, as
translation libraries do. Names of objects, units and what people wrote are never translated.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from alerts.languages import LANGUAGES, Language
from domain.documents import read_document

FOLDER = Path(__file__).parent / "languages"
NAMES: Mapping[str, str] = {"en": "English", "zh-Hant": "正體中文"}
"""Each language by the name that its readers know it by."""

_language: ContextVar[Language] = ContextVar("language", default="en")


@cache
def texts(language: Language) -> Mapping[str, str]:
    """Return all texts of a language by key, such as ``frame.limit``.

    Raises
    ------
    ConfigurationError
        If its file is not there or cannot be read.
    """
    found: dict[str, str] = {}

    def flatten(part: Mapping[str, Any], prefix: str) -> None:
        for key, value in part.items():
            if isinstance(value, Mapping):
                flatten(value, f"{prefix}{key}.")
            else:
                found[f"{prefix}{key}"] = str(value)

    flatten(read_document(FOLDER / f"{language}.yaml").data, "")
    return found


def say(key: str, **fields: object) -> str:
    """Return a text in the language of whoever asks, its fields filled in; a key without a text stands for itself."""
    text = texts(_language.get()).get(key, key)
    return text.format(**fields) if fields else text


def count(key: str, n: int, **fields: object) -> str:
    """Return a text about `n` things: ``KEY.one`` about one, ``KEY.more`` about any other number."""
    return say(f"{key}.one" if n == 1 else f"{key}.more", n=n, **fields)


def language() -> Language:
    """Return the language of whoever asks."""
    return _language.get()


@contextlib.contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Speak a language for as long as the context lasts."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def chosen(wanted: str, accepted: str = "") -> Language:
    """Return a language that was chosen, else the first that a browser accepts (RFC 9110, 12.5.4), else English."""
    for known in LANGUAGES:
        if known == wanted:
            return known
    for part in accepted.split(",")[:20]:
        tag = part.partition(";")[0].strip().lower()
        if tag.startswith("en"):
            return "en"
        if tag in ("zh", "zh-tw", "zh-hk", "zh-mo") or tag.startswith("zh-hant"):
            return "zh-Hant"
    return "en"


@cache
def script(language: Language) -> tuple[str, str]:
    """Return the script that gives the browser its words, and a mark that changes with them."""
    text = f"window.hallwatchWords = {orjson.dumps(dict(texts(language))).decode()};\n"
    return text, hashlib.sha256(text.encode()).hexdigest()[:16]


def words_router() -> APIRouter:
    """Return the route of the browser's words; the address changes with them, so that they may be kept."""
    router = APIRouter(include_in_schema=False)

    @router.get("/words/{tag}.js")
    async def words(tag: str) -> Response:
        text, _ = script(chosen(tag))
        return Response(
            text, media_type="text/javascript", headers={"Cache-Control": "private, max-age=31536000"}
        )

    return router
