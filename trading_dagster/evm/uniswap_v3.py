"""Uniswap v3 and its forks: pools by fee tier, exact mid prices, quotes of QuoterV2, swaps that expire on the chain.

A quote at the state of the swap equals the fill to the unit. Sources: UniswapV3Pool.sol (``slot0``), QuoterV2.sol,
SwapRouter.sol and SwapRouter02.sol. Fees are in the contracts' unit, millionths: 3000 is 0.3 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from itertools import pairwise
from typing import Any

from trading_dagster.domain.error import BadInput, CallReverted, ContractMissing, PriceImpactToleranceExceeded
from trading_dagster.domain.transaction import Plain, require_address
from trading_dagster.evm.abi import ContractCall, Function
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient

GET_POOL = Function("getPool", ("address", "address", "uint24"), ("address",))
SLOT0 = Function("slot0", (), ("uint160", "int24"))  # the fields after these differ between forks
LIQUIDITY = Function("liquidity", (), ("uint128",))
QUOTE = Function("quoteExactInput", ("bytes", "uint256"), ("uint256", "uint160[]", "uint32[]", "uint256"))
SWAP_WITH_DEADLINE = Function("exactInput", ("(bytes,address,uint256,uint256,uint256)",), ("uint256",))
SWAP_SINGLE_WITH_DEADLINE = Function(
    "exactInputSingle", ("(address,address,uint24,address,uint256,uint256,uint256,uint160)",), ("uint256",)
)
SWAP = Function("exactInput", ("(bytes,address,uint256,uint256)",), ("uint256",))
SWAP_SINGLE = Function("exactInputSingle", ("(address,address,uint24,address,uint256,uint256,uint160)",), ("uint256",))
MULTICALL_UNTIL = Function("multicall", ("uint256", "bytes[]"), ("bytes[]",))

NO_POOL = "0x" + "0" * 40
MAX_HOPS = 2
MAX_SLIPPAGE = Fraction(33, 100)
FEE_UNIT = 1_000_000
Q192 = 2**192
MIN_SQRT_PRICE = 4295128739
MAX_SQRT_PRICE = 1461446703485210103287273052203988822378723970342
"""The ends of all prices (TickMath.sol): a swap that gets there has taken all there is and leaves input over."""
NO_PRICE_LIMIT = 0


class RouterKind(Enum):
    """How a router takes the deadline."""

    swap_router = "swap_router"
    """The first SwapRouter: a field of each swap."""
    swap_router_02 = "swap_router_02"
    """SwapRouter02 and PancakeSwap's SmartRouter: swaps have none, ``multicall(deadline, data)`` around them does."""


@dataclass(frozen=True, slots=True)
class UniswapV3Deployment:
    """Where a fork of Uniswap v3 is. ``fee_tiers`` are in millionths; PancakeSwap has 2500 in the place of 3000."""

    factory: str
    router: str
    quoter: str
    router_kind: RouterKind = RouterKind.swap_router_02
    fee_tiers: tuple[int, ...] = (100, 500, 3000, 10000)

    def __post_init__(self) -> None:
        """Check and normalise."""
        for name in ("factory", "router", "quoter"):
            object.__setattr__(self, name, require_address(getattr(self, name), name))
        if not self.fee_tiers or not all(0 < fee < FEE_UNIT for fee in self.fee_tiers):
            raise BadInput(
                f"The fee tiers of factory {self.factory} are {self.fee_tiers}: expected millionths, 3000 for 0.3 %"
            )


@dataclass(frozen=True, slots=True)
class PoolV3State:
    """A pool in the direction of a swap at a block.

    ``mid_price`` is the output for one smallest unit of the input, in the smallest unit of the output, without fee:
    exactly ``(sqrtPriceX96 / 2**96) ** 2`` or its inverse. ``liquidity`` is what is active at that price.
    """

    pool: str
    fee: int
    liquidity: int
    mid_price: Fraction


@dataclass(frozen=True, slots=True)
class QuoteV3:
    """What a swap would do at a block. ``path`` has the tokens, ``pools`` the state of each hop before the swap.

    ``mid_amount_out`` is the output at mid prices without fees. ``price_impact`` is the fraction by which the swap's
    own size worsens its price, fees excluded; rounding to whole units is in it, which matters for tiny amounts only.
    ``gas_estimate`` is the quoter's, for the swap alone.
    """

    block: BlockHeader
    path: tuple[str, ...]
    pools: tuple[PoolV3State, ...]
    amount_in: int
    amount_out: int
    mid_amount_out: Fraction
    price_impact: Fraction
    gas_estimate: int


def mid_price(sqrt_price_x96: int, *, is_zero_for_one: bool) -> Fraction:
    """Return the output per input, both in smallest units, for a pool's square root price.

    Raises BadInput when the pool was never given a price.
    """
    if sqrt_price_x96 <= 0:
        raise BadInput(f"The square root price is {sqrt_price_x96}: the pool was made but never given a price")
    price = Fraction(sqrt_price_x96 * sqrt_price_x96, Q192)
    return price if is_zero_for_one else 1 / price


def encode_path(tokens: Sequence[str], fees: Sequence[int]) -> bytes:
    """Return token, fee, token[, fee, token] packed as Path.sol reads it: 20 bytes a token, 3 a fee."""
    packed = bytes.fromhex(tokens[0][2:])
    for fee, token in zip(fees, tokens[1:], strict=True):
        packed += fee.to_bytes(3, "big") + bytes.fromhex(token[2:])
    return packed


def find_pool(
    client: EvmClient, deployment: UniswapV3Deployment, token_a: str, token_b: str, fee: int, block: BlockHeader
) -> str | None:
    """Return the address of the pool of two tokens and a fee tier, or None when there is none."""
    (pool,) = client.call(deployment.factory, GET_POOL, (token_a, token_b, fee), block)
    return None if pool == NO_POOL else str(pool).lower()


def find_pools(
    client: EvmClient, deployment: UniswapV3Deployment, token_a: str, token_b: str, block: BlockHeader
) -> dict[int, str]:
    """Return the pools of two tokens by fee tier; empty when there are none."""
    found = {fee: find_pool(client, deployment, token_a, token_b, fee, block) for fee in deployment.fee_tiers}
    return {fee: pool for fee, pool in found.items() if pool is not None}


def read_pool(
    client: EvmClient, deployment: UniswapV3Deployment, token_in: str, token_out: str, fee: int, block: BlockHeader
) -> PoolV3State:
    """Read a pool's price and active liquidity; raises ContractMissing without a pool, BadInput without a price."""
    pool = find_pool(client, deployment, token_in, token_out, fee, block)
    if pool is None:
        others = sorted(find_pools(client, deployment, token_in, token_out, block))
        raise ContractMissing(
            f"Factory {deployment.factory} has no pool of {token_in} and {token_out} with fee {fee}; "
            + (f"there are pools with the fees {others}" if others else "nor with another fee")
        )
    sqrt_price, _ = client.call(pool, SLOT0, (), block)
    (liquidity,) = client.call(pool, LIQUIDITY, (), block)
    is_zero_for_one = int(token_in, 16) < int(token_out, 16)
    return PoolV3State(pool, fee, liquidity, mid_price(sqrt_price, is_zero_for_one=is_zero_for_one))


def read_quote(
    client: EvmClient,
    deployment: UniswapV3Deployment,
    path: Sequence[str],
    fees: Sequence[int],
    amount_in: int,
    block: BlockHeader,
) -> QuoteV3:
    """Quote a swap along two or three tokens, each hop through the pool of its fee, at a block.

    Raises BadInput for a bad path or amount or a pool that gives nothing, ContractMissing without a pool, and
    PriceImpactToleranceExceeded when the pools cannot take the whole input: the contracts would swap a part of it.
    """
    tokens = tuple(require_address(token, "token") for token in path)
    _require_route(tokens, fees, amount_in)
    pools = tuple(
        read_pool(client, deployment, *hop, fee, block) for hop, fee in zip(pairwise(tokens), fees, strict=True)
    )
    amount_out, prices_after, gas = _ask_quoter(client, deployment, tokens, pools, amount_in, block)
    for pool, after in zip(pools, prices_after, strict=True):
        if not MIN_SQRT_PRICE + 1 < after < MAX_SQRT_PRICE - 1:
            raise PriceImpactToleranceExceeded(
                f"Pool {pool.pool} has not the liquidity to swap {amount_in} along {tokens}: it would give "
                f"{amount_out} for a part of it; trade less or by another pool"
            )
    if amount_out <= 0:
        raise BadInput(f"{amount_in} along {tokens} gives nothing: the amount is below one unit of the output")
    mid, less_fees = Fraction(amount_in), Fraction(1)
    for pool in pools:
        mid *= pool.mid_price
        less_fees *= 1 - Fraction(pool.fee, FEE_UNIT)
    return QuoteV3(
        block=block,
        path=tokens,
        pools=pools,
        amount_in=amount_in,
        amount_out=amount_out,
        mid_amount_out=mid,
        price_impact=1 - amount_out / (mid * less_fees),
        gas_estimate=gas,
    )


def _ask_quoter(
    client: EvmClient,
    deployment: UniswapV3Deployment,
    tokens: Sequence[str],
    pools: Sequence[PoolV3State],
    amount_in: int,
    block: BlockHeader,
) -> tuple[int, Sequence[int], int]:
    """Return output, square root price of each pool after the swap, and gas."""
    path = encode_path(tokens, [pool.fee for pool in pools])
    try:
        amount_out, prices_after, _, gas = client.call(deployment.quoter, QUOTE, (path, amount_in), block)
    except CallReverted as error:
        empty = [pool.pool for pool in pools if pool.liquidity == 0]
        if not empty:
            raise
        raise PriceImpactToleranceExceeded(
            f"Pool {empty[0]} has no liquidity at its price, so {amount_in} along {tokens} cannot be swapped: "
            "trade by another pool"
        ) from error
    return amount_out, prices_after, gas


def swap(
    deployment: UniswapV3Deployment,
    quote: QuoteV3,
    wallet: str,
    *,
    slippage: Fraction,
    deadline_s: int,
    max_price_impact: Fraction = Fraction(1, 10),
) -> ContractCall:
    """Return the swap of a quote: at least its output less the slippage, and only until the deadline.

    The deadline counts from the quote's block in the chain's own time; after it the call can have no effect, whichever
    router it is. Raises BadInput for a slippage outside 0 .. 33 %, PriceImpactToleranceExceeded.
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
    recipient = require_address(wallet, "wallet")
    fees = [pool.fee for pool in quote.pools]
    path: list[Plain] = [*quote.path]
    shown: dict[str, Plain] = {
        "path": path,
        "fees": [*fees],
        "recipient": recipient,
        "amountIn": quote.amount_in,
        "amountOutMinimum": least,
        "deadline": deadline,
    }
    if deployment.router_kind is RouterKind.swap_router:
        function, data = _encode_swap(quote, fees, (recipient, deadline, quote.amount_in, least))
        return _contract_call(deployment.router, function.signature, data, shown, deadline)
    function, inner = _encode_swap(quote, fees, (recipient, quote.amount_in, least))
    data = MULTICALL_UNTIL.encode(deadline, [bytes.fromhex(inner[2:])])
    name = f"{MULTICALL_UNTIL.signature} of {function.signature}"
    return _contract_call(deployment.router, name, data, shown, deadline)


def _encode_swap(quote: QuoteV3, fees: Sequence[int], terms: tuple[Any, ...]) -> tuple[Function, str]:
    """Encode one swap; ``terms`` are recipient, deadline where the router has it, input and least output."""
    has_deadline = len(terms) == 4
    if len(fees) == 1:
        function = SWAP_SINGLE_WITH_DEADLINE if has_deadline else SWAP_SINGLE
        return function, function.encode((*quote.path, fees[0], *terms, NO_PRICE_LIMIT))
    function = SWAP_WITH_DEADLINE if has_deadline else SWAP
    return function, function.encode((encode_path(quote.path, fees), *terms))


def _contract_call(
    router: str, function: str, data: str, arguments: Mapping[str, Plain], expires_at: int
) -> ContractCall:
    return ContractCall(to=router, data=data, function=function, arguments=arguments, expires_at=expires_at)


def _require_route(tokens: Sequence[str], fees: Sequence[int], amount_in: int) -> None:
    if not 2 <= len(tokens) <= MAX_HOPS + 1 or len(set(tokens)) != len(tokens):
        raise BadInput(f"A path has two or three different tokens, this one is {tokens}")
    if len(fees) != len(tokens) - 1 or not all(0 < fee < FEE_UNIT for fee in fees):
        raise BadInput(f"A path of {len(tokens)} tokens needs a fee for each hop, in millionths; they are {list(fees)}")
    if amount_in <= 0:
        raise BadInput(f"amount_in is {amount_in}: it must be positive, in the token's smallest unit")
