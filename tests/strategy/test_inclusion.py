"""The inclusion criteria: each against a plain reading of its definition, none of them looking ahead."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

import trading_dagster as td
from trading_dagster.domain.error import BadInput, IndicatorCalculationFailed, ParameterMissing
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.time import to_unix_us
from trading_dagster.market.file_source import FileSource
from trading_dagster.market.panel import CandlePanel
from trading_dagster.strategy.indicator_bias import find_lookahead, spread_times
from trading_dagster.strategy.indicator_cache import MemoryIndicatorCache
from trading_dagster.strategy.indicator_calculation import calculate_indicators
from trading_dagster.strategy.indicator_registry import IndicatorRegistry

START = datetime(2024, 1, 1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
USDC = AssetIdentifier(1, "0x" + "f" * 40, "USDC", 6)
CHAIN = td.ChainId.ethereum
PAIRS = tuple(
    TradingPairIdentifier(
        AssetIdentifier(1, f"0x{i:040x}", f"T{i}"), USDC, f"0x{i + 99:040x}", "0xe1", i, fee=0.0, exchange_name="dex"
    )
    for i in (1, 2, 3, 4)
)
LIMITS = {
    "min_tvl": 1000.0,
    "min_volume": 2_000.0,
    "rolling_volume_bars": 5,
    "min_age": 30 / (24 * 365.25),
    "rolling_liquidity_bars": 3,
    "rolling_volatility_bars": 4,
    "age_ramp_period": 60 / (24 * 365.25),
}
ALL = ("tvl", "volume", "age")
MORE = ("rolling_liquidity_avg", "volatility", "age_ramp_weight")


def make_panel(bucket: td.TimeBucket, closes: np.ndarray, exists: np.ndarray, volume: float = 4.0) -> CandlePanel:
    columns = {name: np.where(exists, closes, np.nan) for name in ("open", "high", "low", "close")}
    columns["volume"] = np.where(exists, volume, np.nan)
    ids = tuple(pair.internal_id for pair in PAIRS)
    return CandlePanel(bucket, to_unix_us(START), ids, columns, exists, np.zeros(exists.shape, dtype=bool))


def make_universe(has_tvl: bool = True) -> td.TradingStrategyUniverse:
    """Return six days of hours: pair 2 begins late, 3 has a hole, 4 ends early; TVL is daily and crosses the limit."""
    rng = np.random.default_rng(3)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.03, (4, 144)), axis=1))
    exists = np.ones(closes.shape, dtype=bool)
    exists[1, :40] = exists[2, 60:75] = exists[3, 100:] = False
    tvl = np.array([[900, 1100, 1200, 900, 1300, 1000], [2000] * 6, [10, 2000, 10, 2000, 10, 2000], [999.9] * 6])
    liquidity = make_panel(td.TimeBucket.d1, tvl.astype(float), tvl > 0) if has_tvl else None
    return td.TradingStrategyUniverse(
        PAIRS, (USDC,), CHAIN, make_panel(td.TimeBucket.h1, closes, exists), liquidity=liquidity
    )


def calculate(universe: td.TradingStrategyUniverse, registry: IndicatorRegistry | None = None, **changes: object):
    if registry is None:
        registry = td.IndicatorRegistry()
        td.inclusion.define_on(registry, more=MORE)
    indicators = registry.create_indicators(None, {**LIMITS, **changes}, universe, None)
    results = calculate_indicators(indicators, universe)

    def read(name: str, pair_id: int | None = None) -> pd.Series:
        found = results.get(indicators.resolve(name), pair_id).to_pandas(name)
        assert isinstance(found, pd.Series)
        return found

    return read


def closes_of(universe: td.TradingStrategyUniverse, pair_id: int) -> pd.Series:
    return universe.candles.series(pair_id, "close")


# -- values -----------------------------------------------------------------------------------------------------------


def test_values_of_a_pair_are_what_their_definitions_say() -> None:
    universe = make_universe()
    read = calculate(universe)
    for pair in PAIRS:
        i, close = pair.internal_id, closes_of(universe, pair.internal_id)
        rows = close.tolist()
        first = close.index[0]
        years = [(time - first).total_seconds() / (365.25 * 86_400) for time in close.index]
        assert read("age", i).tolist() == pytest.approx(years, rel=1e-12)
        ramp = [min(max(age / LIMITS["age_ramp_period"], 0.05), 1) for age in years]
        assert read("age_ramp_weight", i).tolist() == pytest.approx(ramp, rel=1e-12)
        traded = [sum(4.0 * price for price in rows[k - 4 : k + 1]) if k >= 4 else None for k in range(len(rows))]
        assert read("rolling_cumulative_volume", i).tolist()[4:] == pytest.approx(traded[4:], rel=1e-12)
        assert read("rolling_cumulative_volume", i)[:4].isna().all()
        changes = [b / a - 1 for a, b in zip(rows, rows[1:], strict=False)]
        deviations = [float(np.std(changes[k - 4 : k], ddof=1)) for k in range(4, len(rows))]
        assert read("volatility", i).tolist()[4:] == pytest.approx(deviations, rel=1e-9)
    assert read("tvl", 1).tolist() == [900, 1100, 1200, 900, 1300, 1000]
    assert read("rolling_liquidity_avg", 1).tolist()[2:] == pytest.approx([3200 / 3, 3200 / 3, 3400 / 3, 3200 / 3])


def test_volume_that_is_usd_already_is_only_added_up() -> None:
    read = calculate(make_universe(), is_volume_in_usd=True)
    assert read("rolling_cumulative_volume", 1).tolist()[4:] == [20.0] * 140


def test_value_of_a_window_is_the_same_wherever_the_data_begins() -> None:
    rng = np.random.default_rng(5)
    close = pd.Series(rng.lognormal(3, 1, 400), pd.date_range(START, periods=400, freq="h"))
    volume = pd.Series(rng.lognormal(10, 3, 400), close.index)
    volume[300:] = 0.0
    for bars in (1, 7, 24, 168):
        whole = td.inclusion.rolling_cumulative_volume(volume, close, bars)
        late = td.inclusion.rolling_cumulative_volume(volume[100:], close[100:], bars)
        assert np.array_equal(whole[100 + bars - 1 :], late[bars - 1 :])  # live trading loads the last days only
        assert (whole[300 + bars - 1 :] == 0).all()
        for indicator in (td.inclusion.rolling_liquidity_avg, td.inclusion.volatility):
            length = bars + 1
            assert np.array_equal(indicator(close, length)[200 + length :], indicator(close[200:], length)[length:])
    assert td.inclusion.rolling_cumulative_volume(volume[:3], close[:3], 4).isna().all()


# -- criteria ---------------------------------------------------------------------------------------------------------


def test_tvl_criterion_lists_pairs_at_each_tvl_bar() -> None:
    lists = calculate(make_universe())("tvl_inclusion_criteria")
    assert lists.tolist() == [[2], [1, 2, 3], [1, 2], [2, 3], [1, 2], [1, 2, 3]]  # 1000 is enough, 999.9 is not


def test_each_criterion_lists_the_pairs_at_or_above_its_limit() -> None:
    universe = make_universe()
    read = calculate(universe)
    for name, value, limit in (
        ("volume_inclusion_criteria", "rolling_cumulative_volume", LIMITS["min_volume"]),
        ("age_inclusion_criteria", "age", LIMITS["min_age"]),
        ("trading_availability_criteria", "age", 0.0),
    ):
        values = {pair.internal_id: read(value, pair.internal_id) for pair in PAIRS}
        expected = [[i for i, v in values.items() if v.get(time, -1) >= limit] for time in universe.candles.index]
        assert read(name).tolist() == expected
        assert [] in expected or name == "trading_availability_criteria"
        assert any(expected)


def test_pairs_that_meet_all_criteria_are_included_once_the_tvl_of_the_day_has_closed() -> None:
    universe = make_universe()
    read = calculate(universe, supporting_pairs=((CHAIN, None, "T2", "USDC"),))
    by_bar = {name: read(name) for name in ("volume_inclusion_criteria", "age_inclusion_criteria")}
    by_day = read("tvl_inclusion_criteria")
    expected = []
    for time in universe.candles.index:
        day = (time + HOUR).floor("D") - DAY  # the TVL candle that closed last when this hour closes
        sets = [set(by_day.get(day, [])), *(set(lists[time]) for lists in by_bar.values())]
        sets.append(set(read("trading_availability_criteria")[time]))
        expected.append(sorted(set.intersection(*sets) - {2}))
    included = read("inclusion_criteria")
    assert included.tolist() == expected
    assert {tuple(ids) for ids in expected} >= {(), (1,), (1, 3)}
    assert included.index.equals(universe.candles.index)
    assert read("all_criteria_included_pair_count").tolist() == [len(ids) for ids in expected]


def test_counts_are_lengths_and_pairs_seen_so_far() -> None:
    read = calculate(make_universe(), benchmark_pairs=((CHAIN, None, "T1", "USDC"),))
    assert read("trading_pair_count").tolist() == [2] * 40 + [3] * 104  # a pair that has ended was seen all the same
    assert read("tvl_included_pair_count").tolist() == [1, 3, 2, 2, 2, 3]
    for name in ("volume", "age"):
        lists = read(f"{name}_inclusion_criteria")
        assert read(f"{name}_included_pair_count").tolist() == [len(ids) for ids in lists]


def test_tvl_that_ended_more_than_a_week_ago_includes_nobody() -> None:
    universe = make_universe()
    long = make_panel(td.TimeBucket.h1, np.full((4, 24 * 20), 100.0), np.ones((4, 24 * 20), dtype=bool))
    universe = td.TradingStrategyUniverse(PAIRS, (USDC,), CHAIN, long, liquidity=universe.liquidity)
    included = calculate(universe, min_volume=0, min_age=0)("inclusion_criteria")
    last_close = START + 6 * DAY
    assert included[last_close + 7 * DAY - HOUR] == [1, 2, 3]
    assert included[last_close + 7 * DAY] == []


def test_lists_of_two_bars_are_not_the_same_object() -> None:
    included = calculate(make_universe())("trading_availability_criteria")
    included.iloc[0].append(99)
    assert 99 not in included.iloc[1]


# -- use --------------------------------------------------------------------------------------------------------------


def test_criteria_that_are_not_chosen_need_no_parameters_and_no_data() -> None:
    registry = td.IndicatorRegistry()
    td.inclusion.define_on(registry, criteria=("age",))
    universe = make_universe(has_tvl=False)
    results = calculate_indicators(registry.create_indicators(None, {"min_age": 0.0}, universe, None), universe)
    assert ("tvl", 1) not in results
    assert "volume_inclusion_criteria" not in registry


def test_a_chosen_criterion_needs_its_limit() -> None:
    registry = td.IndicatorRegistry()
    td.inclusion.define_on(registry, criteria=("age",))
    with pytest.raises(ParameterMissing, match="min_age"):
        registry.create_indicators(None, {}, make_universe(), None)


def test_tvl_criterion_without_any_tvl_is_an_error_instead_of_an_empty_portfolio() -> None:
    with pytest.raises(IndicatorCalculationFailed, match=r"leave 'tvl' out of criteria"):
        calculate(make_universe(has_tvl=False))


def test_the_strategys_own_version_of_an_indicator_is_kept() -> None:
    registry = td.IndicatorRegistry()

    @registry.define()
    def age(close: pd.Series) -> pd.Series:
        return close * 0 + 1

    td.inclusion.define_on(registry, criteria=("age",))
    read = calculate(make_universe(), registry, min_age=1)
    assert read("age_inclusion_criteria").tolist() == read("trading_availability_criteria").tolist()


def test_own_tvl_on_the_bars_of_the_candles_is_read_hour_by_hour() -> None:
    registry = td.IndicatorRegistry()

    @registry.define()
    def tvl(close: pd.Series) -> pd.Series:
        return close * 10

    td.inclusion.define_on(registry, criteria=("tvl",))
    universe = make_universe()
    read = calculate(universe, registry)
    closes = {pair.internal_id: closes_of(universe, pair.internal_id) for pair in PAIRS}
    expected = [[i for i, v in closes.items() if v.get(t, 0) * 10 >= 1000] for t in universe.candles.index]
    assert read("inclusion_criteria").tolist() == expected


@pytest.mark.parametrize("wrong", [{"criteria": ("volumes",)}, {"more": ("beta",)}, {"criteria": "tvl"}])
def test_unknown_names_are_refused(wrong: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(BadInput, match="give a tuple of"):
        td.inclusion.define_on(td.IndicatorRegistry(), **wrong)


def test_nothing_looks_ahead() -> None:
    registry = td.IndicatorRegistry()
    td.inclusion.define_on(registry, more=MORE)
    times = [START + timedelta(hours=hours) for hours in (1, 23, 24, 50, 65, 101, 120)]
    assert find_lookahead(registry, make_universe(), LIMITS, times) == []


def test_nothing_looks_ahead_on_136_pairs_and_all_of_it_can_be_cached(shared_data) -> None:
    source = FileSource(shared_data / "binance_136pairs_1d.parquet", exchange="binance", fee=0.001)
    universe = td.TradingStrategyUniverse.create_from_dataset(
        td.load_partial_data(source, time_bucket=td.TimeBucket.d1)
    )
    registry = td.IndicatorRegistry()
    td.inclusion.define_on(registry, criteria=("volume", "age"), more=("volatility", "age_ramp_weight"))
    limits = {**LIMITS, "min_volume": 5e7, "min_age": 0.1, "age_ramp_period": 0.5}
    assert find_lookahead(registry, universe, limits, spread_times(universe, 3)) == []

    cache = MemoryIndicatorCache()
    indicators = registry.create_indicators(None, limits, universe, None)
    first = calculate_indicators(indicators, universe, store=cache)
    second = calculate_indicators(indicators, universe, store=cache)
    assert cache.hits == cache.misses == len(first)
    included = indicators.resolve("inclusion_criteria")
    lists = first.get(included, None).to_pandas("x").tolist()
    assert lists == second.get(included, None).to_pandas("x").tolist()
    assert 0 < len(lists[-1]) < 136
