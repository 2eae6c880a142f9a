"""The emergency file stops every strategy, also when the database cannot be read and when the path is wrong."""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trading_dagster.live.guard import SWITCH_VARIABLE, FileKillSwitch, KillSwitches, with_emergency_file
from trading_dagster.storage.control_store import ALL_STRATEGIES, SqlKillSwitch
from trading_dagster.storage.database import Database


class Fixed:
    def __init__(self, reason: str) -> None:
        self.reason = reason

    def is_on(self, strategy_id: str) -> str:
        return self.reason and f"{strategy_id}: {self.reason}"


def test_file_turns_the_switch_on_and_its_first_line_is_the_reason(tmp_path):
    path = tmp_path / "STOP"
    switch = FileKillSwitch(path)
    assert switch.is_on("s") == ""
    path.touch()
    assert switch.is_on("s") == f"the kill switch {path} is on; remove the file to turn it off"
    path.write_text("exploit in the router\nmore\n")
    assert switch.is_on("s") == f"the kill switch {path} is on: exploit in the router; remove the file to turn it off"
    path.write_bytes(b"\xff" * 10_000)
    assert len(switch.is_on("s")) < len(str(path)) + 300
    path.unlink()
    assert switch.is_on("s") == ""


def test_folder_or_broken_link_of_that_name_is_on(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "is on" in FileKillSwitch(tmp_path / "folder").is_on("s")
    assert "is on" in FileKillSwitch(tmp_path / "link").is_on("s")


def test_path_that_could_not_be_used_in_an_emergency_is_on(tmp_path):
    assert "whose folder does not exist: make the folder" in FileKillSwitch(tmp_path / "typo" / "STOP").is_on("s")
    assert "give an absolute path" in FileKillSwitch(Path("STOP")).is_on("s")
    (tmp_path / "file").touch()
    assert "cannot be looked at, so nothing is signed" in FileKillSwitch(tmp_path / "file" / "STOP").is_on("s")
    assert "cannot be looked at" in FileKillSwitch(tmp_path / ("x" * 5000)).is_on("s")


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [(("", ""), ""), (("a", ""), "s: a"), (("", "b"), "s: b"), (("a", "b"), "s: a; s: b"), ((), "")],
)
def test_one_of_several_switches_is_enough(reasons, expected):
    assert KillSwitches([Fixed(reason) for reason in reasons]).is_on("s") == expected


def test_without_the_variable_only_the_database_is_asked(tmp_path):
    inner = Fixed("")
    assert with_emergency_file(inner, {}) is inner
    assert with_emergency_file(inner, {SWITCH_VARIABLE: ""}) is inner


def test_file_works_without_the_database(tmp_path, monkeypatch):
    database = Database(tmp_path / "ledger.db")
    monkeypatch.setenv(SWITCH_VARIABLE, str(tmp_path / "STOP"))
    switch = with_emergency_file(SqlKillSwitch(database), os.environ)
    assert switch.is_on("s") == ""
    SqlKillSwitch(database).turn(ALL_STRATEGIES, is_on=True, by="ann", reason="test", at=datetime.now(UTC))
    assert "the kill switch of all strategies is on" in switch.is_on("s")
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("DROP TABLE kill_switches")
    connection.close()
    (tmp_path / "STOP").touch()
    assert "STOP is on" in switch.is_on("s")
    assert "cannot be read, so nothing is signed" in switch.is_on("s")
    database.close()
