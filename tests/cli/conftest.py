"""Run the command line as a user would, and the strategies to give it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trading_dagster.cli.main import app

STRATEGIES = Path(__file__).parents[2] / "strategies"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command line in an empty folder; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def ema_cross() -> Path:
    return STRATEGIES / "ema_cross.py"


@pytest.fixture
def broken_strategy(tmp_path: Path, ema_cross: Path) -> Callable[..., Path]:
    """Write the example strategy with a piece of it replaced."""

    def write(old: str, new: str) -> Path:
        text = ema_cross.read_text(encoding="utf-8")
        assert old in text
        file = tmp_path / "mine.py"
        file.write_text(text.replace(old, new), encoding="utf-8")
        return file

    return write
