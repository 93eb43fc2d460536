"""Runbooks: what an alert means and what to do, one Markdown file a rule, in every language.

Those that ship lie in `docs/runbooks/`, Chinese ones in `zh-Hant/` below it; a site's own, in the same form, lie in
`runbooks/` of its configuration and take their place. What a page calls the first action is the first paragraph of
that section: it is written nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import structlog

from domain.languages import LANGUAGES, Language

log = structlog.get_logger(__name__)

_ROOT = Path(__file__).resolve().parent.parent
SHIPPED = next(
    (f for f in (_ROOT / "config" / "runbooks", _ROOT / "docs" / "runbooks") if f.is_dir()),
    _ROOT / "docs" / "runbooks",
)
"""In a wheel beside the rules, in a checkout among the documentation."""
SECTIONS: dict[Language, tuple[str, ...]] = {
    "en": (
        "What it means",
        "First action",
        "How to check",
        "Likely causes",
        "When it is over",
        "Whom to call",
    ),
    "zh-Hant": ("意義", "首要處置", "檢查方式", "可能原因", "何時結束", "聯絡對象"),
}
"""In this order, all of them."""
LONGEST = 64 * 1024
"""Bytes of one file."""
_RULE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Runbook:
    """One runbook: its title, the first paragraphs of its parts, its likely causes, and the whole as Markdown."""

    title: str
    meaning: str
    first_action: str
    causes: tuple[str, ...]
    text: str


class Runbooks:
    """The runbooks of a site: its own where it has some, those that ship for the rest. Read once, then from memory.

    Parameters
    ----------
    own
        Folder of the site's own.
    """

    def __init__(self, own: Path | None = None) -> None:
        self._folders = [folder for folder in (own, SHIPPED) if folder is not None]
        self._find = lru_cache(maxsize=1000)(self._read)

    def find(self, rule: str, language: Language = "en") -> Runbook | None:
        """Return the runbook of a rule; the English one where the language has none, None where nobody wrote any."""
        return self._find(rule, language) or (self._find(rule, "en") if language != "en" else None)

    def load(self, rules: Iterable[str]) -> None:
        """Read the runbooks of these rules, so that no page waits for a disk."""
        for rule in rules:
            for language in LANGUAGES:
                self._find(rule, language)

    def names(self) -> list[str]:
        """Return the rules that have a runbook, in order. Reads the folders."""
        return sorted(
            {
                file.stem
                for folder in self._folders
                for file in folder.glob("*.md")
                if _RULE.fullmatch(file.stem)
            }
        )

    def _read(self, rule: str, language: Language) -> Runbook | None:
        if not _RULE.fullmatch(rule):
            return None
        for folder in self._folders:
            file = (folder if language == "en" else folder / language) / f"{rule}.md"
            try:
                with file.open("rb") as opened:
                    return parse(opened.read(LONGEST).decode(errors="replace"), language)
            except FileNotFoundError:
                continue
            except OSError as error:  # one that cannot be read keeps no page from being sent
                log.error("a runbook cannot be read", file=str(file), error=str(error))
        return None


def parse(text: str, language: Language) -> Runbook:
    """Return a runbook as its Markdown tells it; what is not there is empty."""
    title, parts, name = "", dict[str, list[str]](), ""
    for line in text.splitlines():
        if line.startswith("# ") and not title:
            title = line[2:].strip()
        elif line.startswith("## "):
            name = line[3:].strip()
            parts[name] = []
        elif name:
            parts[name].append(line)
    meaning, action, _, causes, *_ = (parts.get(section, []) for section in SECTIONS[language])
    listed = [line[2:].strip() for line in causes if line.startswith("- ")]
    return Runbook(title, _first(meaning), _first(action), tuple(listed), text)


def _first(lines: list[str]) -> str:
    """Return the first paragraph as one line."""
    paragraph = re.split(r"\n\s*\n", "\n".join(lines).strip(), maxsplit=1)[0]
    return " ".join(paragraph.split())
