"""A resampled bar opens at a price that was known when it opened."""

from datetime import datetime

import numpy as np
import pytest

from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.resample import open_on_time, resample_panel

NAN = float("nan")


def hourly(closes: list[float]) -> CandlePanel:
    """One pair from midnight on; each candle opens 1 below its close; NaN is a missing candle."""
    close = np.array([closes])
    columns = {"open": close - 1, "high": close + 1, "low": close - 2, "close": close, "volume": close * 0 + 1}
    exists = ~np.isnan(close)
    start = to_unix_us(datetime(2021, 1, 1))
    return CandlePanel(TimeBucket.h1, start, (7,), columns, exists, np.zeros_like(exists))


@pytest.mark.parametrize(
    ("closes", "opens"),
    [
        ([10, 11, 12, 13], [9, 11]),  # complete: the opens of the first candles
        ([10, 11, NAN, 13], [9, 11]),  # the second bar's first candle is missing: the close before it
        ([NAN, 11, 12, 13], [NAN, 11]),  # nothing is known before the first bar: left out
        ([10, NAN, NAN, 13], [9, 10]),  # the close before is two hours old: still one bar
        ([NAN, 11, NAN, 13], [NAN, 11]),
        ([10, NAN, NAN, NAN, NAN, 15], [9, NAN, NAN]),  # four hours old: left out
    ],
)
def test_open_of_two_hour_bars(closes: list[float], opens: list[float]) -> None:
    fine = hourly(closes)
    made = open_on_time(resample_panel(fine, TimeBucket.h2), fine)
    np.testing.assert_array_equal(made.columns["open"][0], opens)
    np.testing.assert_array_equal(made.exists[0], ~np.isnan(opens))


def test_high_and_low_enclose_the_open_that_was_set() -> None:
    fine = hourly([30, 30, NAN, 13])
    made = open_on_time(resample_panel(fine, TimeBucket.h2), fine)
    assert made.columns["open"][0, 1] == 30
    assert made.columns["high"][0, 1] == 30
    assert made.columns["low"][0, 1] == 11


def test_complete_candles_are_unchanged() -> None:
    fine = hourly([float(n) for n in range(10, 22)])
    coarse = resample_panel(fine, TimeBucket.h4)
    made = open_on_time(coarse, fine)
    for name, values in coarse.columns.items():
        np.testing.assert_array_equal(made.columns[name], values)
