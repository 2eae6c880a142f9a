"""The trigger checks of a backtest between its cycles: the stop-loss feed, walked bar by bar.

At each bar's open, as a live system that polls (sampled): per position the trailing stop moves, then at most one trade
is made, of stop loss, take profit and waiting trades in this order. With the intrabar model each candle is then looked
into: the same order between its low and its high, a level filled at the level; at its end its high, or low for a short,
moves trailing stops.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime

from trading_dagster.accounting.equity_log import EquityLog
from trading_dagster.backtest.trigger_watch import FeedColumns, Watch
from trading_dagster.domain.error import AutoClosingOrderUnsupported
from trading_dagster.domain.event import TriggersMoved
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.time import from_unix_us, to_aware
from trading_dagster.domain.trade import TradeExecution, TradeType
from trading_dagster.domain.trigger import TriggerModel
from trading_dagster.execution.loan_service import DEFAULT_LIQUIDATION_PENALTY
from trading_dagster.execution.port import ExecutionModel
from trading_dagster.pricing.candle_pricing import CandleMarks, CandlePricing
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.trigger import fired_inside, fired_trigger, trailed_stop
from trading_dagster.strategy.waiting_order import Firing, find_firing, find_firing_inside, has_fired, list_expired

SCAN_FROM_BARS = 24
"""Windows with at least this many feed bars are scanned as arrays before they are walked."""


class TriggerChecks:
    """Walks the stop-loss feed, closes positions whose trigger fires and makes the trades that waited."""

    def __init__(
        self,
        *,
        pricing: CandlePricing,
        clock: DecisionClock,
        position_manager: PositionManager,
        execution: ExecutionModel,
        marks: CandleMarks,
        equity_log: EquityLog,
        model: TriggerModel = TriggerModel.sampled,
        liquidation_penalty: float = DEFAULT_LIQUIDATION_PENALTY,
    ) -> None:
        """Check on the candles of ``pricing``; ``position_manager`` plans at ``clock`` with its prices."""
        feed = pricing.opens
        self._pricing = pricing
        self._feed = feed
        self._columns = FeedColumns(feed, model)
        self._last_bar = feed.panel.bar_count - 1
        self._is_intrabar = model is TriggerModel.intrabar
        self._clock = clock
        self._manager = position_manager
        self._execution = execution
        self._marks = marks
        self._equity_log = equity_log
        self._liquidation_penalty = liquidation_penalty
        self._state = position_manager.state
        self._portfolio = position_manager.state.portfolio
        self._watched: list[Watch] = []
        self._decided: Sequence[TradeExecution] = ()
        self._promised_cash = ZERO
        self.refresh()

    def refresh(self, decided: Sequence[TradeExecution] = ()) -> None:
        """Look again which positions have triggers or may be liquidated; call after anything changed.

        The open ones come first. Positions of trades that are decided and filled later are left out, and the cash that
        these need is kept for them.
        """
        self._decided = decided
        self._promised_cash = sum((trade.plan.allocation for trade in decided), ZERO)
        leave_out = {trade.position_id for trade in decided}
        portfolio = self._portfolio
        known = {watch.position: watch for watch in self._watched}
        watched = [
            position
            for position in portfolio.open_positions.values()
            if (position.has_trigger() or position.is_short())
            and (position in known or self._can_watch(position))
            and not (portfolio.settlements and position.is_settling())
            and position.position_id not in leave_out
        ]
        if portfolio.pending_positions:
            watched += [p for p in portfolio.pending_positions.values() if self._can_watch(p)]
        self._watched = [self._watch(position, known.get(position)) for position in watched]

    def _watch(self, position: TradingPosition, known: Watch | None) -> Watch:
        if known is None:
            return Watch(position, self._columns)
        known.refresh()
        return known

    def _can_watch(self, position: TradingPosition) -> bool:
        can_watch = self.can_watch(position.pair)
        if not can_watch and position.pending_trades:
            refuse_unwatched([position])
        return can_watch

    def can_watch(self, pair: TradingPairIdentifier) -> bool:
        """Tell whether the feed has candles of a pair."""
        return self._feed.has_pair(pair.get_pricing_pair().internal_id)

    @property
    def is_watching(self) -> bool:
        """Tell whether any position has a trigger, or a loan that may be liquidated."""
        return bool(self._watched)

    def run_window(self, cycle: int, start_us: int, end_us: int, skip_start: bool) -> bool:
        """Check every feed instant in [start, end], and with intrabar the candles that open in [start, end).

        Returns whether anything changed. ``skip_start`` leaves out the instant ``start`` itself: nothing changed since
        it was checked as the end of the window before.
        """
        feed = self._feed
        first = -((feed.start_us - start_us) // feed.width_us)
        skipped = skip_start and feed.start_us + first * feed.width_us == start_us
        if skipped and not self._is_intrabar:
            first, skipped = first + 1, False
        last = min((end_us - feed.start_us) // feed.width_us, self._last_bar + feed.tolerance_us // feed.width_us)
        first = max(first, 0)
        if last - first + 1 >= SCAN_FROM_BARS and last <= self._last_bar and not self._may_fire(first, last):
            return False
        last_inside = min((end_us - 1 - feed.start_us) // feed.width_us, self._last_bar) if self._is_intrabar else -1
        changed = False
        for bar in range(first, last + 1):
            if not (skipped and bar == first) and self._run_instant(cycle, bar):
                changed = True
            if bar <= last_inside and self._watched and self._run_inside(cycle, bar):
                changed = True
            if not self._watched:
                break
        return changed

    def _may_fire(self, first: int, last: int) -> bool:
        last_at = from_unix_us(self._instant_us(last))
        return any(watch.may_fire(first, last, last_at) for watch in self._watched)

    # -- at the open of a bar ---------------------------------------------------------------------------------------

    def _run_instant(self, cycle: int, bar: int) -> bool:
        changed = traded = False
        for watch in self._watched:
            position = watch.position
            mid = watch.opens[bar] if bar <= self._last_bar else self._mid_after_the_end(position, bar)
            if mid >= watch.liquidation_level:
                self._liquidate(position, bar, mid)
                traded = True
                continue
            if position.trailing_stop_loss_pct is not None and watch.is_open:
                level = trailed_stop(position, mid)
                if level is not None and mid == mid:  # noqa: PLR0124 - NaN is not equal to itself
                    self._move_stop(position, self._instant_us(bar), mid, level)
                    changed = True
            if position.last_fired_at is not None and has_fired(position, from_unix_us(self._instant_us(bar))):
                continue
            stop, profit = position.stop_loss, position.take_profit
            if (stop is not None and mid <= stop) or (profit is not None and mid >= profit) or watch.is_short:
                fired = fired_trigger(position, mid) if watch.is_open else None
                if fired is not None:
                    traded |= self._close(position, bar, mid, fired)
                    continue
            if watch.has_waiting and mid == mid and not position.unfinished_trade_count:  # noqa: PLR0124
                at = from_unix_us(self._instant_us(bar))
                changed |= self._expire_late(position, bar, at)
                firing = find_firing(position, at, mid)
                if firing is not None:
                    changed = True
                    traded |= self._fire(position, bar, firing)
        self._end_instant(cycle, bar, changed or traded, traded)
        return changed or traded

    def _mid_after_the_end(self, position: TradingPosition, bar: int) -> float:
        """Return the last price of a feed that ended, while it is within the tolerance, then NaN."""
        pair_id = position.pair.get_pricing_pair().internal_id or 0
        mid = self._feed.at(pair_id, self._instant_us(bar))
        return math.nan if mid is None else mid

    def _expire_late(self, position: TradingPosition, bar: int, at: datetime) -> bool:
        late = list_expired(position, at)
        for trade in late:
            self._clock.stand_at(self._instant_us(bar))
            if trade.trade_id in position.pending_trades:  # an entry takes the others with it
                self._manager.expire_waiting_trade(trade, "it did not fire in time")
        return bool(late)

    # -- inside a candle --------------------------------------------------------------------------------------------

    def _run_inside(self, cycle: int, bar: int) -> bool:
        changed = traded = False
        entered: set[int] = set()
        for watch in self._watched:
            position = watch.position
            if not watch.has_candle(bar) or not (position.is_open() or position.is_pending()):
                continue
            opened, low, high = watch.opens[bar], watch.lows[bar], watch.highs[bar]
            if watch.is_open:
                fill = fired_inside(position, opened=opened, low=low, high=high)
                if fill is not None:
                    fired, mid = fill
                    traded |= self._close(position, bar, mid, fired, level_mid=mid)
                    continue
                if high >= watch.liquidation_level:
                    self._liquidate(position, bar, max(opened, watch.liquidation_level))
                    traded = True
                    continue
            if watch.has_waiting and not position.unfinished_trade_count:
                at = from_unix_us(self._instant_us(bar))
                firing = find_firing_inside(position, at, opened=opened, low=low, high=high)
                if firing is not None:
                    changed = True
                    traded |= self._fire(position, bar, firing, level_mid=firing.mid)
                    if not watch.is_open:
                        entered.add(position.position_id)
        self._end_instant(cycle, bar, changed or traded, traded)
        return self._trail_by_extreme(bar, entered) or changed or traded

    def _trail_by_extreme(self, bar: int, entered: set[int]) -> bool:
        """Move trailing stops by the candle's high, or low for a short, when it is over; not of those it let enter."""
        moved = False
        for watch in self._watched:
            position = watch.position
            if position.trailing_stop_loss_pct is None or not watch.is_open or not watch.has_candle(bar):
                continue
            extreme = watch.lows[bar] if watch.is_short else watch.highs[bar]
            level = trailed_stop(position, extreme)
            if level is not None and position.position_id not in entered:
                self._move_stop(position, self._instant_us(bar + 1), extreme, level)
                moved = True
        return moved

    # -- trades -----------------------------------------------------------------------------------------------------

    def _end_instant(self, cycle: int, bar: int, changed: bool, traded: bool) -> None:
        if traded:
            self._equity_log.sample_instant(cycle, self._instant_us(bar), self._portfolio)
        self._marks.look_at_cycle()
        if changed:
            self.refresh(self._decided)

    def _instant_us(self, bar: int) -> int:
        return self._feed.start_us + bar * self._feed.width_us

    def _move_stop(self, position: TradingPosition, at_us: int, mid: float, level: float) -> None:
        at = to_aware(from_unix_us(at_us))
        self._state.record(
            TriggersMoved(at, position.position_id, mid, level, position.take_profit, position.trailing_stop_loss_pct)
        )

    def _liquidate(self, position: TradingPosition, bar: int, mid: float) -> None:
        """Do what the lending protocol does at once, before any trigger of ours is looked at."""
        self._stand_at(bar)
        self._execute(self._manager.liquidate(position, mid, self._liquidation_penalty))

    def _close(
        self, position: TradingPosition, bar: int, mid: float, fired: TradeType, *, level_mid: float | None = None
    ) -> bool:
        """Close a position; tells whether it was."""
        self._stand_at(bar)
        with self._pricing.at_mid(level_mid):
            trades = self._manager.close_fired(position, fired, mid)
        if trades:
            self._execute(trades)
        return bool(trades)

    def _fire(self, position: TradingPosition, bar: int, firing: Firing, *, level_mid: float | None = None) -> bool:
        """Make a waiting trade; tells whether it was made, not refused."""
        self._stand_at(bar)
        with self._pricing.at_mid(level_mid):
            cash = max(self._portfolio.reserve.quantity - self._promised_cash, ZERO)
            trades = self._manager.fire_waiting_trade(position, firing, cash)
        if trades:
            self._execute(trades)
        return bool(trades)

    def _stand_at(self, bar: int) -> None:
        self._clock.stand_at(self._instant_us(bar))
        self._marks.look_at_triggers(self._instant_us(bar))

    def _execute(self, trades: list[TradeExecution]) -> None:
        self._execution.execute_trades(self._clock.timestamp, self._state, trades, triggered=True)


def require_watched(portfolio: Portfolio) -> None:
    """Raise AutoClosingOrderUnsupported when a trade waits for a trigger that nothing can check."""
    for position in portfolio.open_positions.values():
        if position.pending_trades:
            refuse_unwatched([position])
    if portfolio.pending_positions:
        refuse_unwatched(portfolio.pending_positions.values())


def refuse_unwatched(positions: Iterable[TradingPosition]) -> None:
    """Raise AutoClosingOrderUnsupported for any position: it has a waiting trade, its pair no candles to check."""
    for position in positions:
        raise AutoClosingOrderUnsupported(
            f"{position} has trades that wait for a trigger, but {position.pair.get_ticker()} has no stop-loss "
            "candles: load them with stop_loss_time_bucket, or trade without triggers"
        )
