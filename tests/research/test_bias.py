"""The bump test: every deliberate cheat is caught and named, honest strategies are clean."""

import itertools
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import trading_dagster as td
from trading_dagster.domain.error import BadInput
from trading_dagster.market.file_source import FileSource
from trading_dagster.market.lending import RATE_COLUMNS, LendingCandleType, LendingUniverse
from trading_dagster.market.panel import CandlePanel
from trading_dagster.research.bias import BiasReport, check_bias
from trading_dagster.research.bump import OtherFuture, change_panel, change_rates

STRATEGIES = Path(__file__).parents[2] / "strategies"
START, END = datetime(2018, 2, 1), datetime(2018, 5, 1)
RANGE = {"backtest_start": START, "backtest_end": END, "initial_cash": 10_000, "routing": td.TradeRouting.default}


def hourly_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
    dataset = td.load_partial_data(
        time_bucket=td.TimeBucket.h1,
        stop_loss_time_bucket=td.TimeBucket.h1,
        start_at=datetime(2018, 1, 20),
        end_at=END,
        trading_fee=0.001,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


def follow(input: td.StrategyInput, is_wanted: bool) -> list[td.TradeExecution]:
    pm, pair = input.get_position_manager(), input.get_default_pair()
    position = pm.get_current_position_for_pair(pair)
    if is_wanted and position is None:
        return pm.open_spot(pair, value=pm.get_current_cash() * 0.5, stop_loss_pct=0.9)
    if not is_wanted and position is not None:
        return pm.close_position(position)
    return []


def above_its_signal(input: td.StrategyInput) -> list[td.TradeExecution]:
    signal, price = input.indicators.get_indicator_value("signal"), input.indicators.get_price()
    return follow(input, signal is not None and price is not None and price > signal)


def check(decide: Callable[[td.StrategyInput], Any], indicator: Callable[..., Any] | None = None) -> BiasReport:
    registry = td.IndicatorRegistry()
    if indicator is not None:
        indicator.__name__ = "signal"
        registry.define()(indicator)
    return check_bias(
        decide_trades=decide,
        create_indicators=registry,
        create_trading_universe=hourly_universe,
        parameters={**RANGE, "cycle_duration": td.CycleDuration.cycle_4h},
    )


def honest(close: pd.Series) -> pd.Series:
    return close.rolling(48).mean()


def reads_the_next_close(close: pd.Series) -> pd.Series:
    return close.shift(-1)


def centred_mean(close: pd.Series) -> pd.Series:
    return close.rolling(49, center=True).mean()


def share_of_the_highest_ever(close: pd.Series) -> pd.Series:
    return close / close.max() * close.iloc[0]


def filled_from_behind(close: pd.Series) -> pd.Series:
    return close.where(np.arange(len(close)) % 24 == 23).bfill()


def standardised(close: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"honest": close.diff(), "z": (close - close.mean()) / close.std()})


def test_honest_strategy_is_clean_and_the_report_says_what_was_tried() -> None:
    report = check(above_its_signal, honest)

    assert report.is_clean
    assert report.decisions > 20
    assert len(report.cuts) > 5
    assert "no look-ahead found" in str(report)


@pytest.mark.parametrize(
    "cheat",
    [reads_the_next_close, centred_mean, share_of_the_highest_ever, filled_from_behind],
    ids=lambda f: f.__name__,
)
def test_indicator_that_reads_later_candles_is_named_with_pair_and_bar(cheat: Callable[..., Any]) -> None:
    report = check(above_its_signal, cheat)

    assert not report.is_clean
    [finding] = report.indicators
    assert (finding.indicator, finding.pair, finding.column) == ("signal", "BTC-USD", None)
    assert finding.bar < finding.cut
    assert finding.known != finding.changed
    assert f"Indicator signal of BTC-USD at bar {finding.bar} is {finding.known}" in str(report)


def test_next_close_is_found_in_the_last_bar_before_the_cut() -> None:
    report = check(above_its_signal, reads_the_next_close)

    [finding] = report.indicators
    assert finding.bar == finding.cut - timedelta(hours=1)


def test_indicator_with_several_columns_is_named_with_the_column() -> None:
    report = check(lambda _: [], standardised)

    assert [finding.column for finding in report.indicators] == ["z"]
    assert "signal[z]" in str(report)


def whole(input: td.StrategyInput) -> td.TradingStrategyUniverse:
    """Reach behind the view that ends at the decision time, as only a cheat does."""
    return input.strategy_universe._whole  # type: ignore[attr-defined, no-any-return]


def candle_of_now(input: td.StrategyInput) -> bool:
    candles = whole(input).data_universe.candles.get_candles_by_pair(input.get_default_pair())
    candle = candles.loc[input.timestamp]
    return bool(candle["close"] > candle["open"])


def close_of_tomorrow(input: td.StrategyInput) -> bool:
    panel = whole(input).candles
    bar = panel.bar_at(int(pd.Timestamp(input.timestamp).value // 1000))
    closes = panel.columns["close"][0]
    return bool(closes[min(bar + 24, len(closes) - 1)] > closes[bar - 1])


def below_the_mean_of_all_time(input: td.StrategyInput) -> bool:
    price = input.indicators.get_price()
    return price is not None and price < whole(input).data_universe.candles.df["close"].mean()


def unlimited_series(input: td.StrategyInput) -> bool:
    series = input.indicators.get_price_series(unlimited=True)
    return bool(series.asof(input.timestamp + timedelta(hours=3)) > series.asof(input.timestamp - timedelta(hours=1)))


def next_candle_exists(input: td.StrategyInput) -> bool:
    panel = whole(input).candles
    bar = panel.bar_at(int(pd.Timestamp(input.timestamp).value // 1000))
    return bool(panel.exists[0, min(bar + 2, panel.bar_count - 1)])


PEEKS = [candle_of_now, close_of_tomorrow, below_the_mean_of_all_time, unlimited_series, next_candle_exists]


@pytest.mark.parametrize("peek", PEEKS, ids=lambda f: f.__name__)
def test_decision_that_reads_later_candles_is_named_with_trade_and_time(
    peek: Callable[[td.StrategyInput], bool],
) -> None:
    report = check(lambda view: follow(view, peek(view)), honest)

    assert not report.is_clean
    assert report.indicators == ()
    finding = report.trades[0]
    assert START <= finding.at <= finding.cut
    assert not finding.has_biased_indicator
    assert "decide_trades reads something beyond its decision time" in str(report)
    assert f"Decision at {finding.at}: " in str(report)
    assert "planned to" in f"{finding.known} {finding.changed}"


def test_levels_and_amounts_that_depend_on_later_candles_are_found_though_the_trades_are_the_same() -> None:
    def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
        pm = input.get_position_manager()
        if pm.is_any_open():
            return []
        low = float(whole(input).candles.columns["low"][0].min())
        return pm.open_spot(input.get_default_pair(), value=100, stop_loss_usd=min(low, 1000.0) / 2)

    report = check(decide)

    assert "stop loss" in str(report)
    assert not report.is_clean


def test_strategy_that_draws_without_a_seed_is_called_unrepeatable() -> None:
    draw = random.SystemRandom()

    report = check(lambda view: follow(view, draw.random() > 0.5))

    assert not report.is_clean
    assert report.unrepeatable is not None
    assert "NOT REPEATABLE" in str(report)


def test_strategy_that_remembers_an_earlier_run_is_called_unrepeatable() -> None:
    calls = itertools.count()

    report = check(lambda view: follow(view, next(calls) % 7 == 0))

    assert report.unrepeatable is not None


def test_error_of_the_strategy_itself_is_raised() -> None:
    def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
        raise ZeroDivisionError("mine")

    with pytest.raises(td.StrategyFailed, match="mine"):
        check(decide)


def test_early_cut_before_an_average_has_its_length_is_clean() -> None:
    report = check_bias(STRATEGIES / "ema_cross.py", cuts=[datetime(2018, 1, 1, 10), datetime(2018, 1, 3)])

    assert report.is_clean, str(report)


def test_indicator_that_fails_without_later_candles_is_reported() -> None:
    def needs_all(close: pd.Series) -> pd.Series:
        if close.index[-1] < END - timedelta(hours=2):
            raise RuntimeError("not enough")
        return close

    report = check(above_its_signal, needs_all)

    assert not report.is_clean
    assert "not enough" in str(report)


def test_indicator_that_reads_how_long_the_data_is_is_found() -> None:
    report = check(above_its_signal, lambda close: close + len(close))

    assert [finding.indicator for finding in report.indicators] == ["signal"]


def test_cut_outside_the_backtest_is_refused() -> None:
    with pytest.raises(BadInput, match="cuts"):
        check_bias(STRATEGIES / "buy_and_hold.py", cuts=[datetime(2031, 1, 1)])


def test_cuts_can_be_named() -> None:
    report = check_bias(STRATEGIES / "buy_and_hold.py", cuts=[datetime(2018, 6, 1), datetime(2018, 3, 1)])

    assert report.is_clean
    assert report.cuts == (datetime(2018, 3, 1), datetime(2018, 6, 1))


NAMES = (
    "ema_cross",
    "buy_and_hold",
    "rsi_mean_reversion",
    "breakout_atr",
    "momentum_rotation",
    "index_by_volume",
    "rsi_regime_rotation",
    "momentum_alpha",
    "take_profit_grid",
    "dip_limit_entry",
)


@pytest.mark.parametrize("name", NAMES)
def test_example_strategy_is_clean_on_the_sample(name: str) -> None:
    report = check_bias(STRATEGIES / f"{name}.py")

    assert report.is_clean, str(report)
    assert report.decisions >= 3


@pytest.mark.parametrize(
    "name", ["momentum_rotation", "rsi_mean_reversion", "breakout_atr", "index_by_volume", "momentum_alpha"]
)
def test_example_strategy_is_clean_on_many_pairs(name: str, shared_data: Path) -> None:
    source = FileSource(shared_data / "binance_12pairs_1h.parquet", exchange="binance")

    report = check_bias(
        STRATEGIES / f"{name}.py", client=source, start=datetime(2024, 3, 4), end=datetime(2024, 9, 6), cuts=3
    )

    assert report.is_clean, str(report)
    assert report.decisions > 3


@pytest.mark.parametrize("future", list(OtherFuture))
def test_other_future_keeps_what_is_known_and_changes_all_the_rest(future: OtherFuture) -> None:
    universe = hourly_universe(None)  # type: ignore[arg-type]
    panel = universe.candles
    cut = panel.start_us + 100 * panel.width_us

    changed = change_panel(panel, cut, future, seed=1)

    for name, values in panel.columns.items():
        known = 101 if name == "open" else 100  # the candle that begins at the cut has an open already
        assert np.array_equal(values[:, :known], changed.columns[name][:, :known])
        assert not (values[:, known:] == changed.columns[name][:, known:]).any()
    assert_is_sound(changed)


def test_candle_in_progress_at_the_cut_keeps_only_its_open() -> None:
    panel = hourly_universe(None).candles  # type: ignore[arg-type]
    cut = panel.start_us + 100 * panel.width_us + panel.width_us // 2

    changed = change_panel(panel, cut, OtherFuture.fall, seed=1)

    assert changed.columns["open"][0, 100] == panel.columns["open"][0, 100]
    assert changed.columns["close"][0, 100] != panel.columns["close"][0, 100]
    assert changed.columns["low"][0, 100] != panel.columns["low"][0, 100]


def assert_is_sound(panel: CandlePanel) -> None:
    there = panel.exists
    columns = panel.columns
    for name in ("open", "close"):
        assert (columns["low"][there] <= columns[name][there]).all()
        assert (columns["high"][there] >= columns[name][there]).all()
    assert (columns["low"][there] > 0).all()
    assert np.isnan(columns["close"][~there]).all()


def test_lending_rates_of_later_candles_are_changed_too() -> None:
    index = pd.date_range("2018-01-01", periods=4, freq="D")
    key = (1, LendingCandleType.supply_apr)
    lending = LendingUniverse(td.TimeBucket.d1, (), {key: pd.DataFrame(dict.fromkeys(RATE_COLUMNS, 2.0), index)})
    at = datetime(2018, 1, 2)
    assert change_rates(lending, at, OtherFuture.rise).rates[key]["close"].tolist() == [2, 2, 20, 20]
    assert change_rates(lending, at, OtherFuture.nothing).rates[key].index.tolist() == index[:2].tolist()
