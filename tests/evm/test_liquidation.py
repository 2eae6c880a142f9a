"""Liquidations that others make are booked on the loan they hit, whenever they are found."""

from __future__ import annotations

import pytest
from evm.deployment import Rig
from evm.deployment_aave import Aave
from evm.loan_trader import LoanTrader

from trading_dagster.evm.liquidation import Liquidation, book_liquidation


@pytest.fixture
def trader(deployed_aave: Aave, rig: Rig) -> LoanTrader:
    trader = LoanTrader(rig, aave=deployed_aave)
    trader.fund()
    return trader


def liquidation_in(trader: LoanTrader, block: int) -> Liquidation:
    market = trader.rig.market
    return Liquidation("0x" + "ab" * 32, 3, block, market.usd, market.eth, 10**18, 4_200 * 10**6, "0x" + "cd" * 20)


def test_liquidation_is_booked_once(trader: LoanTrader):
    opened = trader.open_short(8_000)
    trader.execute(opened)
    position = trader.state.portfolio.open_positions[1]
    found = liquidation_in(trader, opened.fill.block_number + 1)
    assert book_liquidation(trader.state, found, trader.now) is position
    assert book_liquidation(trader.state, found, trader.now) is None


def test_liquidation_of_a_short_that_is_closed_is_not_booked_on_the_next_one(trader: LoanTrader):
    trader.execute(trader.open_short(8_000))
    closed = trader.close_short(trader.state.portfolio.open_positions[1])
    trader.execute(closed)
    trader.execute(trader.open_short(8_000))
    loan = trader.state.portfolio.open_positions[2].loan
    owed = loan.borrowed.total

    assert book_liquidation(trader.state, liquidation_in(trader, closed.fill.block_number), trader.now) is None

    assert loan.borrowed.total == owed
