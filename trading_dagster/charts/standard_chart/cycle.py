"""Standard charts of the newest cycle: what the strategy said, and how the portfolio stands."""

from __future__ import annotations

import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.strategy.chart import ChartInput


def last_messages(input: ChartInput, message_count: int = 5) -> pd.DataFrame:
    """The newest messages of the strategy, the latest first."""
    tail = input.require_state().visualisation.get_messages_tail(message_count)
    rows = [(time, "\n".join(texts)) for time, texts in reversed(tail.items())]
    return pd.DataFrame(rows, columns=["Time", "Message"])


def latest_cycle_snapshot(input: ChartInput) -> pd.DataFrame:
    """Cash, allocation, positions and flows as they stood at the newest sample."""
    state = input.require_state()
    latest, portfolio, treasury = state.stats.get_latest_portfolio_stats(), state.portfolio, state.sync.treasury
    if latest is None:
        raise BadInput("This state has no equity samples: take the state of a backtest's result")
    equity = latest.total_equity
    rows: list[tuple[str, object]] = [
        ("Time", f"{latest.calculated_at:%Y-%m-%d %H:%M}"),
        ("Cycle", f"{max(state.cycle - 1, 1):,}"),
        ("Total equity, USD", f"{equity:,.2f}"),
        ("Cash, USD", f"{latest.free_cash:,.2f}"),
        ("Cash, share", f"{latest.free_cash / equity:.2%}" if equity else "-"),
        ("Allocated, USD", f"{latest.open_position_equity:,.2f}"),
        ("Allocated, share", f"{latest.open_position_equity / equity:.2%}" if equity else "-"),
        ("Open positions", f"{len(portfolio.open_positions):,}"),
        ("Frozen positions", f"{len(portfolio.frozen_positions):,}"),
        ("Share price, USD", f"{latest.share_price_usd:,.6f}" if latest.share_count else "-"),
        ("Pending redemptions, USD", _usd(treasury.pending_redemptions)),
        ("Pending deposits, USD", _usd(treasury.pending_deposits)),
        ("Pending vault settlements, USD", f"{portfolio.get_pending_settlement_value():,.2f}"),
    ]
    return pd.DataFrame(rows, columns=["", "Value"]).set_index("")


def _usd(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:,.2f}"
