"""What a strategy shows is the same however its backtest is cut, and whichever process ran which piece."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from random_strategy import PAIRS, START, Parameters, decide_by_seed, make_universe

from trading_dagster.backtest.inline import run_plan
from trading_dagster.backtest.partition import PartitionedBacktest, PartitionWindow
from trading_dagster.backtest.plan import BacktestPlan, plan_backtest
from trading_dagster.domain.visualisation import PlotKind, PlotShape, RecordingTime

DAYS = 20


def decide_and_show(input):
    """Trade at random and show everything that can be shown, in changing order."""
    shown, cycle = input.state.visualisation, input.cycle
    for number, pair in enumerate(input.strategy_universe.iterate_pairs()):
        if cycle % (number + 2):
            continue
        shown.plot_indicator(
            input.timestamp,
            f"price of {pair.get_ticker()}",
            PlotKind.technical_indicator_on_price,
            input.indicators.get_price(pair) if cycle % 5 else None,
            colour="red" if cycle < 40 else "blue",
            pair=pair,
            indicator_size=1.5,
        )
    shown.plot_indicator(
        input.timestamp - timedelta(hours=4),
        "cycle",
        PlotKind.technical_indicator_detached,
        cycle,
        label="hidden",
        plot_shape=PlotShape.horizontal_vertical,
        recording_time=RecordingTime.market_time,
        height=150,
    )
    if cycle % 3 == 0:
        shown.plot_indicator(
            input.timestamp,
            "third",
            PlotKind.technical_indicator_overlay_on_detached,
            float("nan") if cycle % 2 else cycle / 2,
            detached_overlay_name="cycle",
            plot_shape=PlotShape.markers,
        )
        shown.add_calculations(input.timestamp, {"cycle": cycle, "cash": input.state.portfolio.reserve.quantity})
    if cycle in (1, 50):
        shown.set_visualised_pairs(PAIRS[: 1 + cycle // 50])
    return decide_by_seed(3)(input)


@pytest.fixture(scope="module")
def plan() -> BacktestPlan:
    return plan_backtest(universe=make_universe(3), parameters=Parameters, decide_trades=decide_and_show)


def windows_of(days: int) -> list[PartitionWindow]:
    starts = [START + timedelta(days=n) for n in range(0, DAYS, days)]
    return [PartitionWindow(f"{start:%Y-%m-%d}", start, start + timedelta(days=days)) for start in starts]


def test_one_piece_shows_what_the_strategy_showed(plan):
    shown = run_plan(plan).state.visualisation
    plot = shown.plots["price of WETH-USDC"]
    assert (plot.colour, plot.pair, plot.indicator_size) == ("red", PAIRS[0], 1.5)
    assert len(shown.plots["cycle"].points) == DAYS * 6
    assert shown.plots["third"].points[:2] == [(START + timedelta(hours=8), None), (START + timedelta(hours=20), 3.0)]
    assert shown.visualised_pairs == list(PAIRS[:2])
    assert shown.calculations[START + timedelta(hours=8)]["cycle"] == 3


@pytest.mark.parametrize("days", [1, 4, 20])
@pytest.mark.parametrize("has_fresh_process", [True, False])
def test_pieces_show_the_same(plan, tmp_path, days, has_fresh_process):
    whole = run_plan(plan).state.visualisation
    windows = windows_of(days)
    partitions = PartitionedBacktest(plan, tmp_path / "cut", windows)
    for window in windows:
        if has_fresh_process:
            partitions = PartitionedBacktest(plan, tmp_path / "cut", windows)
        list(partitions.run([window.key]))

    shown = PartitionedBacktest(plan, tmp_path / "cut", windows).load_result().state.visualisation

    assert shown.plots == whole.plots
    assert list(shown.plots) == list(whole.plots)
    assert shown.calculations == whole.calculations
    assert shown.messages == whole.messages
    assert shown.visualised_pairs == whole.visualised_pairs


def test_a_piece_has_the_same_bytes_whatever_ran_before_it_in_the_process(plan, tmp_path):
    windows = windows_of(4)
    keys = [window.key for window in windows]
    list(PartitionedBacktest(plan, tmp_path / "together", windows).run(keys))
    for key in keys:
        list(PartitionedBacktest(plan, tmp_path / "apart", windows).run([key]))

    assert files_of(tmp_path / "together") == files_of(tmp_path / "apart")
    assert any(name.endswith("plot_styles.parquet") for name in files_of(tmp_path / "apart"))


def test_a_piece_in_which_nothing_is_shown_has_no_tables_of_it(tmp_path):
    quiet = plan_backtest(universe=make_universe(3), parameters=Parameters, decide_trades=lambda _: [])
    list(PartitionedBacktest(quiet, tmp_path, windows_of(20)).run([f"{datetime(2022, 1, 1):%Y-%m-%d}"]))

    assert {Path(name).name for name in files_of(tmp_path)} == {
        "ledger.jsonl", "decisions.parquet", "equity.parquet", "trades.parquet",
    }  # fmt: skip


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
