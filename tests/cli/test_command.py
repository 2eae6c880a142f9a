"""The commands on good input, and how fast they start."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from cli.conftest import STRATEGIES, Run

from trading_dagster import __version__
from trading_dagster.market.file_source import SAMPLE_FOLDER

SAMPLE = SAMPLE_FOLDER / "sample_btc_1h.parquet"


def test_version(run: Run) -> None:
    assert run("version") == (0, f"{__version__}\n", "")


def test_backtest_prints_the_key_figures(run: Run, ema_cross: Path) -> None:
    code, output, _ = run("backtest", ema_cross, "--no-progress")

    assert code == 0
    rows = {line[:20].strip(): line[20:].split() for line in output.splitlines()}
    assert rows["Equity at end, USD"] == ["14,922.59", "5,773.04"]
    assert rows["Return"] == ["49.23%", "-42.27%"]
    assert rows["Trades"] == ["132", "-"]
    assert {"CAGR", "Sharpe", "Sortino", "Max drawdown", "Win rate", "Fees, USD"} <= set(rows)


def test_backtest_takes_range_cash_parameters_pair_and_data(run: Run, ema_cross: Path) -> None:
    options = ["--start", "2018-03-01", "--end", "2018-09-01", "--cash", "500", "--set", "fast_bars=12"]
    options += ["--set", "max_gap=36h", "--data", SAMPLE, "--pair", "BTC/USD", "--no-progress"]

    code, output, errors = run("backtest", ema_cross, *options)

    assert code == 0, errors
    assert "BTC-USD, 2018-03-01 00:00:00 to 2018-09-01 00:00:00 UTC, 4,416 decisions" in output


def test_backtest_writes_report_and_tables(run: Run, ema_cross: Path, tmp_path: Path) -> None:
    code, _, errors = run("backtest", ema_cross, "--no-progress", "--report", "out/r.html", "--save", "saved")

    assert code == 0, errors
    assert "ema_cross" in (tmp_path / "out" / "r.html").read_text(encoding="utf-8")
    assert (tmp_path / "saved" / "trades.parquet").is_file()
    assert json.loads((tmp_path / "saved" / "metrics.json").read_text(encoding="utf-8"))["Sharpe"] > 0


def test_check_bias_accepts_an_honest_strategy(run: Run) -> None:
    code, output, errors = run("check-bias", STRATEGIES / "buy_and_hold.py", "--no-progress")

    assert code == 0, errors
    assert output


def test_check_bias_names_a_cheating_indicator(run: Run, broken_strategy: Callable[..., Path]) -> None:
    file = broken_strategy("ema(close, fast_bars)", "ema(close.shift(-3).ffill(), fast_bars)")

    code, output, _ = run("check-bias", file, "--no-progress")

    assert code == 1
    assert "ema_fast" in output


def test_data_check_accepts_the_sample_and_names_what_is_broken(run: Run, shared_data: Path) -> None:
    code, output, _ = run("data", "check", SAMPLE)
    assert code == 0
    assert "All candles keep the contract." in output

    code, output, errors = run("data", "check", shared_data / "dirty_daily_12exchanges.parquet")
    assert code == 1
    assert "is duplicated in" in errors
    assert "redenominations" in output


def test_data_import_adds_only_what_is_missing(run: Run, tmp_path: Path) -> None:
    first = run("data", "import", SAMPLE, "--lake", tmp_path / "lake", "--name", "btc", "--no-progress")
    second = run("data", "import", SAMPLE, "--lake", tmp_path / "lake", "--name", "btc", "--no-progress")

    assert first[0] == second[0] == 0
    assert first[1].startswith("15,7")
    assert second[1].startswith("0 candles added")


def test_backtest_command_does_not_wait_for_dagster_or_plotly(ema_cross: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['trading-dagster', 'backtest', {str(ema_cross)!r}, '--no-progress', '--end', '2018-02-01']\n"
        "from trading_dagster.cli.main import app\n"
        "app(standalone_mode=False)\n"
        "print(sorted({'dagster', 'plotly', 'matplotlib', 'web3', 'rich'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.dagster
@pytest.mark.slow
def test_demo_runs_twice_in_any_folder(run: Run, tmp_path: Path) -> None:
    first = run("demo", "--no-progress")
    report = tmp_path / ".dagster" / "artefacts" / "ema_cross" / "report.html"
    html = report.read_bytes()
    second = run("demo", "--no-progress")

    for code, output, errors in (first, second):
        assert code == 0, errors
        assert "14,922.59" in output
        assert f"Report: {report}" in output
        assert output.rstrip().endswith("trading-dagster up")
    assert report.read_bytes() == html


def test_grid_search_prints_the_best_and_writes_table_and_map(run: Run, ema_cross: Path, tmp_path: Path) -> None:
    options = ["--end", "2018-03-01", "--set", "fast_bars=[8, 24]", "--set", "slow_bars=[48,96]", "--workers", "1"]
    options += ["--results", tmp_path / "kept", "--no-progress"]

    code, output, errors = run(
        "grid-search", ema_cross, *options, "--table", tmp_path / "t.csv", "--heat-map", tmp_path / "m.html"
    )
    again, repeated, _ = run("grid-search", ema_cross, *options, "--metric", "CAGR", "--top", "1")

    assert (code, again) == (0, 0), errors
    assert "4 combinations, 0 of them from earlier searches, 0 failed" in output
    assert "4 combinations, 4 of them from earlier searches, 0 failed" in repeated
    table = pd.read_csv(tmp_path / "t.csv").sort_values("CAGR", ascending=False)
    assert f"{table['CAGR'].iloc[0]:.2%}" in repeated
    assert f"{table['CAGR'].iloc[1]:.2%}" not in repeated
    assert "Sharpe by fast_bars and slow_bars" in (tmp_path / "m.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "There is nothing to search in .*: give values with --set NAME="),
        (["--set", "fast_bars=[8,x]"], "fast_bars=x: 'x' is no number"),
        (["--set", "fst_bars=[8,9]"], "Did you mean 'fast_bars'"),
        (["--set", "fast_bars=[]"], "fast_bars is an empty list"),
        (["--set", "candle_time_bucket=[h1,h4]"], "one search has one universe"),
        (["--set", "fast_bars=[8,9]", "--metric", "Luck"], "--metric Luck: use one of Positions"),
        (["--set", "fast_bars=[8,9]", "--heat-map", "x.html"], "--heat-map needs two searched parameters"),
        (["--set", "fast_bars=[8,9]", "--workers", "0"], "max_workers is 0"),
    ],
)
def test_grid_search_refuses_what_it_cannot_do(run: Run, ema_cross: Path, options: list[str], message: str) -> None:
    code, _, errors = run("grid-search", ema_cross, *options, "--no-progress")

    assert code == 2
    assert re.search(message, errors), errors
