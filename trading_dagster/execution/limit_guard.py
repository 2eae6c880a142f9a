"""The review that holds trades to limits: pure functions over the state, the trades and what the past adds up to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import PriceImpactToleranceExceeded, TradeError, TradeLimitExceeded
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import FLOAT_ROUNDING, ZERO
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.execution.limit import DAY, EquityMark, LimitHistory, Refusal, Review, TradeLimits

DOLLARS = frozenset({"DAI", "XDAI", "FRAX", "GHO", "MIM", "DOLA", "MAI"})
"""Dollar tokens that do not say so in their symbol."""


@dataclass(frozen=True, slots=True)
class LimitGuard:
    """Holds trades to limits. ``history`` is asked only for limits that are set."""

    limits: TradeLimits
    history: LimitHistory

    def review(self, state: State, trades: Sequence[TradeExecution], now: datetime) -> Review:
        """See TradeGuard."""
        limits, history = self.limits, self.history
        turnover, day, cycle = 0.0, None, None
        if any(not is_exit(trade) for trade in trades):
            if limits.max_day_turnover_usd is not None:
                turnover = history.sum_turnover(state, now)
            if limits.max_day_loss_usd is not None or limits.max_day_loss_share is not None:
                day = history.find_day_start(now)
            has_cycle_limit = limits.max_cycle_loss_usd is not None or limits.max_cycle_loss_share is not None
            if has_cycle_limit and state.last_cycle_at is not None:
                cycle = history.find_cycle_end(state.last_cycle_at)
        return review_trades(state, trades, limits, Past(turnover + _running_value(state, now), day, cycle))


@dataclass(frozen=True, slots=True)
class Past:
    """What limits compare with: USD traded in the last 24 hours, equity then and at the last cycle's end."""

    day_turnover: float = 0.0
    day_start: EquityMark | None = None
    cycle_end: EquityMark | None = None


def review_trades(state: State, trades: Sequence[TradeExecution], limits: TradeLimits, past: Past = Past()) -> Review:
    """Hold the trades of a decision, in the order they would run in, to limits."""
    review = _Review(state, trades, limits, past)
    return review.run()


def is_exit(trade: TradeExecution) -> bool:
    """Tell whether a trade closes or shrinks its position: a sell, of a short a buy; nothing traded counts, too."""
    if trade.plan.loan is not None:
        return trade.is_shrinking()
    quantity = trade.plan.quantity
    return not quantity or (quantity < 0) != trade.pair.is_short()


def price_impact(trade: TradeExecution) -> float:
    """Return by which fraction a trade's own size worsens what it gets, beside fee and token tax; 0 or more.

    NaN, which is above every limit, when there is no price.
    """
    pricing = trade.plan.pricing
    kept = (1 - pricing.pair_fee) * (1 - (pricing.token_tax_percent or 0.0))
    paid, fair = (pricing.mid_price, pricing.price) if trade.is_buy() else (pricing.price, pricing.mid_price)
    if not (paid > 0 and fair > 0 and kept > 0):
        return math.nan
    return max(1 - paid / (fair * kept), 0.0)


def loss_since(state: State, mark: EquityMark) -> tuple[float, float]:
    """Return the loss since a mark, USD and as a fraction; negative for a gain.

    By share price where it is known at both ends, so that deposits hide no loss and redemptions are none; frozen
    positions then count, and what a fund took as fees does not. Otherwise by total equity.
    """
    portfolio, treasury = state.portfolio, state.sync.treasury
    shares, fees = treasury.share_count or ZERO, treasury.count_fee_shares(to_naive(mark.at))
    if 2 * fees < shares:  # else nearly all was redeemed since, and what is left says little of what they were
        shares -= fees
    if mark.share_price and mark.share_count and shares:
        lost = 1 - portfolio.get_net_asset_value() / float(shares) / mark.share_price
        return lost * mark.share_price * mark.share_count, lost
    if mark.equity <= 0:
        return 0.0, 0.0
    lost_usd = mark.equity - portfolio.calculate_total_equity()
    return lost_usd, lost_usd / mark.equity


def is_dollar(asset: AssetIdentifier) -> bool:
    """Tell whether a reserve token is meant to be worth a dollar: by its symbol, which the universe's maker chose."""
    symbol = asset.token_symbol.upper()
    return "USD" in symbol or symbol in DOLLARS


def entry_value(trade: TradeExecution) -> float:
    """Return what a trade costs in USD as planned: by quantity and price or by its reserve, whichever is more."""
    planned, reserve = trade.get_planned_value(), float(trade.plan.reserve)
    return max(planned, reserve) if planned == planned else math.nan  # noqa: PLR0124 - NaN is not equal to itself


def _running_value(state: State, now: datetime) -> float:
    """Return the planned value of trades that began in the last day and did not end."""
    since, total = to_naive(now) - DAY, 0.0
    for position in state.portfolio.get_open_and_frozen_positions():
        if not position.unfinished_trade_count:
            continue
        for trade in reversed(position.trades.values()):
            if trade.decided_at < since:
                break
            if trade.started_at is not None and trade.fill is None and trade.failed_at is None:
                total += entry_value(trade)
    return total


@dataclass(slots=True)
class _Review:
    """One review in progress."""

    state: State
    trades: Sequence[TradeExecution]
    limits: TradeLimits
    past: Past
    cash: Decimal = ZERO
    turnover: float = 0.0
    _why: dict[int, str] = field(default_factory=dict)

    def run(self) -> Review:
        problem = self._find_problem()
        self.cash = self.state.portfolio.reserve.quantity
        for trade in self.trades:
            if is_exit(trade):
                self._review_exit(trade)
        for trade in self.trades:
            if not is_exit(trade):
                self._review_entry(trade, problem)
        refused = tuple(Refusal(trade, self._why[trade.trade_id]) for trade in self.trades if self._is_refused(trade))
        return Review(tuple(trade for trade in self.trades if not self._is_refused(trade)), refused, problem)

    def _is_refused(self, trade: TradeExecution) -> bool:
        return trade.trade_id in self._why

    def _review_exit(self, trade: TradeExecution) -> None:
        limits = self.limits
        reason = _too_much("max_exit_price_impact", price_impact(trade), limits.max_exit_price_impact) or _too_much(
            "max_exit_slippage_tolerance",
            trade.slippage_tolerance or 0.0,
            limits.max_exit_slippage_tolerance,
        )
        if reason:
            self._why[trade.trade_id] = reason
            return
        self.turnover += entry_value(trade)
        if trade.plan.loan is not None:
            self.cash -= trade.plan.loan.collateral_allocation
        elif trade.is_sell():
            self.cash += trade.plan.reserve

    def _review_entry(self, trade: TradeExecution, problem: TradeError | None) -> None:
        reason = str(problem) if problem is not None else next(filter(None, (c(trade) for c in self._checks())), "")
        if reason:
            self._why[trade.trade_id] = reason
            return
        self.turnover += entry_value(trade)
        self.cash -= trade.plan.allocation

    def _checks(self) -> tuple[Callable[[TradeExecution], str], ...]:
        return (self._blacklist, self._slippage, self._size, self._traded, self._affordable)

    def _blacklist(self, trade: TradeExecution) -> str:
        if self.state.is_good_pair(trade.pair):
            return ""
        listed = self.state.blacklisted_assets
        why = "; ".join(f"{a.token_symbol}: {listed[a]}" for a in (trade.pair.base, trade.pair.quote) if a in listed)
        return f"blacklist: {trade.pair.get_ticker()} has a blacklisted token ({why})"

    def _slippage(self, trade: TradeExecution) -> str:
        tolerance = trade.slippage_tolerance or 0.0
        return _too_much("max_slippage_tolerance", tolerance, self.limits.max_slippage_tolerance)

    def _size(self, trade: TradeExecution) -> str:
        limits, cost = self.limits, entry_value(trade)
        reason = _too_much("max_trade_usd", cost, limits.max_trade_usd)
        if reason or limits.max_trade_share is None:
            return reason
        equity = self.state.portfolio.calculate_total_equity()
        share = cost / equity if equity > 0 else math.inf
        return _too_much("max_trade_share", share, limits.max_trade_share)

    def _traded(self, trade: TradeExecution) -> str:
        limits, traded = self.limits, self.turnover + entry_value(trade)
        return _too_much("max_cycle_turnover_usd", traded, limits.max_cycle_turnover_usd) or _too_much(
            "max_day_turnover_usd",
            self.past.day_turnover + traded,
            limits.max_day_turnover_usd,
        )

    def _affordable(self, trade: TradeExecution) -> str:
        needed = trade.plan.allocation
        lacking = needed - self.cash
        if not needed or lacking <= abs(self.cash) * FLOAT_ROUNDING:
            return ""
        return (
            f"cash: it needs {needed} {trade.reserve_currency.token_symbol}, "
            f"with the exits and the buys before it {self.cash} are left"
        )

    def _find_problem(self) -> TradeError | None:
        """Return what is wrong with the decision as a whole, None for nothing."""
        limits, past = self.limits, self.past
        entries = [trade for trade in self.trades if not is_exit(trade)]
        if not entries:
            return None
        reserve = self.state.portfolio.reserve.asset
        in_usd = [
            item.name
            for item in fields(limits)
            if item.name.endswith("_usd") and getattr(limits, item.name) is not None
        ]
        if in_usd and not is_dollar(reserve):
            return TradeLimitExceeded(
                f"{', '.join(in_usd)}: the ledger counts in {reserve.token_symbol}, whose price in USD is not known, "
                "so these limits say nothing: give limits that are shares instead; no entry of the decision runs"
            )
        for trade in entries:
            reason = _too_much("max_price_impact", price_impact(trade), limits.max_price_impact)
            if reason:
                return PriceImpactToleranceExceeded(f"{reason} by {trade}; no entry of the decision runs")
        if limits.max_cycle_trades is not None and len(self.trades) > limits.max_cycle_trades:
            return TradeLimitExceeded(
                f"max_cycle_trades: the decision has {len(self.trades)} trades, {limits.max_cycle_trades} "
                "are allowed; no entry of it runs"
            )
        return self._find_loss(
            "max_cycle_loss", past.cycle_end, limits.max_cycle_loss_usd, limits.max_cycle_loss_share
        ) or self._find_loss("max_day_loss", past.day_start, limits.max_day_loss_usd, limits.max_day_loss_share)

    def _find_loss(
        self, name: str, mark: EquityMark | None, max_usd: float | None, max_share: float | None
    ) -> TradeError | None:
        if mark is None or (max_usd is None and max_share is None):
            return None
        usd, share = loss_since(self.state, mark)
        # At the limit entries stop; a loss that is no number stops them, too.
        is_within = (max_usd is None or usd < max_usd) and (max_share is None or share < max_share)
        if is_within:
            return None
        allowed = " or ".join(
            [
                *([f"{max_usd:,.2f} USD"] if max_usd is not None else []),
                *([f"{max_share:.2%}"] if max_share is not None else []),
            ]
        )
        return TradeLimitExceeded(
            f"{name}: {usd:,.2f} USD ({share:.2%}) were lost since {mark.at:%Y-%m-%d %H:%M:%S} UTC, entries stop "
            f"at {allowed}; exits still run"
        )


def _too_much(name: str, measured: float, limit: float | None) -> str:
    """Return why a number is above a limit, nothing when it is not; what is no number is above every limit."""
    if limit is None or measured <= limit:
        return ""
    is_share = not name.endswith("_usd")
    shown = (f"{measured:.2%}", f"{limit:.2%}") if is_share else (f"{measured:,.2f} USD", f"{limit:,.2f} USD")
    return f"{name}: {shown[0]} is above the {shown[1]} allowed"
