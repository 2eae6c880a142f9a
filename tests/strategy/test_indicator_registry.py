"""How indicators are defined and calculated."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import talib

from trading_dagster.domain.error import (
    IndicatorCalculationFailed,
    IndicatorDefinedTwice,
    IndicatorDependencyResolutionError,
    IndicatorError,
    IndicatorFunctionSignatureMismatch,
    IndicatorNotFound,
    IndicatorOrderError,
    InvalidForMultipairStrategy,
    NotYetDefined,
    ParameterMissing,
    ParameterTypeInvalid,
)
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.indicator_binding import IndicatorSource
from trading_dagster.strategy.indicator_calculation import calculate_indicators
from trading_dagster.strategy.indicator_definition import IndicatorSet
from trading_dagster.strategy.indicator_registry import IndicatorRegistry
from trading_dagster.strategy.indicator_resolver import IndicatorDependencyResolver
from trading_dagster.strategy.parameters import StrategyParameters

START = datetime(2024, 1, 1)
DAY = timedelta(days=1)
USDC = AssetIdentifier(1, "0x" + "f" * 40, "USDC", 6)


def make_universe(closes, exists=None, tvl=None) -> TradingStrategyUniverse:
    closes = np.atleast_2d(np.asarray(closes, dtype=np.float64))
    ids = tuple(range(1, len(closes) + 1))
    pairs = tuple(
        TradingPairIdentifier(AssetIdentifier(1, f"0x{i:040x}", f"T{i}"), USDC, f"0x{i + 99:040x}", "0xe1", i, fee=0.0)
        for i in ids
    )

    def panel(values, there):
        columns = {"open": values - 0.5, "high": values + 1, "low": values - 1, "close": values, "volume": values * 2}
        columns = {name: np.where(there, column, np.nan) for name, column in columns.items()}
        return CandlePanel(TimeBucket.d1, to_unix_us(START), ids, columns, there, np.zeros(values.shape, dtype=bool))

    whole = np.ones(closes.shape, dtype=bool)
    there = whole if exists is None else np.atleast_2d(np.asarray(exists, dtype=bool))
    liquidity = None if tvl is None else panel(np.atleast_2d(np.asarray(tvl, dtype=np.float64)), whole)
    return TradingStrategyUniverse(pairs, (USDC,), ChainId.ethereum, panel(closes, there), liquidity=liquidity)


def values_of(results, name, pair_id=1) -> list:
    return results.get(results.indicators.resolve(name), pair_id).series(None, name).tolist()


def run(registry: IndicatorRegistry, universe, parameters=None, timestamp=None, context=None):
    return calculate_indicators(registry.create_indicators(timestamp, parameters or {}, universe, context), universe)


# -- IndicatorSet ---------------------------------------------------------------------------------------------------


def test_input_series_is_the_first_argument_and_parameters_go_by_name():
    indicators = IndicatorSet()
    indicators.add("scaled", lambda anything, factor, offset=0: anything * factor + offset, {"factor": 3})
    indicators.add("opened", lambda anything: anything, source=IndicatorSource.open_price)
    indicators.add("talib", talib.SMA, {"timeperiod": 2})
    results = calculate_indicators(indicators, make_universe([1, 2, 3]))
    assert values_of(results, "scaled") == [3.0, 6.0, 9.0]
    assert values_of(results, "opened") == [0.5, 1.5, 2.5]
    assert values_of(results, "talib")[1:] == [1.5, 2.5]


def test_ohlcv_function_gets_the_columns_it_names():
    indicators = IndicatorSet()
    indicators.add("range", lambda high, low: high - low, source=IndicatorSource.ohlcv)
    indicators.add("talib", talib.ATR, {"timeperiod": 1}, IndicatorSource.ohlcv)
    indicators.add("underscore", lambda open_, volume: open_ + volume, source=IndicatorSource.ohlcv)
    results = calculate_indicators(indicators, make_universe([1, 2, 3]))
    assert values_of(results, "range") == [2.0, 2.0, 2.0]
    assert values_of(results, "talib")[1:] == [2.0, 2.0]
    assert values_of(results, "underscore") == [2.5, 5.5, 8.5]


def test_parameter_that_the_function_lacks_is_refused_at_once():
    with pytest.raises(
        IndicatorFunctionSignatureMismatch, match="no argument 'lenght'; its arguments are close, length"
    ):
        IndicatorSet().add("rsi", lambda close, length: close, {"lenght": 3})


def test_argument_that_nothing_supplies_is_refused_at_once():
    with pytest.raises(IndicatorFunctionSignatureMismatch, match="nothing supplies the argument 'length'"):
        IndicatorSet().add("rsi", lambda close, length: close)
    with pytest.raises(IndicatorFunctionSignatureMismatch, match="at least one of open"):
        IndicatorSet().add("rsi", lambda candles: candles, source=IndicatorSource.ohlcv)
    with pytest.raises(IndicatorFunctionSignatureMismatch, match="no argument takes the data"):
        IndicatorSet().add("rsi", lambda: None)


def test_function_that_takes_any_keyword_takes_any_parameter():
    indicators = IndicatorSet()
    indicators.add("any", lambda close, **options: close * options["n"], {"n": 2})
    assert values_of(calculate_indicators(indicators, make_universe([1, 2])), "any") == [2.0, 4.0]


def test_name_cannot_be_used_twice():
    indicators = IndicatorSet()
    indicators.add("a", lambda close: close)
    with pytest.raises(IndicatorDefinedTwice, match="'a'"):
        indicators.add("a", lambda close: close * 2)
    with pytest.raises(IndicatorDefinedTwice):
        indicators.add("a", lambda close, n: close, {"n": [1, 2]}, variations=True)


def test_variations_are_all_combinations():
    indicators = IndicatorSet()
    indicators.add("a", lambda close, n, m: close, {"n": [1, 2], "m": (3, 4)}, variations=True)
    assert [dict(d.parameters) for d in indicators] == [
        {"n": 1, "m": 3},
        {"n": 1, "m": 4},
        {"n": 2, "m": 3},
        {"n": 2, "m": 4},
    ]
    with pytest.raises(IndicatorError, match="non-empty list"):
        IndicatorSet().add("a", lambda close, n: close, {"n": 1}, variations=True)
    with pytest.raises(IndicatorDefinedTwice):
        IndicatorSet().add("a", lambda close, n: close, {"n": [1, 1]}, variations=True)


def test_orders_are_calculated_one_after_the_other():
    called = []

    def make(name):
        def func(close, dependency_resolver):
            called.append(name)
            return close

        return func

    indicators = IndicatorSet()
    for name, order in (("c", 3), ("a1", 1), ("b", 2), ("a2", 1)):
        indicators.add(name, make(name), order=order)
    progress = []
    calculate_indicators(indicators, make_universe([[1, 2], [3, 4]]), progress=lambda *step: progress.append(step))
    assert called == ["a1", "a1", "a2", "a2", "b", "b", "c", "c"]
    assert progress == [(1, 4, "a1"), (2, 4, "a2"), (3, 4, "b"), (4, 4, "c")]
    with pytest.raises(IndicatorError, match="orders count from 1"):
        IndicatorSet().add("a", lambda close: close, order=0)


# -- IndicatorRegistry ----------------------------------------------------------------------------------------------


def test_sources_are_detected_from_argument_names():
    registry = IndicatorRegistry()

    @registry.define()
    def of_close(close, n=1): ...
    @registry.define()
    def of_volume(close, volume): ...
    @registry.define()
    def of_open(open): ...
    @registry.define()
    def of_universe(strategy_universe, close=1): ...

    with pytest.raises(IndicatorFunctionSignatureMismatch, match="Cannot tell what indicator 'of_nothing'"):

        @registry.define()
        def of_nothing(dependency_resolver): ...

    table = registry.get_diagnostics()
    assert table["source"].to_dict() == {
        "of_close": "close_price",
        "of_volume": "ohlcv",
        "of_open": "ohlcv",
        "of_universe": "strategy_universe",
    }
    assert table.loc["of_close", "parameters"] == "n"


@dataclass
class AttributeParameters:
    factor: float = 2.0


class ClassParameters:
    factor = 2.0


@pytest.mark.parametrize(
    "parameters",
    [{"factor": 2.0}, AttributeParameters(), ClassParameters, StrategyParameters({"factor": 2.0})],
    ids=["mapping", "object", "class", "strategy parameters"],
)
def test_arguments_are_bound_by_name(parameters):
    registry = IndicatorRegistry()

    @registry.define()
    def scaled(factor: float, close: pd.Series, offset: float = 1.0) -> pd.Series:
        return close * factor + offset

    results = run(registry, make_universe([1, 2]), parameters)
    assert values_of(results, "scaled") == [3.0, 5.0]


def test_parameter_wins_over_the_default():
    registry = IndicatorRegistry()

    @registry.define()
    def scaled(close, factor=1):
        return close * factor

    assert values_of(run(registry, make_universe([1, 2]), {"factor": 5}), "scaled") == [5.0, 10.0]


def test_missing_parameter_is_named():
    registry = IndicatorRegistry()

    @registry.define()
    def scaled(close, factor): ...

    with pytest.raises(ParameterMissing, match="'scaled' needs the parameter 'factor'"):
        registry.create_indicators(None, {}, None, None)
    with pytest.raises(ParameterMissing):
        registry.create_indicators(None, StrategyParameters({"fact": 1}), None, None)


def test_list_parameter_belongs_to_a_grid_search():
    registry = IndicatorRegistry()

    @registry.define()
    def scaled(close, factor): ...

    with pytest.raises(ParameterTypeInvalid, match=r"\[1, 2\]: a list is a dimension"):
        registry.create_indicators(None, {"factor": [1, 2]}, None, None)


def test_engine_supplies_every_reserved_argument():
    registry = IndicatorRegistry()
    seen = {}

    @registry.define()
    def everything(
        close,
        open,
        high,
        low,
        volume,
        strategy_universe,
        dependency_resolver,
        pair,
        execution_context,
        timestamp,
    ): ...

    @registry.define(source=IndicatorSource.ohlcv)
    def per_pair(
        close, open, high, low, volume, strategy_universe, dependency_resolver, pair, execution_context, timestamp
    ):
        seen.update(locals())
        return close

    universe = make_universe([1, 2])
    del registry._registered["everything"]
    run(registry, universe, timestamp=START, context="context")
    assert seen["strategy_universe"] is universe
    assert seen["pair"] is universe.pairs[0]
    assert (seen["execution_context"], seen["timestamp"]) == ("context", START)
    assert isinstance(seen["dependency_resolver"], IndicatorDependencyResolver)
    assert [seen[name].tolist() for name in ("open", "high", "low", "close", "volume")] == [
        [0.5, 1.5],
        [2.0, 3.0],
        [0.0, 1.0],
        [1.0, 2.0],
        [2.0, 4.0],
    ]


def test_universe_source_cannot_have_a_candle_argument():
    registry = IndicatorRegistry()

    @registry.define()
    def mixed(strategy_universe, close): ...

    with pytest.raises(IndicatorFunctionSignatureMismatch, match="nothing supplies the argument 'close'"):
        registry.create_indicators(None, {}, None, None)


def test_order_is_one_more_than_the_highest_dependency():
    registry = IndicatorRegistry()

    @registry.define()
    def first(close): ...
    @registry.define(dependencies=(first,))
    def second(close, dependency_resolver): ...
    @registry.define(dependencies=("first", second))
    def third(close, dependency_resolver): ...
    @registry.define(dependencies=[third], order=7)
    def late(close, dependency_resolver): ...

    assert registry.get_diagnostics()["order"].to_dict() == {"first": 1, "second": 2, "third": 3, "late": 7}
    assert registry.get_diagnostics().loc["third", "dependencies"] == "first, second"
    with pytest.raises(IndicatorOrderError, match="use order=4"):

        @registry.define(dependencies=(third,), order=3)
        def early(close, dependency_resolver): ...


def test_dependency_must_be_defined_before():
    registry = IndicatorRegistry()

    def stranger(close): ...

    for dependency in ("later", stranger):
        with pytest.raises(NotYetDefined, match="depends on"):

            @registry.define(dependencies=(dependency,))
            def second(close): ...


def test_function_name_is_taken_once():
    registry = IndicatorRegistry()

    @registry.define()
    def same(close): ...

    with pytest.raises(IndicatorDefinedTwice):

        @registry.define()
        def same(close): ...


def test_forgotten_parentheses_and_nameless_functions_are_explained():
    registry = IndicatorRegistry()
    with pytest.raises(IndicatorError, match="with parentheses"):

        @registry.define
        def f(close): ...

    with pytest.raises(IndicatorError, match="has no name"):
        registry.define()(lambda close: close)


def test_decorated_function_can_still_be_called():
    registry = IndicatorRegistry()

    @registry.define()
    def doubled(close):
        return close * 2

    assert doubled(4) == 8


# -- sources and results --------------------------------------------------------------------------------------------


def test_tvl_and_open_price_sources():
    registry = IndicatorRegistry()

    @registry.define(source=IndicatorSource.tvl)
    def tvl(close):
        return close

    @registry.define(source=IndicatorSource.tvl)
    def tvl_range(high, low):
        return high - low

    @registry.define(source=IndicatorSource.open_price)
    def opened(n, open):
        return open * n

    results = run(registry, make_universe([1, 2], tvl=[100, 200]), {"n": 2})
    assert values_of(results, "tvl") == [100.0, 200.0]
    assert values_of(results, "tvl_range") == [2.0, 2.0]
    assert values_of(results, "opened") == [1.0, 3.0]


def test_missing_candles_give_an_empty_result_with_the_reason():
    registry = IndicatorRegistry()

    @registry.define()
    def price(close):
        return close

    @registry.define(source=IndicatorSource.tvl)
    def tvl(close):
        return close

    @registry.define()
    def nothing(close):
        return None

    @registry.define()
    def no_rows(close):
        return close.iloc[:0]

    results = run(registry, make_universe([[1, 2], [3, 4]], [[True, True], [False, False]]))
    assert results.get_empty_reasons() == {
        ("price", 2): "the pair has no price candles",
        ("tvl", 1): "the universe has no TVL data",
        ("tvl", 2): "the universe has no TVL data",
        ("nothing", 1): "the function returned None",
        ("nothing", 2): "the pair has no price candles",
        ("no_rows", 1): "the function returned no rows",
        ("no_rows", 2): "the pair has no price candles",
    }
    assert values_of(results, "price", 2) == []


def test_sparse_pair_gets_its_own_candles_only():
    registry = IndicatorRegistry()

    @registry.define()
    def price(close):
        return close

    universe = make_universe([[1, 2, 3], [4, 5, 6]], [[True, False, True], [True] * 3])
    results = run(registry, universe)
    assert values_of(results, "price") == [1.0, 3.0]
    definition = results.indicators.resolve("price")
    assert results.get(definition, 1).is_aligned
    assert results.get(definition, 1).bar_width_us == DAY // timedelta(microseconds=1)
    assert results.get(definition, 2).index is universe.candles.index


def test_error_names_indicator_pair_parameters_and_rows():
    registry = IndicatorRegistry()

    @registry.define()
    def broken(close, n):
        return close / 0 if n == 1 else close["nowhere"]

    with pytest.raises(IndicatorCalculationFailed) as caught:
        run(registry, make_universe([1, 2, 3]), {"n": 2})
    for part in ("'broken'", "T1-USDC (pair id 1)", "{'n': 2}", "3 rows", "KeyError"):
        assert part in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda close: close.to_numpy(), "returned ndarray"),
        (lambda close: close.reset_index(drop=True), "RangeIndex"),
        (lambda close: close.tz_localize("UTC"), "time zone UTC"),
        (lambda close: close.iloc[::-1], "not strictly ascending"),
        (lambda close: pd.concat([close, close]).sort_index(), "not strictly ascending"),
        (lambda close: pd.concat([close, close], axis=1), "not unique"),
        (lambda close: close.iloc[:2].to_frame().assign(x=1).set_axis([pd.NaT, pd.Timestamp(START)]), "ascending"),
    ],
)
def test_result_that_is_no_series_in_time_is_refused(returned, message):
    indicators = IndicatorSet()
    indicators.add("odd", returned)
    with pytest.raises(IndicatorCalculationFailed, match=message):
        calculate_indicators(indicators, make_universe([1, 2, 3]))


@pytest.mark.parametrize("bucket", [TimeBucket.d7, timedelta(days=7), "7d"])
def test_bucket_attribute_gives_the_width_of_bars(bucket):
    def weekly(close):
        result = close.iloc[[0, 7]]
        result.attrs["bucket"] = bucket
        return result

    indicators = IndicatorSet()
    indicators.add("weekly", weekly)
    results = calculate_indicators(indicators, make_universe(range(14)))
    assert results.get(indicators.resolve("weekly"), 1).bar_width_us == 7 * DAY // timedelta(microseconds=1)


def test_bucket_attribute_narrower_than_every_gap_is_not_believed():
    def weekly(close):
        result = close.iloc[::7]
        result.attrs["bucket"] = "1d"  # what pandas hands on when daily bars are resampled
        return result

    indicators = IndicatorSet()
    indicators.add("weekly", weekly)
    results = calculate_indicators(indicators, make_universe(range(21)))
    assert results.get(indicators.resolve("weekly"), 1).bar_width_us == 7 * DAY // timedelta(microseconds=1)


@pytest.mark.parametrize("bucket", [0, timedelta(0), "7"])
def test_senseless_bucket_attribute_is_refused(bucket):
    def odd(close):
        result = close.iloc[:1]
        result.attrs["bucket"] = bucket
        return result

    indicators = IndicatorSet()
    indicators.add("odd", odd)
    with pytest.raises(IndicatorCalculationFailed):
        calculate_indicators(indicators, make_universe(range(3)))


def test_function_that_writes_to_its_input_spoils_nothing():
    def spoils(close):
        close.iloc[0] = 99.0
        return close

    indicators = IndicatorSet()
    indicators.add("spoils", spoils)
    indicators.add("clean", lambda close: close)
    universe = make_universe([1, 2])
    results = calculate_indicators(indicators, universe)
    assert values_of(results, "spoils") == [99.0, 2.0]
    assert values_of(results, "clean") == [1.0, 2.0]
    assert universe.candles.columns["close"][0, 0] == 1.0


def test_external_indicator_loads_its_own_data():
    registry = IndicatorRegistry()

    @registry.define(source=IndicatorSource.external_per_pair)
    def loaded(pair, n):
        return pd.Series([float(pair.internal_id * n)], index=[pd.Timestamp(START)])

    results = run(registry, make_universe([[1], [2]]), {"n": 10})
    assert [values_of(results, "loaded", i) for i in (1, 2)] == [[10.0], [20.0]]


# -- the resolver ---------------------------------------------------------------------------------------------------


def resolve_with(read, universe, source=IndicatorSource.dependencies_only_per_pair, order=2):
    """Call ``read(resolver, pair)`` from an indicator of order 2, over two indicators of order 1."""
    indicators = IndicatorSet()
    indicators.add("single", single)
    indicators.add("frame", lambda close: pd.DataFrame({"a": close, "b": close * 2}))
    indicators.add("varied", lambda close, n: close * n, {"n": [1, 2]}, variations=True)
    indicators.add("once", lambda u: pd.Series(1.0, index=u.candles.index), source=IndicatorSource.strategy_universe)
    answers = []

    def reader(dependency_resolver, pair):
        answers.append(read(dependency_resolver, pair))

    indicators.add("same_order", lambda close: close, order=2)
    indicators.add("reader", reader, source=source, order=order)
    calculate_indicators(indicators, universe)
    return answers


def single(close):
    return close + 1


def test_resolver_gives_series_columns_and_frames():
    def read(resolver, pair):
        return (
            resolver.get_indicator_data("single").tolist(),
            resolver.get_indicator_data(single).tolist(),
            resolver.get_indicator_data("frame", "b").tolist(),
            resolver.get_indicator_data("frame", column="all").columns.tolist(),
            resolver.get_indicator_data("varied", parameters={"n": 2}).tolist(),
            resolver.get_indicator_data("once").tolist(),
        )

    first, second = resolve_with(read, make_universe([[1, 2], [3, 4]]))
    assert first == ([2.0, 3.0], [2.0, 3.0], [2.0, 4.0], ["a", "b"], [2.0, 4.0], [1.0, 1.0])
    assert second == ([4.0, 5.0], [4.0, 5.0], [6.0, 8.0], ["a", "b"], [6.0, 8.0], [1.0, 1.0])


def test_resolver_reads_other_pairs():
    def read(resolver, pair):
        by_object = resolver.get_indicator_data("single", pair=resolver.strategy_universe.pairs[1])
        by_words = resolver.get_indicator_data("single", pair=(ChainId.ethereum, None, "T2", "USDC"))
        return by_object.tolist(), by_words.tolist()

    assert resolve_with(read, make_universe([[1, 2], [3, 4]]))[0] == ([4.0, 5.0], [4.0, 5.0])


@pytest.mark.parametrize("asked", ["same_order", "reader"])
def test_resolver_refuses_an_equal_or_higher_order(asked):
    with pytest.raises(IndicatorOrderError, match="order 2 asked for"):
        resolve_with(lambda resolver, pair: resolver.get_indicator_data(asked), make_universe([1, 2]))


@pytest.mark.parametrize("parameters", [None, {"n": 3}, {"m": 1}])
def test_resolver_needs_exactly_one_variation(parameters):
    with pytest.raises(IndicatorDependencyResolutionError, match="variations of indicator 'varied' match"):
        resolve_with(
            lambda resolver, pair: resolver.get_indicator_data("varied", parameters=parameters), make_universe([1, 2])
        )


def test_resolver_names_what_it_does_not_know():
    with pytest.raises(IndicatorNotFound, match=r"'reader' asked for another.*did you mean 'single'"):
        resolve_with(lambda resolver, pair: resolver.get_indicator_data("singel"), make_universe([1, 2]))


def test_universe_indicator_must_name_a_pair_among_several():
    source = IndicatorSource.dependencies_only_universe

    def read(resolver, pair):
        return resolver.get_indicator_data("single").tolist()

    assert resolve_with(read, make_universe([1, 2]), source) == [[2.0, 3.0]]
    with pytest.raises(InvalidForMultipairStrategy, match="without a pair"):
        resolve_with(read, make_universe([[1, 2], [3, 4]]), source)


def test_pairs_are_combined_without_empty_ones():
    exists = [[True, True], [False, False], [False, True]]
    universe = make_universe([[1, 2], [3, 4], [5, 6]], exists)
    source = IndicatorSource.dependencies_only_universe
    (combined,) = resolve_with(lambda r, pair: r.get_indicator_data_pairs_combined("single"), universe, source)
    assert combined.index.names == ["pair_id", "timestamp"]
    assert combined.to_dict() == {
        (1, pd.Timestamp(START)): 2.0,
        (1, pd.Timestamp(START + DAY)): 3.0,
        (3, pd.Timestamp(START + DAY)): 7.0,
    }
    expected = pd.concat(
        {1: pd.Series([2.0, 3.0], universe.candles.index), 3: pd.Series([7.0], universe.candles.index[1:])},
        names=["pair_id", "timestamp"],
    )
    pd.testing.assert_series_equal(combined, expected, check_names=False, check_index_type=False)
    assert combined.groupby("timestamp").sum().tolist() == [2.0, 10.0]
    assert combined.unstack("pair_id").shape == (2, 2)
    assert combined.index.levels[0].tolist() == [1, 3]
    (frame,) = resolve_with(lambda r, pair: r.get_indicator_data_pairs_combined("frame"), universe, source)
    assert frame.loc[(3, pd.Timestamp(START + DAY))].tolist() == [6.0, 12.0]


def test_pairs_of_an_empty_universe_combine_to_nothing():
    universe = make_universe([[1, 2]], [[False, False]])
    source = IndicatorSource.dependencies_only_universe
    (combined,) = resolve_with(lambda r, pair: r.get_indicator_data_pairs_combined("single"), universe, source)
    assert len(combined) == 0
    assert combined.index.names == ["pair_id", "timestamp"]


def test_writing_to_a_resolved_series_spoils_nothing():
    def read(resolver, pair):
        series = resolver.get_indicator_data("single")
        before = series.iloc[0]
        series.iloc[0] = 99.0
        return before, resolver.get_indicator_data("single").iloc[0]

    assert resolve_with(read, make_universe([1, 2])) == [(2.0, 2.0)]
