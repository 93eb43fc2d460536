"""What Hallwatch keeps is its user's only, also what was there before."""

import os

import pytest

from domain.batch import Batch, now_ms
from domain.points import Point, PointRegistry
from storage.duckdb_care import backup
from storage.ingest import Ingest
from storage.open import open_store
from storage.private import keep_private
from storage.records import Records
from storage.settings import StorageSettings


@pytest.fixture
def open_mask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def readable_by_others(folder):
    return {str(f.relative_to(folder)) for f in folder.rglob("*") if f.stat().st_mode & 0o077}


def test_a_data_folder_is_private_and_stays_so(tmp_path, open_mask):
    data = tmp_path / "data"
    keep_private(data)
    registry = PointRegistry([Point("a", "Rack", "RackPower", "R001", unit="W")])
    store = open_store(StorageSettings(path=data), registry)
    records = Records(f"sqlite:///{data}/records.sqlite")
    records.audit("eve", "login")
    ingest = Ingest.open(StorageSettings(path=data), registry, store)
    store.save_points([(0, registry[0])])
    store.write(Batch.of([0], now_ms(), [1.0]))
    ingest.spool.append(Batch.of([0], now_ms(), [1.0]))
    ingest.quarantine.message("topic", b"payload", "wrong")
    backup(store, data / "backups" / "one.duckdb")
    assert (data / "telemetry.duckdb.wal").exists()
    assert readable_by_others(data) == set()
    assert data.stat().st_mode & 0o777 == 0o700
    store.close()
    records.close()


def test_what_was_readable_by_all_is_not_any_more_and_other_files_are_left_alone(tmp_path, open_mask):
    (tmp_path / "spool" / "aside").mkdir(parents=True)
    ours = ["telemetry.duckdb", "telemetry.duckdb.wal", "records.sqlite", "spool/1", "spool/aside/x"]
    for name in (*ours, "of-somebody-else.txt"):
        (tmp_path / name).touch(0o644)
    (tmp_path / "mqtt").symlink_to(tmp_path.parent)
    keep_private(tmp_path)
    assert readable_by_others(tmp_path) - {"mqtt"} == {"of-somebody-else.txt"}


def test_a_backup_is_private_whatever_the_mask(tmp_path, open_mask):
    store = open_store(StorageSettings(path=tmp_path / "data"), PointRegistry())
    backup(store, tmp_path / "backup.duckdb")
    store.close()
    assert (tmp_path / "backup.duckdb").stat().st_mode & 0o777 == 0o600
    Records(f"sqlite:///{tmp_path}/r.sqlite").close()
    assert (tmp_path / "r.sqlite").stat().st_mode & 0o777 == 0o600
