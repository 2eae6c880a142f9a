"""Universes made of a few typed prices, and a desk to plan and execute on without a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from trading_dagster.accounting.simulated_treasury import SimulatedTreasury
from trading_dagster.backtest import BacktestOptions, run_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.event import StateCreated
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.time import CycleDuration, TimeBucket, to_aware, to_unix_us
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.trade_order import in_execution_order
from trading_dagster.execution.simulated import SimulatedExecution
from trading_dagster.execution.wallet import SimulatedWallet
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.synthetic import generate_exchange
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.pricing.candle_pricing import CandleMarks, CandlePricing, FeeSchedule
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.routing import TradeRouting

START = datetime(2022, 1, 3)
DEX = generate_exchange(1, ChainId.ethereum, "0x30")


def token(number: int, symbol: str, decimals: int = 18) -> AssetIdentifier:
    return AssetIdentifier(ChainId.ethereum, f"0x{number:02d}", symbol, decimals)


def pair_of(number: int, base: AssetIdentifier, quote: AssetIdentifier, **fields: Any) -> TradingPairIdentifier:
    return TradingPairIdentifier(base, quote, f"0x2{number}", DEX.address, number, 1, **fields)


USDC = token(1, "USDC", 6)
WETH_USDC = pair_of(1, token(2, "WETH"), USDC, fee=0.0)
AAVE_USDC = pair_of(2, token(3, "AAVE"), USDC, fee=0.003)

Opens = Sequence[float | None]
"""Open prices of consecutive bars; None where the bar is missing."""


def candles_of(opens: Opens, bucket: TimeBucket, *, start: datetime = START, pair_id: int = 1) -> pd.DataFrame:
    """Make candles whose highs and lows are far away from their opens."""
    rows = [
        {
            "pair_id": pair_id,
            "timestamp": start + number * bucket.to_timedelta(),
            "open": float(price),
            "high": price * 3.0,
            "low": price / 3.0,
            "close": price * 1.5,
            "volume": 0.0,
        }
        for number, price in enumerate(opens)
        if price is not None
    ]
    return pd.DataFrame(rows)


def universe_of(
    opens: Mapping[TradingPairIdentifier, Opens],
    bucket: TimeBucket = TimeBucket.h1,
    *,
    feed: Mapping[TradingPairIdentifier, Opens] | None = None,
    feed_bucket: TimeBucket | None = None,
    feed_start: datetime = START,
    start: datetime = START,
    tolerance: timedelta | None = None,
) -> TradingStrategyUniverse:
    """Make a universe; ``feed`` holds the opens of the stop-loss candles, None for no stop-loss candles."""

    def table(prices: Mapping[TradingPairIdentifier, Opens], width: TimeBucket, first: datetime) -> pd.DataFrame:
        return pd.concat(candles_of(o, width, start=first, pair_id=p.internal_id or 0) for p, o in prices.items())

    return TradingStrategyUniverse.create_from_dataset(
        Dataset(
            time_bucket=bucket,
            exchanges=(DEX,),
            pairs=tuple(opens),
            candles=table(opens, bucket, start),
            backtest_stop_loss_candles=None if feed is None else table(feed, feed_bucket or bucket, feed_start),
            backtest_stop_loss_time_bucket=feed_bucket or bucket,
        ),
        USDC,
        price_data_delay_tolerance=tolerance,
    )


class Desk:
    """Everything a decision plans and executes with; it stands at one bar after the other."""

    def __init__(
        self,
        opens: Mapping[TradingPairIdentifier, Opens],
        *,
        bucket: TimeBucket = TimeBucket.h1,
        cash: float | str = 10_000,
        has_feed: bool = True,
        universe: TradingStrategyUniverse | None = None,
        **fees: Any,
    ) -> None:
        self.universe = universe or universe_of(opens, bucket)
        count, width = max(map(len, opens.values())), bucket.to_timedelta()
        self.clock = DecisionClock([to_unix_us(START + n * width) for n in range(count)])
        self.fees = FeeSchedule(USDC, self.universe.pairs, **fees)
        self.marks = CandleMarks(self.universe.candles, self.universe.stop_loss_candles, self.fees, self.clock)
        self.state = State(StateCreated(to_aware(START), "desk", USDC), self.marks)
        self.wallet = SimulatedWallet()
        self.treasury = SimulatedTreasury(self.wallet.add)
        if Decimal(cash):
            self.treasury.simulate_funding(START, Decimal(cash))
            self.treasury.sync_treasury(START, self.state)
        self.pricing = CandlePricing(
            self.universe.candles, self.fees, self.clock, vault_limits=self.universe.vault_limits
        )
        self.manager = PositionManager(self.clock, self.universe, self.state, self.pricing)
        self.execution = SimulatedExecution(self.wallet, lambda _pair: has_feed)

    @property
    def portfolio(self) -> Any:
        return self.state.portfolio

    def at(self, bar: int) -> Desk:
        self.clock.move(bar)
        return self

    def execute(self, trades: Iterable[TradeExecution]) -> list[TradeExecution]:
        trades = list(trades)
        self.execution.execute_trades(self.clock.timestamp, self.state, in_execution_order(trades))
        return trades


def run_on(
    universe: TradingStrategyUniverse,
    decide_trades: Callable[[Any], Any],
    *,
    cycle: CycleDuration | TimeBucket = CycleDuration.cycle_1h,
    cycles: int | None = None,
    end: datetime | None = None,
    cash: float = 10_000,
    options: BacktestOptions | None = None,
    more: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> BacktestResult:
    """Run a backtest from START, over ``cycles`` cycles or to ``end``; ``more`` are further Parameters."""
    if end is None:
        assert cycles is not None
        end = START + cycles * cycle.to_timedelta()
    parameters = {
        "cycle_duration": cycle,
        "routing": TradeRouting.default,
        "initial_cash": cash,
        "backtest_start": START,
        "backtest_end": end,
        **(more or {}),
    }
    return run_backtest(
        decide_trades=decide_trades,
        universe=universe,
        parameters=parameters,
        options=options,
        progress=False,
        **arguments,
    )
