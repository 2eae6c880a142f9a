"""Trades through Uniswap v3: the same execution behind the same port, to the unit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from evm.deployment import Rig
from evm.deployment_v3 import MarketV3
from evm.test_uniswap_v3 import deployed_v3, rig_v3, v3  # noqa: F401 - fixtures
from evm.trader import Trader

from trading_dagster.domain.money import from_units
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.evm.uniswap_v3 import RouterKind


@pytest.mark.parametrize("kind", RouterKind)
def test_buy_and_sell_over_one_and_two_pools_are_filled_as_quoted(v3: MarketV3, rig: Rig, kind: RouterKind):  # noqa: F811
    trader = Trader(rig, dex=v3.with_router(kind), btc_fee=0.0005)
    trader.fund()
    for pair, decimals in ((trader.pairs.eth_usd, 18), (trader.pairs.btc_eth, 8)):
        buy = trader.buy(pair, Decimal("2000.5"))
        route = trader.routes.route_of(pair, True)
        quote = trader.dex.quote(trader.client, route, 2_000_500_000, trader.client.read_head())
        trader.execute(buy)
        assert buy.get_status() is TradeStatus.success, buy.failure
        assert buy.executed_quantity == from_units(quote.amount_out, decimals)
        assert buy.executed_price == pytest.approx(buy.planned_price, rel=1e-9)

        position = trader.state.portfolio.open_positions[buy.position_id]
        sell = trader.sell(position)
        trader.execute(sell)
        assert sell.get_status() is TradeStatus.success, sell.failure
        assert sell.executed_price == pytest.approx(sell.planned_price, rel=1e-9)
        assert position.is_closed()
    trader.require_books_equal_chain()


def test_price_beyond_the_slippage_fails_on_v3_too(v3: MarketV3, rig: Rig):  # noqa: F811
    trader = Trader(rig, dex=v3.dex, btc_fee=0.0005)
    trader.fund()
    late = trader.buy(trader.pairs.eth_usd, 1_000, slippage=0.001)
    first = trader.buy(trader.pairs.eth_usd, 60_000, slippage=0.05)
    trader.execute(first, late)
    assert first.get_status() is TradeStatus.success, first.failure
    assert late.get_status() is TradeStatus.failed
    assert "Too little received" in late.failure
    trader.require_books_equal_chain()
