"""The portfolio: open and closed positions, the reserve and its equity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from operator import attrgetter

from trading_dagster.domain.archive import ArchivedPositions
from trading_dagster.domain.error import IntegrityError
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.position import Marks, TradingPosition
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.treasury import ReservePosition


class StoredMarks:
    """Prices taken earlier, by pair: what a state shows when no market data is at hand."""

    def __init__(self) -> None:
        """Begin without prices."""
        self.prices: dict[TradingPairIdentifier, float] = {}

    def price_of(self, pair: TradingPairIdentifier) -> float | None:
        """Return the stored price of a pair."""
        return self.prices.get(pair)

    def priced_at(self) -> None:
        """Return None: the time was not stored."""


class Portfolio:
    """What the strategy owns; changed only by State."""

    __slots__ = (
        "_open_by_pair", "closed_positions", "dust", "expired_positions", "frozen_positions", "loan_positions", "marks",
        "next_balance_update_id", "next_position_id", "next_trade_id", "open_positions", "pending_positions", "reserve",
        "settlements", "trade_count",
    )  # fmt: skip

    def __init__(self, reserve_asset: AssetIdentifier, marks: Marks | None = None) -> None:
        """Begin with no positions and no cash."""
        self.marks: Marks = marks or StoredMarks()
        self.reserve = ReservePosition(reserve_asset)
        self.next_position_id = 1
        self.next_trade_id = 1
        self.next_balance_update_id = 1
        self.trade_count = 0
        self.settlements: dict[int, int] = {}
        """Trades that a vault settles later, with their positions."""
        self.dust: dict[AssetIdentifier, Decimal] = {}
        self.open_positions: dict[int, TradingPosition] = {}
        self.pending_positions: dict[int, TradingPosition] = {}
        self.frozen_positions: dict[int, TradingPosition] = {}
        self.closed_positions: dict[int, TradingPosition] | ArchivedPositions = {}
        self.expired_positions: dict[int, TradingPosition] | ArchivedPositions = {}
        self.loan_positions: dict[int, TradingPosition] = {}
        """Open and frozen positions that earn or owe interest."""
        self._open_by_pair: dict[TradingPairIdentifier, list[TradingPosition]] = {}
        """Open positions in the order they became open; no pair without one."""

    # -- cash and equity ------------------------------------------------------------------------------------------

    @property
    def reserves(self) -> dict[str, ReservePosition]:
        """Return the one reserve by asset identifier."""
        return {self.reserve.asset.get_identifier(): self.reserve}

    def get_cash(self) -> float:
        """Return cash in USD."""
        return float(self.reserve.quantity) * self.reserve.reserve_token_price

    def get_current_cash(self) -> float:
        """Return cash in USD."""
        return self.get_cash()

    def get_default_reserve_position(self) -> ReservePosition:
        """Return the one reserve."""
        return self.reserve

    def get_default_reserve_asset(self) -> tuple[AssetIdentifier, float]:
        """Return the reserve token and its USD price."""
        return self.reserve.asset, self.reserve.reserve_token_price

    def get_initial_cash(self) -> float:
        """Return the first deposit in USD, 0 before it."""
        reserve = self.reserve
        if reserve.initial_deposit is None:
            return 0.0
        return float(reserve.initial_deposit) * (reserve.initial_deposit_reserve_token_price or 1.0)

    def get_position_equity_and_loan_nav(self) -> float:
        """Return the USD value of open positions without cash."""
        return sum(p.get_value() for p in self.open_positions.values())

    def calculate_total_equity(self) -> float:
        """Return USD of open positions and cash; frozen positions do not count."""
        total = self.get_cash()
        for position in self.open_positions.values():
            total += position.get_value()
        return total

    def get_total_equity(self) -> float:
        """Return USD of open positions and cash; frozen positions do not count."""
        return self.calculate_total_equity()

    def get_net_asset_value(self) -> float:
        """Return total equity plus the value of frozen positions."""
        return self.calculate_total_equity() + self.get_frozen_position_equity()

    def get_frozen_position_equity(self) -> float:
        """Return the USD value of frozen positions."""
        return sum(p.get_value() for p in self.frozen_positions.values())

    def get_settling_trades(self) -> list[TradeExecution]:
        """Return the trades that wait for their vaults, the oldest request first."""
        return [self.get_position_by_id(key).trades[trade_id] for trade_id, key in self.settlements.items()]

    def get_reserve_at_vaults(self) -> Decimal:
        """Return reserve tokens that vaults took for shares they did not give yet."""
        return sum((trade.reserve_currency_allocated for trade in self.get_settling_trades()), ZERO)

    def get_reserve_settling(self) -> Decimal:
        """Return reserve tokens in the wallet that are no cash yet: of orders that vaults settled in part."""
        trades = (trade for trade in self.get_settling_trades() if trade.settlement_move is not None)
        moves = ((trade.reserve_currency_allocated, trade.settlement_move) for trade in trades)
        return sum((allocated + move.reserve for allocated, move in moves if move is not None), ZERO)

    def get_pending_settlement_value(self) -> float:
        """Return USD that vaults took for shares they did not give yet."""
        return float(self.get_reserve_at_vaults()) * self.reserve.reserve_token_price

    # -- positions and trades -------------------------------------------------------------------------------------

    def get_open_position_for_pair(self, pair: TradingPairIdentifier) -> TradingPosition | None:
        """Return the open position on a pair, the oldest of several, or None."""
        positions = self._open_by_pair.get(pair)
        return None if positions is None else positions[0]

    def count_open_positions(self, pair: TradingPairIdentifier) -> int:
        """Return how many positions are open on a pair."""
        return len(self._open_by_pair.get(pair, ()))

    def get_open_and_frozen_positions(self) -> Iterator[TradingPosition]:
        """Yield open, then frozen positions."""
        yield from self.open_positions.values()
        yield from self.frozen_positions.values()

    def get_open_positions(self) -> list[TradingPosition]:
        """Return the open positions, oldest first."""
        return list(self.open_positions.values())

    def get_all_positions(self, pending: bool = False) -> Iterator[TradingPosition]:
        """Yield every position: open, frozen, closed, and pending if asked."""
        yield from self.open_positions.values()
        yield from self.frozen_positions.values()
        yield from self.closed_positions.values()
        if pending:
            yield from self.pending_positions.values()

    def get_closed_positions_for_pair(self, pair: TradingPairIdentifier) -> list[TradingPosition]:
        """Return the closed positions on a pair, in order of closing."""
        closed = self.closed_positions
        if isinstance(closed, ArchivedPositions):
            return closed.get_of_pair(pair)
        return [p for p in closed.values() if p.pair == pair]

    def get_last_closed_position(self) -> TradingPosition | None:
        """Return the position closed last, the largest id of equals, or None."""
        closed = self.closed_positions
        candidates: Iterable[TradingPosition] = (
            closed.get_newest_candidates() if isinstance(closed, ArchivedPositions) else closed.values()
        )
        return max(candidates, key=lambda p: (p.closed_at or datetime.min, p.position_id), default=None)  # noqa: DTZ901

    def has_archive(self) -> bool:
        """Tell whether ended positions are fetched on demand."""
        return isinstance(self.closed_positions, ArchivedPositions)

    def get_positions_in_memory(self) -> list[TradingPosition]:
        """Return every position except those that nobody fetched from the archive."""
        positions = [*self.get_open_and_frozen_positions(), *self.pending_positions.values()]
        for ended in (self.closed_positions, self.expired_positions):
            positions += ended.get_in_memory() if isinstance(ended, ArchivedPositions) else ended.values()
        return positions

    def get_all_trades(self) -> list[TradeExecution]:
        """Return every trade of every position, by id."""
        trades = [t for p in self.get_all_positions(pending=True) for t in p.trades.values()]
        return sorted(trades, key=attrgetter("plan.trade_id"))

    def get_position_by_id(self, position_id: int) -> TradingPosition:
        """Return a position wherever it is; raises IntegrityError when there is none."""
        for positions in (
            self.open_positions,
            self.pending_positions,
            self.frozen_positions,
            self.closed_positions,
            self.expired_positions,
        ):
            if position_id in positions:
                return positions[position_id]
        raise IntegrityError(f"There is no position #{position_id}")

    def get_first_and_last_executed_trade(self) -> tuple[TradeExecution | None, TradeExecution | None]:
        """Return the executed trades with the earliest and the latest execution time."""
        executed = [t for t in self.get_all_trades() if t.executed_at is not None]
        if not executed:
            return None, None
        executed.sort(key=lambda t: (t.executed_at, t.trade_id))
        return executed[0], executed[-1]

    # -- folding --------------------------------------------------------------------------------------------------

    def add_cash(self, quantity: Decimal) -> None:
        """Change cash by a signed number of reserve tokens; only State calls this."""
        cash = self.reserve.quantity + quantity
        if cash < ZERO:
            raise IntegrityError(
                f"Cash would become {cash} {self.reserve.asset.token_symbol} after adding {quantity}: "
                "the ledger takes out more than there is"
            )
        self.reserve.quantity = cash

    def keep_dust(self, asset: AssetIdentifier, quantity: Decimal) -> None:
        """Remember what is left behind, too little to be a position; below 0 it is used up; only State calls this."""
        if not quantity:
            return
        total = self.dust.get(asset, ZERO) + quantity
        if total:
            self.dust[asset] = total
        else:
            self.dust.pop(asset, None)

    def add_open(self, position: TradingPosition) -> None:
        """Put a position among the open ones; only State calls this."""
        self.open_positions[position.position_id] = position
        if position.pair.has_loan:
            self.loan_positions[position.position_id] = position
        self._open_by_pair.setdefault(position.pair, []).append(position)

    def remove_open(self, position: TradingPosition) -> None:
        """Take a position from the open ones; only State calls this."""
        del self.open_positions[position.position_id]
        positions = self._open_by_pair[position.pair]
        positions.remove(position)
        if not positions:
            del self._open_by_pair[position.pair]
