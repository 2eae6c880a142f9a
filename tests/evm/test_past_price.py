"""What the market did between quote and fill is read from the node, and told apart from slippage."""

from __future__ import annotations

from decimal import Decimal

import pytest
from evm.deployment import Rig
from evm.test_execution import move_price
from evm.trader import Trader

from trading_dagster.domain.trade import TradeFill
from trading_dagster.evm.past_price import PastPrices
from trading_dagster.statistics.price_step import explain_fill


@pytest.fixture
def trader(rig: Rig) -> Trader:
    trader = Trader(rig)
    trader.fund()
    return trader


def past_prices(trader: Trader) -> PastPrices:
    return PastPrices(trader.client, trader.dex)


def test_a_price_that_moved_before_the_fill_is_a_move_and_no_slippage(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, Decimal(5_000))
    move_price(trader, usd=10_000)
    trader.execute(buy)

    mid = past_prices(trader).mid_before_fill(buy)

    assert mid is not None
    assert mid > buy.planned_mid_price * 1.004
    steps = explain_fill(buy, mid)
    assert float(steps.move) == pytest.approx(mid - buy.planned_mid_price)
    assert abs(steps.slippage) < steps.move / 50, "what is left is fee and impact of the moved price"
    assert steps.fee > 0
    assert steps.impact > 0


def test_a_price_that_did_not_move_through_two_pools_leaves_neither(trader: Trader):
    buy = trader.buy(trader.pairs.btc_eth, Decimal(5_000))
    trader.execute(buy)
    steps = explain_fill(buy, past_prices(trader).mid_before_fill(buy))
    assert steps.move == 0
    assert abs(steps.slippage) < buy.executed_price * 1e-8


def test_a_fill_that_no_node_can_tell_about_has_no_known_price(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, Decimal(5_000))
    assert past_prices(trader).mid_before_fill(buy) is None
    buy.fill = TradeFill(trader.now, Decimal(1), Decimal(1), 1.0, 0.0, None, "0xabc", 10**9)
    assert past_prices(trader).mid_before_fill(buy) is None
