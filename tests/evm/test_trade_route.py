"""Ways to the reserve token: what a position came through stays a way out when the universe changes."""

from __future__ import annotations

import pytest
from evm.deployment import Rig
from evm.trader import Trader

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.event import PairIntroduced
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.evm.amm_pricing import AmmMarks
from trading_dagster.evm.trade_route import RouteTable, list_legs
from trading_dagster.storage.event_codec import EventDecoder, encode_event


def test_position_whose_middle_pair_left_the_universe_is_priced_and_sold(rig: Rig):
    trader = Trader(rig)
    trader.fund()
    for pair in trader.pairs.all:
        trader.state.record(PairIntroduced(trader.now, pair))
    trader.execute(trader.buy(trader.pairs.btc_eth, 5_000))
    usd, btc_eth = trader.pairs.usd, trader.pairs.btc_eth
    stored = [encode_event(event) for event in trader.state.take_events()]
    trader.state = State.replay(EventDecoder([btc_eth]).decode_all(stored))
    with pytest.raises(InvalidTrade, match="the universe has no pair of it with USD"):
        RouteTable(trader.dex, usd, [btc_eth]).path_of(btc_eth)

    trader.routes = RouteTable(trader.dex, usd, [btc_eth, *list_legs(trader.state)])

    (position,) = trader.state.portfolio.open_positions.values()
    assert AmmMarks(trader.pricing(), trader.state, to_naive(trader.now)).price_of(btc_eth) > 90_000
    sell = trader.sell(position)
    trader.execute(sell)
    assert sell.get_status() is TradeStatus.success
    trader.require_books_equal_chain()
