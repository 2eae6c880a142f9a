"""Orders played on candle tables: a few typed hourly stop-loss candles, and the trades that come of them.

A candle is an open, or (open, low, high); None where it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pandas as pd
from tape import DEX, START, USDC, WETH_USDC, run_on

from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trigger import TriggerModel
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.universe import TradingStrategyUniverse

HOUR = timedelta(hours=1)


def candle_frame(candles: Sequence[Any], pair: TradingPairIdentifier, step: timedelta = HOUR) -> pd.DataFrame:
    """Return candles one step apart from START on; an open alone is a candle that does not move."""
    rows = []
    for number, candle in enumerate(candles):
        if candle is None:
            continue
        opened, low, high = candle if isinstance(candle, tuple) else (candle, candle, candle)
        at = START + number * step
        rows.append((pair.internal_id, at, float(opened), float(high), float(low), float(opened), 0.0))
    return pd.DataFrame(rows, columns=["pair_id", "timestamp", "open", "high", "low", "close", "volume"])


def universe_of_candles(
    candles: dict[TradingPairIdentifier, Sequence[Any]], hours_a_cycle: int, *, has_feed: bool = True
) -> TradingStrategyUniverse:
    """Return a universe whose hourly stop-loss candles are given, and whose decisions see every n-th open."""
    bucket = CycleDuration(f"{hours_a_cycle}h").to_timebucket()

    def opens(table: Sequence[Any]) -> list[Any]:
        return [c[0] if isinstance(c, tuple) else c for c in table[::hours_a_cycle]]

    feed = pd.concat(candle_frame(table, pair) for pair, table in candles.items())
    main = pd.concat(candle_frame(opens(table), pair, hours_a_cycle * HOUR) for pair, table in candles.items())
    return TradingStrategyUniverse.create_from_dataset(
        Dataset(
            time_bucket=bucket,
            exchanges=(DEX,),
            pairs=tuple(candles),
            candles=main,
            backtest_stop_loss_candles=feed if has_feed else None,
            backtest_stop_loss_time_bucket=TimeBucket.h1,
        ),
        USDC,
    )


def play(
    candles: Sequence[Any],
    decide: Callable[[Any], Any],
    *,
    model: TriggerModel = TriggerModel.sampled,
    pair: TradingPairIdentifier = WETH_USDC,
    hours_a_cycle: int = 4,
    cash: float = 10_000,
) -> BacktestResult:
    """Run a strategy over hourly candles, of which the last ends the last window; it decides every n hours."""
    cycle = CycleDuration(f"{hours_a_cycle}h")
    universe = universe_of_candles({pair: candles}, hours_a_cycle)
    cycles = (len(candles) - 1) // hours_a_cycle
    return run_on(universe, decide, cycle=cycle, cycles=cycles, cash=cash, trigger_model=model)


def trades_of(result: BacktestResult) -> list[tuple[float, str, str, float, float]]:
    """Return (hours after START, side, type, price, tokens) of every executed trade, in order of execution."""
    trades = [t for t in result.state.portfolio.get_all_trades() if t.executed_at is not None]
    trades.sort(key=lambda t: t.executed_at)
    return [
        (
            (t.executed_at - START) / HOUR,
            "buy" if t.is_buy() else "sell",
            t.trade_type.value,
            t.executed_price,
            round(abs(float(t.executed_quantity)), 9),
        )
        for t in trades
    ]
