"""A pool of Uniswap v2 or v3 and their forks as a market: which token is bought and sold, in which, at which fee."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from trading_dagster.domain.error import BadInput, CallReverted, ContractMissing, NodeAnswerInvalid
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.transaction import require_address
from trading_dagster.evm.abi import Function
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.chain import Chain
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import FEE_DENOMINATOR
from trading_dagster.evm.erc20 import read_asset
from trading_dagster.evm.uniswap_v2 import UniswapV2Dex
from trading_dagster.evm.uniswap_v3 import UniswapV3Dex

FACTORY = Function("factory", (), ("address",))
TOKEN0 = Function("token0", (), ("address",))
TOKEN1 = Function("token1", (), ("address",))
FEE = Function("fee", (), ("uint24",))
DEFAULT_V2_FEE = Fraction(3, 1000)


class PoolKind(Enum):
    """How a pool trades."""

    v2 = "v2"
    """Reserves whose product is constant."""
    v3 = "v3"
    """Liquidity in ranges of price."""


@dataclass(frozen=True, slots=True)
class ChainPool:
    """A pool.

    Attributes:
        address: Of the pool, lower case.
        kind: How it trades.
        base: The token whose price is meant.
        quote: The token prices are in.
        is_base_token0: Whether the base is the pool's token0.
        fee: Of the pool, a fraction.
        exchange_slug: Of the exchange it belongs to.
        factory: The contract that made it.
        first_block: The block from which it is read.
        is_quote_usd: Whether the quote is a stablecoin: then TVL in quote tokens is TVL in USD.
    """

    address: str
    kind: PoolKind
    base: AssetIdentifier
    quote: AssetIdentifier
    is_base_token0: bool
    fee: Fraction
    exchange_slug: str
    factory: str
    first_block: int
    is_quote_usd: bool

    def to_pair(self) -> TradingPairIdentifier:
        """Return the pair to trade."""
        return TradingPairIdentifier(
            base=self.base,
            quote=self.quote,
            pool_address=self.address,
            exchange_address=self.factory,
            fee=float(self.fee),
            exchange_name=self.exchange_slug,
        )


def read_pool(
    client: EvmClient,
    chain: Chain,
    address: str,
    block: BlockHeader,
    *,
    first_block: int,
    quote: str | None = None,
    fee: Fraction | None = None,
    usd_tokens: Collection[str] = (),
) -> ChainPool:
    """Find out what a pool is.

    The quote is the token named; or else the stablecoin; or else the wrapped native token; or else token1, and where
    both tokens are stablecoins or neither is, token1.

    Args:
        client: Reads the chain.
        chain: What is known of the chain: its exchanges and stablecoins.
        address: Of the pool.
        block: When to read.
        first_block: The block from which its events are to be read.
        quote: Symbol or address of the quote token.
        fee: Of a v2 pool whose factory the chain's registry does not know; 0.3 % without it.
        usd_tokens: Addresses of further tokens that are meant to be worth one USD.

    Raises:
        ContractMissing: There is no pool.
        BadInput: The pool has no such quote token.
    """
    pool = require_address(address, "pool")
    token0, token1 = (read_asset(client, str(client.call(pool, f, (), block)[0]), block) for f in (TOKEN0, TOKEN1))
    factory = str(client.call(pool, FACTORY, (), block)[0]).lower()
    try:
        kind, own_fee = PoolKind.v3, Fraction(client.call(pool, FEE, (), block)[0], FEE_DENOMINATOR)
    except (CallReverted, ContractMissing, NodeAnswerInvalid):
        kind, own_fee = PoolKind.v2, fee if fee is not None else _fee_of_factory(chain, factory)
    stables = {token.address for token in chain.list_stablecoins()} | {token.lower() for token in usd_tokens}
    wrapped = set() if chain.wrapped_native is None else {chain.wrapped_native.address}
    named = None if quote is None else _is_token0(quote, token0, token1)
    is_quote0 = _prefers_token0(token0, token1, stables, wrapped) if named is None else named
    base, quoted = (token1, token0) if is_quote0 else (token0, token1)
    slugs = [exchange.slug for exchange in chain.exchanges if _factory_of(exchange.dex) == factory]
    return ChainPool(
        address=pool,
        kind=kind,
        base=base,
        quote=quoted,
        is_base_token0=not is_quote0,
        fee=own_fee,
        exchange_slug=slugs[0] if slugs else f"uniswap-{kind.value}",
        factory=factory,
        first_block=first_block,
        is_quote_usd=quoted.address in stables,
    )


def _prefers_token0(token0: AssetIdentifier, token1: AssetIdentifier, *preferences: Collection[str]) -> bool:
    """Tell whether token0 is the quote by the rule of `read_pool`."""
    for preferred in preferences:
        if (token0.address in preferred) != (token1.address in preferred):
            return token0.address in preferred
    return False


def _is_token0(quote: str, token0: AssetIdentifier, token1: AssetIdentifier) -> bool:
    names: Sequence[set[str]] = [{token.address, token.token_symbol.lower()} for token in (token0, token1)]
    fits = [quote.lower() in own for own in names]
    if sum(fits) != 1:
        raise BadInput(f"quote {quote!r} is not one of {token0} and {token1}: name one by its symbol or address")
    return fits[0]


def _factory_of(dex: object) -> str:
    if isinstance(dex, UniswapV2Dex):
        return dex.deployment.factory
    return dex.factory if isinstance(dex, UniswapV3Dex) else ""


def _fee_of_factory(chain: Chain, factory: str) -> Fraction:
    fees = [exchange.fees[0] for exchange in chain.exchanges if _factory_of(exchange.dex) == factory]
    return fees[0] if fees else DEFAULT_V2_FEE
