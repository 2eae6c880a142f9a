"""What a live decision sees: the universe up to its decision time, and the indicators over it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription
from trading_dagster.domain.time import require_naive_utc
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.availability import AvailabilitySource, CandleAvailability
from trading_dagster.market.dataset import UniverseOptions
from trading_dagster.market.freshness import check_lag
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.indicator_calculation import calculate_indicators
from trading_dagster.strategy.indicator_result import IndicatorResults
from trading_dagster.strategy.input import CreateTradingUniverseInput


def load_universe(live: LiveStrategy, at: datetime) -> TradingStrategyUniverse:
    """Build a strategy's universe with its history up to a time, and the candle in progress, naive UTC.

    A decision at that time does not see the candle in progress; on paper its open is what trades are filled at.
    """
    require_naive_utc(at)
    return live.strategy.build_universe(
        CreateTradingUniverseInput(
            client=live.source,
            timestamp=at,
            parameters=live.parameters,
            execution_context=live.context,
            universe_options=UniverseOptions(end_at=at, history_period=live.history),
        )
    )


def describe_pairs(universe: TradingStrategyUniverse) -> list[HumanReadableTradingPairDescription]:
    """Return the pairs whose candles are in a universe, as sources know them: on a chain by the pool's address."""
    priced = (pair.get_pricing_pair() for pair in universe.pairs)
    by_pool = {(pair.chain_id, pair.pool_address): pair for pair in priced}
    return [
        (
            ChainId(pair.chain_id),
            pair.exchange_name if pair.chain_id == ChainId.centralised_exchange else pair.pool_address,
            pair.base.token_symbol,
            pair.quote.token_symbol,
        )
        for pair in by_pool.values()
    ]


def check_freshness(live: LiveStrategy, universe: TradingStrategyUniverse, decision_at: datetime) -> None:
    """Raise DataTooOld when a pair lacks its newest closed candle and the source does not say that it had no trades."""
    source = live.source
    availability: Sequence[CandleAvailability] = ()
    if isinstance(source, AvailabilitySource):
        availability = source.read_availability(describe_pairs(universe), universe.time_bucket)
    check_lag(decision_at, universe, availability=availability)


def calculate(live: LiveStrategy, universe: TradingStrategyUniverse) -> IndicatorResults:
    """Calculate the strategy's indicators over a universe; kept in the deployment's indicator store."""
    indicators = live.strategy.build_indicators(universe, live.parameters, live.context)
    return calculate_indicators(indicators, universe, store=live.indicator_store)
