"""Prices from pools are what the exchange's own contracts say, at one block."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from evm.deployment import Market, Rig
from evm.trader import Pairs, Trader, make_pairs

from trading_dagster.domain.error import BadInput, ContractMissing, InvalidTrade, PoolEmpty, TooSmallTrade
from trading_dagster.domain.event import TradeExecuted, TradeStarted
from trading_dagster.domain.identifier import TradingPairKind
from trading_dagster.evm.abi import Function
from trading_dagster.evm.amm_pricing import AmmMarks, AmmPricing
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Hop, Route
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.uniswap_v2 import SWAP, UniswapV2Dex

AMOUNTS_OUT = Function("getAmountsOut", ("uint256", "address[]"), ("uint256[]",))
CREATE_PAIR = Function("createPair", ("address", "address"), ("address",))
NOW = datetime(2026, 1, 1)


@pytest.fixture
def pairs(market: Market) -> Pairs:
    return make_pairs(market)


def pricing_of(market: Market, pairs: Pairs, client: EvmClient | None = None) -> AmmPricing:
    client = client or market.client()
    dex = UniswapV2Dex(market.uniswap)
    return AmmPricing(client, RouteTable(dex, pairs.usd, pairs.all), client.connect())


def said_by_router(market: Market, amount: int, *path: str) -> int:
    client = market.client()
    (amounts,) = client.call(market.uniswap.router, AMOUNTS_OUT, (amount, list(path)), client.connect())
    return int(amounts[-1])


def test_buy_price_is_what_the_router_gives_for_that_size(market: Market, pairs: Pairs):
    small, large = (pricing_of(market, pairs).get_buy_price(NOW, pairs.eth_usd, usd) for usd in (1.0, 400_000.0))

    got = said_by_router(market, 400_000 * 10**6, market.usd, market.eth)
    assert large.price == pytest.approx(400_000 / (got / 10**18), rel=1e-15)
    assert (large.mid_price, large.pair_fee) == (4000.0, pytest.approx(0.003))
    assert large.lp_fee == pytest.approx(1200.0)
    assert small.price == pytest.approx(4000 / 0.997, rel=1e-6)
    assert large.price > 1.09 * small.price, "a tenth of the pool moves the price by a tenth"
    assert large.side
    assert large.path == (pairs.eth_usd,)
    assert large.block_number == market.node.head()


def test_sell_price_is_what_the_router_gives_for_that_size(market: Market, pairs: Pairs):
    pricing = pricing_of(market, pairs).get_sell_price(NOW, pairs.eth_usd, 50.0)

    got = said_by_router(market, 50 * 10**18, market.eth, market.usd)
    assert pricing.price == pytest.approx(got / 10**6 / 50, rel=1e-15)
    assert pricing.lp_fee == pytest.approx(50 * 4000 * 0.003)
    assert not pricing.side


def test_pair_that_is_not_quoted_in_the_reserve_goes_through_two_pools(market: Market, pairs: Pairs):
    pricing = pricing_of(market, pairs)

    buy = pricing.get_buy_price(NOW, pairs.btc_eth, 5_000.0)
    sell = pricing.get_sell_price(NOW, pairs.btc_eth, 0.25)

    assert buy.mid_price == sell.mid_price == pricing.get_mid_price(NOW, pairs.btc_eth) == 100_000.0
    bought = said_by_router(market, 5_000 * 10**6, market.usd, market.eth, market.btc)
    assert buy.price == pytest.approx(5_000 / (bought / 10**8), rel=1e-15)
    sold = said_by_router(market, 25 * 10**6, market.btc, market.eth, market.usd)
    assert sell.price == pytest.approx(sold / 10**6 / 0.25, rel=1e-15)
    assert buy.path == sell.path == (pairs.eth_usd, pairs.btc_eth)
    assert buy.pair_fee == pytest.approx(1 - 0.997**2)
    assert pricing.get_pair_fee(NOW, pairs.btc_eth) == pytest.approx(1 - 0.997**2)


def test_tax_of_a_token_is_in_the_price_and_not_in_the_fee(market: Market, pairs: Pairs):
    pricing = pricing_of(market, pairs)

    taxed = pricing.get_buy_price(NOW, pairs.tax_usd, 100.0)
    plain = pricing.get_buy_price(NOW, replace(pairs.tax_usd, other_data={}), 100.0)
    sold = pricing.get_sell_price(NOW, pairs.tax_usd, 100.0)

    assert taxed.price == pytest.approx(plain.price / 0.95)
    assert taxed.pair_fee == plain.pair_fee
    assert (taxed.token_tax, taxed.token_tax_percent) == (pytest.approx(5.0), 0.05)
    assert sold.price == pytest.approx(sold.mid_price * 0.997 * 0.95, rel=1e-3)


class CountingClient(EvmClient):
    """Counts the calls of contracts."""

    calls = 0

    def call(self, *arguments, **more):
        self.calls += 1
        return super().call(*arguments, **more)


def test_prices_stay_those_of_their_block_and_are_read_once(market: Market, pairs: Pairs):
    base = market.client()
    client = CountingClient(base._endpoints, base.chain_id, base._setting)
    pricing = pricing_of(market, pairs, client)
    before = pricing.get_buy_price(NOW, pairs.eth_usd, 100.0)
    calls = client.calls
    deadline = market.node.timestamp() + 100
    path = [market.usd, market.eth]
    data = SWAP.encode(10**12, 0, path, market.owner, deadline)
    market.node.do(market.owner, market.uniswap.router, data)

    assert pricing.get_buy_price(NOW, pairs.eth_usd, 100.0) == before
    assert client.calls == calls
    assert pricing.get_sell_price(NOW, pairs.eth_usd, 1.0).price < before.price
    assert client.calls == calls, "the pool was read for the buy"
    assert pricing_of(market, pairs).get_buy_price(NOW, pairs.eth_usd, 100.0).price > 1.5 * before.price


def test_pool_without_liquidity_and_missing_pool_are_told_apart(market: Market, pairs: Pairs):
    pricing = pricing_of(market, pairs)
    missing = replace(pairs.btc_eth, quote=pairs.usd)
    with pytest.raises(ContractMissing, match="no pool"):
        pricing.get_buy_price(NOW, missing, 100.0)
    market.node.do(market.owner, market.uniswap.factory, CREATE_PAIR.encode(market.usd, market.btc))
    pricing = pricing_of(market, pairs)
    for ask in (
        lambda: pricing.get_buy_price(NOW, missing, 100.0),
        lambda: pricing.get_sell_price(NOW, missing, 1.0),
        lambda: pricing.get_mid_price(NOW, missing),
    ):
        with pytest.raises(PoolEmpty, match="nothing to trade against"):
            ask()


def test_what_cannot_be_swapped_is_refused(market: Market, pairs: Pairs):
    pricing = pricing_of(market, pairs)
    with pytest.raises(InvalidTrade, match="above 0"):
        pricing.get_buy_price(NOW, pairs.eth_usd, 0.0)
    with pytest.raises(InvalidTrade, match="above 0"):
        pricing.get_sell_price(NOW, pairs.eth_usd, float("nan"))
    with pytest.raises(TooSmallTrade, match="smallest unit"):
        pricing.get_buy_price(NOW, pairs.eth_usd, 1e-7)
    with pytest.raises(TooSmallTrade, match="brings nothing"):
        pricing.get_sell_price(NOW, pairs.eth_usd, 1e-16)
    with pytest.raises(InvalidTrade, match="that the deployment does not name"):
        pricing.get_mid_price(NOW, replace(pairs.eth_usd, kind=TradingPairKind.vault))
    with pytest.raises(InvalidTrade, match="no pair of it"):
        pricing.get_mid_price(NOW, replace(pairs.eth_usd, quote=pairs.btc_eth.base))
    with pytest.raises(BadInput, match="correct the pair's fee"):
        pricing.get_mid_price(NOW, replace(pairs.eth_usd, fee=0.0005))


def test_routes_are_paths():
    a, b, c = ("0x" + digit * 40 for digit in "abc")
    assert Route((Hop(a, b), Hop(b, c))).tokens == (a, b, c)
    for hops in ((), (Hop(a, b), Hop(c, a)), (Hop(a, b), Hop(b, a))):
        with pytest.raises(BadInput, match="route"):
            Route(hops)
    with pytest.raises(BadInput, match="itself"):
        Hop(a, a)
    with pytest.raises(BadInput, match="fee of a hop"):
        Hop(a, b, -1)


def test_position_is_worth_what_selling_all_of_it_brings(rig: Rig):
    trader = Trader(rig)
    trader.fund()
    trade = trader.buy(trader.pairs.eth_usd, 400_000, slippage=0.05)
    position = trader.state.portfolio.open_positions[trade.position_id]
    assert AmmMarks(trader.pricing(), trader.state, NOW).price_of(trade.pair) == pytest.approx(4000 * 0.997)
    trader.state.record(TradeStarted(trader.now, trade.trade_id, trade.position_id))
    trader.state.record(
        TradeExecuted(trader.now, trade.trade_id, trade.position_id, trade.planned_quantity, trade.allocated, 1.0, 0.0)
    )
    pricing = trader.pricing()
    marks = AmmMarks(pricing, trader.state, NOW)
    trader.state.use_marks(marks)

    bid = pricing.get_sell_price(NOW, trade.pair, position.held).price
    assert marks.price_of(trade.pair) == bid < 0.93 * 4000
    assert position.get_value() == pytest.approx(position.held * bid)
    assert marks.priced_at() == NOW


def test_position_in_an_empty_pool_is_worth_nothing(market: Market, pairs: Pairs, rig: Rig):
    trader = Trader(rig)
    market.node.do(market.owner, market.uniswap.factory, CREATE_PAIR.encode(market.usd, market.btc))
    marks = AmmMarks(trader.pricing(), trader.state, NOW)
    assert marks.price_of(replace(pairs.btc_eth, quote=pairs.usd)) == 0.0
    assert marks.price_of(replace(pairs.btc_eth)) > 0
