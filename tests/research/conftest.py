"""A strategy that buys at even hours and sells at odd ones, live at a venue that does what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.tape import START, WETH_USDC, universe_of
from trading_dagster.domain.event import (
    BalanceUpdated,
    PositionFrozen,
    TradeDiscarded,
    TradeExecuted,
    TradeFailed,
    TradeStarted,
)
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.purse import PAPER, Purse
from trading_dagster.domain.state import State
from trading_dagster.domain.time import CycleDuration, TimeBucket, to_aware
from trading_dagster.domain.trade import TradeExecution, TradePricing
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.desk import Desk, DeskRequest
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.strategy.input import CreateTradingUniverseInput, StrategyInput
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters
from trading_dagster.strategy.position_query import PricingModel

FIRST = START + timedelta(hours=2)
OPENS = tuple(100.0 + number for number in range(40))
DELAY = timedelta(minutes=8)


def buy_at_even_hours(input: StrategyInput) -> list[TradeExecution]:
    manager, pair = input.get_position_manager(), input.get_default_pair()
    if input.timestamp.hour % 2:
        return manager.close_all() if manager.is_any_open() else []
    return [] if manager.is_any_open() else manager.open_spot(pair, value=1_000.0, **stop_of(input))


def stop_of(input: StrategyInput) -> dict[str, float]:
    stop = input.parameters.get("stop_loss_pct")
    return {} if stop is None else {"stop_loss_pct": stop}


@dataclass(frozen=True)
class PoolPricing:
    """Candle prices, a fraction higher, as a pool would quote them at a block."""

    candles: PricingModel
    dearer: float

    def get_mid_price(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        return self.candles.get_mid_price(timestamp, pair) * (1 + self.dearer)

    def get_buy_price(self, timestamp: datetime, pair: TradingPairIdentifier, reserve: float) -> TradePricing:
        mid = self.get_mid_price(timestamp, pair)
        return TradePricing(mid / 0.997 * 1.001, mid, reserve * 0.003, 0.003, True, timestamp, block_number=100)

    def get_sell_price(self, timestamp: datetime, pair: TradingPairIdentifier, quantity: float) -> TradePricing:
        mid = self.get_mid_price(timestamp, pair)
        fee = quantity * mid * 0.003
        return TradePricing(mid * 0.997 * 0.999, mid, fee, 0.003, False, timestamp, block_number=100)

    def get_max_deposit(self, timestamp: datetime, pair: TradingPairIdentifier) -> float | None:
        return self.candles.get_max_deposit(timestamp, pair)

    def get_max_redemption(self, timestamp: datetime, pair: TradingPairIdentifier) -> float | None:
        return self.candles.get_max_redemption(timestamp, pair)


@dataclass
class TestVenue:
    """Paper, but for what a test changes.

    ``refuse``, ``fail`` hold reasons by decision time; ``dearer`` makes it quote as a pool, with fills on a chain
    ``slip`` worse than quoted; ``deposits`` are booked at a decision time.
    """

    __test__ = False
    refuse: dict[datetime, str] = field(default_factory=dict)
    fail: dict[datetime, str] = field(default_factory=dict)
    deposits: dict[datetime, Decimal] = field(default_factory=dict)
    dearer: float | None = None
    slip: float = 0.0
    paper: PaperVenue = field(default_factory=lambda: PaperVenue(10_000))
    lease_resources: Sequence[str] = ()
    purse: Purse = PAPER

    def open_desk(self, request: DeskRequest) -> Desk:
        desk = self.paper.open_desk(request)
        pricing = desk.pricing if self.dearer is None else PoolPricing(desk.pricing, self.dearer)
        return replace(desk, pricing=pricing, execution=TestExecution(self, desk), treasury=TestTreasury(self, desk))


@dataclass
class TestExecution:
    __test__ = False
    venue: TestVenue
    desk: Desk

    def execute_trades(
        self, timestamp: datetime, state: State, trades: Sequence[TradeExecution], triggered: bool = False
    ) -> None:
        for trade in trades:
            self._execute(timestamp, state, trade, triggered)

    def resume(self, timestamp: datetime, state: State) -> Sequence[TradeExecution]:
        return ()

    def _execute(self, timestamp: datetime, state: State, trade: TradeExecution, triggered: bool) -> None:
        at, ids, venue = to_aware(timestamp), (trade.trade_id, trade.position_id), self.venue
        if timestamp in venue.refuse:
            state.record(TradeDiscarded(at, *ids, venue.refuse[timestamp]))
        elif timestamp in venue.fail:
            state.record(TradeStarted(at, *ids))
            state.record(TradeFailed(at, *ids, venue.fail[timestamp]))
            state.record(PositionFrozen(at, trade.position_id, venue.fail[timestamp]))
        elif venue.dearer is None:
            self.desk.execution.execute_trades(timestamp, state, [trade], triggered)
        else:
            state.record(TradeStarted(at, *ids))
            price = trade.planned_price * (1 + venue.slip if trade.is_buy() else 1 - venue.slip)
            quantity, reserve = trade.planned_quantity, Decimal(price) * abs(trade.planned_quantity)
            if trade.is_buy():
                quantity, reserve = trade.planned_reserve / Decimal(price), trade.planned_reserve
            state.record(
                TradeExecuted(at + DELAY, *ids, quantity, reserve, price, 3.0, "0xabc", 103, Decimal("0.0002"))
            )


@dataclass
class TestTreasury:
    __test__ = False
    venue: TestVenue
    desk: Desk

    def sync_treasury(self, timestamp: datetime, state: State) -> Sequence[BalanceUpdate]:
        self.desk.treasury.sync_treasury(timestamp, state)
        amount = self.venue.deposits.pop(timestamp, None)
        if amount is None:
            return ()
        reserve = state.portfolio.reserve
        update = BalanceUpdate(
            state.portfolio.next_balance_update_id,
            BalanceUpdateCause.deposit,
            BalanceUpdatePositionType.reserve,
            reserve.asset,
            amount,
            reserve.quantity,
            float(amount),
            timestamp,
            timestamp,
        )
        state.record(BalanceUpdated(to_aware(timestamp), update))
        self.desk.balances.wallet.add(reserve.asset, amount)
        return (update,)


@dataclass
class Trader:
    """A live strategy whose clock is moved by hand."""

    live: LiveStrategy
    venue: TestVenue

    def at(self, hours: float) -> datetime:
        """Set the clock to hours after the first decision; returns it, naive UTC."""
        moment = FIRST + timedelta(hours=hours)
        self.live.clock.moment = moment.replace(tzinfo=UTC)
        return moment

    def run(self, *hours: int) -> None:
        """Run the cycles of these hours."""
        for hour in hours:
            run_cycle(self.live, self.at(hour))


@pytest.fixture
def trader() -> Callable[..., Trader]:
    """Return a function that makes a trader; ``feed`` holds opens of quarters of an hour."""

    def make(feed: Mapping[TradingPairIdentifier, Sequence[float]] | None = None, **parameters: object) -> Trader:
        universe = universe_of({WETH_USDC: OPENS}, feed=feed, feed_bucket=TimeBucket.m15 if feed else None)
        values = {"cycle_duration": CycleDuration.cycle_1h, "required_history_period": timedelta(hours=2)}

        def create_trading_universe(input: CreateTradingUniverseInput) -> TradingStrategyUniverse:
            return universe

        module = StrategyModule(
            name="test",
            parameters=StrategyParameters(values | parameters),
            decide_trades=buy_at_even_hours,
            create_trading_universe=create_trading_universe,
        )
        venue = TestVenue()
        clock = ManualClock(FIRST.replace(tzinfo=UTC))
        live = LiveStrategy("test", module, None, venue, MemoryLedgerStore(), clock, wait_s=0.0)
        return Trader(live, venue)

    return make
