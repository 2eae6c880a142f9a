"""The command ``port``: what it writes, what it prints, and its exit code."""

import json
from pathlib import Path

from cli.conftest import Run

OLD = "from tradeexecutor.state.state import State  # state\n"
NEW = "from trading_dagster import State  # state\n"


def test_file_is_ported_in_place(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "old.py"
    file.write_text(OLD)

    assert run("port", "old.py") == (0, "old.py: ported\n", "")
    assert file.read_text() == NEW
    assert run("port", "old.py") == (0, "old.py: nothing to change\n", "")


def test_output_leaves_the_file_as_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(OLD)

    assert run("port", "old.py", "--output", "new.py")[0] == 0
    assert (tmp_path / "old.py").read_text() == OLD
    assert (tmp_path / "new.py").read_text() == NEW


def test_check_writes_nothing_and_fails_while_there_is_something_to_do(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(OLD)
    (tmp_path / "new.py").write_text(NEW)

    assert run("port", "--check", "old.py") == (1, "old.py: would be changed\n", "")
    assert (tmp_path / "old.py").read_text() == OLD
    assert run("port", "--check", "new.py") == (0, "new.py: nothing to change\n", "")


def test_what_is_left_is_printed_with_its_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("\n" + OLD + "universe.write_pickle(1)\n")

    code, out, _ = run("port", "old.py")
    assert code == 1
    assert out.startswith("old.py: line 3: .write_pickle: ")
    assert out.endswith("old.py: ported, 1 left to do by hand\n")
    assert NEW in (tmp_path / "old.py").read_text()


def test_notebook_is_ported(run: Run, tmp_path: Path) -> None:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": [OLD]}
    (tmp_path / "old.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}))

    assert run("port", "old.ipynb")[0] == 0
    assert json.loads((tmp_path / "old.ipynb").read_text())["cells"][0]["source"] == [NEW]


def test_bad_input_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("def (:\n")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe4'\n")

    assert run("port", "none.py")[0] == 2
    assert "line 1" in run("port", "old.py")[2]
    assert "UTF-8" in run("port", "latin.py")[2]
    assert "--output" in run("port", "--check", "old.py", "--output", "new.py")[2]
