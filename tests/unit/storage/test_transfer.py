"""Export, import, copy, backup, restore, check."""

import numpy as np
import pytest

from domain.batch import Batch, now_ms
from domain.errors import InputError, StorageError
from domain.points import Point, PointRegistry
from storage.duckdb_care import backup, check, restore
from storage.open import open_store
from storage.settings import DAY, HOUR, StorageSettings
from storage.telemetry import Aggregate
from storage.tiers import TIERS
from storage.transfer import Form, export_store, import_store

START = now_ms() // HOUR * HOUR - 5 * HOUR
END = START + 5 * HOUR
POINTS = np.arange(10, dtype=np.int32)


@pytest.fixture
def filled(store, registry):
    store.save_points(list(enumerate(registry)))
    times = np.arange(START, END, 30_000)
    rng = np.random.default_rng(1)
    for i in range(0, 10, 2):
        store.write(Batch.of(np.full(len(times), i), times, rng.normal(1000, 50, len(times)).round(1)))
    store.write(Batch.of([1], [START + 10_000], [0.1], [0]))
    store.maintain(now_ms())
    return store


@pytest.fixture
def other(tmp_path):
    """Another store, in which the points get other indexes."""
    settings = StorageSettings(path=tmp_path / "other")
    registry = PointRegistry()
    store = open_store(settings, registry)
    yield store, registry
    store.close()


def assert_same(a, a_registry, b, b_registry):
    assert {p.key: p for p in a_registry}.items() <= {p.key: p for p in b_registry}.items()
    there = np.array([b_registry.index(p.key) for p in a_registry], np.int32)
    mine, theirs = a.read(POINTS, START, END), b.read(there, START, END)
    order = np.lexsort((mine.observed, there[mine.point]))
    assert there[mine.point][order].tolist() == theirs.point.tolist()
    for column in ("observed", "value", "quality"):
        assert getattr(mine, column)[order].tolist() == getattr(theirs, column).tolist()
    for name in TIERS:
        for i, p in enumerate(a_registry):
            x = a.read_tier(name, np.array([i], np.int32), START, END)
            y = b.read_tier(name, np.array([b_registry.index(p.key)], np.int32), START, END)
            assert x.start.tolist() == y.start.tolist()
            assert x.count.tolist() == y.count.tolist()
            assert x.weighted == pytest.approx(y.weighted, nan_ok=True)


@pytest.mark.parametrize("form", Form)
def test_an_export_brought_into_another_store_is_the_same(filled, registry, other, tmp_path, form):
    out = export_store(filled, registry, tmp_path / "out", START - DAY, END, form)
    assert out.rows["raw"] == len(filled.read(POINTS, START, END))
    store, names = other
    back = import_store(store, names, tmp_path / "out")
    assert back.rows == out.rows
    assert back.duplicate == 0
    store.maintain(now_ms())
    assert_same(filled, registry, store, names)


@pytest.mark.parametrize("form", Form)
def test_no_key_that_somebody_told_becomes_a_formula_of_a_spreadsheet(store, other, tmp_path, form):
    keys = ["=HYPERLINK(1)/a/b", "+1/a/b", "'=1/a/b", "'a/b/c", "-a/b/c", "@SUM(1)/a/b"]
    registry = PointRegistry(Point(key, "GenericObject", "GenericPoint", key, unit="W") for key in keys)
    store.save_points(list(enumerate(registry)))
    store.write(Batch.of(range(len(keys)), START, np.arange(len(keys), dtype=float)))
    export_store(store, registry, tmp_path / "out", START, END, form)
    lines = [line for file in (tmp_path / "out").rglob("*.csv") for line in file.read_text().splitlines()]
    assert bool(lines) == (form is Form.CSV)
    assert not [line for line in lines if line.lstrip('"')[0] in "=+-@"]
    into, names = other
    import_store(into, names, tmp_path / "out")
    back = into.read(np.arange(len(keys), dtype=np.int32), START, END)
    assert {names[p].key: v for p, v in zip(back.point.tolist(), back.value.tolist(), strict=True)} == {
        key: float(n) for n, key in enumerate(keys)
    }


def test_importing_twice_changes_nothing(filled, registry, other, tmp_path):
    export_store(filled, registry, tmp_path / "out", START, END)
    store, names = other
    import_store(store, names, tmp_path / "out")
    for file in (tmp_path / "out").glob("imported-*"):
        file.unlink()
    again = import_store(store, names, tmp_path / "out")
    assert again.duplicate == again.rows["raw"]
    store.maintain(now_ms())
    assert_same(filled, registry, store, names)


def test_an_interrupted_export_goes_on_where_it_was(filled, registry, tmp_path, monkeypatch):
    real, calls = filled.read, []

    def fails_at_the_third(*args):
        calls.append(args)
        if len(calls) == 3:
            raise StorageError("interrupted")
        return real(*args)

    monkeypatch.setattr(filled, "read", fails_at_the_third)
    with pytest.raises(StorageError, match="interrupted"):
        export_store(filled, registry, tmp_path / "out", START, END)
    monkeypatch.setattr(filled, "read", real)
    rest = export_store(filled, registry, tmp_path / "out", START, END)
    assert rest.resumed == 2
    assert rest.rows["raw"] == len(real(POINTS, START, END))


def test_an_interrupted_import_goes_on_where_it_was(filled, registry, other, tmp_path, monkeypatch):
    export_store(filled, registry, tmp_path / "out", START, END)
    store, names = other
    real = store.write
    calls = []

    def fails_at_the_third(batch):
        calls.append(batch)
        if len(calls) == 3:
            raise StorageError("interrupted")
        return real(batch)

    monkeypatch.setattr(store, "write", fails_at_the_third)
    with pytest.raises(StorageError, match="interrupted"):
        import_store(store, names, tmp_path / "out")
    monkeypatch.setattr(store, "write", real)
    rest = import_store(store, names, tmp_path / "out")
    assert rest.resumed >= 2
    back = store.read(np.arange(len(names), dtype=np.int32), START, END)
    assert len(back) == len(filled.read(POINTS, START, END))


def test_a_file_with_rows_missing_is_refused(filled, registry, other, tmp_path):
    export_store(filled, registry, tmp_path / "out", START, END, Form.CSV, tiers=("raw",))
    file = sorted((tmp_path / "out" / "raw").glob("*.csv"))[0]
    file.write_text("\n".join(file.read_text().splitlines()[:-5]) + "\n")
    with pytest.raises(InputError, match="manifest says"):
        import_store(*other, tmp_path / "out")


def test_a_folder_without_an_export_is_told(other, tmp_path):
    with pytest.raises(InputError, match=r"points\.jsonl"):
        import_store(*other, tmp_path)


def test_a_backup_is_made_while_readings_come_and_can_be_restored(filled, registry, tmp_path):
    target = tmp_path / "backup" / "b.duckdb"
    assert backup(filled, target) > 0
    filled.write(Batch.of([3], [END - 1], [1]))
    settings = StorageSettings(path=tmp_path / "restored")
    report = restore(target, settings)
    assert report.problems == ()
    names = PointRegistry()
    again = open_store(settings, names)
    assert list(names) == list(registry)
    assert len(again.read(POINTS, START, END)) == len(filled.read(POINTS, START, END)) - 1
    for how in Aggregate:
        mine = filled.aggregate(POINTS[:1], START, END, HOUR, how).values
        assert again.aggregate(POINTS[:1], START, END, HOUR, how).values == pytest.approx(mine)
    again.close()


def test_a_store_is_not_replaced_unasked(filled, tmp_path):
    backup(filled, tmp_path / "b.duckdb")
    settings = StorageSettings(path=tmp_path / "there")
    restore(tmp_path / "b.duckdb", settings)
    with pytest.raises(InputError, match="exists"):
        restore(tmp_path / "b.duckdb", settings)
    restore(tmp_path / "b.duckdb", settings, replace=True)
    with pytest.raises(InputError, match="exists"):
        backup(filled, tmp_path / "b.duckdb")


def test_a_sound_store_passes_the_check(filled):
    report = check(filled)
    assert report.problems == ()
    assert report.points == 10
    assert sum(n for name, n in report.rows.items() if name.startswith("raw")) == len(
        filled.read(POINTS, 0, 1 << 60)
    )


def test_the_check_finds_rollups_that_are_not_those_of_the_readings(filled):
    filled.cursor().execute(
        "UPDATE " + filled._tiers["minute"].tables(START, END)[0] + " SET count = count + 1"
    )
    assert any("not those of its readings" in p for p in check(filled).problems)


def test_the_check_finds_readings_of_unknown_points(filled, tmp_path):
    filled.write(Batch.of([55], [END - 1], [1]))
    assert any("point 55" in p for p in check(filled).problems)
