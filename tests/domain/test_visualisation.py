"""Messages, calculations and plots of a run."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from random_strategy import PAIRS

from trading_dagster.domain.error import BadInput, NaiveDatetimeRequired
from trading_dagster.domain.visualisation import PlotKind, PlotShape, RecordingTime, Visualisation

DAY = datetime(2022, 1, 1)
ON_PRICE = PlotKind.technical_indicator_on_price


def test_messages_are_kept_by_time_in_order_of_arrival():
    shown = Visualisation()
    shown.add_message(DAY, "first")
    shown.add_message(DAY, "second")
    assert shown.messages == {DAY: ["first", "second"]}


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_tail_holds_the_newest_times(count):
    shown = Visualisation()
    days = [DAY + timedelta(days=n) for n in range(3)]
    for time in reversed(days):
        shown.add_message(time, str(time.day))
    assert list(shown.get_messages_tail(count)) == days[max(0, 3 - count) :]


def test_message_that_is_no_text_is_refused():
    with pytest.raises(BadInput, match="message is a str, got int: 5"):
        Visualisation().add_message(DAY, 5)


def test_zone_aware_times_are_refused():
    shown, aware = Visualisation(), DAY.replace(tzinfo=UTC)
    with pytest.raises(NaiveDatetimeRequired, match="naive"):
        shown.add_message(aware, "x")
    with pytest.raises(NaiveDatetimeRequired, match="naive"):
        shown.add_calculations(aware, {})
    with pytest.raises(NaiveDatetimeRequired, match="naive"):
        shown.plot_indicator(aware, "ema", ON_PRICE, 1.0)


def test_calculations_of_a_time_are_replaced():
    shown = Visualisation()
    shown.add_calculations(DAY, {"a": 1})
    shown.add_calculations(DAY, {"b": 2})
    assert shown.calculations == {DAY: {"b": 2}}


def test_discardable_data_belongs_to_the_process():
    shown = Visualisation()
    shown.set_discardable_data("alpha_model", object)
    assert shown.discardable_data == {"alpha_model": object}


def test_first_point_fixes_how_a_plot_looks():
    shown = Visualisation()
    shown.plot_indicator(DAY, "ema", ON_PRICE, 1.5, colour="red", plot_shape=PlotShape.markers)
    shown.plot_indicator(DAY + timedelta(1), "ema", ON_PRICE, 2.5, colour="blue", plot_shape=PlotShape.linear)
    plot = shown.plots["ema"]
    assert (plot.colour, plot.plot_shape) == ("red", PlotShape.markers)
    assert plot.recording_time is RecordingTime.decision_making_time
    assert plot.points == [(DAY, 1.5), (DAY + timedelta(1), 2.5)]


def test_none_and_nan_points_are_allowed():
    shown = Visualisation()
    shown.plot_indicator(DAY, "ema", ON_PRICE, None)
    shown.plot_indicator(DAY, "ema", ON_PRICE, math.nan)
    assert shown.plots["ema"].points == [(DAY, None), (DAY, None)]


def test_overlay_needs_the_name_of_what_it_lies_on():
    overlay = PlotKind.technical_indicator_overlay_on_detached
    shown = Visualisation()
    with pytest.raises(BadInput, match="'signal' overlays a detached plot: give detached_overlay_name"):
        shown.plot_indicator(DAY, "signal", overlay, 1.0)
    shown.plot_indicator(DAY, "signal", overlay, 1.0, detached_overlay_name="rsi")
    assert shown.plots["signal"].detached_overlay_name == "rsi"


def test_what_is_no_kind_of_plot_is_refused():
    for given in ({"plot_shape": "markers"}, {"recording_time": None}, {"pair": "BTC-USD"}):
        with pytest.raises(BadInput, match=r"'ema' has the (shape|pair) "):
            Visualisation().plot_indicator(DAY, "ema", ON_PRICE, 1.0, **given)
    with pytest.raises(BadInput, match="'ema' has the kind 'on_price': give a PlotKind"):
        Visualisation().plot_indicator(DAY, "ema", "on_price", 1.0)


def test_calculations_become_plain_data():
    shown = Visualisation()
    values = {"a": Decimal("1.5"), "b": np.float64(2), "c": {1: np.array([1, 2])}, "d": DAY, "e": ON_PRICE, "f": {2, 1}}
    shown.add_calculations(DAY, values)
    assert shown.calculations[DAY] == {
        "a": 1.5,
        "b": 2.0,
        "c": {"1": [1, 2]},
        "d": "2022-01-01T00:00:00",
        "e": "technical_indicator_on_price",
        "f": [1, 2],
    }
    with pytest.raises(BadInput, match="Calculations are a dict by name, got int"):
        shown.add_calculations(DAY, 3)


def test_visualised_pairs_are_pairs():
    shown = Visualisation()
    shown.set_visualised_pairs(PAIRS[:2])
    assert shown.visualised_pairs == list(PAIRS[:2])
    with pytest.raises(BadInput, match="Visualised pairs are trading pairs, got 'WETH-USDC'"):
        shown.set_visualised_pairs(["WETH-USDC"])


def test_what_is_shown_is_handed_out_once_in_order_of_time():
    shown = Visualisation()
    shown.add_message(DAY + timedelta(1), "b")
    shown.add_message(DAY, "a")
    shown.add_calculations(DAY + timedelta(1), {"n": 2})
    shown.add_calculations(DAY, {"n": 1})
    shown.plot_indicator(DAY, "ema", ON_PRICE, 1.0)
    assert shown.take_messages() == [(DAY, "a"), (DAY + timedelta(1), "b")]
    assert list(shown.take_calculations()) == [DAY, DAY + timedelta(1)]
    assert [(plot.name, plot.points) for plot in shown.take_plots()] == [("ema", [(DAY, 1.0)])]
    assert (shown.take_messages(), shown.take_calculations(), shown.take_plots()) == ([], {}, [])
