"""Own arithmetic against the deployed contracts: quotes, fills, tolerance, deadline."""

from fractions import Fraction
from itertools import pairwise

import pytest
from evm.deployment import Market, Rig
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput, ContractMissing, PoolEmpty, PriceImpactToleranceExceeded
from trading_dagster.domain.transaction import Finished, OutcomeStatus
from trading_dagster.evm.abi import Function
from trading_dagster.evm.dex import Hop, Route
from trading_dagster.evm.token_flow import read_fill
from trading_dagster.evm.uniswap_v2 import UniswapV2Dex, get_amount_in, get_amount_out, read_quote, swap

AMOUNTS_OUT = Function("getAmountsOut", ("uint256", "address[]"), ("uint256[]",))
AMOUNTS_IN = Function("getAmountsIn", ("uint256", "address[]"), ("uint256[]",))
RESERVES = st.integers(min_value=10**6, max_value=2**112 - 1)
TOLERANCE = Fraction(1, 100)


def settle(rig: Rig, executor, intents) -> list[Finished]:
    """Advance and mine until all intents are finished."""
    for intent in intents:
        executor.plan(intent)
    for _ in range(60):
        executor.advance()
        rig.market.node.mine()
        records = [rig.journal.find(intent.intent_id) for intent in intents]
        if all(isinstance(record, Finished) for record in records):
            return records
    raise AssertionError(f"not finished after 60 blocks: {records}, {rig.alarms}")


@pytest.mark.parametrize("amount", [1, 997, 10**6, 123_456_789_012, 3 * 10**12])
def test_quote_is_what_the_router_says(market: Market, amount: int):
    client = market.client()
    head = client.connect()
    path = [market.usd, market.eth, market.btc]

    quote = read_quote(client, market.uniswap, path, amount, head)

    (said,) = client.call(market.uniswap.router, AMOUNTS_OUT, (amount, path), head)
    assert quote.amount_out == said[-1]


def test_amount_in_is_what_the_router_says(market: Market):
    client = market.client()
    head = client.connect()
    pool = read_quote(client, market.uniswap, [market.usd, market.eth], 1, head).pools[0]

    (said,) = client.call(market.uniswap.router, AMOUNTS_IN, (7 * 10**18, [market.usd, market.eth]), head)

    assert get_amount_in(7 * 10**18, pool.reserve_in, pool.reserve_out) == said[0]


@given(amount=st.integers(min_value=1, max_value=10**30), reserve_in=RESERVES, reserve_out=RESERVES)
def test_amount_out_follows_the_contract_and_keeps_the_product(amount: int, reserve_in: int, reserve_out: int):
    got = get_amount_out(amount, reserve_in, reserve_out)

    assert got == amount * 997 * reserve_out // (reserve_in * 1000 + amount * 997)
    assert (reserve_in + amount) * (reserve_out - got) >= reserve_in * reserve_out


@given(amount_out=st.integers(min_value=1, max_value=10**6 - 1), reserve_in=RESERVES, reserve_out=RESERVES)
def test_amount_in_is_enough(amount_out: int, reserve_in: int, reserve_out: int):
    needed = get_amount_in(amount_out, reserve_in, reserve_out)

    assert get_amount_out(needed, reserve_in, reserve_out) >= amount_out


def test_fill_equals_the_quote_to_the_unit(rig: Rig):
    market, executor = rig.market, rig.executor()
    client = market.client()
    quote = read_quote(client, market.uniswap, [market.usd, market.eth, market.btc], 5_000 * 10**6, client.connect())
    call = swap(market.uniswap, quote, rig.wallet.address, slippage=TOLERANCE, deadline_s=600)

    (record,) = settle(rig, executor, [call.to_intent("swap-1", rig.account)])

    fill = read_fill(record.outcome.logs, rig.wallet.address, market.usd, market.btc)
    assert record.outcome.status is OutcomeStatus.confirmed
    assert (fill.amount_in, fill.amount_out) == (quote.amount_in, quote.amount_out)


@pytest.mark.parametrize("hops", [1, 2])
def test_exact_output_costs_its_quote_and_no_more_than_is_allowed(rig: Rig, hops: int):
    market, dex, client = rig.market, UniswapV2Dex(rig.market.uniswap), rig.market.client()
    path = [market.usd, market.eth, market.btc][: hops + 1]
    route, wanted = Route(tuple(Hop(*ends) for ends in pairwise(path))), 7 * 10 ** (18 if hops == 1 else 6)
    head, wallet = client.connect(), rig.wallet.address
    cost = dex.quote_output(client, route, wanted, head)
    call = dex.build_output_swap(route, wanted, cost, wallet, head.timestamp + 600)
    less = dex.build_output_swap(route, wanted, cost - 1, wallet, head.timestamp + 600)

    (refused,) = settle(rig, rig.executor(), [less.to_intent("swap-1", rig.account)])
    (record,) = settle(rig, rig.executor(), [call.to_intent("swap-2", rig.account)])

    assert "EXCESSIVE_INPUT_AMOUNT" in refused.outcome.reason
    fill = read_fill(record.outcome.logs, wallet, path[0], path[-1])
    assert (fill.amount_in, fill.amount_out) == (cost, wanted)
    assert call.expires_at == head.timestamp + 600
    with pytest.raises(PoolEmpty, match="cannot give"):
        dex.quote_output(client, route, 10**30, head)
    with pytest.raises(BadInput, match="max_amount_in"):
        dex.build_output_swap(route, wanted, 0, wallet, head.timestamp + 600)


def test_taxed_token_is_booked_as_received(rig: Rig):
    market, executor = rig.market, rig.executor()
    client = market.client()
    quote = read_quote(client, market.uniswap, [market.usd, market.tax], 100 * 10**6, client.connect())
    call = swap(market.uniswap, quote, rig.wallet.address, slippage=Fraction(10, 100), deadline_s=600)

    (record,) = settle(rig, executor, [call.to_intent("swap-1", rig.account)])

    fill = read_fill(record.outcome.logs, rig.wallet.address, market.usd, market.tax)
    assert fill.amount_out == quote.amount_out - quote.amount_out * 500 // 10_000


def test_price_moved_beyond_tolerance_is_refused_before_signing(rig: Rig):
    market, executor = rig.market, rig.executor()
    client = market.client()
    quote = read_quote(client, market.uniswap, [market.usd, market.eth], 100 * 10**6, client.connect())
    other = read_quote(client, market.uniswap, [market.usd, market.eth], 100_000 * 10**6, client.connect())
    call = swap(market.uniswap, quote, rig.wallet.address, slippage=TOLERANCE, deadline_s=600)
    market.node.do(
        market.owner,
        market.uniswap.router,
        swap(market.uniswap, other, market.owner, slippage=TOLERANCE, deadline_s=600).data,
    )

    (record,) = settle(rig, executor, [call.to_intent("swap-1", rig.account)])

    assert record.outcome.status is OutcomeStatus.refused
    assert "INSUFFICIENT_OUTPUT_AMOUNT" in record.outcome.reason
    assert record.attempts == ()


def test_missing_pool_and_bad_arguments_are_refused(market: Market):
    client = market.client()
    head = client.connect()
    with pytest.raises(ContractMissing, match="no pool"):
        read_quote(client, market.uniswap, [market.usd, market.btc], 10**6, head)
    with pytest.raises(BadInput, match="two or three"):
        read_quote(client, market.uniswap, [market.usd], 10**6, head)
    with pytest.raises(BadInput, match="amount_in"):
        read_quote(client, market.uniswap, [market.usd, market.eth], 0, head)
    quote = read_quote(client, market.uniswap, [market.usd, market.eth], 800_000 * 10**6, head)
    with pytest.raises(PriceImpactToleranceExceeded, match="16"):
        swap(market.uniswap, quote, market.owner, slippage=TOLERANCE, deadline_s=60)
    with pytest.raises(BadInput, match="slippage"):
        swap(market.uniswap, quote, market.owner, slippage=Fraction(1, 2), deadline_s=60)
