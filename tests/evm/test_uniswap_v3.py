"""Uniswap v3 against the deployed contracts: prices, quotes, fills, tolerance, deadlines of both routers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from evm.deployment import Market, Rig
from evm.deployment_v3 import MarketV3, deploy_v3
from evm.node import PACKAGES_V3, Anvil, install_packages
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput, CallReverted, ContractMissing, PriceImpactToleranceExceeded
from trading_dagster.domain.transaction import Finished, OutcomeStatus
from trading_dagster.evm.abi import ContractCall
from trading_dagster.evm.erc20 import approve, read_balance
from trading_dagster.evm.token_flow import read_fill
from trading_dagster.evm.uniswap_v3 import (
    RouterKind,
    UniswapV3Deployment,
    encode_path,
    find_pools,
    mid_price,
    read_pool,
    read_quote,
    swap,
)

TOLERANCE = Fraction(1, 100)
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
    for router in (v3.router_01, v3.uniswap.router):
        node.do(wallet, usd, approve(usd, router, 2**256 - 1).data)
    node.rpc("anvil_stopImpersonatingAccount", wallet)
    return rig


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


def sell_all_ways(v3: MarketV3) -> list[tuple[list[str], list[int], int]]:
    m = v3.market
    return [
        ([m.usd, m.eth], [3000], 10_000 * 10**6),
        ([m.eth, m.usd], [3000], 3 * 10**18),
        ([m.usd, m.eth, m.btc], [3000, 500], 10_000 * 10**6),
        ([m.btc, m.eth, m.usd], [500, 3000], 10**7),
    ]


def test_pools_are_found_by_fee_tier(v3: MarketV3):
    client = v3.market.client()
    head = client.connect()
    pools = find_pools(client, v3.uniswap, v3.market.usd, v3.market.eth, head)
    assert list(pools) == [3000]
    assert pools == find_pools(client, v3.uniswap, v3.market.eth, v3.market.usd, head)
    assert find_pools(client, v3.uniswap, v3.market.usd, v3.market.tax, head) == {}


def test_mid_price_is_exact_in_both_directions(v3: MarketV3):
    client = v3.market.client()
    head = client.connect()
    buy = read_pool(client, v3.uniswap, v3.market.usd, v3.market.eth, 3000, head)
    sell = read_pool(client, v3.uniswap, v3.market.eth, v3.market.usd, 3000, head)
    assert buy.mid_price * sell.mid_price == 1
    assert float(sell.mid_price) * 10**12 == pytest.approx(4000, rel=1e-12)
    assert (buy.pool, buy.liquidity) == (sell.pool, sell.liquidity)


@given(root=st.integers(min_value=4295128739, max_value=2**160 - 1))
def test_mid_price_has_no_rounding(root: int):
    up, down = mid_price(root, is_zero_for_one=True), mid_price(root, is_zero_for_one=False)
    assert up * 2**192 == root * root
    assert up * down == 1


def test_path_is_packed_as_the_contracts_read_it():
    a, b, c = ("0x" + digit * 40 for digit in "abc")
    assert encode_path([a, b, c], [3000, 500]).hex() == "a" * 40 + "000bb8" + "b" * 40 + "0001f4" + "c" * 40


@KINDS
@pytest.mark.parametrize("way", range(4))
def test_quote_equals_what_the_router_gives(v3: MarketV3, kind: RouterKind, way: int):
    path, fees, amount = sell_all_ways(v3)[way]
    client, node, owner = v3.market.client(), v3.market.node, v3.market.owner
    quote = read_quote(client, v3.uniswap, path, fees, amount, client.connect())
    call = swap(v3.deployment(kind), quote, owner, slippage=TOLERANCE, deadline_s=600)

    receipt = node.do(owner, call.to, call.data)

    head, before = client.read_head(), quote.block
    gave = read_balance(client, path[0], owner, before) - read_balance(client, path[0], owner, head)
    got = read_balance(client, path[-1], owner, head) - read_balance(client, path[-1], owner, before)
    assert (gave, got) == (amount, quote.amount_out)
    assert receipt["to"] == call.to
    assert quote.amount_out < quote.mid_amount_out


@KINDS
def test_fill_of_an_executed_intent_equals_the_quote_to_the_unit(v3: MarketV3, rig_v3: Rig, kind: RouterKind):
    market = v3.market
    client = market.client()
    quote = read_quote(
        client, v3.uniswap, [market.usd, market.eth, market.btc], [3000, 500], 5_000 * 10**6, client.connect()
    )
    call = swap(v3.deployment(kind), quote, rig_v3.wallet.address, slippage=TOLERANCE, deadline_s=600)

    record = settle(rig_v3, call)

    fill = read_fill(record.outcome.logs, rig_v3.wallet.address, market.usd, market.btc)
    assert record.outcome.status is OutcomeStatus.confirmed
    assert (fill.amount_in, fill.amount_out) == (quote.amount_in, quote.amount_out)


@KINDS
def test_price_moved_beyond_tolerance_is_refused_before_signing(v3: MarketV3, rig_v3: Rig, kind: RouterKind):
    market, client = v3.market, v3.market.client()
    head = client.connect()
    deployment = v3.deployment(kind)
    quote = read_quote(client, deployment, [market.usd, market.eth], [3000], 100 * 10**6, head)
    other = read_quote(client, deployment, [market.usd, market.eth], [3000], 400_000 * 10**6, head)
    call = swap(deployment, quote, rig_v3.wallet.address, slippage=TOLERANCE, deadline_s=600)
    market.node.do(
        market.owner,
        deployment.router,
        swap(deployment, other, market.owner, slippage=TOLERANCE, deadline_s=600, max_price_impact=Fraction(1)).data,
    )

    record = settle(rig_v3, call)

    assert record.outcome.status is OutcomeStatus.refused
    assert "Too little received" in record.outcome.reason
    assert record.attempts == ()


@KINDS
def test_deadline_is_enforced_on_the_chain(v3: MarketV3, kind: RouterKind):
    market, client = v3.market, v3.market.client()
    head = client.connect()
    quote = read_quote(client, v3.uniswap, [market.usd, market.eth], [3000], 100 * 10**6, head)
    call = swap(v3.deployment(kind), quote, market.owner, slippage=TOLERANCE, deadline_s=5)
    assert call.expires_at == head.timestamp + 5
    client.call_raw(call.to, call.data, client.read_head(), sender=market.owner)
    market.node.mine(10)

    with pytest.raises(CallReverted, match="Transaction too old"):
        client.call_raw(call.to, call.data, client.read_head(), sender=market.owner)


def test_intent_that_passed_its_deadline_is_never_signed(v3: MarketV3, rig_v3: Rig):
    market, client = v3.market, v3.market.client()
    quote = read_quote(client, v3.uniswap, [market.usd, market.eth], [3000], 100 * 10**6, client.connect())
    call = swap(v3.uniswap, quote, rig_v3.wallet.address, slippage=TOLERANCE, deadline_s=5)
    market.node.mine(10)

    record = settle(rig_v3, call)

    assert record.outcome.status is OutcomeStatus.refused
    assert record.attempts == ()


def test_price_impact_grows_with_size_and_excludes_the_fee(v3: MarketV3):
    market, client = v3.market, v3.market.client()
    head = client.connect()
    impacts = [
        read_quote(client, v3.uniswap, [market.usd, market.eth, market.btc], [3000, 500], 10**k, head).price_impact
        for k in range(8, 12)
    ]
    assert 0 <= impacts[0] < Fraction(1, 1000)
    assert impacts == sorted(impacts)
    assert impacts[-1] > 50 * impacts[0]
    quote = read_quote(client, v3.uniswap, [market.usd, market.eth], [3000], 400_000 * 10**6, head)
    with pytest.raises(PriceImpactToleranceExceeded, match="trade less"):
        swap(v3.uniswap, quote, market.owner, slippage=TOLERANCE, deadline_s=60, max_price_impact=Fraction(1, 100))


def test_input_larger_than_the_liquidity_is_refused_and_not_filled_in_part(v3: MarketV3):
    market, client = v3.market, v3.market.client()
    head = client.connect()
    with pytest.raises(PriceImpactToleranceExceeded, match="has not the liquidity"):
        read_quote(client, v3.uniswap, [market.eth, market.usd], [3000], 1_000 * 10**18, head)
    with pytest.raises(PriceImpactToleranceExceeded, match="has not the liquidity"):
        read_quote(client, v3.uniswap, [market.usd, market.eth, market.btc], [3000, 500], 10**13, head)


def test_pool_without_liquidity_is_refused(v3: MarketV3):
    market, client = v3.market, v3.market.client()
    head = client.connect()
    assert read_pool(client, v3.uniswap, market.usd, market.btc, 10000, head).liquidity == 0
    with pytest.raises(PriceImpactToleranceExceeded, match="has no liquidity"):
        read_quote(client, v3.uniswap, [market.usd, market.btc], [10000], 10**6, head)


def test_missing_pool_names_the_fees_there_are(v3: MarketV3):
    market, client = v3.market, v3.market.client()
    head = client.connect()
    with pytest.raises(ContractMissing, match=r"with fee 500; there are pools with the fees \[3000\]"):
        read_quote(client, v3.uniswap, [market.usd, market.eth], [500], 10**6, head)
    with pytest.raises(ContractMissing, match="nor with another fee"):
        read_quote(client, v3.uniswap, [market.usd, market.tax], [3000], 10**6, head)


def test_bad_arguments_are_refused(v3: MarketV3):
    market, client = v3.market, v3.market.client()
    head = client.connect()
    with pytest.raises(BadInput, match="two or three"):
        read_quote(client, v3.uniswap, [market.usd], [], 10**6, head)
    with pytest.raises(BadInput, match="a fee for each hop"):
        read_quote(client, v3.uniswap, [market.usd, market.eth], [3000, 500], 10**6, head)
    with pytest.raises(BadInput, match="amount_in"):
        read_quote(client, v3.uniswap, [market.usd, market.eth], [3000], 0, head)
    with pytest.raises(BadInput, match="gives nothing"):
        read_quote(client, v3.uniswap, [market.eth, market.usd], [3000], 10, head)
    with pytest.raises(BadInput, match="never given a price"):
        mid_price(0, is_zero_for_one=True)
    with pytest.raises(BadInput, match="millionths"):
        UniswapV3Deployment(v3.uniswap.factory, v3.uniswap.router, v3.uniswap.quoter, fee_tiers=())
    quote = read_quote(client, v3.uniswap, [market.usd, market.eth], [3000], 10**6, head)
    with pytest.raises(BadInput, match="slippage"):
        swap(v3.uniswap, quote, market.owner, slippage=Fraction(1, 2), deadline_s=60)
    with pytest.raises(BadInput, match="deadline"):
        swap(v3.uniswap, quote, market.owner, slippage=TOLERANCE, deadline_s=0)
