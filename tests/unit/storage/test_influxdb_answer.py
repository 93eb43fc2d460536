"""Answers of InfluxDB in MessagePack are read as what the same answer in JSON says."""

import msgpack
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import StorageError
from storage.influxdb_answer import MESSAGEPACK, series_of

T0 = 1_700_000_000_000
numbers = st.one_of(st.floats(-1e9, 1e9), st.integers(-300, 300), st.integers(0, 2**40), st.none())


def answer(*series) -> dict:
    return {"results": [{"statement_id": 0, "series": list(series)}]}


def one(rows) -> dict:
    return {"name": "RackPower", "tags": {"key": "Rack/R1"}, "columns": ["time", "a", "b"], "values": rows}


def as_floats(rows) -> np.ndarray:
    return np.asarray(rows, dtype=np.float64)


@given(st.lists(st.tuples(st.integers(T0, T0 + 10**6), numbers, numbers).map(list), min_size=1, max_size=30))
def test_rows_of_any_numbers_are_read_as_from_json(rows):
    told = answer(one(rows), one(rows[:1]), one([]))
    got = list(series_of(msgpack.packb(told), MESSAGEPACK))
    expected = list(series_of(orjson.dumps(told), "application/json"))
    assert [(s.measurement, s.key, s.columns) for s in got] == [
        (s.measurement, s.key, s.columns) for s in expected
    ]
    for mine, theirs in zip(got, expected, strict=True):
        assert np.array_equal(as_floats(mine.rows), as_floats(theirs.rows), equal_nan=True)


def test_rows_of_one_width_come_as_one_array():
    rows = [[T0 + n, 0.5 * n, 60_000] for n in range(1000)]
    (series,) = series_of(msgpack.packb(answer(one(rows))), MESSAGEPACK)
    assert isinstance(series.rows, np.ndarray)
    assert np.array_equal(series.rows, np.array(rows, float))


def test_text_comes_as_it_is():
    rows = [[0, "läuft", 3], [1, "off", 4]]
    (series,) = series_of(msgpack.packb(answer(one(rows))), MESSAGEPACK)
    assert series.rows == rows


@pytest.mark.parametrize(
    "told",
    [
        {"error": "unauthorized"},
        {"results": [{"statement_id": 0, "error": "database not found: x"}]},
        answer({**one([[T0, 1.0, 2.0]]), "partial": True}),
    ],
)
def test_a_refused_question_and_an_answer_cut_short_are_errors(told):
    for body, kind in ((msgpack.packb(told), MESSAGEPACK), (orjson.dumps(told), "application/json")):
        with pytest.raises(StorageError):
            list(series_of(body, kind))
