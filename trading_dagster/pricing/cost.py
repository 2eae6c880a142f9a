"""What trading costs beyond a pair's own fee: small values that a strategy composes, shared by every world it runs in.

    class Parameters:
        costs = (td.ConstantProductImpact(), td.Slippage(bps=10), td.GasPerTrade(usd=0.5))

Without them a fill is perfect. Each is a frozen value without state: equal ones cost the same, and the text of one is
part of the hash of a backtest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeAlias, runtime_checkable

from trading_dagster.domain.error import LiquidityDataUnavailable, ParameterTypeInvalid
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.trade import MAX_SLIPPAGE_TOLERANCE

MONTH = timedelta(days=30)


class MarketDepth(Protocol):
    """What was known of a pair's market before a decision."""

    @property
    def pair(self) -> TradingPairIdentifier:
        """Return the pair."""
        ...

    def tvl(self) -> float | None:
        """Return the pool's value in USD, None when it is not known."""
        ...

    def daily_volume(self, window: timedelta, is_volume_in_usd: bool) -> float | None:
        """Return what was traded a day, USD, on average over the candles of a window; None without any."""
        ...

    def daily_volatility(self, window: timedelta) -> float | None:
        """Return the standard deviation of a day's log return over the candles of a window; None without enough."""
        ...


@runtime_checkable
class PriceImpact(Protocol):
    """How far a trade moves the price against itself."""

    def impact(self, value: float, market: MarketDepth) -> float:
        """Return a fraction i for a trade worth ``value`` USD: a buy pays x (1 + i), a sell gets ÷ (1 + i)."""
        ...


@dataclass(frozen=True, slots=True)
class PairFee:
    """The fee of liquidity providers in place of the pairs' own.

    Args:
        fraction: Of the trade, 0.003 is 0.3 %; a trade through two pairs pays it twice.
        bases: Symbols of the base tokens it is for; empty for all pairs.
    """

    fraction: float
    bases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no fraction; raises ParameterTypeInvalid."""
        _check_fraction("PairFee.fraction", self.fraction)
        _check_symbols("PairFee.bases", self.bases)

    def is_for(self, pair: TradingPairIdentifier) -> bool:
        """Tell whether a pair pays it."""
        return not self.bases or pair.base.token_symbol in self.bases


@dataclass(frozen=True, slots=True)
class TokenTax:
    """What a token takes from its own transfers, in place of what the pair's data say.

    Args:
        buy: Taken from a buy, a fraction.
        sell: Taken from a sell, a fraction.
        tokens: Symbols of the taxed base tokens; empty for all.
    """

    buy: float = 0.0
    sell: float = 0.0
    tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no fraction; raises ParameterTypeInvalid."""
        _check_fraction("TokenTax.buy", self.buy)
        _check_fraction("TokenTax.sell", self.sell)
        _check_symbols("TokenTax.tokens", self.tokens)

    def is_for(self, pair: TradingPairIdentifier) -> bool:
        """Tell whether a pair's base token takes it."""
        return not self.tokens or pair.base.token_symbol in self.tokens

    def of_side(self, is_buy: bool) -> float:
        """Return the fraction taken from a buy or a sell."""
        return self.buy if is_buy else self.sell


@dataclass(frozen=True, slots=True)
class ConstantProductImpact:
    """The price impact of a pool that keeps x * y constant, from its TVL at the decision.

    A trade worth V against a pool whose halves are worth R each has i = V / R: what such a pool does exactly, before
    its fee.

    Args:
        concentration: How many times deeper the pool is than its TVL says, as concentrated liquidity is.
        missing_tvl_usd: TVL of pairs without TVL candles; None refuses to trade them.
    """

    concentration: float = 1.0
    missing_tvl_usd: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that are not above 0; raises ParameterTypeInvalid."""
        _check_positive("ConstantProductImpact.concentration", self.concentration)
        if self.missing_tvl_usd is not None:
            _check_positive("ConstantProductImpact.missing_tvl_usd", self.missing_tvl_usd)

    def impact(self, value: float, market: MarketDepth) -> float:
        """Return V / R; raises LiquidityDataUnavailable."""
        tvl = market.tvl()
        if tvl is None or not tvl > 0:
            tvl = self.missing_tvl_usd
        if tvl is None:
            raise LiquidityDataUnavailable(
                f"ConstantProductImpact needs the TVL of {market.pair.get_ticker()}: load liquidity candles, or give "
                "missing_tvl_usd"
            )
        return value / (tvl / 2 * self.concentration)


@dataclass(frozen=True, slots=True)
class SquareRootImpact:
    """The square-root law of price impact, from volume and volatility before the decision.

    i = coefficient x daily volatility x sqrt(value / daily volume), over the candles of ``window`` that closed by then.
    See Tóth et al., "Anomalous price impact and the critical nature of liquidity in financial markets" (2011).

    Args:
        coefficient: About 1 in most markets.
        window: How far back volume and volatility are measured.
        missing_volume_usd: Daily volume of pairs that had none; None refuses to trade them.
        is_volume_in_usd: Whether the candles' volume is USD and not base tokens.
    """

    coefficient: float = 1.0
    window: timedelta = MONTH
    missing_volume_usd: float | None = None
    is_volume_in_usd: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that are not above 0; raises ParameterTypeInvalid."""
        _check_positive("SquareRootImpact.coefficient", self.coefficient)
        _check_duration("SquareRootImpact.window", self.window)
        if self.missing_volume_usd is not None:
            _check_positive("SquareRootImpact.missing_volume_usd", self.missing_volume_usd)

    def impact(self, value: float, market: MarketDepth) -> float:
        """Return the fraction of the law; raises LiquidityDataUnavailable."""
        volume = market.daily_volume(self.window, self.is_volume_in_usd)
        if volume is None or not volume > 0:
            volume = self.missing_volume_usd
        volatility = market.daily_volatility(self.window)
        if volume is None or volatility is None:
            raise LiquidityDataUnavailable(
                f"SquareRootImpact needs volume and three closes of {market.pair.get_ticker()} in the {self.window} "
                "before the trade: start later, load more history, or give missing_volume_usd"
            )
        return self.coefficient * volatility * math.sqrt(value / volume)


@dataclass(frozen=True, slots=True)
class Slippage:
    """How much worse than its quote a trade is filled, hundredths of a percent: for what is not modelled otherwise."""

    bps: float

    def __post_init__(self) -> None:
        """Refuse what no trade may tolerate; raises ParameterTypeInvalid."""
        _check_number("Slippage.bps", self.bps)
        if not 0 <= self.bps < MAX_SLIPPAGE_TOLERANCE * 10_000:
            raise ParameterTypeInvalid(
                f"Slippage.bps is {self.bps}: expected hundredths of a percent from 0 to below "
                f"{MAX_SLIPPAGE_TOLERANCE * 10_000:.0f}, 10 is 0.1 %"
            )

    @property
    def fraction(self) -> float:
        """Return the fraction of the price."""
        return self.bps / 10_000


@dataclass(frozen=True, slots=True)
class GasPerTrade:
    """What the chain takes for a trade, USD out of the reserve: a buy buys for what is left of its value."""

    usd: float

    def __post_init__(self) -> None:
        """Refuse negative amounts; raises ParameterTypeInvalid."""
        _check_number("GasPerTrade.usd", self.usd)
        if not 0 <= self.usd < math.inf:
            raise ParameterTypeInvalid(f"GasPerTrade.usd is {self.usd}: expected an amount of USD from 0 on")


@dataclass(frozen=True, slots=True)
class ExecutionDelay:
    """How long after a decision its trades are filled: at the open of the first candle from then on.

    That candle is of the stop-loss feed where there is one, else of the strategy's candles. It must open at the next
    decision at the latest. Trades of triggers are not delayed: the feed they are sampled on is their delay.
    """

    by: timedelta

    def __post_init__(self) -> None:
        """Refuse what is no time later; raises ParameterTypeInvalid."""
        _check_duration("ExecutionDelay.by", self.by)


Cost: TypeAlias = (
    PairFee
    | TokenTax
    | ConstantProductImpact
    | SquareRootImpact
    | PriceImpact
    | Slippage
    | GasPerTrade
    | ExecutionDelay
)
"""Anything that may be in ``Parameters.costs``; of your own, whatever has a method ``impact`` as PriceImpact says."""


def _check_number(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ParameterTypeInvalid(f"{name} is {value!r} of type {type(value).__name__}: expected a number")


def _check_fraction(name: str, value: float) -> None:
    _check_number(name, value)
    if not 0 <= value < 1:
        raise ParameterTypeInvalid(f"{name} is {value}: expected a fraction from 0 to below 1, 0.003 is 0.3 %")


def _check_positive(name: str, value: float) -> None:
    _check_number(name, value)
    if not 0 < value < math.inf:
        raise ParameterTypeInvalid(f"{name} is {value}: expected a number above 0")


def _check_duration(name: str, value: timedelta) -> None:
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ParameterTypeInvalid(f"{name} is {value!r}: expected a timedelta above 0 such as timedelta(minutes=5)")


def _check_symbols(name: str, value: tuple[str, ...]) -> None:
    if not isinstance(value, tuple) or not all(isinstance(symbol, str) for symbol in value):
        raise ParameterTypeInvalid(f"{name} is {value!r}: expected a tuple of token symbols such as ('PEPE',)")
