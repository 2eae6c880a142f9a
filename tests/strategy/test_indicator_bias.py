"""Indicators that look into the future are found, and no others."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from trading_dagster import TradingStrategyUniverse, load_partial_data, technical
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market.panel import CandlePanel
from trading_dagster.strategy.indicator_bias import find_differences, find_lookahead, spread_times, truncate_universe
from trading_dagster.strategy.indicator_binding import IndicatorSource
from trading_dagster.strategy.indicator_definition import IndicatorSet
from trading_dagster.strategy.indicator_registry import IndicatorRegistry
from trading_dagster.strategy.indicator_result import to_result

START = datetime(2024, 1, 1)
DAY = timedelta(days=1)
USDC = AssetIdentifier(1, "0x" + "f" * 40, "USDC", 6)


def make_universe(bars=60) -> TradingStrategyUniverse:
    rng = np.random.default_rng(7)
    closes = 100 * np.exp(np.cumsum(rng.normal(0.02, 0.03, (2, bars)), axis=1))
    exists = np.ones(closes.shape, dtype=bool)
    exists[1, 20:25] = False
    pairs = tuple(
        TradingPairIdentifier(AssetIdentifier(1, f"0x{i:040x}", f"T{i}"), USDC, f"0x{i + 99:040x}", "0xe1", i, fee=0.0)
        for i in (1, 2)
    )
    columns = {name: np.where(exists, closes * k, np.nan) for name, k in (("open", 1.0), ("high", 1.1), ("low", 0.9))}
    columns |= {"close": np.where(exists, closes, np.nan), "volume": np.where(exists, closes, np.nan)}
    panel = CandlePanel(TimeBucket.d1, to_unix_us(START), (1, 2), columns, exists, np.zeros(exists.shape, dtype=bool))
    return TradingStrategyUniverse(pairs, (USDC,), ChainId.ethereum, panel, liquidity=panel, stop_loss_candles=panel)


def check(func, source=IndicatorSource.close_price, at=(START + 30 * DAY, START + 40 * DAY + timedelta(hours=5))):
    indicators = IndicatorSet()
    indicators.add("x", func, source=source)
    return find_lookahead(indicators, make_universe(), {}, list(at))


BIASED = {
    "next bar": lambda close: close.shift(-1),
    "centred mean": lambda close: close.rolling(5, center=True).mean(),
    "whole mean": lambda close: close - close.mean(),
    "normalised by maximum": lambda close: close / close.max(),
    "filled backwards": lambda close: close.iloc[::4].reindex(close.index).bfill(),
    "rank of all": lambda close: close.rank(),
    "last value": lambda close: pd.Series(close.iloc[-1], index=close.index),
    "column of a frame": lambda close: pd.DataFrame({"good": close, "bad": close.shift(-2)}),
    "rows that depend on the future": lambda close: close[close > close.mean()],
    "in the last bits": lambda close: close * (1 + len(close) * 1e-15),
    "lists": lambda close: pd.Series([[len(close)]] * len(close), index=close.index),
    "fitted over everything": lambda close: close - np.polyval(np.polyfit(range(len(close)), close, 1), 0),
}


@pytest.mark.parametrize("kind", BIASED)
def test_look_into_the_future_is_found(kind):
    findings = check(BIASED[kind])
    assert {finding.indicator for finding in findings} == {"x"}
    assert {finding.pair_id for finding in findings} == {1, 2}
    assert {finding.pair for finding in findings} == {"T1-USDC", "T2-USDC"}
    assert all(finding.bar < finding.known_at for finding in findings)
    assert all("looks ahead" in str(finding) for finding in findings)


SOUND = {
    "same": lambda close: close,
    "mean": lambda close: close.rolling(7).mean(),
    "ewm": lambda close: close.ewm(span=10, adjust=False).mean(),
    "expanding": lambda close: close.expanding().std(),
    "weekly": lambda close: technical.resample_price_series(close, TimeBucket.d7),
    "weekly by pandas": lambda close: close.resample("7D", origin=pd.Timestamp(START)).last(),
    "missing values of another sign": lambda close: close * (np.nan if len(close) > 50 else -np.nan),
    "nothing": lambda close: None,
    "lists": lambda close: pd.Series([[i] for i in range(len(close))], index=close.index),
    "numbers that become floats": lambda close: close.astype(int) if len(close) > 50 else close // 1,
    "rsi": technical.rsi,
    "macd": technical.macd,
    "stochrsi": technical.stochrsi,
    "bbands": technical.bbands,
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_indicator_is_not_accused(kind):
    assert check(SOUND[kind]) == []


def test_finding_names_the_first_bar_that_differs():
    (first, second) = check(lambda close: close.shift(-3), at=[START + 30 * DAY])
    closes = make_universe().candles
    assert first.bar == START + 27 * DAY
    assert first.with_future == closes.columns["close"][0, 30]
    assert np.isnan(first.without_future)
    assert (first.known_at, first.order, first.column) == (START + 30 * DAY, 1, None)
    assert second.pair_id == 2


def test_biased_column_is_named():
    findings = check(BIASED["column of a frame"])
    assert {finding.column for finding in findings} == {"bad"}


def test_universe_indicator_is_checked_on_all_candles_and_tvl():
    def total(strategy_universe):
        panel = strategy_universe.liquidity
        return pd.Series(np.nansum(panel.columns["close"]), index=panel.index)

    (finding,) = check(total, IndicatorSource.strategy_universe, at=[START + 30 * DAY])
    assert (finding.pair, finding.pair_id, finding.bar) == (None, None, START)


def test_bias_spreads_to_what_depends_on_it_at_a_higher_order():
    registry = IndicatorRegistry()

    @registry.define()
    def biased(close, n):
        return close.shift(-n)

    @registry.define(dependencies=(biased,))
    def reads(close, dependency_resolver):
        return dependency_resolver.get_indicator_data("biased") + close

    findings = find_lookahead(registry, make_universe(), {"n": 1}, [START + 30 * DAY])
    assert {(f.indicator, f.order) for f in findings} == {("biased", 1), ("reads", 2)}


def test_nothing_that_closes_later_is_left_in_a_truncated_universe():
    universe = make_universe()
    cut = truncate_universe(universe, to_unix_us(START + 30 * DAY + timedelta(hours=5)))
    for panel in (cut.candles, cut.liquidity, cut.stop_loss_candles):
        assert panel.end_at == START + 30 * DAY
        np.testing.assert_array_equal(panel.columns["close"], universe.candles.columns["close"][:, :30])
    assert cut.stop_loss_candles is cut.candles


def test_technical_indicators_on_real_candles_do_not_look_ahead():
    dataset = load_partial_data(time_bucket=TimeBucket.d1)
    universe = TradingStrategyUniverse.create_from_dataset(dataset)
    indicators = IndicatorSet()
    indicators.add("ema", technical.ema, {"length": 20})
    for name in ("rsi", "macd", "bbands", "stochrsi"):
        indicators.add(name, getattr(technical, name))
    for name in ("atr", "adx", "mfi", "supertrend", "on_balance_volume"):
        indicators.add(name, getattr(technical, name), source=IndicatorSource.ohlcv)
    times = spread_times(universe, 3)
    assert len(times) == 3
    assert find_lookahead(indicators, universe, {}, times) == []
    indicators.add("biased", lambda close: close.shift(-1))
    assert {finding.indicator for finding in find_lookahead(indicators, universe, {}, times)} == {"biased"}


def test_rows_that_differ_in_number_are_compared_by_time_and_nan_counts_as_absent():
    def result(rows):
        series = pd.Series(list(rows.values()), index=pd.to_datetime(list(rows), unit="h"), dtype="float64")
        return to_result(series, None, None)

    known_us = 10 * 3_600_000_000
    nan = float("nan")
    whole = result({0: nan, 1: 1.0, 2: 2.0, 3: 3.0})
    assert list(find_differences(whole, result({1: 1.0, 2: 2.0, 3: 3.0}), known_us)) == []
    differences = list(find_differences(whole, result({1: 1.0, 2: 2.5, 3: 3.0}), known_us))
    assert differences == [(None, (datetime(1970, 1, 1, 2), 2.0, 2.5))]
    absent = list(find_differences(whole, result({1: 1.0, 3: 3.0}), known_us))
    assert absent == [(None, (datetime(1970, 1, 1, 2), 2.0, None))]
