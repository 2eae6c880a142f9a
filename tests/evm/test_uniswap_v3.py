"""Uniswap v3 against the deployed contracts: prices, quotes, fills, tolerance, deadlines of both routers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from evm.deployment import Market, Rig
from evm.deployment_v3 import MarketV3, deploy_v3
from evm.node import PACKAGES_V3, Anvil, install_packages
from evm.trader import Trader
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import (
    BadInput,
    CallReverted,
    ContractMissing,
    PoolEmpty,
    TooSmallTrade,
)
from trading_dagster.domain.money import to_units
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.transaction import Finished, OutcomeStatus
from trading_dagster.evm.abi import ContractCall
from trading_dagster.evm.amm_pricing import AmmPricing
from trading_dagster.evm.dex import Dex, Hop, Route
from trading_dagster.evm.erc20 import approve, read_balance
from trading_dagster.evm.token_flow import read_fill
from trading_dagster.evm.token_probe import probe_token, require_safe
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.uniswap_v3 import RouterKind, UniswapV3Dex, encode_path, to_mid_price

LOW, MIDDLE, HIGH = Fraction(5, 10_000), Fraction(30, 10_000), Fraction(100, 10_000)
KINDS = pytest.mark.parametrize("kind", list(RouterKind), ids=lambda kind: kind.value)


@pytest.fixture(scope="session")
def deployed_v3(deployed: Market, evm_packages: Path) -> MarketV3:
    return deploy_v3(deployed, evm_packages, install_packages(PACKAGES_V3, "evm-test-v3-1"))


@pytest.fixture
def v3(deployed_v3: MarketV3, node: Anvil) -> MarketV3:
    return deployed_v3


@pytest.fixture
def rig_v3(v3: MarketV3, rig: Rig) -> Rig:
    """Approve both routers."""
    node, wallet, usd = rig.market.node, rig.wallet.address, rig.market.usd
    node.rpc("anvil_impersonateAccount", wallet)
    for router in (v3.router_01, v3.dex.router):
        node.do(wallet, usd, approve(usd, router, 2**256 - 1).data)
    node.rpc("anvil_stopImpersonatingAccount", wallet)
    return rig


def usd_to_eth(market: Market, fee: Fraction | None = MIDDLE) -> Route:
    return Route((Hop(market.usd, market.eth, fee),))


def usd_to_btc(market: Market) -> Route:
    return Route((Hop(market.usd, market.eth, MIDDLE), Hop(market.eth, market.btc, LOW)))


def turn(route: Route) -> Route:
    return Route(tuple(Hop(hop.token_out, hop.token_in, hop.fee) for hop in reversed(route.hops)))


def settle(rig: Rig, call: ContractCall) -> Finished:
    """Advance and mine until the call is finished."""
    executor = rig.executor()
    executor.plan(call.to_intent("swap-1", rig.account))
    for _ in range(60):
        executor.advance()
        rig.market.node.mine()
        record = rig.journal.find("swap-1")
        if isinstance(record, Finished):
            return record
    raise AssertionError(f"not finished after 60 blocks: {record}, {rig.alarms}")


def test_pools_are_found_by_fee_tier_and_the_deepest_is_chosen(v3: MarketV3):
    market, client = v3.market, v3.market.client()
    head = client.connect()
    pools = v3.dex.find_pools(client, market.usd, market.eth, head)
    assert list(pools) == [LOW, MIDDLE]
    assert pools == v3.dex.find_pools(client, market.eth, market.usd, head)
    assert v3.dex.find_pools(client, market.usd, market.tax, head) == {}
    assert v3.dex.choose_pools(client, usd_to_eth(market, None), head) == usd_to_eth(market, MIDDLE)
    assert v3.dex.choose_pools(client, usd_to_eth(market, LOW), head) == usd_to_eth(market, LOW)
    with pytest.raises(ContractMissing, match="no pool"):
        v3.dex.choose_pools(client, Route((Hop(market.usd, market.tax),)), head)


def test_mid_price_is_exact_in_both_directions(v3: MarketV3):
    market, client = v3.market, v3.market.client()
    head = client.connect()
    dex: Dex = v3.dex
    route = usd_to_btc(market)
    assert dex.read_mid_price(client, route, head) * dex.read_mid_price(client, turn(route), head) == 1
    assert float(dex.read_mid_price(client, turn(route), head)) * 10**2 == pytest.approx(100_000, rel=1e-12)
    buy = v3.dex.read_pool(client, route.hops[0], head)
    sell = v3.dex.read_pool(client, turn(route).hops[1], head)
    assert (buy.pool, buy.liquidity) == (sell.pool, sell.liquidity)


@given(root=st.integers(min_value=4295128739, max_value=2**160 - 1))
def test_mid_price_has_no_rounding(root: int):
    up, down = to_mid_price(root, is_zero_for_one=True), to_mid_price(root, is_zero_for_one=False)
    assert up * 2**192 == root * root
    assert up * down == 1


def test_path_is_packed_as_the_contracts_read_it():
    a, b, c = ("0x" + digit * 40 for digit in "abc")
    assert encode_path([a, b, c], [3000, 500]).hex() == "a" * 40 + "000bb8" + "b" * 40 + "0001f4" + "c" * 40


@KINDS
@pytest.mark.parametrize("is_sell", [False, True])
@pytest.mark.parametrize("hops", [1, 2])
def test_quote_equals_what_the_router_gives(v3: MarketV3, kind: RouterKind, is_sell: bool, hops: int):
    market, client, owner = v3.market, v3.market.client(), v3.market.owner
    route = usd_to_eth(market) if hops == 1 else usd_to_btc(market)
    amount = 10_000 * 10**6
    if is_sell:
        route, amount = turn(route), 3 * 10**18 if hops == 1 else 10**7
    quote = v3.dex.quote(client, route, amount, client.connect())
    deadline = quote.block.timestamp + 600
    call = v3.with_router(kind).build_swap(route, amount, quote.amount_out, owner, deadline)

    market.node.do(owner, call.to, call.data)

    head, before = client.read_head(), quote.block
    gave = read_balance(client, route.token_in, owner, before) - read_balance(client, route.token_in, owner, head)
    got = read_balance(client, route.token_out, owner, head) - read_balance(client, route.token_out, owner, before)
    assert (gave, got) == (amount, quote.amount_out)
    kept = 1 - quote.fee
    assert kept == (1 - MIDDLE if hops == 1 else (1 - MIDDLE) * (1 - LOW))
    assert quote.amount_out == quote.mid_amount_out * kept * (1 - quote.price_impact)


@KINDS
def test_fill_of_an_executed_intent_equals_the_quote_to_the_unit(v3: MarketV3, rig_v3: Rig, kind: RouterKind):
    market, client, wallet = v3.market, v3.market.client(), rig_v3.wallet.address
    dex = v3.with_router(kind)
    quote = dex.quote(client, usd_to_btc(market), 5_000 * 10**6, client.connect())
    deadline = quote.block.timestamp + 600
    call = dex.build_swap(quote.route, quote.amount_in, quote.amount_out * 99 // 100, wallet, deadline)

    record = settle(rig_v3, call)

    fill = read_fill(record.outcome.logs, wallet, market.usd, market.btc)
    assert record.outcome.status is OutcomeStatus.confirmed
    assert (fill.amount_in, fill.amount_out) == (quote.amount_in, quote.amount_out)
    assert (call.to, call.expires_at) == (dex.spender, deadline)


@KINDS
@pytest.mark.parametrize("hops", [1, 2])
def test_exact_output_costs_its_quote_and_no_more_than_is_allowed(v3: MarketV3, kind: RouterKind, hops: int):
    market, client, owner = v3.market, v3.market.client(), v3.market.owner
    route, wanted = (usd_to_eth(market), 3 * 10**18) if hops == 1 else (usd_to_btc(market), 10**7)
    before = client.connect()
    cost = v3.dex.quote_output(client, route, wanted, before)
    dex, deadline = v3.with_router(kind), before.timestamp + 600
    with pytest.raises(CallReverted):
        market.node.do(owner, dex.router, dex.build_output_swap(route, wanted, cost - 1, owner, deadline).data)
    call = dex.build_output_swap(route, wanted, cost, owner, deadline)

    market.node.do(owner, call.to, call.data)

    head = client.read_head()
    gave = read_balance(client, route.token_in, owner, before) - read_balance(client, route.token_in, owner, head)
    got = read_balance(client, route.token_out, owner, head) - read_balance(client, route.token_out, owner, before)
    assert (gave, got) == (cost, wanted)
    assert (call.arguments["amountOut"], call.expires_at) == (wanted, deadline)


def test_exact_output_beyond_the_liquidity_is_refused(v3: MarketV3):
    client, head = v3.market.client(), v3.market.client().connect()
    with pytest.raises(PoolEmpty, match="ask for less"):
        v3.dex.quote_output(client, usd_to_eth(v3.market), 10**24, head)
    with pytest.raises(BadInput, match="amount_out"):
        v3.dex.quote_output(client, usd_to_eth(v3.market), 0, head)


@KINDS
def test_price_moved_beyond_tolerance_is_refused_before_signing(v3: MarketV3, rig_v3: Rig, kind: RouterKind):
    market, client, dex = v3.market, v3.market.client(), v3.with_router(kind)
    route = usd_to_eth(market)
    quote = dex.quote(client, route, 100 * 10**6, client.connect())
    deadline = quote.block.timestamp + 600
    call = dex.build_swap(route, quote.amount_in, quote.amount_out * 99 // 100, rig_v3.wallet.address, deadline)
    other = dex.build_swap(route, 400_000 * 10**6, 1, market.owner, deadline)
    market.node.do(market.owner, other.to, other.data)

    record = settle(rig_v3, call)

    assert record.outcome.status is OutcomeStatus.refused
    assert "Too little received" in record.outcome.reason
    assert record.attempts == ()


@KINDS
@pytest.mark.parametrize("hops", [1, 2])
def test_deadline_is_enforced_on_the_chain(v3: MarketV3, kind: RouterKind, hops: int):
    market, client, dex = v3.market, v3.market.client(), v3.with_router(kind)
    head = client.connect()
    route = usd_to_eth(market) if hops == 1 else usd_to_btc(market)
    call = dex.build_swap(route, 100 * 10**6, 1, market.owner, head.timestamp + 5)
    assert call.expires_at == head.timestamp + 5
    client.call_raw(call.to, call.data, client.read_head(), sender=market.owner)
    market.node.mine(10)

    with pytest.raises(CallReverted, match="Transaction too old"):
        client.call_raw(call.to, call.data, client.read_head(), sender=market.owner)


def test_intent_that_passed_its_deadline_is_never_signed(v3: MarketV3, rig_v3: Rig):
    market, client = v3.market, v3.market.client()
    deadline = client.connect().timestamp + 5
    call = v3.dex.build_swap(usd_to_eth(market), 100 * 10**6, 1, rig_v3.wallet.address, deadline)
    market.node.mine(10)

    record = settle(rig_v3, call)

    assert record.outcome.status is OutcomeStatus.refused
    assert record.attempts == ()


def test_price_impact_grows_with_size_and_excludes_the_fee(v3: MarketV3):
    client = v3.market.client()
    head = client.connect()
    impacts = [v3.dex.quote(client, usd_to_btc(v3.market), 10**k, head).price_impact for k in range(8, 12)]
    assert 0 <= impacts[0] < Fraction(1, 1000)
    assert impacts == sorted(impacts)
    assert impacts[-1] > 50 * impacts[0]


def test_input_larger_than_the_liquidity_is_quoted_at_what_a_part_brings(v3: MarketV3):
    market, client, owner = v3.market, v3.market.client(), v3.market.owner
    head = client.connect()
    route, amount = turn(usd_to_eth(market)), 1_000 * 10**18
    quote = v3.dex.quote(client, route, amount, head)
    assert quote.price_impact > Fraction(8, 10)

    call = v3.dex.build_swap(route, amount, quote.amount_out, owner, head.timestamp + 600)
    market.node.do(owner, call.to, call.data)

    after = client.read_head()
    assert (
        read_balance(client, market.usd, owner, after) - read_balance(client, market.usd, owner, head)
        == quote.amount_out
    )
    given = read_balance(client, market.eth, owner, head) - read_balance(client, market.eth, owner, after)
    assert given < amount // 4


def test_position_larger_than_the_liquidity_has_a_value(v3: MarketV3, rig: Rig):
    trader = Trader(rig)
    routes = RouteTable(v3.dex, trader.pairs.usd, trader.pairs.all)
    pricing = AmmPricing(v3.market.client(), routes)
    sold = pricing.get_sell_price(to_naive(trader.now), trader.pairs.eth_usd, 1_000.0)
    assert 0 < sold.price < 0.2 * sold.mid_price
    with pytest.raises(TooSmallTrade):
        pricing.get_sell_price(to_naive(trader.now), trader.pairs.eth_usd, 1e-17)


def test_pool_without_liquidity_or_price_is_empty(v3: MarketV3):
    market, client = v3.market, v3.market.client()
    hop = Hop(market.usd, market.btc, HIGH)
    assert v3.dex.read_pool(client, hop, client.connect()).liquidity == 0
    with pytest.raises(PoolEmpty, match="no liquidity"):
        v3.dex.quote(client, Route((hop,)), 10**6, client.read_head())
    v3.make_unpriced_pool(market.usd, market.btc, 3000)
    with pytest.raises(PoolEmpty, match="never given a price"):
        v3.dex.read_mid_price(client, Route((Hop(market.usd, market.btc, MIDDLE),)), client.read_head())


def test_token_is_probed_through_v3_pools(v3: MarketV3, rig_v3: Rig):
    market, client = v3.market, v3.market.client()
    wallet, head = rig_v3.wallet.address, client.connect()
    found = require_safe(probe_token(client, v3.dex, usd_to_btc(market), 100 * 10**6, wallet, head))
    assert (found.token, found.can_sell, found.buy_tax) == (market.btc, True, 0)
    assert found.sell_tax < Fraction(1, 1000)


@KINDS
def test_strategy_buys_and_sells_on_v3_and_the_ledger_is_the_chain_to_the_unit(
    v3: MarketV3, rig: Rig, kind: RouterKind
):
    trader = Trader(rig)
    trader.dex = v3.with_router(kind)
    trader.routes = RouteTable(trader.dex, trader.pairs.usd, trader.pairs.all)
    trader.fund()

    bought = trader.buy(trader.pairs.eth_usd, 5_000)
    trader.execute(bought)
    position = trader.state.portfolio.get_position_by_id(bought.position_id)
    sold = trader.sell(position, position.get_quantity() / 2)
    trader.execute(sold)

    assert (bought.is_success(), sold.is_success()) == (True, True)
    assert bought.executed_price == pytest.approx(bought.planned_price, rel=1e-9)
    client, wallet = v3.market.client(), rig.wallet.address
    head = client.connect()
    assert to_units(position.get_quantity(), 18) == read_balance(client, v3.market.eth, wallet, head)
    assert to_units(trader.state.portfolio.reserve.quantity, 6) == read_balance(client, v3.market.usd, wallet, head)


def test_missing_pool_names_the_fees_there_are(v3: MarketV3):
    market, client = v3.market, v3.market.client()
    head = client.connect()
    with pytest.raises(ContractMissing, match=r"with the fee 1.00%; it has with 0.05%, 0.30%"):
        v3.dex.quote(client, usd_to_eth(market, HIGH), 10**6, head)
    with pytest.raises(ContractMissing, match="nor with another fee"):
        v3.dex.quote(client, Route((Hop(market.usd, market.tax, MIDDLE),)), 10**6, head)


def test_bad_arguments_are_refused(v3: MarketV3):
    market, client, dex = v3.market, v3.market.client(), v3.dex
    head = client.connect()
    route = usd_to_eth(market)
    long = Route((*usd_to_btc(market).hops, Hop(market.btc, market.tax, LOW)))
    for bad, words in (
        (usd_to_eth(market, None), "fee"),
        (usd_to_eth(market, Fraction(1, 3)), "millionths"),
        (long, "2 hops"),
    ):
        with pytest.raises(BadInput, match=words):
            dex.quote(client, bad, 10**6, head)
        with pytest.raises(BadInput, match=words):
            dex.build_swap(bad, 10**6, 1, market.owner, 1)
    with pytest.raises(BadInput, match="amount_in"):
        dex.quote(client, route, 0, head)
    assert dex.quote(client, turn(route), 10, head).amount_out == 0
    for terms in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(BadInput, match="positive"):
            dex.build_swap(route, *terms[:2], market.owner, terms[2])
    with pytest.raises(BadInput, match="fee tiers"):
        UniswapV3Dex(dex.factory, dex.router, dex.quoter, fee_tiers=())
