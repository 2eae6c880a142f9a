"""A strategy that shows everything that can be shown in live cycles, and what is kept of it."""

from dataclasses import replace
from datetime import timedelta

from live.world import STRATEGY, make_live

import trading_dagster as td
from trading_dagster.strategy.module import load_strategy_file

THREE_PAIRS = load_strategy_file(STRATEGY)


def show(input, prefix=""):
    """Show what hooks and decisions can, some of it in some cycles only."""
    shown, number = input.state.visualisation, input.timestamp.day
    shown.plot_indicator(
        input.timestamp - timedelta(hours=4), f"{prefix}day", td.PlotKind.technical_indicator_detached,
        None if number % 5 == 0 else number, plot_shape=td.PlotShape.horizontal_vertical, height=150,
        recording_time=td.RecordingTime.market_time,
    )  # fmt: skip
    if number % 3 == 0:
        shown.add_calculations(input.timestamp + timedelta(hours=len(prefix)), {"day": number, "list": [1, None, "x"]})
    shown.add_message(input.timestamp, f"{prefix}day {number}, cycle {input.cycle}")


def show_before(input):
    show(input, "before ")


def show_after(input):
    show(input, "after ")


def decide(input):
    shown, number = input.state.visualisation, input.timestamp.day
    for pair in input.strategy_universe.pairs:
        shown.plot_indicator(
            input.timestamp, f"price of {pair.get_ticker()}", td.PlotKind.technical_indicator_on_price,
            input.indicators.get_price(pair), colour="red", pair=pair, indicator_size=2,
        )  # fmt: skip
    show(input)
    if number % 3 == 0:
        shown.set_visualised_pairs(list(input.strategy_universe.pairs)[: 1 + number % 2])
    if number % 4 == 0:
        input.get_position_manager().log("a quarter")
    return THREE_PAIRS.decide_trades(input)


def with_hooks(module, decide_trades=decide):
    """A strategy that shows as much as it can, before, in and after its decisions."""
    return replace(
        module, decide_trades=decide_trades, before_strategy_tick=show_before, after_strategy_tick=show_after
    )


def make_showing(**options):
    live = make_live(**options)
    return replace(live, strategy=with_hooks(live.strategy))


def rows_of(store, name="three_pairs"):
    return [row for kind in ("message", "calculation", "plot", "pairs") for row in store.read_shown(name, kind)]
