"""What the UI shows of a live strategy's messages, plots and charts is bounded, and fails no run."""

from dataclasses import replace
from datetime import UTC
from typing import Any

import dagster as dg
import pandas as pd
import plotly.graph_objects as go
import pytest
from live.world import DAY, START, Steps, make_live, run_days
from orchestration import live_deployment
from orchestration.live_repository import make_definitions

import trading_dagster as td
from trading_dagster.charts import figure_picture
from trading_dagster.charts.standard_chart import equity_curve
from trading_dagster.live.chart_state import SHOWN_CYCLES, SHOWN_ROWS
from trading_dagster.orchestration import live_chart
from trading_dagster.orchestration.live_chart import MAX_CHARTS, MAX_PARTS, MAX_PICTURES, MAX_PLOTS, describe_shown
from trading_dagster.strategy.chart import ChartKind, ChartRegistry

pytestmark = pytest.mark.dagster
MAX_BYTES = 1_500_000


def plots(count: int, length: int = 10) -> Any:
    def decide(input):
        for number in range(count):
            input.state.visualisation.plot_indicator(
                input.timestamp, f"line {number}", td.PlotKind.technical_indicator_detached, input.cycle * number
            )
        input.state.visualisation.add_message(input.timestamp, f"cycle {input.cycle} <b>|</b> " + "x" * length)
        return []

    return decide


def describe(live: Any) -> dict[str, Any]:
    steps = Steps(live)
    return {
        name: getattr(each, "value", each)
        for name, each in describe_shown(live, steps.universe, steps.indicators).items()
    }


def charts_of(*functions: Any, kind: ChartKind = ChartKind.indicator_all_pairs) -> ChartRegistry:
    registry = ChartRegistry()
    for function in functions:
        registry.register(function, kind)
    return registry


def with_charts(live: Any, registry: Any) -> Any:
    return replace(live, strategy=replace(live.strategy, create_charts=registry))


def size_of(shown: dict[str, Any]) -> int:
    return sum(len(str(value)) for value in shown.values())


def test_messages_and_plots_of_the_newest_cycles_are_shown():
    live = make_live(plots(2))
    run_days(live, 25)
    shown = describe(live)
    assert set(shown) == {"messages", "plots"}
    assert shown["plots"].startswith("![What three_pairs plotted")
    lines = shown["messages"].splitlines()
    assert ("cycle 25 &lt;b>&#124;" in lines[2], len(lines)) == (True, 22)
    assert "cycle 5 " not in shown["messages"]


def test_strategy_that_shows_nothing_has_nothing_to_show():
    live = make_live()
    run_days(live, 2)
    assert describe(live) == {}


def test_registered_charts_are_drawn_from_the_ledger():
    def means(input):
        """Means of all pairs."""
        frame = pd.DataFrame(
            {
                pair.get_ticker(): input.strategy_input_indicators.get_indicator_series("mean", pair=pair)
                for pair in input.pairs
            }
        )
        return [go.Figure([go.Scatter(x=frame.index, y=frame[name], name=name) for name in frame]), frame]

    def said(input):
        """What the strategy said, as the state has it."""
        return pd.Series({at: texts[0] for at, texts in input.state.visualisation.messages.items()})

    registry = charts_of(means)
    registry.register(said, ChartKind.state_all_pairs)
    registry.register(equity_curve, ChartKind.state_all_pairs)
    live = with_charts(make_live(plots(1)), registry)
    run_days(live, 5)
    shown = describe(live)
    assert shown["chart_means"].startswith("![")
    assert "BTC-USD" in shown["chart_means_2"]
    assert "on the page" not in shown["chart_means_2"]
    assert "cycle 5" in shown["chart_said"]
    assert shown["chart_equity_curve"].startswith("![")
    assert shown["charts"].startswith("3 drawn")


def test_what_cannot_be_drawn_is_told_in_its_place(monkeypatch):
    def broken(input):
        """Raise."""
        raise ValueError("no such column")

    live = with_charts(make_live(plots(1)), charts_of(broken))
    run_days(live, 2)
    shown = describe(live)
    assert "no such column" in shown["chart_broken"]
    assert shown["plots"].startswith("![")

    def die(*_: Any, **__: Any) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr(figure_picture, "encode_png", die)
    assert describe(live)["plots"] == "could not be shown: RuntimeError: no fonts"
    monkeypatch.setattr(live.store, "read_shown", die)
    shown = describe(live)
    assert {shown[name].split(":")[1] for name in ("messages", "plots", "charts")} == {" RuntimeError"}


def test_create_charts_that_raises_is_told():
    def create_charts(*_: Any) -> None:
        raise KeyError("benchmark")

    live = with_charts(make_live(plots(1)), create_charts)
    run_days(live, 1)
    assert "KeyError: 'benchmark'" in describe(live)["charts"]


def test_what_is_shown_is_bounded(monkeypatch):
    """Many plots, long messages and many charts are cut, and no more rows are read than are drawn."""

    def make_chart(number: int) -> Any:
        def chart(input):
            """Lines."""
            if number == 0:
                raise ValueError("x" * 10**6)
            if number == 1:
                return pd.DataFrame({"text": ["y" * 10**6]})
            return [go.Figure([go.Scatter(x=[1, 2], y=[number, each])]) for each in range(20)]

        chart.__name__ = f"chart_{number}"
        return chart

    live = with_charts(make_live(plots(60, 5_000)), charts_of(*(make_chart(number) for number in range(12))))
    run_days(live, 12)
    read = []
    original = live.store.read_shown

    def count(*arguments: Any, **options: Any) -> Any:
        rows = original(*arguments, **options)
        read.append((options.get("newest"), options.get("from_us"), len(rows)))
        return rows

    monkeypatch.setattr(live.store, "read_shown", count)
    shown = describe(live)

    assert shown["plots_left_out"] == 60 - MAX_PLOTS
    assert sum(str(value).startswith("![") for value in shown.values()) <= 1 + MAX_PICTURES
    assert f"the first {MAX_CHARTS} of 12 charts" in shown["charts"]
    assert "too many to be shown" in shown["chart_chart_1"]
    assert f"chart_chart_2_{MAX_PARTS}" in shown
    assert f"chart_chart_2_{MAX_PARTS + 1}" not in shown
    assert size_of(shown) < MAX_BYTES
    assert all(newest is not None and newest <= SHOWN_ROWS for newest, _, _ in read)
    first = int((START.replace(tzinfo=UTC).timestamp() + (11 - SHOWN_CYCLES) * 86_400) * 10**6)
    assert {from_us for newest, from_us, _ in read if newest == SHOWN_ROWS} == {first}


def test_charts_of_a_state_with_a_long_history_are_left_out(monkeypatch):
    monkeypatch.setattr(live_chart, "MAX_ENDED_POSITIONS", 2)
    live = with_charts(make_live(), charts_of(equity_curve, kind=ChartKind.state_all_pairs))
    run_days(live, 1)
    assert "chart_equity_curve" in describe(live)
    run_days(live, 1, START + DAY)
    shown = describe(live)
    assert "chart_equity_curve" not in shown
    assert "up to 2 closed positions" in shown["charts"]


def test_statistics_asset_shows_messages_and_plots(tmp_path, monkeypatch):
    shows = """def decide_trades(input):
    shown = input.state.visualisation
    shown.add_message(input.timestamp, "one more turn")
    value = input.indicators.get_price()
    shown.plot_indicator(input.timestamp, "price", td.PlotKind.technical_indicator_on_price, value)
"""
    strategy = live_deployment.STRATEGY.replace("def decide_trades(input):\n", shows)
    monkeypatch.setattr(live_deployment, "STRATEGY", strategy)
    unit, clock = live_deployment.make_unit(tmp_path)
    job = make_definitions(unit).resolve_job_def(unit.group)
    with dg.DagsterInstance.ephemeral() as instance:
        for hour in range(2):
            clock.moment = live_deployment.aware(hour, 10)
            assert job.execute_in_process(instance=instance).success
        event = instance.get_latest_materialization_event(dg.AssetKey(["live", "flip", "statistics"]))
    unit.close()
    shown = event.asset_materialization.metadata
    assert shown["messages"].value.count("one more turn") == 2
    assert shown["plots"].value.startswith("![What flip plotted")
