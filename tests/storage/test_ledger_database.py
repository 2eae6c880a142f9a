"""A ledger database survives kills, locks, full and read-only disks, and refuses what it does not understand."""

import multiprocessing
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from storage.crash_writer import EVENTS, NAME, batch_of, verify

from trading_dagster.domain.error import BadConfiguration, LedgerBusy, LedgerError, SchemaNotSupported, StorageFailed
from trading_dagster.storage import migration
from trading_dagster.storage.database import Database
from trading_dagster.storage.ledger_schema import SCHEMA_HEAD, metadata
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

ROOT = Path(__file__).parents[2]
STRATEGY = [f"strategy:{NAME}"]


def run_script(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- kills ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "kills"), [("random", 100), ("statement", 45)])
def test_killed_writers_leave_no_partial_lost_or_doubled_batch(tmp_path, how, kills):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    said = run_script(str(Path(__file__).with_name("crash_writer.py")), how, url, str(kills))
    assert f"kills={kills}" in said
    assert int(re.search(r"batches=(\d+)", said)[1]) > kills / 2


@pytest.mark.parametrize(("how", "kills"), [("random", 30), ("statement", 45)])
def test_killed_writers_on_a_server(postgresql_url, how, kills):
    said = run_script(str(Path(__file__).with_name("crash_writer.py")), how, postgresql_url, str(kills))
    assert f"kills={kills}" in said


# -- locks ------------------------------------------------------------------------------------------------------------


def test_writer_waits_for_a_lock_then_says_who_is_in_the_way(ledger_url):
    with SqlLedgerStore(ledger_url) as holder, SqlLedgerStore(ledger_url, busy_timeout_s=0.3) as writer:
        lease = holder.acquire("a", STRATEGY, 600)
        holder.append(batch_of(0), lease)
        with holder.write(lease):
            began = time.monotonic()
            with pytest.raises(LedgerBusy, match=r"locked by another process .*waited 0\.3 s"):
                writer.append(batch_of(1), lease)
            assert 0.25 < time.monotonic() - began < 5
            assert len(writer.read(NAME)) == EVENTS  # readers do not wait
        assert writer.append(batch_of(1), lease) == 2 * EVENTS


def test_writer_gets_its_turn_when_the_lock_is_released_in_time(ledger_url):
    with SqlLedgerStore(ledger_url) as holder, SqlLedgerStore(ledger_url, busy_timeout_s=30) as writer:
        lease = holder.acquire("a", STRATEGY, 600)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            with holder.write(lease):
                waiting = pool.submit(writer.append, batch_of(0), lease)
                time.sleep(0.2)
                assert not waiting.done()
            assert waiting.result(timeout=30) == EVENTS


# -- disks ------------------------------------------------------------------------------------------------------------


def fill_disk(path: str, connection) -> None:
    """Write until the file may not grow any more, and report the error; then write again without the limit."""
    store = SqlLedgerStore(f"sqlite:///{path}")
    lease = store.acquire("a", STRATEGY, 600)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
    stored = 0
    try:
        while True:
            store.append(batch_of(stored), lease)
            stored += 1
    except LedgerError as error:
        connection.send((stored, type(error).__name__, str(error)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    connection.send(store.append(batch_of(stored), lease))
    store.close()


def in_child(function, *arguments) -> list:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=function, args=(*arguments, theirs))
    child.start()
    theirs.close()
    received = []
    try:
        while True:
            received.append(ours.recv())
    except EOFError:
        pass
    child.join(60)
    ours.close()
    assert child.exitcode == 0
    child.close()
    return received


def test_full_disk_is_said_and_nothing_is_half_written(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    path = tmp_path / "ledger.db"
    (stored, name, message), head = in_child(fill_disk, str(path))
    assert name == "StorageFailed"
    assert "is the disk full? Free space and try again" in message
    assert stored > 3
    assert head == (stored + 1) * EVENTS
    assert verify(f"sqlite:///{path}", stored + 1) == stored + 1


def write_as_nobody(path: str, connection) -> None:
    store = SqlLedgerStore(f"sqlite:///{path}")  # imports what is imported on demand
    store.close()
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    for attempt in (path, str(Path(path).parent / "new.db"), "/proc/nowhere/ledger.db"):
        try:
            with SqlLedgerStore(f"sqlite:///{attempt}") as store:
                store.acquire("a", STRATEGY, 600)
        except LedgerError as error:
            connection.send((type(error).__name__, str(error)))


def test_place_that_cannot_be_written_to_is_said(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    folder = Path(tempfile.mkdtemp(prefix="trading-dagster-"))
    try:
        path = folder / "ledger.db"
        SqlLedgerStore(path).close()
        path.chmod(0o444)
        folder.chmod(0o555)
        answers = in_child(write_as_nobody, str(path))
        assert len(answers) == 3
        for name, message in answers:
            assert name == "StorageFailed"
            assert "cannot be written to" in message
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_file_that_is_no_database_is_said(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_text("this is a text file\n" * 100)
    with pytest.raises(LedgerError, match="damaged or no ledger database"):
        SqlLedgerStore(path)
    assert path.read_text().startswith("this is")


# -- schema -----------------------------------------------------------------------------------------------------------


def test_migrations_make_the_tables_that_the_program_uses(ledger_url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = Database(ledger_url)
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_head_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(Path(migration.__file__).parent))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_HEAD]


def test_database_of_a_newer_version_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "ledger.db"
    SqlLedgerStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(SchemaNotSupported, match=f"has schema 9999, this version knows up to {SCHEMA_HEAD}"):
        SqlLedgerStore(path)


def test_several_processes_may_open_a_new_database_at_once(ledger_url):
    code = (
        f"from trading_dagster.storage.sql_ledger_store import SqlLedgerStore; SqlLedgerStore({ledger_url!r}).close()"
    )
    processes = [subprocess.Popen([sys.executable, "-W", "error", "-c", code], cwd=ROOT) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]


def test_several_threads_may_open_new_databases_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda number: SqlLedgerStore(tmp_path / f"{number % 4}.db"), range(16)))
    assert {store.head(NAME) for store in opened} == {0}
    for store in opened:
        store.close()


def test_sqlite_is_opened_durably(tmp_path):
    database = Database(tmp_path / "ledger.db", busy_timeout_s=2)
    with database.read() as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 2000}


@pytest.mark.parametrize(
    "address",
    ["sqlite://", "sqlite:///:memory:", "mysql://root:hunter2@host/db", "no url at all", "http://a:hunter2@b"],
)
def test_address_of_another_kind_is_refused_without_its_password(address):
    with pytest.raises(BadConfiguration, match="postgresql://USER@HOST/NAME") as caught:
        Database(address)
    assert "hunter2" not in str(caught.value)


def test_unreachable_server_is_said_without_its_password():
    with pytest.raises(StorageFailed) as caught:
        Database("postgresql://user:hunter2@127.0.0.1:9/none", busy_timeout_s=1)
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_engine_and_backtests_do_not_import_sqlalchemy():
    code = (
        "import sys, trading_dagster, trading_dagster.backtest; "
        "sys.exit(str({'sqlalchemy', 'alembic', 'psycopg'} & set(sys.modules)).replace('set()', '') or 0)"
    )
    run_script("-c", code)
