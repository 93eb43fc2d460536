"""The console's words: each language has them all, and the language is that of whoever asks."""

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

from dashboard.pages import PAGES
from dashboard.preferences import THEMES
from dashboard.registry import spoken, unspoken
from dashboard.threads import reading
from dashboard.words import NAMES, chosen, count, language, say, speaking, texts
from domain.languages import LANGUAGES

DASHBOARD = Path(__file__).parents[3] / "dashboard"
_IN_SCRIPT = re.compile(r"\b(?:hw|console_)\.(say|count)\(\s*'([\w.]+)'")

_KEY = re.compile(r"\w+\.\w+")


def fields(text):
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name)


def asked_for() -> set[str]:
    """Every key that the code names outright."""
    keys = set()

    def note(how, key):
        keys.update([f"{key}.one", f"{key}.more"] if how == "count" else [key])

    for path in DASHBOARD.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("say", "count")
            ):
                key = node.args[0]
                if isinstance(key, ast.Constant):
                    note(node.func.id, key.value)
    for path in DASHBOARD.rglob("*.js"):
        for how, key in _IN_SCRIPT.findall(path.read_text(encoding="utf-8")):
            if not key.endswith("."):  # the rest of the key is put to it
                note(how, key)
    return keys


@pytest.mark.parametrize("tag", LANGUAGES)
def test_every_text_is_in_every_language_with_the_same_fields(tag):
    own, english = texts(tag), texts("en")
    assert own.keys() == english.keys()
    assert {k for k in own if fields(own[k]) != fields(english[k])} == set()
    assert {k for k, text in own.items() if not text.strip()} == set()


def test_every_text_that_the_code_asks_for_is_there():
    keys = asked_for()
    assert len(keys) > 200
    assert keys - texts("en").keys() == set()
    assert {f"page.{page.name}" for page in PAGES} <= texts("en").keys()
    assert {f"theme.{theme}" for theme in THEMES} <= texts("en").keys()
    assert set(NAMES) == set(LANGUAGES)


def test_texts_of_several_things_come_in_two_forms():
    forms = [key for key in texts("en") if key.endswith((".one", ".more"))]
    for key in forms:
        head = key.rpartition(".")[0]
        assert {f"{head}.one", f"{head}.more"} <= texts("en").keys()


def test_a_text_is_in_the_language_of_whoever_asks():
    assert language() == "en"
    with speaking("zh-Hant"):
        assert say("frame.limit") == "限值"
    assert say("frame.limit") == "Limit"
    assert say("no.such.text") == "no.such.text"
    assert count("no.such", 1) == "no.such.one"


async def test_threads_of_the_console_speak_the_language_of_whoever_asked():
    with speaking("zh-Hant"):
        assert await reading(say, "frame.limit") == "限值"
    assert await reading(say, "frame.limit") == "Limit"


@pytest.mark.parametrize(
    ("wanted", "accepted", "language"),
    [
        ("zh-Hant", "en", "zh-Hant"),
        ("en", "zh-TW,zh;q=0.9", "en"),
        ("", "zh-TW,zh;q=0.9,en-US;q=0.8", "zh-Hant"),
        ("", "zh-Hant-TW", "zh-Hant"),
        ("", "de-DE,de;q=0.9,en;q=0.8,zh-TW;q=0.7", "en"),
        ("", "zh-CN", "en"),
        ("<script>", "", "en"),
    ],
)
def test_the_language_is_the_chosen_one_or_the_first_that_the_browser_accepts(wanted, accepted, language):
    assert chosen(wanted, accepted) == language


def test_a_section_is_known_by_its_language_whatever_its_object_is_called():
    for tag in LANGUAGES:
        assert unspoken(spoken("rack:R@1:x", tag)) == ("rack:R@1:x", tag)
