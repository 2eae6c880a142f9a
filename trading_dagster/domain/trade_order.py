"""The order trades of one batch run in: credit is released first, then closes, reduces, buys, and cash parked last."""

from __future__ import annotations

from collections.abc import Iterable

from trading_dagster.domain.trade import TradeExecution, TradeFlag

CREDIT_CLOSE = -200_000_000
CLOSE = -100_000_000
VAULT_REDUCE = -50_000_000
REDUCE = -40_000_000
VAULT_DEPOSIT = 50_000_000
CREDIT_OPEN = 200_000_000


def execution_sort_key(trade: TradeExecution) -> int:
    """Return the sort key of a trade, lower first; inside closes and reduces later trades go first."""
    plan = trade.plan
    pair, trade_id = plan.pair, plan.trade_id
    if plan.closing:
        return (CREDIT_CLOSE if pair.is_credit_supply() else CLOSE) - trade_id
    if trade.is_shrinking():
        return (VAULT_REDUCE if pair.is_vault() else REDUCE) - trade_id
    if pair.is_vault():
        return VAULT_DEPOSIT + trade_id
    if pair.is_credit_supply() and TradeFlag.open in plan.flags:
        return CREDIT_OPEN + trade_id
    return trade_id


def in_execution_order(trades: Iterable[TradeExecution]) -> list[TradeExecution]:
    """Return the trades of a batch in the order they run."""
    return sorted(trades, key=execution_sort_key)
