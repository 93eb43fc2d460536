"""The words of the console, in each of its languages: data in `languages/`, one file a language.

Texts are spoken in the language of whoever asks (a request, a window's live updates), which a context variable carries, as
translation libraries do. Names of objects, units and what people wrote are never translated.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from domain import languages, said
from domain.catalogue import POINT_TYPES
from domain.documents import read_document
from domain.gpu_health import GRADES, finding
from domain.languages import LANGUAGES, Language
from domain.points import Point
from domain.said import STATES, told

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


_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_APART = re.compile(r"[^a-z0-9%]+")


def term(group: str, text: str) -> str:
    """Return the word for one of a fixed set that other parts of Hallwatch name in English, such as a state; else itself.

    Its key is the group and the English text in lower case with hyphens, each number in it an ``n``, which the translation has
    as the fields ``n1``, ``n2``, ... What the console has no words of its own for has those of `domain.languages`.
    """
    numbers = _NUMBER.findall(text)
    key = f"{group}.{_APART.sub('-', _NUMBER.sub('n', text).lower()).strip('-')}"
    found = texts(_language.get()).get(key)
    if found is None:
        return word(group, text)
    return found.format(**{f"n{i}": number for i, number in enumerate(numbers, 1)})


def state(point: Point, value: float) -> str:
    """Return how a point's state is called; a finding on a GPU tells what it is and what to do."""
    label = point.state_label(value)
    if point.point_type in GRADES:
        return told(finding(label), _language.get())
    return word(STATES.get(point.point_type, "state"), label)


def word(group: str, text: str) -> str:
    """Return the word for what is named in English, of those that are not the console's own (`domain.languages`); else itself."""
    return languages.words(_language.get()).term(group, text)


def measured(point_type: str) -> str:
    """Return what points of a type measure: in English by the contract's own word, which devices and people use."""
    if _language.get() == "en" or point_type not in POINT_TYPES:
        return point_type
    return term("measured", said.measured(point_type).text)


def several(group: str, *keys: str) -> list[str]:
    """Return several texts of one group, such as the heads of a table's columns."""
    return [say(f"{group}.{key}") for key in keys]


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
