"""What a loader gives: candles of pairs before they become a universe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

import numpy as np

from trading_dagster.domain.error import BadInput, CandleContractBroken, UnknownPair
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange import Exchange
from trading_dagster.market.lending import LendingUniverse
from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.panel_builder import ForwardFill, build_panel, fill_forward

CandleInput: TypeAlias = Candles | CandlePanel
"""Candles as a frame (with ``pair_id``, or ``pair`` as BASE/QUOTE) or already as a panel."""


@dataclass(frozen=True, slots=True)
class UniverseOptions:
    """What a run changes about loading; each value that is set wins over the loader's argument."""

    candle_time_bucket_override: TimeBucket | None = None
    stop_loss_time_bucket_override: TimeBucket | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    history_period: timedelta | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Candles and what belongs to them, as loaded.

    Args:
        time_bucket: Width of the candles.
        exchanges: Venues of the pairs.
        pairs: The pairs; candles refer to their internal ids, which are 1..n in this order where not set.
        candles: Price candles.
        liquidity: TVL candles in USD: open, high, low, close, or one column ``tvl``.
        liquidity_time_bucket: Width of the TVL candles, None for that of the candles.
        backtest_stop_loss_candles: Candles on which triggers are checked.
        backtest_stop_loss_time_bucket: Their width, None for that of the candles.
        lending_candles: Lending reserves and rates.
        start_at: First instant asked for, naive UTC.
        end_at: Exclusive end asked for, naive UTC.
        history_period: Warm-up before the first decision.
        name: For messages and charts.
    """

    time_bucket: TimeBucket
    exchanges: Sequence[Exchange]
    pairs: Sequence[TradingPairIdentifier]
    candles: CandleInput
    liquidity: CandleInput | None = None
    liquidity_time_bucket: TimeBucket | None = None
    backtest_stop_loss_candles: CandleInput | None = None
    backtest_stop_loss_time_bucket: TimeBucket | None = None
    lending_candles: LendingUniverse | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    history_period: timedelta | None = None
    name: str | None = None


def to_panel(
    candles: CandleInput,
    bucket: TimeBucket,
    pairs: Sequence[TradingPairIdentifier],
    *,
    fill: ForwardFill | None,
    source_name: str,
    is_tvl: bool = False,
) -> CandlePanel:
    """Return a panel whose row i belongs to pair i; pairs without candles have an empty row.

    Raises:
        CandleContractBroken: The candles have another bucket, or break the contract.
        UnknownPair: A candle belongs to none of the pairs.
    """
    pair_ids = tuple(pair.internal_id for pair in pairs if pair.internal_id is not None)
    if isinstance(candles, CandlePanel):
        if candles.bucket is not bucket:
            raise CandleContractBroken(f"{source_name}: panel of {candles.bucket.value} candles, not {bucket.value}")
        surplus = set(candles.pair_ids) - set(pair_ids)
        if surplus:
            raise UnknownPair(
                f"{source_name}: candles of pair ids {sorted(surplus)[:10]}, which are not in the universe"
            )
        panel = take_rows(candles, pair_ids)
        return panel if fill is None else fill_forward(panel, fill)
    frame = _with_pair_ids(candles, pairs, source_name)
    if is_tvl and "tvl" in frame.columns:
        frame = frame.assign(**dict.fromkeys(("open", "high", "low", "close"), frame["tvl"]))
    return build_panel(frame, bucket, pair_ids=pair_ids, fill=fill, source_name=source_name, zero_allowed=is_tvl)


def limit_dataset(dataset: Dataset, pairs: Sequence[TradingPairIdentifier]) -> Dataset:
    """Return the dataset of some of its pairs, which must have internal ids."""
    return replace(
        dataset,
        pairs=tuple(pairs),
        candles=_limit(dataset.candles, pairs),
        liquidity=None if dataset.liquidity is None else _limit(dataset.liquidity, pairs),
        backtest_stop_loss_candles=None
        if dataset.backtest_stop_loss_candles is None
        else _limit(dataset.backtest_stop_loss_candles, pairs),
    )


def _limit(candles: CandleInput, pairs: Sequence[TradingPairIdentifier]) -> CandleInput:
    ids = [pair.internal_id for pair in pairs if pair.internal_id is not None]
    if isinstance(candles, CandlePanel):
        return take_rows(candles, [pair_id for pair_id in ids if candles.has_pair(pair_id)])
    if "pair_id" in candles.columns:
        return candles[candles["pair_id"].isin(ids)]
    if "pair" in candles.columns:
        return candles[candles["pair"].isin([f"{pair.base.token_symbol}/{pair.quote.token_symbol}" for pair in pairs])]
    return candles


def take_rows(panel: CandlePanel, pair_ids: Sequence[int]) -> CandlePanel:
    """Return a panel with exactly these rows; a pair the panel lacks gets an empty row."""
    pair_ids = tuple(pair_ids)
    if panel.pair_ids == pair_ids:
        return panel
    rows = np.asarray([panel.row_of(i) if panel.has_pair(i) else -1 for i in pair_ids], dtype=np.int64)
    columns = {name: values[rows] for name, values in panel.columns.items()}
    exists, filled = panel.exists[rows], panel.forward_filled[rows]
    for values in columns.values():
        values[rows < 0] = np.nan
    exists[rows < 0] = False
    filled[rows < 0] = False
    return CandlePanel(panel.bucket, panel.start_us, pair_ids, columns, exists, filled)


def _with_pair_ids(frame: Candles, pairs: Sequence[TradingPairIdentifier], source_name: str) -> Candles:
    if "pair_id" in frame.columns or "pair" not in frame.columns:
        return frame
    ids: dict[str, int | None] = {}
    for pair in pairs:
        ticker = f"{pair.base.token_symbol}/{pair.quote.token_symbol}"
        if ticker in ids:
            raise BadInput(f"{source_name}: two pairs are called {ticker}: name the pair of a candle by column pair_id")
        ids[ticker] = pair.internal_id
    pair_ids = frame["pair"].astype("object").map(ids)
    unknown = frame["pair"][pair_ids.isna()].unique()
    if len(unknown):
        raise UnknownPair(
            f"{source_name}: candles of pair {', '.join(map(str, unknown[:5]))}, which is not in the universe of "
            f"{', '.join(list(ids)[:10])}: drop its candles or add the pair"
        )
    return frame.assign(pair_id=pair_ids.astype("int64"))
