"""Equity samples as ported strategies and charts read them: ``state.stats``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from trading_dagster.domain.value import value


@value
class PortfolioStatistics:
    """The portfolio at one sample; USD, naive UTC."""

    calculated_at: datetime
    total_equity: float
    net_asset_value: float
    free_cash: float
    open_position_equity: float
    open_position_count: int
    share_count: float
    share_price_usd: float


class Statistics:
    """The equity samples that belong to a state.

    Samples are columns beside the ledger and no part of what events add up to, so a state that was just replayed has
    none: whoever reads it together with its samples attaches them.

    Attributes:
        columns: timestamp (naive UTC), equity, cash, position_equity (USD), open_positions, share_count, share_price;
            sequences of one length, arrays or lists.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Hold samples; none by default."""
        self.columns: Mapping[str, Sequence[Any]] = columns or {}

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.columns.values()), ()))

    @cached_property
    def portfolio(self) -> list[PortfolioStatistics]:
        """Return the samples one by one, in order of time."""
        names = (
            "timestamp", "equity", "equity", "cash", "position_equity", "open_positions", "share_count", "share_price",
        )  # fmt: skip
        if not self.columns:
            return []
        lists = [_plain(self.columns[name]) for name in names]
        return [PortfolioStatistics(*row) for row in zip(*lists, strict=True)]

    def get_latest_portfolio_stats(self) -> PortfolioStatistics | None:
        """Return the newest sample, None before the first."""
        return self.portfolio[-1] if len(self) else None


def _plain(values: Sequence[Any]) -> list[Any]:
    """Return values as Python's own."""
    return values.tolist() if hasattr(values, "tolist") else list(values)
