"""Moves a pool of a local chain to a given price, as arbitrage does on public chains: by a swap of the right size."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from trading_dagster.domain.error import BadInput, PriceImpactToleranceExceeded
from trading_dagster.evm.abi import Function
from trading_dagster.evm.demo_market import FEE_UNITS, FOREVER, UNLIMITED, DemoPool, PoolKind
from trading_dagster.evm.dev_node import DevNode
from trading_dagster.evm.erc20 import ALLOWANCE, APPROVE, BALANCE_OF

GET_RESERVES = Function("getReserves", (), ("uint112", "uint112", "uint32"))
SLOT0 = Function("slot0", (), ("uint160", "int24"))
SWAP_V2 = Function(
    "swapExactTokensForTokens", ("uint256", "uint256", "address[]", "address", "uint256"), ("uint256[]",)
)
SWAP_V3 = Function("exactInputSingle", ("(address,address,uint24,address,uint256,uint256,uint160)",), ("uint256",))
Q96, Q192 = 2**96, 2**192
ATTEMPTS = 3
MAX_ERROR = Fraction(1, 10**8)


@dataclass(frozen=True, slots=True)
class Move:
    """A pool's mid price, quote tokens for one base token: before, asked for and reached.

    ``tx_hash`` is None when the price was right already, as near as whole units allow.
    """

    before: Fraction
    target: Fraction
    after: Fraction
    tx_hash: str | None

    @property
    def error(self) -> Fraction:
        """Return by what fraction of the target it was missed."""
        return abs(self.after / self.target - 1)


class PriceMover:
    """Brings pools to prices from an account of its own.

    The mid is reached exactly but for whole units. On v3 the swap stops at the target's square root price: the error
    is below 1e-15. On v2 it has the size at which the reserves, fee included, have the target's ratio; units that
    cannot be split remain: the error is at most 3 / the smaller reserve after the move, in units, so 3e-10 for 100 WBTC
    (8 decimals) beside 1 M USDC (6 decimals).

    The pool keeps the fees the mover pays, which is how its liquidity slowly grows: by about a quarter of the fee times
    the sum of all relative moves. Its value in the quote token follows the square root of the price, as in every such
    pool.

    Args:
        node: The chain.
        account: An account of the node that has both tokens of each pool.
        max_error: Largest relative error before a move is refused as failed.
    """

    def __init__(self, node: DevNode, account: str, *, max_error: Fraction = MAX_ERROR) -> None:
        self._node = node
        self._account = account
        self._max_error = max_error
        self._approved: set[tuple[str, str]] = set()

    def read_mid(self, pool: DemoPool) -> Fraction:
        """Return the mid price, quote tokens for one base token."""
        if pool.kind is PoolKind.v2:
            base, quote = self._read_reserves(pool)
            return Fraction(quote, base) / pool.unit_ratio
        return _price_of_root(pool, self._read_root(pool))

    def move(self, pool: DemoPool, price: float | Fraction) -> Move:
        """Bring a pool's mid to a price, quote tokens for one base token.

        Raises:
            BadInput: The price is not above 0.
            PriceImpactToleranceExceeded: The price was not reached: the account or the pool has too few units.
            CallReverted, NodeError: The chain does not take the swap.
        """
        target = Fraction(price)
        if not target > 0:
            raise BadInput(f"The price of {pool.pair.get_ticker()} is {price}: it must be above 0")
        before = self.read_mid(pool)
        swap = self._swap_v2 if pool.kind is PoolKind.v2 else self._swap_v3
        tx_hash: str | None = None
        for _ in range(ATTEMPTS):  # others trade, too, perhaps between the reading of the price and the swap
            sent = swap(pool, target)
            tx_hash = sent or tx_hash
            move = Move(before, target, before if tx_hash is None else self.read_mid(pool), tx_hash)
            if sent is None or move.error <= self._max_error:
                break
        if move.error > self._max_error:
            raise PriceImpactToleranceExceeded(
                f"{pool.pair} was to be moved from {float(before)} to {float(target)} and is at {float(move.after)}, "
                f"off by {float(move.error):.1e}, allowed are {float(self._max_error):.1e}: give {self._account} more "
                "tokens, or the pool more depth"
            )
        return move

    def _swap_v2(self, pool: DemoPool, target: Fraction) -> str | None:
        base, quote = self._read_reserves(pool)
        ratio = target * pool.unit_ratio
        is_buy = Fraction(quote, base) < ratio
        token_in, token_out = _direction(pool, is_buy=is_buy)
        reserves = (quote, base) if is_buy else (base, quote)
        amount = choose_amount_in(*reserves, ratio if is_buy else 1 / ratio, pool.fee)
        if amount == 0:
            return None
        self._approve(token_in, pool.router)
        data = SWAP_V2.encode(amount, 0, [token_in, token_out], self._account, FOREVER)
        return str(self._node.do(self._account, pool.router, data)["transactionHash"])

    def _swap_v3(self, pool: DemoPool, target: Fraction) -> str | None:
        price = target * pool.unit_ratio if pool.is_base_first else 1 / (target * pool.unit_ratio)
        root, limit = self._read_root(pool), isqrt(price.numerator * Q192 // price.denominator)
        if root == limit:
            return None
        is_zero_for_one = limit < root
        is_buy = is_zero_for_one is not pool.is_base_first
        token_in, token_out = _direction(pool, is_buy=is_buy)
        (balance,) = self._node.call(token_in, BALANCE_OF, self._account)
        if not balance:
            return None
        self._approve(token_in, pool.router)
        terms = (token_in, token_out, int(pool.fee * FEE_UNITS), self._account, balance, 0, limit)
        return str(self._node.do(self._account, pool.router, SWAP_V3.encode(terms))["transactionHash"])

    def _read_reserves(self, pool: DemoPool) -> tuple[int, int]:
        """Return the base and the quote units in a v2 pool."""
        reserve0, reserve1, _ = self._node.call(pool.pair.pool_address, GET_RESERVES)
        return (reserve0, reserve1) if pool.is_base_first else (reserve1, reserve0)

    def _read_root(self, pool: DemoPool) -> int:
        root, _ = self._node.call(pool.pair.pool_address, SLOT0)
        return int(root)

    def _approve(self, token: str, router: str) -> None:
        if (token, router) not in self._approved:
            (allowed,) = self._node.call(token, ALLOWANCE, self._account, router)
            if allowed < UNLIMITED // 2:
                self._node.do(self._account, token, APPROVE.encode(router, UNLIMITED))
            self._approved.add((token, router))


def choose_amount_in(reserve_in: int, reserve_out: int, ratio: Fraction, fee: Fraction) -> int:
    """Return the input after which a v2 pool's reserves have a ratio in / out, as near as whole units allow.

    With x in, y out and the fee's complement g, the reserves after an input a are x + a and x y / (x + g a), so that
    (x + a) (x + g a) = ratio x y. Its positive root is rounded to the unit that comes nearest.

    Args:
        reserve_in: Units of the token that is put in.
        reserve_out: Units of the other, at least 2.
        ratio: Wanted reserve in / reserve out after the swap; at or below the present one the answer is 0.
        fee: Of the pool, a fraction of the input.
    """
    kept = 1 - fee
    goal = ratio * reserve_in * reserve_out
    g, unit = kept.numerator, kept.denominator
    # g a^2 + (g + unit) x a + unit (x^2 - goal) = 0, multiplied by the fee's denominator
    linear = (g + unit) * reserve_in
    constant = unit * (reserve_in**2 - goal)
    if constant >= 0:
        return 0
    square = linear**2 - 4 * g * constant
    near = (isqrt(square.numerator // square.denominator) - linear) // (2 * g)

    def miss(amount: int) -> Fraction:
        with_fee = amount * g
        out = with_fee * reserve_out // (reserve_in * unit + with_fee)
        return abs(Fraction(reserve_in + amount, reserve_out - out) - ratio)

    least = reserve_in * unit // ((reserve_out - 1) * g) + 1  # the pool refuses a swap that gives nothing
    return min((0, least, *(amount for amount in range(near - 2, near + 4) if amount > least)), key=miss)


def _direction(pool: DemoPool, *, is_buy: bool) -> tuple[str, str]:
    """Return the token put in and the token taken out."""
    base, quote = pool.pair.base.address, pool.pair.quote.address
    return (quote, base) if is_buy else (base, quote)


def _price_of_root(pool: DemoPool, root: int) -> Fraction:
    ratio = Fraction(root * root, Q192)
    return (ratio if pool.is_base_first else 1 / ratio) / pool.unit_ratio
