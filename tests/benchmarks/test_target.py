"""Verdicts follow from ratios of runs made in the same turn."""

import pytest

from benchmarks.race import Measurement, compare_seconds
from benchmarks.report import format_workload
from benchmarks.target import judge


def measure(engine: str, workload: str, *seconds: float, peak_mib: float = 100.0) -> Measurement:
    return Measurement(engine, workload, "1.0", seconds, equity=1_000.0, fills=2, peak_mib=peak_mib)


def test_ratio_is_taken_within_turns() -> None:
    slow, fast = measure("bt", "w3", 10.0, 40.0, 12.0), measure("trading-dagster", "w3", 1.0, 4.0, 2.0)
    assert compare_seconds(slow, fast) == pytest.approx(10.0)


def test_speed_targets_are_met_or_not() -> None:
    verdicts = judge([measure("trading-dagster", "w1", 1.0), measure("backtesting.py", "w1", 2.5)])
    assert [(v.measured, v.is_met) for v in verdicts] == [("2.50 x", True)]
    verdicts = judge([measure("trading-dagster", "w1", 1.0), measure("backtesting.py", "w1", 1.5)])
    assert [v.is_met for v in verdicts] == [False]


def test_target_without_peer_is_not_measured() -> None:
    verdicts = judge([measure("trading-dagster", "w1", 1.0)])
    assert [(v.measured, v.is_met) for v in verdicts] == [("backtesting.py was not run", None)]


def test_growth_and_memory_have_limits() -> None:
    growth = [measure("trading-dagster", "growth-20k", 1.0), measure("trading-dagster", "growth-320k", 18.0)]
    memory = measure("trading-dagster", "memory", 9.0, peak_mib=4_000.0)
    assert [v.is_met for v in judge([*growth, memory])] == [False, True]


def test_alpha_is_judged_by_its_cycles_a_second_and_against_bt() -> None:
    ours, measured = measure("trading-dagster", "alpha", 7.0), measure("trading-dagster-measured", "alpha", 1.0)
    verdicts = judge([ours, measured, measure("bt", "alpha", 5.5)])
    assert [(v.measured, v.is_met) for v in verdicts] == [
        ("5.50 x", True),
        ("backtrader was not run", None),
        ("857", False),
    ]


def test_table_tells_who_is_off() -> None:
    floor, ours = measure("python-floor", "w1", 0.5), measure("trading-dagster", "w1", 1.0)
    off = Measurement("bt", "w1", "1.4", (2.0,), equity=1_001.0, fills=2)
    table = format_workload([ours, off, floor, Measurement("vectorbt", "w1", problem="not installed")])
    rows = {line.split()[0]: line for line in table.splitlines()[2:]}
    assert "reference" in rows["python-floor"]
    assert "same" in rows["trading-dagster"]
    assert "off 1.0e-03" in rows["bt"]
    assert rows["vectorbt:"].endswith("not installed")
