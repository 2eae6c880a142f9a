"""Uniswap v3 and its forks: pools by fee tier, exact mid prices, quotes of QuoterV2, swaps that expire on the chain.

A quote at the state of the swap equals the fill to the unit. Sources: UniswapV3Pool.sol (``slot0``), QuoterV2.sol,
SwapRouter.sol and SwapRouter02.sol. The contracts count fees in millionths: 3000 is 0.3 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction

from trading_dagster.domain.error import BadInput, CallReverted, ContractMissing, PoolEmpty
from trading_dagster.domain.transaction import Plain, require_address
from trading_dagster.evm.abi import ContractCall, Function
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import FEE_DENOMINATOR, Hop, Route, RouteQuote

GET_POOL = Function("getPool", ("address", "address", "uint24"), ("address",))
SLOT0 = Function("slot0", (), ("uint160", "int24"))  # the fields after these differ between forks
LIQUIDITY = Function("liquidity", (), ("uint128",))
QUOTE_ANSWER = ("uint256", "uint160[]", "uint32[]", "uint256")
QUOTE = Function("quoteExactInput", ("bytes", "uint256"), QUOTE_ANSWER)
QUOTE_OUTPUT = Function("quoteExactOutput", ("bytes", "uint256"), QUOTE_ANSWER)
MULTICALL_UNTIL = Function("multicall", ("uint256", "bytes[]"), ("bytes[]",))

NO_POOL = "0x" + "0" * 40
MAX_HOPS = 2
Q192 = 2**192
NO_PRICE_LIMIT = 0


class SwapKind(Enum):
    """Which side of a swap is exact: the router's names of the function through one pool and through more."""

    exact_input = ("exactInput", "amountIn", "amountOutMinimum")
    exact_output = ("exactOutput", "amountOut", "amountInMaximum")

    def function(self, *, is_single: bool, has_deadline: bool) -> Function:
        """Return the router's function."""
        until = "uint256," if has_deadline else ""
        name = self.value[0]
        if is_single:
            fields = f"(address,address,uint24,address,{until}uint256,uint256,uint160)"
            return Function(f"{name}Single", (fields,), ("uint256",))
        return Function(name, (f"(bytes,address,{until}uint256,uint256)",), ("uint256",))


class RouterKind(Enum):
    """How a router takes the deadline."""

    swap_router = "swap_router"
    """The first SwapRouter: a field of each swap."""
    swap_router_02 = "swap_router_02"
    """SwapRouter02 and PancakeSwap's SmartRouter: swaps have none, ``multicall(deadline, data)`` around them does."""


@dataclass(frozen=True, slots=True)
class PoolV3State:
    """A pool in the direction of a hop at a block.

    ``mid_price`` is units of the output for one unit of the input, both the smallest, without fee: exactly
    ``(sqrtPriceX96 / 2**96) ** 2`` or its inverse. ``liquidity`` is what is active at that price.
    """

    pool: str
    fee: Fraction
    liquidity: int
    mid_price: Fraction


@dataclass(frozen=True, slots=True)
class UniswapV3Dex:
    """A fork of Uniswap v3: a ``Dex``. ``quoter`` is a QuoterV2; ``fee_tiers`` are fractions, in any order.

    Every hop of a route needs the fee of its pool; ``choose_pools`` finds the deepest where it does not matter. Tokens
    that tax transfers can be bought but not sold here: a v3 pool refuses an input that arrives short.
    """

    factory: str
    router: str
    quoter: str
    router_kind: RouterKind = RouterKind.swap_router_02
    fee_tiers: tuple[Fraction, ...] = (
        Fraction(1, 10_000),
        Fraction(5, 10_000),
        Fraction(30, 10_000),
        Fraction(100, 10_000),
    )
    name: str = "Uniswap v3"

    def __post_init__(self) -> None:
        """Check and normalise."""
        for field in ("factory", "router", "quoter"):
            object.__setattr__(self, field, require_address(getattr(self, field), field))
        if not self.fee_tiers:
            raise BadInput(f"{self.name} has no fee tiers: give at least one, such as Fraction(3, 1000)")
        for fee in self.fee_tiers:
            to_fee_units(fee)

    @property
    def spender(self) -> str:
        """Return the router."""
        return self.router

    @property
    def contracts(self) -> Sequence[str]:
        """Return factory, router and quoter."""
        return (self.factory, self.router, self.quoter)

    @property
    def max_hops(self) -> int:
        """Return 2."""
        return MAX_HOPS

    # Pools

    def find_pools(self, client: EvmClient, token_a: str, token_b: str, block: BlockHeader) -> Mapping[Fraction, str]:
        """Return the pools of two tokens by fee tier; empty when there are none."""
        found = {fee: self._find_pool(client, token_a, token_b, fee, block) for fee in self.fee_tiers}
        return {fee: pool for fee, pool in found.items() if pool is not None}

    def choose_pools(self, client: EvmClient, route: Route, block: BlockHeader) -> Route:
        """Return a route where each hop without a fee has that of the pool with most liquidity at its price."""
        return Route(tuple(self._choose_pool(client, hop, block) for hop in route.hops))

    def read_pool(self, client: EvmClient, hop: Hop, block: BlockHeader) -> PoolV3State:
        """Read a pool's price and active liquidity.

        Raises BadInput when the hop has no fee, ContractMissing without a pool, PoolEmpty when it never had a price.
        """
        if hop.fee is None:
            raise BadInput(f"The hop from {hop.token_in} to {hop.token_out} needs its pool's fee on {self.name}")
        pool = self._find_pool(client, hop.token_in, hop.token_out, hop.fee, block)
        if pool is None:
            others = [f"{float(fee):.2%}" for fee in self.find_pools(client, hop.token_in, hop.token_out, block)]
            raise ContractMissing(
                f"{self.name} (factory {self.factory}) has no pool of {hop.token_in} and {hop.token_out} with the fee "
                f"{float(hop.fee):.2%}; " + (f"it has with {', '.join(others)}" if others else "nor with another fee")
            )
        sqrt_price, _ = client.call(pool, SLOT0, (), block)
        if sqrt_price == 0:
            raise PoolEmpty(f"Pool {pool} of {self.name} was made but never given a price: trade by another pool")
        (liquidity,) = client.call(pool, LIQUIDITY, (), block)
        is_zero_for_one = int(hop.token_in, 16) < int(hop.token_out, 16)
        return PoolV3State(pool, hop.fee, liquidity, to_mid_price(sqrt_price, is_zero_for_one=is_zero_for_one))

    # The port

    def read_mid_price(self, client: EvmClient, route: Route, block: BlockHeader) -> Fraction:
        """Return units of the output token a unit of the input token is worth, without fee and impact."""
        price = Fraction(1)
        for pool in self._read_pools(client, route, block):
            price *= pool.mid_price
        return price

    def quote(self, client: EvmClient, route: Route, amount_in: int, block: BlockHeader) -> RouteQuote:
        """Quote a swap of an exact input at a block.

        A pool that has not the liquidity for all of the input swaps a part: then the output is what that part brings,
        and the price impact is accordingly large. An input worth less than one unit brings 0. The price impact has the
        rounding to whole units in it, which matters for tiny amounts only.
        """
        if amount_in <= 0:
            raise BadInput(f"amount_in is {amount_in}: it must be positive, in the token's smallest unit")
        pools = self._read_pools(client, route, block)
        amount_out = self._ask_quoter(client, route, pools, amount_in, block)
        mid, kept = Fraction(amount_in), Fraction(1)
        for pool in pools:
            mid *= pool.mid_price
            kept *= 1 - pool.fee
        return RouteQuote(
            block=block,
            route=route,
            amount_in=amount_in,
            amount_out=amount_out,
            mid_amount_out=mid,
            fee=1 - kept,
            price_impact=1 - amount_out / (mid * kept),
        )

    def build_swap(
        self, route: Route, amount_in: int, min_amount_out: int, recipient: str, deadline: int
    ) -> ContractCall:
        """Return the swap: at least ``min_amount_out``, and no effect in a block later than ``deadline``.

        When pools changed so that they take a part of the input only, and that brings the least output nevertheless,
        the first pool leaves the rest with the payer, but a second pool leaves it in the router, for anybody to take:
        the least output is what protects, so let it be near the quote.
        """
        return self._build(SwapKind.exact_input, route, amount_in, min_amount_out, recipient, deadline)

    def quote_output(self, client: EvmClient, route: Route, amount_out: int, block: BlockHeader) -> int:
        """Return the least input for an exact output; raises BadInput, ContractMissing, PoolEmpty."""
        if amount_out <= 0:
            raise BadInput(f"amount_out is {amount_out}: it must be positive, in the token's smallest unit")
        self._read_pools(client, route, block)
        path = encode_path(route.tokens[::-1], _require_fees(route)[::-1])
        try:
            amount_in, *_ = client.call(self.quoter, QUOTE_OUTPUT, (path, amount_out), block)
        except CallReverted as error:
            raise PoolEmpty(
                f"The pools of {self.name} along {route.tokens} cannot give {amount_out}: ask for less, or trade by "
                f"others ({error})"
            ) from error
        return int(amount_in)

    def build_output_swap(
        self, route: Route, amount_out: int, max_amount_in: int, recipient: str, deadline: int
    ) -> ContractCall:
        """Return the swap for an exact output; pools that have not as much make it fail."""
        return self._build(SwapKind.exact_output, route, amount_out, max_amount_in, recipient, deadline)

    def _build(
        self, kind: SwapKind, route: Route, amount: int, limit: int, recipient: str, deadline: int
    ) -> ContractCall:
        fees = _require_fees(route)
        _, exact, limited = kind.value
        if amount <= 0 or limit <= 0 or deadline <= 0:
            raise BadInput(
                f"A swap needs a positive {exact}, {limited} and deadline; they are {amount}, {limit}, {deadline}"
            )
        recipient = require_address(recipient, "recipient")
        arguments: dict[str, Plain] = {
            "path": [*route.tokens],
            "fees": [*fees],
            "recipient": recipient,
            exact: amount,
            limited: limit,
            "deadline": deadline,
        }
        is_single, takes_deadline = len(route.hops) == 1, self.router_kind is RouterKind.swap_router
        swap = kind.function(is_single=is_single, has_deadline=takes_deadline)
        # A path of an exact output is read from its end.
        turn = -1 if kind is SwapKind.exact_output else 1
        head = (*route.tokens, fees[0]) if is_single else (encode_path(route.tokens[::turn], fees[::turn]),)
        until = (deadline,) if takes_deadline else ()
        data = swap.encode((*head, recipient, *until, amount, limit, *((NO_PRICE_LIMIT,) if is_single else ())))
        if takes_deadline:
            return ContractCall(self.router, data, swap.signature, arguments, expires_at=deadline)
        name = f"{MULTICALL_UNTIL.signature} of {swap.signature}"
        data = MULTICALL_UNTIL.encode(deadline, [bytes.fromhex(data[2:])])
        return ContractCall(self.router, data, name, arguments, expires_at=deadline)

    def _find_pool(
        self, client: EvmClient, token_a: str, token_b: str, fee: Fraction, block: BlockHeader
    ) -> str | None:
        (pool,) = client.call(self.factory, GET_POOL, (token_a, token_b, to_fee_units(fee)), block)
        return None if pool == NO_POOL else str(pool).lower()

    def _choose_pool(self, client: EvmClient, hop: Hop, block: BlockHeader) -> Hop:
        if hop.fee is not None:
            return hop
        depths: dict[Fraction, int] = {}
        for fee, pool in sorted(self.find_pools(client, hop.token_in, hop.token_out, block).items()):
            (depths[fee],) = client.call(pool, LIQUIDITY, (), block)
        if not depths:
            raise ContractMissing(
                f"{self.name} (factory {self.factory}) has no pool of {hop.token_in} and {hop.token_out}"
            )
        return replace(hop, fee=max(depths, key=lambda fee: depths[fee]))

    def _read_pools(self, client: EvmClient, route: Route, block: BlockHeader) -> tuple[PoolV3State, ...]:
        if len(route.hops) > MAX_HOPS:
            raise BadInput(f"A route of {self.name} has at most {MAX_HOPS} hops, this one is {route.tokens}")
        return tuple(self.read_pool(client, hop, block) for hop in route.hops)

    def _ask_quoter(
        self, client: EvmClient, route: Route, pools: Sequence[PoolV3State], amount_in: int, block: BlockHeader
    ) -> int:
        path = encode_path(route.tokens, _require_fees(route))
        try:
            amount_out, *_ = client.call(self.quoter, QUOTE, (path, amount_in), block)
        except CallReverted as error:
            empty = [pool.pool for pool in pools if pool.liquidity == 0]
            if not empty:
                raise
            raise PoolEmpty(
                f"Pool {empty[0]} of {self.name} has no liquidity at its price, so {amount_in} along {route.tokens} "
                "cannot be swapped: trade by another pool"
            ) from error
        return int(amount_out)


def to_mid_price(sqrt_price_x96: int, *, is_zero_for_one: bool) -> Fraction:
    """Return the output per input, both in smallest units, for a pool's square root price, which is not 0."""
    price = Fraction(sqrt_price_x96 * sqrt_price_x96, Q192)
    return price if is_zero_for_one else 1 / price


def to_fee_units(fee: Fraction) -> int:
    """Return a fee as the contracts have it, in millionths; raises BadInput when it is no whole number of them."""
    units = fee * FEE_DENOMINATOR
    if units.denominator != 1 or not 0 < units < FEE_DENOMINATOR:
        raise BadInput(f"The fee {fee} is none of a v3 pool: expected a whole number of millionths, such as 3/1000")
    return units.numerator


def encode_path(tokens: Sequence[str], fees: Sequence[int]) -> bytes:
    """Return token, fee, token[, fee, token] packed as Path.sol reads it: 20 bytes a token, 3 a fee."""
    packed = bytes.fromhex(tokens[0][2:])
    for fee, token in zip(fees, tokens[1:], strict=True):
        packed += fee.to_bytes(3, "big") + bytes.fromhex(token[2:])
    return packed


def _require_fees(route: Route) -> list[int]:
    if len(route.hops) > MAX_HOPS:
        raise BadInput(f"A route has at most {MAX_HOPS} hops, this one is {route.tokens}")
    missing = [hop for hop in route.hops if hop.fee is None]
    if missing:
        raise BadInput(f"The hop from {missing[0].token_in} to {missing[0].token_out} needs the fee of its v3 pool")
    return [to_fee_units(hop.fee) for hop in route.hops if hop.fee is not None]
