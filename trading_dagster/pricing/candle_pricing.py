"""Prices from candles: a trade at ts is priced at the open of the bar that starts at ts.

A missing bar is replaced by the latest earlier one within a tolerance. The fee is added to a buy and taken from a sell.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias

from trading_dagster.domain.error import (
    CandleSampleUnavailable,
    FeeMissing,
    InvalidTrade,
    LiquidityDataUnavailable,
    LookaheadRefused,
)
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, from_unix_us, require_naive_utc, to_unix_us
from trading_dagster.domain.trade import TradePricing
from trading_dagster.domain.vault_history import NO_HISTORY, VaultHistory
from trading_dagster.market.panel import ONE_US, CandlePanel
from trading_dagster.pricing.cost_model import NO_COSTS, CostModel
from trading_dagster.pricing.vault_rules import VaultRules

DEFAULT_TOLERANCE = timedelta(days=2)
WEEKLY_TOLERANCE = timedelta(days=9)
FOREVER = timedelta(days=365_000)


class Clock(Protocol):
    """What tells the time that may be looked at."""

    @property
    def timestamp_us(self) -> int:
        """Return now, microseconds since 1970."""
        ...

    @property
    def timestamp(self) -> datetime:
        """Return now, naive UTC; the same object until the clock moves."""
        ...


class ImpactQuote(Protocol):
    """What tells how far a trade moves the price against itself."""

    def fraction_of(self, pair: TradingPairIdentifier, timestamp_us: int, value: float) -> float:
        """Return a fraction i for a trade worth ``value`` USD: a buy pays x (1 + i), a sell gets ÷ (1 + i)."""
        ...


FeeTerms: TypeAlias = tuple[float, tuple[TradingPairIdentifier, ...], float | None]
"""The fee of a trade as a fraction of its value, the pairs traded through from the reserve on, the tax in the fee.

The tax is None without one, and where the fee was given whole.
"""


class FeeSchedule:
    """Which fee a trade pays, as a fraction of its value."""

    def __init__(
        self,
        reserve_asset: AssetIdentifier,
        pairs: tuple[TradingPairIdentifier, ...],
        *,
        trading_fee_override: float | None = None,
        default_fee: float | None = None,
        allow_missing_fees: bool = False,
        three_leg_resolution: bool = True,
        costs: CostModel = NO_COSTS,
    ) -> None:
        """Set the rules of reference section 4; fees are fractions. ``costs`` replace the fees and taxes of pairs."""
        self._reserve = reserve_asset
        self._pairs = pairs
        self._override = trading_fee_override
        self._default = default_fee
        self._allow_missing = allow_missing_fees
        self._three_leg = three_leg_resolution
        self._costs = costs
        self._buys: dict[TradingPairIdentifier, FeeTerms] = {}
        self._sells: dict[TradingPairIdentifier, FeeTerms] = {}

    @property
    def gas_usd(self) -> float:
        """Return the gas of a trade in USD."""
        return float(self._costs.gas)

    def fee_of(self, pair: TradingPairIdentifier, is_buy: bool) -> float:
        """Return the fee of a trade on a pair; raises FeeMissing."""
        return self.terms_of(pair, is_buy)[0]

    def terms_of(self, pair: TradingPairIdentifier, is_buy: bool) -> FeeTerms:
        """Return what a trade on a pair pays; raises FeeMissing, or InvalidTrade when that is all of it."""
        known = self._buys if is_buy else self._sells
        terms = known.get(pair)
        if terms is None:
            terms = known[pair] = self._find_terms(pair, is_buy)
        return terms

    def _find_terms(self, pair: TradingPairIdentifier, is_buy: bool) -> FeeTerms:
        tax = self._find_tax(pair, is_buy)
        fee, path = self._resolve(pair, tax or 0.0)
        if not fee < 1:
            raise InvalidTrade(f"Fee and tax of {pair.get_ticker()} take {fee:.1%} of a trade: do not trade it")
        return fee, path, tax

    def _resolve(self, pair: TradingPairIdentifier, tax: float) -> tuple[float, tuple[TradingPairIdentifier, ...]]:
        middle = self._middle_pair(pair)
        path = (pair,) if middle is None else (middle, pair)
        if self._override is not None:
            return self._override + tax, path
        if not self._has_fee(pair):
            return self._fee_of_leg(pair) + tax, path
        fee = sum(map(self._fee_of_leg, reversed(path)))
        return fee + tax, path

    def _find_tax(self, pair: TradingPairIdentifier, is_buy: bool) -> float | None:
        given = self._costs.tax_of(pair, is_buy)
        if given is not None:
            return given
        return token_tax_of(pair, is_buy) if self._override is None and self._has_fee(pair) else None

    def _has_fee(self, pair: TradingPairIdentifier) -> bool:
        return pair.fee is not None or self._costs.fee_of(pair) is not None

    def _fee_of_leg(self, pair: TradingPairIdentifier) -> float:
        given = self._costs.fee_of(pair)
        if given is not None:
            return given
        fee = self._default if pair.fee is None else pair.fee
        if fee is None and not self._allow_missing:
            raise FeeMissing(
                f"Pair {pair} has no fee: give it one (trading_fee when loading data, or trading_fee_override), "
                "or set allow_missing_fees=True to trade without"
            )
        return fee or 0.0

    def _middle_pair(self, pair: TradingPairIdentifier) -> TradingPairIdentifier | None:
        if not self._three_leg or pair.quote == self._reserve or not pair.is_spot():
            return None
        for candidate in self._pairs:
            if candidate.base == pair.quote and candidate.quote == self._reserve:
                return candidate
        return None


def token_tax_of(pair: TradingPairIdentifier, is_buy: bool) -> float | None:
    """Return the tax the base token itself takes from a trade, as a fraction; None when it has none."""
    tax = pair.other_data.get("buy_tax" if is_buy else "sell_tax")
    return None if tax is None else float(tax)


_UNKNOWN: Any = object()


class PriceColumns:
    """Look-up of one candle column by pair and instant, in constant time."""

    __slots__ = (
        "_column",
        "_known",
        "_latest",
        "_limit",
        "_tolerance",
        "_views",
        "_whole",
        "panel",
        "start_us",
        "tolerance_us",
        "width_us",
    )

    def __init__(self, panel: CandlePanel, column: str, tolerance: timedelta) -> None:
        """Read a column of a panel; a value may be older than the instant by at most ``tolerance``."""
        self.panel = panel
        self.start_us = panel.start_us
        self.width_us = panel.width_us
        self._column = column
        self._tolerance = tolerance
        self.tolerance_us = tolerance // ONE_US
        self._limit = panel.bar_count
        self._views: dict[int, memoryview] = {}
        self._latest: dict[int, memoryview | None] = {}
        self._known: dict[int, bool] = {}
        self._whole: dict[int, memoryview] = {}
        """The columns of pairs without a missing bar."""

    def view(self, pair_id: int) -> memoryview:
        """Return the filled column of a pair as floats by bar number; NaN where there is no value."""
        view = self._views.get(pair_id)
        if view is None:
            view = memoryview(self.panel.column_within(pair_id, self._column, self._tolerance).data)
            self._views[pair_id] = view
        return view

    def has_pair(self, pair_id: int | None) -> bool:
        """Tell whether the pair has any candle."""
        if pair_id is None:
            return False
        known = self._known.get(pair_id)
        if known is None:
            panel = self.panel
            known = self._known[pair_id] = panel.has_pair(pair_id) and bool(panel.exists[panel.row_of(pair_id)].any())
        return known

    def at(self, pair_id: int, timestamp_us: int) -> float | None:
        """Return the value at an instant, None when there is none within the tolerance."""
        bar, offset = divmod(timestamp_us - self.start_us, self.width_us)
        if not offset and 0 <= bar < self._limit:
            view = self._views.get(pair_id)
            value: float = self.view(pair_id)[bar] if view is None else view[bar]
            return value if value == value else None  # noqa: PLR0124 - NaN is not equal to itself
        opened_us = self.opened_at(pair_id, timestamp_us)
        if opened_us is None or timestamp_us - opened_us > self.tolerance_us:
            return None
        earlier: float = self.view(pair_id)[(opened_us - self.start_us) // self.width_us]
        return earlier

    def sample(self, pair_id: int, timestamp_us: int) -> tuple[float, int] | None:
        """Return the value at an instant and when its bar opened, None when there is none within the tolerance."""
        whole = self._whole.get(pair_id)
        if whole is not None:
            bar, offset = divmod(timestamp_us - self.start_us, self.width_us)
            if not offset and 0 <= bar < self._limit:
                value: float = whole[bar]
                return (value, timestamp_us) if value == value else None  # noqa: PLR0124 - NaN is not equal to itself
        if not self.has_pair(pair_id):
            return None
        found, opened_us = self.at(pair_id, timestamp_us), self.opened_at(pair_id, timestamp_us)
        return None if found is None or opened_us is None else (found, opened_us)

    def opened_at(self, pair_id: int, timestamp_us: int) -> int | None:
        """Return when the latest bar at or before an instant opened, microseconds since 1970; None without one."""
        bar = min((timestamp_us - self.start_us) // self.width_us, self._limit - 1)
        if bar < 0:
            return None
        latest = self._latest.get(pair_id, _UNKNOWN)
        if latest is _UNKNOWN:
            panel = self.panel
            is_whole = panel.exists[panel.row_of(pair_id)].all()
            latest = self._latest[pair_id] = None if is_whole else memoryview(panel.latest_bar(pair_id).data)
            if is_whole:
                self._whole[pair_id] = self.view(pair_id)
        if latest is not None:
            bar = latest[bar]
        return None if bar < 0 else self.start_us + bar * self.width_us


class CandlePricing(VaultRules):
    """The pricing model of backtests: candle opens, the fee schedule, and nothing after the clock."""

    def __init__(
        self,
        candles: CandlePanel,
        fees: FeeSchedule,
        clock: Clock,
        *,
        liquidity: CandlePanel | None = None,
        data_delay_tolerance: timedelta | None = None,
        impact: ImpactQuote | None = None,
        vault_limits: VaultHistory = NO_HISTORY,
    ) -> None:
        """Price on ``candles``; ``liquidity`` holds TVL in USD; ``impact`` worsens prices by the size of a trade."""
        super().__init__(vault_limits)
        if data_delay_tolerance is None:
            data_delay_tolerance = WEEKLY_TOLERANCE if candles.bucket is TimeBucket.d7 else DEFAULT_TOLERANCE
        self.data_delay_tolerance = data_delay_tolerance
        self.fees = fees
        self.opens = PriceColumns(candles, "open", data_delay_tolerance)
        self._clock = clock
        self._mid: float | None = None
        self._impact = impact
        self._liquidity = None if liquidity is None else PriceColumns(liquidity, "open", data_delay_tolerance)

    @contextmanager
    def at_mid(self, mid: float | None) -> Iterator[None]:
        """Price at this mid, not at an open: what a trade inside a candle is filled at; None changes nothing."""
        self._mid = mid
        try:
            yield
        finally:
            self._mid = None

    @contextmanager
    def without_impact(self) -> Iterator[None]:
        """Price as if trades had no size: where there is no market left to measure."""
        impact, self._impact = self._impact, None
        try:
            yield
        finally:
            self._impact = impact

    def get_mid_price(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        """Return the price without fee; raises CandleSampleUnavailable."""
        return self._quote(timestamp, pair)[0]

    def _quote(self, timestamp: datetime, pair: TradingPairIdentifier) -> tuple[float, float]:
        """Return the price without fee, and how many seconds ago its candle opened."""
        if self._mid is not None:
            return self._mid, 0.0
        timestamp_us = self._visible_us(timestamp)
        pair_id = pair.get_pricing_pair().internal_id
        sample = None if pair_id is None else self.opens.sample(pair_id, timestamp_us)
        if sample is None:
            raise CandleSampleUnavailable(
                f"No candle of {pair} at {timestamp} or up to {self.data_delay_tolerance} before it: "
                "the pair may not have started, or stopped trading; check strategy_universe.can_open_spot() first, "
                "or allow older candles with data_delay_tolerance"
            )
        price, opened_us = sample
        return price, (timestamp_us - opened_us) / 1e6

    def get_buy_price(self, timestamp: datetime, pair: TradingPairIdentifier, reserve: float) -> TradePricing:
        """Return what buying for ``reserve`` USD costs a token: mid x (1 + fee), and the price impact."""
        if not reserve > 0:
            raise InvalidTrade(f"A buy of {pair.get_ticker()} needs a reserve above 0, got {reserve}")
        mid, delay = self._quote(timestamp, pair)
        fee, path, tax = self.fees.terms_of(pair, True)
        paid = None if tax is None else float(reserve) * tax
        price = mid * (1 + fee)
        if self._impact is not None:
            price *= 1 + self._impact.fraction_of(pair, self._visible_us(timestamp), float(reserve))
        return TradePricing(
            price,
            mid,
            float(reserve) * fee,
            fee,
            True,
            timestamp,
            path,
            delay,
            paid,
            tax,
        )

    def get_sell_price(self, timestamp: datetime, pair: TradingPairIdentifier, quantity: float) -> TradePricing:
        """Return what selling ``quantity`` tokens brings a token: mid x (1 - fee), and the price impact."""
        if not quantity > 0:
            raise InvalidTrade(f"A sell of {pair.get_ticker()} needs a quantity above 0, got {quantity}")
        mid, delay = self._quote(timestamp, pair)
        fee, path, tax = self.fees.terms_of(pair, False)
        paid = None if tax is None else float(quantity) * mid * tax
        price = mid * (1 - fee)
        if self._impact is not None:
            price /= 1 + self._impact.fraction_of(pair, self._visible_us(timestamp), float(quantity) * mid)
        return TradePricing(
            price,
            mid,
            float(quantity) * mid * fee,
            fee,
            False,
            timestamp,
            path,
            delay,
            paid,
            tax,
        )

    def get_price_impact(self, timestamp: datetime, pair: TradingPairIdentifier, value: float) -> float:
        """Return how far a trade worth ``value`` USD moves the price against itself, a fraction; see ImpactQuote."""
        timestamp_us = self._visible_us(timestamp)
        return 0.0 if self._impact is None else self._impact.fraction_of(pair, timestamp_us, value)

    def get_pair_fee(self, timestamp: datetime, pair: TradingPairIdentifier, direction: str = "buy") -> float | None:
        """Return the fee of a trade as a fraction, ``direction`` "buy" or "sell"."""
        self._visible_us(timestamp)
        return self.fees.fee_of(pair, direction == "buy")

    def get_gas_usd(self) -> float:
        """Return what gas takes of cash in each trade, USD."""
        return self.fees.gas_usd

    def get_usd_tvl(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:
        """Return the pool's TVL in USD; raises LiquidityDataUnavailable."""
        timestamp_us = self._visible_us(timestamp)
        pair_id = pair.internal_id
        tvl = None
        if self._liquidity is not None and pair_id is not None and self._liquidity.has_pair(pair_id):
            tvl = self._liquidity.at(pair_id, timestamp_us)
        if tvl is None:
            raise LiquidityDataUnavailable(
                f"No TVL of {pair} at {timestamp} or up to {self.data_delay_tolerance} before it: load liquidity data"
            )
        return tvl

    def _refuse_later(self, timestamp: datetime) -> None:
        self._visible_us(timestamp)

    def _visible_us(self, timestamp: datetime) -> int:
        if timestamp is self._clock.timestamp:
            return self._clock.timestamp_us
        timestamp_us = to_unix_us(require_naive_utc(timestamp))
        if timestamp_us > self._clock.timestamp_us:
            raise LookaheadRefused(
                f"A price at {timestamp} was asked for at {from_unix_us(self._clock.timestamp_us)}: "
                "a decision cannot know a later price"
            )
        return timestamp_us


class CandleMarks:
    """The valuation of open positions: what a sale brings at the clock's time, or the last price known.

    Between cycles ``look_at_triggers`` switches to the stop-loss feed at an instant, ``look_at_cycle`` switches back.
    """

    __slots__ = ("_clock", "_factors", "_fees", "_main", "_now_us", "_triggers")

    def __init__(
        self, candles: CandlePanel, stop_loss_candles: CandlePanel | None, fees: FeeSchedule, clock: Clock
    ) -> None:
        """Value on ``candles`` at the clock's time."""
        self._main = PriceColumns(candles, "open", FOREVER)
        self._triggers = None if stop_loss_candles is None else PriceColumns(stop_loss_candles, "open", FOREVER)
        self._fees = fees
        self._clock = clock
        self._factors: dict[TradingPairIdentifier, tuple[int, float]] = {}
        self._now_us: int | None = None

    def look_at_triggers(self, timestamp_us: int) -> None:
        """Value on the stop-loss feed at an instant."""
        self._now_us = timestamp_us

    def look_at_cycle(self) -> None:
        """Value on the candles at the clock's time."""
        self._now_us = None

    def priced_at(self) -> datetime:
        """Return the instant of the valuation, naive UTC."""
        return from_unix_us(self._clock.timestamp_us if self._now_us is None else self._now_us)

    def factor_of(self, pair: TradingPairIdentifier) -> tuple[int, float]:
        """Return the id of the pair that prices this one, and 1 - fee."""
        factor = self._factors.get(pair)
        if factor is None:
            priced = pair.get_pricing_pair()
            factor = self._factors[pair] = (priced.internal_id or 0, 1 - self._fees.fee_of(priced, False))
        return factor

    def price_of(self, pair: TradingPairIdentifier) -> float | None:
        """Return reserve per base token a sale brings, None before the pair's first candle."""
        pair_id, factor = self._factors.get(pair) or self.factor_of(pair)
        now_us = self._now_us
        if now_us is None:
            mid = self._main.at(pair_id, self._clock.timestamp_us)
        else:
            mid = None
            if self._triggers is not None and self._triggers.has_pair(pair_id):
                mid = self._triggers.at(pair_id, now_us)
            if mid is None:
                mid = self._main.at(pair_id, now_us)
        return None if mid is None else mid * factor

    @property
    def columns(self) -> PriceColumns:
        """Return the open prices that cycles are valued at."""
        return self._main

    @property
    def trigger_columns(self) -> PriceColumns | None:
        """Return the open prices that instants of triggers are valued at first, None without a feed of their own."""
        return self._triggers
