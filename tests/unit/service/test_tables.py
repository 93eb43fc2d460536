import pandas as pd
import pytest

from domain.errors import InputError
from service.commands.tables import read_series, read_table, timespan


def test_spans_of_time_are_read():
    assert timespan("48h") == pd.Timedelta(days=2)
    assert timespan("15min") == pd.Timedelta(minutes=15)
    with pytest.raises(InputError, match="not a span of time"):
        timespan("soon")


def test_a_gap_becomes_nan_and_the_interval_is_found(tmp_path):
    file = tmp_path / "load.csv"
    hours = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    file.write_text("when,load\n" + "".join(f"2026-01-01 {h:02d}:00,{h}\n" for h in hours))
    series = read_series(file, "when", "load")
    assert len(series) == 11
    assert series.isna().sum() == 1


def test_semicolons_and_an_unnamed_time_column_are_found(tmp_path):
    file = tmp_path / "loop.csv"
    file.write_text("datetime;flow;pressure\n2026-01-01 00:00:00;1.0;2.0\n2026-01-01 00:00:01;1.1;2.1\n")
    frame = read_table(file)
    assert list(frame.columns) == ["flow", "pressure"]
    assert isinstance(frame.index, pd.DatetimeIndex)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("when,load\n2026-01-01,1\n", "too few"),
        ("when,watts\n2026-01-01,1\n", "no column 'load'; it has: watts"),
        ("time,load\n2026-01-01,1\n", "no column 'when'; it has: time, load"),
        ("when,load\nyesterday,1\n", "not every row is a time"),
        ("when,load\n2026-01-01,much\n2026-01-02,more\n2026-01-03,most\n", "holds no number"),
    ],
)
def test_a_faulty_file_is_refused_with_the_reason(tmp_path, content, said):
    file = tmp_path / "load.csv"
    file.write_text(content)
    with pytest.raises(InputError, match=said):
        read_series(file, "when", "load")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv does not exist"):
        read_series(tmp_path / "nowhere.csv", "when", "load")
