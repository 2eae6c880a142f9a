"""The check before a first buy: what it lets through, what it remembers, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from evm.deployment import PATIENT, Rig
from evm.node import CHAIN_ID
from evm.trader import Trader

from trading_dagster.domain.error import NodeRefused, TokenUnsafe
from trading_dagster.domain.event import Event
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.first_buy import FirstBuyCheck, FirstBuySetting
from trading_dagster.evm.token_probe import TokenProbe


class Counting:
    """A node that counts what it is asked, and may not know how to simulate."""

    def __init__(self, url: str, *, can_simulate: bool = True) -> None:
        self.name = "counting"
        self.count = 0
        self._endpoint = HttpEndpoint(url)
        self._can_simulate = can_simulate

    def request(self, method: str, parameters: list[Any]) -> Any:
        self.count += 1
        if not self._can_simulate and (method == "eth_simulateV1" or len(parameters) > 2):
            raise NodeRefused("no such method", -32601)
        return self._endpoint.request(method, parameters)


@pytest.fixture
def trader(rig: Rig) -> Trader:
    trader = Trader(rig)
    trader.fund()
    return trader


def check(trader: Trader, trade: TradeExecution, node: Counting | None = None, **more: Any) -> TokenProbe | None:
    market, client = trader.rig.market, trader.client
    head = client.read_head()
    if node is not None:
        client = EvmClient([node], CHAIN_ID, PATIENT)
    setting = FirstBuySetting(**more)
    guard = FirstBuyCheck(client, trader.rig.wallet.address, aggregator=market.aggregator, setting=setting)
    return guard.check(trader.state, trade, trader.dex, trader.routes.route_of(trade.pair, trade.is_buy()), head)


def test_execution_drops_the_buy_of_an_unsafe_token_and_goes_on_with_the_others(trader: Trader):
    market = trader.rig.market
    guard = FirstBuyCheck(
        trader.client,
        trader.rig.wallet.address,
        aggregator=market.aggregator,
        setting=FirstBuySetting(max_tax=Fraction(0)),
    )
    unsafe, good = trader.buy(trader.pairs.tax_usd, 100), trader.buy(trader.pairs.eth_usd, 100)
    unsafe.pair.other_data.clear()  # its pair does not say that the token takes a tax
    trader.execute(unsafe, good, first_buy=guard)
    assert (unsafe.get_status(), good.get_status()) == (TradeStatus.discarded, TradeStatus.success)
    assert "tax" in (unsafe.failure or "")
    assert trader.balance(unsafe.pair.base) == 0


def test_good_token_is_probed_once_in_the_life_of_the_strategy(trader: Trader):
    trade = trader.buy(trader.pairs.eth_usd, 1_000)
    found = check(trader, trade)
    assert found is not None
    assert (found.can_sell, found.amount_in) == (True, 10 * 10**6)
    events: list[Event] = trader.state.take_events()
    node = Counting(trader.rig.market.node.url)
    assert check(trader, trade, node) is None
    trader.state = State.replay(events)  # started again
    assert check(trader, trade, node) is None
    assert node.count == 0


def test_token_two_pools_away_is_probed_through_both(trader: Trader):
    found = check(trader, trader.buy(trader.pairs.btc_eth, 1_000))
    assert found is not None
    assert found.token == trader.rig.market.btc


def test_tax_the_universe_knows_of_is_let_through_and_an_unknown_one_is_not(trader: Trader):
    known = trader.buy(trader.pairs.tax_usd, 1_000)
    pair = replace(trader.pairs.tax_usd, other_data={})
    unknown = trader.buy(pair, 1_000)
    with pytest.raises(TokenUnsafe, match=r"loses 5\.00% to a tax"):
        check(trader, unknown)
    found = check(trader, known)
    assert found is not None
    assert float(found.buy_tax) == pytest.approx(0.05)


def test_refusal_is_not_remembered_as_a_success(trader: Trader):
    trade = trader.buy(replace(trader.pairs.tax_usd, other_data={}), 1_000)
    for _ in range(2):
        with pytest.raises(TokenUnsafe):
            check(trader, trade)


def test_sale_is_never_probed(trader: Trader):
    bought = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(bought)
    node = Counting(trader.rig.market.node.url)
    sold = trader.sell(trader.state.portfolio.get_position_by_id(bought.position_id))
    assert check(trader, sold, node) is None
    assert node.count == 0


def test_node_that_cannot_simulate_refuses_unless_told_otherwise(trader: Trader):
    trade = trader.buy(trader.pairs.eth_usd, 1_000)
    node = Counting(trader.rig.market.node.url, can_simulate=False)
    with pytest.raises(TokenUnsafe, match="was not probed"):
        check(trader, trade, node)
    assert check(trader, trade, node, is_required=False) is None
    assert check(trader, trade) is not None


def test_trade_too_large_for_the_pool_is_refused(trader: Trader):
    trade = trader.buy(trader.pairs.eth_usd, 900_000)
    with pytest.raises(TokenUnsafe, match="probe with less"):
        check(trader, trade, part=2)
