"""Interest of loans and credit supply: accrued on each side in every cycle from the lending rates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from trading_dagster.domain.error import InterestImplausible, NoLendingData, UnknownPair
from trading_dagster.domain.event import InterestAccrued
from trading_dagster.domain.identifier import AssetIdentifier, AssetType
from trading_dagster.domain.loan import LoanSide
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.market.lending import LendingCandleType, LendingUniverse

YEAR_S = 31_536_000
MAX_GAIN = Decimal("0.05")
"""A step that earns this fraction of a balance or more is an error of the rates."""
ONE_SECOND = timedelta(seconds=1)


class LendingInterest:
    """Accrues interest of simulated positions; the wallet's tokens grow with it."""

    def __init__(
        self, lending: LendingUniverse | None, move_tokens: Callable[[AssetIdentifier, Decimal], None]
    ) -> None:
        """Take rates from ``lending``; tokens come into the wallet through a callable."""
        self._lending = lending
        self._move_tokens = move_tokens

    def sync_interests(self, timestamp: datetime, state: State) -> list[BalanceUpdate]:
        """Accrue each side of each loan from its last accrual up to a naive UTC time; returns the updates made.

        New balance = balance x (1 + r / 100 x seconds / 31,536,000), r from LendingUniverse.mean_rate: simple within a
        step, compound over steps. Running it again at the same time adds nothing.

        Raises:
            NoLendingData: The rates do not cover the time since the last accrual.
            InterestImplausible: A balance would shrink, or grow by 5 % or more in one step.
        """
        updates: list[BalanceUpdate] = []
        for position in state.portfolio.loan_positions.values():
            loan = position.loan
            if loan is None:
                continue
            updates += self._accrue(timestamp, state, position, loan.collateral)
            if loan.borrowed is not None:
                updates += self._accrue(timestamp, state, position, loan.borrowed)
        return updates

    def _accrue(
        self, timestamp: datetime, state: State, position: TradingPosition, side: LoanSide
    ) -> list[BalanceUpdate]:
        since = side.interest.last_event_at
        if timestamp <= since:
            return []
        balance = side.total
        gain = self._gain_of(side, balance, since, timestamp) if balance > 0 else ZERO
        update = BalanceUpdate(
            balance_update_id=state.portfolio.next_balance_update_id,
            cause=BalanceUpdateCause.interest,
            position_type=BalanceUpdatePositionType.open_position,
            asset=side.asset,
            quantity=gain,
            old_balance=balance,
            usd_value=float(gain) * side.last_usd_price,
            block_mined_at=timestamp,
            strategy_cycle_included_at=timestamp,
            previous_update_at=since,
            position_id=position.position_id,
        )
        self._move_tokens(side.asset, gain)
        state.record(InterestAccrued(to_aware(timestamp), update))
        return [update]

    def _gain_of(self, side: LoanSide, balance: Decimal, since: datetime, timestamp: datetime) -> Decimal:
        asset = side.asset
        is_debt = asset.type is AssetType.borrowed
        rate = LendingCandleType.variable_borrow_apr if is_debt else LendingCandleType.supply_apr
        if self._lending is None:
            raise NoLendingData(f"There are no lending rates for {asset}: load them before opening loans")
        try:
            reserve = self._lending.get_reserve(asset)
        except UnknownPair as error:
            raise NoLendingData(f"{error}: keep its lending market in create_trading_universe") from None
        percent = self._lending.mean_rate(reserve, rate, since, timestamp)
        gain = balance * Decimal(percent / 100 * ((timestamp - since) / ONE_SECOND) / YEAR_S)
        if not 0 <= gain < balance * MAX_GAIN:
            raise InterestImplausible(
                f"Interest of {balance} {asset.token_symbol} from {since} to {timestamp} would be {gain} at {percent} "
                f"% a year: it must not be negative and stay below {MAX_GAIN:.0%} in one step; check {rate.value}, "
                "which is in percent"
            )
        return gain
