"""Sketches are well-formed, small, keep extremes and stay inside their frame, whatever the curve."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.charts.axis import money_ticks, time_ticks
from trading_dagster.charts.palette import LOSS, STRATEGY
from trading_dagster.charts.sketch import sketch_equity

SVG = "{http://www.w3.org/2000/svg}"
NUMBERS = st.floats(-1e9, 1e12)


def parse(svg: bytes) -> ElementTree.Element:
    assert len(svg) < 60_000
    return ElementTree.fromstring(svg)


def texts(svg: bytes) -> list[str]:
    return ["".join(node.itertext()) for node in parse(svg).iter(f"{SVG}text")]


def line(svg: bytes, colour: str) -> list[tuple[float, float]]:
    (found,) = [node for node in parse(svg).iter(f"{SVG}polyline") if node.get("stroke") == colour]
    return [tuple(map(float, pair.split(","))) for pair in found.get("points").split()]


def test_sketch_shows_equity_drawdown_and_benchmarks(equity):
    svg = sketch_equity(equity, {"BTC <$> & co": equity * 1.1}, title="Mine & yours")
    assert len(line(svg, STRATEGY)) > 500
    assert len(line(svg, LOSS)) > 500
    assert texts(svg)[0].startswith("Mine & yours")
    assert texts(svg)[1] == "StrategyBTC <$> & co"


def test_heading_has_total_return_and_deepest_drawdown():
    equity = pd.Series([100.0, 200.0, 150.0], index=pd.date_range("2024", periods=3))
    assert texts(sketch_equity(equity))[0] == "Equity+50.00 %, max drawdown \u221225.00 %"


def test_extremes_of_half_a_million_samples_are_kept(make_candles):
    equity = make_candles(500_000, "min")["close"].rename("equity")
    equity.iloc[123_456] = equity.max() * 2
    points = line(sketch_equity(equity), STRATEGY)
    assert len(points) <= 800
    place = 84 + 123_456 / 499_999 * 800
    assert min(points, key=lambda point: point[1])[0] == pytest.approx(place, abs=0.1)


def test_points_stay_inside_the_frame(equity):
    for width, height in ((900, 360), (600, 240)):
        svg = sketch_equity(equity, width=width, height=height)
        assert (parse(svg).get("width"), parse(svg).get("height")) == (str(width), str(height))
        for x, y in line(svg, STRATEGY) + line(svg, LOSS):
            assert 84 <= x <= width - 16
            assert 34 <= y <= height - 24


def test_empty_and_undefined_curves_say_so(equity):
    for nothing in (equity.iloc[:0], equity * np.nan):
        assert "No equity was recorded" in texts(sketch_equity(nothing))


def test_one_sample_is_a_dot(equity):
    assert len(list(parse(sketch_equity(equity.iloc[:1])).iter(f"{SVG}circle"))) >= 1


def test_curve_that_never_moves_and_one_below_zero_are_drawn(equity):
    assert len(line(sketch_equity(equity * 0 + 5), STRATEGY)) > 1
    assert len(line(sketch_equity(equity - 2 * equity.max()), STRATEGY)) > 1


@pytest.mark.parametrize("name", ["<b>&\"'", "\u4e2d\u6587\U0001f680", "a\nb\x00c", "x" * 500])
def test_any_title_is_well_formed(equity, name):
    assert not re.search(r"[\x00-\x08]", "".join(texts(sketch_equity(equity, {name: equity}, title=name))))


def test_equal_curves_give_equal_bytes(equity):
    assert sketch_equity(equity) == sketch_equity(equity.copy())


@given(NUMBERS, NUMBERS)
def test_money_ticks_are_few_even_and_in_range(first, second):
    low, high = sorted((first, second))
    ticks = money_ticks(low, high)
    slack = 1e-6 * (high - low)
    assert 1 <= len(ticks) <= 12
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert all(before < after for before, after in pairwise(ticks))


@given(st.datetimes(pd.Timestamp("1990-01-01"), pd.Timestamp("2060-01-01")), st.integers(0, 60 * 24 * 365 * 60))
def test_time_ticks_are_few_ascending_and_in_range(begin, minutes):
    first = pd.Timestamp(begin).floor("min")
    last = first + pd.Timedelta(minutes=minutes)
    ticks = time_ticks(first, last)
    assert len(ticks) <= 11
    assert all(first <= tick <= last for tick, _ in ticks)
    assert all(label for _, label in ticks)


def test_years_and_days_are_named_where_they_begin():
    assert [label for _, label in time_ticks(pd.Timestamp("2018-11-15"), pd.Timestamp("2019-05-02"))] == [
        "Dec", "2019", "Feb", "Mar", "Apr", "May",
    ]  # fmt: skip
    assert [label for _, label in time_ticks(pd.Timestamp("2019-03-01 13:00"), pd.Timestamp("2019-03-02 14:00"))] == [
        "15:00", "18:00", "21:00", "2 Mar", "03:00", "06:00", "09:00", "12:00",
    ]  # fmt: skip
