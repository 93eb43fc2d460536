"""What is found of what a person types, and how soon."""

import time

import pytest

from dashboard.pages import PAGES
from dashboard.search import MOST_LOOKED_AT, MOST_OF_A_KIND, Names, Search
from dashboard.words import speaking
from domain.alert import Severity
from domain.role import Role
from tests.system.console_plant import condition


@pytest.fixture
def find(hall):
    hall.tick()
    search = Search(hall.data, PAGES)
    return lambda text, role=Role.OPERATOR: [(f.kind, f.text, f.href) for f in search.find(text, role)]


def test_an_object_is_found_by_its_name_and_a_rack_leads_to_its_own_page(find):
    assert find("ups-a1")[0] == ("object", "UPS-A1", "/object/UPS-A1")
    assert find("R003")[0] == ("object", "R003", "/rack/R003")
    assert ("object", "P01-CDU2", "/object/P01-CDU2") in find("cdu2")


def test_a_point_is_found_by_the_words_of_its_object_and_quantity(find):
    found = [one for one in find("R003 return") if one[0] == "point"]
    assert found[0][1] == "RackLiquidReturnTemperature"
    assert found[0][2] == "/object/R003?point=Rack%2FRackLiquidReturnTemperature%2FR003"
    assert [one for one in find("r003 no-such-word") if one[0] == "point"] == []


def test_pages_and_runbooks_are_found_in_the_language_of_whoever_asks(find):
    assert ("page", "Alerts", "/alerts") in find("alerts")
    with speaking("zh-Hant"):
        assert ("page", "警報", "/alerts") in find("警報")
        assert any(one[0] == "runbook" and one[2] == "/runbooks/leak" for one in find("漏液"))


def test_an_alert_leads_to_its_line_in_the_list(hall, find):
    (alert,) = hall.records.open_alerts([condition("leak", "R007", Severity.CRITICAL)], hall.now)
    hall.now += 1000
    assert ("alert", "R007: leak", f"/alerts?alert={alert.id}") in find("r007 leak")


def test_what_nothing_is_called_finds_nothing_and_no_answer_is_long(find):
    assert find("") == find("   ") == []
    assert find("no such thing anywhere") == []
    kinds = [one[0] for one in find("r")]
    assert max(kinds.count(kind) for kind in set(kinds)) <= MOST_OF_A_KIND
    assert find("x" * 10_000) == []


def test_a_new_point_is_found_after_a_while(hall, find):
    assert find("chiller-9") == []
    hall.registry.register(
        hall.registry[0].__class__(
            "Chiller/ActivePower/chiller-9", "Chiller", "ActivePower", "chiller-9", unit="W"
        )
    )
    hall.now += 31_000
    assert ("object", "chiller-9", "/object/chiller-9") in find("chiller-9")
    assert any(one[0] == "point" for one in find("chiller-9"))


def test_350_000_names_are_searched_in_a_fraction_of_the_time_that_going_through_them_takes():
    listed = [
        f"R{n // 3700:03d}-T{n % 18:02d}-G{n % 4} GpuQuantity{n % 48} GPU/q{n % 48}/nvml/{n}"
        for n in range(350_000)
    ]
    names = Names(listed)
    for words in (["r095", "quantity47"], ["zz"], ["nvml/349999"]):
        quick, found = min(timed(lambda words=words: names.holding(words)) for _ in range(3))
        slow, right = timed(
            lambda words=words: [n for n, name in enumerate(listed) if all(w in name.lower() for w in words)]
        )
        assert found == right[:MOST_LOOKED_AT]
        assert quick < slow / 4


def timed(look):
    """Return the processor time that a search takes of this thread, s, and what it finds."""
    began = time.thread_time()
    found = look()
    return time.thread_time() - began, found
