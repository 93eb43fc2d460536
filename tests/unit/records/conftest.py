"""Records on SQLite and on PostgreSQL: tests run on both, but for those whose time goes into hashing passwords."""

import tempfile
from pathlib import Path

import pytest
from sqlalchemy import insert

from storage import record_tables as t
from storage.records import Records
from tests.servers import Postgresql


@pytest.fixture(scope="session")
def postgresql():
    """The URL of records in PostgreSQL, and what made their tables: to make them takes longer than a test, to empty them does not."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder, Postgresql(Path(folder)) as server:
        kept = Records(server.url)
        yield server.url, kept
        kept.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server("initdb"))])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records.sqlite"
    url, kept = request.getfixturevalue("postgresql")
    with kept.writing() as db:
        names = ", ".join(table.name for table in t.metadata.sorted_tables)
        db.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
        db.execute(insert(t.schema).values(version=t.SCHEMA_VERSION))
    return url


@pytest.fixture
def records(url):
    kept = Records(url)
    yield kept
    kept.close()
