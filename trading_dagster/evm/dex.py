"""The port of a decentralised exchange: quotes along a route at a block, and the swap that takes a quote's price.

An implementation is a frozen value that says where the contracts are; the client to read with is an argument. Amounts
are integers in the tokens' smallest unit, so that a quote at the state of the swap equals the fill to the unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.transaction import require_address
from trading_dagster.evm.abi import ContractCall
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient

FEE_DENOMINATOR = 1_000_000
"""Fees of pools are whole parts of this many."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A swap through one pool. ``fee`` is the pool's, a fraction; None where it is not known."""

    token_in: str
    token_out: str
    fee: Fraction | None = None

    def __post_init__(self) -> None:
        """Check and normalise."""
        object.__setattr__(self, "token_in", require_address(self.token_in, "token"))
        object.__setattr__(self, "token_out", require_address(self.token_out, "token"))
        if self.token_in == self.token_out:
            raise BadInput(f"A hop from {self.token_in} to itself is no swap: give two different tokens")
        if self.fee is not None and not 0 <= self.fee < 1:
            raise BadInput(f"The fee of a hop is {self.fee}: expected a fraction of at least 0, below 1")


@dataclass(frozen=True, slots=True)
class Route:
    """The pools from what is given to what is wanted, in order; each hop begins with the token the last one gave."""

    hops: tuple[Hop, ...]

    def __post_init__(self) -> None:
        """Check that the hops are a path on which no token comes twice."""
        if not self.hops:
            raise BadInput("A route needs at least one hop")
        for before, after in zip(self.hops, self.hops[1:], strict=False):
            if before.token_out != after.token_in:
                raise BadInput(f"A route goes on from {before.token_out}, not from {after.token_in}")
        if len(set(self.tokens)) != len(self.tokens):
            raise BadInput(f"A route passes every token once, this one is {self.tokens}")

    @property
    def tokens(self) -> tuple[str, ...]:
        """Return the tokens from the input to the output."""
        return (self.hops[0].token_in, *(hop.token_out for hop in self.hops))

    @property
    def token_in(self) -> str:
        """Return what is given."""
        return self.hops[0].token_in

    @property
    def token_out(self) -> str:
        """Return what is wanted."""
        return self.hops[-1].token_out


@dataclass(frozen=True, slots=True)
class RouteQuote:
    """What a swap of an exact input would do at a block.

    Attributes:
        amount_out: What the last pool gives, after all fees and the swap's own impact; a token's tax is not in it.
        mid_amount_out: What the input is worth at mid prices, without fee and impact.
        fee: What all pools together keep of the input, a fraction.
        price_impact: The fraction by which the swap's own size worsens its price, without the fee.
    """

    block: BlockHeader
    route: Route
    amount_in: int
    amount_out: int
    mid_amount_out: Fraction
    fee: Fraction
    price_impact: Fraction


class Dex(Protocol):
    """Where an exchange of one chain is, and how it trades.

    Reads raise ContractMissing when there is no such pool or contract, PoolEmpty when the pool has nothing to trade
    against, BadInput for a route it cannot take (too long, an amount that is not positive, a fee it has no pool of).
    """

    @property
    def name(self) -> str:
        """Return what to call it in messages, such as "Uniswap v2"."""
        ...

    @property
    def spender(self) -> str:
        """Return the contract that takes the input token: what is to be approved."""
        ...

    @property
    def contracts(self) -> Sequence[str]:
        """Return the addresses that must have code before anything is traded."""
        ...

    @property
    def max_hops(self) -> int:
        """Return how many pools one swap can go through."""
        ...

    def quote(self, client: EvmClient, route: Route, amount_in: int, block: BlockHeader) -> RouteQuote:
        """Quote a swap of an exact input at a block."""
        ...

    def read_mid_price(self, client: EvmClient, route: Route, block: BlockHeader) -> Fraction:
        """Return units of the output token a unit of the input token is worth, without fee and impact."""
        ...

    def build_swap(
        self, route: Route, amount_in: int, min_amount_out: int, recipient: str, deadline: int
    ) -> ContractCall:
        """Return the swap: at least ``min_amount_out``, or no effect; nor in a block later than ``deadline``.

        ``deadline`` is unix seconds of the chain; the call's ``expires_at`` must be it. Tokens that tax transfers must
        be swappable where the exchange can, and ``min_amount_out`` must hold for what the recipient gets. Where the
        contract knows neither, both are only looked at before it is signed, and ``expires_at`` is 0: see VaultDex.
        """
        ...


class OutputDex(Dex, Protocol):
    """An exchange that also takes an exact output: what loans are paid back with."""

    def quote_output(self, client: EvmClient, route: Route, amount_out: int, block: BlockHeader) -> int:
        """Return the least input that brings an exact output at a block; PoolEmpty when there is not as much."""
        ...

    def build_output_swap(
        self, route: Route, amount_out: int, max_amount_in: int, recipient: str, deadline: int
    ) -> ContractCall:
        """Return the swap that brings an exact output for at most ``max_amount_in``, or has no effect.

        For tokens that do not tax transfers. ``deadline`` is as for ``build_swap``.
        """
        ...
