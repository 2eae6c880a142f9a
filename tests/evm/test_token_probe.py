"""The probe before a first buy, on a node: clean and taxed tokens, traps, both ways of simulating."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from evm.deployment import ADD_LIQUIDITY, FOREVER, PATIENT, SUPPLY, Market, Rig
from evm.node import CHAIN_ID, compile_own

from trading_dagster.domain.error import (
    BadInput,
    ContractMissing,
    NodeRefused,
    NotEnoughMoney,
    TokenUnsafe,
)
from trading_dagster.evm.abi import Function
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Hop, Route
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.erc20 import approve, read_balance
from trading_dagster.evm.simulation import SimulatedCall, SimulationMethod, simulate
from trading_dagster.evm.token_probe import TokenProbe, probe_token, require_safe
from trading_dagster.evm.uniswap_v2 import UniswapV2Dex

SOURCE = """
// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

// A token whose owner chose what happens to those who buy it from a pool and want to sell it there.
contract Trap {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    mapping(address => uint256) public boughtIn;
    address public owner = msg.sender;
    address public pool;
    uint256 public buyTax;
    uint256 public sellTax;
    bool public isClosed;
    bool public isSlow;
    bool public isHoneypot;
    bool public isVoid;

    constructor(uint256 supply) { balanceOf[msg.sender] = supply; }

    function set(address pool_, uint256 buyTax_, uint256 sellTax_, uint256 flags) external {
        pool = pool_; buyTax = buyTax_; sellTax = sellTax_;
        isHoneypot = flags & 1 > 0; isSlow = flags & 2 > 0; isClosed = flags & 4 > 0; isVoid = flags & 8 > 0;
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) { return _move(msg.sender, to, value); }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        allowance[from][msg.sender] -= value;
        return _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) internal returns (bool) {
        uint256 tax;
        if (pool != address(0) && from == pool) {
            require(!isClosed, "trading is not open");
            tax = isVoid ? value : value * buyTax / 10000;
            boughtIn[to] = block.number;
        }
        if (pool != address(0) && to == pool && from != owner) {
            require(!isHoneypot, "not for you");
            require(!isSlow || block.number > boughtIn[from], "wait a block");
            tax = value * sellTax / 10000;
        }
        balanceOf[from] -= value;
        balanceOf[to] += value - tax;
        return true;
    }
}
"""
SET = Function("set", ("address", "uint256", "uint256", "uint256"))
GET_PAIR = Function("getPair", ("address", "address"), ("address",))
HONEYPOT, SLOW, CLOSED, VOID = 1, 2, 4, 8
AMOUNT = 100 * 10**6


class Refusing:
    """A node's endpoint, less some methods: what many providers are."""

    def __init__(self, url: str, *, without: str = "eth_simulateV1", no_override: bool = False) -> None:
        self.name = "refusing"
        self._endpoint = HttpEndpoint(url)
        self._without = without
        self._no_override = no_override

    def request(self, method: str, parameters: list[Any]) -> Any:
        if method == self._without:
            raise NodeRefused(f"the method {method} does not exist", -32601)
        if self._no_override and len(parameters) > 2:
            parameters = parameters[:2]
        return self._endpoint.request(method, parameters)


@pytest.fixture(scope="session")
def trap_code(evm_packages: Path) -> str:
    return compile_own(evm_packages, SOURCE)["Trap"]


def make_trap(market: Market, code: str, flags: int = 0, buy_tax: int = 0, sell_tax: int = 0) -> str:
    """Deploy a trap with a pool of a million dollars."""
    node, owner, router = market.node, market.owner, market.uniswap.router
    token = node.deploy(owner, code, encode(["uint256"], [SUPPLY]))
    node.do(owner, token, approve(token, router, SUPPLY).data)
    liquidity = (market.usd, token, 10**12, 10**24, 0, 0, owner, FOREVER)
    node.do(owner, router, ADD_LIQUIDITY.encode(*liquidity))
    client = market.client()
    (pool,) = client.call(market.uniswap.factory, GET_PAIR, (market.usd, token), client.connect())
    node.do(owner, token, SET.encode(pool, buy_tax, sell_tax, flags))
    return token


def probe(rig: Rig, token: str, client: EvmClient | None = None, amount: int = AMOUNT, **more: Any) -> TokenProbe:
    market = rig.market
    client = client or market.client()
    route = more.get("route", Route((Hop(market.usd, token),)))
    return probe_token(
        client,
        UniswapV2Dex(market.uniswap),
        route,
        amount,
        more.get("trader", rig.wallet.address),
        client.connect(),
        aggregator=market.aggregator,
    )


def refusing(market: Market, **more: Any) -> EvmClient:
    return EvmClient([Refusing(market.node.url, **more)], CHAIN_ID, PATIENT)


def either_way(market: Market) -> list[tuple[EvmClient, SimulationMethod]]:
    return [
        (market.client(), SimulationMethod.simulate_v1),
        (refusing(market), SimulationMethod.state_override),
    ]


def test_clean_token_has_no_tax_and_nothing_is_sent(rig: Rig):
    market = rig.market
    client = market.client()
    before = read_balance(client, market.usd, rig.wallet.address, client.connect())
    for way, method in either_way(market):
        found = require_safe(probe(rig, market.eth, way), Fraction(1, 1000))
        assert (found.can_buy, found.can_sell, found.reason, found.method) == (True, True, "", method)
        assert found.buy_tax == 0
        assert found.sell_tax < Fraction(1, 10_000)
        assert 0.99 < found.returned / found.amount_in < 1
    assert read_balance(client, market.usd, rig.wallet.address, client.read_head()) == before
    assert rig.journal.list_unfinished(rig.account) == []


def test_token_with_five_percent_tax_is_measured_and_refused(rig: Rig):
    for way, _ in either_way(rig.market):
        found = probe(rig, rig.market.tax, way)
        assert float(found.buy_tax) == pytest.approx(0.05, abs=1e-9)
        assert float(found.sell_tax) == pytest.approx(0.05, abs=5e-4)
        assert found.can_sell
        with pytest.raises(TokenUnsafe, match=r"a buy loses 5.00% to a tax, allowed are 1.00%"):
            require_safe(found)
        assert require_safe(found, Fraction(51, 1000)) is found


def test_tax_on_sales_only_is_found(rig: Rig, trap_code: str):
    token = make_trap(rig.market, trap_code, sell_tax=3000)
    found = probe(rig, token)
    assert found.buy_tax == 0
    assert float(found.sell_tax) == pytest.approx(0.3, abs=5e-4)
    with pytest.raises(TokenUnsafe, match="a sale loses 30"):
        require_safe(found)


def test_honeypot_is_refused(rig: Rig, trap_code: str):
    token = make_trap(rig.market, trap_code, HONEYPOT)
    for way, method in either_way(rig.market):
        found = probe(rig, token, way)
        assert (found.can_buy, found.can_sell, found.sell_tax, found.method) == (True, False, 1, method)
        assert found.received > 0
        with pytest.raises(TokenUnsafe, match="a sale fails: TransferHelper: TRANSFER_FROM_FAILED"):
            require_safe(found)


def test_token_that_asks_to_wait_a_block_is_sellable_where_blocks_can_be_simulated(rig: Rig, trap_code: str):
    token = make_trap(rig.market, trap_code, SLOW)
    assert require_safe(probe(rig, token)).can_sell
    with pytest.raises(TokenUnsafe, match="a sale fails"):
        require_safe(probe(rig, token, refusing(rig.market)))


def test_token_that_cannot_be_bought_is_refused(rig: Rig, trap_code: str):
    closed = probe(rig, make_trap(rig.market, trap_code, CLOSED))
    assert (closed.can_buy, closed.buy_tax) == (False, 1)
    with pytest.raises(TokenUnsafe, match="a buy fails"):
        require_safe(closed)
    with pytest.raises(TokenUnsafe, match="may not be bought"):
        require_safe(probe(rig, make_trap(rig.market, trap_code, VOID)))


def test_two_hops_are_probed(rig: Rig):
    market = rig.market
    route = Route((Hop(market.usd, market.eth), Hop(market.eth, market.btc)))
    found = require_safe(probe(rig, market.btc, route=route), Fraction(1, 1000))
    assert found.token == market.btc


def test_token_without_code_pool_or_money_is_an_error(rig: Rig):
    with pytest.raises(ContractMissing, match="has no code"):
        probe(rig, "0x" + "12" * 20)
    with pytest.raises(ContractMissing, match="no pool"):
        probe(rig, rig.market.btc)
    with pytest.raises(NotEnoughMoney, match="has 0"):
        probe(rig, rig.market.eth, trader="0x" + "77" * 20)
    with pytest.raises(BadInput, match="probe with less"):
        probe(rig, rig.market.eth, amount=10**11)


def test_node_that_cannot_simulate_says_so(rig: Rig):
    with pytest.raises(NodeRefused, match="use another node"):
        probe(rig, rig.market.eth, refusing(rig.market, no_override=True))
    client = refusing(rig.market)
    call = SimulatedCall(rig.market.usd, "0x")
    with pytest.raises(ContractMissing, match="needs Multicall3"):
        simulate(client, [[call]], rig.wallet.address, client.connect(), aggregator="0x" + "13" * 20)
    with pytest.raises(BadInput, match="nothing to simulate"):
        simulate(client, [[]], rig.wallet.address, client.connect())
