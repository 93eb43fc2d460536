"""What is said of something: a sentence as a key and fields, told in the language of whoever reads it.

The sentences are data, in the section ``said`` of each language in `config/languages/`. Names of objects are fields as they
are; times are text by the site's clocks. What a person or a device wrote is no sentence of ours, and stays a string.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from domain.catalogue import POINT_TYPES
from domain.languages import Language, words
from domain.units import shown

STATES = {"IncidentClass": "fault", "SensorVerdict": "verdict"}
"""Groups of terms that name the states of a point type, where these are not those of devices (``state``)."""
MOST_KEPT = 20_000
"""Sentences that are kept as they were read from the records: those of as many active alerts are not taken apart at each look."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value in its canonical unit, told to so many significant digits."""

    value: float
    unit: str
    digits: int = 3


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time in seconds: told in one unit (``2 min``), or where it is `counted` to the second (``4 min 10 s``)."""

    seconds: float
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """A word of a group of terms, named by its English text; one that has no translation stands for itself."""

    group: str
    text: str


@dataclass(frozen=True, slots=True)
class Worded:
    """A text that somebody wrote in several languages: (language, text) pairs, English first."""

    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence.

    Parameters
    ----------
    key
        Which, of the section ``said`` of the languages.
    fields
        What is filled in, by the names that the sentence has for them; a tuple is told as a list.
    """

    key: str
    fields: tuple[tuple[str, Field], ...] = ()

    @classmethod
    def of(cls, key: str, **fields: Field) -> Said:
        """Return a sentence with these fields."""
        return cls(key, tuple(fields.items()))

    def includes(self, key: str) -> bool:
        """Return whether this is such a sentence, or one about it."""
        return self.key == key or any(isinstance(f, Said) and f.includes(key) for _, f in self.fields)


Field = str | int | Quantity | Span | Term | Worded | Said | tuple["Field", ...]


def measured(point_type: str) -> Term:
    """Return what points of a type measure, as it stands in a sentence."""
    what = POINT_TYPES[point_type].description
    return Term("measured", f"{what[:1].lower() if what[1:2].islower() else what[:1]}{what[1:]}")


def told(said: Said | str, language: Language = "en") -> str:
    """Return a sentence in a language; what is no sentence of ours as it is written."""
    if isinstance(said, str):
        return said
    fields = {name: _told(field, language) for name, field in said.fields}
    return words(language).sentence(said.key, fields)


def as_text(said: Said | str) -> str | None:
    """Return a sentence as JSON; None of what is no sentence of ours."""
    return None if isinstance(said, str) else json.dumps(plain(said), ensure_ascii=False)


@lru_cache(MOST_KEPT)
def of_text(text: str) -> Said | None:
    """Return the sentence that `as_text` gave; None where the languages have no such sentence (any more)."""
    try:
        return of_plain(json.loads(text))
    except ValueError:
        return None


def of_plain(found: Any) -> Said | None:
    """Return the sentence that `plain` gave; None where the languages have no such sentence (any more)."""
    try:
        said = _field(found)
        if isinstance(said, Said):
            told(said)
            return said
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


def _told(field: Field, language: Language) -> str:
    match field:
        case str():
            return field
        case int():
            return f"{field:,}"
        case Quantity():
            if field.unit == "s" and field.value >= 120:
                return span(field.value, language)
            return shown(field.value, field.unit, field.digits)
        case Span():
            return span(field.seconds, language, counted=field.counted)
        case Term():
            return field.text if language == "en" else words(language).term(field.group, field.text)
        case Worded():
            texts = dict(field.texts)
            return texts.get(language) or texts["en"]
        case Said():
            return told(field, language)
        case _:
            return words(language)("text", "comma").join(_told(part, language) for part in field)


def span(seconds: float, language: Language = "en", *, counted: bool = False) -> str:
    """Return a length of time as people write it: ``90 s``, ``2 min``, ``6 h``; counted ``12 s``, ``4 min 10 s``, ``2 h 5 min``."""
    say = words(language)
    if not counted:
        if seconds < 120:
            return say("span", "s", s=f"{seconds:g}")
        if seconds < 7200:
            return say("span", "min", m=f"{seconds / 60:.3g}")
        if seconds < 172_800:
            return say("span", "h", h=f"{seconds / 3600:.3g}")
        return say("span", "d", d=f"{seconds / 86_400:.3g}")
    whole = max(round(seconds), 0)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return say("span", "h_min", h=hours, m=minutes) if minutes else say("span", "h", h=hours)
    if minutes:
        return say("span", "min_s", m=minutes, s=rest) if rest else say("span", "min", m=minutes)
    return say("span", "s", s=rest)


def plain(field: Field) -> Any:
    """Return a sentence, or a field of one, ready for JSON."""
    match field:
        case Said():
            return {"said": field.key, "fields": {name: plain(value) for name, value in field.fields}}
        case Quantity():
            return {"value": float(field.value), "unit": field.unit, "digits": field.digits}
        case Span():
            return {"seconds": float(field.seconds), "counted": field.counted}
        case Term():
            return {"term": field.group, "text": field.text}
        case Worded():
            return {"texts": dict(field.texts)}
        case tuple():
            return [plain(part) for part in field]
        case _:
            return field


def _field(kept: Any) -> Field:
    if isinstance(kept, list):
        return tuple(_field(part) for part in kept)
    if not isinstance(kept, Mapping):
        return kept if isinstance(kept, int) else str(kept)
    for mark, make in _MADE.items():
        if mark in kept:
            return make(kept)
    raise ValueError(f"no field of a sentence: {kept}")


_MADE: Mapping[str, Callable[[Mapping[str, Any]], Field]] = {
    "said": lambda p: Said(p["said"], tuple((name, _field(value)) for name, value in p["fields"].items())),
    "unit": lambda p: Quantity(float(p["value"]), p["unit"], p["digits"]),
    "seconds": lambda p: Span(float(p["seconds"]), p["counted"]),
    "term": lambda p: Term(p["term"], p["text"]),
    "texts": lambda p: Worded(tuple(p["texts"].items())),
}
"""How each kind of field is made of its JSON, by the key that tells it."""
