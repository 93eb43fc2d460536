"""Sentences: a key and fields, in each language the same, kept as JSON."""

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

from analytics.anomaly.indicators import ADVICE
from analytics.anomaly.sensors import Verdict
from analytics.anomaly.signatures import FAULTS, SIGNATURES
from analytics.scoring.verdicts import STATES
from collectors.mqtt.findings import MEANING
from domain.catalogue import POINT_TYPES
from domain.documents import read_document
from domain.gpu_health import finding
from domain.languages import FOLDER, LANGUAGES, words
from domain.said import MOST_KEPT, Quantity, Said, Span, Term, Worded, as_text, of_text, span, told
from partners.grid.watch import FEASIBLE, KEPT, LINKS, PHASES
from service.configuration import load_gpu_health

ROOT = Path(__file__).parents[3]
CHINESE = words("zh-Hant")
OTHERS = [language for language in LANGUAGES if language != "en"]
IN_CHINESE_TOO = re.compile(
    r"\b(GPUs?|CPU|CDU|UPS|BMS|XID|NVML|NVLink|NVIDIA|PCIe|SRAM|GpuRecoveryAction|DSX|CUDA)\b"
)


def fields(text):
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name)


def sentences(language):
    return read_document(FOLDER / f"{language}.yaml").data["said"]


def said_in_code():
    """Every sentence that the code makes by its key outright: the key, and the names of its fields."""
    for folder in ("alerts", "analytics", "collectors", "domain", "service", "storage", "partners"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr == "of"
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id == "Said"
                ):
                    keys = [
                        n.value
                        for n in ast.walk(node.args[0])
                        if isinstance(n, ast.Constant) and isinstance(n.value, str)
                    ]
                    plain = isinstance(node.args[0], ast.Constant | ast.IfExp)
                    yield keys if plain else [], {k.arg for k in node.keywords}


def test_every_sentence_that_the_code_makes_is_there_and_is_given_its_fields():
    there, seen = sentences("en"), 0
    for keys, given in said_in_code():
        for key in keys:
            if key not in there:
                continue  # the condition of an either-or
            seen += 1
            assert set(fields(there[key])) <= given, key
    assert seen > 20


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_has_the_same_fields_in_every_language(language):
    english, other = sentences("en"), sentences(language)
    assert english.keys() == other.keys()
    for key in english:
        assert fields(english[key]) == fields(other[key]), key
        assert not re.search(r"[A-Za-z]{2,}", re.sub(r"\{\w+\}", "", other[key])), key


def told_in_chinese(group, text):
    word = CHINESE.term(group, text)
    return word != text or not re.search(r"[a-z]{2,}", IN_CHINESE_TOO.sub("", text))


def test_what_is_measured_found_and_judged_has_a_word_in_chinese():
    measured = {f"{t.description[:1].lower()}{t.description[1:]}" for t in POINT_TYPES.values()}
    signals = {signal for s in SIGNATURES for signal in s.moves | s.may}
    verdicts = {v.name.capitalize().replace("_", " ") for v in Verdict}
    labels = {label for states in (PHASES, FEASIBLE, KEPT, LINKS, STATES) for _, label in states}
    for group, texts in (
        ("measured", measured),
        ("signal", signals),
        ("fault", FAULTS),
        ("verdict", verdicts - {"Good"}),
        ("state", labels),
        ("wear", {*ADVICE, *ADVICE.values()}),
        ("reason", {reason.replace("_", " ") for reason in MEANING}),
        ("meaning", set(MEANING.values())),
    ):
        assert {text for text in texts if not told_in_chinese(group, text)} == set(), group


def test_a_finding_on_a_gpu_is_told_part_by_part():
    gpu_health = load_gpu_health()
    entries = [*gpu_health.xids, gpu_health.other_xid, *gpu_health.conditions.values()]
    for entry in entries:
        for name, detail in (("", ""), ("XID 79", ""), ("", "3 of 4"), ("XID 79", "3 of 4")):
            text = gpu_health.text(entry, name, detail)
            assert told(finding(text)) == text
            left = IN_CHINESE_TOO.sub("", told(finding(text), "zh-Hant").replace("3 of 4", ""))
            assert not re.search(r"[A-Za-z]{3,}", left), left
    assert finding("no sentence of ours") == "no sentence of ours"


EVERYTHING = Said.of(
    "points_above",
    n=1200,
    said=Said.of(
        "risen",
        object="R001",
        what=(Term("measured", "coolant flow through a rack"), "a|b"),
        by=Quantity(12.5, "K"),
        within=Span(120.0),
        value=Quantity(16e6, "W", 4),
        limit=Worded((("en", "as agreed"), ("zh-Hant", "依約定"))),
    ),
)


def test_a_sentence_is_told_in_the_language_of_its_reader():
    assert told(EVERYTHING) == (
        "R001: coolant flow through a rack, a|b has risen by 12.5 K within 2 min, to 16.00 MW (limit as agreed)"
        " (1,200 points above it)"
    )
    assert told(EVERYTHING, "zh-Hant") == (
        "R001：冷卻液流量，a|b在 2 分鐘內上升 12.5 K，達 16.00 MW（上限 依約定）（共 1,200 個測點超出上限）"
    )
    assert told("as somebody wrote it", "zh-Hant") == "as somebody wrote it"


def test_what_is_kept_of_a_sentence_gives_the_same_sentence():
    assert of_text(as_text(EVERYTHING)) == EVERYTHING
    assert as_text("as somebody wrote it") is None


@pytest.mark.parametrize(
    "text",
    [
        '{"said": "of a later release", "fields": {}}',
        '{"said": "risen", "fields": {}}',
        "[1]",
        "{",
        '{"a": 1}',
    ],
)
def test_what_is_no_sentence_of_this_release_is_none(text):
    assert of_text(text) is None


def test_so_many_sentences_are_kept_as_they_were_read_and_no_more():
    for n in range(MOST_KEPT + 10):
        of_text(f'{{"said": "about", "fields": {{"object": "R{n}", "text": ""}}}}')
    assert of_text.cache_info().currsize == MOST_KEPT
    of_text.cache_clear()


def test_lengths_of_time_are_told_as_people_write_them():
    assert [span(s) for s in (90, 150, 7200, 86_400, 172_800 * 2)] == [
        "90 s",
        "2.5 min",
        "2 h",
        "24 h",
        "4 d",
    ]
    assert [span(s, counted=True) for s in (12, 250, 7500, 7200)] == [
        "12 s",
        "4 min 10 s",
        "2 h 5 min",
        "2 h",
    ]
    assert [span(s, "zh-Hant", counted=True) for s in (12, 250, 7500)] == [
        "12 秒",
        "4 分 10 秒",
        "2 小時 5 分",
    ]
