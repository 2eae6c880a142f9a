"""Take a fund's fees: at the end of each period, and before money comes or goes."""

from __future__ import annotations

from datetime import datetime

from trading_dagster.domain.event import FundFeesTaken
from trading_dagster.domain.fund_fee import FundFees, calculate_fund_fees
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware


def take_fund_fees(fees: FundFees, timestamp: datetime, state: State) -> None:
    """Make the shares that are due at a naive UTC time; nothing before the first deposit, nor twice at one time."""
    treasury, portfolio = state.sync.treasury, state.portfolio
    since = treasury.fund_fees_at
    if since is None:
        first = next(iter(portfolio.reserve.balance_updates.values()), None)
        since = None if first is None else first.strategy_cycle_included_at
    if since is None:
        return
    take = calculate_fund_fees(
        fees,
        shares=treasury.share_count or ZERO,
        net_asset_value=portfolio.get_net_asset_value(),
        elapsed=timestamp - since,
        high_water_mark=state.initial_share_price if treasury.high_water_mark is None else treasury.high_water_mark,
        initial_share_price=state.initial_share_price,
    )
    if timestamp > since or take.performance_shares:
        state.record(FundFeesTaken(to_aware(timestamp), take))
