"""An optimisation gives the same points however it is run, and goes on after it was interrupted."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

import trading_dagster as td
from trading_dagster.domain.error import BadInput, SearchPointTimedOut
from trading_dagster.research.indicator_folder import prune_indicators
from trading_dagster.research.optimiser import OptimiserOptions, optimise_strategy
from trading_dagster.research.time_limit import limit_time
from trading_dagster.strategy.module import load_strategy_file

ROOT = Path(__file__).parents[2]
END = datetime(2018, 3, 1)
SEARCHED = {
    "fast_bars": td.Integer(5, 50),
    "slow_bars": td.Integer(60, 200),
    "allocation": td.Real(0.5, 1.0),
    "stop_loss": td.Categorical([0.9, 0.95, None]),
}


QUICK = {**dict.fromkeys(SEARCHED, 1), "backtest_end": datetime(2018, 1, 2)}
"""Parameters of a backtest that is done long before a limit of time, however busy the machine is."""


@pytest.fixture(scope="module")
def strategy():
    return load_strategy_file(ROOT / "strategies" / "ema_cross.py").with_parameters({"backtest_end": END, **SEARCHED})


@pytest.fixture(scope="module")
def universe(strategy):
    return td.plan_backtest(strategy.with_parameters(dict.fromkeys(SEARCHED, 1))).universe


def options_of(**changes):
    given = {
        "iterations": 12,
        "search_func": td.optimise_sharpe,
        "result_filter": td.MinTradeCountFilter(2),
        "batch_size": 4,
        "max_workers": 1,
    }
    return OptimiserOptions(**{**given, **changes})


def points(found):
    return [(each.combination.get_label(), each.value, each.filtered) for each in found.tried]


def test_points_do_not_depend_on_the_number_of_workers_and_are_backtests(strategy, universe):
    one = optimise_strategy(strategy, universe, strategy.parameters, options_of())
    two = optimise_strategy(strategy, universe, strategy.parameters, options_of(max_workers=2))
    assert points(one) == points(two)
    assert len({each.combination.get_searched().values() for each in one.tried}) == 12
    best = one.best
    alone = td.run_backtest(strategy, parameters=best.combination.get_searched(), progress=False)
    assert best.get_original_value() == alone.metrics["Sharpe"]
    assert [each.value for each in one.results if each.is_valid()] == sorted(
        each.value for each in one.tried if each.is_valid()
    )


def test_an_interrupted_search_goes_on_and_a_longer_one_runs_what_is_new(strategy, universe, tmp_path):
    whole = optimise_strategy(strategy, universe, strategy.parameters, options_of(iterations=16))
    kept = options_of(iterations=8, result_path=tmp_path)
    assert optimise_strategy(strategy, universe, strategy.parameters, kept).get_cached_count() == 0
    longer = optimise_strategy(strategy, universe, strategy.parameters, options_of(iterations=16, result_path=tmp_path))
    assert longer.get_cached_count() == 8
    assert points(longer) == points(whole)


SCRIPT = """
import sys
from datetime import datetime
from pathlib import Path
import trading_dagster as td
from trading_dagster.research.optimiser import OptimiserOptions, optimise_strategy

strategy = td.load_strategy_file("strategies/ema_cross.py").with_parameters({"backtest_end": datetime(2018, 3, 1)})
if __name__ == "__main__":
    universe = td.plan_backtest(strategy).universe
    searched = strategy.parameters.replace(fast_bars=td.Integer(5, 50), slow_bars=td.Integer(60, 200))
    options = OptimiserOptions(
        10_000, td.optimise_sharpe, td.MinTradeCountFilter(2), 4, max_workers=2, result_path=Path(sys.argv[1])
    )
    optimise_strategy(strategy, universe, searched, options)
"""


def test_a_killed_search_goes_on_from_what_it_kept_and_leaves_nothing_behind(tmp_path, universe, monkeypatch):
    script, folder, temporary = tmp_path / "search.py", tmp_path / "kept", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    environment = {**os.environ, "TMPDIR": str(temporary)}
    script.write_text(SCRIPT)
    command = [sys.executable, script, folder]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as killed:
        while len(list(folder.glob("*.grid"))) < 9:
            assert killed.poll() is None
            time.sleep(0.01)
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()  # returns when no worker holds the other end of the pipe any more
    kept = len(list(folder.glob("*.grid")))
    assert len(list(temporary.glob("trading-dagster-search-optimiser-*"))) == 1
    plain = load_strategy_file(ROOT / "strategies" / "ema_cross.py").with_parameters({"backtest_end": END})
    searched = plain.parameters.replace(fast_bars=td.Integer(5, 50), slow_bars=td.Integer(60, 200))
    options = options_of(iterations=12, result_path=folder)
    again = optimise_strategy(plain, universe, searched, options)
    fresh = optimise_strategy(plain, universe, searched, options_of(iterations=12))
    assert again.get_cached_count() >= min(kept, 12) - 4
    assert points(again) == points(fresh)
    assert list(temporary.glob("trading-dagster-*")) == []


def test_a_point_that_takes_too_long_fails_and_is_not_tried_again(strategy, universe, tmp_path, caplog):
    calls = []

    def decide_trades(input):
        calls.append(input.cycle)
        while input.parameters.rule == "slow":
            with suppress(Exception):  # a strategy that swallows every error
                time.sleep(0.001)
        return []

    def search(timeout):
        return td.perform_optimisation(
            4, td.optimise_profit, decide_trades, universe,
            strategy.parameters.replace(**{**QUICK, "rule": td.Categorical(["slow", "fast"])}),
            max_workers=1, timeout=timeout, result_path=tmp_path, result_filter=lambda _: True, progress=False,
        )  # fmt: skip

    found = search(2)
    assert found.get_combination_count() == 2
    assert found.get_failed_count() == 1
    (slow,) = [each for each in found.tried if not each.result.has_result()]
    assert isinstance(slow.result.exception, SearchPointTimedOut)
    assert "longer than 2 s" in str(slow.result.exception)
    assert not slow.is_valid()
    calls.clear()
    assert search(1).get_failed_count() == 1
    assert calls == []
    assert search(3).get_failed_count() == 1  # with more time it is tried again
    assert len(calls) == 1


def test_a_worker_that_takes_too_long_is_stopped_and_goes_on_with_the_next(strategy, universe):
    def decide_trades(input):
        while input.parameters.rule == "slow":
            time.sleep(0.001)
        return []

    searched = {**QUICK, "rule": ["slow", "fast"], "x": td.Integer(1, 2)}
    found = td.perform_optimisation(
        4, td.optimise_profit, decide_trades, universe, strategy.parameters.replace(**searched), max_workers=2,
        timeout=3, result_filter=lambda _: True, progress=False,
    )  # fmt: skip
    failed = [each.combination.parameters.rule for each in found.tried if not each.result.has_result()]
    assert failed == ["slow", "slow"]


def test_a_limit_is_over_when_its_work_is_done():
    with limit_time(0.05):
        pass
    with pytest.raises(SearchPointTimedOut), limit_time(0.05):
        time.sleep(5)
    time.sleep(0.1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_outside_the_main_thread_there_is_no_limit():
    done = []

    def work():
        with limit_time(0.01):
            time.sleep(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def test_a_search_ends_when_every_point_was_tried(universe, strategy):
    found = td.perform_optimisation(
        50,
        td.optimise_profit,
        lambda _: [],
        universe,
        strategy.parameters.replace(**dict.fromkeys(SEARCHED, 1), x=td.Integer(1, 3), y=[4, 5]),
        max_workers=1,
        progress=False,
    )
    assert sorted(tuple(each.combination.get_searched().values()) for each in found.tried) == [
        (x, y) for x in (1, 2, 3) for y in (4, 5)
    ]
    assert found.best is None  # nobody traded


def test_indicators_come_from_a_registry_or_its_method(universe, strategy):
    indicators = td.IndicatorRegistry()

    @indicators.define()
    def ema(close, span):
        return close.ewm(span=span, adjust=False).mean()

    def decide_trades(input):
        manager, value = input.get_position_manager(), input.indicators.get_indicator_value("ema")
        is_above = value is not None and input.indicators.get_price() > value
        if is_above == manager.is_any_open():
            return []
        return manager.open_spot(input.get_default_pair(), value=1_000.0) if is_above else manager.close_all()

    def search(create_indicators):
        return td.perform_optimisation(
            4, td.optimise_profit, decide_trades, universe,
            strategy.parameters.replace(**dict.fromkeys(SEARCHED, 1), span=td.Integer(20, 60)), create_indicators, 2,
            progress=False,
        )  # fmt: skip

    one, other = search(indicators), search(indicators.create_indicators)
    assert one.get_failed_count() == 0
    assert len({each.value for each in one.tried}) == 4
    assert points(one) == points(other)


def test_real_numbers_are_rounded_before_they_are_used(universe, strategy):
    seen = set()

    def decide_trades(input):
        seen.add(input.parameters.x)
        return []

    found = td.perform_optimisation(
        6,
        td.optimise_profit,
        decide_trades,
        universe,
        strategy.parameters.replace(**dict.fromkeys(SEARCHED, 1), x=td.Real(0.0, 1.0)),
        max_workers=1,
        real_space_rounding="0.25",
        progress=False,
    )
    assert seen == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert found.get_combination_count() == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"timeout_s": 0}, "timeout is 0"),
        ({"seed": -1}, "random_state is -1"),
        ({"data_retention": "some"}, "data_retention is 'some'"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        options_of(**changes)


def test_indicators_that_were_not_used_for_longest_are_deleted(tmp_path):
    files = [tmp_path / f"{number}.npy" for number in range(4)]
    for number, file in enumerate(files):
        file.write_bytes(bytes(100))
        os.utime(file, (1000 + number, 1000 + number))
    os.utime(files[0], (2000, 2000))
    prune_indicators(tmp_path, limit=250)
    assert [file.exists() for file in files] == [True, False, False, True]
