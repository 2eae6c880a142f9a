"""Strategy parameters: what is taken from a class, how it is read, and what is refused."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta
from enum import Enum

import pandas as pd
import pytest
from tape import START, WETH_USDC, run_on, universe_of

from trading_dagster.backtest import plan_backtest
from trading_dagster.domain.error import ParameterError, ParameterMissing, ParameterTypeInvalid
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.strategy.parameters import StrategyParameters, require_for_backtest
from trading_dagster.strategy.routing import TradeRouting

GOOD = {
    "cycle_duration": CycleDuration.cycle_1h,
    "routing": TradeRouting.default,
    "initial_cash": 100,
    "backtest_start": START,
    "backtest_end": START + timedelta(hours=2),
}


class Base:
    allocation = 0.5
    fast = 5


class Own(Base):
    fast = 10
    slow: int = 40
    hint: int
    _private = 1
    names = ("a", "b")

    def method(self):
        return 1

    @staticmethod
    def static():
        return 2

    @classmethod
    def of_class(cls):
        return 3

    @property
    def computed(self):
        return 4


def test_class_gives_its_values_and_inherited_ones_but_nothing_to_call():
    parameters = StrategyParameters.from_class(Own)
    assert dict(parameters) == {"allocation": 0.5, "fast": 10, "slow": 40, "_private": 1, "names": ("a", "b")}


def test_overrides_win_over_the_class():
    assert StrategyParameters.from_class(Own, fast=3, extra=1).fast == 3


def test_values_are_read_by_attribute_and_by_item():
    parameters = StrategyParameters({"fast": 10})
    assert (parameters.fast, parameters["fast"], parameters.get("slow", 7)) == (10, 10, 7)
    assert "fast" in parameters
    assert "slow" not in parameters
    assert hasattr(parameters, "fast")
    assert not hasattr(parameters, "slow")
    assert len(parameters) == 1
    assert "fast" in repr(parameters)


@pytest.mark.parametrize("read", [lambda p: p.fats, lambda p: p["fats"]], ids=["attribute", "item"])
def test_unknown_name_says_what_there_is_and_what_was_meant(read):
    parameters = StrategyParameters({"fast": 10, "slow": 40, "allocation": 0.5})
    with pytest.raises(ParameterMissing) as error:
        read(parameters)
    message = str(error.value)
    for part in ("'fats'", "Did you mean 'fast'?", "allocation, fast, slow"):
        assert part in message
    assert not message.startswith(("'", '"'))


def test_unknown_name_is_an_attribute_error_or_a_key_error():
    parameters = StrategyParameters({"fast": 10})
    with pytest.raises(AttributeError):
        parameters.nope  # noqa: B018
    with pytest.raises(KeyError):
        parameters["nope"]


def test_parameters_do_not_change_during_a_run():
    parameters = StrategyParameters({"fast": 10})
    with pytest.raises(ParameterTypeInvalid, match=r"read-only: use parameters\.replace"):
        parameters.fast = 11
    with pytest.raises(TypeError):
        parameters["fast"] = 11
    changed = parameters.replace(fast=11, more=1)
    assert (parameters.fast, changed.fast, changed.more) == (10, 11, 1)


def test_parameters_go_to_other_processes():
    parameters = StrategyParameters(GOOD)
    again = pickle.loads(pickle.dumps(parameters))
    assert dict(again) == dict(parameters)
    assert again.initial_cash == 100


def test_parameter_named_like_a_method_is_read_by_item():
    parameters = StrategyParameters({"items": 5, "keys": 6})
    assert (parameters["items"], parameters["keys"]) == (5, 6)
    assert dict(parameters) == {"items": 5, "keys": 6}


# -- types ------------------------------------------------------------------------------------------------------------


class Colour(Enum):
    red = 1


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("cycle_duration", "1h", "CycleDuration.cycle_1h"),
        ("cycle_duration", timedelta(hours=1), "CycleDuration.cycle_1h"),
        ("cycle_duration", Colour.red, "CycleDuration.cycle_1h"),
        ("candle_time_bucket", "1h", "TimeBucket.h1"),
        ("candle_time_bucket", CycleDuration.cycle_1h, "TimeBucket.h1"),
        ("stop_loss_time_bucket", 15, "TimeBucket.m15"),
        ("initial_cash", "10000", "10_000"),
        ("initial_cash", True, "10_000"),
        ("backtest_start", "2021-01-01", "naive datetime"),
        ("backtest_start", date(2021, 1, 1), "naive datetime"),
        ("backtest_end", 5, "naive datetime"),
        ("required_history_period", 30, "timedelta(days=30)"),
        ("slippage_tolerance", "2 %", "0.02"),
        ("max_price_impact", "5", "0.05"),
    ],
)
def test_wrong_type_is_refused_with_the_value_and_a_remedy(name, value, remedy):
    with pytest.raises(ParameterTypeInvalid) as error:
        StrategyParameters({name: value})
    for part in (f"Parameters.{name} is {value!r}", type(value).__name__, remedy):
        assert part in str(error.value)
    assert isinstance(error.value, TypeError)


@pytest.mark.parametrize("name", ["backtest_start", "backtest_end"])
def test_zone_aware_date_is_refused_by_its_name(name):
    with pytest.raises(AssertionError, match="naive") as error:
        StrategyParameters({name: datetime(2021, 1, 1, tzinfo=UTC)})
    assert name in str(error.value)


@pytest.mark.parametrize("cash", [0, -5, float("nan"), float("inf")])
def test_impossible_cash_is_refused(cash):
    with pytest.raises(ParameterTypeInvalid, match=f"initial_cash is {cash}"):
        StrategyParameters({"initial_cash": cash})


def test_own_parameters_may_be_anything():
    values = {"fast": "x", "model": object(), "grid": [1, 2], "since": datetime(2021, 1, 1, tzinfo=UTC)}
    assert dict(StrategyParameters(values)) == values


def test_list_is_a_dimension_of_a_grid_and_passes():
    assert StrategyParameters({"cycle_duration": [CycleDuration.cycle_1h, CycleDuration.cycle_4h]})["cycle_duration"]


@pytest.mark.parametrize(
    ("bucket", "cycle"), [(TimeBucket.h1, CycleDuration.cycle_1h), (TimeBucket.d7, CycleDuration.d7)]
)
def test_cycle_may_be_named_as_a_time_bucket(bucket, cycle):
    assert StrategyParameters({"cycle_duration": bucket}).cycle_duration is cycle


def test_time_bucket_without_a_cycle_of_its_length_is_refused():
    with pytest.raises(Exception, match="No cycle duration equals"):
        StrategyParameters({"cycle_duration": TimeBucket.d360})


def test_backtest_runs_on_a_cycle_named_as_a_time_bucket():
    cycles = []

    def decide(input):
        cycles.append(input.timestamp)
        return []

    run_on(universe_of({WETH_USDC: [100.0] * 4}), decide, cycle=TimeBucket.h1, cycles=3)
    assert cycles == [START + timedelta(hours=n) for n in range(3)]


def test_backtest_takes_pandas_timestamps():
    values = {**GOOD, "backtest_start": pd.Timestamp(START), "backtest_end": pd.Timestamp(START) + pd.Timedelta("2h")}
    plan = plan_backtest(decide_trades=lambda _: [], universe=universe_of({WETH_USDC: [100.0] * 4}), parameters=values)
    assert plan.cycle_count == 2


# -- what a backtest needs --------------------------------------------------------------------------------------------


def test_all_missing_parameters_are_named_at_once():
    with pytest.raises(ParameterMissing) as error:
        require_for_backtest(StrategyParameters({"routing": TradeRouting.default}))
    for name in ("cycle_duration", "initial_cash", "backtest_start", "backtest_end"):
        assert name in str(error.value).split(":")[0]
    assert "routing" not in str(error.value).split(":")[0]


@pytest.mark.parametrize("name", GOOD)
def test_parameter_set_to_none_is_missing(name):
    values = StrategyParameters({**GOOD, name: None})
    with pytest.raises(ParameterMissing, match=f"lacks {name}:"):
        require_for_backtest(values)


def test_complete_parameters_pass():
    require_for_backtest(StrategyParameters(GOOD))


@pytest.mark.parametrize("name", ["backtest_start", "backtest_end", "initial_cash"])
def test_arguments_of_a_run_fill_what_parameters_lack(name):
    values = {key: value for key, value in GOOD.items() if key != name}
    argument = {"backtest_start": "start", "backtest_end": "end"}.get(name, name)
    universe = universe_of({WETH_USDC: [100.0] * 4})
    with pytest.raises(ParameterError, match=name):
        plan_backtest(decide_trades=lambda _: [], universe=universe, parameters=values)
    plan = plan_backtest(decide_trades=lambda _: [], universe=universe, parameters=values, **{argument: GOOD[name]})
    assert plan.parameters[name] == GOOD[name]


def test_arguments_of_a_run_win_over_parameters():
    plan = plan_backtest(
        decide_trades=lambda _: [],
        universe=universe_of({WETH_USDC: [100.0] * 4}),
        parameters=GOOD,
        start=START + timedelta(hours=1),
        initial_cash=55,
    )
    assert (plan.start, plan.initial_cash, plan.cycle_count) == (START + timedelta(hours=1), 55, 1)


def test_decision_reads_the_values_of_the_run():
    seen = []

    def decide(input):
        seen.append((input.parameters.initial_cash, input.parameters["initial_cash"]))
        return []

    run_on(universe_of({WETH_USDC: [100.0] * 2}), decide, cycles=1, cash=77)
    assert seen == [(77, 77)]
