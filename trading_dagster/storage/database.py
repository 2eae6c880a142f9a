"""A ledger database: opened, brought to the newest schema, written to in whole transactions.

SQLite by default: write-ahead log, ``synchronous=FULL`` (a commit that returned survives a power loss), foreign keys,
a busy timeout; a write transaction takes the write lock when it begins, so that what it read stays true. PostgreSQL by
URL: synchronous commit, a lock timeout; a write transaction locks the rows it depends on.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from trading_dagster.domain.error import BadConfiguration, LedgerBusy, LedgerError, SchemaNotSupported, StorageFailed
from trading_dagster.storage.ledger_schema import SCHEMA_HEAD

DEFAULT_BUSY_TIMEOUT_S = 15.0
WRITE = "ledger_write"
MIGRATION_LOCK = 7_303_014_400_516_611_431
"""Key of the advisory lock under which a PostgreSQL database is migrated: any constant of our own."""

_UPGRADING = threading.Lock()
"""Alembic upgrades one database at a time in a process: its context is global."""

_BUSY_STATES = {"55P03", "40P01", "40001"}  # lock not available, deadlock, serialisation failure
_FULL_STATES = {"53100", "53200", "53300"}  # disk full, out of memory, too many connections
_READ_ONLY_STATES = {"25006", "42501"}  # read-only transaction, insufficient privilege


class Database:
    """An open ledger database; safe to use from several threads."""

    def __init__(self, address: str | Path, *, busy_timeout_s: float = DEFAULT_BUSY_TIMEOUT_S) -> None:
        """Open a database and migrate it.

        Args:
            address: A file for SQLite, or a URL: ``sqlite:///file`` or ``postgresql://user@host/name``.
            busy_timeout_s: How long to wait for other writers, seconds.

        Raises:
            BadConfiguration: The address is not a file or a supported URL.
            SchemaNotSupported: A newer version made the database.
            StorageFailed: It cannot be opened or written to.
        """
        if not (math.isfinite(busy_timeout_s) and busy_timeout_s >= 0):
            raise BadConfiguration(f"busy_timeout_s is {busy_timeout_s}: give a number of seconds, 0 or more")
        url = _parse(address)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.place = url.render_as_string(hide_password=True)
        self.busy_timeout_s = busy_timeout_s
        self._engine = self._sqlite_engine(url) if self.is_sqlite else self._postgresql_engine(url)
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a write transaction: all of it is stored durably, or, when an error leaves the block, nothing."""
        with self._mapped_errors(), self._writer() as connection, connection.begin():
            yield connection

    def _writer(self) -> Connection:
        return self._engine.connect().execution_options(**{WRITE: True})

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read; takes no locks that writers wait for."""
        with self._mapped_errors(), self._engine.connect() as connection:
            yield connection

    def now_ms(self, connection: Connection) -> int:
        """Return unix time in milliseconds by the clock of the database, not frozen at the transaction's start."""
        sql = (
            "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
            if self.is_sqlite
            else "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
        )
        return int(connection.execute(text(sql)).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # -- opening ------------------------------------------------------------------------------------------------------

    def _sqlite_engine(self, url: URL) -> Engine:
        engine = create_engine(
            url,
            poolclass=QueuePool,
            connect_args={"timeout": self.busy_timeout_s, "isolation_level": None, "check_same_thread": False},
        )

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _: object) -> None:
            cursor = connection.cursor()
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            is_write = connection.get_execution_options().get(WRITE, False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")

        return engine

    def _postgresql_engine(self, url: URL) -> Engine:
        timeout_ms = max(1, round(self.busy_timeout_s * 1000))
        options = f"-c lock_timeout={timeout_ms} -c synchronous_commit=on -c timezone=UTC"
        try:
            return create_engine(
                url,
                pool_pre_ping=True,
                connect_args={"options": options, "connect_timeout": max(2, math.ceil(self.busy_timeout_s))},
            )
        except ModuleNotFoundError as error:
            raise BadConfiguration(
                f"{self.place} needs the package {error.name}: pip install 'trading-dagster[postgres]'"
            ) from error

    # -- schema -------------------------------------------------------------------------------------------------------

    def _migrate(self) -> None:
        with self.read() as connection:
            if _schema_of(connection) == SCHEMA_HEAD:
                return
        with self.write() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            schema = _schema_of(connection)
            if schema == SCHEMA_HEAD:
                return
            with _UPGRADING:
                self._upgrade(connection, schema)

    def _upgrade(self, connection: Connection, schema: str | None) -> None:
        from alembic import command  # only a new or outdated database pays for the import
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migration"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if schema is not None and schema not in known:
            raise SchemaNotSupported(
                f"{self.place} has schema {schema}, this version knows up to {SCHEMA_HEAD}: a newer version made it. "
                "Update the program; nothing was changed"
            )
        command.upgrade(config, "head")

    # -- errors -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._mapped(error) from error
        except SQLAlchemyError as error:
            raise StorageFailed(f"{self.place}: {error}") from error

    def _mapped(self, error: DBAPIError) -> LedgerError:
        said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        state = str(getattr(error.orig, "sqlstate", None) or "")
        code = getattr(error.orig, "sqlite_errorname", "") or ""
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or state in _BUSY_STATES:
            return LedgerBusy(
                f"{self.place} is locked by another process ({said}); waited {self.busy_timeout_s:g} s. Nothing was "
                "written: end the process that holds it, or try again"
            )
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")) or state in _READ_ONLY_STATES:
            return StorageFailed(
                f"{self.place} cannot be written to ({said}): check that the file and its folder belong to this user, "
                "or name another place. Nothing was written"
            )
        if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")) or state in _FULL_STATES:
            return StorageFailed(
                f"{self.place} could not store the transaction ({said}): is the disk full? Free space and try again; "
                "what was stored before is kept"
            )
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return LedgerError(f"{self.place} is damaged or no ledger database ({said}): restore it from a backup")
        return StorageFailed(
            f"{self.place}: {said}. If a write was under way it may or may not be stored: try the same again"
        )


def _parse(address: str | Path) -> URL:
    if isinstance(address, Path):
        return URL.create("sqlite", database=str(address))
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise BadConfiguration(
            "The ledger's address is no database URL: give sqlite:///FILE or postgresql://USER@HOST/NAME"
        ) from error
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database not in (None, "", ":memory:"):
        return url
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise BadConfiguration(
        f"The ledger's address {url.render_as_string(hide_password=True)} is not supported: "
        "give sqlite:///FILE or postgresql://USER@HOST/NAME"
    )


def _schema_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    rows: Iterable[Any] = connection.execute(text("SELECT version_num FROM alembic_version")).scalars()
    return next(iter(rows), None)
