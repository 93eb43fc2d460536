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
    terms
        Groups of words by the English that they stand for, in lower case.
    """

    def __init__(
        self,
        language: Language,
        texts: Mapping[str, Mapping[str, str]],
        terms: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.language = language
        self._texts = texts
        self._terms = terms or {}

    def __call__(self, section: str, key: str, **fields: object) -> str:
        """Return a text, its fields filled in; a key that the section lacks stands for itself."""
        text = self._texts[section].get(key, key)
        return text.format(**fields) if fields else text

    def sentence(self, key: str, fields: Mapping[str, str]) -> str:
        """Return a sentence (section ``said``), its fields filled in.

        Raises
        ------
        KeyError
            If there is no such sentence, or a field of it is not given.
        """
        return self._texts["said"][key].format_map(fields)

    def term(self, group: str, text: str) -> str:
        """Return the word for something that its origin names in English, such as a state; without one, the English."""
        return self._terms.get(group, {}).get(text.casefold(), text)


@cache
def words(language: Language) -> Words:
    """Return the texts of a language.

    Raises
    ------
    ConfigurationError
        If its file is not there or cannot be read.
    """
    texts: Any = read_document(FOLDER / f"{language}.yaml").data
    terms: Any = {} if language == "en" else read_document(FOLDER / "terms" / f"{language}.yaml").data
    lowered = {group: {key.casefold(): str(word) for key, word in of.items()} for group, of in terms.items()}
    return Words(language, texts, lowered)
