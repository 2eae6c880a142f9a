"""What must hold of every portfolio: ids are unique, counters are ahead of them, cash is not negative."""

from __future__ import annotations

from trading_dagster.domain.error import IntegrityError
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.portfolio import Portfolio


def check_integrity(portfolio: Portfolio) -> None:
    """Raise IntegrityError when ids repeat, counters are off or cash is negative; archived positions count not."""
    positions = portfolio.get_positions_in_memory()
    is_whole = not portfolio.has_archive()
    trade_ids = [i for p in positions for i in (*p.trades, *p.pending_trades, *p.expired_trades)]
    update_ids = [*portfolio.reserve.balance_updates, *(i for p in positions for i in p.balance_updates)]
    for what, ids, next_id in (
        ("position", [p.position_id for p in positions], portfolio.next_position_id),
        ("trade", trade_ids, portfolio.next_trade_id),
        ("balance update", update_ids, portfolio.next_balance_update_id),
    ):
        if len(ids) != len(set(ids)):
            raise IntegrityError(f"Some {what} ids occur twice: {sorted(i for i in ids if ids.count(i) > 1)[:10]}")
        if next_id <= max(ids, default=0) or (is_whole and next_id != max(ids, default=0) + 1):
            raise IntegrityError(f"The next {what} id is {next_id} but the largest used is {max(ids, default=0)}")
    if portfolio.reserve.quantity < ZERO:
        raise IntegrityError(f"Cash is negative: {portfolio.reserve.quantity}")
