"""Uniswap v2 and its forks: exact integer arithmetic, quotes at a block, swaps with a tolerance and a deadline.

The arithmetic is that of UniswapV2Library and UniswapV2Pair: the fee is taken from the input, divisions round in favour
of the pool, and a quote at the state of the swap equals the fill to the unit (tokens that tax transfers excepted).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from trading_dagster.domain.error import BadInput, ContractMissing, PoolEmpty, PriceImpactToleranceExceeded
from trading_dagster.domain.transaction import Plain, require_address
from trading_dagster.evm.abi import ContractCall, Function
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Route, RouteQuote

GET_PAIR = Function("getPair", ("address", "address"), ("address",))
GET_RESERVES = Function("getReserves", (), ("uint112", "uint112", "uint32"))
TOKEN0 = Function("token0", (), ("address",))
SWAP = Function(
    "swapExactTokensForTokensSupportingFeeOnTransferTokens",
    ("uint256", "uint256", "address[]", "address", "uint256"),
    (),
    ("amountIn", "amountOutMin", "path", "to", "deadline"),
)
SWAP_OUTPUT = Function(
    "swapTokensForExactTokens",
    ("uint256", "uint256", "address[]", "address", "uint256"),
    ("uint256[]",),
    ("amountOut", "amountInMax", "path", "to", "deadline"),
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
    """Return what a pool gives for an input; raises BadInput when it is not positive, PoolEmpty without reserves.

    ``amountInWithFee * reserveOut / (reserveIn * 1000 + amountInWithFee)``, rounded down.
    """
    _require_positive(amount_in, "amount_in")
    _require_liquidity(reserve_in, reserve_out)
    kept = 1 - fee
    with_fee = amount_in * kept.numerator
    return with_fee * reserve_out // (reserve_in * kept.denominator + with_fee)


def get_amount_in(amount_out: int, reserve_in: int, reserve_out: int, fee: Fraction = Fraction(3, 1000)) -> int:
    """Return the least input that gets an output; raises BadInput when the pool has less, PoolEmpty when nothing.

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


def find_pool(
    client: EvmClient, deployment: UniswapV2Deployment, token_a: str, token_b: str, block: BlockHeader
) -> str:
    """Return the address of the pool of two tokens; raises ContractMissing when there is none."""
    (pool,) = client.call(deployment.factory, GET_PAIR, (token_a, token_b), block)
    if pool == NO_PAIR:
        raise ContractMissing(f"Factory {deployment.factory} has no pool of {token_a} and {token_b}")
    return str(pool)


def read_pool(
    client: EvmClient, deployment: UniswapV2Deployment, token_in: str, token_out: str, block: BlockHeader
) -> PoolState:
    """Read the reserves of the pool of two tokens; raises ContractMissing when there is none."""
    pool = find_pool(client, deployment, token_in, token_out, block)
    (token0,) = client.call(pool, TOKEN0, (), block)
    reserve0, reserve1, _ = client.call(pool, GET_RESERVES, (), block)
    is_zero_for_one = token0.lower() == token_in.lower()
    return PoolState(pool, *((reserve0, reserve1) if is_zero_for_one else (reserve1, reserve0)))


def read_quote(
    client: EvmClient, deployment: UniswapV2Deployment, path: Sequence[str], amount_in: int, block: BlockHeader
) -> Quote:
    """Quote a swap along a path of two or three tokens at a block; raises BadInput, ContractMissing, PoolEmpty."""
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


class PoolStates:
    """Pools of a factory as they were at the block asked for last: read once a block, found once."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._pools: dict[tuple[int, str, str], str] = {}
        self._at = ""
        self._states: dict[tuple[str, str], PoolState] = {}

    def read(
        self, client: EvmClient, deployment: UniswapV2Deployment, token_in: str, token_out: str, block: BlockHeader
    ) -> PoolState:
        """Return the state of the pool of two tokens at a block; raises ContractMissing when there is none."""
        if self._at != block.hash:
            self._at, self._states = block.hash, {}
        if (token_in, token_out) not in self._states:
            first, second = sorted((token_in, token_out))  # the factory's own order
            pool = self._pools.get((client.chain_id, first, second)) or find_pool(
                client, deployment, first, second, block
            )
            self._pools[client.chain_id, first, second] = pool
            reserve0, reserve1, _ = client.call(pool, GET_RESERVES, (), block)
            self._states[first, second] = PoolState(pool, reserve0, reserve1)
            self._states[second, first] = PoolState(pool, reserve1, reserve0)
        return self._states[token_in, token_out]


@dataclass(frozen=True, slots=True)
class UniswapV2Dex:
    """A fork of Uniswap v2 as an exchange. All its pools have one fee; tokens that tax transfers can be swapped."""

    deployment: UniswapV2Deployment
    name: str = "Uniswap v2"
    _states: PoolStates = field(init=False, repr=False, compare=False, default_factory=PoolStates)

    @property
    def spender(self) -> str:
        """Return the router."""
        return self.deployment.router

    @property
    def contracts(self) -> Sequence[str]:
        """Return factory and router."""
        return (self.deployment.factory, self.deployment.router)

    @property
    def max_hops(self) -> int:
        """Return how many pools a swap may go through."""
        return MAX_HOPS

    def quote(self, client: EvmClient, route: Route, amount_in: int, block: BlockHeader) -> RouteQuote:
        """Quote a swap at a block; raises BadInput, ContractMissing, PoolEmpty."""
        self._require_fee(route)
        pools = self._read_pools(client, route, block)
        fee = self.deployment.fee
        amount_out, mid = quote_route(pools, amount_in, fee)
        return RouteQuote(
            block=block,
            route=route,
            amount_in=amount_in,
            amount_out=amount_out,
            mid_amount_out=mid,
            fee=1 - (1 - fee) ** len(pools),
            price_impact=price_impact(pools, amount_in, fee),
        )

    def read_mid_price(self, client: EvmClient, route: Route, block: BlockHeader) -> Fraction:
        """Return the quotient of the reserves along a route; raises BadInput, ContractMissing, PoolEmpty."""
        self._require_fee(route)
        price = Fraction(1)
        for pool in self._read_pools(client, route, block):
            _require_liquidity(pool.reserve_in, pool.reserve_out)
            price *= Fraction(pool.reserve_out, pool.reserve_in)
        return price

    def build_swap(
        self, route: Route, amount_in: int, min_amount_out: int, recipient: str, deadline: int
    ) -> ContractCall:
        """Return the swap, which also takes tokens that tax transfers; raises BadInput."""
        self._require_fee(route)
        _require_positive(amount_in, "amount_in")
        path: list[Plain] = [*route.tokens]
        arguments = (amount_in, min_amount_out, path, require_address(recipient, "recipient"), deadline)
        return SWAP.call(self.deployment.router, arguments, expires_at=deadline)

    def quote_output(self, client: EvmClient, route: Route, amount_out: int, block: BlockHeader) -> int:
        """Return the least input for an exact output; raises BadInput, ContractMissing, PoolEmpty."""
        self._require_fee(route)
        amount = amount_out
        for pool in reversed(self._read_pools(client, route, block)):
            if 0 < pool.reserve_out <= amount:
                raise PoolEmpty(f"Pool {pool.pool} of {self.name} has {pool.reserve_out}, it cannot give {amount}")
            amount = get_amount_in(amount, pool.reserve_in, pool.reserve_out, self.deployment.fee)
        return amount

    def build_output_swap(
        self, route: Route, amount_out: int, max_amount_in: int, recipient: str, deadline: int
    ) -> ContractCall:
        """Return the swap for an exact output; raises BadInput."""
        self._require_fee(route)
        _require_positive(amount_out, "amount_out")
        _require_positive(max_amount_in, "max_amount_in")
        path: list[Plain] = [*route.tokens]
        arguments = (amount_out, max_amount_in, path, require_address(recipient, "recipient"), deadline)
        return SWAP_OUTPUT.call(self.deployment.router, arguments, expires_at=deadline)

    def _read_pools(self, client: EvmClient, route: Route, block: BlockHeader) -> tuple[PoolState, ...]:
        return tuple(
            self._states.read(client, self.deployment, hop.token_in, hop.token_out, block) for hop in route.hops
        )

    def _require_fee(self, route: Route) -> None:
        if len(route.hops) > MAX_HOPS:
            raise BadInput(f"{self.name} swaps through at most {MAX_HOPS} pools, this route is {route.tokens}")
        for hop in route.hops:
            if hop.fee is not None and hop.fee != self.deployment.fee:
                raise BadInput(
                    f"The pool of {hop.token_in} and {hop.token_out} takes {float(self.deployment.fee):.4%} on "
                    f"{self.name}, the universe's pair says {float(hop.fee):.4%}: correct the pair's fee"
                )


def _require_positive(amount: int, name: str) -> None:
    if amount <= 0:
        raise BadInput(f"{name} is {amount}: it must be positive, in the token's smallest unit")


def _require_liquidity(reserve_in: int, reserve_out: int) -> None:
    if reserve_in <= 0 or reserve_out <= 0:
        raise PoolEmpty(f"The pool has reserves {reserve_in} and {reserve_out}: there is nothing to trade against")
