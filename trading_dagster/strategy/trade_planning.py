"""What every plan needs: the position it belongs to, its trigger levels and the event that records it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from trading_dagster.domain.error import InvalidTrade, TooSmallTrade
from trading_dagster.domain.event import PairIntroduced, PositionOpened, TradePlanned, TradeWaits, TriggersMoved
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.loan import LoanChange
from trading_dagster.domain.money import DUST
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import (
    MAX_SLIPPAGE_TOLERANCE,
    TradeExecution,
    TradeFlag,
    TradePlan,
    TradePricing,
    TradeType,
)
from trading_dagster.domain.trigger import Trigger
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.position_query import PositionQueries, PricingModel
from trading_dagster.strategy.trigger import TriggerLevels

DEFAULT_SLIPPAGE_TOLERANCE = 0.017
OPENING = frozenset({TradeFlag.open, TradeFlag.increase})
INCREASING = frozenset({TradeFlag.increase})
REDUCING = frozenset({TradeFlag.reduce})
CLOSING = frozenset({TradeFlag.close})


class TradePlanning(PositionQueries):
    """Records planned positions, trades and trigger levels at the decision time."""

    def __init__(
        self,
        timestamp: datetime | DecisionClock,
        universe: TradingStrategyUniverse,
        state: State,
        pricing_model: PricingModel,
        default_slippage_tolerance: float = DEFAULT_SLIPPAGE_TOLERANCE,
        routing_model: object = None,
        routing_state: object = None,
    ) -> None:
        """Plan at a naive UTC time, or at whatever a clock shows."""
        super().__init__(timestamp, universe, state, pricing_model)
        self.default_slippage_tolerance = _checked_slippage(default_slippage_tolerance)
        self.routing_model = routing_model
        self.routing_state = routing_state
        self._introduced: dict[int | None, TradingPairIdentifier] = {}
        self._equity_of: tuple[tuple[int, int, int], float] | None = None

    def _refuse_blacklisted(self, pair: TradingPairIdentifier) -> None:
        if not self.state.is_good_pair(pair):
            raise InvalidTrade(f"{pair.get_ticker()} is blacklisted: check is_problematic_pair() first")

    def _position_to_keep(self, pair: TradingPairIdentifier) -> TradingPosition | None:
        """Return the open position on a pair that no trade planned in this cycle closes, or None."""
        first = self._portfolio.get_open_position_for_pair(pair)
        if first is None or not is_planned_to_close(first):
            return first
        same = (p for p in self._portfolio.open_positions.values() if p.pair == pair)
        return next((p for p in same if not is_planned_to_close(p)), None)

    def _open_position(self, pair: TradingPairIdentifier, notes: str | None) -> TradingPosition:
        state, portfolio = self.state, self._portfolio
        at = self._clock.aware
        self._introduce(pair)
        position_id = portfolio.next_position_id
        state.record(PositionOpened(at, position_id, pair, self._equity_now(), notes))
        return portfolio.open_positions[position_id]

    def _introduce(self, pair: TradingPairIdentifier) -> None:
        """Name a pair in the ledger before anything refers to it."""
        if self._introduced.get(pair.internal_id) is pair:
            return
        if pair.get_identifier() not in self.state.known_pairs:
            self.state.record(PairIntroduced(self._clock.aware, pair))
        self._introduced[pair.internal_id] = pair

    def _equity_now(self) -> float:
        """Return total equity; planning moves nothing, so it is calculated once for all positions planned together."""
        portfolio = self._portfolio
        key = (self._clock.timestamp_us, portfolio.trade_count, portfolio.next_balance_update_id)
        if self._equity_of is None or self._equity_of[0] != key:
            self._equity_of = (key, portfolio.calculate_total_equity())
        return self._equity_of[1]

    def _plan(
        self,
        position: TradingPosition,
        quantity: Decimal,
        reserve: Decimal,
        pricing: TradePricing,
        flags: frozenset[TradeFlag],
        slippage_tolerance: float,
        *,
        notes: str | None,
        trade_type: TradeType = TradeType.rebalance,
        closing: bool = False,
        other_data: Mapping[str, Any] | None = None,
        loan: LoanChange | None = None,
    ) -> TradeExecution:
        for leg in pricing.path:  # the ledger refers to pairs it knows
            if leg is not position.pair:
                self._introduce(leg)
        trade_id = self._portfolio.next_trade_id
        plan = TradePlan(
            trade_id,
            position.position_id,
            position.pair,
            trade_type,
            quantity,
            reserve,
            pricing,
            position.reserve_currency,
            slippage_tolerance,
            closing,
            flags,
            notes,
            dict(other_data) if other_data else {},
            loan,
        )
        self.state.record(TradePlanned(self._clock.aware, plan))
        return position.trades[trade_id]

    def _let_wait(self, trade: TradeExecution, trigger: Trigger) -> None:
        """Let a planned trade wait for a trigger."""
        self.state.record(TradeWaits(self._clock.aware, trade.trade_id, trade.position_id, (trigger,)))

    def _slippage(self, asked: float | None) -> float:
        return self.default_slippage_tolerance if asked is None else _checked_slippage(asked)

    def _adjust_levels(self, trade: TradeExecution, asked: TriggerLevels, override_stop_loss: bool) -> None:
        position = self._portfolio.get_position_by_id(trade.position_id)
        keep_stop = asked.stop_loss is None or (position.stop_loss is not None and not override_stop_loss)
        trailing = asked.trailing_stop_loss_pct
        levels = TriggerLevels(
            stop_loss=position.stop_loss if keep_stop else asked.stop_loss,
            take_profit=position.take_profit if asked.take_profit is None else asked.take_profit,
            trailing_stop_loss_pct=position.trailing_stop_loss_pct if trailing is None else trailing,
        )
        if levels != TriggerLevels(position.stop_loss, position.take_profit, position.trailing_stop_loss_pct):
            self._set_levels(position, levels, trade.planned_mid_price)

    def _set_levels(self, position: TradingPosition, levels: TriggerLevels, mid: float) -> None:
        self.state.record(
            TriggersMoved(
                self._clock.aware,
                position.position_id,
                mid,
                levels.stop_loss,
                levels.take_profit,
                levels.trailing_stop_loss_pct,
            )
        )


def refuse_dust(pair: TradingPairIdentifier, quantity: Decimal) -> None:
    """Raise TooSmallTrade for a quantity, above 0, that counts as nothing on the pair."""
    dust = DUST.close_epsilon(pair.kind)
    if quantity <= dust:
        raise TooSmallTrade(
            f"A trade of {quantity} {pair.base.token_symbol} is not above the dust limit {dust}: skip it"
        )


def is_planned_to_close(position: TradingPosition) -> bool:
    """Tell whether the trades planned in this cycle bring the position to zero."""
    if not position.unfinished_trade_count:
        return False
    held, available = position.get_quantity(), position.get_available_trading_quantity()
    return held * available <= 0 if held else False


def _checked_slippage(tolerance: float) -> float:
    if not 0 <= tolerance < MAX_SLIPPAGE_TOLERANCE:
        raise InvalidTrade(
            f"slippage_tolerance is {tolerance}: it is a fraction from 0 to below {MAX_SLIPPAGE_TOLERANCE}, "
            "0.02 allows 2 %"
        )
    return tolerance
