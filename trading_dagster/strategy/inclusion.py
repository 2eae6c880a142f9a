"""Ready-made indicators that say which pairs are worth trading when: by TVL, volume, age and candles.

::

    indicators = td.IndicatorRegistry()
    td.inclusion.define_on(indicators, criteria=("volume", "age"))

Then ``input.indicators.get_indicator_value("inclusion_criteria")`` is the list of ids of the pairs to choose from.
Limits are read from Parameters by name: ``min_tvl``, ``rolling_volume_bars`` and ``min_volume``, ``min_age``. Every
value belongs to the bar at whose close it was known, so nothing here looks ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput, IndicatorNotFound, LiquidityDataUnavailable
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription
from trading_dagster.market.membership import member_mask
from trading_dagster.market.panel import ONE_US, CandlePanel, Flags, Integers
from trading_dagster.strategy.indicator_binding import IndicatorSource
from trading_dagster.strategy.indicator_registry import IndicatorRegistry
from trading_dagster.strategy.indicator_resolver import IndicatorDependencyResolver, IndicatorUniverse

YEAR = timedelta(days=365.25)
MIN_AGE_RAMP_WEIGHT = 0.05
OLDEST_CRITERION = timedelta(days=7)
"""How long a criterion of other bars than the candles', such as daily TVL, stands after its last bar has closed."""

Descriptions = Sequence[HumanReadableTradingPairDescription]

# -- values of a pair -------------------------------------------------------------------------------------------------


def tvl(close: pd.Series) -> pd.Series:
    """Return the TVL at the close of each TVL candle, USD."""
    return close


def age(close: pd.Series) -> pd.Series:
    """Return years of 365.25 days since the open of the pair's first bar."""
    return pd.Series((close.index - close.index[0]) / YEAR, index=close.index)


def rolling_cumulative_volume(
    volume: pd.Series, close: pd.Series, rolling_volume_bars: int, is_volume_in_usd: bool = False
) -> pd.Series:
    """Return what was traded in the last ``rolling_volume_bars`` bars, USD; NaN before there are so many.

    Candles have their volume in base tokens, which are valued at the close of their bar. Where a source's volume is USD
    already, Parameters say ``is_volume_in_usd = True``.
    """
    return _roll(volume if is_volume_in_usd else volume * close, rolling_volume_bars, np.sum)


def rolling_liquidity_avg(close: pd.Series, rolling_liquidity_bars: int) -> pd.Series:
    """Return the mean TVL of the last TVL candles, USD; NaN before there are so many."""
    return _roll(close, rolling_liquidity_bars, np.mean)


def volatility(close: pd.Series, rolling_volatility_bars: int) -> pd.Series:
    """Return the sample standard deviation of the last changes from close to close, a fraction a bar."""
    return _roll(close.pct_change(fill_method=None), rolling_volatility_bars, partial(np.std, ddof=1))


def age_ramp_weight(dependency_resolver: IndicatorDependencyResolver, age_ramp_period: float) -> pd.Series:
    """Return age / period, both in years, at least 0.05 and at most 1."""
    years = dependency_resolver.get_indicator_data("age")
    assert isinstance(years, pd.Series)
    return (years / age_ramp_period).clip(MIN_AGE_RAMP_WEIGHT, 1)


def _roll(values: pd.Series, bars: int, measure: Callable[..., Any]) -> pd.Series:
    """Measure the last so many values of each bar, NaN before there are so many.

    Each window is measured anew: pandas' running sums remember where they began, and live trading, which loads the last
    days only, would get other last digits than a backtest.
    """
    measured = np.full(len(values), np.nan)
    if len(values) >= bars:
        measured[bars - 1 :] = measure(np.lib.stride_tricks.sliding_window_view(values.to_numpy(), bars), axis=1)
    return pd.Series(measured, index=values.index)


# -- lists of pairs ---------------------------------------------------------------------------------------------------


def tvl_inclusion_criteria(dependency_resolver: IndicatorDependencyResolver, min_tvl: float) -> pd.Series:
    """Return for each TVL bar the ids of the pairs whose TVL is at least ``min_tvl`` USD.

    Raises:
        LiquidityDataUnavailable: The universe has no TVL at all; nothing would ever be included.
    """
    return _at_least(dependency_resolver, "tvl", min_tvl)


def volume_inclusion_criteria(dependency_resolver: IndicatorDependencyResolver, min_volume: float) -> pd.Series:
    """Return for each bar the ids of the pairs whose rolling volume is at least ``min_volume`` USD."""
    return _at_least(dependency_resolver, "rolling_cumulative_volume", min_volume)


def age_inclusion_criteria(dependency_resolver: IndicatorDependencyResolver, min_age: float) -> pd.Series:
    """Return for each bar the ids of the pairs of an age of at least ``min_age`` years."""
    return _at_least(dependency_resolver, "age", min_age)


def trading_availability_criteria(strategy_universe: IndicatorUniverse) -> pd.Series:
    """Return for each bar the ids of the pairs that have a candle, forward-filled ones included."""
    panel = strategy_universe.candles
    return _to_lists(panel.exists.T, panel.pair_ids, panel.index)


def membership_criteria(strategy_universe: IndicatorUniverse) -> pd.Series:
    """Return for each bar the ids of the pairs that are members at its close; see `Membership.mark`.

    Pairs of a dataset that was not marked are members always.
    """
    panel = strategy_universe.candles
    closes = panel.times_us + panel.width_us
    masks = [member_mask(strategy_universe.get_pair_by_id(pair_id), closes) for pair_id in panel.pair_ids]
    return _to_lists(np.asarray(masks, np.bool_).T, panel.pair_ids, panel.index)


def inclusion_criteria(
    strategy_universe: IndicatorUniverse,
    dependency_resolver: IndicatorDependencyResolver,
    benchmark_pairs: Descriptions = (),
    supporting_pairs: Descriptions = (),
) -> pd.Series:
    """Return for each bar the ids of the pairs that meet every defined criterion, in the order of the universe.

    Args:
        strategy_universe: The universe.
        dependency_resolver: Gives the criteria; those the strategy does not define are not asked.
        benchmark_pairs: Descriptions of pairs that are never included, a tuple.
        supporting_pairs: The same, for pairs that only serve to calculate something.

    Raises:
        UnknownPair: A benchmark or supporting pair is not in the universe.
    """
    panel = strategy_universe.candles
    included = np.zeros(panel.exists.T.shape, dtype=np.bool_)
    included[:, _traded_rows(strategy_universe, benchmark_pairs, supporting_pairs)] = True
    for name in CRITERIA:
        try:
            lists = dependency_resolver.get_indicator_data(name, column="all")
        except IndicatorNotFound:
            continue
        if not len(lists):  # as long as no bar of it has closed, nobody meets it
            included[:] = False
        elif isinstance(lists, pd.Series):
            included &= _read_lists(name, lists, strategy_universe)
        else:
            raise BadInput(f"{name} is a DataFrame: return a Series of lists of pair ids")
    return _to_lists(included, panel.pair_ids, panel.index)


# -- counts -----------------------------------------------------------------------------------------------------------


def trading_pair_count(
    strategy_universe: IndicatorUniverse, benchmark_pairs: Descriptions = (), supporting_pairs: Descriptions = ()
) -> pd.Series:
    """Return how many pairs have had a candle up to each bar, benchmark and supporting pairs not counted."""
    panel = strategy_universe.candles
    exists = panel.exists[_traded_rows(strategy_universe, benchmark_pairs, supporting_pairs)]
    return pd.Series(np.logical_or.accumulate(exists, axis=1).sum(axis=0), index=panel.index)


def tvl_included_pair_count(dependency_resolver: IndicatorDependencyResolver) -> pd.Series:
    """Return how many pairs have enough TVL at each TVL bar."""
    return _count(dependency_resolver, "tvl_inclusion_criteria")


def volume_included_pair_count(dependency_resolver: IndicatorDependencyResolver) -> pd.Series:
    """Return how many pairs have enough volume at each bar."""
    return _count(dependency_resolver, "volume_inclusion_criteria")


def age_included_pair_count(dependency_resolver: IndicatorDependencyResolver) -> pd.Series:
    """Return how many pairs are old enough at each bar."""
    return _count(dependency_resolver, "age_inclusion_criteria")


def all_criteria_included_pair_count(dependency_resolver: IndicatorDependencyResolver) -> pd.Series:
    """Return how many pairs meet every criterion at each bar."""
    return _count(dependency_resolver, "inclusion_criteria")


# -- definition -------------------------------------------------------------------------------------------------------

CRITERIA = (
    "tvl_inclusion_criteria",
    "volume_inclusion_criteria",
    "age_inclusion_criteria",
    "membership_criteria",
    "trading_availability_criteria",
)
MEMBERSHIP = "membership"

_VALUE_OF = {"tvl": tvl, "volume": rolling_cumulative_volume, "age": age}
_CRITERION_OF = {"tvl": tvl_inclusion_criteria, "volume": volume_inclusion_criteria, "age": age_inclusion_criteria}
_COUNT_OF = {"tvl": tvl_included_pair_count, "volume": volume_included_pair_count, "age": age_included_pair_count}
_MORE = {"rolling_liquidity_avg": rolling_liquidity_avg, "volatility": volatility, "age_ramp_weight": age_ramp_weight}
_SOURCES = {
    tvl: IndicatorSource.tvl,
    rolling_liquidity_avg: IndicatorSource.tvl,
    age_ramp_weight: IndicatorSource.dependencies_only_per_pair,
    inclusion_criteria: IndicatorSource.strategy_universe,
    membership_criteria: IndicatorSource.strategy_universe,
    trading_availability_criteria: IndicatorSource.strategy_universe,
    trading_pair_count: IndicatorSource.strategy_universe,
    **dict.fromkeys((*_CRITERION_OF.values(), *_COUNT_OF.values()), IndicatorSource.dependencies_only_universe),
    all_criteria_included_pair_count: IndicatorSource.dependencies_only_universe,
}


def define_on(
    registry: IndicatorRegistry, criteria: Sequence[str] = ("tvl", "volume", "age"), more: Sequence[str] = ()
) -> None:
    """Define the inclusion criteria and their counts on a strategy's registry.

    An indicator of the same name that the strategy has defined before is its own version, and is kept.

    Args:
        registry: The strategy's indicators.
        criteria: Which of "tvl", "volume", "age" and "membership" a pair must meet besides having a candle; the first
            three need their limits, the last a dataset that was marked by `Membership.mark`.
        more: Which of "rolling_liquidity_avg", "volatility" and "age_ramp_weight" to define, too.

    Raises:
        BadInput: No such criterion or indicator.
    """
    _refuse_unknown("criteria", criteria, {**_CRITERION_OF, MEMBERSHIP: membership_criteria})
    _refuse_unknown("more", more, _MORE)
    chosen = [name for name in _CRITERION_OF if name in criteria]
    for name in chosen:
        value, criterion = _VALUE_OF[name], _CRITERION_OF[name]
        _define(registry, value)
        _define(registry, criterion, value.__name__)
        _define(registry, _COUNT_OF[name], criterion.__name__)
    if MEMBERSHIP in criteria:
        _define(registry, membership_criteria)
    _define(registry, trading_availability_criteria)
    _define(registry, inclusion_criteria, *(name for name in CRITERIA if name in registry))
    _define(registry, all_criteria_included_pair_count, inclusion_criteria.__name__)
    _define(registry, trading_pair_count)
    for name in more:
        if name == age_ramp_weight.__name__:
            _define(registry, age)
        _define(registry, _MORE[name], *(["age"] if name == age_ramp_weight.__name__ else []))


def _define(registry: IndicatorRegistry, function: Any, *dependencies: str) -> None:
    if function.__name__ not in registry:
        registry.define(source=_SOURCES.get(function), dependencies=dependencies)(function)


def _refuse_unknown(what: str, names: Sequence[str], known: dict[str, Any]) -> None:
    unknown = [names] if isinstance(names, str) else [name for name in names if name not in known]
    if unknown:
        raise BadInput(f"define_on({what}={names!r}): give a tuple of {', '.join(map(repr, known))}")


# -- lists and flags --------------------------------------------------------------------------------------------------


def _at_least(resolver: IndicatorDependencyResolver, name: str, limit: float) -> pd.Series:
    """Return for each bar the ids of the pairs whose indicator is at least a limit; NaN is not."""
    values, universe = resolver.get_indicator_data_pairs_combined(name), resolver.strategy_universe
    if name == "tvl" and universe.liquidity is None and not len(values):
        raise LiquidityDataUnavailable(
            "The criterion 'tvl' needs TVL data: load it with liquidity=True, or leave 'tvl' out of criteria"
        )
    assert isinstance(values, pd.Series)
    assert isinstance(values.index, pd.MultiIndex)
    found_ids, found_times = values.index.levels[0], pd.DatetimeIndex(values.index.levels[1])
    panel = _panel_of(name, universe)
    is_of_panel = bool(np.isin(found_times.asi8, panel.times_us).all())
    bars = panel.index if is_of_panel else found_times  # a strategy's own version may have bars of its own
    pair_ids = universe.candles.pair_ids
    flags = np.zeros((len(bars), len(pair_ids)), dtype=np.bool_)
    if len(values):
        row_of = {pair_id: row for row, pair_id in enumerate(pair_ids)}
        rows = np.array([row_of[pair_id] for pair_id in found_ids.tolist()])
        bar_of = np.searchsorted(bars.asi8, found_times.asi8)
        pair_codes, time_codes = values.index.codes
        flags[bar_of[time_codes], rows[pair_codes]] = values.to_numpy() >= limit
    lists = _to_lists(flags, pair_ids, bars)
    if is_of_panel:
        lists.attrs["bucket"] = panel.bucket
    return lists


def _panel_of(name: str, universe: IndicatorUniverse) -> CandlePanel:
    """Return the candles whose bars an indicator has: TVL or price."""
    return universe.liquidity if name.startswith("tvl") and universe.liquidity is not None else universe.candles


def _to_lists(flags: Flags, pair_ids: Sequence[int], index: pd.DatetimeIndex) -> pd.Series:
    """Return the pair ids of each row of flags (bars, pairs), a list of its own for each bar."""
    bars, columns = np.nonzero(flags)
    ids = np.asarray(pair_ids, dtype=np.int64)[columns].tolist()
    ends = np.searchsorted(bars, np.arange(len(index) + 1)).tolist()
    values = np.empty(len(index), dtype=object)
    values[:] = [ids[first:end] for first, end in pairwise(ends)]
    return pd.Series(values, index=index)


def _read_lists(name: str, lists: pd.Series, universe: IndicatorUniverse) -> Flags:
    """Return as flags (bars, pairs) what a series of lists says at the close of each candle bar."""
    pair_ids, values = universe.candles.pair_ids, lists.tolist()
    flags = np.zeros((len(values) + 1, len(pair_ids)), dtype=np.bool_)  # the last row stays False: nothing is known
    row_of = {pair_id: row for row, pair_id in enumerate(pair_ids)}
    bars = np.repeat(np.arange(len(values)), [len(ids) for ids in values])
    flags[bars, [row_of[pair_id] for pair_id in chain.from_iterable(values)]] = True
    taken: Flags = flags[_latest_closed(name, lists.index, universe)]
    return taken


def _latest_closed(name: str, index: pd.Index, universe: IndicatorUniverse) -> Integers:
    """Return for each candle bar the row of an index that closed last by the bar's own close, -1 if none is recent."""
    candles, panel = universe.candles, _panel_of(name, universe)
    times_us: Integers = pd.DatetimeIndex(index).asi8
    if np.array_equal(times_us, panel.times_us):
        width_us = panel.width_us
    else:
        width_us = max([candles.width_us, *np.diff(times_us)[-1:].tolist()])
    closed_us, now_us = times_us + width_us, candles.times_us + candles.width_us
    rows: Integers = np.searchsorted(closed_us, now_us, side="right") - 1
    age_us = now_us - closed_us[np.maximum(rows, 0)]
    rows[age_us > OLDEST_CRITERION // ONE_US] = -1
    return rows


def _traded_rows(universe: IndicatorUniverse, *descriptions: Descriptions) -> Integers:
    """Return the rows of the pairs that are not described."""
    left_out = {universe.get_pair_by_human_description(description).internal_id for description in chain(*descriptions)}
    return np.array([row for row, i in enumerate(universe.candles.pair_ids) if i not in left_out], dtype=np.int64)


def _count(resolver: IndicatorDependencyResolver, name: str) -> pd.Series:
    lists = resolver.get_indicator_data(name)
    counts = pd.Series(np.fromiter(map(len, lists), dtype=np.int64, count=len(lists)), index=lists.index)
    panel = _panel_of(name, resolver.strategy_universe)
    if lists.index.equals(panel.index):
        counts.attrs["bucket"] = panel.bucket
    return counts
