"""Load the pairs whose tokens can be lent and borrowed, with the rates of both."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from trading_dagster.domain.error import NoLendingData, UnknownPair
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.dataset import Dataset, UniverseOptions
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.lending import LendingUniverse
from trading_dagster.market.lending_file import RateInput
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.source import CandleSource, usable_markets

STABLE = frozenset(
    {"BUSD", "DAI", "EUR", "FDUSD", "FRAX", "GHO", "LUSD", "TUSD", "USD", "USDC", "USDC.E", "USDT", "USDE"}
)
"""Tokens that are left out where only volatile ones are wanted."""


def load_trading_and_lending_data(
    client: CandleSource | None = None,
    execution_context: object = None,
    time_bucket: TimeBucket = TimeBucket.d1,
    universe_options: UniverseOptions | None = None,
    *,
    chain_id: ChainId | None = None,
    asset_ids: Collection[str] | None = None,
    reserve_assets: Collection[str] | None = None,
    volatile_only: bool = False,
    trading_fee: float | None = None,
    lending_reserves: LendingUniverse | Collection[str] | None = None,
    lending_rates: RateInput | None = None,
    lending_names: Mapping[str, str] | None = None,
    stop_loss_time_bucket: TimeBucket | None = None,
    required_history_period: timedelta | None = None,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    name: str | None = None,
) -> Dataset:
    """Load the pairs of tokens that can be lent and borrowed, with their lending rates.

    Args:
        client: Where candles come from; None is the embedded sample.
        execution_context: Accepted for ported strategies, not used.
        time_bucket: Width of candles and rates.
        universe_options: What the run changes; values set there win.
        chain_id: Only pairs of this chain; None takes all.
        asset_ids: Symbols of base tokens; None takes all.
        reserve_assets: Symbols of quote tokens; None takes all.
        volatile_only: Leave out pairs of two stablecoins.
        trading_fee: Fee of pairs for which the source has none, as a fraction.
        lending_reserves: As in load_partial_data, like the next two; one of them is needed.
        lending_rates: A frame or file of rates.
        lending_names: What ``lending_rates`` calls a token, by symbol.
        stop_loss_time_bucket: Width of the candles for triggers.
        required_history_period: Warm-up before ``start_at``.
        start_at: First decision, naive UTC.
        end_at: Last instant, naive UTC.
        name: For messages and charts.

    Raises:
        NoLendingData: There are no rates, or none of a token.
        UnknownPair: No pair is left.
    """
    if lending_reserves is None and lending_rates is None:
        raise NoLendingData(
            "load_trading_and_lending_data() needs rates: give lending_rates (a frame or file; see docs/loans.md), or "
            "a LendingUniverse as lending_reserves"
        )
    source = client if client is not None else EmbeddedSample()
    options = universe_options or UniverseOptions()
    bucket = options.candle_time_bucket_override or time_bucket
    chosen: list[HumanReadableTradingPairDescription] = []
    for market in usable_markets(source.list_markets(), bucket):
        base, quote = market.description[2:4]
        is_wanted = (
            (chain_id is None or market.chain_id == chain_id)
            and (asset_ids is None or base in asset_ids)
            and (reserve_assets is None or quote in reserve_assets)
            and not (volatile_only and base.upper() in STABLE)
        )
        if is_wanted and market.exact_description not in chosen:
            chosen.append(market.exact_description)
    if not chosen:
        raise UnknownPair(
            f"{source.name} has no pair with chain_id={chain_id}, asset_ids={asset_ids}, "
            f"reserve_assets={reserve_assets}"
        )
    return load_partial_data(
        source,
        execution_context,
        time_bucket,
        chosen,
        universe_options,
        stop_loss_time_bucket=stop_loss_time_bucket,
        required_history_period=required_history_period,
        start_at=start_at,
        end_at=end_at,
        trading_fee=trading_fee,
        lending_reserves=lending_reserves,
        lending_rates=lending_rates,
        lending_names=lending_names,
        name=name,
    )
