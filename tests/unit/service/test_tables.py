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


HOURS = pd.date_range("2026-02-01", periods=20, freq="h")


def file_of(tmp_path, text, encoding="utf-8"):
    file = tmp_path / "load.csv"
    file.write_bytes(text.encode(encoding))
    return file


def lines(times, separator=",", value="{}.5"):
    return f"when{separator}load\n" + "".join(
        f"{t}{separator}{value.format(n)}\n" for n, t in enumerate(times)
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize(
    ("separator", "value"), [(",", "{}.5"), (";", "{},5"), ("\t", "1.000.00{},5"), (",", '"1,{},000.5"')]
)
def test_files_of_any_encoding_separator_and_decimal_sign_are_read(tmp_path, encoding, separator, value):
    if "000" in value and separator == ",":
        value = '"1,00{},000.5"'
    text = lines(HOURS[:9], separator, value).replace("load", "Last\u00e4")
    series = read_series(file_of(tmp_path, text, encoding), "when", "Last\u00e4")
    assert list(series.index) == list(HOURS[:9])
    step = 1000 if '"' in value else 1
    assert series.diff().dropna().tolist() == [step] * 8
    assert series.iloc[0] % 1 == 0.5


@pytest.mark.parametrize(("unit", "per_s"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_times_since_1970_are_told_by_their_size(tmp_path, unit, per_s):
    epochs = [int(t.timestamp()) * per_s for t in HOURS]
    series = read_series(file_of(tmp_path, lines(epochs)), "when", "load")
    assert list(series.index) == list(HOURS.tz_localize("UTC"))


def test_days_and_months_are_told_by_the_whole_file_and_refused_where_nothing_tells(tmp_path):
    days = pd.date_range("2026-02-01", periods=20, freq="D")
    for form in ("%d/%m/%Y 00:00", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y 0:00"):
        series = read_series(file_of(tmp_path, lines(days.strftime(form))), "when", "load")
        assert list(series.index) == list(days), form
    few = file_of(tmp_path, lines(days[:9].strftime("%d/%m/%Y")))
    with pytest.raises(
        InputError, match=r"load\.csv, column 'when'.* line 2: '01/02/2026'.*--dates dmy or --dates mdy"
    ):
        read_series(few, "when", "load")
    assert list(read_series(few, "when", "load", dates="dmy").index) == list(days[:9])
    months = read_table(few, "when", dates="mdy")
    assert months.index[0] == pd.Timestamp("2026-01-02")
    both = file_of(tmp_path, "when,load\n13/02/2026,1\n02/13/2026,2\n14/02/2026,3\n")
    with pytest.raises(InputError, match="day first"):
        read_series(both, "when", "load")


def test_offsets_over_a_clock_change_are_one_time(tmp_path):
    local = pd.date_range("2026-10-25", periods=6, freq="h", tz="Europe/Berlin")
    told = [t.isoformat() for t in local]
    assert len({t[-6:] for t in told}) == 2
    series = read_series(file_of(tmp_path, lines(told)), "when", "load")
    assert list(series.index) == list(local.tz_convert("UTC"))
    with pytest.raises(InputError, match=r"line 3.*has no offset"):
        read_series(file_of(tmp_path, lines([told[0], told[1][:-6], told[2]])), "when", "load")


def test_a_comma_that_may_be_either_is_refused_with_the_option(tmp_path):
    file = file_of(tmp_path, lines(HOURS[:5], ";", "{},500").replace(";0,", ";9,"))
    with pytest.raises(InputError, match=r"column 'load'.*--decimal point or --decimal comma"):
        read_series(file, "when", "load")
    assert read_series(file, "when", "load", decimal="comma").iloc[1] == 1.5
    assert read_series(file, "when", "load", decimal="point").iloc[1] == 1500


def test_a_time_that_is_none_is_told_with_its_line(tmp_path):
    text = lines([*HOURS[:5], "31/01/2026 10:00"])
    with pytest.raises(InputError, match="line 7: '31/01/2026 10:00' is no time; others are written"):
        read_series(file_of(tmp_path, text), "when", "load")
    with pytest.raises(InputError, match="line 2: '45000' is no time"):
        read_series(file_of(tmp_path, lines([45000, 45001, 45002])), "when", "load")


def test_decimal_commas_between_commas_are_refused_and_not_cut_off(tmp_path):
    with pytest.raises(InputError, match="more cells than the first line"):
        read_series(file_of(tmp_path, lines(HOURS[:5], value="{},5")), "when", "load")
