"""The trigger checks of a backtest between its cycles: the stop-loss feed, walked bar by bar."""

from __future__ import annotations

import math

import numpy as np

from trading_dagster.accounting.equity_log import EquityLog
from trading_dagster.domain.event import TriggersMoved
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.time import from_unix_us, to_aware
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradeType
from trading_dagster.execution.port import ExecutionModel
from trading_dagster.pricing.candle_pricing import CandleMarks, PriceColumns
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.trigger import fired_trigger, trailed_stop

SCAN_FROM_BARS = 24
"""Windows with at least this many feed bars are scanned as arrays before they are walked."""

TRIGGERED = frozenset({TradeFlag.triggered})


class TriggerChecks:
    """Samples the stop-loss feed at its bars' opens and closes positions whose trigger fires."""

    def __init__(
        self,
        *,
        feed: PriceColumns,
        clock: DecisionClock,
        position_manager: PositionManager,
        execution: ExecutionModel,
        marks: CandleMarks,
        equity_log: EquityLog,
    ) -> None:
        """Check on ``feed``; ``position_manager`` plans at ``clock`` with prices of the feed."""
        self._feed = feed
        self._last_bar = feed.panel.bar_count - 1
        self._clock = clock
        self._manager = position_manager
        self._execution = execution
        self._marks = marks
        self._equity_log = equity_log
        self._state = position_manager.state
        self._portfolio = position_manager.state.portfolio
        self._watched: list[tuple[TradingPosition, memoryview, bool]] = []
        self.refresh()

    def refresh(self) -> None:
        """Look again which open positions have triggers; call after anything changed."""
        feed = self._feed
        self._watched = [
            (position, feed.view(position.pair.get_pricing_pair().internal_id or 0), position.is_short())
            for position in self._portfolio.open_positions.values()
            if position.has_trigger() and self.can_watch(position.pair) and not position.is_settling()
        ]

    def can_watch(self, pair: TradingPairIdentifier) -> bool:
        """Tell whether the feed has candles of a pair."""
        return self._feed.has_pair(pair.get_pricing_pair().internal_id)

    @property
    def is_watching(self) -> bool:
        """Tell whether any open position has a trigger."""
        return bool(self._watched)

    def run_window(self, cycle: int, start_us: int, end_us: int, skip_start: bool) -> bool:
        """Check every feed instant in [start, end]; returns whether anything changed.

        ``skip_start`` leaves out the instant ``start`` itself: nothing changed since it was checked as the end of
        the window before.
        """
        feed = self._feed
        first = -((feed.start_us - start_us) // feed.width_us)
        if skip_start and feed.start_us + first * feed.width_us == start_us:
            first += 1
        last = min((end_us - feed.start_us) // feed.width_us, self._last_bar + feed.tolerance_us // feed.width_us)
        first = max(first, 0)
        if last - first + 1 >= SCAN_FROM_BARS and last <= self._last_bar and not self._may_fire(first, last):
            return False
        changed = False
        for bar in range(first, last + 1):
            if self._run_instant(cycle, bar):
                changed = True
                if not self._watched:
                    break
        return changed

    def _may_fire(self, first: int, last: int) -> bool:
        for position, view, is_short in self._watched:
            prices = np.asarray(view)[first : last + 1]
            if _fires_at(position, float(np.fmin.reduce(prices))):
                return True
            is_stop_only = position.take_profit is None and position.trailing_stop_loss_pct is None
            if (is_short or not is_stop_only) and _fires_at(position, float(np.fmax.reduce(prices))):
                return True
        return False

    def _run_instant(self, cycle: int, bar: int) -> bool:
        changed = traded = False
        for position, view, is_short in self._watched:
            mid = view[bar] if bar <= self._last_bar else self._mid_after_the_end(position, bar)
            if position.trailing_stop_loss_pct is not None:
                level = trailed_stop(position, mid)
                if level is not None and mid == mid:  # noqa: PLR0124 - NaN is not equal to itself
                    self._move_stop(position, bar, mid, level)
                    changed = True
            stop, profit = position.stop_loss, position.take_profit
            if (stop is not None and mid <= stop) or (profit is not None and mid >= profit) or is_short:
                fired = fired_trigger(position, mid)
                if fired is not None:
                    self._close(position, bar, mid, fired)
                    traded = True
        if traded:
            self._equity_log.sample_instant(cycle, self._instant_us(bar), self._portfolio)
            self._marks.look_at_cycle()
            self.refresh()
        return changed or traded

    def _mid_after_the_end(self, position: TradingPosition, bar: int) -> float:
        """Return the last price of a feed that ended, while it is within the tolerance, then NaN."""
        pair_id = position.pair.get_pricing_pair().internal_id or 0
        mid = self._feed.at(pair_id, self._instant_us(bar))
        return math.nan if mid is None else mid

    def _instant_us(self, bar: int) -> int:
        return self._feed.start_us + bar * self._feed.width_us

    def _move_stop(self, position: TradingPosition, bar: int, mid: float, level: float) -> None:
        at = to_aware(from_unix_us(self._instant_us(bar)))
        self._state.record(
            TriggersMoved(at, position.position_id, mid, level, position.take_profit, position.trailing_stop_loss_pct)
        )

    def _close(self, position: TradingPosition, bar: int, mid: float, fired: TradeType) -> None:
        level = position.stop_loss if fired is TradeType.stop_loss else position.take_profit
        self._clock.stand_at(self._instant_us(bar))
        self._marks.look_at_triggers(self._instant_us(bar))
        trades: list[TradeExecution] = self._manager.close_position(
            position, trade_type=fired, notes=f"{fired.value} at level {level}, mid {mid}", flags=TRIGGERED
        )
        self._execution.execute_trades(self._clock.timestamp, self._state, trades, triggered=True)


def _fires_at(position: TradingPosition, mid: float) -> bool:
    """Tell whether a mid price would close a position or move its trailing stop."""
    return fired_trigger(position, mid) is not None or trailed_stop(position, mid) is not None
