"""How positions were left part by part, and what became of orders that waited."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest
from order_tape import HOUR, play
from tape import START, WETH_USDC

from trading_dagster.statistics.exit_table import analyse_exits, analyse_waiting_trades
from trading_dagster.statistics.trade_table import positions_table


@pytest.fixture(scope="module")
def state():
    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            trades = pm.open_spot(WETH_USDC, 1000, stop_loss_pct=0.9)
            position = pm.get_current_position_for_pair(WETH_USDC)
            pm.prepare_take_profit_trades(
                position, [(110.0, Decimal(-4), False), (2 * HOUR, Decimal(-3), False), (130.0, Decimal(-3), True)]
            )
            return trades
        if input.cycle == 2:
            pm.open_spot_with_market_limit(WETH_USDC, 500, 300.0, expires_at=input.timestamp + HOUR)
        if input.cycle == 3:
            pm.open_spot_with_market_limit(WETH_USDC, 500, 400.0)
        return []

    return play([100, 110, 105, 100, 88, 90, 90, 90, 90, 90, 90, 90, 90], decide).state


def test_every_part_of_a_position_is_counted_as_it_was_left(state):
    table = analyse_exits(state)
    assert table.to_dict("index") == {
        "partial_take_profit": {"trades": 1, "closing": 0, "value": 440.0, "profit": 40.0, "fees": 0.0},
        "stop_loss": {"trades": 1, "closing": 1, "value": 264.0, "profit": -36.0, "fees": 0.0},
        "timed_exit": {"trades": 1, "closing": 0, "value": 300.0, "profit": 0.0, "fees": 0.0},
    }
    assert positions_table(state)["close_reason"].tolist() == ["stop_loss"]


def test_every_order_is_listed_with_what_became_of_it(state):
    table = analyse_waiting_trades(state)
    assert table["outcome"].tolist() == ["success", "success", "expired", "expired", "waiting"]
    assert table["trigger"].tolist()[:2] == [
        "take_profit_partial cross_above 110.0",
        "take_profit_partial 2:00:00 after opening",
    ]
    assert table["ended_at"].tolist()[:4] == [START + n * HOUR for n in (1, 3, 4, 6)]
    assert pd.isna(table["ended_at"].iloc[4])
    assert table["mid_price"].tolist()[:2] == [110, 100]
    assert table["reason"].tolist() == ["", "", "its position closed", "it did not fire in time", ""]


def test_position_left_by_its_last_take_profit_says_so():
    def decide(input):
        pm = input.get_position_manager()
        if input.cycle > 1:
            return []
        trades = pm.open_spot(WETH_USDC, 1000)
        position = pm.get_current_position_for_pair(WETH_USDC)
        pm.prepare_take_profit_trades(position, [(110.0, Decimal(-5), False), (HOUR, Decimal(-5), True)])
        return trades

    early = play([100, 111, 112, 100, 100], decide)
    assert positions_table(early.state)["close_reason"].tolist() == ["timed_exit"]
    assert analyse_exits(early.state)["closing"].to_dict() == {"partial_take_profit": 0, "timed_exit": 1}


def test_tables_of_a_state_without_trades_have_their_columns():
    state = play([100] * 5, lambda _: []).state
    assert (len(analyse_exits(state)), len(analyse_waiting_trades(state))) == (0, 0)
    assert "profit" in analyse_exits(state)
