"""The journal of transactions is lost while the ledger is not: what may have been sent is never sent again."""

from __future__ import annotations

import pytest
from evm.deployment import Rig
from evm.deployment_aave import Aave
from evm.loan_trader import LoanTrader
from evm.test_execution import SHORT, Killed, trade_id_of
from evm.test_transaction import kinds
from evm.trader import Trader

from trading_dagster.domain.trade import TradeStatus
from trading_dagster.evm.alarm import AlarmKind
from trading_dagster.evm.trade_book import is_lost
from trading_dagster.evm.transaction_journal import MemoryTransactionJournal


@pytest.fixture
def trader(rig: Rig) -> Trader:
    trader = Trader(rig)
    trader.fund()
    return trader


@pytest.mark.parametrize("knows_wallet", [False, True], ids=["another file", "an older backup"])
def test_swap_that_was_handed_to_a_lost_journal_is_not_sent_again(trader: Trader, knows_wallet: bool):
    usd = trader.balance(trader.pairs.usd)
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy, setting=SHORT)
    assert buy.get_status() is TradeStatus.broadcasted
    trader.rig.market.node.mine(3)
    trader.rig.journal = MemoryTransactionJournal()
    if knows_wallet:
        trader.rig.journal.open_wallet(trader.rig.account, 2, 1)

    assert trader.resume() == []

    assert trader.balance(trader.pairs.usd) == usd - 1_000, "the money was spent once"
    assert buy.get_status() is TradeStatus.failed
    assert is_lost(buy)
    assert (trade_id_of(buy) if knows_wallet else str(trader.rig.account)) in buy.failure
    assert buy.position_id in trader.state.portfolio.frozen_positions
    assert AlarmKind.trade_unfinished in kinds(trader.rig)


def test_swap_that_only_began_is_not_sent_when_the_journal_does_not_know_the_wallet(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.resume()

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        trader.execute(buy, save=die)
    assert buy.get_status() is TradeStatus.started
    trader.rig.journal = MemoryTransactionJournal()

    assert trader.resume() == []

    assert buy.get_status() is TradeStatus.failed
    assert trader.rig.journal.find(trade_id_of(buy)) is None


def test_loan_of_a_lost_journal_is_not_made_again(deployed_aave: Aave, rig: Rig):
    trader = LoanTrader(rig, aave=deployed_aave)
    trader.fund()
    usd = trader.balance(trader.pairs.usd)
    trade = trader.supply(1_000)
    trader.execute(trade, setting=SHORT)
    trader.resume(setting=SHORT)
    trader.rig.market.node.mine(3)
    trader.resume(setting=SHORT)
    assert trade.get_status() is TradeStatus.broadcasted
    trader.rig.market.node.mine(3)
    assert trader.balance(trader.pairs.usd) == usd - 1_000
    trader.rig.journal = MemoryTransactionJournal()

    assert trader.resume() == []

    assert trader.balance(trader.pairs.usd) == usd - 1_000
    assert is_lost(trade)
