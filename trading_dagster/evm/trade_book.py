"""Records the ends of trades that did not do what was planned, and tells the operator."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from trading_dagster.domain.event import PositionFrozen, TradeDiscarded, TradeFailed
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.transaction import Account
from trading_dagster.evm.alarm import Alarm, AlarmKind, AlarmSink

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TradeBook:
    """Writes for one account; ``now`` is aware UTC."""

    account: Account
    now: Callable[[], datetime]
    alarm: AlarmSink

    def fail(self, state: State, trade: TradeExecution, reason: str) -> None:
        """End a trade that failed, and put its position aside."""
        logger.warning("%s failed: %s", trade, reason)
        state.record(TradeFailed(self.now(), trade.trade_id, trade.position_id, reason))
        self.freeze(state, trade, f"trade #{trade.trade_id} failed: {reason}")

    def freeze(self, state: State, trade: TradeExecution, reason: str) -> None:
        """Put a trade's position aside, if it is open."""
        if trade.position_id in state.portfolio.open_positions:
            state.record(PositionFrozen(self.now(), trade.position_id, reason))

    def discard(self, state: State, trade: TradeExecution, reason: str) -> bool:
        """Drop a trade that never began on the chain; returns False, for it did not begin."""
        logger.warning("%s is dropped: %s", trade, reason)
        state.record(TradeDiscarded(self.now(), trade.trade_id, trade.position_id, reason))
        return False

    def tell(self, kind: AlarmKind, text: str) -> None:
        """Raise an alarm."""
        self.alarm(Alarm(kind, self.account, text))
