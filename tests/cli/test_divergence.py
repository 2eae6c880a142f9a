"""The command that compares a deployment with its backtest, on a ledger that a paper deployment wrote."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import typer
from cli.conftest import STRATEGIES
from typer.testing import CliRunner

from trading_dagster.cli.divergence import add_divergence
from trading_dagster.domain.error import BadInput, LedgerError
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_live

START = datetime(2018, 4, 10)
DAYS = 12
YAML = f"""
strategy: {STRATEGIES / "momentum_rotation.py"}
mode: paper
initial_cash: 10000
parameters: {{cycle_duration: 1d}}
clock: {{kind: replay, start: 2018-04-10T00:00:00Z, speed: 1000000000}}
"""


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a deployment whose ledger is empty."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRADING_DAGSTER_DEPLOYMENTS", str(tmp_path / "deployments"))
    file = tmp_path / "deployments" / "rotation.yaml"
    file.parent.mkdir()
    file.write_text(YAML, encoding="utf-8")
    return file


@pytest.fixture
def traded(deployment: Path) -> Path:
    """Return the file of a deployment that has traded on paper for some days."""
    clock = ManualClock(START.replace(tzinfo=UTC))
    live = open_live(read_deployment(deployment), LiveHome.from_environment(), clock)
    for day in range(DAYS):
        clock.moment = (START + timedelta(days=day)).replace(tzinfo=UTC)
        run_cycle(live)
    live.store.close()
    return deployment


@pytest.fixture
def run() -> Callable[..., str]:
    """Return a function that runs the command and gives what it prints."""
    app = typer.Typer()
    add_divergence(app)

    def call(*arguments: object) -> str:
        return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False).stdout

    return call


def test_report_of_a_paper_deployment_by_its_id(
    traded: Path, run: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    said = run(
        "rotation",
        "--home",
        tmp_path / "home",
        "--no-progress",
        "--html",
        tmp_path / "figure.html",
        "--save",
        tmp_path / "tables",
    )

    assert "rotation: live and backtest are identical, decisions from 2018-04-10 00:00:00" in said
    assert f"Decisions: {DAYS}, of which live decided {DAYS}" in said
    assert "<html>" in (tmp_path / "figure.html").read_text(encoding="utf-8")
    decisions = pd.read_csv(tmp_path / "tables" / "decisions.csv")
    assert len(decisions) == DAYS
    assert decisions["is_same"].all()
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        "decisions.csv",
        "matched.csv",
        "unmatched.csv",
    }


def test_report_of_a_file_up_to_a_time(traded: Path, run: Callable[..., str]) -> None:
    assert "Decisions: 5, of which live decided 5" in run(traded, "--end", "2018-04-15", "--no-progress")


def test_a_deployment_that_never_ran_has_nothing_to_compare(deployment: Path, run: Callable[..., str]) -> None:
    with pytest.raises(LedgerError, match="rotation has no ledger"):
        run("rotation", "--no-progress")


def test_an_unknown_deployment_is_told_with_those_there_are(deployment: Path, run: Callable[..., str]) -> None:
    with pytest.raises(BadInput, match="other is neither a file nor the id of a deployment; found are: rotation"):
        run("other")
