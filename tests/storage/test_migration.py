"""A database that an earlier version made and filled is brought to the newest schema with everything in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect, text
from storage.crash_writer import EVENTS, NAME, batch_of, verify

from trading_dagster.domain.error import LeaseLost, StorageFailed
from trading_dagster.storage import database as database_module
from trading_dagster.storage import migration
from trading_dagster.storage.ledger_schema import SCHEMA_HEAD
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

NEWER_TABLES = {"kill_switches", "approvals", "messages", "shown_rows"}


def make_schema(url: str, revision: str) -> None:
    """Make the tables as the version of a revision did."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    config = Config()
    config.set_main_option("script_location", next(iter(migration.__path__)))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def everything(url: str, names: set[str]) -> dict[str, list]:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        rows = {name: sorted(map(str, connection.execute(text(f"SELECT * FROM {name}")))) for name in names}
    engine.dispose()
    return rows


def test_filled_database_of_the_first_schema_is_migrated_with_its_data(ledger_url, monkeypatch):
    make_schema(ledger_url, "0001")
    with monkeypatch.context() as patched:
        patched.setattr(database_module, "SCHEMA_HEAD", "0001")
        with SqlLedgerStore(ledger_url) as old:
            names = set(inspect(old.database._engine).get_table_names())
            assert not names & NEWER_TABLES
            lease = old.acquire("old version", [f"strategy:{NAME}"], 600)
            for number in range(5):
                old.append(replace(batch_of(number), shown=()), lease)
    names.discard("alembic_version")
    before = everything(ledger_url, names)
    assert before["events"]
    assert before["leases"]

    with SqlLedgerStore(ledger_url) as new:
        assert everything(ledger_url, names) == before
        assert set(inspect(new.database._engine).get_table_names()) >= NEWER_TABLES
        assert everything(ledger_url, NEWER_TABLES) == {name: [] for name in NEWER_TABLES}
        assert new.append(batch_of(5), lease) == 6 * EVENTS
        new.release(lease)
        new.acquire("new version", [f"strategy:{NAME}"], 600)
        with pytest.raises(LeaseLost):
            new.append(batch_of(6), lease)
    assert verify(ledger_url, 6, first_shown=5) == 6
    assert everything(ledger_url, {"alembic_version"}) == {"alembic_version": [f"('{SCHEMA_HEAD}',)"]}


def test_migration_that_fails_changes_nothing(ledger_url):
    """The second schema's last table is in the way, so that its migration breaks off half way."""
    make_schema(ledger_url, "0001")
    engine = create_engine(ledger_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE messages (other INTEGER)"))
    engine.dispose()
    with pytest.raises(StorageFailed, match="messages"):
        SqlLedgerStore(ledger_url)
    engine = create_engine(ledger_url.replace("postgresql:", "postgresql+psycopg:"))
    assert not set(inspect(engine).get_table_names()) & {"kill_switches", "approvals"}
    with engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0001"
        connection.execute(text("DROP TABLE messages"))
    engine.dispose()
    SqlLedgerStore(ledger_url).close()
    assert everything(ledger_url, {"alembic_version"}) == {"alembic_version": [f"('{SCHEMA_HEAD}',)"]}


def test_ledger_of_the_second_schema_gets_its_plots(ledger_url, monkeypatch):
    make_schema(ledger_url, "0002")
    with monkeypatch.context() as patched:
        patched.setattr(database_module, "SCHEMA_HEAD", "0002")
        with SqlLedgerStore(ledger_url) as old:
            lease = old.acquire("old version", [f"strategy:{NAME}"], 600)
            old.append(replace(batch_of(0), shown=()), lease)
    with SqlLedgerStore(ledger_url) as new:
        assert new.read_shown(NAME, "plot") == []
        new.append(batch_of(1), lease)
    assert verify(ledger_url, 2, first_shown=1) == 2
