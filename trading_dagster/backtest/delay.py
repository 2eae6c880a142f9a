"""Trades that are filled some time after they were decided, at the open of a later candle."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from trading_dagster.backtest.plan import BacktestPlan
from trading_dagster.domain.error import BadInput, CandleSampleUnavailable
from trading_dagster.domain.event import TradeDiscarded
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.money import FLOAT_ROUNDING
from trading_dagster.domain.state import State
from trading_dagster.domain.time import from_unix_us
from trading_dagster.domain.trade import TradeExecution, TradePricing
from trading_dagster.execution.costed import CostedExecution
from trading_dagster.execution.costed_loan import is_loan_swap, requote_short
from trading_dagster.execution.simulated import SimulatedExecution
from trading_dagster.market.panel import ONE_US, CandlePanel
from trading_dagster.pricing.candle_market import CandleMarket
from trading_dagster.pricing.candle_pricing import CandlePricing
from trading_dagster.pricing.cost_model import CostModel
from trading_dagster.strategy.clock import DecisionClock

logger = logging.getLogger(__name__)


def delay_execution(
    execution: SimulatedExecution, costs: CostModel, market: CandleMarket, plan: BacktestPlan
) -> DelayedExecution | None:
    """Return the delay of a plan's trades, None without one; raises BadInput for one longer than a cycle."""
    if costs.delay is None or not isinstance(execution, CostedExecution):
        return None
    universe = plan.universe
    feed, clock = universe.stop_loss_candles, DecisionClock([int(plan.grid_us[0])])
    panels = [universe.candles] if feed is None else [feed, universe.candles]
    pricings = [market.price_on(panel, clock) for panel in panels]
    delayed = DelayedExecution(execution, clock, pricings, panels[0], costs.delay)
    delayed.require_fills_before(plan.grid_us, plan.cycle_duration.to_timedelta())
    return delayed


class DelayedExecution:
    """Keeps the trades of a decision until their time has come; one decision at a time."""

    def __init__(
        self,
        execution: CostedExecution,
        clock: DecisionClock,
        pricings: Sequence[CandlePricing],
        feed: CandlePanel,
        delay: timedelta,
    ) -> None:
        """Fill ``delay`` later.

        Args:
            execution: Fills the trades.
            clock: Stands at the fill while trades are priced.
            pricings: Prices at this clock, the finest candles first.
            feed: The candles whose opens are filled at.
            delay: How long after the decision a trade is filled at the earliest.
        """
        self._execution = execution
        self._clock = clock
        self._pricings = pricings
        self._feed = feed
        self._delay_us = delay // ONE_US
        self.waiting: list[TradeExecution] = []

    def require_fills_before(self, grid_us: npt.NDArray[np.int64], cycle: timedelta) -> None:
        """Raise BadInput when trades of a decision would not be filled by the next one."""
        late = np.array([self.due_after(int(at)) for at in grid_us]) - grid_us
        if len(late) and int(late.max()) > cycle // ONE_US:
            at = from_unix_us(int(grid_us[int(late.argmax())]))
            raise BadInput(
                f"ExecutionDelay fills the trades of {at} {timedelta(microseconds=int(late.max()))} later, after the "
                f"next decision: delay less than the cycle of {cycle}, or load finer candles than "
                f"{self._feed.bucket.value} with stop_loss_time_bucket"
            )

    def due_after(self, timestamp_us: int) -> int:
        """Return when trades decided at a time are filled, microseconds since 1970."""
        feed = self._feed
        bars = -((feed.start_us - timestamp_us - self._delay_us) // feed.width_us)
        return feed.start_us + bars * feed.width_us

    def execute_trades(
        self,
        timestamp: datetime,  # noqa: ARG002 - the port names them
        state: State,  # noqa: ARG002
        trades: Sequence[TradeExecution],
        triggered: bool = False,  # noqa: ARG002
    ) -> None:
        """Keep the trades; ``fill`` executes them."""
        self.waiting += trades

    def fill(self, state: State, due_us: int) -> None:
        """Execute the waiting trades at the prices of an instant; those without a price or the cash are dropped."""
        clock = self._clock
        clock.stand_at(due_us)
        trades, self.waiting = self.waiting, []
        self._execution.requote = self._requote
        for trade in trades:
            reason = self._refuse(trade, state.portfolio.reserve.quantity)
            if reason:
                logger.warning("%s is dropped: %s", trade, reason)
                state.record(TradeDiscarded(clock.aware, trade.trade_id, trade.position_id, reason))
            else:
                self._execution.execute_trades(clock.timestamp, state, [trade])
        self._execution.requote = None

    def _refuse(self, trade: TradeExecution, cash: Decimal) -> str:
        """Return why a trade cannot be filled now, "" when it can; sales may have brought less than planned."""
        is_swap = trade.pair.is_spot() or is_loan_swap(trade)
        if is_swap and self._pricing_of(trade.pair.get_pricing_pair()) is None:
            return f"no candle at {self._clock.timestamp} to fill it at"
        needed = trade.plan.allocation
        if needed - cash > cash * FLOAT_ROUNDING:
            return f"it takes {needed} {trade.reserve_currency.token_symbol} but cash is {cash}"
        return ""

    def _requote(self, trade: TradeExecution, amount: Decimal) -> TradePricing:
        pricing = self._pricing_of(trade.pair.get_pricing_pair())
        assert pricing is not None, "trades without a price were dropped"
        if trade.pair.is_short():
            return requote_short(trade, pricing, self._clock.timestamp, amount)
        ask = pricing.get_buy_price if trade.is_buy() else pricing.get_sell_price
        return ask(self._clock.timestamp, trade.pair, float(amount))

    def _pricing_of(self, pair: TradingPairIdentifier) -> CandlePricing | None:
        for pricing in self._pricings:
            try:
                pricing.get_mid_price(self._clock.timestamp, pair)
            except CandleSampleUnavailable:
                continue
            return pricing
        return None
