"""Limits that a live strategy's trades are held to before any of them runs, and the port of who reviews them.

An exit (a close or a reduction) is never refused for its size, for losses or for a blacklisted token: a stop loss must
get out. What an exit may be refused for has limits of its own, which are off by default. A rule refuses

- single entries: blacklist, slippage tolerance, value, share of equity, turnover, cash;
- all entries of a decision, because something is wrong with it or with the strategy: price impact, number of trades,
  losses. The exits of the decision still run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from trading_dagster.domain.error import BadConfiguration, TradeError
from trading_dagster.domain.event import TradeDiscarded
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution

DEFAULT_MAX_PRICE_IMPACT = 0.10
DAY = timedelta(hours=24)
"""The day of the daily limits: the 24 hours before the review, so that no midnight doubles what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeLimits:
    """What a deployment allows; None for no limit. Entries are trades that are no exits.

    Attributes:
        max_trade_usd: Value of one entry, USD.
        max_trade_share: Value of one entry as a fraction of total equity.
        max_cycle_trades: Trades of one decision, exits counted.
        max_cycle_turnover_usd: Value of all trades of one decision, exits counted, USD.
        max_day_turnover_usd: Value of all trades of the last 24 hours and the decision, exits counted, USD.
        max_cycle_loss_usd: Loss since the end of the last cycle, realised and not, at which entries stop; USD.
        max_cycle_loss_share: The same as a fraction.
        max_day_loss_usd: Loss in the last 24 hours, realised and not, at which entries stop; USD.
        max_day_loss_share: The same as a fraction.
        max_price_impact: How far an entry may move the price, beside the fee; a fraction.
        max_exit_price_impact: The same for exits.
        max_slippage_tolerance: The largest slippage tolerance an entry may have, a fraction.
        max_exit_slippage_tolerance: The same for exits.
    """

    max_trade_usd: float | None = None
    max_trade_share: float | None = None
    max_cycle_trades: int | None = None
    max_cycle_turnover_usd: float | None = None
    max_day_turnover_usd: float | None = None
    max_cycle_loss_usd: float | None = None
    max_cycle_loss_share: float | None = None
    max_day_loss_usd: float | None = None
    max_day_loss_share: float | None = None
    max_price_impact: float | None = DEFAULT_MAX_PRICE_IMPACT
    max_exit_price_impact: float | None = None
    max_slippage_tolerance: float | None = None
    max_exit_slippage_tolerance: float | None = None

    def __post_init__(self) -> None:
        """Check; raises BadConfiguration for what is no usable limit."""
        for item in fields(self):
            limit = getattr(self, item.name)
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not math.isfinite(limit) or limit < 0:
                raise BadConfiguration(f"{item.name} is {limit!r}: give a number, 0 or more, or leave it out")
            if "_loss" in item.name and limit == 0:
                raise BadConfiguration(f"{item.name} is 0, so that no entry would ever run: give a number above 0")
            if item.name == "max_cycle_trades" and limit != int(limit):
                raise BadConfiguration(f"max_cycle_trades is {limit!r}: give a whole number of trades")
            is_share = item.name.endswith("_share") or "impact" in item.name or "slippage" in item.name
            if is_share and limit > 1:
                raise BadConfiguration(f"{item.name} is {limit!r}: give a fraction of at most 1, such as 0.1 for 10 %")


@dataclass(frozen=True, slots=True)
class EquityMark:
    """What a strategy was worth at an earlier moment; USD. Share figures are None when unknown."""

    at: datetime
    equity: float
    share_count: float | None = None
    share_price: float | None = None


class LimitHistory(Protocol):
    """What the daily and cycle limits compare with; each answer's cost must not grow with the strategy's age."""

    def find_day_start(self, now: datetime) -> EquityMark | None:
        """Return the newest mark that is 24 hours old at ``now`` (aware UTC), or the first one; None for none."""
        ...

    def find_cycle_end(self, last_cycle_at: datetime) -> EquityMark | None:
        """Return the first mark at or after the decision time of the last cycle, naive UTC."""
        ...

    def sum_turnover(self, state: State, now: datetime) -> float:
        """Return the USD value of trades that executed in the 24 hours before ``now``, aware UTC."""
        ...


class Refusal(NamedTuple):
    """A trade that may not run, and why."""

    trade: TradeExecution
    reason: str


@dataclass(frozen=True, slots=True)
class Review:
    """What may run. ``problem`` is set when all entries were refused because of the decision as a whole."""

    allowed: tuple[TradeExecution, ...] = ()
    refused: tuple[Refusal, ...] = ()
    problem: TradeError | None = None


class TradeGuard(Protocol):
    """Reviews the trades of a decision before any of them runs."""

    def review(self, state: State, trades: Sequence[TradeExecution], now: datetime) -> Review:
        """Say which trades, given in the order they would run in, are allowed at ``now``, aware UTC; changes nothing.

        The caller discards the refused ones by events and reports ``problem``. Raises StorageFailed when what the
        limits compare with cannot be read: then nothing may run.
        """
        ...


class AllowAll:
    """Refuses nothing."""

    def review(
        self,
        state: State,  # noqa: ARG002
        trades: Sequence[TradeExecution],
        now: datetime,  # noqa: ARG002
    ) -> Review:
        """See TradeGuard."""
        return Review(tuple(trades))


def discard_refused(state: State, refused: Iterable[Refusal], at: datetime) -> None:
    """Record that refused trades will never run; ``at`` is aware UTC. Trades that are discarded already are left."""
    for trade, reason in refused:
        if trade.is_planned():
            state.record(TradeDiscarded(at, trade.trade_id, trade.position_id, reason))
