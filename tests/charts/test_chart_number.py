"""Numbers are written the way a trader reads them."""

import math
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from trading_dagster.charts.number import (
    ABSENT,
    format_duration,
    format_percent,
    format_price,
    format_time,
    format_usd,
    format_value,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "$0.00"), (1234.5, "$1,234.50"), (-5, "\u2212$5.00"), (99_999.99, "$99,999.99"), (99_999.999, "$100,000"),
        (1_234_567.8, "$1,234,568"), (123_456_789, "$123.5 M"), (2.5e11, "$250.0 B"), (-0.001, "$0.00"),
        (math.nan, ABSENT), (math.inf, ABSENT),
    ],
)  # fmt: skip
def test_dollars(value, text):
    assert format_usd(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "+1.23 %"),
        (-0.5, "\u221250.00 %"),
        (1.5, "+150.0 %"),
        (25.0, "+2,500 %"),
        (0.0, "0.00 %"),
        (math.nan, ABSENT),
    ],
)
def test_percentages(value, text):
    assert format_percent(value, signed=True) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(42_150.5, "42,150.50"), (1.23456, "1.2346"), (0.5, "0.5000"), (0.00001234, "0.00001234"), (0.0, "0.00")],
)
def test_prices(value, text):
    assert format_price(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(days=3, hours=4, minutes=9), "3 d 4 h"), (timedelta(minutes=45), "45 min"),
        (timedelta(days=2), "2 d"),
        (timedelta(hours=1, minutes=1), "1 h 1 min"), (timedelta(seconds=12), "12 s"), (timedelta(0), "0 s"),
        (pd.NaT, ABSENT),
    ],
)  # fmt: skip
def test_durations(value, text):
    assert format_duration(value) == text


def test_times_show_what_they_have():
    assert format_time(pd.Timestamp(2024, 1, 2)) == "2024-01-02"
    assert format_time(pd.Timestamp(2024, 1, 2, 3, 4)) == "2024-01-02 03:04"
    assert format_time(pd.Timestamp(2024, 1, 2, 3, 4, 5)) == "2024-01-02 03:04:05"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("CAGR", 0.25, "25.00 %"), ("Sharpe", 1.234, "1.23"), ("Max Drawdown", -0.2, "\u221220.00 %"),
        ("Longest Drawdown Days", 265.0, "265"), ("Prob. Sharpe", 0.9, "90.00 %"),
        ("Cash at start", 10_000.0, "$10,000.00"),
        ("Return %", "12.5 %", "12.5 %"), ("Won", np.int64(1_234), "1,234"), ("Anything", None, ABSENT),
        ("Short", "-", ABSENT), ("Average duration", timedelta(hours=5), "5 h"), ("Start Period", pd.NaT, ABSENT),
        ("Sharpe", math.nan, ABSENT), ("Open", True, "yes"), ("Profit factor", 1.5, "1.50"),
    ],
)  # fmt: skip
def test_statistics_know_their_unit(name, value, text):
    assert format_value(name, value) == text
