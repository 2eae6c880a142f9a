"""What strategies read as ``input.indicators``."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_dagster.domain.error import (
    BadInput,
    IndicatorDataNotFoundWithinDataTolerance,
    IndicatorNotFound,
    IndicatorWithVariations,
    InvalidForMultipairStrategy,
    LiquidityDataUnavailable,
    LookaheadRefused,
    MarketDataMissing,
    NoIndicatorError,
    UnknownPair,
)
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy import indicator_cross_section
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.indicator_binding import IndicatorSource
from trading_dagster.strategy.indicator_calculation import calculate_indicators
from trading_dagster.strategy.indicator_definition import IndicatorSet
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators
from trading_dagster.strategy.indicator_result import IndicatorResults

START = datetime(2024, 1, 1)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
US = timedelta(microseconds=1)
USDC = AssetIdentifier(1, "0x" + "f" * 40, "USDC", 6)


def make_pair(number: int) -> TradingPairIdentifier:
    token = AssetIdentifier(1, f"0x{number:040x}", f"T{number}")
    return TradingPairIdentifier(token, USDC, f"0x{number + 10**6:040x}", "0xe1", internal_id=number, fee=0.003)


def make_panel(close, exists=None, bucket=TimeBucket.d1, start=START) -> CandlePanel:
    close = np.atleast_2d(np.asarray(close, dtype=np.float64))
    exists = np.ones(close.shape, dtype=bool) if exists is None else np.atleast_2d(np.asarray(exists, dtype=bool))
    close = np.where(exists, close, np.nan)
    columns = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": close * 0 + 7}
    ids = tuple(range(1, len(close) + 1))
    return CandlePanel(bucket, to_unix_us(start), ids, columns, exists, np.zeros(close.shape, dtype=bool))


def make_universe(close, exists=None, bucket=TimeBucket.d1, liquidity=None) -> TradingStrategyUniverse:
    panel = make_panel(close, exists, bucket)
    pairs = tuple(make_pair(number) for number in panel.pair_ids)
    return TradingStrategyUniverse(pairs, (USDC,), ChainId.ethereum, panel, liquidity=liquidity)


def identity(close: pd.Series) -> pd.Series:
    return close


def look(universe, indicators: IndicatorSet, *times: datetime) -> tuple[StrategyInputIndicators, DecisionClock]:
    clock = DecisionClock([to_unix_us(t) for t in times])
    return StrategyInputIndicators(universe, calculate_indicators(indicators, universe), clock), clock


def close_indicator() -> IndicatorSet:
    indicators = IndicatorSet()
    indicators.add("same", identity)
    return indicators


@st.composite
def sparse_universes(draw):
    bucket = draw(st.sampled_from([TimeBucket.m15, TimeBucket.h1, TimeBucket.h8, TimeBucket.d1, TimeBucket.d7]))
    bars = draw(st.integers(1, 30))
    pairs = draw(st.integers(1, 3))
    exists = np.array(draw(st.lists(st.booleans(), min_size=bars * pairs, max_size=bars * pairs)))
    close = 100.0 + np.arange(bars * pairs) * 1.25
    width = bucket.to_timedelta()
    cycle = draw(st.sampled_from([width / 5, width, 3 * width, HOUR]))
    offset = draw(st.sampled_from([timedelta(0), width / 3, 5 * US]))
    grid = [START + offset + draw(st.integers(-2, 20)) * width + i * cycle for i in range(draw(st.integers(1, 12)))]
    return make_universe(close.reshape(pairs, bars), exists.reshape(pairs, bars), bucket), sorted(set(grid))


def price_slowly(universe, pair, ts, index, tolerance, column):
    width = universe.time_bucket.to_timedelta()
    target = ts + width * index
    if universe.time_bucket.floor(target) + width > ts:
        raise LookaheadRefused("not closed")
    candles = universe.candles.frame(pair.internal_id)
    candles = candles[(candles.index <= target) & (candles.index >= target - tolerance)]
    return None if not len(candles) else float(candles[column].iloc[-1])


def answer(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except (LookaheadRefused, IndicatorDataNotFoundWithinDataTolerance) as error:
        return type(error)


@given(
    sparse_universes(),
    st.integers(-3, 1),
    st.sampled_from([timedelta(0), HOUR, DAY, 7 * DAY]),
    st.sampled_from(["open", "close", "volume"]),
)
def test_prices_are_what_a_slow_reading_of_the_rule_gives(case, index, tolerance, column):
    universe, grid = case
    indicators, clock = look(universe, IndicatorSet(), *grid)
    for number, ts in enumerate(grid):
        clock.move(number)
        prices = answer(indicators.get_prices, column, index, tolerance)
        for row, pair in enumerate(universe.pairs):
            expected = answer(price_slowly, universe, pair, ts, index, tolerance, column)
            for _ in range(2):  # the second look-up is answered from what the first one prepared
                assert answer(indicators.get_price, pair, tolerance, index, column=column) == expected
            if expected is LookaheadRefused:
                assert prices is LookaheadRefused
            else:
                assert np.isnan(prices[row]) if expected is None else prices[row] == expected


@given(sparse_universes(), st.integers(-3, 0), st.sampled_from([timedelta(0), -DAY, -HOUR, HOUR]))
def test_values_on_the_grid_equal_values_of_a_clock_of_one_moment(case, index, shift):
    universe, grid = case
    results = calculate_indicators(close_indicator(), universe)
    clock = DecisionClock([to_unix_us(t) for t in grid])
    on_grid = StrategyInputIndicators(universe, results, clock)
    for number, ts in enumerate(grid):
        clock.move(number)
        alone = StrategyInputIndicators(universe, results, DecisionClock([to_unix_us(ts)]))
        for pair in universe.pairs:
            ask = {"pair": pair, "index": index, "clock_shift": shift}
            first, second = (answer(on_grid.get_indicator_value, "same", **ask) for _ in range(2))
            assert first == second == answer(alone.get_indicator_value, "same", **ask)


@given(sparse_universes(), st.integers(-2, 0))
def test_cross_sections_equal_single_values(case, index):
    universe, grid = case
    indicators, clock = look(universe, close_indicator(), *grid)
    for number in range(len(grid)):
        clock.move(number)
        many = answer(indicators.get_indicator_values, "same", index=index)
        single = [answer(indicators.get_indicator_value, "same", pair=pair, index=index) for pair in universe.pairs]
        if LookaheadRefused in single:
            assert many is LookaheadRefused
        else:
            expected = [v if isinstance(v, float) else np.nan for v in single]
            np.testing.assert_array_equal(many, expected)


@given(sparse_universes())
@settings(max_examples=50)
def test_candles_that_close_after_the_decision_cannot_be_told_from_garbage(case):
    universe, grid = case
    for ts in grid:
        is_later = universe.candles.times_us + universe.candles.width_us > to_unix_us(ts)
        garbled = make_universe(
            np.where(is_later, -1e9, universe.candles.columns["close"]), universe.candles.exists, universe.time_bucket
        )
        seen = []
        for world in (universe, garbled):
            indicators, _ = look(world, close_indicator(), ts)
            for pair in world.pairs:
                series = indicators.get_indicator_series("same", pair=pair)
                seen.append(
                    [
                        answer(indicators.get_indicator_value, "same", pair=pair),
                        indicators.get_price(pair),
                        [] if series is None else series.to_dict(),
                        indicators.get_price_series(pair=pair).to_dict(),
                        indicators.get_ohlcv(pair).to_dict(),
                        indicators.get_indicator_data_pairs_combined("same").to_dict(),
                    ]
                )
        half = len(seen) // 2
        assert seen[:half] == seen[half:]


def test_default_price_is_the_close_of_the_previous_bar():
    indicators, clock = look(make_universe([10, 11, 12]), IndicatorSet(), START, START + DAY, START + 3 * DAY)
    assert indicators.get_price() is None
    clock.move(1)
    assert indicators.get_price() == 10
    clock.move(2)
    assert indicators.get_price() == 12
    assert indicators.get_price(index=-2, column="open") == 10.5


def test_price_at_a_timestamp_is_that_of_the_candle_around_it():
    indicators, _ = look(make_universe([10, 11, 12]), IndicatorSet(), START + 2 * DAY)
    assert indicators.get_price(timestamp=START) == 10
    assert indicators.get_price() == 11
    assert indicators.get_price(timestamp=START) == 10
    assert indicators.get_price(timestamp=START + timedelta(hours=30)) == 11
    assert indicators.get_price(timestamp=pd.Timestamp(START)) == 10
    assert indicators.get_price(timestamp=START - DAY) is None
    with pytest.raises(LookaheadRefused, match="before it has closed"):
        indicators.get_price(timestamp=START + 2 * DAY)


def test_price_walks_back_within_the_tolerance():
    exists = [True] + [False] * 9 + [True]
    indicators, _ = look(make_universe(range(11), exists), IndicatorSet(), START + 9 * DAY)
    assert indicators.get_price(data_lag_tolerance=7 * DAY) is None
    assert indicators.get_price(data_lag_tolerance=8 * DAY) == 0.0


def test_price_of_an_unknown_column_names_the_known_ones():
    indicators, _ = look(make_universe([1, 2]), IndicatorSet(), START + DAY)
    with pytest.raises(MarketDataMissing, match="open, high, low, close, volume"):
        indicators.get_price(column="vwap")


def test_tvl_has_its_own_bucket():
    liquidity = make_panel([1e6, 2e6, 3e6], bucket=TimeBucket.d1)
    universe = make_universe(np.arange(72), bucket=TimeBucket.h1, liquidity=liquidity)
    indicators, clock = look(universe, IndicatorSet(), START + 25 * HOUR, START + 48 * HOUR)
    pair = universe.pairs[0]
    assert [indicators.get_tvl(), indicators.get_tvl(pair), indicators.get_tvl(pair)] == [1e6] * 3
    clock.move(1)
    assert [indicators.get_tvl(pair), indicators.get_tvl(pair, index=-2)] == [2e6, 1e6]
    assert indicators.get_price() == 47


def test_tvl_of_a_renumbered_pair_is_its_own():
    liquidity = make_panel([[1e6], [2e6]])
    universe = make_universe([[1], [2]], liquidity=liquidity)
    indicators, _ = look(universe, IndicatorSet(), START + DAY)
    first, second = universe.pairs
    renumbered = TradingPairIdentifier(second.base, USDC, "0x1", "0x2", internal_id=first.internal_id, fee=0.003)
    assert [indicators.get_tvl(pair) for pair in (first, renumbered, second)] == [1e6, 2e6, 2e6]
    with pytest.raises(InvalidForMultipairStrategy):
        indicators.get_tvl()


def test_tvl_of_a_universe_without_tvl_says_how_to_load_it():
    indicators, _ = look(make_universe([1, 2]), IndicatorSet(), START + DAY)
    with pytest.raises(LiquidityDataUnavailable, match="liquidity=True"):
        indicators.get_tvl()


def test_nan_is_none_unless_asked_for():
    indicators, clock = look(make_universe([1.0, np.nan, 3.0]), close_indicator(), START + 2 * DAY, START + 3 * DAY)
    assert indicators.get_indicator_value("same") is None
    for _ in range(2):
        assert np.isnan(indicators.get_indicator_value("same", na_conversion=False))
    clock.move(1)
    assert indicators.get_indicator_value("same", na_conversion=False) == 3.0


def test_value_after_the_end_of_a_series_is_none():
    indicators, _ = look(make_universe([1, 2, 3]), close_indicator(), START + 5 * DAY)
    assert [indicators.get_indicator_value("same") for _ in range(2)] == [None, None]


def test_value_in_a_long_gap_is_too_old_until_a_tolerance_allows_it():
    universe = make_universe(range(6), [True, False, False, False, False, True])
    indicators, _ = look(universe, close_indicator(), START + 4 * DAY)
    for _ in range(2):
        with pytest.raises(IndicatorDataNotFoundWithinDataTolerance, match="no value at 2024-01-04"):
            indicators.get_indicator_value("same")
    assert indicators.get_indicator_value("same", data_delay_tolerance=3 * DAY) == 0.0
    assert np.isnan(indicators.get_indicator_values("same")[0])


def test_future_bars_are_refused_every_time():
    indicators, _ = look(make_universe(range(9)), close_indicator(), START + 4 * DAY)
    for _ in range(2):
        with pytest.raises(LookaheadRefused, match="index=-1"):
            indicators.get_indicator_value("same", index=0)
        with pytest.raises(AssertionError):
            indicators.get_indicator_value("same", clock_shift=DAY)
        with pytest.raises(LookaheadRefused):
            indicators.get_indicator_values("same", index=0)
        with pytest.raises(LookaheadRefused):
            indicators.get_price(index=0)
        with pytest.raises(LookaheadRefused):
            indicators.get_prices(index=0)
    assert indicators.get_indicator_value("same", index=0, clock_shift=-2 * DAY) == 2.0


def test_variations_are_told_apart_by_their_parameters():
    indicators = IndicatorSet()
    indicators.add("lag", lambda close, n: close.shift(n), {"n": [1, 2]}, variations=True)
    looked, _ = look(make_universe([1, 2, 3, 4]), indicators, START + 4 * DAY)
    for _ in range(2):
        assert looked.get_indicator_value("lag", parameters={"n": 1}) == 3.0
        assert looked.get_indicator_value("lag", parameters={"n": 2}) == 2.0
    assert looked.get_indicator_series("lag", parameters={"n": 2}).iloc[-1] == 2.0
    with pytest.raises(IndicatorWithVariations, match="parameters="):
        looked.get_indicator_value("lag")
    with pytest.raises(IndicatorNotFound, match="no variation"):
        looked.get_indicator_value("lag", parameters={"n": 3})


def test_parameters_are_checked_where_there_is_one_variation_only():
    indicators = IndicatorSet()
    indicators.add("lag", lambda close, n: close.shift(n), {"n": 1})
    looked, _ = look(make_universe([1, 2, 3, 4]), indicators, START + 4 * DAY)
    for _ in range(2):
        assert looked.get_indicator_value("lag") == looked.get_indicator_value("lag", parameters={"n": 1}) == 3.0
        with pytest.raises(IndicatorNotFound, match="no variation"):
            looked.get_indicator_value("lag", parameters={"n": 2})


def test_misspelt_indicator_is_suggested():
    looked, _ = look(make_universe([1, 2]), close_indicator(), START + DAY)
    assert looked.has_indicator("same")
    assert not looked.has_indicator("sama")
    with pytest.raises(IndicatorNotFound, match="did you mean 'same'"):
        looked.get_indicator_value("sama")


def test_indicator_that_was_not_calculated_is_told_from_an_unknown_one():
    universe = make_universe([1, 2])
    clock = DecisionClock([to_unix_us(START + DAY)])
    looked = StrategyInputIndicators(universe, IndicatorResults(close_indicator()), clock)
    with pytest.raises(NoIndicatorError, match="was not calculated for pair id 1"):
        looked.get_indicator_value("same")


def test_frame_needs_a_column():
    indicators = IndicatorSet()
    indicators.add("band", lambda close: pd.DataFrame({"low": close - 1, "high": close + 1}))
    looked, _ = look(make_universe([1, 2, 3]), indicators, START + 3 * DAY)
    assert looked.get_indicator_value("band", "high") == 4.0
    assert looked.get_indicator_value("band", column="low", index=-2) == 1.0
    with pytest.raises(IndicatorNotFound, match="'low', 'high': name one"):
        looked.get_indicator_value("band")
    with pytest.raises(IndicatorNotFound, match="there is no 'mid'"):
        looked.get_indicator_value("band", "mid")
    assert list(looked.get_indicator_dataframe("band").columns) == ["low", "high"]
    assert looked.resolve_indicator_data("band", "all").iloc[-1].tolist() == [2.0, 4.0]


def test_series_with_a_column_is_a_mistake():
    looked, _ = look(make_universe([1, 2]), close_indicator(), START + DAY)
    with pytest.raises(IndicatorNotFound, match="leave out column"):
        looked.get_indicator_value("same", "close")


def test_pair_must_be_named_among_several():
    universe = make_universe([[1, 2], [3, 4]])
    looked, _ = look(universe, close_indicator(), START + 2 * DAY)
    with pytest.raises(InvalidForMultipairStrategy, match="2 pairs"):
        looked.get_indicator_value("same")
    with pytest.raises(InvalidForMultipairStrategy):
        looked.get_price()
    first, second = universe.pairs
    assert [looked.get_indicator_value("same", pair=p) for p in (first, second)] == [2.0, 4.0]
    description = (ChainId.ethereum, None, "T2", "USDC")
    for _ in range(2):
        assert looked.get_indicator_value("same", pair=description) == 4.0
        assert looked.get_price(description) == 4.0


def test_equal_pair_of_another_universe_is_recognised_by_what_it_is_not_by_its_number():
    universe = make_universe([[1, 2], [3, 4]])
    looked, _ = look(universe, close_indicator(), START + 2 * DAY)
    second = universe.pairs[1]
    renumbered = TradingPairIdentifier(second.base, USDC, "0x1", "0x2", internal_id=1, fee=0.003)
    unnumbered = TradingPairIdentifier(second.base, USDC, "0x1", "0x2", fee=0.003)
    assert looked.get_indicator_value("same", pair=universe.pairs[0]) == 2.0
    for pair in (renumbered, unnumbered):
        assert looked.get_indicator_value("same", pair=pair) == 4.0
        assert looked.get_price(pair) == 4.0
    with pytest.raises(UnknownPair, match="not in the universe"):
        looked.get_indicator_value("same", pair=make_pair(3))


def test_universe_indicator_needs_no_pair_and_may_hold_lists():
    def tradeable(strategy_universe) -> pd.Series:
        times = strategy_universe.candles.index
        return pd.Series([[1], [], [1, 2]], index=times)

    def strange(strategy_universe) -> pd.Series:
        return pd.Series([np.zeros(2), np.ones(2), None], index=strategy_universe.candles.index)

    universe = make_universe([[1, 2, 3], [3, 4, 5]])
    indicators = IndicatorSet()
    indicators.add("tradeable", tradeable, source=IndicatorSource.strategy_universe)
    indicators.add("strange", strange, source=IndicatorSource.strategy_universe)
    looked, clock = look(universe, indicators, *(START + i * DAY for i in range(5)))
    seen = []
    for number in range(5):
        clock.move(number)
        seen.append([looked.get_indicator_value("tradeable", pair=p) for p in (None, universe.pairs[1])])
    assert seen == [[None, None], [[1], [1]], [[], []], [[1, 2], [1, 2]], [[1, 2], [1, 2]]]
    clock.move(2)
    for _ in range(2):
        assert looked.get_indicator_value("strange").tolist() == [1.0, 1.0]
    with pytest.raises(IndicatorNotFound, match="no numbers"):
        looked.get_indicator_values("tradeable")


def test_truth_values_come_back_as_numbers_and_series_keep_their_type():
    indicators = IndicatorSet()
    indicators.add("up", lambda close: close.diff() > 0)
    looked, _ = look(make_universe([1, 2, 1, 2]), indicators, START + 4 * DAY)
    assert [looked.get_indicator_value("up", index=i) for i in (-1, -2)] == [1.0, 0.0]
    assert looked.get_indicator_series("up").dtype == bool


def test_series_end_before_the_bar_that_is_still_open():
    looked, clock = look(make_universe(range(5)), close_indicator(), START, START + 3 * DAY + HOUR)
    assert looked.get_indicator_series("same") is None
    assert len(looked.get_price_series()) == 0
    clock.move(1)
    assert looked.get_indicator_series("same").tolist() == [0.0, 1.0, 2.0]
    assert looked.get_indicator_dataframe("same")["same"].tolist() == [0.0, 1.0, 2.0]
    assert looked.get_price_series("open").tolist() == [-0.5, 0.5, 1.5]
    assert looked.get_recent_price_series(bars=2).tolist() == [1.0, 2.0]
    assert looked.get_ohlcv().index.max() == pd.Timestamp(START + 2 * DAY)
    assert list(looked.get_ohlcv().columns) == ["open", "high", "low", "close", "volume"]
    assert len(looked.get_indicator_series("same", unlimited=True)) == 5
    assert len(looked.get_price_series(unlimited=True)) == 5


def test_writing_to_a_slice_leaves_the_data_alone():
    looked, _ = look(make_universe(range(5)), close_indicator(), START + 3 * DAY)
    for _ in range(2):
        series = looked.get_price_series()
        assert series.iloc[0] == 0.0
        series.iloc[0] = 99.0


def test_weekly_series_shows_a_week_only_when_it_is_over():
    indicators = IndicatorSet()
    indicators.add("weekly", lambda close: close.resample("7D", origin=pd.Timestamp(START)).last())
    looked, clock = look(make_universe(range(28)), indicators, *(START + i * DAY for i in range(28)))
    for number in range(28):
        clock.move(number)
        series = looked.get_indicator_series("weekly")
        assert (0 if series is None else len(series)) == number // 7
        value = looked.get_indicator_value("weekly")
        assert value is None if number < 7 else value == number // 7 * 7 - 1


def two_weeks(close: pd.Series) -> pd.Series:
    return close.iloc[[6, 13]].set_axis(pd.DatetimeIndex([START, START + 7 * DAY]))


def test_two_rows_of_unknown_width_have_no_value_and_are_shown_late():
    indicators = IndicatorSet()
    indicators.add("weekly", two_weeks)
    looked, clock = look(make_universe(range(28)), indicators, *(START + i * DAY for i in range(28)))
    for number in range(28):
        clock.move(number)
        assert looked.get_indicator_value("weekly") is None
        series = looked.get_indicator_series("weekly")
        assert (0 if series is None else len(series)) == min(number // 7, 2)


def test_two_rows_that_say_their_width_have_values():
    def weekly(close):
        result = two_weeks(close)
        result.attrs["bucket"] = TimeBucket.d7
        return result

    indicators = IndicatorSet()
    indicators.add("weekly", weekly)
    looked, clock = look(make_universe(range(28)), indicators, START + 6 * DAY, START + 7 * DAY, START + 20 * DAY)
    seen = []
    for number in range(3):
        clock.move(number)
        seen.append(looked.get_indicator_value("weekly"))
    assert seen == [None, 6.0, 13.0]


def test_cross_sections_are_read_in_any_order_of_times(monkeypatch):
    monkeypatch.setattr(indicator_cross_section, "BLOCK_CELLS", 6)
    universe = make_universe(np.arange(40).reshape(2, 20))
    looked, clock = look(universe, close_indicator(), *(START + i * DAY for i in range(21)))
    for number in (20, 1, 2, 3, 4, 3, 19, 0, 7):
        clock.move(number)
        expected = [np.nan, np.nan] if number == 0 else [number - 1, number + 19]
        np.testing.assert_array_equal(looked.get_indicator_values("same"), expected)
        np.testing.assert_array_equal(looked.get_prices(), expected)


def test_pairs_are_combined_up_to_the_decision():
    universe = make_universe([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[True] * 3, [True, False, True], [False] * 3])
    looked, _ = look(universe, close_indicator(), START + 2 * DAY)
    combined = looked.get_indicator_data_pairs_combined("same")
    assert combined.index.names == ["pair_id", "timestamp"]
    assert combined.to_dict() == {
        (1, pd.Timestamp(START)): 1.0,
        (1, pd.Timestamp(START + DAY)): 2.0,
        (2, pd.Timestamp(START)): 4.0,
    }
    assert looked.get_indicator_data_pairs_combined("same", [universe.pairs[1]]).tolist() == [4.0]
    assert looked.get_indicator_data_pairs_combined("same", lambda pair: pair.internal_id == 1).tolist() == [1.0, 2.0]
    assert looked.get_indicator_data_pairs_combined("same", unlimited=True).groupby("pair_id").size().tolist() == [3, 2]


def test_outside_a_decision_everything_is_visible():
    universe = make_universe(range(5))
    looked = StrategyInputIndicators(universe, calculate_indicators(close_indicator(), universe))
    assert looked.timestamp == START + 5 * DAY
    assert len(looked.get_price_series()) == len(looked.get_indicator_series("same")) == 5
    assert looked.get_indicator_value("same") == 4.0
    assert looked.get_price(timestamp=START + 4 * DAY) == 4.0


def test_empty_result_reads_as_none():
    indicators = IndicatorSet()
    indicators.add("nothing", lambda close: None)
    looked, _ = look(make_universe(range(5)), indicators, START + 3 * DAY)
    assert looked.get_indicator_value("nothing") is None
    assert looked.get_indicator_value("nothing", column="any") is None
    assert looked.get_indicator_series("nothing") is None
    assert len(looked.get_indicator_dataframe("nothing")) == 0
    assert np.isnan(looked.get_indicator_values("nothing")).all()


def test_shift_without_a_unit_is_refused():
    looked, _ = look(make_universe(range(5)), close_indicator(), START + 3 * DAY)
    with pytest.raises(BadInput, match="clock_shift=1 has no unit"):
        looked.get_indicator_value("same", clock_shift=1)
