"""Exports that were damaged, written by others, or made to do harm: told with file and remedy, counted, never half."""

import os

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain.batch import now_ms
from domain.errors import HallwatchError, InputError
from domain.points import Point, PointRegistry, Quality, Retired
from storage.open import open_store
from storage.settings import DAY, HOUR, MINUTE, StorageSettings
from storage.tiers import TIERS
from storage.transfer import import_store

START = now_ms() // HOUR * HOUR - 5 * HOUR
KEYS = ["Rack/RackPower/R001", "Rack/RackPower/R002"]
RAW_TYPES = {
    "key": pa.string(),
    "time": pa.timestamp("ms", "UTC"),
    "value": pa.float64(),
    "quality": pa.uint8(),
}
RAW = {
    "key": KEYS * 2,
    "time": [START, START, START + 1, START + 1],
    "value": [1.0, 2.0, 3.0, 4.0],
    "quality": [1] * 4,
}
STEP = {
    "key": [KEYS[0]], "time": [START], "minimum": [1.0], "maximum": [3.0], "mean": [2.0], "last": [3.0],
    "weighted": [2.0], "held": [60_000], "count": [3],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """An export that others may write: points, raw readings, one row of a tier; no manifest."""
    folder = tmp_path / "export"
    (folder / "raw").mkdir(parents=True)
    (folder / "minute").mkdir()
    points = [
        {"key": k, "object_type": "Rack", "point_type": "RackPower", "object_id": k[-4:], "unit": "W"}
        for k in KEYS
    ]
    (folder / "points.jsonl").write_bytes(b"\n".join(map(orjson.dumps, points)) + b"\n")
    raw(folder)
    return folder


@pytest.fixture
def into(tmp_path):
    registry = PointRegistry()
    store = open_store(StorageSettings(path=tmp_path / "into"), registry)
    yield store, registry
    store.close()


def write(file, columns, types):
    arrays = {n: v if isinstance(v, pa.Array) else pa.array(v, types.get(n)) for n, v in columns.items()}
    pq.write_table(pa.table(arrays), file)


def raw(folder, **changed):
    columns = {n: v for n, v in (RAW | changed).items() if v is not None}
    types = {n: t for n, t in RAW_TYPES.items() if n not in changed or n == "time"}
    write(folder / "raw" / "20260101T0000.parquet", columns, types)


def step(folder, tier="minute", **changed):
    types = {"time": pa.timestamp("ms", "UTC"), "held": pa.int32(), "count": pa.int32()}
    (folder / tier).mkdir(exist_ok=True)
    write(folder / tier / "20260101T0000.parquet", STEP | changed, types)


def csv(folder, text):
    (folder / "raw" / "20260101T0000.parquet").unlink()
    (folder / "raw" / "20260101T0000.csv").write_bytes(text if isinstance(text, bytes) else text.encode())


def cut(folder, at=0.5):
    file = folder / "raw" / "20260101T0000.parquet"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * at)])


def flipped(folder):
    file = folder / "raw" / "20260101T0000.parquet"
    content = bytearray(file.read_bytes())
    content[30:90] = os.urandom(60)
    file.write_bytes(content)


def points(text):
    return lambda folder: (folder / "points.jsonl").write_bytes(text)


def manifest(text):
    return lambda folder: (folder / "manifest.json").write_bytes(text)


def promised(folder, name, rows):
    (folder / "manifest.json").write_bytes(orjson.dumps({"slices": {name: rows}}))


GOOD_POINT = b'{"key":"a/b/c","object_type":"Rack","point_type":"RackPower","object_id":"x","unit":"W"}'
HEAD = "key,time,value,quality\n"

BROKEN = {
    "points: no JSON": (points(b"\x00\xff{\n"), "points.jsonl:1"),
    "points: an empty list": (points(b"[]\n"), "points.jsonl:1"),
    "points: a number as key": (points(GOOD_POINT + b'\n{"key":5,"object_type":"a","point_type":"b","object_id":"c"}'), "points.jsonl:2"),
    "points: unknown words": (points(b'{"key":"a","object_type":"a","point_type":"b","object_id":"c","colour":1}'), "points.jsonl:1"),
    "points: deep": (points(b"[" * 100_000), "points.jsonl:1"),
    "points: one endless line": (points(b'{"key":"' + b"a" * 3_000_000 + b'"}'), "points.jsonl:1"),
    "points: a unit that is not ours": (points(GOOD_POINT.replace(b'"W"', b'"kW"')), "points.jsonl:1"),
    "points: a state of 400 digits": (points(GOOD_POINT[:-1] + b',"state_text":[["' + b"9" * 5000 + b'","x"]]}'), "points.jsonl:1"),
    "points: a lone surrogate": (points(GOOD_POINT.replace(b'"x"', b'"\\ud800"')), "points.jsonl:1"),
    "points: nothing": (points(b""), "points.jsonl"),
    "points: a folder": (lambda f: ((f / "points.jsonl").unlink(), (f / "points.jsonl").mkdir()), "points.jsonl"),
    "manifest: cut off": (manifest(b'{"form": "parq'), "manifest.json"),
    "manifest: a number": (manifest(b"5"), "manifest.json"),
    "manifest: a list as slices": (manifest(b'{"slices": [1]}'), "manifest.json"),
    "manifest: a text as rows": (manifest(b'{"slices": {"raw/20260101T0000.parquet": "4"}}'), "manifest.json"),
    "manifest: deep": (manifest(b'{"slices":' * 100_000), "manifest.json"),
    "manifest: more rows than there are": (lambda f: promised(f, "raw/20260101T0000.parquet", 5), "manifest says 5"),
    "manifest: a file that is missing": (lambda f: promised(f, "raw/20260101T0100.parquet", 5), "raw/20260101T0100.parquet"),
    "parquet: cut in the middle": (cut, "20260101T0000.parquet"),
    "parquet: empty": (lambda f: cut(f, 0), "20260101T0000.parquet"),
    "parquet: its end is missing": (lambda f: cut(f, 0.99), "20260101T0000.parquet"),
    "parquet: damaged pages": (flipped, "20260101T0000.parquet"),
    "parquet: a CSV under that name": (lambda f: (f / "raw/20260101T0000.parquet").write_text(HEAD), "20260101T0000.parquet"),
    "parquet: a folder": (lambda f: ((f / "raw/20260101T0000.parquet").unlink(), (f / "raw/20260101T0000.parquet").mkdir()), "20260101T0000.parquet"),
    "parquet: no column of values": (lambda f: raw(f, value=None), "value"),
    "parquet: no key": (lambda f: raw(f, key=None), "key"),
    "parquet: texts as values": (lambda f: raw(f, value=["1", "2", "x", "4"]), "value"),
    "parquet: lists as values": (lambda f: raw(f, value=[[1.0]] * 4), "value"),
    "parquet: numbers as keys": (lambda f: raw(f, key=[1, 2, 3, 4]), "key"),
    "parquet: times as texts": (lambda f: raw(f, time=pa.array(["x"] * 4)), "time"),
    "parquet: times as numbers": (lambda f: raw(f, time=pa.array([START] * 4)), "time"),
    "parquet: times as days": (lambda f: raw(f, time=pa.array([1] * 4, pa.date32())), "time"),
    "parquet: texts as quality": (lambda f: raw(f, quality=["good"] * 4), "quality"),
    "parquet: a tier without its columns": (lambda f: write(f / "minute" / "a.parquet", {"key": KEYS}, {}), "a.parquet"),
    "csv: no head": (lambda f: csv(f, "a,b\n1,2\n"), "20260101T0000.csv"),
    "csv: nothing": (lambda f: csv(f, ""), "20260101T0000.csv"),
    "csv: NUL": (lambda f: csv(f, b"\x00" * 4000), "20260101T0000.csv"),
    "csv: no UTF-8": (lambda f: csv(f, HEAD.encode() + b"\xff\xfe,x,1,1\n"), "20260101T0000.csv"),
    "csv: a time that is none": (lambda f: csv(f, HEAD + f"{KEYS[0]},yesterday,1,1\n"), "20260101T0000.csv"),
    "csv: a time of 2^62": (lambda f: csv(f, HEAD + f"{KEYS[0]},{1 << 62},1,1\n"), "20260101T0000.csv"),
    "csv: a text as quality": (lambda f: csv(f, HEAD + f"{KEYS[0]},2026-01-01T00:00:00Z,1,good\n"), "20260101T0000.csv"),
    "csv: columns that vary": (lambda f: csv(f, HEAD + "a\nb,c\n"), "20260101T0000.csv"),
    "csv: a line of 3 MB": (lambda f: csv(f, HEAD + "a" * 3_000_000), "20260101T0000.csv"),
}  # fmt: skip


@pytest.mark.parametrize("harm", BROKEN, ids=list(BROKEN))
def test_what_cannot_be_read_is_told_with_file_and_remedy_and_nothing_of_the_file_is_taken(
    folder, into, harm
):
    do, said = BROKEN[harm]
    do(folder)
    store, registry = into
    with pytest.raises(HallwatchError) as told:
        import_store(store, registry, folder)
    assert said in str(told.value)
    assert str(folder) in str(told.value)
    assert any(word in str(told.value) for word in ("export it again", "remove it", "name ", "write ")), str(
        told.value
    )
    assert len(str(told.value)) < 1500
    assert len(store.read(np.arange(2, dtype=np.int32), -(1 << 62), 1 << 62)) == 0
    if harm.startswith("points"):
        assert len(registry) == 0


FUTURE = now_ms() + DAY
REFUSED = {
    "infinite": ({"value": [1.0, np.inf, -np.inf, np.nan]}, {"not_finite": 3}),
    "no value": ({"value": [1.0, None, None, None]}, {"not_finite": 3}),
    "far ahead": ({"time": [START, FUTURE, 1 << 62, START + 1]}, {"future": 2}),
    "before all telemetry": ({"time": [START, -(1 << 62), 0, START + 1]}, {"past": 2}),
    "no time": ({"time": [START, None, None, START + 1]}, {"no_time": 2}),
    "no key": ({"key": [KEYS[0], None, "", KEYS[1]]}, {"unknown_point": 2}),
    "a key that points.jsonl lacks": ({"key": [KEYS[0], "x", "y", KEYS[1]]}, {"unknown_point": 2}),
    "no quality": ({"quality": [1, None, 1, 1]}, {"bad_quality": 1}),
    "a quality that is none": ({"quality": [1, 300, -1, 77]}, {"bad_quality": 3}),
}


@pytest.mark.parametrize("harm", REFUSED, ids=list(REFUSED))
def test_rows_that_ingest_would_refuse_are_counted_and_their_neighbours_are_taken(folder, into, harm):
    changed, refused = REFUSED[harm]
    raw(folder, **changed)
    store, registry = into
    moved = import_store(store, registry, folder)
    assert moved.refused == refused
    assert moved.rows["raw"] == 4
    assert moved.stored + moved.duplicate + sum(refused.values()) == 4
    kept = store.read(np.arange(len(registry), dtype=np.int32), -(1 << 62), 1 << 62)
    assert len(kept) == moved.stored > 0
    assert np.isfinite(kept.value).all()


def test_values_that_no_rack_has_are_kept_as_bad(folder, into):
    raw(folder, value=[1.0, 9e10, 2.0, 3.0])
    store, registry = into
    moved = import_store(store, registry, folder)
    assert (moved.impossible, moved.refused) == (1, {})
    kept = store.read(np.arange(2, dtype=np.int32), 0, 1 << 62)
    assert kept.quality[kept.value == 9e10].tolist() == [Quality.BAD]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"mean": [np.inf]}, "not_finite"),
        ({"time": [START + 1]}, "not_aligned"),
        ({"time": [(1 << 61) // MINUTE * MINUTE]}, "future"),
        ({"time": [0]}, "past"),
        ({"count": [-1]}, "bad_count"),
        ({"held": [None]}, "bad_count"),
        ({"held": [60_001]}, "bad_count"),
        ({"minimum": [4.0]}, "not_ordered"),
    ],
)
def test_rollups_that_cannot_be_are_refused_and_do_not_spoil_what_the_store_knows(
    folder, into, changed, reason
):
    step(folder, **changed)
    store, registry = into
    moved = import_store(store, registry, folder)
    assert moved.refused == {reason: 1}
    assert store.raw_from < now_ms()
    for tier in TIERS:
        assert len(store.read_tier(tier, np.arange(2, dtype=np.int32), -(1 << 62), 1 << 62)) == 0


def test_times_of_other_units_and_numbers_of_other_types_are_what_they_say(folder, into):
    micros = pa.array([t * 1000 + 1 for t in RAW["time"]], pa.timestamp("us"))
    raw(folder, time=micros, value=pa.array([1, 2, 3, 4], pa.int16()), quality=pa.array([1] * 4, pa.int64()))
    store, registry = into
    assert import_store(store, registry, folder).stored == 4
    kept = store.read(np.arange(2, dtype=np.int32), 0, 1 << 62)
    assert sorted(kept.observed.tolist()) == RAW["time"]


def test_a_spreadsheet_may_have_saved_it_with_a_mark_at_its_beginning(folder, into):
    csv(folder, b"\xef\xbb\xbf" + (HEAD + f"{KEYS[0]},2026-11-01T00:00:00.000Z,1.5,1\n").encode())
    store, registry = into
    assert import_store(store, registry, folder).stored == 1


def test_files_that_are_no_slices_are_named(folder, into):
    (folder / "raw" / "20260101T0100.parquet.unfinished").write_bytes(b"x")
    (folder / "raw" / "notes.txt").write_text("x")
    os.mkfifo(folder / "raw" / "pipe.csv")
    moved = import_store(*into, folder)
    assert moved.ignored == ["raw/20260101T0100.parquet.unfinished", "raw/notes.txt", "raw/pipe.csv"]
    assert moved.stored == 4


def test_points_that_stand_here_keep_what_they_are(folder, into):
    store, registry = into
    registry.register(Point(KEYS[0], "Rack", "RackPower", "R001", unit="W", object_name="here"))
    other = Point(KEYS[1], "Rack", "RackPower", "R002", unit="Cel")
    registry.register(other)
    moved = import_store(store, registry, folder)
    assert registry[0].object_name == "here"
    assert registry[1] == other
    assert moved.points_refused == {"other_unit": 1}
    assert moved.refused == {"unknown_point": 2}


def test_points_beyond_the_limit_are_refused_and_counted_and_the_others_are_taken(folder, into):
    store, registry = into
    registry.max_points = 1
    moved = import_store(store, registry, folder)
    assert moved.points_refused == {"too_many_points": 1}
    assert (moved.stored, moved.refused) == (2, {"unknown_point": 2})


def test_nothing_is_retired_by_an_import(folder, into):
    store, registry = into
    registry.register(Point(KEYS[0], "Rack", "RackPower", "R001", unit="W"))
    lines = (folder / "points.jsonl").read_bytes().splitlines()
    lines[0] = lines[0][:-1] + b',"retired":"gone"}'
    (folder / "points.jsonl").write_bytes(b"\n".join(lines))
    import_store(store, registry, folder)
    assert [p.retired for p in registry] == ["", ""]
    registry.retire(0, Retired.REFUSED)
    assert import_store(store, registry, folder).points_refused == {"refused_point": 1}


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_taken(folder, into):
    (folder / "imported.txt").touch()
    store, registry = into
    name = next(iter({f"imported-{h}.txt" for h in [_digest(store)]}))
    (folder / name).mkdir()
    with pytest.raises(InputError, match="imported-"):
        import_store(store, registry, folder)
    assert len(registry) == 0


def _digest(store):
    import hashlib

    return hashlib.sha256(store.health().detail.encode()).hexdigest()[:8]
