"""Technical indicators against slow calculations from their definitions."""

# ruff: noqa: E741, PLR0124 - h, l, c are high, low, close; only NaN differs from itself

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_dagster import load_partial_data, technical
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.technical import (
    contains_cross_over,
    contains_cross_under,
    is_monotonically_decreasing,
    is_monotonically_increasing,
    resample_candles,
    resample_price_series,
)

NAN = float("nan")
DAY = timedelta(days=1)


def candles(seed=3, count=160, price=100.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(0, 0.03, count)))
    opened = close * np.exp(rng.normal(0, 0.01, count))
    high = np.maximum(close, opened) * (1 + rng.random(count) * 0.02)
    low = np.minimum(close, opened) * (1 - rng.random(count) * 0.02)
    index = pd.date_range("2024-01-01", periods=count, unit="us", name="timestamp")
    volume = rng.random(count) * 1e4
    return pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": volume}, index=index)


CANDLES = candles()
H, L, C, V = (CANDLES[name] for name in ("high", "low", "close", "volume"))


def same(actual: pd.Series, expected, rtol=1e-9) -> None:
    assert actual.index.equals(CANDLES.index)
    np.testing.assert_allclose(actual.to_numpy(), np.asarray(expected, dtype=float), rtol=rtol, atol=1e-9)


# -- oracles: loops over the definitions ----------------------------------------------------------------------------


def ema_slowly(values, n):
    result = [NAN] * len(values)
    begun = [i for i, x in enumerate(values) if x == x]
    if len(begun) < n:
        return result
    first = begun[0]
    e = sum(values[first : first + n]) / n
    result[first + n - 1] = e
    for i in range(first + n, len(values)):
        e = 2 / (n + 1) * values[i] + (1 - 2 / (n + 1)) * e
        result[i] = e
    return result


def wilder_slowly(values, n, first):
    """Mean of the n values from ``first``, then (previous * (n - 1) + value) / n."""
    result = [NAN] * len(values)
    average = sum(values[first : first + n]) / n
    result[first + n - 1] = average
    for i in range(first + n, len(values)):
        average = (average * (n - 1) + values[i]) / n
        result[i] = average
    return result


def rsi_slowly(close, n):
    changes = [0.0] + [b - a for a, b in zip(close[:-1], close[1:], strict=True)]
    up = wilder_slowly([max(x, 0) for x in changes], n, 1)
    down = wilder_slowly([max(-x, 0) for x in changes], n, 1)
    return [100 * u / (u + d) if u == u else NAN for u, d in zip(up, down, strict=True)]


def true_range_slowly(h, l, c):
    return [NAN] + [max(h[i] - l[i], abs(h[i] - c[i - 1]), abs(l[i] - c[i - 1])) for i in range(1, len(c))]


def atr_slowly(h, l, c, n):
    return wilder_slowly(true_range_slowly(h, l, c), n, 1)


def adx_slowly(h, l, c, n):
    count = len(c)
    tr = true_range_slowly(h, l, c)
    plus, minus = [0.0] * count, [0.0] * count
    for i in range(1, count):
        up, down = h[i] - h[i - 1], l[i - 1] - l[i]
        plus[i] = up if up > down and up > 0 else 0.0
        minus[i] = down if down > up and down > 0 else 0.0

    def summed(values):  # Wilder: the sum of the first n - 1, then minus an n-th of itself plus the next
        total = sum(values[1:n])
        result = [NAN] * count
        for i in range(n, count):
            total = total - total / n + values[i]
            result[i] = total
        return result

    strp, plusp, minusp = summed(tr), summed(plus), summed(minus)
    plus_di = [100 * p / t for p, t in zip(plusp, strp, strict=True)]
    minus_di = [100 * m / t for m, t in zip(minusp, strp, strict=True)]
    dx = [100 * abs(p - m) / (p + m) for p, m in zip(plus_di, minus_di, strict=True)]
    return wilder_slowly(dx, n, n), plus_di, minus_di


def supertrend_slowly(h, l, c, n, multiplier):
    width = atr_slowly(h, l, c, n)
    out, direction = [NAN] * len(c), [NAN] * len(c)
    upper = lower = None
    for i in range(len(c)):
        if width[i] != width[i]:
            continue
        basic_upper = (h[i] + l[i]) / 2 + multiplier * width[i]
        basic_lower = (h[i] + l[i]) / 2 - multiplier * width[i]
        if upper is None:
            upper, lower, direction[i] = basic_upper, basic_lower, -1
        else:
            upper = basic_upper if basic_upper < upper or c[i - 1] > upper else upper
            lower = basic_lower if basic_lower > lower or c[i - 1] < lower else lower
            if direction[i - 1] == -1:
                direction[i] = 1 if c[i] > upper else -1
            else:
                direction[i] = -1 if c[i] < lower else 1
        out[i] = lower if direction[i] == 1 else upper
    return out, direction


# -- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 5, 20, 160])
def test_ema_is_seeded_by_the_mean_of_the_first_values(length):
    same(technical.ema(C, length), ema_slowly(C.tolist(), length))


def test_ema_of_too_few_values_is_none():
    assert technical.ema(C.iloc[:19], 20) is None
    assert technical.ema(C.iloc[:20], 20).iloc[-1] == pytest.approx(C.iloc[:20].mean(), rel=1e-14)
    assert technical.ema(C.iloc[:0], 1) is None


@pytest.mark.parametrize("length", [1, 2, 20])
def test_sma_is_the_mean(length):
    same(technical.sma(C, length), [NAN] * (length - 1) + [C.iloc[i : i + length].mean() for i in range(161 - length)])


@pytest.mark.parametrize("length", [2, 14])
def test_rsi(length):
    same(technical.rsi(C, length), rsi_slowly(C.tolist(), length))


def test_rsi_is_unknown_until_the_price_moves():
    flat = pd.Series([5.0] * 6 + [6.0, 5.5])
    assert technical.rsi(flat, 3).isna().tolist() == [True] * 6 + [False] * 2


@pytest.mark.parametrize("length", [1, 14])
def test_atr(length):
    prices = (H.tolist(), L.tolist(), C.tolist())
    expected = true_range_slowly(*prices) if length == 1 else atr_slowly(*prices, length)
    same(technical.atr(H, L, C, length), expected)


@pytest.mark.parametrize("length", [2, 14])
def test_adx(length):
    frame = technical.adx(H, L, C, length)
    for name, expected in zip(
        ("adx", "plus_di", "minus_di"), adx_slowly(H.tolist(), L.tolist(), C.tolist(), length), strict=True
    ):
        same(frame[name], expected)


def test_macd_and_its_signal_are_emas():
    frame = technical.macd(C, 5, 12, 4)
    line = np.array(ema_slowly(C.tolist(), 5)) - np.array(ema_slowly(C.tolist(), 12))
    signal = np.array(ema_slowly(line.tolist(), 4))
    same(frame["macd"], line)
    same(frame["signal"], signal)
    same(frame["histogram"], line - signal)
    with pytest.raises(BadInput, match="fast must be the smaller one"):
        technical.macd(C, 26, 12)


@pytest.mark.parametrize("std", [2.0, 0.5])
def test_bollinger_bands(std):
    frame = technical.bbands(C, 20, std)
    middle = C.rolling(20).mean()
    deviation = C.rolling(20).apply(lambda x: np.sqrt(np.mean((x - np.mean(x)) ** 2)), raw=True)
    same(frame["middle"], middle)
    same(frame["lower"], middle - std * deviation)
    same(frame["upper"], middle + std * deviation)
    same(frame["bandwidth"], 2 * std * deviation / middle)
    same(frame["percent"], (C - middle + std * deviation) / (2 * std * deviation))


def test_bollinger_bands_are_exact_where_prices_hardly_move():
    tiny = pd.Series(60_000 + np.arange(20) * 1e-6)
    frame = technical.bbands(tiny, 20, 1.0)
    exact = 1e-6 * np.sqrt((20**2 - 1) / 12)
    assert (frame["upper"] - frame["middle"]).iloc[-1] == pytest.approx(exact, rel=1e-4)


def test_mfi():
    typical = ((H + L + C) / 3).tolist()
    expected = [NAN] * 160
    for i in range(14, 160):
        window = range(i - 13, i + 1)
        rising = sum(typical[j] * V.iloc[j] for j in window if typical[j] > typical[j - 1])
        falling = sum(typical[j] * V.iloc[j] for j in window if typical[j] < typical[j - 1])
        expected[i] = 100 * rising / (rising + falling)
    same(technical.mfi(H, L, C, V, 14), expected)


def test_mfi_of_small_volumes_is_that_of_large_ones():
    same(technical.mfi(H, L, C, V * 1e-12), technical.mfi(H, L, C, V))
    assert technical.mfi(H, L, C, V * 0).isna().all()


def test_on_balance_volume():
    expected = [V.iloc[0]]
    for i in range(1, 160):
        expected.append(expected[-1] + V.iloc[i] * (int(C.iloc[i] > C.iloc[i - 1]) - int(C.iloc[i] < C.iloc[i - 1])))
    same(technical.on_balance_volume(C, V), expected)


@pytest.mark.parametrize(("length", "multiplier"), [(10, 3.0), (3, 1.0), (1, 0.5)])
def test_supertrend(length, multiplier):
    frame = technical.supertrend(H, L, C, length, multiplier)
    if length > 1:
        band, direction = supertrend_slowly(H.tolist(), L.tolist(), C.tolist(), length, multiplier)
        same(frame["supertrend"], band)
        same(frame["direction"], direction)
    known = frame.dropna(subset="direction")
    assert set(known["direction"]) == {1.0, -1.0}
    assert known["long"].notna().equals(known["direction"] == 1)
    assert known["short"].notna().equals(known["direction"] == -1)
    assert known["supertrend"].equals(known["long"].fillna(known["short"]).rename("supertrend"))


def test_stochrsi():
    strength = pd.Series(rsi_slowly(C.tolist(), 10), index=C.index)
    low, high = strength.rolling(8).min(), strength.rolling(8).max()
    k = (100 * (strength - low) / (high - low)).rolling(3).mean()
    frame = technical.stochrsi(C, length=8, rsi_length=10, k=3, d=4)
    same(frame["k"], k)
    same(frame["d"], k.rolling(4).mean())
    assert frame["k"].dropna().between(-1e-9, 100 + 1e-9).all()


@pytest.mark.parametrize("factor", [1e-18, 1e-9, 1e6])
def test_measures_without_unit_do_not_depend_on_the_price_level(factor):
    h, l, c = H * factor, L * factor, C * factor
    same(technical.rsi(c), technical.rsi(C), rtol=1e-6)
    same(technical.adx(h, l, c)["adx"], technical.adx(H, L, C)["adx"], rtol=1e-6)
    same(technical.stochrsi(c)["k"], technical.stochrsi(C)["k"], rtol=1e-6)
    same(technical.supertrend(h, l, c)["direction"], technical.supertrend(H, L, C)["direction"])


# -- what all of them have in common --------------------------------------------------------------------------------

ALL = {
    "ema": lambda f: technical.ema(f["close"], 7),
    "sma": lambda f: technical.sma(f["close"], 7),
    "rsi": lambda f: technical.rsi(f["close"], 7),
    "stochrsi": lambda f: technical.stochrsi(f["close"], 7, 7),
    "macd": lambda f: technical.macd(f["close"], 3, 7, 4),
    "bbands": lambda f: technical.bbands(f["close"], 7),
    "atr": lambda f: technical.atr(f["high"], f["low"], f["close"], 7),
    "adx": lambda f: technical.adx(f["high"], f["low"], f["close"], 7),
    "mfi": lambda f: technical.mfi(f["high"], f["low"], f["close"], f["volume"], 7),
    "supertrend": lambda f: technical.supertrend(f["high"], f["low"], f["close"], 7),
    "on_balance_volume": lambda f: technical.on_balance_volume(f["close"], f["volume"]),
}


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=25)
@given(cut=st.integers(0, 60), missing=st.sets(st.integers(0, 59), max_size=8))
def test_later_bars_do_not_change_a_bit_of_earlier_values(name, cut, missing):
    frame = candles(count=60)
    frame.iloc[sorted(missing)] = NAN
    whole, part = ALL[name](frame), ALL[name](frame.iloc[:cut])
    if part is None:
        assert whole is None or whole.iloc[:cut].isna().all()
    else:
        assert part.to_numpy().tobytes() == whole.iloc[:cut].to_numpy().tobytes()


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=25)
@given(missing=st.sets(st.integers(0, 59), min_size=1, max_size=20))
def test_missing_rows_are_passed_over(name, missing):
    frame = candles(count=60)
    frame.iloc[sorted(missing)] = NAN
    result, dense = ALL[name](frame), ALL[name](frame.dropna())
    assert result.iloc[sorted(missing)].isna().to_numpy().all()
    assert result.drop(result.index[sorted(missing)]).equals(dense)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_short_or_unknown_input_gives_nothing(name, count):
    for frame in (candles(count=count), candles(count=9) * NAN):
        result = ALL[name](frame)
        if name == "ema":
            assert result is None
        else:
            assert len(result) == len(frame)
            assert result.isna().to_numpy().all() or name == "on_balance_volume"


@pytest.mark.parametrize("length", [0, -1, 1.5, None])
def test_length_that_is_no_number_of_bars_is_refused(length):
    for function in (technical.ema, technical.sma, technical.rsi, technical.bbands):
        with pytest.raises(BadInput, match="whole number of bars"):
            function(C, length)


def test_series_of_different_candles_are_refused():
    with pytest.raises(BadInput, match="different indexes"):
        technical.atr(H, L.iloc[1:], C)


def test_values_on_real_candles_equal_the_slow_ones():
    dataset = load_partial_data(time_bucket=TimeBucket.d1)
    universe = TradingStrategyUniverse.create_from_dataset(dataset)
    for pair_id in universe.candles.pair_ids:
        frame = universe.candles.frame(pair_id)
        assert len(frame) > 300
        close = frame["close"].tolist()
        np.testing.assert_allclose(technical.ema(frame["close"], 20), ema_slowly(close, 20), rtol=1e-9)
        np.testing.assert_allclose(technical.rsi(frame["close"], 14), rsi_slowly(close, 14), rtol=1e-9, atol=1e-9)
        slow = atr_slowly(frame["high"].tolist(), frame["low"].tolist(), close, 14)
        np.testing.assert_allclose(technical.atr(frame["high"], frame["low"], frame["close"]), slow, rtol=1e-9)


# -- questions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "lookback", "over", "under"),
    [
        ([1, 3], [2, 2], 2, -1, None),
        ([3, 1], [2, 2], 2, None, -1),
        ([1, 3, 3], [2, 2, 2], 2, None, None),
        ([1, 3, 3], [2, 2, 2], 3, -2, None),
        ([1, 2, 3], [2, 2, 2], 2, -1, None),  # touches, then rises above: it crosses when it is above
        ([3, 2, 3], [2, 2, 2], 3, None, None),  # touches only
        ([1, 2], [2, 2], 2, None, None),
        ([2, 3], [2, 2], 2, None, None),  # where it came from is unknown
        ([1, 3, 1, 3], [2, 2, 2, 2], 4, -1, -2),
        ([1, NAN, 3], [2, 2, 2], 2, -1, None),
        ([1, 3], [NAN, 2], 2, None, None),
        ([], [], 2, None, None),
        ([1], [2], 5, None, None),
    ],
)
def test_crossings(first, second, lookback, over, under):
    one, other = pd.Series(first, dtype=float), pd.Series(second, dtype=float)
    assert contains_cross_over(one, other, lookback, must_return_index=True) == (over is not None, over)
    assert contains_cross_under(one, other, lookback, must_return_index=True) == (under is not None, under)
    assert contains_cross_over(one, other, lookback) is (over is not None)
    assert contains_cross_under(one, other, lookback) is (under is not None)


def test_crossing_of_a_level():
    assert contains_cross_over(pd.Series([29.0, 31.0]), 30)
    assert not contains_cross_under(pd.Series([29.0, 31.0]), 30.0)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=12),
    st.lists(st.integers(0, 3), min_size=12, max_size=12),
    st.integers(2, 12),
)
def test_latest_crossing_is_found(first, second, lookback):
    second = second[: len(first)]
    expected = None
    side = 0
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        if a > b and side < 0 and i > len(first) - lookback:
            expected = i - len(first)
        if a != b:
            side = 1 if a > b else -1
    found = contains_cross_over(pd.Series(first), pd.Series(second), lookback, must_return_index=True)
    assert found == (expected is not None, expected)
    assert contains_cross_under(pd.Series(second), pd.Series(first), lookback, must_return_index=True) == found


def test_crossing_refuses_what_makes_no_sense():
    with pytest.raises(BadInput, match="at least 2"):
        contains_cross_over(C, C, 1)
    with pytest.raises(BadInput, match="160 and 159 values"):
        contains_cross_over(C, C.iloc[1:])


@pytest.mark.parametrize(
    ("values", "rises", "falls"),
    [([1, 2, 3], True, False), ([1, 1, 2], True, False), ([3, 2, 2], False, True), ([1, 3, 2], False, False),
     ([2, 2], True, True), ([1, NAN, 2], False, False)],
)  # fmt: skip
def test_monotony(values, rises, falls):
    assert is_monotonically_increasing(pd.Series(values)) is rises
    assert is_monotonically_decreasing(pd.Series(values)) is falls


# -- resampling -----------------------------------------------------------------------------------------------------


def resample_slowly(frame, width, shift):
    phase = (datetime.fromisoformat("2000-01-03") - datetime.fromisoformat("0001-01-01")) % width
    rows = {}
    for ts, row in frame.iterrows():
        moment = ts.to_pydatetime()
        origin = datetime.fromisoformat("2000-01-03") + shift - phase
        label = origin + (moment - origin) // width * width
        bar = rows.setdefault(label, {"open": row["open"], "high": row["high"], "low": row["low"], "volume": 0.0})
        bar["high"], bar["low"] = max(bar["high"], row["high"]), min(bar["low"], row["low"])
        bar["close"] = row["close"]
        bar["volume"] += row["volume"]
    return pd.DataFrame.from_dict(rows, orient="index")[["open", "high", "low", "close", "volume"]]


@given(
    st.sampled_from([TimeBucket.d7, TimeBucket.d1, timedelta(days=3), TimeBucket.d30]),
    st.sampled_from([timedelta(0), timedelta(hours=8), timedelta(days=-2), DAY * 40]),
    st.sets(st.integers(0, 39), max_size=30),
)
def test_wider_candles_are_what_a_loop_makes(bucket, shift, missing):
    frame = candles(count=40)
    frame = frame.drop(frame.index[sorted(missing)])
    width = bucket.to_timedelta() if isinstance(bucket, TimeBucket) else bucket
    made = resample_candles(frame, bucket, shift)
    expected = resample_slowly(frame, width, shift)
    pd.testing.assert_frame_equal(made, expected, check_names=False, check_index_type=False, check_freq=False)
    assert made.attrs["bucket"] == width
    for name in ("open", "high", "low", "close"):
        prices = resample_price_series(frame[name], bucket, shift, name)
        pd.testing.assert_series_equal(prices, expected[name], check_names=False, check_index_type=False)
        assert prices.attrs["bucket"] == width


def test_weeks_begin_on_mondays_and_gaps_stay_gaps():
    frame = candles(count=30).drop(pd.date_range("2024-01-08", "2024-01-14"))
    weeks = resample_candles(frame, TimeBucket.d7)
    assert [str(day.date()) for day in weeks.index] == ["2024-01-01", "2024-01-15", "2024-01-22", "2024-01-29"]


def test_columns_beyond_the_candles_keep_their_last_value():
    frame = candles(count=14).assign(tvl=np.arange(14.0))
    assert resample_candles(frame, TimeBucket.d7)["tvl"].tolist() == [6.0, 13.0]


def test_resampling_refuses_what_makes_no_sense():
    with pytest.raises(BadInput, match="positive"):
        resample_candles(CANDLES, timedelta(0))
    with pytest.raises(BadInput, match="naive times"):
        resample_candles(CANDLES.tz_localize("UTC"), TimeBucket.d7)
    with pytest.raises(BadInput, match="naive times"):
        resample_candles(CANDLES.reset_index(drop=True), TimeBucket.d7)
    with pytest.raises(BadInput, match="price_series_type='mid'"):
        resample_price_series(C, TimeBucket.d7, price_series_type="mid")
