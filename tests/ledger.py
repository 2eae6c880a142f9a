"""Small portfolios made of events, to be calculated by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.scenario import DEX, USDC, WETH_USDC
from trading_dagster.domain.event import (
    BalanceUpdated,
    PositionOpened,
    StateCreated,
    TradeExecuted,
    TradeFailed,
    TradePlanned,
    TradeStarted,
    TriggersMoved,
)
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier, TradingPairKind
from trading_dagster.domain.portfolio import StoredMarks
from trading_dagster.domain.run_range import BacktestData
from trading_dagster.domain.state import State
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trade import TradePlan, TradePricing, TradeType
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.statistics.trade_analysis import build_trade_analysis
from trading_dagster.statistics.trade_summary import TradeSummary

DAY_0 = datetime(2022, 1, 1)
AAVE = AssetIdentifier(ChainId.ethereum, "0x03", "AAVE", 18)
SHARE = AssetIdentifier(ChainId.ethereum, "0x04", "SHARE", 18)
LENT = AssetIdentifier(ChainId.ethereum, "0x05", "aUSDC", 6)
AAVE_USDC = TradingPairIdentifier(AAVE, USDC, "0x13", DEX.address, internal_id=2, fee=0.0)
VAULT = TradingPairIdentifier(SHARE, USDC, "0x14", "0x14", internal_id=3, fee=0.0, kind=TradingPairKind.vault)
CREDIT = TradingPairIdentifier(LENT, USDC, "0x15", "0x15", internal_id=4, fee=0.0, kind=TradingPairKind.credit_supply)


def day(number: float) -> datetime:
    return DAY_0 + timedelta(days=number)


class Ledger:
    """Writes trades without fee into a state; amounts in USD, times in days since the start."""

    def __init__(self, cash: float = 10_000, days: int = 20) -> None:
        self.marks = StoredMarks()
        self.state = State(StateCreated(day(0).replace(tzinfo=UTC), "test", USDC), self.marks)
        self.state.backtest_data = BacktestData(day(0), day(days), CycleDuration.cycle_1d)
        if cash:
            self.flow(0, cash)

    def flow(self, at: float, amount: float, cause: BalanceUpdateCause | None = None) -> None:
        default = BalanceUpdateCause.deposit if amount > 0 else BalanceUpdateCause.redemption
        portfolio = self.state.portfolio
        update = BalanceUpdate(
            balance_update_id=portfolio.next_balance_update_id,
            cause=cause or default,
            position_type=BalanceUpdatePositionType.reserve,
            asset=USDC,
            quantity=Decimal(amount),
            old_balance=portfolio.reserve.quantity,
            usd_value=amount,
            block_mined_at=day(at),
            strategy_cycle_included_at=day(at),
        )
        self.state.record(BalanceUpdated(day(at).replace(tzinfo=UTC), update))

    def buy(
        self,
        at: float,
        value: float,
        price: float,
        *,
        pair: TradingPairIdentifier = WETH_USDC,
        position: int | None = None,
        outcome: str = "filled",
        **pricing: Any,
    ) -> int:
        if position is None:
            position = self.state.portfolio.next_position_id
            worth = self.state.portfolio.calculate_total_equity()
            self.state.record(PositionOpened(day(at).replace(tzinfo=UTC), position, pair, worth))
        self.marks.prices[pair] = price
        self.trade(at, position, pair, value / price, value, price, TradeType.rebalance, outcome, pricing)
        return position

    def sell(
        self,
        at: float,
        position: int,
        price: float,
        *,
        part: float = 1.0,
        trade_type: TradeType = TradeType.rebalance,
        outcome: str = "filled",
    ) -> None:
        held = self.state.portfolio.get_position_by_id(position)
        quantity = held.get_quantity() if part == 1 else held.get_quantity() * Decimal(part)
        self.marks.prices[held.pair] = price
        self.trade(
            at, position, held.pair, -float(quantity), float(quantity) * price, price, trade_type, outcome, {}, quantity
        )

    def round_trip(self, opened: float, closed: float, profit: float, value: float = 1000, **kwargs: Any) -> int:
        trade_type = kwargs.pop("trade_type", TradeType.rebalance)
        position = self.buy(opened, value, 100, **kwargs)
        self.sell(closed, position, 100 * (1 + profit / value), trade_type=trade_type)
        return position

    def trade(
        self,
        at: float,
        position: int,
        pair: TradingPairIdentifier,
        signed: float,
        value: float,
        price: float,
        trade_type: TradeType,
        outcome: str,
        pricing: dict[str, Any],
        exact: Decimal | None = None,
    ) -> None:
        time = day(at).replace(tzinfo=UTC)
        number = self.state.portfolio.next_trade_id
        quantity = Decimal(signed) if exact is None else -exact
        reserve = Decimal(value)
        plan = TradePlan(
            trade_id=number,
            position_id=position,
            pair=pair,
            trade_type=trade_type,
            quantity=quantity,
            reserve=reserve,
            pricing=TradePricing(price, price, 0.0, 0.0, signed > 0, day(at), **pricing),
            reserve_currency=USDC,
        )
        self.state.record(TradePlanned(time, plan))
        self.state.record(TradeStarted(time, number, position))
        if outcome == "filled":
            self.state.record(TradeExecuted(time, number, position, quantity, reserve, price, 0.0))
        elif outcome == "failed":
            self.state.record(TradeFailed(time, number, position, "reverted"))

    def move_stop(self, at: float, position: int, mid: float, stop: float, trailing: float | None = None) -> None:
        self.state.record(TriggersMoved(day(at).replace(tzinfo=UTC), position, mid, stop, None, trailing))

    def summary(self, side: str = "all") -> TradeSummary:
        analysis = build_trade_analysis(self.state.portfolio)
        if side == "long":
            return analysis.calculate_long_summary_statistics(TimeBucket.d1, self.state)
        if side == "short":
            return analysis.calculate_short_summary_statistics(TimeBucket.d1, self.state)
        return analysis.calculate_summary_statistics(TimeBucket.d1, self.state)


def make_five_positions() -> Ledger:
    """+100, -100, -50, 0 and an open one worth 100 more than it cost; 10,000 USD at first, 1000 each, the last 500."""
    ledger = Ledger()
    ledger.round_trip(1, 3, 100, trade_type=TradeType.take_profit)
    ledger.round_trip(4, 5, -100, trade_type=TradeType.stop_loss)
    ledger.round_trip(5, 8, -50)
    ledger.round_trip(9, 10, 0, trade_type=TradeType.take_profit)
    ledger.buy(11, 500, 100)
    ledger.marks.prices[WETH_USDC] = 120.0
    return ledger
