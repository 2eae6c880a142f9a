"""What a state answers, and what operators, strategies and tests do to it; each action records an event."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.event import AssetAllowed, AssetBlacklisted, Event, StrategyReady
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.integrity import check_integrity
from trading_dagster.domain.loan_trade import plan_credit_supply, plan_short_trade
from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.run_range import BacktestData
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradePricing, TradeType


class StateActions:
    """Questions and actions of a State, which folds the events that the actions record."""

    portfolio: Portfolio
    known_pairs: dict[str, TradingPairIdentifier]
    blacklisted_assets: dict[AssetIdentifier, str]
    backtest_data: BacktestData | None
    created_at: datetime
    _now: datetime

    @property
    def last_cycle_at(self) -> datetime | None:
        """Return the decision time of the last cycle that ended, naive UTC; None in the first."""
        raise NotImplementedError

    def record(self, event: Event) -> None:
        """Fold an event and keep it for the store."""
        raise NotImplementedError

    # -- questions ------------------------------------------------------------------------------------------------

    def is_good_pair(self, pair: TradingPairIdentifier) -> bool:
        """Tell whether neither token of the pair is blacklisted."""
        blacklisted = self.blacklisted_assets
        return not blacklisted or (pair.base not in blacklisted and pair.quote not in blacklisted)

    def has_trading_capital(self, threshold_usd: float = 0.15) -> bool:
        """Tell whether equity is worth trading with."""
        return self.portfolio.calculate_total_equity() >= threshold_usd

    def get_strategy_time_range(self) -> tuple[datetime | None, datetime | None]:
        """Return where the strategy starts and ends, naive UTC: the backtest's range, else first to last cycle."""
        data = self.backtest_data
        if data is not None:
            return data.ready_at or data.start_at, data.end_at
        return self.created_at, self.last_cycle_at

    def get_strategy_duration(self) -> timedelta | None:
        """Return the length of the strategy's range."""
        start, end = self.get_strategy_time_range()
        return None if start is None or end is None else end - start

    def get_trading_time_range(self) -> tuple[datetime | None, datetime | None]:
        """Return when the first and the last trade executed, naive UTC."""
        first, last = self.portfolio.get_first_and_last_executed_trade()
        return (None if first is None else first.executed_at, None if last is None else last.executed_at)

    def perform_integrity_check(self) -> None:
        """Raise IntegrityError when ids repeat, counters are off or cash is negative; archived positions count not."""
        check_integrity(self.portfolio)

    # -- operator and strategy actions ------------------------------------------------------------------------------

    def blacklist_asset(self, asset: AssetIdentifier, reason: str = "") -> None:
        """Forbid buying a token."""
        self.record(AssetBlacklisted(at=self._now, asset=asset, reason=reason))

    def unblacklist_asset(self, asset: AssetIdentifier, reason: str = "") -> None:
        """Allow buying a token again."""
        self.record(AssetAllowed(at=self._now, asset=asset, reason=reason))

    def trade_short(
        self,
        strategy_cycle_at: datetime,
        pair: TradingPairIdentifier,
        borrowed_quantity: Decimal,
        collateral_quantity: Decimal | None,
        borrowed_asset_price: float,
        trade_type: TradeType = TradeType.rebalance,
        *,
        planned_mid_price: float | None = None,
        pair_fee: float = 0.0,
        lp_fees_estimated: float = 0.0,
        planned_collateral_consumption: Decimal | None = None,
        closing: bool = False,
        notes: str | None = None,
        flags: Iterable[TradeFlag] = (),
    ) -> tuple[TradingPosition, TradeExecution, bool]:
        """Plan a short's loan change at a price given; returns position, trade, and whether the position is new.

        Args:
            strategy_cycle_at: When, naive UTC.
            pair: The pair of the short.
            borrowed_quantity: Tokens; below 0 to borrow and sell, above 0 to repay from collateral.
            collateral_quantity: Reserve tokens from cash into collateral, below 0 back to cash; None for none, and when
                closing for all that is left.
            borrowed_asset_price: What a token is sold or bought at, USD.
            trade_type: Why.
            planned_mid_price: The price without fee; None for ``borrowed_asset_price``.
            pair_fee: Fee as a fraction.
            lp_fees_estimated: Fee in USD.
            planned_collateral_consumption: What selling adds to collateral, below 0 what buying takes from it; None for
                quantity x price.
            closing: All debt, interest included, is repaid and the position ends.
            notes: For the trade and a new position.
            flags: Of the trade.
        """
        mid = borrowed_asset_price if planned_mid_price is None else planned_mid_price
        is_buy = borrowed_quantity > 0
        pricing = TradePricing(borrowed_asset_price, mid, lp_fees_estimated, pair_fee, is_buy, strategy_cycle_at)
        return plan_short_trade(
            self,
            at=strategy_cycle_at,
            pair=pair,
            quantity=borrowed_quantity,
            allocation=collateral_quantity,
            consumption=planned_collateral_consumption,
            pricing=pricing,
            trade_type=trade_type,
            closing=closing,
            notes=notes,
            flags=flags,
        )

    def supply_credit(
        self,
        strategy_cycle_at: datetime,
        pair: TradingPairIdentifier,
        collateral_quantity: Decimal,
        trade_type: TradeType = TradeType.rebalance,
        *,
        closing: bool = False,
        notes: str | None = None,
        flags: Iterable[TradeFlag] = (),
    ) -> tuple[TradingPosition, TradeExecution, bool]:
        """Plan lending out reserve tokens, below 0 taking them back; returns as trade_short does."""
        return plan_credit_supply(
            self,
            at=strategy_cycle_at,
            pair=pair,
            quantity=collateral_quantity,
            trade_type=trade_type,
            closing=closing,
            notes=notes,
            flags=flags,
        )

    def mark_ready(self, timestamp: datetime) -> None:
        """Say that from here the backtest counts as strategy start."""
        if self.backtest_data is None:
            raise BadInput("mark_ready is for backtests: this state has no backtest range")
        self.record(StrategyReady(at=to_aware(timestamp)))
