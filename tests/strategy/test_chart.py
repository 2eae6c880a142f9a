"""What can be registered as a chart, and what its function is given."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from random_strategy import PAIRS

from trading_dagster.domain.error import BadInput, ChartNotValid, NaiveDatetimeRequired, UnknownChart
from trading_dagster.strategy.chart import ChartInput, ChartKind, ChartRegistry
from trading_dagster.strategy.execution_context import ExecutionContext, ExecutionMode


def made_chart(input):
    """Draw something.

    It has more to say.
    """


def test_chart_is_named_and_described_by_its_function():
    charts = ChartRegistry()
    charts.register(made_chart, ChartKind.state_all_pairs)
    chart = charts.get_chart_function("made_chart")
    assert (chart.id, chart.name, chart.description) == ("made_chart", "Made chart", "Draw something.")
    assert chart.export() == {
        "id": "made_chart", "name": "Made chart", "kind": "state_all_pairs", "description": "Draw something.",
    }  # fmt: skip
    assert charts.by_function[made_chart] is chart
    assert charts.find(made_chart) is charts.find("made_chart")


def test_registering_twice_replaces():
    charts = ChartRegistry()
    charts.register(made_chart, ChartKind.state_all_pairs)
    charts.register(made_chart, ChartKind.indicator_all_pairs, name="Other")
    assert charts.get_chart_count() == 1
    assert charts.get_chart_function("made_chart").name == "Other"


def test_decorated_function_stays_what_it_is():
    charts = ChartRegistry()

    @charts.define(ChartKind.indicator_single_pair, name="Named")
    def drawn(input):
        """Draw."""
        return input

    assert drawn("x") == "x"
    assert charts.find(drawn).name == "Named"


def test_what_is_no_chart_is_refused():
    def silent(input):
        pass

    charts = ChartRegistry()
    with pytest.raises(ChartNotValid, match="'silent' needs a docstring"):
        charts.register(silent, ChartKind.state_all_pairs)
    with pytest.raises(AssertionError, match="register a function made with def"):
        charts.register(lambda _: None, ChartKind.state_all_pairs)
    with pytest.raises(ChartNotValid, match="kind 'state': give a ChartKind"):
        charts.register(made_chart, "state")
    assert charts.get_chart_function("nothing") is None
    with pytest.raises(UnknownChart, match="No chart 'made_chart' is registered"):
        charts.find(made_chart)


def test_cache_belongs_to_one_input():
    first, second = ChartInput(ExecutionContext()), ChartInput(ExecutionContext())
    first.cache["x"] = 1
    assert second.cache == {}
    assert first.with_pairs(PAIRS[:1]).cache is first.cache


def test_input_refuses_what_functions_would_stumble_over():
    with pytest.raises(BadInput, match="state is a str, give a State"):
        ChartInput(ExecutionContext(), state="x")
    with pytest.raises(BadInput, match="pairs holds 'WETH'"):
        ChartInput(ExecutionContext(), pairs=["WETH"])
    with pytest.raises(NaiveDatetimeRequired):
        ChartInput(ExecutionContext(), backtest_start_at=datetime(2022, 1, 1, tzinfo=UTC))


def test_absent_parts_are_asked_for_by_name():
    given = ChartInput(ExecutionContext(), backtest_start_at=datetime(2022, 1, 1))
    assert given.start_at == datetime(2022, 1, 1)
    assert given.end_at is None
    assert given.backtest
    assert ChartInput(ExecutionContext(ExecutionMode.real_trading)).live
    for ask, word in (
        (given.require_state, "needs a state"),
        (given.require_indicators, "needs indicators"),
        (given.require_pairs, "needs pairs"),
        (lambda: given.strategy_universe, "needs the universe"),
    ):
        with pytest.raises(BadInput, match=word):
            ask()


@pytest.mark.parametrize(
    ("kind", "needs_state", "is_single", "is_all"),
    [
        (ChartKind.indicator_single_pair, False, True, False),
        (ChartKind.indicator_multi_pair, False, False, False),
        (ChartKind.indicator_all_pairs, False, False, True),
        (ChartKind.state_single_pair, True, True, False),
        (ChartKind.state_single_vault_pair, True, True, False),
        (ChartKind.state_all_pairs, True, False, True),
    ],
)
def test_kind_says_what_is_needed(kind, needs_state, is_single, is_all):
    assert (kind.needs_state(), kind.is_single_pair(), kind.is_all_pairs()) == (needs_state, is_single, is_all)
