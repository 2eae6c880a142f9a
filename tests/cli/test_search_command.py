"""The commands ``optimise`` and ``walk-forward``, as a user runs them."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import Run
from trading_dagster.domain.error import ParameterMissing, ParameterTypeInvalid
from trading_dagster.strategy.dimension import Categorical, Integer, Real
from trading_dagster.strategy.parameter_text import is_dimension, parse_dimensions, parse_settings

SPACE = ["--set", "fast_bars=Integer(5,50)", "--set", "slow_bars=[72,96]", "--set", "allocation=Real(0.5, 1)"]
QUICK = ["--workers", "1", "--min-trades", "1", "--no-progress"]


def test_optimise_prints_the_best_and_writes_table_and_report(run: Run, ema_cross: Path, tmp_path: Path) -> None:
    options = [*SPACE, *QUICK, "--end", "2018-03-01", "--iterations", "8", "--results", tmp_path / "kept"]

    code, output, errors = run(
        "optimise", ema_cross, *options, "--table", tmp_path / "t.csv", "--report", tmp_path / "r.html", "--top", "3"
    )
    again, repeated, _ = run("optimise", ema_cross, *options, "--objective", "max-drawdown", "--top", "1")

    assert (code, again) == (0, 0), errors
    assert "8 points, 0 of them from earlier searches, 0 failed" in output
    assert re.search(r"What tells good points from the rest: \w+ \d+%, \w+ \d+%, \w+ \d+%", output)
    assert re.search(r"more than the luck of so many tries: \d+%", output)
    table = pd.read_csv(tmp_path / "t.csv")
    assert list(table.columns[:3]) == ["fast_bars", "slow_bars", "allocation"]
    assert list(table["Optim"]) == list(table["Sharpe"])
    assert table["Optim"].is_monotonic_decreasing
    best = table.iloc[0]
    assert f"{best['allocation']:.2f}" in output
    assert f"{best['Sharpe']:.2f}" in output
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert all(f"<h2>{title}</h2>" in page for title in ("Progress", "Importance", "Parameters", "Best point", "Table"))
    kept = int(re.search(r"8 points, (\d+) of them from earlier", repeated)[1])
    assert kept >= 4  # the first batch does not depend on what is looked for


def test_walk_forward_prints_windows_and_writes_what_is_asked_for(run: Run, ema_cross: Path, tmp_path: Path) -> None:
    options = [*SPACE, *QUICK, "--end", "2018-03-15", "--iterations", "4", "--train", "30d", "--test", "3w"]

    code, output, errors = run(
        "walk-forward", ema_cross, *options, "--table", tmp_path / "t.csv", "--report", tmp_path / "r.html",
        "--save", tmp_path / "kept",
    )  # fmt: skip

    assert code == 0, errors
    assert "3 windows; IS: in sample, OOS: out of sample" in output
    assert re.search(r"test_start +2018-01-31 +2018-02-21 +2018-03-14", output)
    assert "ema_cross walk-forward: BTC-USD, 2018-01-31 00:00:00 to 2018-03-15 00:00:00" in output
    assert "Efficiency, CAGR out of sample ÷ in sample:" in output
    assert len(pd.read_csv(tmp_path / "t.csv")) == 3
    assert "<h2>Equity out of sample</h2>" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert (tmp_path / "kept" / "report.html").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"nothing to optimise.*as with --set, write \"fast=Integer\(5,50\)\""),
        (["--set", "fast_bars=Integer(50,5)"], "50 is not below 5"),
        (["--set", "fast_bars=Integer(5,x)"], r"write Integer\(LOW,HIGH\)"),
        (["--set", "fst_bars=Integer(5,9)"], "Did you mean 'fast_bars'"),
        (["--set", "candle_time_bucket=[h1,h4]"], "candle_time_bucket cannot be searched"),
        ([*SPACE, "--objective", "luck"], "The objective is 'luck': use one of profit, sharpe"),
        ([*SPACE, "--rounding", "x"], "The rounding is 'x'"),
        ([*SPACE, "--iterations", "0"], "iterations is 0"),
        ([*SPACE, "--report", "."], "is a folder: name a file"),
    ],
)
def test_optimise_refuses_what_it_cannot_do(run: Run, ema_cross: Path, options: list[str], message: str) -> None:
    code, _, errors = run("optimise", ema_cross, *options, "--no-progress")

    assert code == 2
    assert re.search(message, errors, re.DOTALL), errors


def test_optimise_that_finds_nothing_says_why(run: Run, ema_cross: Path) -> None:
    code, output, errors = run(
        "optimise", ema_cross, *SPACE, "--end", "2018-02-01", "--iterations", "2", "--workers", "1", "--no-progress"
    )

    assert code == 1
    assert "2 points, 0 of them from earlier searches, 0 failed, 2 filtered" in output
    assert "None of 2 points can be chosen" in errors
    assert "lower the number of trades that the filter wants" in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "a year", "--test", "30d"], "--train a year: give a period such as 30d"),
        (["--train", "900d", "--test", "30d"], "no room for 900 days"),
        (["--train", "30d", "--test", "1m"], "test is 0:01:00"),
    ],
)
def test_walk_forward_refuses_what_it_cannot_do(run: Run, ema_cross: Path, options: list[str], message: str) -> None:
    code, _, errors = run("walk-forward", ema_cross, *SPACE, *options, "--no-progress")

    assert code == 2
    assert message in errors


PARAMETERS = {"fast": 10, "allocation": 0.5, "rule": "a", "grid": [1, 2], "ranged": Integer(2, 8), "flag": True}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("fast=Integer(5,50)", Integer(5, 50)),
        ("fast=Integer(5, 50, log-uniform)", Integer(5, 50, "log-uniform")),
        ("allocation=Real(0.1,1)", Real(0.1, 1)),
        ("rule=Categorical(a,b)", Categorical(["a", "b"])),
        ("rule=Categorical(['x'])", Categorical(["'x'"])),
        ("grid=Integer(3,4)", Integer(3, 4)),
        ("ranged=Categorical([3, 4])", Categorical([3, 4])),
    ],
)
def test_a_dimension_is_read(setting: str, expected: object) -> None:
    assert is_dimension(setting)
    (value,) = parse_dimensions([setting], PARAMETERS).values()
    assert value == expected


@pytest.mark.parametrize("setting", ["fast=5", "fast=[5,6]", "rule=Integers(1,2)"])
def test_a_value_is_no_dimension(setting: str) -> None:
    assert not is_dimension(setting)


def test_a_single_value_takes_the_place_of_a_range() -> None:
    assert parse_settings(["ranged=5", "grid=7"], PARAMETERS) == {"ranged": 5, "grid": 7}


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("rule=Integer(1,2)", ParameterTypeInvalid, "a range is of numbers, the strategy has 'a'"),
        ("flag=Integer(0,1)", ParameterTypeInvalid, "a range is of numbers, the strategy has True"),
        ("fast=Integer(1)", ParameterTypeInvalid, "write Integer"),
        ("fast=Integer(1,2,uniform,3)", ParameterTypeInvalid, "at most a prior"),
        ("fast=Categorical(1,x)", ParameterTypeInvalid, "'x' is no number"),
        ("fst=Real(1,2)", ParameterMissing, "Did you mean 'fast'"),
    ],
)
def test_what_is_no_dimension_is_refused(setting: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_dimensions([setting], PARAMETERS)
