"""A search works in a temporary folder, which is gone when the search is, however that ended."""

import multiprocessing
import os
import signal
import tempfile
from pathlib import Path

import pytest

from trading_dagster.research.working_folder import LOCK, PREFIX, remove_abandoned, working_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def work_and_die():
    with working_folder("test") as folder:
        (folder / "universe").mkdir()
        (folder / "universe" / "candles").write_text("many")
        os.kill(os.getpid(), signal.SIGKILL)


def die_at_work():
    process = multiprocessing.get_context("fork").Process(target=work_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_folder_is_gone_after_the_work(temporary):
    with working_folder("test") as folder:
        (folder / "inner").mkdir()
        assert folder.parent == temporary
        assert "test" in folder.name
    assert list(temporary.iterdir()) == []


def test_a_folder_is_gone_after_work_that_failed(temporary):
    with pytest.raises(KeyError), working_folder("test"):
        raise KeyError
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_killed_process_is_removed_by_the_next(temporary):
    die_at_work()
    (left,) = temporary.iterdir()
    with working_folder("test") as folder:
        assert folder.is_dir()
        assert not left.exists()


def test_a_folder_in_use_stays(temporary):
    die_at_work()
    with working_folder("first") as first, working_folder("second") as second:
        assert set(temporary.iterdir()) == {first, second}


def test_what_is_not_certainly_abandoned_stays(temporary):
    (temporary / f"{PREFIX}without-lock").mkdir()
    (temporary / "other").mkdir()
    (temporary / "other" / LOCK).touch()
    Path(temporary / f"{PREFIX}link").symlink_to(temporary / "other")
    (temporary / f"{PREFIX}file").touch()
    before = set(temporary.rglob("*"))
    remove_abandoned()
    assert set(temporary.rglob("*")) == before


def test_the_folder_of_another_user_stays(temporary, monkeypatch):
    die_at_work()
    (left,) = temporary.iterdir()
    monkeypatch.setattr(os, "getuid", lambda: 12_345)
    remove_abandoned()
    assert left.exists()
