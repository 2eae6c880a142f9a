"""The summary of whole backtests: acceptance scenarios, and a strategy that never trades."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.scenario import flat_universe, open_with_stop_loss, run, run_s1, run_s2, run_s5
from trading_dagster.backtest import BacktestResult
from trading_dagster.domain.time import TimeBucket
from trading_dagster.statistics.fee_table import analyse_trading_fees
from trading_dagster.statistics.pair_table import analyse_multipair, format_multipair_summary
from trading_dagster.statistics.position_return import calculate_realised_profitability
from trading_dagster.statistics.summary_table import SUMMARY_ROWS
from trading_dagster.statistics.timeline import expand_timeline
from trading_dagster.statistics.trade_analysis import build_trade_analysis
from trading_dagster.statistics.trade_summary import TradeSummary
from trading_dagster.statistics.trigger_table import analyse_stop_losses, analyse_trigger_updates


def near(value: object) -> Any:
    return pytest.approx(value, rel=1e-9, abs=0)


def summarise(result: BacktestResult) -> TradeSummary:
    analysis = build_trade_analysis(result.state.portfolio)
    return analysis.calculate_summary_statistics(TimeBucket.d1, result.state, result.equity_curve)


@pytest.fixture(scope="module")
def s1() -> BacktestResult:
    return run_s1()


@pytest.fixture(scope="module")
def s1_summary(s1: BacktestResult) -> TradeSummary:
    return summarise(s1)


def test_s1_counts_and_money(s1_summary: TradeSummary) -> None:
    assert s1_summary.total_trades == 22
    assert s1_summary.total_positions == 11
    assert (s1_summary.won, s1_summary.lost, s1_summary.zero_loss, s1_summary.undecided) == (4, 7, 0, 0)
    assert s1_summary.win_percent == near(4 / 11)
    assert s1_summary.lost_percent == near(7 / 11)
    assert s1_summary.realised_profit == near(-47.17044385644749)
    assert s1_summary.average_net_profit == near(-47.17044385644749 / 11)
    assert s1_summary.unrealised_profit == 0
    assert s1_summary.trade_volume == s1_summary.trade_volume_wo_vault == near(21900.29776619458)
    assert s1_summary.trade_volume_taxed == s1_summary.token_tax_paid == 0
    assert s1_summary.lp_fees_paid == near(65.79952827646791)
    assert s1_summary.lp_fees_average_pc == near(65.79952827646791 / 21900.29776619458)
    assert s1_summary.initial_cash == 10_000
    assert s1_summary.end_value == s1_summary.uninvested_cash == near(9952.829556143553)
    assert s1_summary.later_flows == s1_summary.open_value == 0


def test_s1_times(s1_summary: TradeSummary) -> None:
    assert s1_summary.duration == timedelta(days=213)
    assert s1_summary.time_in_market == s1_summary.time_in_market_volatile == near(0.6384976525821596)
    assert s1_summary.average_duration_of_winning_trades == timedelta(days=19)
    losing = s1_summary.average_duration_of_losing_trades
    assert losing is not None
    assert losing - timedelta(microseconds=losing.microseconds) == timedelta(days=8, hours=13, minutes=42, seconds=51)
    assert s1_summary.average_bars_of_winning_trades == 19
    assert s1_summary.average_bars_of_losing_trades == pytest.approx(60 / 7)
    assert s1_summary.average_bars_of_zero_loss_trades is None


def test_s1_returns_and_risk(s1_summary: TradeSummary) -> None:
    assert s1_summary.profit_factor == pytest.approx(0.97546, abs=5e-6)
    assert s1_summary.max_pullback == pytest.approx(-0.017035, abs=5e-7)
    assert s1_summary.sharpe_ratio == pytest.approx(-0.16402, rel=0.005)
    assert s1_summary.sortino_ratio == pytest.approx(-0.23988, rel=0.005)
    assert s1_summary.compounding_return == pytest.approx(-0.0047170, abs=5e-8)
    assert s1_summary.compounding_return == near(9952.829556143553 / 10_000 - 1)
    assert s1_summary.return_percent == near(9952.829556143553 / 10_000 - 1)
    assert s1_summary.annualised_return_percent == near((9952.829556143553 / 10_000 - 1) * 365 / 213)
    assert s1_summary.max_loss_risk == near(0.1)


def test_s1_drawdown_and_runup_are_of_the_equity_curve(s1: BacktestResult, s1_summary: TradeSummary) -> None:
    equity = s1.equity_curve.to_numpy()
    assert s1_summary.max_drawdown == pytest.approx((equity / np.maximum.accumulate(equity) - 1).min())
    assert s1_summary.max_runup == pytest.approx((equity / np.minimum.accumulate(equity) - 1).max())
    assert s1_summary.daily_returns is not None
    assert len(s1_summary.daily_returns) == 214


def test_s1_table_by_side(s1: BacktestResult, s1_summary: TradeSummary) -> None:
    table = s1.statistics
    assert table.columns.tolist() == ["All", "Long", "Short"]
    assert table.index.tolist() == [row.label for row in SUMMARY_ROWS]
    assert table.index.is_unique
    assert table.loc["Realised profit", "All"] == table.loc["Realised profit", "Long"] == s1_summary.realised_profit
    assert table.loc["Return %", "Long"] == pytest.approx(s1_summary.return_percent)
    assert table.loc["Return %", "Short"] == 0
    assert table.loc["Total positions"].tolist() == [11, 11, 0]
    assert table.loc["Cash at start"].tolist() == [10_000, "-", "-"]
    assert table.loc["Trading period length"].tolist() == [timedelta(days=213), "-", "-"]
    assert table.loc["Sharpe", "Short"] == table.loc["Win %", "Short"] == "-"
    assert not table.isna().any().any()


def test_s1_side_is_measured_on_its_compounding_returns(s1: BacktestResult) -> None:
    side = build_trade_analysis(s1.state.portfolio).calculate_long_summary_statistics(TimeBucket.d1, s1.state)
    wealth = [1.0]
    for position in sorted(s1.state.portfolio.closed_positions.values(), key=lambda p: p.position_id):
        wealth.append(wealth[-1] + (position.get_realised_profit_usd() or 0) / 10_000)
    steps = np.diff(wealth) / wealth[:-1]
    assert side.profit_factor == pytest.approx(steps[steps > 0].sum() / -steps[steps < 0].sum())
    assert side.max_drawdown == pytest.approx((np.array(wealth) / np.maximum.accumulate(wealth) - 1).min())
    assert side.return_percent is None
    assert side.initial_cash is None


def test_s1_tables_of_positions_pairs_and_fees(s1: BacktestResult) -> None:
    timeline = build_trade_analysis(s1.state.portfolio).create_timeline()
    assert timeline["position_id"].tolist() == list(range(1, 12))
    assert timeline["profit_usd"].sum() == near(-47.17044385644749)
    assert timeline["side"].unique().tolist() == ["long"]
    pairs = analyse_multipair(s1.state)
    assert pairs.loc[0, ["Trading pair", "Positions", "Trades", "Wins", "Losses"]].tolist() == [
        "WETH-USDC",
        11,
        22,
        4,
        7,
    ]
    assert pairs.loc[0, "Total PnL USD"] == near(-47.17044385644749)
    assert pairs.loc[0, "Volume"] == near(21900.29776619458)
    assert pairs.loc[0, "Volatility"] == pytest.approx(timeline["profit_pct"].std(ddof=1))
    fees = analyse_trading_fees(s1.state)
    assert len(fees) == 22
    assert fees["fees_paid_usd"].sum() == near(65.79952827646791)
    assert fees["fees_paid_usd"].tolist() == fees["fees_estimated_usd"].tolist()
    assert fees.loc[fees["trade_type"] == "buy", "fees_paid_pct"].tolist() == pytest.approx([0.003] * 11)
    assert fees.loc[fees["trade_type"] == "sell", "fees_paid_pct"].tolist() == pytest.approx([0.003 / 0.997] * 11)


def test_s2_open_position_is_undecided() -> None:
    result = run_s2()
    summary = summarise(result)
    assert (summary.total_positions, summary.undecided, summary.total_trades) == (0, 1, 1)
    assert summary.open_value == near(1054.2372274910792)
    assert summary.uninvested_cash == 9000
    assert summary.end_value == near(10054.23722749108)
    assert summary.unrealised_profit == near(54.2372274910792)
    assert summary.realised_profit == 0
    assert summary.trade_volume == 1000
    assert summary.time_in_market == 1
    assert summary.max_loss_risk == near(0.1)
    assert summary.average_position_frequency == pytest.approx(1 / 213)
    assert summary.win_percent is None
    assert summary.average_net_profit is None
    assert summary.average_trade is None
    assert summary.max_pullback is None
    assert summary.average_duration_between_position_openings is None
    assert summary.compounding_return == 0
    assert result.statistics.loc["Return %", "Long"] == near(0.005423722749108)


def test_s5b_stop_losses() -> None:
    result = run_s5(open_with_stop_loss)
    summary = summarise(result)
    stopped = [p for p in result.state.portfolio.closed_positions.values() if p.get_last_trade().is_stop_loss()]
    assert summary.total_trades == 62
    assert summary.total_positions == 31
    assert summary.stop_losses == len(stopped) == 25
    assert summary.take_profits == 0
    assert summary.losing_stop_losses == sum((p.get_realised_profit_usd() or 0) < 0 for p in stopped) == 25
    assert summary.winning_stop_losses == 0
    assert summary.all_stop_loss_percent == near(25 / 31)
    assert summary.lost_stop_loss_percent == near(25 / summary.lost)
    assert summary.losing_stop_losses_percent == 1
    assert summary.winning_take_profits_percent is None
    assert summary.end_value == near(9853.377768258064)
    assert summary.max_loss_risk == near(0.1 * 0.05)
    assert summary.trade_volume == near(sum(t.get_value() for t in result.state.portfolio.get_all_trades()))
    minutes = sum(((p.closed_at - p.opened_at) for p in result.state.portfolio.closed_positions.values()), timedelta(0))
    assert summary.time_in_market == pytest.approx(minutes / timedelta(days=213))

    changes = result.equity_curve.pct_change().to_numpy()[1:]
    assert len(changes) > 213  # stop losses made samples within the day
    assert summary.profit_factor == pytest.approx(changes[changes > 0].sum() / -changes[changes < 0].sum())

    table = analyse_stop_losses(result.state)
    assert table.index.tolist() == list(range(1, 32))
    assert table["triggered"].sum() == 25
    assert not table["trailing"].any()
    assert table["initial"].to_numpy() == pytest.approx(-0.05)
    assert table.loc[1, "closing_price"] == near(1824.7905570226733)
    assert table.loc[1, "opening_stop_loss"] == near(1929.726702165006 * 0.95)
    triggered = table[table["triggered"]]
    assert (triggered["closing_price"] <= triggered["opening_stop_loss"]).all()
    updates = analyse_trigger_updates(result.state)
    assert updates["position_id"].tolist() == list(range(1, 32))
    assert updates["stop_loss_before"].isna().all()
    assert updates["stop_loss_after"].tolist() == table["opening_stop_loss"].tolist()


def test_same_state_gives_the_same_table(s1: BacktestResult) -> None:
    pd.testing.assert_frame_equal(s1.statistics, run_s1().statistics)


def test_no_trades_at_all() -> None:
    result = run(lambda input: [], flat_universe())  # noqa: A006 - the vocabulary of strategies
    summary = summarise(result)
    assert (summary.total_positions, summary.undecided, summary.total_trades) == (0, 0, 0)
    assert summary.return_percent == summary.realised_profit == summary.time_in_market == 0
    assert summary.max_drawdown == 0
    assert summary.sharpe_ratio is summary.sortino_ratio is summary.profit_factor is None
    assert summary.max_loss_risk is summary.max_pullback is summary.average_interest_paid_usd is None
    assert summary.compounding_return == 0
    table = result.statistics
    assert not table.isna().any().any()
    assert table.loc["Return %"].tolist() == [0, "-", "-"]
    assert expand_timeline(build_trade_analysis(result.state.portfolio).create_timeline()).empty
    assert format_multipair_summary(analyse_multipair(result.state)).empty
    for frame in (analyse_stop_losses, analyse_trigger_updates, analyse_trading_fees):
        assert frame(result.state).empty
    assert calculate_realised_profitability(result.state).empty
