"""Ranges and choices in the place of a parameter's value."""

import math

import pytest

import trading_dagster as td
from trading_dagster.domain.error import ParameterTypeInvalid
from trading_dagster.strategy.parameters import require_for_backtest


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: td.Integer(5, 5), r"Integer\(low=5, high=5.*5 is not below 5"),
        (lambda: td.Integer(5, 7.5), "give whole numbers"),
        (lambda: td.Integer(True, 7), "give whole numbers"),
        (lambda: td.Real(0, math.inf), "give numbers"),
        (lambda: td.Real(2, 1), "2 is not below 1"),
        (lambda: td.Real(0, 1, "log-uniform"), "begins above 0"),
        (lambda: td.Real(0, 1, "normal"), "use 'uniform' or 'log-uniform'"),
        (lambda: td.Categorical([]), "give a list of values"),
        (lambda: td.Categorical("abc"), "give a list of values"),
        (lambda: td.Categorical([1, 2, 1]), "1 is there twice"),
    ],
)
def test_what_is_no_range_or_choice_is_refused(make, message):
    with pytest.raises(ParameterTypeInvalid, match=message):
        make()


def test_a_range_may_stand_for_a_value_that_the_engine_reads():
    assert td.StrategyParameters({"initial_cash": td.Integer(100, 200)}).initial_cash == td.Integer(100, 200)


def test_a_backtest_refuses_a_range_and_says_where_it_is():
    with pytest.raises(ParameterTypeInvalid, match=r"Parameters\.fast is Integer\(low=5.*needs one value"):
        require_for_backtest(td.StrategyParameters({"fast": td.Integer(5, 9)}))
