"""Records on SQLite, and on PostgreSQL too where HALLWATCH_TEST_POSTGRESQL names an empty database by URL."""

import os

import pytest
from sqlalchemy import create_engine

from storage.record_tables import metadata
from storage.records import Records

POSTGRESQL = os.environ.get("HALLWATCH_TEST_POSTGRESQL", "")


@pytest.fixture(params=["sqlite", "postgresql"] if POSTGRESQL else ["sqlite"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records.sqlite"
    engine = create_engine(POSTGRESQL)
    metadata.drop_all(engine)
    engine.dispose()
    return POSTGRESQL


@pytest.fixture
def records(url):
    kept = Records(url)
    yield kept
    kept.close()
