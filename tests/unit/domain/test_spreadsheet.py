"""What a spreadsheet would take for a formula, from whatever device it comes, is text."""

import csv
import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.spreadsheet import guarded, unguarded
from service.commands.data import _as_csv


@given(st.text(alphabet="'=+-@\t\r\na1", max_size=6))
def test_what_is_guarded_comes_back_and_begins_no_formula(text):
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in {"=", "+", "-", "@", "\t", "\r", "\n"} - {""} or not text


@pytest.mark.parametrize("text", ["Rack/RackPower/a", "R001", "W", "", "'quoted'"])
def test_other_texts_stay_as_they_are(text):
    assert guarded(text) == text


def test_what_query_prints_as_csv_holds_no_formula(monkeypatch):
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    told = {"key": "=cmd/a/b", "objectId": "@SUM(1)", "pointType": "RackPower", "unit": "-x"}
    _as_csv([told | {"time": [0], "value": [-1.5], "quality": [1]}])
    row = list(csv.reader(io.StringIO(printed.getvalue())))[1]
    assert row[1:] == ["'=cmd/a/b", "'@SUM(1)", "RackPower", "-1.5", "'-x", "1"]
