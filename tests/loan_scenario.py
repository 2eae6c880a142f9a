"""Universes and runs of the scenarios with loans, so that tests of several layers can use them."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.scenario import DEX, USDC, WETH_USDC, Decision
from trading_dagster.backtest import run_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.market.synthetic import (
    create_synthetic_single_pair_universe,
    generate_lending_reserve,
    generate_lending_universe,
    generate_ohlcv_candles,
)
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.input import StrategyInput
from trading_dagster.strategy.routing import TradeRouting

APRS = {"supply": 2.0, "variable": 5.0}
START = datetime(2023, 1, 1)


class LoanParameters:
    cycle_duration = CycleDuration.cycle_1d
    routing = TradeRouting.default
    initial_cash = 10_000
    backtest_start = START
    backtest_end = datetime(2023, 1, 5)


def lending_universe(end: datetime, aprs: dict[str, float] | None = None, **candles: Any) -> TradingStrategyUniverse:
    """Return WETH-USDC on random daily candles, which are the stop-loss feed too, with flat lending rates."""
    reserves = [generate_lending_reserve(USDC, 1), generate_lending_reserve(WETH_USDC.base, 2)]
    rates = generate_lending_universe(TimeBucket.d1, START, end, reserves, aprs or APRS)
    frame = generate_ohlcv_candles(TimeBucket.d1, START, end, **candles)
    return create_synthetic_single_pair_universe(
        frame, ChainId.ethereum, DEX, TimeBucket.d1, WETH_USDC, lending_candles=rates
    )


def run_with_loans(decide_trades: Decision, end: datetime = datetime(2023, 1, 5), **options: Any) -> BacktestResult:
    universe = options.pop("universe", None) or lending_universe(max(end, datetime(2023, 1, 30)))
    return run_backtest(
        decide_trades=decide_trades, universe=universe, parameters=LoanParameters, end=end, progress=False, **options
    )


def open_short_and_hold(input: StrategyInput) -> list[TradeExecution]:
    manager = input.get_position_manager()
    if input.cycle != 1:
        return []
    return manager.open_short(input.get_default_pair(), manager.get_current_cash(), leverage=2)


def open_short_and_close(input: StrategyInput) -> list[TradeExecution]:
    if input.timestamp == datetime(2023, 1, 4):
        return input.get_position_manager().close_all()
    return open_short_and_hold(input)


def open_short_with_stop_loss(input: StrategyInput) -> list[TradeExecution]:
    if input.timestamp != datetime(2023, 1, 3):
        return []
    manager = input.get_position_manager()
    return manager.open_short(
        input.get_default_pair(), manager.get_current_cash() * 0.8, leverage=4, stop_loss_pct=0.99
    )


def decide_credit_flow() -> Decision:
    """Return the decision of S15 (a), with its random numbers at their beginning."""
    rng = random.Random(0)

    def decide(input: StrategyInput) -> list[TradeExecution]:
        manager = input.get_position_manager()
        cash = manager.get_current_cash()
        pair = input.get_default_pair()
        trades: list[TradeExecution] = []
        if input.cycle % 3 == 0:
            position = manager.get_current_position_for_pair(pair)
            if rng.randint(0, 4) == 0:
                trades += manager.close_all(credit_supply=False)
            elif position is None:
                trades += manager.open_spot(pair, cash * (rng.random() * 0.7 + 0.1))
            elif rng.randint(0, 4) == 0:
                p = 0.05 * rng.choice([1, -1])
                quantity = None if p > 0 else position.get_quantity() * Decimal(p)
                trades += manager.adjust_position(pair, position.get_value() * p, quantity, 1)
        flow = manager.calculate_credit_flow_needed(trades, allocation_pct=0.95)
        trades += manager.manage_credit_flow(flow)
        return trades

    return decide


def run_credit_flow() -> BacktestResult:
    return run_with_loans(decide_credit_flow(), datetime(2023, 6, 1), universe=lending_universe(datetime(2023, 6, 1)))


def day(number: int) -> datetime:
    return START + timedelta(days=number)
