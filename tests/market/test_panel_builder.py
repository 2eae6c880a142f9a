"""A panel holds exactly the rows it was given, and gaps are filled by the rule and no further."""

import tracemalloc
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput, CandleContractBroken, UnknownPair
from trading_dagster.domain.time import TimeBucket, from_unix_us
from trading_dagster.market.contract import timestamps_us
from trading_dagster.market.panel_builder import ForwardFill, PanelBuilder, build_panel, fill_forward, merge_panels
from trading_dagster.market.synthetic import generate_ohlcv_candles

START = datetime(2024, 1, 1)
HOUR = timedelta(hours=1)
OHLCV = ("open", "high", "low", "close", "volume")


@st.composite
def sparse_candles(draw):
    """Make rows of three pairs on a grid of 40 hours, in any order."""
    cells = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 39)), min_size=1, max_size=60, unique=True))
    price = [draw(st.floats(1, 1000)) for _ in cells]
    return pd.DataFrame(
        {
            "pair_id": [pair_id for pair_id, _ in cells],
            "timestamp": pd.DatetimeIndex([START + HOUR * hour for _, hour in cells]).as_unit("us"),
            "open": price,
            "high": np.asarray(price) * 1.1,
            "low": np.asarray(price) * 0.9,
            "close": np.asarray(price) * 1.05,
            "volume": np.arange(len(cells), dtype=float),
        }
    )


def fill_naively(rows, bar_count, until, tolerance):
    """Fill one pair bar by bar: {bar: (candle, is filled)}."""
    filled = {bar: (candle, False) for bar, candle in rows.items()}
    real = sorted(rows)
    ends = [*real[1:], (until + 1 if until is not None else real[-1] + 1)] if real else []
    for bar, following in zip(real, ends, strict=True):
        missing = range(bar + 1, max(following, bar + 1))
        if tolerance is not None and HOUR * len(missing) > tolerance:
            continue
        close = rows[bar][3]
        for gap_bar in missing:
            filled[gap_bar] = ([close, close, close, close, 0.0], True)
    return filled


@given(sparse_candles(), st.permutations([1, 2, 3]))
def test_panel_holds_exactly_the_rows(frame, pair_ids):
    panel = build_panel(frame, TimeBucket.h1, pair_ids=pair_ids)
    assert panel.pair_ids == tuple(pair_ids)
    assert int(panel.exists.sum()) == len(frame)
    for row in frame.itertuples():
        place = panel.row_of(row.pair_id), int((row.timestamp - panel.start_at) / HOUR)
        assert panel.exists[place]
        assert [panel.columns[name][place] for name in OHLCV] == [getattr(row, name) for name in OHLCV]
    for values in panel.columns.values():
        assert np.isnan(values[~panel.exists]).all()
    assert not panel.forward_filled.any()


@given(
    sparse_candles(),
    st.one_of(st.none(), st.integers(0, 60)),
    st.one_of(st.none(), st.integers(0, 20)),
)
def test_gaps_fill_like_the_oracle(frame, until_hour, tolerance_hours):
    until = None if until_hour is None else START + HOUR * until_hour
    tolerance = None if tolerance_hours is None else HOUR * tolerance_hours
    bare = build_panel(frame, TimeBucket.h1, pair_ids=[1, 2, 3])
    before = {name: values.copy() for name, values in bare.columns.items()}
    panel = fill_forward(bare, ForwardFill(until, tolerance))
    in_one_go = build_panel(frame, TimeBucket.h1, pair_ids=[1, 2, 3], fill=ForwardFill(until, tolerance))
    until_bar = None if until is None else bare.bar_at(timestamps_us(pd.DataFrame({"timestamp": [until]}), "")[0])
    for row, pair_id in enumerate((1, 2, 3)):
        bars = np.flatnonzero(bare.exists[row])
        rows = {int(bar): [float(bare.columns[name][row, bar]) for name in OHLCV] for bar in bars}
        expected = fill_naively(rows, bare.bar_count, until_bar, tolerance)
        for made in (panel, in_one_go):
            found = {
                int(bar): ([float(made.columns[name][row, bar]) for name in OHLCV], bool(made.forward_filled[row, bar]))
                for bar in np.flatnonzero(made.exists[row])
            }
            assert found == expected
            assert made.content_hash(pair_id) == panel.content_hash(pair_id)
    for name, values in before.items():
        np.testing.assert_array_equal(bare.columns[name], values)


def test_batches_make_the_same_panel_as_one_frame():
    candles = generate_ohlcv_candles(TimeBucket.h1, START, datetime(2024, 2, 1), pair_id=7)
    whole = build_panel(candles, TimeBucket.h1)
    builder = PanelBuilder(bucket=TimeBucket.h1, pair_ids=[7], start=START, end=datetime(2024, 2, 1))
    times = timestamps_us(candles, "test")
    for part in (slice(500, None), slice(0, 123), slice(123, 500)):
        ids = candles["pair_id"].to_numpy()[part]
        builder.add(ids, times[part], {name: candles[name].to_numpy()[part] for name in OHLCV})
    assert builder.rows_added == len(candles)
    assert builder.build().content_hash(7) == whole.content_hash(7)


def test_rows_outside_the_span_are_ignored():
    candles = generate_ohlcv_candles(TimeBucket.d1, START, datetime(2024, 2, 1))
    panel = build_panel(candles, TimeBucket.d1, start=datetime(2024, 1, 10), end=datetime(2024, 1, 12))
    assert panel.start_at == datetime(2024, 1, 10)
    assert panel.columns["close"][0].tolist() == candles["close"][9:11].tolist()


def test_nothing_is_filled_before_the_first_bar_or_after_the_last():
    candles = generate_ohlcv_candles(TimeBucket.d1, datetime(2024, 1, 5), datetime(2024, 1, 10))
    panel = build_panel(
        candles, TimeBucket.d1, start=START, end=datetime(2024, 1, 20), fill=ForwardFill(until=datetime(2024, 1, 12))
    )
    assert panel.exists[0].tolist() == [False] * 4 + [True] * 8 + [False] * 7
    assert panel.forward_filled[0].sum() == 3
    assert panel.last_real_bar(1) == 8
    assert set(panel.columns["volume"][0, 9:12]) == {0.0}
    assert set(panel.columns["high"][0, 9:12]) == {candles["close"].iloc[-1]}


def test_gap_of_exactly_the_tolerance_is_filled_and_a_longer_one_not_at_all():
    candles = generate_ohlcv_candles(TimeBucket.d1, START, datetime(2024, 1, 20)).drop(index=[3, 4, 10, 11, 12])
    panel = build_panel(candles, TimeBucket.d1, fill=ForwardFill(tolerance=timedelta(days=2)))
    assert np.flatnonzero(panel.forward_filled[0]).tolist() == [3, 4]
    assert np.flatnonzero(~panel.exists[0]).tolist() == [10, 11, 12]


def test_duplicate_is_refused_within_and_across_batches():
    candles = generate_ohlcv_candles(TimeBucket.d1, START, datetime(2024, 1, 20))
    with pytest.raises(CandleContractBroken, match="duplicated in 2 rows, first: pair_id 1 2024-01-04"):
        build_panel(pd.concat([candles, candles[3:5]]), TimeBucket.d1)
    builder = PanelBuilder(bucket=TimeBucket.d1, pair_ids=[1], start=START, end=datetime(2024, 1, 20))
    times, ids = timestamps_us(candles, "test"), candles["pair_id"].to_numpy()
    columns = {name: candles[name].to_numpy() for name in OHLCV}
    builder.add(ids, times, columns)
    with pytest.raises(CandleContractBroken, match="duplicated in 1 rows"):
        builder.add(ids[4:5], times[4:5], {name: values[4:5] for name, values in columns.items()})


def test_off_grid_time_is_refused():
    candles = generate_ohlcv_candles(TimeBucket.h1, START, datetime(2024, 1, 2))
    with pytest.raises(CandleContractBroken, match="off the 1d grid in 23 rows, first: pair_id 1 2024-01-01 01:00:00"):
        build_panel(candles, TimeBucket.d1)


def test_pair_without_a_row_is_refused():
    candles = generate_ohlcv_candles(TimeBucket.h1, START, datetime(2024, 1, 2), pair_id=9)
    with pytest.raises(UnknownPair, match="pair_id 9"):
        build_panel(candles, TimeBucket.h1, pair_ids=[1, 2])


def test_one_wrong_timestamp_does_not_fill_the_memory():
    candles = generate_ohlcv_candles(TimeBucket.m1, datetime(2024, 1, 1), datetime(2024, 1, 1, 1))
    candles.loc[0, "timestamp"] = datetime(1, 1, 1)
    with pytest.raises(BadInput, match="check for wrong timestamps"):
        build_panel(candles, TimeBucket.m1)


def test_empty_frame_makes_an_empty_panel():
    candles = generate_ohlcv_candles(TimeBucket.h1, START, datetime(2024, 1, 2))[:0]
    panel = build_panel(candles, TimeBucket.h1, pair_ids=[1, 2])
    assert panel.exists.shape == (2, 0)


def test_frame_without_pairs_belongs_to_the_only_pair():
    candles = generate_ohlcv_candles(TimeBucket.h1, START, datetime(2024, 1, 2)).drop(columns="pair_id")
    assert build_panel(candles, TimeBucket.h1, pair_ids=[5]).exists.all()
    with pytest.raises(CandleContractBroken, match="column pair_id is missing"):
        build_panel(candles, TimeBucket.h1, pair_ids=[5, 6])


def test_panels_of_different_pairs_and_spans_merge():
    early = build_panel(generate_ohlcv_candles(TimeBucket.d1, START, datetime(2024, 1, 11), pair_id=1), TimeBucket.d1)
    late = build_panel(
        generate_ohlcv_candles(TimeBucket.d1, datetime(2024, 1, 6), datetime(2024, 1, 21), pair_id=2), TimeBucket.d1
    )
    merged = merge_panels([early, late], [2, 3, 1])
    assert merged.exists.sum(axis=1).tolist() == [15, 0, 10]
    assert merged.frame(1).equals(early.frame(1))
    assert merged.frame(2).equals(late.frame(2))
    assert from_unix_us(merged.start_us) == START


def test_building_in_batches_needs_little_more_memory_than_the_panel():
    pairs, bars = 200, 5_000
    cells = pairs * bars
    values = np.ones(bars)
    tracemalloc.start()
    builder = PanelBuilder(bucket=TimeBucket.h1, pair_ids=range(pairs), start=START, end=START + HOUR * bars)
    times = timestamps_us(pd.DataFrame({"timestamp": pd.date_range(START, periods=bars, freq="1h", unit="us")}), "")
    for pair_id in range(pairs):
        builder.add(np.full(bars, pair_id), times, dict.fromkeys(OHLCV, values))
    panel = builder.build(ForwardFill())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert panel.exists.all()
    assert peak < cells * (5 * 8 + 2) * 1.2
