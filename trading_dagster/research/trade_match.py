"""Which live trade is which backtest trade, and why those without a counterpart have none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradeStatus
from trading_dagster.research.ledger_history import LedgerHistory
from trading_dagster.statistics.price_step import PriceSteps, explain_fill

TimeOf = Callable[[TradeExecution], datetime]
MidAtFill = Callable[[TradeExecution], float | None]


class Cause(Enum):
    """Why a trade has no counterpart."""

    skipped = "cycle skipped"
    no_cycle = "no cycle"
    """Nothing is recorded for the decision time: nobody was running, or it ran too late to decide."""
    frozen = "position frozen"
    dropped = "dropped"
    """Live planned it and did not execute it: a limit, an approval, or too late; the ledger's reason says which."""
    failed = "failed"
    unfinished = "unfinished"
    trigger = "trigger"
    """A stop loss or take profit fired in one world only."""
    beside = "beside the cycle"
    """No decision of the strategy: an operator's trade, a test trade or a correction."""
    earlier = "earlier difference"
    """One world held the pair and the other did not, so they could not do the same."""
    decided = "decided otherwise"


CAUSES: Mapping[TradeStatus, Cause] = {
    TradeStatus.discarded: Cause.dropped,
    TradeStatus.failed: Cause.failed,
    TradeStatus.repaired: Cause.failed,
}


class World(Enum):
    """Where a trade was made."""

    live = "live"
    backtest = "backtest"


@dataclass(frozen=True, slots=True)
class UnmatchedTrade:
    """A trade of one world that the other did not execute; ``at`` is its decision time, naive UTC."""

    world: World
    at: datetime
    trade: TradeExecution
    cause: Cause
    explanation: str


@dataclass(frozen=True, slots=True)
class MatchedTrade:
    """A trade that both worlds executed.

    Attributes:
        at: Decision time, naive UTC; of a trigger when it fired in the live ledger.
        live: The live trade.
        backtest: Its counterpart.
        difference: Live price less backtest price, in steps that sum to all of it; reserve per base token.
        knows_move: Whether move and slippage are told apart: the mid price at the fill is known, or it was simulated.
    """

    at: datetime
    live: TradeExecution
    backtest: TradeExecution
    difference: PriceSteps
    knows_move: bool

    @property
    def cost(self) -> PriceSteps:
        """Return what each step cost for the live quantity, in reserve tokens: positive where live did worse."""
        return self.difference.scaled(Fraction(_quantity(self.live)))

    @property
    def quantity_difference(self) -> Decimal:
        """Return live less backtest quantity; signed as quantities are."""
        return _quantity(self.live) - _quantity(self.backtest)

    @property
    def reserve_difference(self) -> Decimal:
        """Return live less backtest reserve."""
        return _reserve(self.live) - _reserve(self.backtest)

    @property
    def delay(self) -> timedelta:
        """Return how much later than the backtest live executed."""
        return _executed_at(self.live) - _executed_at(self.backtest)


@dataclass(frozen=True, slots=True)
class TradeMatch:
    """The trades of a live ledger and a backtest, put side by side; each in order of time."""

    matched: tuple[MatchedTrade, ...]
    unmatched: tuple[UnmatchedTrade, ...]


def match_trades(
    live: LedgerHistory, backtest: State, cycle: timedelta, mid_at_fill: MidAtFill | None = None
) -> TradeMatch:
    """Put trades of the same decision time, pair and side side by side.

    A trigger fires when somebody looks, so triggered trades match those of the same pair and side whose trigger fired
    at most one cycle earlier or later.

    Args:
        live: The live ledger.
        backtest: The final state of the backtest.
        cycle: The time between decisions.
        mid_at_fill: Returns the mid price right before a live trade's fill, reserve per base token, None for unknown.
    """
    return _Matcher(live, backtest, cycle, mid_at_fill).run()


@dataclass(slots=True)
class _Matcher:
    live: LedgerHistory
    backtest: State
    cycle: timedelta
    mid_at_fill: MidAtFill | None

    def run(self) -> TradeMatch:
        first, last = self.live.first_decision_at, self.live.last_decision_at + self.cycle
        lives = [trade for trade in self.live.trades if first <= self.live.time_of(trade) <= last]
        tests = [trade for trade in self.backtest.portfolio.get_all_trades() if first <= _opened_at(trade) <= last]
        couples, live_only, test_only = _couple(lives, tests, self.live.time_of, self.cycle)
        matched: list[MatchedTrade] = []
        unmatched: list[UnmatchedTrade] = []
        for one, other in couples:
            if one.is_success():
                matched.append(self._explain(one, other))
            else:
                at = self.live.time_of(one)
                unmatched.append(UnmatchedTrade(World.backtest, at, other, *_why_not_executed(one)))
        unmatched += [self._why_not_live(trade) for trade in test_only]
        unmatched += [self._why_not_in_backtest(trade) for trade in live_only]
        unmatched.sort(key=lambda each: (each.at, each.world.value, each.trade.trade_id))
        return TradeMatch(tuple(sorted(matched, key=lambda each: (each.at, each.live.trade_id))), tuple(unmatched))

    def _explain(self, live: TradeExecution, backtest: TradeExecution) -> MatchedTrade:
        is_simulated = live.fill is None or live.fill.block_number is None
        mid = None if self.mid_at_fill is None or is_simulated else self.mid_at_fill(live)
        difference = explain_fill(live, mid) - explain_fill(backtest)
        return MatchedTrade(self.live.time_of(live), live, backtest, difference, is_simulated or mid is not None)

    def _why_not_live(self, trade: TradeExecution) -> UnmatchedTrade:
        live, at = self.live, trade.opened_at
        frozen = live.find_frozen(trade.pair, at)
        is_triggered = _is_triggered(trade)
        skipped = None if is_triggered else live.why_skipped(at)
        if skipped is not None:
            cause, text = Cause.skipped, skipped
        elif not is_triggered and at not in live.decisions:
            cause, text = Cause.no_cycle, "the ledger has no decision for this time"
        elif frozen is not None:
            cause, text = Cause.frozen, f"since {frozen.since}: {frozen.reason}"
        else:
            cause, text = self._compare_holdings(trade, at, World.live)
        return UnmatchedTrade(World.backtest, at, trade, cause, text)

    def _why_not_in_backtest(self, trade: TradeExecution) -> UnmatchedTrade:
        at = self.live.time_of(trade)
        if trade.trade_id not in self.live.decision_of and not _is_triggered(trade):
            what = trade.trade_type.value if trade.notes is None else f"{trade.trade_type.value}: {trade.notes}"
            cause, text = Cause.beside, "test trade" if trade.is_test() else what
        else:
            cause, text = self._compare_holdings(trade, at, World.backtest)
        if not trade.is_success():
            text = f"{text}; live did not execute it either: {_why_not_executed(trade)[1]}"
        return UnmatchedTrade(World.live, at, trade, cause, text)

    def _compare_holdings(self, trade: TradeExecution, at: datetime, other: World) -> tuple[Cause, str]:
        """Say why a world that could have made a trade did not, from what each held before."""
        holds = {
            World.live: is_held(self.live.state, trade.pair, at, self.live.time_of),
            World.backtest: is_held(self.backtest, trade.pair, at, _opened_at),
        }
        if holds[World.live] is not holds[World.backtest]:
            holder = World.live if holds[World.live] else World.backtest
            return Cause.earlier, f"only {holder.value} held {trade.pair.base.token_symbol} before"
        if _is_triggered(trade):
            return Cause.trigger, f"the {trade.trade_type.value} of the {other.value} position did not fire"
        return Cause.decided, f"{other.value} decided otherwise"


def is_held(state: State, pair: TradingPairIdentifier, before: datetime, time_of: TimeOf) -> bool:
    """Tell whether a position on a pair was open because of trades decided before a time."""
    positions = state.portfolio.get_all_positions()
    return any(position.pair == pair and _is_open(position, before, time_of) for position in positions)


def _is_open(position: TradingPosition, before: datetime, time_of: TimeOf) -> bool:
    executed = [trade for trade in position.trades.values() if trade.is_success()]
    if not any(time_of(trade) < before for trade in executed):
        return False
    return position.closed_at is None or time_of(executed[-1]) >= before


def _couple(
    lives: Sequence[TradeExecution], tests: Sequence[TradeExecution], time_of: TimeOf, cycle: timedelta
) -> tuple[list[tuple[TradeExecution, TradeExecution]], list[TradeExecution], list[TradeExecution]]:
    """Return couples, and the live and backtest trades that are left over."""
    waiting: dict[tuple[TradingPairIdentifier, bool, datetime | None], list[TradeExecution]] = defaultdict(list)
    for trade in tests:
        waiting[_key(trade, _opened_at)].append(trade)
    couples: list[tuple[TradeExecution, TradeExecution]] = []
    live_only: list[TradeExecution] = []
    for trade in sorted(lives, key=lambda t: (not t.is_success(), time_of(t), t.trade_id)):
        candidates = waiting.get(_key(trade, time_of), [])
        other = _nearest(candidates, time_of(trade), cycle)
        if other is None or trade.is_test():
            live_only.append(trade)
        else:
            candidates.remove(other)
            couples.append((trade, other))
    return couples, live_only, [trade for left in waiting.values() for trade in left]


def _nearest(candidates: Iterable[TradeExecution], at: datetime, cycle: timedelta) -> TradeExecution | None:
    near = [trade for trade in candidates if abs(trade.opened_at - at) <= cycle]
    return min(near, key=lambda trade: (abs(trade.opened_at - at), trade.trade_id), default=None)


def _key(trade: TradeExecution, time_of: TimeOf) -> tuple[TradingPairIdentifier, bool, datetime | None]:
    return (trade.pair, trade.is_buy(), None if _is_triggered(trade) else time_of(trade))


def _is_triggered(trade: TradeExecution) -> bool:
    return TradeFlag.triggered in trade.flags


def _why_not_executed(trade: TradeExecution) -> tuple[Cause, str]:
    status = trade.get_status()
    return CAUSES.get(status, Cause.unfinished), trade.failure or f"trade #{trade.trade_id} is {status.value}"


def _opened_at(trade: TradeExecution) -> datetime:
    return trade.opened_at


def _quantity(trade: TradeExecution) -> Decimal:
    return trade.executed_quantity or ZERO


def _reserve(trade: TradeExecution) -> Decimal:
    return trade.executed_reserve or ZERO


def _executed_at(trade: TradeExecution) -> datetime:
    return trade.executed_at or trade.opened_at
