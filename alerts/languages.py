"""The languages in which people are told: their texts are data, in `config/languages/`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from domain.documents import read_document

Language = Literal["en", "zh-Hant"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
"""IETF language tags (RFC 5646): English, and Chinese as Taiwan's plants write it."""
FOLDER = Path(__file__).resolve().parent.parent / "config" / "languages"


class Words:
    """The texts of one language.

    Parameters
    ----------
    language
        Its tag.
    texts
        Sections of texts by key.
    """

    def __init__(self, language: Language, texts: Mapping[str, Mapping[str, str]]) -> None:
        self.language = language
        self._texts = texts

    def __call__(self, section: str, key: str, **fields: object) -> str:
        """Return a text, its fields filled in; a key that the section lacks stands for itself."""
        text = self._texts[section].get(key, key)
        return text.format(**fields) if fields else text


@cache
def words(language: Language) -> Words:
    """Return the texts of a language.

    Raises
    ------
    ConfigurationError
        If its file is not there or cannot be read.
    """
    texts: Any = read_document(FOLDER / f"{language}.yaml").data
    return Words(language, texts)
