"""A grid search gives, for every combination, what a backtest of it gives, however it is run."""

import logging
import multiprocessing
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import trading_dagster as td
from trading_dagster.domain.error import BadInput, GridRunFailed, WorkerDied
from trading_dagster.research import grid_search
from trading_dagster.research.grid_outcome import make_portable
from trading_dagster.research.grid_pool import can_be_sent, choose_method, count_workers
from trading_dagster.research.grid_run import GridRunner, RemoteRunner, is_wallet_error
from trading_dagster.research.grid_search import search_grid
from trading_dagster.strategy import indicator_calculation
from trading_dagster.strategy.module import load_strategy_file

EMA_CROSS = Path(__file__).parents[2] / "strategies" / "ema_cross.py"
END = datetime(2018, 3, 1)


@pytest.fixture(scope="module")
def strategy():
    return load_strategy_file(EMA_CROSS).with_parameters({"backtest_end": END})


@pytest.fixture(scope="module")
def universe(strategy):
    return td.plan_backtest(strategy).universe


def decide_nothing(input):
    return []


def decide_nothing_otherwise(input):
    return [*()]


def combine(strategy, result_path=None, **choices):
    return td.prepare_grid_combinations(strategy.parameters.replace(**choices), result_path)


def numbers(results):
    return [(r.metrics.to_csv(), r.equity_curve.to_csv(), r.summary, r.cash_use) for r in results]


def test_every_combination_is_the_backtest_of_its_parameters(strategy, universe):
    combinations = combine(strategy, fast_bars=[8, 24], slow_bars=[48, 96])
    results = search_grid(strategy, universe, combinations, max_workers=1)
    assert [r.get_label() for r in results] == [c.label for c in combinations]
    for result in results:
        alone = td.run_backtest(strategy, parameters=result.combination.get_searched(), progress=False)
        assert result.get_metric("Sharpe") == alone.metrics["Sharpe"]
        assert result.equity_curve.iloc[-1] == alone.equity_curve.iloc[-1]
        assert result.get_trade_count() == len(alone.trades)
        pd.testing.assert_series_equal(result.returns, alone.daily_returns)


def test_results_do_not_depend_on_the_number_of_workers(strategy, universe):
    combinations = combine(strategy, fast_bars=[8, 24], slow_bars=[48, 96])
    one, two = (search_grid(strategy, universe, combinations, max_workers=n) for n in (1, 2))
    assert numbers(one) == numbers(two)


def test_functions_local_to_a_test_are_run_in_other_processes(universe, strategy):
    bought = 100.0

    def decide_trades(input):
        if input.cycle != input.parameters.buy_at:
            return []
        return input.get_position_manager().open_spot(input.get_default_pair(), value=bought)

    combinations = combine(strategy, buy_at=[1, 24, 48])
    results = td.perform_grid_search(decide_trades, universe, combinations, max_workers=2, progress=False)
    assert [r.exception for r in results] == [None] * 3
    assert [r.get_trade_count() for r in results] == [1, 1, 1]
    assert len({r.equity_curve.iloc[-1] for r in results}) == 3


def test_an_indicator_that_combinations_share_is_calculated_once(strategy, universe, monkeypatch):
    calculated = []
    calculate = indicator_calculation.calculate_task
    monkeypatch.setattr(
        indicator_calculation,
        "calculate_task",
        lambda task: (calculated.append(repr(task.definition)), calculate(task))[1],
    )
    search_grid(strategy, universe, combine(strategy, fast_bars=[8, 24], slow_bars=[48, 96]), max_workers=1)
    assert len(calculated) == len(set(calculated)) == 4


def test_a_combination_that_fails_is_a_result_and_stops_no_other(universe, strategy):
    def decide_trades(input):
        if input.parameters.buy_at == 2:
            raise RuntimeError("no")
        return []

    results = td.perform_grid_search(decide_trades, universe, combine(strategy, buy_at=[1, 2, 3]), 1, progress=False)
    assert [r.has_result() for r in results] == [True, False, True]
    assert isinstance(results[1].exception, td.StrategyFailed)
    assert "RuntimeError: no" in str(results[1].exception)
    assert results[1].metrics is None
    assert np.isnan(results[1].get_cagr())
    with pytest.raises(BadInput, match=r"#2, buy_at=2 has no metrics, it failed"):
        results[1].get_metric("Sharpe")


def test_indicators_that_cannot_be_made_fail_their_combination_only(universe, strategy):
    def create_indicators(timestamp, parameters, strategy_universe, execution_context):
        if parameters.fast_bars == 24:
            raise ZeroDivisionError("period")
        return td.IndicatorSet()

    results = td.perform_grid_search(
        lambda _: [],
        universe,
        combine(strategy, fast_bars=[8, 24]),
        1,
        create_indicators=create_indicators,
        progress=False,
    )
    assert [type(r.exception) for r in results] == [type(None), ZeroDivisionError]


@pytest.mark.parametrize("ignored", [True, False])
def test_running_out_of_money_fails_quietly_when_asked(universe, strategy, caplog, ignored):
    def decide_trades(input):
        return input.get_position_manager().open_spot(input.get_default_pair(), value=input.parameters.value)

    with caplog.at_level(logging.WARNING):
        results = td.perform_grid_search(
            decide_trades, universe, combine(strategy, value=[1e9]), 1, ignore_wallet_errors=ignored, progress=False
        )
    assert is_wallet_error(results[0].exception)
    assert "cash is 10000" in str(results[0].exception)
    assert bool(caplog.records) is not ignored


def test_a_search_goes_on_from_what_an_interrupted_one_kept(strategy, universe, tmp_path):
    combinations = combine(strategy, tmp_path, fast_bars=[8, 24], slow_bars=[48, 96])
    search_grid(strategy, universe, combinations[:2], max_workers=1)
    results = search_grid(strategy, universe, combinations, max_workers=1)
    assert [r.cached for r in results] == [True, True, False, False]
    again = search_grid(strategy, universe, combinations, max_workers=2)
    assert all(r.cached for r in again)
    plain = combine(strategy, fast_bars=[8, 24], slow_bars=[48, 96])
    assert numbers(again) == numbers(search_grid(strategy, universe, plain, max_workers=1))


def test_a_full_disk_takes_what_is_kept_and_not_the_search(strategy, universe, tmp_path, monkeypatch, caplog):
    def fail(path, outcome):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trading_dagster.research.grid_run.keep_outcome", fail)
    (result,) = search_grid(strategy, universe, combine(strategy, tmp_path), max_workers=1)
    assert result.has_result()
    assert f"cannot be kept in {tmp_path}: [Errno 28] No space left on device" in caplog.text


def test_kept_results_of_something_else_are_not_taken(strategy, universe, tmp_path):
    combinations = combine(strategy, tmp_path, fast_bars=[8, 24])
    search_grid(strategy, universe, combinations, max_workers=1)
    for other, options, retention in (
        (combine(strategy, tmp_path, fast_bars=[8, 24], allocation=0.5), None, "metrics_only"),
        (combinations, td.BacktestOptions(trading_fee_override=0.01), "metrics_only"),
        (combinations, None, "all"),
    ):
        results = search_grid(strategy, universe, other, max_workers=1, options=options, data_retention=retention)
        assert not any(r.cached for r in results)


def test_other_code_is_another_search(universe, strategy, tmp_path):
    combinations = combine(strategy, tmp_path, fast_bars=[8, 24])
    for decide_trades in (decide_nothing, decide_nothing_otherwise):
        results = td.perform_grid_search(decide_trades, universe, combinations, 1, progress=False)
        assert not any(r.cached for r in results)


def test_a_damaged_file_is_run_again_and_clearing_forgets_all(strategy, universe, tmp_path, caplog):
    combinations = combine(strategy, tmp_path, fast_bars=[8, 24])
    search_grid(strategy, universe, combinations, max_workers=1)
    files = sorted(tmp_path.glob("*.grid"))
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"x")
    results = search_grid(strategy, universe, combinations, max_workers=1)
    assert sorted(r.cached for r in results) == [False, True]
    assert "cannot be read: running its combination again" in caplog.text
    td.prepare_grid_combinations(strategy.parameters, tmp_path, clear_cached_results=True)
    assert not list(tmp_path.glob("*.grid"))


def test_state_is_there_where_everything_is_retained(strategy, universe):
    combinations = combine(strategy, fast_bars=[8])
    lean = search_grid(strategy, universe, combinations, max_workers=1)[0]
    full = search_grid(strategy, universe, combinations, max_workers=1, data_retention="all")[0]
    alone = td.run_backtest(strategy, parameters={"fast_bars": 8}, progress=False)
    assert lean.state is None
    with pytest.raises(BadInput, match="has no state: search with data_retention='all'"):
        lean.hydrate_state()
    assert full.hydrate_state().portfolio.get_cash() == full.state.portfolio.get_cash()
    assert len(list(full.state.portfolio.get_all_trades())) == len(alone.trades)
    assert full.state.portfolio.get_cash() == alone.state.portfolio.get_cash()


def test_a_worker_that_dies_is_told(universe, strategy):
    parent = os.getpid()

    def decide_trades(input):
        if os.getpid() != parent:
            os._exit(1)
        return []

    with pytest.raises(WorkerDied, match="use fewer max_workers"):
        td.perform_grid_search(decide_trades, universe, combine(strategy, buy_at=[1, 2]), 2, progress=False)


@pytest.mark.parametrize("wanted", [0, -1])
def test_impossible_numbers_of_workers_are_refused(wanted):
    with pytest.raises(BadInput, match="max_workers is"):
        count_workers(wanted, 5)


def test_no_more_workers_than_tasks():
    assert count_workers(8, 3) == 3
    assert count_workers(None, 0) == 1


def test_a_strategy_file_is_sent_and_local_functions_are_not(strategy, universe, tmp_path):
    def remote(which):
        runner = GridRunner(which, universe, tmp_path, td.BacktestOptions(), "metrics_only", True)
        return RemoteRunner.of(runner, tmp_path)

    local = td.StrategyModule(name="x", decide_trades=lambda _: [], parameters=strategy.parameters)
    assert can_be_sent(remote(strategy), [])
    assert not can_be_sent(remote(local), [])
    assert choose_method(remote(local), []) == "fork"


def test_parameters_that_cannot_be_sent_are_named(strategy, universe):
    combinations = combine(strategy, rule=[lambda value: value, lambda value: -value])
    with pytest.raises(BadInput, match=r"Parameters\.rule is <function .* cannot be sent to another process"):
        search_grid(strategy, universe, combinations, max_workers=2)
    assert all(result.has_result() for result in search_grid(strategy, universe, combinations, max_workers=1))


def test_without_fork_local_functions_are_refused(strategy, universe, tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    local = td.StrategyModule(name="x", decide_trades=lambda _: [], parameters=strategy.parameters)
    runner = GridRunner(local, universe, tmp_path, td.BacktestOptions(), "metrics_only", True)
    with pytest.raises(BadInput, match="put them into a file, or use multiprocess=False"):
        choose_method(RemoteRunner.of(runner, tmp_path), [])


def test_errors_that_cannot_be_sent_become_text():
    class Local(Exception):
        pass

    assert type(make_portable(ValueError("a"))) is ValueError
    assert isinstance(make_portable(Local("b")), GridRunFailed)
    assert str(make_portable(Local("b"))) == "Local: b"


def test_bad_arguments_are_refused(strategy, universe):
    with pytest.raises(BadInput, match="needs combinations"):
        search_grid(strategy, universe, [])
    with pytest.raises(BadInput, match="data_retention is 'some'"):
        search_grid(strategy, universe, combine(strategy), data_retention="some")
    assert grid_search.FORMAT == 1
