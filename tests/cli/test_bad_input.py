"""Bad input: one message that names file, field, value and remedy; exit code 2, no traceback, nothing half-written."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from cli.conftest import Run

from trading_dagster.domain.error import StrategyModuleNotValid
from trading_dagster.market.file_source import SAMPLE_FOLDER

Break = Callable[..., Path]
STRATEGIES = Path(__file__).parents[2] / "strategies"


def refused(outcome: tuple[int, str, str], *parts: str, code: int = 2) -> None:
    exit_code, output, errors = outcome
    assert exit_code == code, errors
    assert output == ""
    assert errors.startswith("Error: ")
    assert "Traceback" not in errors or code == 1
    for part in parts:
        assert re.search(part, errors, re.DOTALL), f"{part!r} is not in {errors}"


def test_missing_strategy_file(run: Run) -> None:
    refused(run("backtest", "nosuch.py"), "nosuch.py does not exist", "check the path")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("backtest", "--report"),
        ("backtest", "--save"),
        ("grid-search", "--table"),
        ("grid-search", "--heat-map"),
        ("walk-forward", "--save"),
        ("optimise", "--table"),
    ],
)
def test_output_that_cannot_be_written_is_refused_before_the_work(
    run: Run, ema_cross: Path, command: str, option: str
) -> None:
    search = [] if command == "backtest" else ["--set", "fast_bars=[3,5]", "--set", "slow_bars=[20,30]"]
    search += ["--train", "90d", "--test", "30d"] if command == "walk-forward" else []
    outcome = run(command, ema_cross, *search, option, "/proc/x", "--no-progress")
    refused(outcome, f"{option} /proc/x cannot be written", "choose another place")


def test_strategy_that_does_not_parse(run: Run, broken_strategy: Break) -> None:
    file = broken_strategy("def decide_trades(", "def decide_trades((")
    refused(run("backtest", file), "mine.py, line \\d+ does not parse")


def test_strategy_without_decide_trades(run: Run, broken_strategy: Break) -> None:
    file = broken_strategy("def decide_trades(", "def decide(")
    refused(run("backtest", file), "mine.py has no function decide_trades")


def test_strategy_that_raises_while_loading(run: Run, broken_strategy: Break) -> None:
    file = broken_strategy("indicators = td.IndicatorRegistry()", "indicators = td.Registry()")
    refused(run("backtest", file), "mine.py, line \\d+ raised AttributeError")


def test_strategy_that_raises_at_a_cycle(run: Run, broken_strategy: Break) -> None:
    file = broken_strategy(
        "    before, now = trend(-2)", "    if input.cycle == 500:\n        1 / 0\n    before, now = trend(-2)"
    )
    refused(
        run("backtest", file, "--no-progress"), "cycle 500", "2018-01-21 19:00", "ZeroDivisionError", "mine.py", code=1
    )


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("initial_cash = 10_000", 'initial_cash = "10000"', ("initial_cash is '10000'", "expected a number of USD")),
        ("initial_cash = 10_000", "initial_cash = -5", ("initial_cash is -5", "above 0")),
        ("td.CycleDuration.cycle_1h", '"1h"', ("cycle_duration is '1h'", "a CycleDuration such as")),
        ("    backtest_end = datetime(2019, 10, 17)\n", "", ("lacks backtest_end",)),
        ("backtest_end = datetime(2019, 10, 17)", 'backtest_end = "2019"', ("backtest_end is '2019'", "datetime")),
    ],
)
def test_parameters_of_a_wrong_type(run: Run, broken_strategy: Break, old: str, new: str, parts: tuple[str]) -> None:
    refused(run("backtest", broken_strategy(old, new)), *parts)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--start", "2019-01-01", "--end", "2018-06-01"], ("starts at 2019-01-01", "the end must be later")),
        (["--start", "yesterday"], ("--start is 'yesterday'", "give a date such as")),
        (["--start", "2015-01-01"], ("2015-01-01 00:00:00 is outside the candles", "reach from 2018-01-01")),
        (["--end", "2024-01-01"], ("2024-01-01 00:00:00 is outside the candles", "to 2019-10-17")),
        (["--pair", "BTC"], ("--pair is 'BTC'", "write BASE/QUOTE")),
        (["--pair", "BTX/USD"], ("BTX", "did you mean", "BTC")),
        (["--set", "fast_bars"], ("--set is 'fast_bars'", "write NAME=VALUE")),
        (["--set", "fast_bar=3"], ("no 'fast_bar'", "Did you mean 'fast_bars'")),
        (["--set", "fast_bars=many"], ("--set fast_bars=many", "is no number")),
        (["--set", "candle_time_bucket=two"], ("--set candle_time_bucket=two", "is no TimeBucket: use one of m1")),
        (["--set", "max_gap=long"], ("--set max_gap=long", "period such as 30d")),
        (["--set", "required_history_period=3"], ("no 'required_history_period'",)),
        (["--cash", "0"], ("initial_cash is 0.0", "above 0")),
        (["--data", "nosuch.parquet"], ("nosuch.parquet", "no such file")),
        (["--report", "."], ("--report . is a folder", "name a file")),
        (["--save", "/dev/null"], ("--save /dev/null is a file", "name a folder")),
    ],
)
def test_options_that_cannot_be_used(run: Run, ema_cross: Path, options: list[str], parts: tuple[str]) -> None:
    refused(run("backtest", ema_cross, "--no-progress", *options), *parts)


def test_not_enough_history(run: Run, broken_strategy: Break) -> None:
    file = broken_strategy("    fast_bars = 24", "    required_history_period = timedelta(days=60)\n    fast_bars = 24")
    refused(run("backtest", file, "--no-progress"), "history", "2018")


def test_more_is_bought_than_there_is_cash(run: Run, broken_strategy: Break) -> None:
    file = broken_strategy("allocation = 0.98", "allocation = 1.5")
    refused(run("backtest", file, "--no-progress"), "cash", code=1)


def test_a_trade_returned_twice(run: Run, broken_strategy: Break) -> None:
    file = broken_strategy("return pm.close_position(position)", "return pm.close_position(position) * 2")
    refused(run("backtest", file, "--no-progress"), "twice", code=1)


def change_candles(tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    candles = pd.read_parquet(SAMPLE_FOLDER / "sample_btc_1h.parquet")
    file = tmp_path / "candles.parquet"
    change(candles).to_parquet(file, index=False)
    return file


def with_value(column: str, row: int, value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[row, column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda frame: pd.concat([frame, frame.iloc[100:103]]), ("timestamp: is duplicated in 3 rows", "Keep one")),
        (with_value("close", 50, float("nan")), ("close: is not a finite number", "1 row")),
        (with_value("high", 60, 1.0), ("high: is below low",)),
        (with_value("low", 70, -1.0), ("low: is not above zero",)),
        (
            lambda frame: frame.assign(
                timestamp=pd.to_datetime(frame["timestamp"], utc=True).dt.tz_convert("Asia/Tokyo")
            ),
            ("timestamp has type .*Asia/Tokyo", "UTC"),
        ),
        (lambda frame: frame.drop(columns="high"), ("column high is missing",)),
        (lambda frame: frame.assign(close=frame["close"].astype(str)), ("column close has type", "convert it")),
    ],
    ids=["duplicates", "nan", "high below low", "negative", "time zone", "no high", "text"],
)
def test_candles_that_cannot_be_trusted(
    run: Run,
    ema_cross: Path,
    tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    parts: tuple[str],
) -> None:
    file = change_candles(tmp_path, change)
    refused(run("backtest", ema_cross, "--data", file, "--save", "saved", "--no-progress"), "candles.parquet", *parts)
    assert not (tmp_path / "saved").exists()


def test_unsorted_candles_are_sorted(run: Run, ema_cross: Path, tmp_path: Path) -> None:
    file = change_candles(tmp_path, lambda frame: frame.iloc[::-1])

    code, output, errors = run("backtest", ema_cross, "--data", file, "--no-progress")

    assert code == 0, errors
    assert "14,922.59" in output


def test_a_strategy_is_not_shown_an_indicator_from_before_a_long_gap(run: Run, ema_cross: Path, tmp_path: Path) -> None:
    def cut(frame: pd.DataFrame) -> pd.DataFrame:
        times = pd.to_datetime(frame["timestamp"], utc=True)
        gap = pd.Timestamp("2018-06-01", tz="UTC")
        return frame[(times < gap) | (times >= gap + timedelta(days=5))]

    file = change_candles(tmp_path, cut)
    refused(run("backtest", ema_cross, "--data", file, "--no-progress"), "2018-06-0", "tolerance", code=1)


def test_dirty_daily_candles_are_refused(run: Run, shared_data: Path) -> None:
    file = shared_data / "dirty_daily_12exchanges.parquet"
    refused(
        run("backtest", STRATEGIES / "buy_and_hold.py", "--data", file, "--no-progress"),
        "dirty_daily_12exchanges.parquet: timestamp: is duplicated in \\d+ rows",
        "Keep one candle",
    )


def test_debug_shows_the_traceback(run: Run) -> None:
    with pytest.raises(StrategyModuleNotValid):
        run("--debug", "backtest", "nosuch.py")
