"""A live ledger beside the backtest: equal where nothing differs, and where something does the report says what."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

import trading_dagster as td
from tests.research.conftest import DELAY, FIRST
from tests.tape import WETH_USDC
from trading_dagster.charts.divergence import draw_divergence
from trading_dagster.domain.error import BadInput, LedgerError
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import run_cycle, skip_cycle
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.revaluation import revalue
from trading_dagster.live.step import open_step
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.universe import load_universe
from trading_dagster.research.divergence import LiveDecision, compare_with_backtest
from trading_dagster.research.divergence_table import (
    decision_table,
    describe_report,
    equity_curves,
    matched_table,
    unmatched_table,
)
from trading_dagster.research.trade_match import Cause, World
from trading_dagster.statistics.price_step import STEPS
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.strategy.module import load_strategy_file

STRATEGIES = Path(__file__).parents[2] / "strategies"


def causes(report):
    return [(each.world, (each.at - FIRST) // timedelta(hours=1), each.cause) for each in report.unmatched]


def test_paper_on_the_same_candles_does_not_differ_at_all():
    start, days = datetime(2018, 4, 10), 60
    module = load_strategy_file(STRATEGIES / "momentum_rotation.py").with_parameters(
        {"required_history_period": timedelta(days=90), "cycle_duration": td.CycleDuration.cycle_1d}
    )
    clock = ManualClock(start.replace(tzinfo=UTC))
    live = LiveStrategy("paper", module, None, PaperVenue(10_000), MemoryLedgerStore(), clock, wait_s=0.0)
    for day in range(days):
        clock.moment = (start + timedelta(days=day)).replace(tzinfo=UTC)
        run_cycle(live)

    report = compare_with_backtest(live)

    assert report.is_identical
    assert len(report.decisions) == days
    assert len(report.matched) > 10
    assert report.unmatched == ()
    table = matched_table(report)
    assert not table[["difference", *STEPS, "cost", "delay_s"]].to_numpy().any()
    live_equity, backtest_equity = equity_curves(report)
    assert live_equity.tolist() == backtest_equity.tolist()
    assert "paper: live and backtest are identical" in describe_report(report)


def test_swaps_on_a_pool_differ_by_what_the_pool_did(trader):
    trade = trader()
    trade.venue.dearer, trade.venue.slip = 0.01, 0.0005
    trade.run(0, 1)

    report = compare_with_backtest(trade.live, mid_at_fill=lambda each: each.planned_mid_price * 1.0002)

    assert [each.at for each in report.matched] == [FIRST, FIRST + timedelta(hours=1)]
    buy, sell = report.matched
    mid = 102 * 1.01
    assert {name: float(getattr(buy.difference, name)) for name in STEPS} == pytest.approx(
        {
            "data": 102 * 0.01,
            "fee": mid / 0.997 - mid,
            "impact": mid / 0.997 * 0.001,
            "tax": 0,
            "move": mid * 0.0002,
            "slippage": mid / 0.997 * 1.001 * 0.0005 - mid * 0.0002,
        },
        abs=1e-9,
    )
    for each in (buy, sell):
        assert each.difference.total == Fraction(each.live.executed_price) - Fraction(each.backtest.executed_price)
        assert each.cost.slippage > 0
        assert each.delay == DELAY
        assert each.knows_move
    assert buy.quantity_difference == buy.live.executed_quantity - buy.backtest.executed_quantity < 0
    row = matched_table(report).iloc[0]
    assert (row["tx_hash"], row["gas_cost"], row["quote_block"], row["fill_block"]) == ("0xabc", 0.0002, 100, 103)
    assert row["difference_bps"] == pytest.approx(sum(row[f"{name}_bps"] for name in STEPS))
    assert row["data_bps"] == pytest.approx(100)
    assert "Gas 0.0004 native tokens; delay 480.0 s on average" in describe_report(report)


def test_without_a_node_the_move_is_in_the_slippage_and_the_report_says_so(trader):
    trade = trader()
    trade.venue.dearer = 0.0
    trade.run(0, 1)
    report = compare_with_backtest(trade.live)
    assert not any(each.knows_move for each in report.matched)
    assert "the market's move since the quote is in their slippage" in describe_report(report)


def test_a_skipped_cycle_and_what_follows_from_it(trader):
    trade = trader()
    trade.run(0, 1)
    at = trade.at(2)
    skip_cycle(trade.live, load_universe(trade.live, at), at, "candles came too late")
    trade.run(3, 4)

    report = compare_with_backtest(trade.live)

    assert causes(report) == [(World.backtest, 2, Cause.skipped), (World.backtest, 3, Cause.earlier)]
    assert report.unmatched[0].explanation == "candles came too late"
    assert report.unmatched[1].explanation == "only backtest held WETH before"
    skipped = report.decisions[2]
    assert (skipped.live, skipped.reason, skipped.live_equity) == (LiveDecision.skipped, "candles came too late", None)
    assert [each.is_same for each in report.decisions] == [True, True, False, False, True]
    text = describe_report(report)
    assert "skipped 1" in text
    assert "(cycle skipped: candles came too late)" in text


def test_missed_decision_times_are_skipped_with_the_reason_recorded_for_the_last(trader):
    trade = trader()
    trade.run(0, 1)
    trade.at(5)
    last = FIRST + timedelta(hours=3)
    skip_cycle(trade.live, load_universe(trade.live, last), last, "2 decision times were missed: nothing ran")
    trade.run(4)
    report = compare_with_backtest(trade.live)
    assert causes(report) == [(World.backtest, 2, Cause.skipped), (World.backtest, 3, Cause.skipped)]
    assert {each.explanation for each in report.unmatched} == {"2 decision times were missed: nothing ran"}
    assert [each.live.value for each in report.decisions] == ["decided", "decided", "skipped", "skipped", "decided"]


def test_a_decision_time_that_nobody_recorded(trader):
    trade = trader()
    trade.run(0, 1, 4)
    report = compare_with_backtest(trade.live)
    assert causes(report) == [(World.backtest, 2, Cause.no_cycle), (World.backtest, 3, Cause.no_cycle)]
    assert [each.live for each in report.decisions[2:4]] == [LiveDecision.missing] * 2


def test_a_dropped_trade_is_told_with_the_reason_in_the_ledger(trader):
    trade = trader()
    trade.venue.refuse[FIRST] = "max_trade_usd is 500"
    trade.run(0, 1, 2)
    report = compare_with_backtest(trade.live)
    assert causes(report) == [(World.backtest, 0, Cause.dropped), (World.backtest, 1, Cause.earlier)]
    assert report.unmatched[0].explanation == "max_trade_usd is 500"
    assert len(report.matched) == 1


def test_a_failed_trade_and_the_time_its_position_is_frozen(trader):
    trade = trader()
    trade.venue.fail[FIRST] = "reverted: TRANSFER_FAILED"
    trade.run(0, 1)
    report = compare_with_backtest(trade.live)
    assert causes(report) == [(World.backtest, 0, Cause.failed), (World.backtest, 1, Cause.frozen)]
    assert report.unmatched[1].explanation == f"since {FIRST}: reverted: TRANSFER_FAILED"


def test_a_trade_of_an_operator_is_beside_the_cycle(trader):
    trade = trader()
    trade.run(0)
    at = trade.at(0.5)
    with open_step(trade.live, universe := load_universe(trade.live, at), at) as step:
        trades = step.make_position_manager(universe).close_all()
        step.desk.execution.execute_trades(at, step.state, trades)
        step.session.save()
    trade.run(1)
    report = compare_with_backtest(trade.live)
    assert [(each.world, each.cause) for each in report.unmatched] == [
        (World.live, Cause.beside),
        (World.backtest, Cause.earlier),
    ]


def test_a_stop_loss_seen_later_matches_with_its_delay(trader):
    quarters = [100.0 + place / 4 for place in range(160)]
    quarters[9:12] = [80.0, 79.0, 78.0]
    trade = trader({WETH_USDC: quarters}, stop_loss_pct=0.9)
    trade.run(0)
    trade.at(0.5)
    check_triggers(trade.live)
    trade.run(1)
    report = compare_with_backtest(trade.live)
    stop = report.matched[1]
    assert stop.live.is_stop_loss()
    assert (stop.delay, float(stop.difference.data)) == (timedelta(minutes=15), -1.0)
    assert report.unmatched == ()


def test_a_stop_loss_that_fired_in_one_world_only(trader):
    quarters = [100.0 + place / 4 for place in range(160)]
    quarters[9] = 80.0
    trade = trader({WETH_USDC: quarters}, stop_loss_pct=0.9)
    trade.run(0)
    trade.at(0.5)
    check_triggers(trade.live)
    trade.run(1)
    report = compare_with_backtest(trade.live)
    assert causes(report) == [(World.backtest, 0, Cause.trigger), (World.live, 1, Cause.earlier)]


def test_later_deposits_are_made_in_the_backtest_too(trader):
    trade = trader()
    trade.venue.deposits[FIRST + timedelta(hours=2)] = Decimal("2500.5")
    trade.run(0, 1, 2, 3)
    trade.at(3.5)
    revalue(trade.live)
    report = compare_with_backtest(trade.live)
    assert report.is_identical
    assert report.decisions[2].backtest_equity > 12_000


def test_decision_times_before_the_first_deposit_are_left_out(trader):
    trade = trader()
    at = trade.at(0)
    skip_cycle(trade.live, load_universe(trade.live, at), at, "late")
    with pytest.raises(BadInput, match="no money"):
        compare_with_backtest(trade.live)
    trade.run(1)
    report = compare_with_backtest(trade.live)
    assert [each.at for each in report.decisions] == [at + timedelta(hours=1)]


def test_tables_have_their_types_when_there_is_nothing_to_show(trader):
    trade = trader()
    trade.venue.refuse[FIRST] = "rejected"
    trade.run(0, 1)
    report = compare_with_backtest(trade.live, end=FIRST + timedelta(hours=1))
    assert matched_table(report).dtypes["decision_at"] == "datetime64[us]"
    assert unmatched_table(report)["cause"].tolist() == ["dropped"]
    assert decision_table(report)["live_equity"].tolist() == [10_000]
    assert "Trades that both executed: 0" in describe_report(report)


def test_figure_has_both_curves_and_their_difference(trader):
    trade = trader()
    trade.venue.dearer = 0.01
    trade.run(0, 1, 2)
    figure = draw_divergence(*equity_curves(compare_with_backtest(trade.live)))
    live, backtest, difference = figure.data
    assert [trace.name for trace in figure.data] == ["Live", "Backtest", "Difference"]
    assert list(difference.y) == pytest.approx([one - other for one, other in zip(live.y, backtest.y, strict=True)])
    assert difference.y[0] < 0


def test_a_strategy_without_a_ledger_or_decision_cannot_be_compared(trader):
    trade = trader()
    with pytest.raises(LedgerError, match="has no ledger"):
        compare_with_backtest(trade.live)
    revalue(trade.live)
    with pytest.raises(LedgerError, match="not decided anything"):
        compare_with_backtest(trade.live)


def test_an_end_before_the_first_decision_is_refused(trader):
    trade = trader()
    trade.run(0)
    with pytest.raises(BadInput, match="give a later end"):
        compare_with_backtest(trade.live, end=FIRST)
