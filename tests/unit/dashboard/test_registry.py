"""Where a page lies, and what it needs."""

import pytest

from dashboard.page import Level
from dashboard.pages import PAGES
from dashboard.registry import ALWAYS, LIVE, asked, navigation, page_at
from domain.role import Role


def test_names_addresses_and_sections_of_pages_are_their_own():
    assert len({page.name for page in PAGES}) == len(PAGES)
    assert len({page.path for page in PAGES}) == len(PAGES)
    own = [name for page in PAGES for name in page.live]
    assert len(own) == len(set(own))
    assert not set(own) & ALWAYS.keys()
    assert LIVE.keys() == {*own, *ALWAYS}
    ids = [name for page in PAGES for name in (*page.choices, *page.stores)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("path", "page", "which"),
    [
        ("/", "overview", ""),
        ("/alerts", "alerts", ""),
        ("/rack/R001", "rack", "R001"),
        ("/rack/R%20%2F1", "rack", "R /1"),
    ],
)
def test_a_page_is_found_by_its_address(path, page, which):
    found = page_at(path)
    assert found is not None
    assert (found[0].name, found[1]) == (page, which)


@pytest.mark.parametrize("path", ["/rack/", "/rack/R001/more", "/alerts/", "/elsewhere", "", "rack/R001"])
def test_elsewhere_is_no_page(path):
    assert page_at(path) is None


def test_the_navigation_goes_from_the_site_down_to_diagnosis():
    groups = navigation(Role.OPERATOR)
    assert [level for level, _ in groups] == sorted((level for level, _ in groups), key=list(Level).index)
    assert groups[0][1][0].path == "/"
    assert all(not page.of_objects for _, pages in groups for page in pages)


def test_of_an_address_only_its_first_words_are_read():
    assert asked(None, "", "?at=1&at=2&span=6h", "anna", Role.VIEWER).search == {"at": "1", "span": "6h"}
    assert asked(None, "", "?" + "&".join(f"a{n}=1" for n in range(50)), "anna", Role.VIEWER).search == {}
    assert asked(None, "", None, "anna", Role.VIEWER).search == {}
