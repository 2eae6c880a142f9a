"""Records the ends of trades that did not do what was planned, and tells the operator."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.event import PositionFrozen, TradeDiscarded, TradeExecuted, TradeFailed
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution, TradeType
from trading_dagster.domain.transaction import Account, Outcome
from trading_dagster.evm.alarm import Alarm, AlarmKind, AlarmSink
from trading_dagster.evm.native_price import NativePrice, no_price
from trading_dagster.evm.swap_intent import SwapFill, total_gas_cost

logger = logging.getLogger(__name__)

MAY_BE_SENT = "it may have been sent"
FIRED = (TradeType.stop_loss, TradeType.take_profit)
"""What a trigger check makes, again and again while the price is beyond the level."""
NO_EFFECT = "without effect, "
FIRED_TRIES = 5
"""How often in a row an exit that a trigger fired may be refused before its position is put aside."""


@dataclass(frozen=True, slots=True)
class TradeBook:
    """Writes for one account; ``now`` is aware UTC, ``native_price`` in reserve."""

    account: Account
    now: Callable[[], datetime]
    alarm: AlarmSink
    native_price: NativePrice = no_price

    def value_gas(self, state: State, gas_cost: Decimal) -> float | None:
        """Return what native tokens are worth, USD; None where that is not known."""
        price = self.native_price()
        return None if price is None else float(gas_cost) * price * state.portfolio.reserve.reserve_token_price

    def fill(
        self,
        state: State,
        trade: TradeExecution,
        fill: SwapFill,
        outcome: Outcome,
        records: Iterable[object],
    ) -> None:
        """End a trade that did what was planned; ``records`` are the intents that cost gas for it."""
        fee = trade.fee_tier
        gross = float(fill.reserve) if trade.is_buy() else float(fill.reserve) / (1 - fee)
        gas_cost = total_gas_cost(records)
        state.record(
            TradeExecuted(
                self.now(),
                trade.trade_id,
                trade.position_id,
                fill.quantity,
                fill.reserve,
                fill.price,
                gross * fee,
                outcome.tx_hash,
                outcome.block_number,
                gas_cost,
                gas_usd=self.value_gas(state, gas_cost),
            )
        )

    def fail(self, state: State, trade: TradeExecution, reason: str) -> None:
        """End a trade that failed, and put its position aside."""
        logger.warning("%s failed: %s", trade, reason)
        state.record(TradeFailed(self.now(), trade.trade_id, trade.position_id, reason))
        self.freeze(state, trade, f"trade #{trade.trade_id} failed: {reason}")

    def refuse(self, state: State, trade: TradeExecution, reason: str) -> None:
        """End a trade that had no effect, for a reason that may pass: never signed, or all of it taken back.

        An exit that a trigger fired is dropped, so that the next trigger check tries it at the price of then: put
        aside, its position would have no stop loss from now on. Any other trade fails, and so does such an exit once
        it was refused ``FIRED_TRIES`` times in a row: then somebody has to look.
        """
        tries = _count_refused(state.portfolio.get_position_by_id(trade.position_id)) + 1
        if _will_fire_again(trade) and tries < FIRED_TRIES:
            self.discard(state, trade, f"{NO_EFFECT}try {tries} of {FIRED_TRIES}: {reason}")
        else:
            self.fail(state, trade, reason)

    def lose(self, state: State, trade: TradeExecution, reason: str) -> None:
        """End a trade of which nobody knows whether it was sent, as its journal was lost: sent now, it could be twice.

        Its position is put aside; ``reason`` says what the journal lacks.
        """
        text = (
            f"{MAY_BE_SENT}, and is not sent again: {reason}. Bring the journal's file back, or look at the wallet in "
            "an explorer, release the position by force, and correct the accounts"
        )
        self.fail(state, trade, text)
        self.tell(AlarmKind.trade_unfinished, f"{trade}: {text}")

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


def is_lost(trade: TradeExecution) -> bool:
    """Tell whether a trade failed because nobody knows whether it was sent."""
    return trade.failure is not None and trade.failure.startswith(MAY_BE_SENT)


def _will_fire_again(trade: TradeExecution) -> bool:
    """Tell whether the next trigger check makes a trade like this one; what waited for its price fires once."""
    return trade.trade_type in FIRED and trade.activated_trigger is None


def _count_refused(position: TradingPosition) -> int:
    """Return how many exits were refused since the position's last trade that did or tried something on the chain."""
    count = 0
    for trade in sorted(position.trades.values(), key=lambda trade: -trade.trade_id):
        if trade.fill is not None or trade.failed_at is not None:
            break
        count += trade.discarded_at is not None and (trade.failure or "").startswith(NO_EFFECT)
    return count
