"""A ledger that was restored from a backup while the journal of transactions was not: no old swap ends a new trade."""

from __future__ import annotations

from datetime import timedelta

import pytest
from evm.deployment import Rig
from evm.trader import Trader

from trading_dagster.domain.error import IntentConflict
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeStatus

LOOKBACK = 200


@pytest.fixture
def trader(rig: Rig) -> Trader:
    """A trader whose ledger is that of before its last trade."""
    trader = Trader(rig)
    trader.fund()
    trader.execute(trader.buy(trader.pairs.eth_usd, 1_000))
    backup = list(trader.state.new_events)
    trader.execute(trader.sell(trader.state.portfolio.open_positions[1]))
    trader.execute(trader.buy(trader.pairs.eth_usd, 2_000))
    trader.state = State.replay(backup)
    trader.wait(timedelta(days=1))
    return trader


def test_trade_of_the_journal_that_the_ledger_does_not_have_stops_with_what_to_do(trader: Trader):
    with pytest.raises(IntentConflict, match="no trade #2: the ledger is an older copy"):
        trader.resume()


def test_new_trade_is_not_ended_by_the_swap_of_the_old_one_with_its_number(trader: Trader):
    trader.rig.market.node.mine(LOOKBACK + 50)
    assert trader.resume() == []
    sell = trader.sell(trader.state.portfolio.open_positions[1])
    assert sell.trade_id == 2

    with pytest.raises(IntentConflict, match=r"for another trade than .*: the ledger is an older copy"):
        trader.execute(sell)

    assert sell.get_status() is TradeStatus.started
    assert trader.state.portfolio.open_positions


def test_trade_of_another_position_with_the_same_number_is_not_ended_either(trader: Trader):
    trader.rig.market.node.mine(LOOKBACK + 50)
    trader.now -= timedelta(days=1)
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    with pytest.raises(IntentConflict, match="for another trade"):
        trader.execute(buy)
