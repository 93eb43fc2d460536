"""docs/runbooks/: every rule that ships has one, in one form and every language, and pages quote it and nothing else."""

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from alerts.runbooks import LONGEST, SECTIONS, SHIPPED, Runbooks, parse
from domain.languages import LANGUAGES, words
from service.cli import app

ROOT = Path(__file__).parents[3]
FILES = [ROOT / "config/alerts.yaml", ROOT / "config/examples/small-site/alerts.yaml"]
RULES = sorted({rule["name"]: rule for file in FILES for rule in yaml.safe_load(file.read_text())["rules"]})


def file_of(rule, language):
    return (SHIPPED if language == "en" else SHIPPED / language) / f"{rule}.md"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_a_runbook_of_one_form(rule, language):
    file = file_of(rule, language)
    assert file.is_file(), f"write {file.relative_to(ROOT)}, as the others beside it"
    text = file.read_text(encoding="utf-8")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == SECTIONS[language]
    found = parse(text, language)
    assert all((found.title, found.meaning, found.first_action, found.causes))
    assert len(found.title) <= 60
    assert len(found.first_action) <= 200, "a page has room for a sentence or two"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_what_to_do_first_is_written_in_the_runbook_only(file):
    assert [rule["name"] for rule in yaml.safe_load(file.read_text())["rules"] if "advice" in rule] == []


def test_no_runbook_is_of_a_rule_that_does_not_ship():
    for language in LANGUAGES:
        assert {f.stem for f in file_of("leak", language).parent.glob("*.md")} == set(RULES)


def test_commands_that_runbooks_name_are_commands():
    texts = [file_of(rule, language).read_text() for rule in RULES for language in LANGUAGES]
    named = {name for text in texts for name in re.findall(r"`hallwatch ([a-z-]+)", text)}
    assert named
    assert named <= set(get_command(app).commands)


def test_runbooks_in_chinese_speak_of_the_plant_in_its_terms():
    terms = {"rack": "機櫃", "CDU": "冷卻液分配裝置", "leak": "漏液", "feed": "市電饋線", "UPS": "不斷電系統"}
    for english, chinese in terms.items():
        assert any(chinese in file_of(rule, "zh-Hant").read_text() for rule in RULES), english


def test_a_site_s_own_runbook_takes_the_place_of_the_one_that_ships(tmp_path):
    (tmp_path / "leak.md").write_text("# Water!\n\n## First action\n\nCall +886 2 1234.\n")
    own = Runbooks(tmp_path)
    assert own.find("leak").first_action == "Call +886 2 1234."
    assert own.find("leak", "zh-Hant").title == "漏液"
    assert own.find("cdu-stopped").title == "CDU stopped"
    assert own.find("nobody-wrote-one") is None
    assert own.find("../site") is None
    assert "leak" in own.names()


def test_a_runbook_is_read_so_far_only(tmp_path):
    (tmp_path / "leak.md").write_text("# Water\n" + "x" * 1_000_000)
    assert len(Runbooks(tmp_path).find("leak").text) == LONGEST


def test_every_text_of_a_page_is_in_every_language_with_the_same_fields():
    def fields(language):
        texts = yaml.safe_load((ROOT / f"config/languages/{language}.yaml").read_text(encoding="utf-8"))
        return {
            (section, key): set(re.findall(r"{(\w+)}", text))
            for section, keys in texts.items()
            for key, text in keys.items()
        }

    first, *others = (fields(language) for language in LANGUAGES)
    assert all(other == first for other in others)
    assert words("zh-Hant")("type", "CDU") == "冷卻液分配裝置"
