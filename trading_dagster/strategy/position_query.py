"""What a decision may ask about its portfolio: cash, open and closed positions, pairs and fees."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from numbers import Integral
from typing import Protocol, runtime_checkable

from trading_dagster.domain.error import FeeMissing, InvalidTrade, NoSingleOpenPositionException
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import require_naive_utc, to_unix_us
from trading_dagster.domain.trade import TradePricing
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.clock import DecisionClock


class PricingModel(Protocol):
    """What plans need to know about prices; times are naive UTC, prices reserve per base token."""

    def get_mid_price(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        """Return the price without fee."""
        ...

    def get_buy_price(self, timestamp: datetime, pair: TradingPairIdentifier, reserve: float) -> TradePricing:
        """Return the price of buying for ``reserve`` USD."""
        ...

    def get_sell_price(self, timestamp: datetime, pair: TradingPairIdentifier, quantity: float) -> TradePricing:
        """Return the price of selling ``quantity`` tokens."""
        ...

    def get_pair_fee(self, timestamp: datetime, pair: TradingPairIdentifier, direction: str = "buy") -> float | None:
        """Return the fee as a fraction."""
        ...

    def get_max_deposit(self, timestamp: datetime, pair: TradingPairIdentifier) -> float | None:
        """Return the most USD a vault takes; 0 is closed, None no known limit, as for every other pair."""
        ...

    def get_max_redemption(self, timestamp: datetime, pair: TradingPairIdentifier) -> float | None:
        """Return the most USD a vault gives back; 0 is closed, None no known limit, as for every other pair."""
        ...


@runtime_checkable
class GasModel(Protocol):
    """A pricing model that knows gas which is paid with cash; on a chain it is paid with the native token."""

    def get_gas_usd(self) -> float:
        """Return what gas takes of cash in each trade, USD."""
        ...


@runtime_checkable
class ImpactModel(Protocol):
    """A pricing model that tells what the size of a trade alone does to its price."""

    def get_price_impact(self, timestamp: datetime, pair: TradingPairIdentifier, value: float) -> float:
        """Return a fraction i for a trade worth ``value`` USD: a buy pays x (1 + i), a sell gets ÷ (1 + i)."""
        ...


class PositionQueries:
    """Answers questions at the decision time; PositionManager adds the actions."""

    def __init__(
        self,
        timestamp: datetime | DecisionClock,
        universe: TradingStrategyUniverse,
        state: State,
        pricing_model: PricingModel,
    ) -> None:
        """Answer at a naive UTC time, or at whatever a clock shows."""
        self._clock = (
            timestamp
            if isinstance(timestamp, DecisionClock)
            else DecisionClock([to_unix_us(require_naive_utc(timestamp))])
        )
        self.strategy_universe = universe
        self.state = state
        self.pricing_model = pricing_model
        self._portfolio = state.portfolio

    @property
    def timestamp(self) -> datetime:
        """Return the decision time, naive UTC."""
        return self._clock.timestamp

    @property
    def universe(self) -> TradingStrategyUniverse:
        """Return the universe."""
        return self.strategy_universe

    def get_current_portfolio(self) -> Portfolio:
        """Return the portfolio."""
        return self._portfolio

    def get_current_cash(self) -> float:
        """Return cash in USD."""
        return self._portfolio.get_cash()

    def is_any_open(self) -> bool:
        """Tell whether a position is open."""
        return bool(self._portfolio.open_positions)

    def is_any_long_position_open(self) -> bool:
        """Tell whether a long position is open."""
        return any(p.is_long() for p in self._portfolio.open_positions.values())

    def is_any_short_position_open(self) -> bool:
        """Tell whether a short position is open."""
        return any(p.is_short() for p in self._portfolio.open_positions.values())

    def is_any_credit_supply_position_open(self) -> bool:
        """Tell whether a credit supply position is open."""
        return any(p.is_credit_supply() for p in self._portfolio.open_positions.values())

    def get_current_position(self) -> TradingPosition:
        """Return the one open position; raises NoSingleOpenPositionException."""
        return self._single(self._portfolio.open_positions.values(), "open")

    def get_current_long_position(self) -> TradingPosition:
        """Return the one open long position; raises NoSingleOpenPositionException."""
        return self._single((p for p in self._portfolio.open_positions.values() if p.is_long()), "open long")

    def get_current_short_position(self) -> TradingPosition:
        """Return the one open short position; raises NoSingleOpenPositionException."""
        return self._single((p for p in self._portfolio.open_positions.values() if p.is_short()), "open short")

    def get_current_credit_supply_position(self) -> TradingPosition:
        """Return the one open credit supply position; raises NoSingleOpenPositionException."""
        credit = (p for p in self._portfolio.open_positions.values() if p.is_credit_supply())
        return self._single(credit, "open credit supply")

    def get_current_position_for_pair(
        self, pair: TradingPairIdentifier | HumanReadableTradingPairDescription, pending: bool = False
    ) -> TradingPosition | None:
        """Return the open position on a pair, or a pending one if asked, or None."""
        pair = self.get_trading_pair(pair)
        position = self._portfolio.get_open_position_for_pair(pair)
        if position is None and pending:
            return next((p for p in self._portfolio.pending_positions.values() if p.pair == pair), None)
        return position

    def get_closed_positions_for_pair(
        self, pair: TradingPairIdentifier | HumanReadableTradingPairDescription, include_test_position: bool = False
    ) -> list[TradingPosition]:
        """Return the closed positions on a pair, oldest first."""
        pair = self.get_trading_pair(pair)
        closed = self._portfolio.get_closed_positions_for_pair(pair)
        return [p for p in closed if include_test_position or not p.is_test()]

    def get_last_closed_position(self) -> TradingPosition | None:
        """Return the position closed last, the largest id of equals, or None."""
        return self._portfolio.get_last_closed_position()

    def get_trading_pair(
        self, pair: int | TradingPairIdentifier | HumanReadableTradingPairDescription
    ) -> TradingPairIdentifier:
        """Return the pair of an id or a description; raises UnknownPair."""
        if isinstance(pair, TradingPairIdentifier):
            return pair
        if isinstance(pair, int | Integral):  # numpy's integers are Integral only
            return self.strategy_universe.get_pair_by_id(int(pair))
        return self.strategy_universe.get_pair_by_human_description(pair)

    def get_pair_fee(self, pair: TradingPairIdentifier | None = None, direction: str = "buy") -> float | None:
        """Return the fee of a trade on a pair as a fraction, None when it is not known."""
        pair = pair or self.strategy_universe.get_single_pair()
        try:
            return self.pricing_model.get_pair_fee(self.timestamp, pair, direction)
        except FeeMissing:
            return None

    def is_problematic_pair(self, pair: TradingPairIdentifier) -> bool:
        """Tell whether a token of the pair is blacklisted."""
        return not self.state.is_good_pair(pair)

    def get_pending_redemptions(self) -> float:
        """Return USD the strategy must keep payable, 0 if unknown."""
        return self.state.sync.treasury.pending_redemptions or 0.0

    def estimate_asset_quantity(self, pair: TradingPairIdentifier, usd: float) -> float:
        """Return how many tokens an amount of USD is at mid, with its sign."""
        if usd == 0:
            raise InvalidTrade(f"Cannot estimate a quantity of {pair.get_ticker()} for 0 USD")
        return usd / self.pricing_model.get_mid_price(self._clock.timestamp, pair)

    def _single(self, positions: Iterable[TradingPosition], what: str) -> TradingPosition:
        found = list(positions)
        if len(found) != 1:
            raise NoSingleOpenPositionException(
                f"Expected one {what} position, there are {len(found)}: {found}; "
                "use get_current_position_for_pair() or check is_any_open() first"
            )
        return found[0]

    def get_duration_since_last_close(self) -> timedelta | None:
        """Return how long ago the last position closed, None if none has."""
        last = self.get_last_closed_position()
        return None if last is None or last.closed_at is None else self.timestamp - last.closed_at
