"""A walk-forward chooses parameters on the past alone, and trades as one backtest whose parameters change."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trading_dagster as td
from trading_dagster.domain.error import BadInput, SearchFailed
from trading_dagster.domain.event import CycleCompleted
from trading_dagster.research.bump import OtherFuture, change_future
from trading_dagster.research.optimiser import OptimiserOptions
from trading_dagster.research.optimiser_result import OptimiserResult
from trading_dagster.research.walk_forward import WalkForwardOptions, trade_steps, walk_strategy_forward
from trading_dagster.research.walk_forward_result import WalkForwardStep
from trading_dagster.research.walk_forward_window import end_universe, plan_windows
from trading_dagster.strategy.module import load_strategy_file

EMA_CROSS = Path(__file__).parents[2] / "strategies" / "ema_cross.py"
START, END = datetime(2018, 1, 1), datetime(2018, 4, 1)
DAY = timedelta(days=1)
WALK = WalkForwardOptions(train=40 * DAY, test=20 * DAY)


@pytest.fixture(scope="module")
def strategy():
    return load_strategy_file(EMA_CROSS).with_parameters({"backtest_end": END})


@pytest.fixture(scope="module")
def universe(strategy):
    return td.plan_backtest(strategy).universe


def options_of(**changes):
    given = {
        "iterations": 4,
        "search_func": td.optimise_profit,
        "result_filter": lambda result: result.get_trade_count() > 1,
        "batch_size": 4,
        "max_workers": 1,
    }
    return OptimiserOptions(**{**given, **changes})


def searched(strategy, **changes):
    return strategy.parameters.replace(**{"fast_bars": td.Integer(5, 50), "slow_bars": td.Integer(60, 160), **changes})


@pytest.fixture(scope="module")
def walked(strategy, universe):
    return walk_strategy_forward(strategy, universe, searched(strategy), options_of(), WALK)


def tried(step):
    return [(each.combination.get_label(), each.value, each.result.metrics.to_csv()) for each in step.found.tried]


@pytest.mark.parametrize(("anchored", "starts"), [(False, [1, 5, 9]), (True, [1, 1, 1])])
def test_windows_roll_along_or_keep_their_start(anchored, starts):
    end = datetime(2024, 1, 31)
    windows = plan_windows(datetime(2024, 1, 1), end, td.CycleDuration.cycle_1d, 10 * DAY, 4 * DAY, anchored=anchored)
    assert [window.train_start.day for window in windows][:3] == starts
    assert [window.test_start.day for window in windows] == [11, 15, 19, 23, 27]
    assert windows[-1].label == "#5 2024-01-27 to 2024-01-31"


@given(st.integers(0, 30), st.integers(1, 400), st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_what_is_traded_has_no_gap_and_follows_what_was_chosen_on(offset, length, train, test, anchored):
    start, duration = datetime(2024, 1, 1) + offset * DAY, td.CycleDuration.cycle_7d
    end = start + length * DAY
    try:
        windows = plan_windows(start, end, duration, (train + 6) * DAY, (test + 6) * DAY, anchored=anchored)
    except BadInput:
        return
    assert all(window.train_start < window.test_start < window.test_end <= end for window in windows)
    assert all(a.test_end == b.test_start for a, b in zip(windows, windows[1:], strict=False))
    assert windows[-1].test_end == end
    for window in windows:
        assert duration.round_down(window.train_start) == window.train_start
        assert duration.round_down(window.test_start) == window.test_start


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (90 * DAY, DAY, "no room for 90 days"),
        (timedelta(0), DAY, "train is 0:00:00"),
        (DAY, timedelta(hours=1), "test is 1:00:00"),
    ],
)
def test_lengths_that_make_no_sense_are_refused(train, test, message):
    with pytest.raises(BadInput, match=message):
        plan_windows(datetime(2024, 1, 1), datetime(2024, 1, 31), td.CycleDuration.cycle_1d, train, test)


def test_what_is_traded_is_one_curve_without_a_seam(walked, universe):
    assert [step.window.index for step in walked.steps] == [1, 2, 3]
    curve = walked.equity_curve
    assert curve.index[0] == START + 40 * DAY
    assert curve.index.is_monotonic_increasing
    assert curve.index.is_unique
    assert walked.backtest.plan.end == END
    folded = td.State.replay(walked.backtest.events)
    assert folded.portfolio.get_cash() == walked.backtest.state.portfolio.get_cash()


def test_windows_with_the_same_parameters_are_one_backtest(strategy, universe, walked):
    fixed = strategy.parameters.replace(fast_bars=12, slow_bars=72)
    steps = [replace(step, parameters=fixed) for step in walked.steps]
    chained = trade_steps(strategy, universe, steps, options_of())
    whole = td.run_backtest(
        strategy, universe=universe, parameters=dict(fixed), start=START + 40 * DAY, end=END, progress=False
    )
    assert len(whole.trades) > 4
    pd.testing.assert_frame_equal(chained.trades, whole.trades)
    pd.testing.assert_series_equal(chained.equity_curve, whole.equity_curve)


def test_each_window_trades_with_its_own_parameters(strategy, universe, walked):
    """Up to the second window's begin, trading is a backtest with the first one's parameters; then it is not."""
    first = walked.steps[0]
    second = replace(walked.steps[1], parameters=first.parameters.replace(fast_bars=5, slow_bars=60))
    chained = trade_steps(strategy, universe, [first, second], options_of())
    alone = td.run_backtest(
        strategy,
        universe=universe,
        parameters=dict(first.parameters),
        start=START + 40 * DAY,
        end=second.window.test_end,
        progress=False,
    )
    until = pd.Timestamp(first.window.test_end) - pd.Timedelta("1h")
    pd.testing.assert_series_equal(chained.equity_curve.loc[:until], alone.equity_curve.loc[:until])
    assert chained.equity_curve.iloc[-1] != alone.equity_curve.iloc[-1]


@pytest.mark.parametrize("future", OtherFuture)
def test_no_window_knows_what_came_after_its_parameters_were_chosen(strategy, universe, walked, future):
    """The bump test: change everything after the second window's choice; what was chosen and traded before it stays."""
    cut = walked.steps[1].window.test_start
    other = walk_strategy_forward(
        strategy, change_future(universe, cut, future), searched(strategy), options_of(), WALK
    )
    for step, changed in zip(walked.steps[:2], other.steps[:2], strict=True):
        assert tried(step) == tried(changed)
        assert step.parameters == changed.parameters
    before = pd.Timestamp(cut) - pd.Timedelta("1h")
    pd.testing.assert_series_equal(walked.equity_curve.loc[:before], other.equity_curve.loc[:before])
    assert tried(walked.steps[2]) != tried(other.steps[2])


def test_even_an_indicator_that_looks_ahead_sees_no_candle_of_what_is_traded_later(strategy, universe):
    """The search is given candles that end where trading begins: a peek at the last one is a peek at the past."""
    indicators = td.IndicatorRegistry()

    @indicators.define()
    def oracle(close, power):
        return pd.Series(np.sign(close.iloc[-1] / close - power), index=close.index)

    def decide_trades(input):
        manager, sign = input.get_position_manager(), input.indicators.get_indicator_value("oracle")
        if sign is None or (sign > 0) == manager.is_any_open():
            return []
        return manager.open_spot(input.get_default_pair(), value=1_000.0) if sign > 0 else manager.close_all()

    def choose(market):
        parameters = strategy.parameters.replace(power=td.Real(0.8, 1.2))
        result = td.perform_walk_forward(
            4, td.optimise_profit, decide_trades, market, parameters, indicators, train=60 * DAY, test=30 * DAY,
            max_workers=1, result_filter=lambda _: True, progress=False,
        )  # fmt: skip
        return [tried(step) for step in result.steps]

    assert choose(universe) == choose(change_future(universe, START + 60 * DAY, OtherFuture.rise))


def test_the_first_decision_has_its_history_from_before(strategy, universe, walked):
    indicators = td.IndicatorRegistry()

    @indicators.define()
    def age(close, unit):
        return pd.Series(np.arange(len(close), dtype=float) * unit, index=close.index)

    seen = {}

    def decide_trades(input):
        seen.setdefault(input.timestamp, input.indicators.get_indicator_value("age"))
        return []

    steps = [replace(step, parameters=step.parameters.replace(unit=1)) for step in walked.steps]
    module = td.StrategyModule(
        name="age", parameters=strategy.parameters, decide_trades=decide_trades, create_indicators=indicators
    )
    trade_steps(module, universe, steps, options_of())
    for step in steps:
        assert seen[step.window.test_start] == (step.window.test_start - START) / timedelta(hours=1) - 1


def test_the_table_has_both_sides_of_each_window(walked):
    table = walked.table
    assert list(table.index) == [1, 2, 3]
    for row, step in zip(table.to_dict("records"), walked.steps, strict=True):
        best = step.found.best
        assert (row["fast_bars"], row["slow_bars"]) == (step.parameters.fast_bars, step.parameters.slow_bars)
        assert row["IS CAGR"] == row["Optim"] == best.get_original_value()
        assert row["IS Sharpe"] == best.result.get_sharpe()
        assert row["Efficiency"] == pytest.approx(row["OOS CAGR"] / row["IS CAGR"], nan_ok=True) or row["IS CAGR"] <= 0
        assert 0 <= row["Deflated Sharpe"] <= best.result.get_metric("PSR")
    assert table["OOS Trades"].sum() == len(walked.backtest.trades)
    first, last = walked.equity_curve.iloc[0], walked.equity_curve.iloc[-1]
    assert (1 + table["OOS Return"]).prod() == pytest.approx(last / first)
    inside = table["IS CAGR"].mean()
    assert np.isnan(walked.efficiency) if inside <= 0 else walked.efficiency == walked.metrics["CAGR"] / inside


def test_fees_are_those_asked_for(strategy, universe):
    def walk(options):
        return td.perform_walk_forward(
            2, td.optimise_profit, strategy.decide_trades, universe, searched(strategy), strategy.create_indicators,
            train=40 * DAY, test=50 * DAY, max_workers=1, result_filter=lambda _: True, options=options, progress=False,
        )  # fmt: skip

    free, dear = walk(td.BacktestOptions(trading_fee_override=0.0)), walk(td.BacktestOptions(trading_fee_override=0.02))
    assert free.backtest.trades["fee"].sum() == 0 < dear.backtest.trades["fee"].sum()
    assert [each.value for each in free.steps[0].found.tried] < [each.value for each in dear.steps[0].found.tried]


def test_a_window_where_nothing_can_be_chosen_keeps_the_parameters_before(strategy, universe):
    refused = datetime(2018, 1, 21)

    def result_filter(result):
        return result.get_trade_count() > 1 and result.get_parameter("backtest_start") < refused

    result = walk_strategy_forward(
        strategy, universe, searched(strategy), options_of(result_filter=result_filter), WALK
    )
    assert [step.is_kept for step in result.steps] == [False, True, True]
    assert all(step.parameters == result.steps[0].parameters for step in result.steps)
    assert list(result.table["Kept"]) == [False, True, True]
    assert result.table["IS CAGR"].iloc[1:].isna().all()


def test_nothing_to_begin_with_is_an_error_that_says_why(strategy, universe):
    with pytest.raises(SearchFailed, match=r"Window 2018-01-01.*None of 4.* 0 failed; 4 have no value.*lower"):
        walk_strategy_forward(strategy, universe, searched(strategy), options_of(result_filter=lambda _: False), WALK)


def test_what_is_the_same_in_all_windows_cannot_be_searched(strategy, universe):
    parameters = searched(strategy, initial_cash=td.Integer(100, 200))
    with pytest.raises(BadInput, match=r"Parameters\.initial_cash is Integer.*one value for all windows"):
        walk_strategy_forward(strategy, universe, parameters, options_of(), WALK)


def test_a_universe_ends_with_what_was_known(universe):
    cut = datetime(2018, 2, 1)
    known = end_universe(universe, cut)
    assert known.candles.end_at == cut
    assert known.stop_loss_candles is known.candles or known.stop_loss_candles.end_at == cut
    assert np.shares_memory(known.candles.columns["close"], universe.candles.columns["close"])
    with pytest.raises(BadInput, match="within a candle of 1h"):
        end_universe(universe, cut + timedelta(minutes=30))


@pytest.mark.parametrize("name", ["credit_parking", "long_short_momentum", "take_profit_grid", "yield_rotation"])
def test_loans_orders_and_vaults_are_carried_over_the_seams(name):
    """Windows that keep the parameters give the ledger of one backtest, event for event."""
    strategy = load_strategy_file(EMA_CROSS.with_name(f"{name}.py"))
    parameters = strategy.parameters
    start, length = parameters.backtest_start, (parameters.backtest_end - parameters.backtest_start) / 16
    windows = plan_windows(start, start + 8 * length, parameters.cycle_duration, length, length)
    universe = td.plan_backtest(strategy, end=windows[-1].test_end).universe
    steps = [WalkForwardStep(window, OptimiserResult(parameters, []), (), parameters) for window in windows]
    chained = trade_steps(strategy, universe, steps, options_of())
    whole = td.run_backtest(
        strategy, universe=universe, start=windows[0].test_start, end=windows[-1].test_end, name=chained.plan.name,
        progress=False,
    )  # fmt: skip

    def happened(result):
        return [repr(event) for event in result.events if not isinstance(event, CycleCompleted)]

    assert len(whole.trades) > 10
    assert happened(chained) == happened(whole)
    pd.testing.assert_series_equal(chained.equity_curve, whole.equity_curve)
    assert chained.state.visualisation.messages == whole.state.visualisation.messages
