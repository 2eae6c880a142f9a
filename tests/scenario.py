"""The acceptance scenarios of one spot pair, so that tests of several layers can run them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from trading_dagster.backtest import BacktestOptions, run_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.synthetic import (
    create_synthetic_single_pair_universe,
    generate_exchange,
    generate_fixed_price_candles,
    generate_ohlcv_candles,
)
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.input import StrategyInput
from trading_dagster.strategy.routing import TradeRouting

START, END = datetime(2021, 6, 1), datetime(2021, 12, 31)
CANDLES_END = datetime(2022, 1, 1)

USDC = AssetIdentifier(ChainId.ethereum, "0x01", "USDC", 6)
WETH = AssetIdentifier(ChainId.ethereum, "0x02", "WETH", 18)
DEX = generate_exchange(1, ChainId.ethereum, "0x10", "my-dex")
WETH_USDC = TradingPairIdentifier(WETH, USDC, "0x11", DEX.address, internal_id=1, fee=0.003)
WETH_USDC_WITHOUT_FEE = TradingPairIdentifier(WETH, USDC, "0x11", DEX.address, internal_id=1)

Decision = Callable[[StrategyInput], list[TradeExecution]]


class Parameters:
    cycle_duration = CycleDuration.cycle_1d
    routing = TradeRouting.default
    initial_cash = 10_000
    backtest_start = START
    backtest_end = END


def daily_universe(pair: TradingPairIdentifier = WETH_USDC) -> TradingStrategyUniverse:
    candles = generate_ohlcv_candles(TimeBucket.d1, START, CANDLES_END)
    return create_synthetic_single_pair_universe(candles, ChainId.ethereum, DEX, TimeBucket.d1, pair)


def flat_universe() -> TradingStrategyUniverse:
    candles = generate_fixed_price_candles(TimeBucket.d1, START, CANDLES_END, {WETH_USDC: 1800.0})
    return create_synthetic_single_pair_universe(candles, ChainId.ethereum, DEX, TimeBucket.d1, WETH_USDC)


def run(decide_trades: Decision, universe: TradingStrategyUniverse, **arguments: Any) -> BacktestResult:
    return run_backtest(
        decide_trades=decide_trades, universe=universe, parameters=Parameters, progress=False, **arguments
    )


# -- S1 ---------------------------------------------------------------------------------------------------------------


def ema(values: Sequence[float], n: int) -> float:
    a = 2 / (n + 1)
    e = sum(values[:n]) / n
    for x in values[n:]:
        e = a * x + (1 - a) * e
    return e


def decide_by_ema(input: StrategyInput) -> list[TradeExecution]:
    closes = input.indicators.get_price_series()
    if closes is None or len(closes) < 20:
        return []
    last_90 = closes.iloc[-90:].tolist()
    ema_20, ema_5 = ema(last_90, 20), ema(last_90, 5)
    manager = input.get_position_manager()
    if last_90[-1] >= ema_20:
        if not manager.is_any_open():
            return manager.open_spot(input.get_default_pair(), value=manager.get_current_cash() * 0.1)
    elif ema_5 >= ema_20 and manager.is_any_open():
        return manager.close_all()
    return []


def run_s1(**arguments: Any) -> BacktestResult:
    return run(decide_by_ema, daily_universe(), **arguments)


# -- S2 ---------------------------------------------------------------------------------------------------------------


def decide_to_hold(input: StrategyInput) -> list[TradeExecution]:
    manager = input.get_position_manager()
    if input.cycle > 1:
        return []
    return manager.open_spot(input.get_default_pair(), value=manager.get_current_cash() * 0.1)


def run_s2(**arguments: Any) -> BacktestResult:
    return run(decide_to_hold, daily_universe(), **arguments)


# -- S5 ---------------------------------------------------------------------------------------------------------------


def hourly_and_daily_universe() -> TradingStrategyUniverse:
    hours = generate_ohlcv_candles(TimeBucket.h1, START, CANDLES_END)
    assert len(hours) == 5136
    day = hours.groupby(hours["timestamp"].dt.floor("D"))
    days = day.agg({"pair_id": "first", "open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    dataset = Dataset(
        time_bucket=TimeBucket.d1,
        exchanges=(DEX,),
        pairs=(WETH_USDC_WITHOUT_FEE,),
        candles=days.reset_index(),
        backtest_stop_loss_candles=hours,
        backtest_stop_loss_time_bucket=TimeBucket.h1,
    )
    return TradingStrategyUniverse.create_from_dataset(dataset, USDC, primary_chain=ChainId.ethereum)


def run_s5(open_position: Callable[[StrategyInput, float], list[TradeExecution]]) -> BacktestResult:
    """Run S5 with the trigger that `open_position(input, value)` sets."""

    def decide(input: StrategyInput) -> list[TradeExecution]:
        bars = input.indicators.get_ohlcv()
        manager = input.get_position_manager()
        if manager.is_any_open():
            return manager.close_all() if are_green(bars, 4) else []
        if are_green(bars, 2):
            return open_position(input, manager.get_current_cash() * 0.1)
        return []

    return run(decide, hourly_and_daily_universe(), options=BacktestOptions(allow_missing_fees=True))


def are_green(bars: pd.DataFrame | None, count: int) -> bool:
    """Tell whether the last `count` bars are all there and closed at or above their open."""
    if bars is None or len(bars) < count:
        return False
    last = bars.iloc[-count:]
    return bool((last["close"] >= last["open"]).all())


def open_without_trigger(input: StrategyInput, value: float) -> list[TradeExecution]:
    return input.get_position_manager().open_spot(input.get_default_pair(), value=value)


def open_with_stop_loss(input: StrategyInput, value: float) -> list[TradeExecution]:
    return input.get_position_manager().open_spot(input.get_default_pair(), value=value, stop_loss_pct=0.95)


def open_with_stop_loss_usd(input: StrategyInput, value: float) -> list[TradeExecution]:
    pair = input.get_default_pair()
    mid = input.pricing_model.get_mid_price(input.timestamp, pair)
    return input.get_position_manager().open_spot(pair, value=value, stop_loss_usd=mid * 0.95)


def open_with_take_profit(input: StrategyInput, value: float) -> list[TradeExecution]:
    return input.get_position_manager().open_spot(input.get_default_pair(), value=value, take_profit_pct=1.05)
