"""The space that an optimiser searches, and what it proposes there."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trading_dagster as td
from trading_dagster.domain.error import BadInput
from trading_dagster.research.proposer import Proposer
from trading_dagster.research.search_space import SearchSpace


class Parameters:
    fast = td.Integer(5, 8)
    allocation = td.Real(0.5, 0.995)
    rule = td.Categorical([("a", "b"), None])
    listed = [1, 2, 3]  # noqa: RUF012
    single = [7]  # noqa: RUF012
    plain = "x"


def space_of(**dimensions):
    return SearchSpace(td.prepare_optimiser_parameters(td.StrategyParameters(dimensions)))


def test_dimensions_are_named_and_lists_are_choices():
    prepared = td.prepare_optimiser_parameters(Parameters)
    assert [prepared[name].name for name in ("fast", "allocation", "rule", "listed")] == [
        "fast", "allocation", "rule", "listed",
    ]  # fmt: skip
    assert prepared.listed == td.Categorical((1, 2, 3), name="listed")
    assert (prepared.single, prepared.plain) == (7, "x")


def test_parameters_without_a_dimension_are_refused():
    with pytest.raises(BadInput, match="nothing to optimise: write a range or choice"):
        td.prepare_optimiser_parameters(td.StrategyParameters({"a": 1, "b": [2]}))


def test_real_numbers_are_multiples_of_the_rounding_inside_the_range():
    space = SearchSpace(td.prepare_optimiser_parameters(Parameters))
    assert space.size == 4 * 50 * 2 * 3
    low = space.locate({"fast": 5, "allocation": 0.5, "rule": 0, "listed": 0})
    high = space.locate({"fast": 8, "allocation": 0.995, "rule": 1, "listed": 2})
    first, last = space.parameters_at(low), space.parameters_at(high)
    assert (first.fast, first.allocation, first.rule, first.listed) == (5, 0.5, ("a", "b"), 1)
    assert (last.fast, last.allocation, last.rule, last.listed) == (8, 0.99, None, 3)  # not 1.0, which is outside


@given(st.floats(0.013, 0.987), st.sampled_from(["0.01", "0.005", "0.03"]))
def test_rounding_stays_close_and_inside(value, step):
    parameters = td.prepare_optimiser_parameters(td.StrategyParameters({"x": td.Real(0.013, 0.987)}))
    space = SearchSpace(parameters, Decimal(step))
    rounded = space.parameters_at(space.locate({"x": value})).x
    assert 0.013 <= rounded <= 0.987
    assert (Decimal(str(rounded)) / Decimal(step)) % 1 == 0
    assert abs(rounded - value) <= float(step)


def test_rounding_that_leaves_nothing_to_search_is_refused():
    with pytest.raises(BadInput, match=r"Parameters\.x is Real.*rounded to 0\.01.*smaller real_space_rounding"):
        space_of(x=td.Real(0.001, 0.009))


def test_a_rounding_of_nothing_is_refused():
    with pytest.raises(BadInput, match="real_space_rounding is 0"):
        SearchSpace(td.prepare_optimiser_parameters(Parameters), 0)


@pytest.mark.parametrize(
    "dimension", [td.Real(-5.0, 100.0), td.Categorical([100, "much"]), td.Integer(0, 10)], ids=repr
)
def test_values_that_the_engine_refuses_are_refused_before_the_search(dimension):
    with pytest.raises(td.ParameterTypeInvalid, match="initial_cash"):
        space_of(initial_cash=dimension)


def test_several_costs_are_one_value_and_a_grid_of_costs_is_a_choice():
    fees, slippage = (td.PairFee(0.001),), (td.Slippage(bps=5),)
    space = space_of(a=td.Integer(1, 2), costs=[list(fees), list(slippage)])
    assert space.axes["costs"].dimension.categories == (fees, slippage)
    assert "costs" not in space_of(a=td.Integer(1, 2), costs=[*fees, *slippage]).axes


def run(proposer, batches, size, value_of):
    tried = []
    for _ in range(batches):
        places = proposer.ask(size)
        for place in places:
            proposer.tell(place, value_of(place))
        tried += places
    return tried


def test_the_same_seed_proposes_the_same_points_and_another_one_others():
    space = space_of(a=td.Integer(0, 99), b=td.Real(0.0, 1.0), c=td.Categorical(["x", "y"]))
    one, two, other = (run(Proposer(space, seed), 8, 4, sum) for seed in (1, 1, 2))
    assert one == two
    assert one != other


def test_every_point_of_a_small_space_is_proposed_once_and_then_no_more():
    space = space_of(a=td.Integer(0, 4), b=td.Real(0.0, 0.04), c=td.Categorical(["x", "y"]))
    tried = run(Proposer(space, 3), 20, 4, sum)
    assert sorted(tried) == sorted(space.iterate())
    assert len(tried) == 50


def test_it_comes_closer_to_the_best_than_chance_does():
    space = space_of(a=td.Integer(0, 1000), b=td.Integer(0, 1000), c=td.Categorical(list("abcdefgh")))

    def distance(place):
        return (place[0] - 700) ** 2 + (place[1] - 200) ** 2 + 50_000 * (place[2] != 3)

    def by_chance(seed):
        random = np.random.default_rng(seed)
        return min(distance((random.integers(1001), random.integers(1001), random.integers(8))) for _ in range(80))

    found = [min(map(distance, run(Proposer(space, seed), 20, 4, distance))) for seed in range(5)]
    assert np.median(found) < np.median([by_chance(seed) for seed in range(5)]) / 3


def test_points_that_may_not_be_chosen_are_avoided():
    space = space_of(a=td.Integer(0, 999))
    tried = run(Proposer(space, 1), 25, 4, lambda place: None if place[0] > 400 else 1000.0 + place[0])
    assert sum(place[0] > 400 for place in tried[50:]) < 15  # by chance 30


def test_the_dimension_that_matters_is_told_from_the_one_that_does_not():
    space = space_of(a=td.Integer(0, 99), b=td.Integer(0, 99))
    proposer = Proposer(space, 1)
    run(proposer, 15, 4, lambda place: abs(place[0] - 50))
    importances = proposer.get_importances()
    assert list(importances) == ["a", "b"]
    assert importances["a"] > 0.8
    assert sum(importances.values()) == pytest.approx(1.0)


def test_importance_needs_values_that_differ():
    proposer = Proposer(space_of(a=td.Integer(0, 99)), 1)
    run(proposer, 3, 4, lambda place: 1.0)
    assert proposer.get_importances() == {}
