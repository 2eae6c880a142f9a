"""Prices and values from pools and vaults at one block: what a trade of that very size would get there."""

from __future__ import annotations

import logging
from datetime import datetime
from fractions import Fraction

from trading_dagster.domain.error import InvalidTrade, PoolEmpty, TooSmallTrade, VaultClosed
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.money import exact, to_units_down
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradePricing
from trading_dagster.domain.vault_history import NO_HISTORY, VaultBook, VaultHistory
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import RouteQuote
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.pricing.candle_pricing import token_tax_of

logger = logging.getLogger(__name__)


class AmmPricing:
    """The PricingModel of an exchange, pinned to a block; every answer is read once.

    Prices include fee, the price impact of the size asked for, and the tax of a token where the pair's data names one.
    The times asked for are only noted: the block is the present. Raises ContractMissing when a pool does not exist,
    PoolEmpty when it has nothing to trade against, InvalidTrade for what cannot be swapped, VaultClosed, TooSmallTrade,
    NodeError.
    """

    def __init__(
        self,
        client: EvmClient,
        routes: RouteTable,
        block: BlockHeader | None = None,
        *,
        vault_limits: VaultHistory = NO_HISTORY,
    ) -> None:
        """Read at a block what routes go through; None is the head at the time of the first question.

        ``vault_limits`` are what a universe knows of vaults, beside what they say themselves.
        """
        self._block = block
        self._client = client
        self._routes = routes
        self._terms = VaultBook(vault_limits)
        self._limits: dict[tuple[TradingPairIdentifier, bool], float | None] = {}
        self._mids: dict[TradingPairIdentifier, Fraction] = {}
        self._quotes: dict[tuple[TradingPairIdentifier, bool, int], RouteQuote] = {}

    @property
    def block(self) -> BlockHeader:
        """Return the block all answers are of."""
        if self._block is None:
            self._block = self._client.read_head()
        return self._block

    def get_mid_price(self, timestamp: datetime, pair: TradingPairIdentifier) -> float:  # noqa: ARG002 - the port's
        """Return the price without fee and impact; that of the spot pair for a short, 1 for a credit supply."""
        return 1.0 if pair.is_credit_supply() else float(self._mid_price(pair.get_pricing_pair()))

    def get_buy_price(self, timestamp: datetime, pair: TradingPairIdentifier, reserve: float) -> TradePricing:
        """Return the price of buying for ``reserve`` tokens of reserve."""
        pair = pair.get_pricing_pair()
        if not reserve > 0:
            raise InvalidTrade(f"A buy of {pair.get_ticker()} needs a reserve above 0, got {reserve}")
        asset = self._routes.reserve_asset
        amount_in = to_units_down(exact(reserve, "reserve"), asset.decimals)
        quote = self._quote(pair, True, amount_in, f"{reserve} {asset.token_symbol}")
        tax = token_tax_of(pair, True)
        got = _to_tokens(quote.amount_out, pair.base.decimals) * (1 - Fraction(tax or 0))
        given = _to_tokens(amount_in, asset.decimals)
        return self._pricing(timestamp, pair, quote, given / got, float(given), tax, is_buy=True)

    def get_sell_price(self, timestamp: datetime, pair: TradingPairIdentifier, quantity: float) -> TradePricing:
        """Return the price of selling ``quantity`` tokens."""
        pair = pair.get_pricing_pair()
        if not quantity > 0:
            raise InvalidTrade(f"A sell of {pair.get_ticker()} needs a quantity above 0, got {quantity}")
        units = to_units_down(exact(quantity, "quantity"), pair.base.decimals)
        tax = token_tax_of(pair, False)
        sold = int(units * (1 - Fraction(tax or 0)))
        quote = self._quote(pair, False, sold, f"{quantity} {pair.base.token_symbol}")
        got = _to_tokens(quote.amount_out, self._routes.reserve_asset.decimals)
        given = _to_tokens(units, pair.base.decimals)
        value = float(given * self._mid_price(pair))
        return self._pricing(timestamp, pair, quote, got / given, value, tax, is_buy=False)

    def get_pair_fee(
        self,
        timestamp: datetime,  # noqa: ARG002 - the port names them; a pool's fee is the same either way
        pair: TradingPairIdentifier,
        direction: str = "buy",  # noqa: ARG002
    ) -> float | None:
        """Return the fee of all pools of the way to the pair as a fraction, None when one is not known."""
        if pair.is_credit_supply():
            return 0.0
        kept = 1.0
        for leg in self._routes.path_of(pair.get_pricing_pair()):
            if leg.fee is None:
                return None
            kept *= 1 - leg.fee
        return 1 - kept

    def get_max_deposit(self, timestamp: datetime, pair: TradingPairIdentifier) -> float | None:
        """Return the most USD that a vault takes now, by its terms and by itself; 0 is closed, None no known limit."""
        vault = self._routes.vault_of(pair)
        if vault is None:
            return None
        if (pair, True) not in self._limits:
            units = vault.read_max_deposit(self._client, self.block)
            limit = None if units is None else float(_to_tokens(units, self._routes.reserve_asset.decimals))
            self._limits[pair, True] = limit
        return _least(self._limits[pair, True], self._terms.get_max_deposit(pair, timestamp))

    def get_max_redemption(self, timestamp: datetime, pair: TradingPairIdentifier) -> float | None:
        """Return the most USD that a vault gives back now; 0 is closed, None is all that is held."""
        vault = self._routes.vault_of(pair)
        if vault is None:
            return None
        if (pair, False) not in self._limits:
            units = vault.read_max_redemption(self._client, self.block)
            worth = self._mid_price(pair) if units else Fraction(0)
            limit = None if units is None else float(_to_tokens(units, pair.base.decimals) * worth)
            self._limits[pair, False] = limit
        return _least(self._limits[pair, False], self._terms.get_max_redemption(pair, timestamp))

    def _mid_price(self, pair: TradingPairIdentifier) -> Fraction:
        if pair not in self._mids:
            route = self._routes.route_of(pair, True)
            units = self._routes.exchange_of(pair).read_mid_price(self._client, route, self.block)
            scale = Fraction(10) ** (pair.base.decimals - self._routes.reserve_asset.decimals)
            self._mids[pair] = scale / units
        return self._mids[pair]

    def _quote(self, pair: TradingPairIdentifier, is_buy: bool, amount_in: int, what: str) -> RouteQuote:
        key = (pair, is_buy, amount_in)
        if key not in self._quotes:
            route = self._routes.route_of(pair, is_buy)
            if not amount_in:
                raise TooSmallTrade(f"{what} is less than the smallest unit of the token: trade more")
            dex = self._routes.exchange_of(pair)
            quote = dex.quote(self._client, route, amount_in, self.block)
            if not quote.amount_out:
                raise TooSmallTrade(f"{what} brings nothing on {dex.name} along {route.tokens}: trade more")
            self._quotes[key] = quote
        return self._quotes[key]

    def _pricing(
        self,
        timestamp: datetime,
        pair: TradingPairIdentifier,
        quote: RouteQuote,
        price: Fraction,
        value: float,
        tax: float | None,
        *,
        is_buy: bool,
    ) -> TradePricing:
        fee = float(quote.fee)
        return TradePricing(
            price=float(price),
            mid_price=float(self._mid_price(pair)),
            lp_fee=value * fee,
            pair_fee=fee,
            side=is_buy,
            read_at=timestamp,
            path=self._routes.path_of(pair),
            token_tax=None if tax is None else value * tax,
            token_tax_percent=tax,
            block_number=self.block.number,
        )


class AmmMarks:
    """The valuation of positions: what selling all of a pair that is held would bring at the pinned block.

    A pair that is not held is worth a sale without impact. A position that a sale brings nothing for, because its pool
    is empty or it is too small, is worth nothing; one in a vault that is closed is worth what its shares are.
    """

    def __init__(self, pricing: AmmPricing, state: State, priced_at: datetime) -> None:
        """Value the positions of a state; ``priced_at`` is naive UTC."""
        self._pricing = pricing
        self._state = state
        self._priced_at = priced_at

    def price_of(self, pair: TradingPairIdentifier) -> float:
        """Return reserve per base token a sale of what is held brings; raises ContractMissing, NodeError."""
        positions = self._state.portfolio.get_open_and_frozen_positions()
        held = sum(position.held for position in positions if position.pair == pair)
        try:
            sale = self._sale_price(pair, held) if held > 0 else None
            if sale is not None:
                return sale
            fee = self._pricing.get_pair_fee(self._priced_at, pair, "sell") or 0.0
            return self._pricing.get_mid_price(self._priced_at, pair) * (1 - fee)
        except (PoolEmpty, TooSmallTrade) as error:
            logger.warning("%s counts as worth nothing: %s", pair.get_ticker(), error)
            return 0.0

    def priced_at(self) -> datetime:
        """Return when the prices were read, naive UTC."""
        return self._priced_at

    def _sale_price(self, pair: TradingPairIdentifier, held: float) -> float | None:
        try:
            return self._pricing.get_sell_price(self._priced_at, pair, held).price
        except VaultClosed as error:
            logger.warning("%s counts at its share price: %s", pair.get_ticker(), error)
            return None


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _to_tokens(units: int, decimals: int) -> Fraction:
    return Fraction(units, 10**decimals)
