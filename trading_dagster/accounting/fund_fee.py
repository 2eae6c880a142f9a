"""Take a fund's fees: at the end of each period, and before money comes or goes."""

from __future__ import annotations

from datetime import datetime

from trading_dagster.accounting.simulated_treasury import share_price
from trading_dagster.domain.event import FundFeesTaken
from trading_dagster.domain.fund_fee import FundFees, FundFeeTake, calculate_fund_fees
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware


def are_fund_fees_due(fees: FundFees, timestamp: datetime, state: State) -> bool:
    """Tell whether a period has ended at a naive UTC time whose fees were not taken; False before the first deposit."""
    since = _taken_until(state)
    return since is not None and fees.period_of(timestamp) > fees.period_of(since)


def take_fund_fees(fees: FundFees, timestamp: datetime, state: State) -> None:
    """Make the shares that are due at a naive UTC time; nothing before the first deposit, nor twice at one time.

    A time before that of the last fees, as of a late cycle after a deposit between cycles, counts as theirs.
    """
    treasury = state.sync.treasury
    since = _taken_until(state)
    if since is None:
        return
    at = max(timestamp, since)
    take = calculate_fund_fees(
        fees,
        shares=treasury.share_count or ZERO,
        net_asset_value=state.portfolio.get_net_asset_value(),
        elapsed=at - since,
        high_water_mark=state.initial_share_price if treasury.high_water_mark is None else treasury.high_water_mark,
        initial_share_price=state.initial_share_price,
    )
    if at > since or take.performance_shares:
        state.record(FundFeesTaken(to_aware(at), take))


def begin_fund_fees(timestamp: datetime, state: State) -> None:
    """Begin to count fees at a naive UTC time, of a fund that went without: what was gained before is not charged."""
    treasury = state.sync.treasury
    since = _taken_until(state)
    if since is None:  # they begin with the first deposit
        return
    price = share_price(state)
    mark = max(price, treasury.high_water_mark or 0.0)
    at = to_aware(max(timestamp, since))
    state.record(FundFeesTaken(at, FundFeeTake(ZERO, ZERO, 0.0, 0.0, price, mark)))


def _taken_until(state: State) -> datetime | None:
    """Return until when fees were taken, or since when there is money, naive UTC; None before the first deposit."""
    taken_at = state.sync.treasury.fund_fees_at
    if taken_at is not None:
        return taken_at
    first = next(iter(state.portfolio.reserve.balance_updates.values()), None)
    return None if first is None else first.strategy_cycle_included_at
