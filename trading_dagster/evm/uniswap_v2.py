"""Uniswap v2 and its forks: exact integer arithmetic, quotes at a block, swaps with a tolerance and a deadline.

The arithmetic is that of UniswapV2Library and UniswapV2Pair: the fee is taken from the input, divisions round in favour
of the pool, and a quote at the state of the swap equals the fill to the unit (tokens that tax transfers excepted).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from trading_dagster.domain.error import BadInput, ContractMissing, PriceImpactToleranceExceeded
from trading_dagster.domain.transaction import Plain, require_address
from trading_dagster.evm.abi import ContractCall, Function
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient

GET_PAIR = Function("getPair", ("address", "address"), ("address",))
GET_RESERVES = Function("getReserves", (), ("uint112", "uint112", "uint32"))
TOKEN0 = Function("token0", (), ("address",))
SWAP = Function(
    "swapExactTokensForTokensSupportingFeeOnTransferTokens",
    ("uint256", "uint256", "address[]", "address", "uint256"),
    (),
    ("amountIn", "amountOutMin", "path", "to", "deadline"),
)
NO_PAIR = "0x" + "0" * 40
MAX_HOPS = 2
MAX_SLIPPAGE = Fraction(33, 100)


@dataclass(frozen=True, slots=True)
class UniswapV2Deployment:
    """Where a fork of Uniswap v2 is. ``fee`` is a fraction: 3/1000 for Uniswap, 25/10000 for PancakeSwap."""

    factory: str
    router: str
    fee: Fraction = Fraction(3, 1000)

    def __post_init__(self) -> None:
        """Check and normalise."""
        object.__setattr__(self, "factory", require_address(self.factory, "factory"))
        object.__setattr__(self, "router", require_address(self.router, "router"))
        if not 0 <= self.fee < 1:
            raise BadInput(f"The fee of router {self.router} is {self.fee}: expected a fraction below 1")


@dataclass(frozen=True, slots=True)
class PoolState:
    """The reserves of a pool in the direction of a swap, in the tokens' smallest units."""

    pool: str
    reserve_in: int
    reserve_out: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What a swap would do at a block. ``path`` has the tokens, ``pools`` the state of each hop.

    ``price_impact`` is the fraction by which the swap's own size worsens its price, without the fee.
    """

    block: BlockHeader
    path: tuple[str, ...]
    pools: tuple[PoolState, ...]
    amount_in: int
    amount_out: int
    mid_amount_out: Fraction
    price_impact: Fraction


def get_amount_out(amount_in: int, reserve_in: int, reserve_out: int, fee: Fraction = Fraction(3, 1000)) -> int:
    """Return what a pool gives for an input; raises BadInput when either is not positive.

    ``amountInWithFee * reserveOut / (reserveIn * 1000 + amountInWithFee)``, rounded down.
    """
    _require_positive(amount_in, "amount_in")
    _require_liquidity(reserve_in, reserve_out)
    kept = 1 - fee
    with_fee = amount_in * kept.numerator
    return with_fee * reserve_out // (reserve_in * kept.denominator + with_fee)


def get_amount_in(amount_out: int, reserve_in: int, reserve_out: int, fee: Fraction = Fraction(3, 1000)) -> int:
    """Return the least input that gets an output; raises BadInput when the pool does not have it.

    ``reserveIn * amountOut * 1000 / ((reserveOut - amountOut) * 997) + 1``, rounded down.
    """
    _require_positive(amount_out, "amount_out")
    _require_liquidity(reserve_in, reserve_out)
    if amount_out >= reserve_out:
        raise BadInput(f"A pool with {reserve_out} cannot give {amount_out}: ask for less")
    kept = 1 - fee
    return reserve_in * amount_out * kept.denominator // ((reserve_out - amount_out) * kept.numerator) + 1


def quote_route(pools: Sequence[PoolState], amount_in: int, fee: Fraction) -> tuple[int, Fraction]:
    """Return the output of an input over one or more pools, and the output at mid prices without fee."""
    amount, mid = amount_in, Fraction(amount_in)
    for pool in pools:
        amount = get_amount_out(amount, pool.reserve_in, pool.reserve_out, fee)
        mid *= Fraction(pool.reserve_out, pool.reserve_in)
    return amount, mid


def price_impact(pools: Sequence[PoolState], amount_in: int, fee: Fraction) -> Fraction:
    """Return the fraction a swap loses to its own size: 1 - unrounded output / output at mid prices less fees."""
    amount, expected = Fraction(amount_in), Fraction(amount_in)
    for pool in pools:
        with_fee = amount * (1 - fee)
        amount = with_fee * pool.reserve_out / (pool.reserve_in + with_fee)
        expected *= (1 - fee) * Fraction(pool.reserve_out, pool.reserve_in)
    return 1 - amount / expected


def read_pool(
    client: EvmClient, deployment: UniswapV2Deployment, token_in: str, token_out: str, block: BlockHeader
) -> PoolState:
    """Read the reserves of the pool of two tokens; raises ContractMissing when there is none."""
    (pool,) = client.call(deployment.factory, GET_PAIR, (token_in, token_out), block)
    if pool == NO_PAIR:
        raise ContractMissing(f"Factory {deployment.factory} has no pool of {token_in} and {token_out}")
    (token0,) = client.call(pool, TOKEN0, (), block)
    reserve0, reserve1, _ = client.call(pool, GET_RESERVES, (), block)
    is_zero_for_one = token0.lower() == token_in.lower()
    return PoolState(pool, *((reserve0, reserve1) if is_zero_for_one else (reserve1, reserve0)))


def read_quote(
    client: EvmClient, deployment: UniswapV2Deployment, path: Sequence[str], amount_in: int, block: BlockHeader
) -> Quote:
    """Quote a swap along a path of two or three tokens at a block; raises BadInput, ContractMissing."""
    tokens = tuple(require_address(token, "token") for token in path)
    if not 2 <= len(tokens) <= MAX_HOPS + 1 or len(set(tokens)) != len(tokens):
        raise BadInput(f"A path has two or three different tokens, this one is {tokens}")
    pools = tuple(read_pool(client, deployment, *hop, block) for hop in pairwise(tokens))
    amount_out, mid = quote_route(pools, amount_in, deployment.fee)
    return Quote(
        block=block,
        path=tokens,
        pools=pools,
        amount_in=amount_in,
        amount_out=amount_out,
        mid_amount_out=mid,
        price_impact=price_impact(pools, amount_in, deployment.fee),
    )


def swap(
    deployment: UniswapV2Deployment,
    quote: Quote,
    wallet: str,
    *,
    slippage: Fraction,
    deadline_s: int,
    max_price_impact: Fraction = Fraction(1, 10),
) -> ContractCall:
    """Return the swap of a quote: at least its output less the slippage, and only until the deadline.

    The deadline counts from the quote's block in the chain's own time; after it the call can have no effect. Raises
    BadInput for a slippage outside 0 .. 33 %, PriceImpactToleranceExceeded.
    """
    if not 0 <= slippage < MAX_SLIPPAGE:
        raise BadInput(f"The slippage tolerance is {float(slippage)}: expected a fraction of at least 0, below 0.33")
    if deadline_s <= 0:
        raise BadInput(f"The deadline is {deadline_s} s after the quote: it must be positive")
    if quote.price_impact > max_price_impact:
        raise PriceImpactToleranceExceeded(
            f"The swap of {quote.amount_in} along {quote.path} has a price impact of {float(quote.price_impact):.4%}, "
            f"allowed are {float(max_price_impact):.4%}: trade less or allow more"
        )
    kept = 1 - slippage
    least = -(-quote.amount_out * kept.numerator // kept.denominator)
    deadline = quote.block.timestamp + deadline_s
    path: list[Plain] = [*quote.path]
    arguments = (quote.amount_in, least, path, require_address(wallet, "wallet"), deadline)
    return SWAP.call(deployment.router, arguments, expires_at=deadline)


def _require_positive(amount: int, name: str) -> None:
    if amount <= 0:
        raise BadInput(f"{name} is {amount}: it must be positive, in the token's smallest unit")


def _require_liquidity(reserve_in: int, reserve_out: int) -> None:
    if reserve_in <= 0 or reserve_out <= 0:
        raise BadInput(f"The pool has reserves {reserve_in} and {reserve_out}: it has no liquidity")
