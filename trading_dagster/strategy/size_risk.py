"""Size-risk models: how large a position or trade may be without moving its market."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol

from trading_dagster.domain.error import BadInput, LiquidityDataUnavailable, TVLReadError
from trading_dagster.domain.identifier import TradingPairIdentifier


class SizingType(Enum):
    """What a size is asked for."""

    buy = "buy"
    sell = "sell"
    hold = "hold"


@dataclass(frozen=True, slots=True)
class SizeRisk:
    """The answer of a model: sizes in USD, quantities in base tokens for sells, TVL in USD where it was looked at."""

    timestamp: datetime
    pair: TradingPairIdentifier
    sizing_type: SizingType
    asked_size: float
    accepted_size: float
    asked_quantity: Decimal | None = None
    accepted_quantity: Decimal | None = None
    tvl: float | None = None
    diagnostics_data: dict[str, Any] = field(default_factory=dict)

    @property
    def capped(self) -> bool:
        """Tell whether less than asked is accepted."""
        if self.asked_quantity is not None and self.accepted_quantity is not None:
            return self.accepted_quantity < self.asked_quantity
        return self.accepted_size < self.asked_size


class SizeRiskModel(Protocol):
    """Says how much of a size is acceptable; times are naive UTC, sizes USD."""

    def get_acceptable_size_for_buy(
        self, timestamp: datetime, pair: TradingPairIdentifier, asked_size: float
    ) -> SizeRisk:
        """Return how much may be bought at once."""
        ...

    def get_acceptable_size_for_sell(
        self, timestamp: datetime, pair: TradingPairIdentifier, asked_quantity: Decimal
    ) -> SizeRisk:
        """Return how many tokens may be sold at once."""
        ...

    def get_acceptable_size_for_position(
        self, timestamp: datetime, pair: TradingPairIdentifier, asked_size: float
    ) -> SizeRisk:
        """Return how much may be held."""
        ...


class Prices(Protocol):
    """What the models ask of a pricing model."""

    def get_mid_price(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        """Return USD per base token."""
        ...

    def get_usd_tvl(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        """Return TVL in USD; raises LiquidityDataUnavailable."""
        ...


class CappedSizeRiskModel:
    """A model with a cap on trades and one on positions, in USD; subclasses say what they are."""

    def __init__(self, pricing_model: Prices) -> None:
        """Value sells at the mid prices of a pricing model."""
        self.pricing_model = pricing_model

    def find_caps(self, timestamp: datetime, pair: TradingPairIdentifier) -> tuple[float, float, float | None]:
        """Return the cap of a trade, the cap of a position, and the TVL they come from or None; USD."""
        raise NotImplementedError

    def get_acceptable_size_for_buy(
        self, timestamp: datetime, pair: TradingPairIdentifier, asked_size: float
    ) -> SizeRisk:
        """Return how much may be bought at once, USD."""
        trade_cap, _, tvl = self.find_caps(timestamp, pair)
        accepted = min(asked_size, trade_cap)
        return SizeRisk(timestamp, pair, SizingType.buy, asked_size, accepted, tvl=tvl)

    def get_acceptable_size_for_sell(
        self, timestamp: datetime, pair: TradingPairIdentifier, asked_quantity: Decimal
    ) -> SizeRisk:
        """Return how many tokens may be sold at once: capped by their value at mid."""
        trade_cap, _, tvl = self.find_caps(timestamp, pair)
        mid = self.pricing_model.get_mid_price(timestamp, pair)
        asked = float(asked_quantity) * mid
        accepted_quantity = asked_quantity if asked <= trade_cap else Decimal(trade_cap / mid)
        return SizeRisk(
            timestamp,
            pair,
            SizingType.sell,
            asked,
            min(asked, trade_cap),
            asked_quantity,
            min(asked_quantity, accepted_quantity),
            tvl,
        )

    def get_acceptable_size_for_position(
        self, timestamp: datetime, pair: TradingPairIdentifier, asked_size: float
    ) -> SizeRisk:
        """Return how much may be held, USD."""
        _, position_cap, tvl = self.find_caps(timestamp, pair)
        accepted = min(asked_size, position_cap)
        return SizeRisk(timestamp, pair, SizingType.hold, asked_size, accepted, tvl=tvl)


class FixedSizeRiskModel(CappedSizeRiskModel):
    """The same caps for all pairs, USD."""

    def __init__(self, pricing_model: Prices, per_trade_cap: float, per_position_cap: float) -> None:
        """Cap each trade and each position."""
        super().__init__(pricing_model)
        for name, cap in (("per_trade_cap", per_trade_cap), ("per_position_cap", per_position_cap)):
            if not cap >= 0:
                raise BadInput(f"{name} is {cap}: give USD, 0 or more")
        self.per_trade_cap = per_trade_cap
        self.per_position_cap = per_position_cap

    def find_caps(
        self,
        timestamp: datetime,  # noqa: ARG002 - the caps are fixed
        pair: TradingPairIdentifier,  # noqa: ARG002
    ) -> tuple[float, float, float | None]:
        """Return the fixed caps."""
        return self.per_trade_cap, self.per_position_cap, None


class USDTVLSizeRiskModel(CappedSizeRiskModel):
    """Caps as fractions of a pool's TVL.

    A pair without TVL counts with the placeholder, USD; without one TVLReadError is raised.
    """

    def __init__(
        self,
        pricing_model: Prices,
        per_trade_cap: float = 1.0,
        per_position_cap: float = 1.0,
        missing_tvl_placeholder_usd: float | None = None,
    ) -> None:
        """Cap each trade and each position at a fraction of TVL."""
        super().__init__(pricing_model)
        for name, cap in (("per_trade_cap", per_trade_cap), ("per_position_cap", per_position_cap)):
            if not 0 <= cap <= 1:
                raise BadInput(f"{name} is {cap}: give a fraction of TVL from 0 to 1")
        self.per_trade_cap = per_trade_cap
        self.per_position_cap = per_position_cap
        self.missing_tvl_placeholder_usd = missing_tvl_placeholder_usd

    def find_caps(self, timestamp: datetime, pair: TradingPairIdentifier) -> tuple[float, float, float | None]:
        """Return the fractions of TVL."""
        tvl = self._read_tvl(timestamp, pair)
        return tvl * self.per_trade_cap, tvl * self.per_position_cap, tvl

    def _read_tvl(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        try:
            return self.read_tvl(timestamp, pair)
        except LiquidityDataUnavailable as error:
            if self.missing_tvl_placeholder_usd is None:
                raise TVLReadError(
                    f"{error}; or give missing_tvl_placeholder_usd to size such pairs by a fixed TVL"
                ) from error
            return self.missing_tvl_placeholder_usd

    def read_tvl(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        """Return TVL in USD; raises LiquidityDataUnavailable."""
        return self.pricing_model.get_usd_tvl(timestamp, pair)


class QuoteTokenPrices(Prices, Protocol):
    """A pricing model that knows the quote tokens in a pool."""

    def get_quote_token_tvl(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        """Return the quote tokens in the pool; raises LiquidityDataUnavailable."""
        ...


class QuoteTokenTVLSizeRiskModel(USDTVLSizeRiskModel):
    """Caps as fractions of the quote tokens in a pool, at the USD rate of the quote token."""

    def __init__(
        self,
        pricing_model: QuoteTokenPrices,
        per_trade_cap: float = 1.0,
        per_position_cap: float = 1.0,
        missing_tvl_placeholder_usd: float | None = None,
        quote_token_usd: float = 1.0,
    ) -> None:
        """Cap each trade and each position; ``quote_token_usd`` is what a quote token is worth."""
        super().__init__(pricing_model, per_trade_cap, per_position_cap, missing_tvl_placeholder_usd)
        self._quote_prices = pricing_model
        self.quote_token_usd = quote_token_usd

    def read_tvl(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        """Return the value of the quote tokens, USD; raises LiquidityDataUnavailable."""
        return self._quote_prices.get_quote_token_tvl(timestamp, pair) * self.quote_token_usd
