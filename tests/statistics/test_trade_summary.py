"""The summary of small portfolios, calculated by hand, and its invariants."""

from __future__ import annotations

import itertools
from datetime import UTC, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger import AAVE_USDC, CREDIT, VAULT, Ledger, day, make_five_positions
from tests.scenario import WETH_USDC
from trading_dagster.domain.event import PositionFrozen
from trading_dagster.domain.time import TimeBucket
from trading_dagster.domain.trade import TradeType
from trading_dagster.statistics.fee_table import analyse_trading_fees
from trading_dagster.statistics.pair_table import analyse_multipair
from trading_dagster.statistics.position_return import (
    calculate_investment_flow,
    calculate_realised_profitability,
    calculate_state_deposit_adjusted_returns,
)
from trading_dagster.statistics.summary_table import tabulate_summary
from trading_dagster.statistics.trade_analysis import build_trade_analysis, calculate_all_summary_stats_by_side


def near(value: object) -> Any:
    return pytest.approx(value, rel=1e-9, abs=0)


@pytest.fixture
def five_positions() -> Ledger:
    return make_five_positions()


def test_summary_by_hand(five_positions: Ledger) -> None:
    summary = five_positions.summary()
    assert (summary.won, summary.lost, summary.zero_loss, summary.delta_neutral, summary.undecided) == (1, 2, 1, 0, 1)
    assert summary.total_positions == 4
    assert summary.total_trades == 9
    assert (summary.win_percent, summary.lost_percent) == (0.25, 0.5)
    assert summary.realised_profit == near(-50)
    assert summary.average_net_profit == near(-12.5)
    assert summary.unrealised_profit == near(100)
    assert summary.total_profit == near(50)
    assert (summary.uninvested_cash, summary.open_value) == (near(9450), near(600))
    assert summary.end_value == near(10_050)
    assert summary.return_percent == near(0.005)
    assert summary.annualised_return_percent == near(0.005 * 365 / 20)
    assert summary.trade_volume == near(1000 + 1100 + 1000 + 900 + 1000 + 950 + 1000 + 1000 + 500)
    assert summary.average_trade == near((0.1 - 0.1 - 0.05 + 0) / 4)
    assert summary.median_trade == near(-0.025)
    assert summary.average_winning_trade_profit_pc == summary.median_win == near(0.1)
    assert summary.average_losing_trade_loss_pc == summary.median_loss == near(-0.075)
    assert summary.biggest_winning_trade_pc == near(0.1)
    assert summary.biggest_losing_trade_pc == near(-0.1)
    assert summary.average_duration_of_winning_trades == timedelta(days=2)
    assert summary.average_duration_of_losing_trades == timedelta(days=2)
    assert summary.average_duration_of_zero_loss_trades == timedelta(days=1)
    assert summary.average_duration_of_all_trades == timedelta(days=7) / 4
    assert summary.average_bars_of_all_trades == 1.75
    assert (summary.max_pos_cons, summary.max_neg_cons) == (1, 2)
    assert summary.max_pullback == near(-150 / 9950)
    assert summary.max_realised_loss == near(-100 / 10_100)
    assert summary.avg_realised_risk == near((-100 / 10_100 - 50 / 10_000) / 2)
    assert summary.max_loss_risk == near(1000 / 9950)
    assert (summary.stop_losses, summary.losing_stop_losses, summary.winning_stop_losses) == (1, 1, 0)
    assert (summary.take_profits, summary.winning_take_profits, summary.losing_take_profits) == (2, 1, 0)
    assert (summary.all_stop_loss_percent, summary.lost_stop_loss_percent) == (0.25, 0.5)
    assert (summary.all_take_profit_percent, summary.won_take_profit_percent) == (0.5, 2)
    assert (summary.winning_take_profits_percent, summary.losing_take_profits_percent) == (0.5, 0)
    assert summary.total_interest_paid_usd == summary.max_interest_paid_usd == summary.total_claimed_interest_usd == 0
    assert summary.time_in_market == near((2 + 4 + 1 + 9) / 20)
    assert summary.average_duration_between_position_openings == timedelta(days=2.5)
    assert summary.average_position_frequency == 0.25
    assert summary.compounding_return == near(9950 / 10_000 - 1)
    assert summary.sharpe_ratio is summary.max_drawdown is summary.daily_returns is None


def test_partial_sell_is_realised_before_the_position_closes() -> None:
    ledger = Ledger()
    position = ledger.buy(1, 1000, 100)
    ledger.buy(2, 1000, 200, position=position)  # 15 tokens for 2000: 133.33 each
    ledger.sell(3, position, 160, part=1 / 3)
    summary = ledger.summary()
    assert summary.realised_profit == near((160 - 2000 / 15) * 5)
    assert summary.unrealised_profit == near((160 - 2000 / 15) * 10)
    assert (summary.undecided, summary.total_positions, summary.total_trades) == (1, 0, 3)
    assert calculate_realised_profitability(ledger.state).empty


def test_vaults_and_taxes_are_counted_apart() -> None:
    ledger = Ledger()
    ledger.round_trip(1, 2, 10, pair=VAULT)
    ledger.round_trip(3, 4, 20, token_tax=7.0, token_tax_percent=0.007)
    summary = ledger.summary()
    assert summary.trade_volume == near(1000 + 1010 + 1000 + 1020)
    assert summary.trade_volume_wo_vault == near(1000 + 1020)
    assert summary.trade_volume_taxed == near(1000)
    assert summary.token_tax_paid == 7
    assert summary.won == ledger.summary("long").won == 2


def test_credit_is_neither_won_nor_volatile() -> None:
    ledger = Ledger()
    credit = ledger.buy(0, 5000, 1, pair=CREDIT)
    ledger.round_trip(5, 10, 40)
    ledger.sell(15, credit, 1)
    summary = ledger.summary()
    assert (summary.won, summary.delta_neutral, summary.zero_loss, summary.total_positions) == (1, 1, 0, 2)
    assert summary.win_percent == 0.5
    assert summary.average_trade == near(0.04)
    assert summary.average_duration_of_all_trades == timedelta(days=5)
    assert summary.time_in_market == near(0.75)
    assert summary.time_in_market_volatile == near(0.25)
    assert summary.total_interest_paid_usd == 0
    assert ledger.summary("long").total_positions == 1
    assert ledger.summary("long").total_interest_paid_usd == 0


def test_frozen_position_is_undecided_and_worth_nothing() -> None:
    ledger = Ledger()
    position = ledger.buy(1, 1000, 100)
    ledger.sell(2, position, 150, outcome="failed")
    ledger.state.record(PositionFrozen(day(2).replace(tzinfo=UTC), position, "reverted"))
    summary = ledger.summary()
    assert (summary.undecided, summary.total_trades) == (1, 1)
    assert summary.open_value == summary.unrealised_profit == summary.realised_profit == 0
    assert summary.trade_volume == 1000
    assert summary.end_value == 9000
    assert build_trade_analysis(ledger.state.portfolio).create_timeline()["status"].tolist() == ["frozen"]


def test_position_that_never_traded_is_left_out() -> None:
    ledger = Ledger()
    ledger.buy(1, 1000, 100, outcome="failed")
    summary = ledger.summary()
    assert (summary.undecided, summary.total_trades, summary.trade_volume) == (0, 0, 0)
    assert summary.time_in_market == 0
    assert build_trade_analysis(ledger.state.portfolio).create_timeline().empty
    assert analyse_multipair(ledger.state).empty
    assert analyse_trading_fees(ledger.state).empty


def test_trade_on_its_way_counts_in_the_value_of_the_portfolio() -> None:
    ledger = Ledger()
    ledger.buy(1, 1000, 100, outcome="running")
    assert ledger.summary().open_value == near(1000)
    assert ledger.summary().end_value == near(10_000)


def test_pullback_is_unknown_where_a_loss_left_nothing() -> None:
    ledger = Ledger(cash=1000)
    position = ledger.buy(1, 1000, 100)
    ledger.marks.prices[WETH_USDC] = 0.0
    ledger.trade(2, position, WETH_USDC, -10, 0, 0.0, TradeType.rebalance, "filled", {})
    summary = ledger.summary()
    assert summary.max_realised_loss == -1
    assert summary.max_pullback is None
    assert summary.compounding_return == -1


def test_a_win_ends_the_pullback() -> None:
    ledger = Ledger()
    for start, profit in ((1, -100), (3, 1), (5, -30), (7, 0), (9, -40)):
        ledger.round_trip(start, start + 1, profit)
    assert ledger.summary().max_pullback == near(-100 / 9900)
    assert (ledger.summary().max_neg_cons, ledger.summary().max_pos_cons) == (1, 1)


def test_median_is_the_middle_one() -> None:
    ledger = Ledger()
    for start, profit in enumerate((-10, -20, -90, 10, 20, 90)):
        ledger.round_trip(start * 2, start * 2 + 1, profit)
    summary = ledger.summary()
    assert (summary.median_win, summary.median_loss, summary.median_trade) == (
        near(0.02),
        near(-0.02),
        pytest.approx(0),
    )
    assert (summary.average_winning_trade_profit_pc, summary.average_losing_trade_loss_pc) == (near(0.04), near(-0.04))


def test_stop_loss_without_profit_neither_won_nor_lost() -> None:
    ledger = Ledger()
    ledger.round_trip(1, 2, 0, trade_type=TradeType.stop_loss)
    summary = ledger.summary()
    assert (summary.stop_losses, summary.winning_stop_losses, summary.losing_stop_losses) == (1, 0, 0)
    assert (summary.winning_stop_losses_percent, summary.lost_stop_loss_percent) == (0, None)


def test_drawdown_is_of_samples_but_sharpe_is_of_days() -> None:
    ledger = Ledger(days=4)
    times = [day(0), day(0.5), day(1), day(1.5), day(2), day(3)]
    curve = pd.Series([100.0, 50.0, 110.0, 100.0, 88.0, 88.0], index=pd.DatetimeIndex(times))
    summary = build_trade_analysis(ledger.state.portfolio).calculate_summary_statistics(None, ledger.state, curve)
    changes = [-0.5, 1.2, -1 / 11, -0.12]
    assert summary.profit_factor == near(changes[1] / -(changes[0] + changes[2] + changes[3]))
    assert summary.max_drawdown == near(-0.5)
    assert summary.max_runup == near(1.2)
    daily = np.array([0.1, -0.2, 0, 0])  # the last value is held to the end of the range
    assert summary.sharpe_ratio == near(daily.mean() / daily.std(ddof=1) * 365**0.5)
    assert summary.sortino_ratio == near(daily.mean() / 0.1 * 365**0.5)


def test_wins_only_have_no_pullback() -> None:
    ledger = Ledger()
    ledger.round_trip(1, 2, 10)
    assert ledger.summary().max_pullback == 0
    assert ledger.summary().max_realised_loss is None


def test_loss_risk_is_down_to_the_first_stop() -> None:
    ledger = Ledger()
    position = ledger.buy(1, 1000, 100)
    ledger.move_stop(1, position, 100, 90)
    ledger.move_stop(2, position, 100, 50)
    assert ledger.summary().max_loss_risk == near(0.01)


def test_positions_are_in_the_order_of_opening() -> None:
    ledger = Ledger()
    first = ledger.buy(1, 100, 100)
    second = ledger.buy(2, 100, 10, pair=AAVE_USDC)
    ledger.sell(4, second, 11)
    ledger.sell(5, first, 90)
    ledger.round_trip(6, 7, 1)
    analysis = build_trade_analysis(ledger.state.portfolio)
    assert [p.position_id for p in analysis.positions] == [1, 2, 3]
    assert ledger.summary().max_pos_cons == 2


def test_sides_add_up_to_the_whole(five_positions: Ledger) -> None:
    table = calculate_all_summary_stats_by_side(five_positions.state, TimeBucket.d1)
    for row in ("Return %", "Realised profit", "Trade volume", "Total positions"):
        assert table.loc[row, "All"] == pytest.approx(table.loc[row, "Long"] + table.loc[row, "Short"])


def test_state_without_deposit_or_range() -> None:
    ledger = Ledger(cash=0)
    ledger.state.backtest_data = None
    summary = ledger.summary()
    assert summary.initial_cash == summary.end_value == 0
    assert summary.return_percent is summary.duration is summary.time_in_market is None
    assert calculate_investment_flow(ledger.state).empty
    empty = pd.Series(index=pd.DatetimeIndex([]), dtype="float64")
    assert calculate_state_deposit_adjusted_returns(ledger.state, empty).empty


def test_summary_without_state_tells_what_needs_no_time() -> None:
    ledger = Ledger()
    ledger.round_trip(1, 2, 10)
    summary = build_trade_analysis(ledger.state.portfolio).calculate_summary_statistics()
    assert summary.won == 1
    assert summary.return_percent == near(0.001)
    assert summary.duration is summary.annualised_return_percent is summary.time_in_market is None
    assert summary.average_bars_of_all_trades is summary.compounding_return is None
    assert tabulate_summary(summary, "Backtest").columns.tolist() == ["Backtest"]


@given(st.lists(st.integers(-900, 900), max_size=20))
def test_positions_one_after_another_compound_to_the_change_of_equity(profits: list[int]) -> None:
    ledger = Ledger(cash=100_000, days=60)
    for number, profit in enumerate(profits):
        ledger.round_trip(number * 2, number * 2 + 1, profit)
    summary = ledger.summary()
    signs = [(profit > 0) - (profit < 0) for profit in profits]
    runs = [(sign, len(list(group))) for sign, group in itertools.groupby(signs)]
    assert summary.max_pos_cons == max((length for sign, length in runs if sign > 0), default=0)
    assert summary.max_neg_cons == max((length for sign, length in runs if sign < 0), default=0)
    assert (summary.won, summary.lost, summary.zero_loss) == (signs.count(1), signs.count(-1), signs.count(0))
    assert summary.realised_profit == pytest.approx(sum(profits), abs=1e-6)
    assert summary.return_percent == pytest.approx(sum(profits) / 100_000, abs=1e-9)
    assert summary.compounding_return == pytest.approx(sum(profits) / 100_000, abs=1e-9)
    assert summary.end_value == pytest.approx(100_000 + sum(profits))
