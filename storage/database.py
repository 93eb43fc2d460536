"""The records' database: SQLite by default, any SQLAlchemy URL such as PostgreSQL's beyond one machine."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.schema import CreateColumn

from domain.errors import InputError, StorageError, StoreUnavailable
from domain.redaction import redacted
from storage import record_tables as t
from storage.private import private_file, private_opener

CONNECTIONS = 15
"""To the records at a time, from one process."""
FREE_WITHIN_S = 15.0
"""So long one waits for a connection: as long as SQLite waits for a lock."""
POOL = {"pool_size": 5, "max_overflow": CONNECTIONS - 5, "pool_timeout": FREE_WITHIN_S}
_REACH_S = 10


class Database:
    """Transactions on the records' tables, which it makes where they are absent. Safe from several threads.

    Raises
    ------
    InputError
        If the URL cannot be used, or the records were made by another version of the tables.
    StoreUnavailable
        If the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._writer = self.engine.execution_options(hallwatch_writes=True)
        with self.writing() as db:
            t.metadata.create_all(db)
            _add_columns(db)
            for table in t.metadata.tables.values():
                for index in table.indexes:
                    index.create(db, checkfirst=True)
            found = db.scalar(select(t.schema.c.version))
            if found is None:
                db.execute(insert(t.schema).values(version=t.SCHEMA_VERSION))
            else:
                _same_version(self.engine, found)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes; it is committed at the end, or not at all."""
        with _translated(), self._writer.begin() as db:
            yield db

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with _translated(), self.engine.connect() as db:
            yield db


def _add_columns(db: Connection) -> None:
    """Add the columns that a release before did not have; only those that may be null are added so."""
    here = inspect(db)
    for table in t.metadata.tables.values():
        wanted = [column for column in table.columns if column.nullable]
        there = {column["name"] for column in here.get_columns(table.name)} if wanted else set[str]()
        for column in wanted:
            if column.name not in there:
                told = CreateColumn(column).compile(dialect=db.dialect)
                db.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {told}")


def reach(url: str) -> str:
    """Return what is found at a records URL; nothing is made or changed there.

    Raises
    ------
    InputError, StoreUnavailable, StorageError
        As of `Database`, `StorageError` where the database refuses.
    """
    try:
        address = make_url(url)
        if address.get_backend_name() == "sqlite":
            file = Path(str(address.database))
            if not file.exists():
                return "their file is made at the first start"
            engine = create_engine(f"sqlite:///file:{file}?mode=ro&uri=true")
        else:
            engine = create_engine(address, connect_args={"connect_timeout": _REACH_S})
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise _unusable(url, error) from error
    try:
        with _translated(), engine.connect() as db:
            if not inspect(db).has_table(t.schema.name):
                return "reached; their tables are made at the first start"
            _same_version(engine, db.scalar(select(t.schema.c.version)))
    finally:
        engine.dispose()
    return "reached"


def _same_version(engine: Engine, found: int | None) -> None:
    if found != t.SCHEMA_VERSION:
        raise InputError(
            f"the records at {engine.url!r} have schema version {found}, this Hallwatch "
            f"uses {t.SCHEMA_VERSION}: install the release that wrote them, or point at other records"
        )


def _unusable(url: str, error: Exception) -> InputError:
    remedy = "write one such as sqlite:///data/records.sqlite"
    if isinstance(error, ImportError):
        remedy = "install its driver, for PostgreSQL with: pip install 'psycopg[binary]'"
    return InputError(f"records URL {redacted(url)!r} cannot be used ({error}); {remedy}")


def inserted(db: Connection, table: Any, fields: dict[str, Any]) -> int:
    """Insert a row and return its key."""
    key = db.execute(insert(table).values(**fields)).inserted_primary_key
    if key is None:  # both databases tell it; the type checker cannot know
        raise StorageError(f"no key came back for a new row of {table.name}")
    return int(key[0])


def _make(file: Path) -> None:
    """See to it that there is a file that can be written.

    One that is there is not opened: to close it would end the locks of every connection that this process has to it (POSIX
    locks are the process's), and whoever else looks in then takes itself for the last and removes the log in use.

    Raises
    ------
    OSError
        If it cannot be made, or written.
    """
    try:
        os.close(private_opener(str(file), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder") from None
        if not os.access(file, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def _engine(url: str) -> Engine:
    try:
        address = make_url(url)
        if address.get_backend_name() != "sqlite":
            return create_engine(address, pool_pre_ping=True, **POOL)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise _unusable(url, error) from error
    if address.database in (None, "", ":memory:"):
        raise InputError("records in memory are lost at the end and not shared by threads; name a file")
    try:
        Path(str(address.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"no folder can be made for the records at {address.database} ({error.strerror})"
        ) from error
    file = Path(str(address.database))
    try:
        _make(file)
    except OSError as error:
        raise InputError(f"the records at {file} cannot be written ({error.strerror})") from error
    for there in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
        private_file(there)
    engine = create_engine(address, **POOL)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # The driver's own implicit BEGIN comes too late for IMMEDIATE; ours is below.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "busy_timeout=15000", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes then would fail at once when another wrote between.
        writes = connection.get_execution_options().get("hallwatch_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise InputError(f"the records hold this already: {error.orig}") from error
    except NoConnectionFree as error:
        raise StoreUnavailable(
            f"records: all {CONNECTIONS} connections are in use, none became free within {FREE_WITHIN_S:g} s"
        ) from error
    except DBAPIError as error:
        kind = StoreUnavailable if error.connection_invalidated or _busy(error) else StorageError
        raise kind(f"records: {error.orig}") from error


def _busy(error: DBAPIError) -> bool:
    text = str(error.orig)
    return any(
        part in text for part in ("locked", "unable to open", "connection", "refused", "could not translate")
    )
