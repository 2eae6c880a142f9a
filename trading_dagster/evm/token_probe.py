"""Finds out, before a token is bought for the first time, whether it can be sold again and what its transfers cost.

A small buy and the sale of all that arrived are simulated with the wallet that will trade: nothing is sent. Buying
moves the price up and selling moves it back: what comes back without a tax is the input less the pools' fee, twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from trading_dagster.domain.error import BadInput, ContractMissing, NotEnoughMoney, TokenUnsafe
from trading_dagster.domain.transaction import require_address
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Dex, Hop, Route
from trading_dagster.evm.erc20 import BALANCE_OF, approve, read_balance
from trading_dagster.evm.multicall import MULTICALL3
from trading_dagster.evm.simulation import SimulatedAnswer, SimulatedCall, SimulationMethod, simulate

FAR_AHEAD_S = 365 * 86_400
"""The deadline of simulated swaps: the clock of a simulation may be the node's own."""
LEAST_OUT = 1
ALL = Fraction(1)
MAX_IMPACT = Fraction(1, 100)
SWAP = 2
"""Where the swap is among the calls of a buy and of a sale: after two approvals."""


@dataclass(frozen=True, slots=True)
class TokenProbe:
    """What a round trip through a token would do; amounts are in the tokens' smallest units.

    Attributes:
        buy_tax: The fraction of a buy that does not arrive; 1 when it cannot be bought.
        sell_tax: The fraction of a sale that does not arrive; 1 when it cannot be sold. A tax on the input is in it as
            well as one on the output; wrong by at most the price impact of the probe.
        reason: Why it cannot be bought or sold; empty when it can.
        amount_in: What was given of the reserve; ``received`` of the token for it; ``returned`` of the reserve.
    """

    token: str
    can_buy: bool
    can_sell: bool
    buy_tax: Fraction
    sell_tax: Fraction
    reason: str
    amount_in: int
    received: int
    returned: int
    method: SimulationMethod


def probe_token(
    client: EvmClient,
    dex: Dex,
    route: Route,
    amount_in: int,
    trader: str,
    block: BlockHeader,
    *,
    aggregator: str = MULTICALL3,
) -> TokenProbe:
    """Simulate buying a route's last token and selling all of it again; nothing is sent.

    ``trader`` is who will trade and must have ``amount_in`` of the route's first token. A good amount is small enough
    not to move the price and some thousand units of both tokens. Raises ContractMissing when the token has no code or
    there is no pool, NotEnoughMoney, BadInput for an amount that moves the price by more than 1 %.
    """
    trader = require_address(trader, "trader")
    if not client.has_code(route.token_out, block):
        raise ContractMissing(f"Token {route.token_out} has no code: check address and chain")
    expected = dex.quote(client, route, amount_in, block)
    if expected.price_impact > MAX_IMPACT:
        raise BadInput(
            f"A probe with {amount_in} of {route.token_in} moves the price by {float(expected.price_impact):.2%}: "
            "probe with less"
        )
    owned = read_balance(client, route.token_in, trader, block)
    if owned < amount_in:
        raise NotEnoughMoney(f"The probe needs {amount_in} of {route.token_in}, {trader} has {owned}")
    buy = _buy_calls(dex, route, amount_in, trader, block)
    answers, method = simulate(client, [buy], trader, block, aggregator=aggregator)
    if not answers[SWAP].is_success:
        return _failed(route, amount_in, method, f"a buy fails: {answers[SWAP].reason}")
    received = _balance(answers[SWAP + 1], route.token_out) - read_balance(client, route.token_out, trader, block)
    if received <= 0:
        return _failed(route, amount_in, method, "nothing arrives from a buy")
    buy_tax = max(Fraction(0), 1 - Fraction(received, expected.amount_out))
    sell = _sell_calls(dex, route, received, trader, block)
    answers, method = simulate(client, [buy, sell], trader, block, method=method, aggregator=aggregator)
    sold = answers[len(buy) + SWAP]
    if not sold.is_success:
        return _probe(route, amount_in, method, received, buy_tax, reason=f"a sale fails: {sold.reason}")
    returned = _balance(answers[-1], route.token_in) - _balance(answers[SWAP + 2], route.token_in)
    if returned <= 0:
        return _probe(route, amount_in, method, received, buy_tax, reason="nothing arrives from a sale")
    untaxed = amount_in * (1 - buy_tax) * (1 - expected.fee) ** 2
    return _probe(route, amount_in, method, received, buy_tax, returned=returned, untaxed=untaxed)


def require_safe(probe: TokenProbe, max_tax: Fraction = Fraction(1, 100), *, needs_sale: bool = True) -> TokenProbe:
    """Return a probe that found nothing wrong; raises TokenUnsafe for a tax above a limit, or what cannot be sold.

    Without ``needs_sale`` only the buy counts.
    """
    if not probe.can_buy or (needs_sale and not probe.can_sell):
        raise TokenUnsafe(f"Token {probe.token} may not be bought: in a simulation {probe.reason}")
    taxes = ((probe.buy_tax, "buy"), (probe.sell_tax, "sale"))
    for tax, name in taxes if needs_sale else taxes[:1]:
        if tax > max_tax:
            raise TokenUnsafe(
                f"Token {probe.token} may not be bought: a {name} loses {float(tax):.2%} to a tax, allowed are "
                f"{float(max_tax):.2%}"
            )
    return probe


def _buy_calls(dex: Dex, route: Route, amount_in: int, trader: str, block: BlockHeader) -> list[SimulatedCall]:
    swap = dex.build_swap(route, amount_in, LEAST_OUT, trader, block.timestamp + FAR_AHEAD_S)
    return [
        *_approvals(route.token_in, dex.spender, amount_in),
        SimulatedCall(swap.to, swap.data),
        _read_balance(route.token_out, trader),
        _read_balance(route.token_in, trader),
    ]


def _sell_calls(dex: Dex, route: Route, amount: int, trader: str, block: BlockHeader) -> list[SimulatedCall]:
    back = Route(tuple(Hop(hop.token_out, hop.token_in, hop.fee) for hop in reversed(route.hops)))
    swap = dex.build_swap(back, amount, LEAST_OUT, trader, block.timestamp + FAR_AHEAD_S)
    return [
        *_approvals(route.token_out, dex.spender, amount),
        SimulatedCall(swap.to, swap.data),
        _read_balance(route.token_in, trader),
    ]


def _approvals(token: str, spender: str, amount: int) -> list[SimulatedCall]:
    """Approve nothing first: some tokens refuse to change an allowance that is not zero, others to make it zero."""
    return [SimulatedCall(token, approve(token, spender, value).data) for value in (0, amount)]


def _read_balance(token: str, owner: str) -> SimulatedCall:
    return SimulatedCall(token, BALANCE_OF.encode(owner))


def _balance(answer: SimulatedAnswer, token: str) -> int:
    return int(BALANCE_OF.decode(answer.data, token)[0])


def _failed(route: Route, amount_in: int, method: SimulationMethod, reason: str) -> TokenProbe:
    return TokenProbe(
        token=route.token_out,
        can_buy=False,
        can_sell=False,
        buy_tax=ALL,
        sell_tax=ALL,
        reason=reason,
        amount_in=amount_in,
        received=0,
        returned=0,
        method=method,
    )


def _probe(
    route: Route,
    amount_in: int,
    method: SimulationMethod,
    received: int,
    buy_tax: Fraction,
    *,
    reason: str = "",
    returned: int = 0,
    untaxed: Fraction = ALL,
) -> TokenProbe:
    return TokenProbe(
        token=route.token_out,
        can_buy=True,
        can_sell=not reason,
        buy_tax=buy_tax,
        sell_tax=max(Fraction(0), 1 - returned / untaxed),
        reason=reason,
        amount_in=amount_in,
        received=received,
        returned=returned,
        method=method,
    )
