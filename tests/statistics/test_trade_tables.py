"""Timeline, pairs and triggers as tables, calculated by hand."""

from __future__ import annotations

import math
from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.ledger import AAVE_USDC, Ledger, day, make_five_positions
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.event import TradeExecuted
from trading_dagster.domain.trade import TradeType
from trading_dagster.statistics.fee_table import analyse_trading_fees
from trading_dagster.statistics.pair_table import analyse_multipair, format_multipair_summary
from trading_dagster.statistics.timeline import expand_timeline
from trading_dagster.statistics.trade_analysis import build_trade_analysis
from trading_dagster.statistics.trigger_table import analyse_stop_losses, analyse_trigger_updates


def near(value: object) -> Any:
    return pytest.approx(value, rel=1e-9, abs=0)


@pytest.fixture
def five_positions() -> Ledger:
    return make_five_positions()


def test_stop_that_trails_the_price() -> None:
    ledger = Ledger()
    position = ledger.buy(1, 1000, 100)
    ledger.move_stop(1, position, 100, 90, trailing=0.9)
    ledger.move_stop(2, position, 120, 108, trailing=0.9)
    ledger.move_stop(3.5, position, 130, 117, trailing=0.9)
    ledger.sell(4, position, 115, trade_type=TradeType.stop_loss)
    ledger.round_trip(6, 7, -10)
    table = analyse_stop_losses(ledger.state)
    assert table.index.tolist() == [position]
    row = table.loc[position]
    assert row["triggered"]
    assert row["trailing"]
    assert (row["updates"], row["duration"]) == (3, timedelta(days=2.5))
    assert row[["profit", "initial", "drift_up", "drift_down"]].tolist() == pytest.approx([0.15, -0.1, 0.3, 0])
    assert row[["opening_stop_loss", "lowest_stop_loss", "highest_stop_loss"]].tolist() == [90, 90, 117]
    assert row[["opening_price", "closing_price", "lowest_price", "highest_price"]].tolist() == [100, 115, 100, 130]
    updates = analyse_trigger_updates(ledger.state)
    assert updates["stop_loss_before"].tolist() == pytest.approx([math.nan, 90, 108], nan_ok=True)
    assert updates["stop_loss_after"].tolist() == [90, 108, 117]
    assert updates["timestamp"].tolist() == [day(1), day(2), day(3.5)]

    summary = ledger.summary()
    assert (summary.stop_losses, summary.winning_stop_losses, summary.losing_stop_losses) == (1, 1, 0)
    assert summary.lost_stop_loss_percent == 1
    assert summary.max_loss_risk == near(1000 / 10_150)
    assert analyse_multipair(ledger.state).loc[0, ["Stop losses", "Trailing stop losses"]].tolist() == [1, 1]


def test_multipair_table_by_hand(five_positions: Ledger) -> None:
    position = five_positions.buy(12, 1000, 10, pair=AAVE_USDC)
    five_positions.sell(13, position, 13)
    table = analyse_multipair(five_positions.state)
    assert table["Trading pair"].tolist() == ["WETH-USDC", "AAVE-USDC"]
    weth, aave = table.iloc[0], table.iloc[1]
    assert weth[["Positions", "Trades", "Wins", "Losses", "Take profits", "Stop losses"]].tolist() == [5, 9, 1, 2, 2, 1]
    percents = [0.1, -0.1, -0.05, 0, 0.2]
    assert weth["Total return %"] == near(0.15)
    assert weth["Total PnL USD"] == near(50)
    assert (weth["Best"], weth["Worst"]) == (near(0.2), near(-0.1))
    assert (weth["Avg"], weth["Volatility"]) == (near(0.03), near(np.std(percents, ddof=1)))
    assert weth["Median"] == pytest.approx(0, abs=1e-12)
    assert (aave["Total PnL USD"], aave["Volume"]) == (near(300), near(2300))
    assert math.isnan(aave["Volatility"])

    shown = format_multipair_summary(table)
    assert shown["Trading pair"].tolist() == ["AAVE-USDC", "WETH-USDC"]
    assert shown["Total PnL USD"].tolist() == ["300.00", "50.00"]
    assert shown["Best"].tolist() == ["30.00%", "20.00%"]
    assert shown["Volatility"].tolist() == ["-", f"{np.std(percents, ddof=1):.2%}"]
    assert format_multipair_summary(table, "Trades", ascending=True)["Trades"].tolist() == ["2", "9"]
    with pytest.raises(BadInput, match=r"'PnL'.*Total PnL USD"):
        format_multipair_summary(table, "PnL")


def test_timeline_by_hand(five_positions: Ledger) -> None:
    timeline = build_trade_analysis(five_positions.state.portfolio).create_timeline()
    assert timeline["position_id"].tolist() == [1, 2, 3, 4, 5]
    assert timeline["closed_by"].tolist() == ["take_profit", "stop_loss", "rebalance", "take_profit", ""]
    assert timeline["profit_usd"].tolist() == pytest.approx([100, -100, -50, 0, 100])
    assert timeline["profit_pct"].tolist() == pytest.approx([0.1, -0.1, -0.05, 0, 0.2])
    assert timeline["size_relative_profit_pct"].tolist() == pytest.approx([0.01, -100 / 10_100, -0.005, 0, 0])
    assert timeline["duration"].iloc[:2].tolist() == [timedelta(days=2), timedelta(days=1)]
    assert pd.isna(timeline["closed_at"].iloc[4])
    shown = expand_timeline(timeline)
    assert shown.iloc[0].tolist() == [
        "1",
        "take profit",
        "Long",
        "2022-01-02 00:00",
        "2022-01-04 00:00",
        "2 d",
        "",
        "WETH-USDC",
        "1,000.00",
        "1,000.00",
        "100.00",
        "10.00%",
        "100.00",
        "110.00",
        "2",
        "0.00",
    ]
    assert shown.iloc[4][["Remarks", "Closed at", "Duration", "Close mid price USD"]].tolist() == [
        "open",
        "-",
        "-",
        "-",
    ]
    assert shown.loc[2, "Remarks"] == ""


def test_fees_are_of_what_was_executed_and_of_what_was_planned() -> None:
    ledger = Ledger()
    position = ledger.buy(1, 1000, 100, outcome="running")
    executed_at = day(1.5).replace(tzinfo=UTC)
    ledger.state.record(TradeExecuted(executed_at, 1, position, Decimal(5), Decimal(500), 100.0, 4.0))
    (row,) = analyse_trading_fees(ledger.state).to_dict("records")
    assert (row["trade_id"], row["position_id"], row["trade_type"], row["pair_id"]) == (1, position, "buy", 1)
    assert (row["strategy_cycle_at"], row["executed_at"]) == (day(1), day(1.5))
    assert (row["value_usd"], row["fees_paid_usd"], row["fees_paid_pct"]) == (500, 4, 0.008)
    assert (row["fees_estimated_usd"], row["fees_estimated_pct"]) == (0, 0)
