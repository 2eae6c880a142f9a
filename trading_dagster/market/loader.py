"""Load candles of pairs from a source into a dataset."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from tqdm.auto import tqdm

from trading_dagster.domain.error import BadInput, MarketDataMissing
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, require_naive_utc
from trading_dagster.market.contract import Candles, check_candles, pair_codes, timestamps_us
from trading_dagster.market.dataset import Dataset, UniverseOptions
from trading_dagster.market.exchange import Exchange, format_description
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.lending import LendingCandleType, LendingReserveDescription, LendingUniverse
from trading_dagster.market.lending_file import RateInput, lend_tokens_of
from trading_dagster.market.panel import OHLCV, PRICE_COLUMNS, CandlePanel
from trading_dagster.market.panel_builder import PanelBuilder, merge_panels, refuse_sparse
from trading_dagster.market.resample import open_on_time, resample_panel
from trading_dagster.market.side_by_side import choose_workers, map_in_order
from trading_dagster.market.source import (
    CandleSource,
    LiquiditySource,
    Market,
    UnorderedSource,
    choose_market,
    group_markets,
    usable_markets,
)
from trading_dagster.market.universe import default_delay_tolerance
from trading_dagster.market.vault import VaultLike, find_vaults, mark_vaults

CHUNK_CELLS = 20_000_000
MOST_WORKERS = 4
ReadMarkets = Callable[[Sequence[Market], datetime, datetime], Iterator[Candles]]


def load_partial_data(
    client: CandleSource | None = None,
    execution_context: object = None,
    time_bucket: TimeBucket | None = None,
    pairs: Sequence[HumanReadableTradingPairDescription] | None = None,
    universe_options: UniverseOptions | None = None,
    *,
    stop_loss_time_bucket: TimeBucket | None = None,
    liquidity: bool = False,
    liquidity_time_bucket: TimeBucket | None = None,
    required_history_period: timedelta | None = None,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    trading_fee: float | None = None,
    vaults: Sequence[VaultLike] = (),
    lending_reserves: LendingUniverse | Collection[str | LendingReserveDescription] | None = None,
    lending_rates: RateInput | None = None,
    lending_names: Mapping[str, str] | None = None,
    lending_candle_types: Collection[LendingCandleType] | None = None,
    name: str | None = None,
    progress: bool = False,
) -> Dataset:
    """Load candles of some pairs, resampled where the source has finer ones.

    The candles that open in [start_at - required_history_period, end_at], both ends included, are loaded; without
    ``start_at`` and ``end_at`` the last required_history_period before the source's end, without any of them all.

    Args:
        client: Where candles come from; None is the embedded sample.
        execution_context: Accepted for ported strategies, not used.
        time_bucket: Width of the candles.
        pairs: Human descriptions; a fee named there counts where the source knows none. None takes all pairs that
            have candles in the span.
        universe_options: What the run changes; values set there win.
        stop_loss_time_bucket: Width of the candles for triggers, equal or finer; None loads none.
        liquidity: Load TVL too.
        liquidity_time_bucket: Width of the TVL candles, None for that of the candles.
        required_history_period: Warm-up before ``start_at``.
        start_at: First decision, naive UTC.
        end_at: Last instant, naive UTC.
        trading_fee: Fee of pairs for which neither source nor description has one, as a fraction.
        vaults: Markets whose base token is a vault's share, with the vault's terms; they are loaded beside ``pairs``.
        lending_reserves: Lending markets with their rates, or which tokens ``lending_rates`` are of: symbols or (chain,
            protocol, symbol). None takes all tokens of the pairs that have rates.
        lending_rates: A frame or file of rates; see read_lending_rates.
        lending_names: What ``lending_rates`` calls a token, by symbol, where it is not the symbol.
        lending_candle_types: Accepted for ported strategies, not used: all rates are loaded.
        name: For messages and charts.
        progress: Show a progress bar.

    Raises:
        UnknownPair: The source does not have a pair; the message names the closest.
        MarketDataMissing: No candles in the span.
        BadInput: A bucket cannot be made, or arguments contradict each other.
        CandleContractBroken: The candles cannot be trusted.
    """
    del execution_context, lending_candle_types
    source = client if client is not None else EmbeddedSample()
    options = universe_options or UniverseOptions()
    bucket, stop_loss_bucket = _buckets(time_bucket, stop_loss_time_bucket, options)
    request = Request(
        start_at=options.start_at or start_at,
        end_at=options.end_at or end_at,
        history_period=options.history_period or required_history_period,
    )
    available = source.list_markets()
    terms = find_vaults(available, vaults, source.name)
    if pairs is not None:
        pairs = [*pairs, *terms]
    chosen = _choose(available, pairs, bucket, request, source.name)
    identifiers, exchanges = _identify(chosen, pairs, trading_fee)
    identifiers = mark_vaults(identifiers, chosen, terms)
    loading = _Loading(source, request, chosen, identifiers, progress)
    candles = loading.load_candles(bucket, chosen)
    feed: CandlePanel | None = None
    if stop_loss_bucket is not None:
        finer = loading.choose_again(available, stop_loss_bucket)
        feed = candles if stop_loss_bucket is bucket else loading.load_candles(stop_loss_bucket, finer)
    tvl = loading.load_liquidity(liquidity_time_bucket or bucket) if liquidity else None
    return Dataset(
        time_bucket=bucket,
        exchanges=exchanges,
        pairs=identifiers,
        candles=candles,
        liquidity=tvl,
        liquidity_time_bucket=None if tvl is None else tvl.bucket,
        backtest_stop_loss_candles=feed,
        backtest_stop_loss_time_bucket=stop_loss_bucket,
        start_at=request.start_at,
        end_at=request.end_at,
        history_period=request.history_period,
        lending_candles=lend_tokens_of(identifiers, lending_reserves, lending_rates, bucket, lending_names),
        name=name,
    )


@dataclass(frozen=True, slots=True)
class Request:
    """What part of the data is asked for, naive UTC; None is open-ended."""

    start_at: datetime | None
    end_at: datetime | None
    history_period: timedelta | None

    def __post_init__(self) -> None:
        """Check the order."""
        for moment in (self.start_at, self.end_at):
            if moment is not None:
                require_naive_utc(moment)
        if self.start_at is not None and self.end_at is not None and self.start_at >= self.end_at:
            raise BadInput(f"start_at {self.start_at} is not before end_at {self.end_at}")

    def span(self, bucket: TimeBucket, first_at: datetime, last_end: datetime) -> tuple[datetime, datetime]:
        """Return the opens [first, end) to load of data that has [first_at, last_end)."""
        width = bucket.to_timedelta()
        end = last_end if self.end_at is None else min(last_end, bucket.floor(self.end_at) + width)
        history = self.history_period or timedelta(0)
        if self.start_at is not None:
            start = self.start_at - history
        elif self.history_period is not None:
            start = (self.end_at or last_end) - history
        else:
            start = first_at
        return max(bucket.floor(start), bucket.floor(first_at)), bucket.ceil(end)


@dataclass(frozen=True, slots=True)
class _Loading:
    """Loads what is asked for of the pairs that were chosen."""

    source: CandleSource
    request: Request
    chosen: Sequence[Market]
    identifiers: Sequence[TradingPairIdentifier]
    progress: bool

    def choose_again(self, available: Sequence[Market], bucket: TimeBucket) -> list[Market]:
        """Return the markets of the same pairs from which another width can be made."""
        return _choose_each(available, [market.exact_description for market in self.chosen], bucket, self.source.name)

    def load_candles(self, bucket: TimeBucket, markets: Sequence[Market]) -> CandlePanel:
        source = self.source
        read = source.load_unordered if isinstance(source, UnorderedSource) else source.load_candles
        return self._load(bucket, markets, read, OHLCV)

    def load_liquidity(self, bucket: TimeBucket) -> CandlePanel:
        source = self.source
        if not isinstance(source, LiquiditySource):
            raise BadInput(f"liquidity: {source.name} has no TVL; load without, or use a source that has it")
        samples = self.choose_again(source.list_liquidity(), bucket)
        return self._load(bucket, samples, source.load_liquidity, PRICE_COLUMNS)

    def _load(
        self, bucket: TimeBucket, markets: Sequence[Market], read: ReadMarkets, columns: Sequence[str]
    ) -> CandlePanel:
        first, last = min(market.first_at for market in markets), max(market.end_at for market in markets)
        return _load_panel(
            zip(markets, self.identifiers, strict=True),
            bucket=bucket,
            span=self.request.span(bucket, first, last),
            read=read,
            columns=columns,
            source_name=self.source.name,
            progress=self.progress,
        )


def _buckets(
    time_bucket: TimeBucket | None, stop_loss_time_bucket: TimeBucket | None, options: UniverseOptions
) -> tuple[TimeBucket, TimeBucket | None]:
    """Return the widths of candles and of those for triggers; raises BadInput when they do not fit."""
    bucket = options.candle_time_bucket_override or time_bucket
    if bucket is None:
        raise BadInput("time_bucket is missing: give the candle width, such as TimeBucket.h1")
    finer = options.stop_loss_time_bucket_override or stop_loss_time_bucket
    if finer is not None and finer.to_timedelta() > bucket.to_timedelta():
        raise BadInput(
            f"stop_loss_time_bucket {finer.name} is coarser than time_bucket {bucket.name}: "
            "choose the same bucket or a finer one"
        )
    return bucket, finer


def _choose(
    available: Sequence[Market],
    pairs: Sequence[HumanReadableTradingPairDescription] | None,
    bucket: TimeBucket,
    request: Request,
    source_name: str,
) -> list[Market]:
    if pairs is None:
        chosen = usable_markets(available, bucket)
        if not chosen:
            widths = ", ".join(sorted({market.bucket.name for market in available})) or "no"
            raise BadInput(
                f"{source_name}: time_bucket {bucket.name} cannot be made from {widths} candles: "
                "choose that bucket or a whole multiple of it, or import finer candles"
            )
    else:
        chosen = _choose_each(available, pairs, bucket, source_name)
        if not chosen:
            raise BadInput("pairs is empty: name at least one pair, or give None for all")
        twice = next((market for market, count in Counter(chosen).items() if count > 1), None)
        if twice is not None:
            raise BadInput(f"pairs: {format_description(twice.description)} is named twice")
    first, last = min(market.first_at for market in chosen), max(market.end_at for market in chosen)
    _check_span(request, first, last, default_delay_tolerance(bucket), source_name)
    start, end = request.span(bucket, first, last)
    inside = [market for market in chosen if market.first_at < end and market.end_at > start]
    if not inside or (pairs is not None and len(inside) < len(chosen)):
        market = next(market for market in chosen if market.first_at >= end or market.end_at <= start)
        raise MarketDataMissing(
            f"{source_name}: {format_description(market.description)} has candles from {market.first_at} to "
            f"{market.last_at}, none in {start} to {end}: change start_at and end_at, or leave the pair out"
        )
    return inside


def _choose_each(
    available: Sequence[Market],
    pairs: Sequence[HumanReadableTradingPairDescription],
    bucket: TimeBucket,
    source_name: str,
) -> list[Market]:
    by_pair: dict[str, list[Market]] = {}
    for market in available:
        by_pair.setdefault(market.pair, []).append(market)
    chosen = []
    for description in pairs:
        pair = "/".join(map(str, description[2:4])) if isinstance(description, tuple | list) else ""
        chosen.append(choose_market(by_pair.get(pair, available), description, bucket, source_name))
    return chosen


def _check_span(request: Request, first: datetime, last: datetime, tolerance: timedelta, source_name: str) -> None:
    for field, moment in (("start_at", request.start_at), ("end_at", request.end_at)):
        if moment is not None and not first - tolerance <= moment <= last + tolerance:
            raise MarketDataMissing(
                f"{source_name}: {field} {moment} is outside the candles of these pairs, which reach from {first} to "
                f"{last}: choose one in between, or load more data"
            )


def _identify(
    chosen: Sequence[Market], pairs: Sequence[HumanReadableTradingPairDescription] | None, trading_fee: float | None
) -> tuple[tuple[TradingPairIdentifier, ...], tuple[Exchange, ...]]:
    exchanges: dict[tuple[int, str], Exchange] = {}
    identifiers = []
    for place, market in enumerate(chosen):
        description = pairs[place] if pairs is not None else market.description
        pair = market.to_pair(place + 1, description[4] if len(description) == 5 else trading_fee)
        key = (int(market.chain_id), market.exchange_slug)
        venue = Exchange(len(exchanges) + 1, market.chain_id, pair.exchange_address, market.exchange_slug)
        venue = exchanges.setdefault(key, venue)
        identifiers.append(replace(pair, internal_exchange_id=venue.exchange_id))
    return tuple(identifiers), tuple(exchanges.values())


def _load_panel(
    parts: Iterable[tuple[Market, TradingPairIdentifier]],
    *,
    bucket: TimeBucket,
    span: tuple[datetime, datetime],
    read: ReadMarkets,
    columns: Sequence[str],
    source_name: str,
    progress: bool,
) -> CandlePanel:
    start, end = span
    by_bucket: dict[TimeBucket, list[tuple[Market, int]]] = {}
    order = []
    for market, pair in parts:
        assert pair.internal_id is not None
        by_bucket.setdefault(market.bucket, []).append((market, pair.internal_id))
        order.append(pair.internal_id)
    panels = []
    with tqdm(total=len(order), desc=f"Loading {bucket.value} candles", unit="pair", disable=not progress) as bar:
        for native, members in by_bucket.items():
            per_pair = max(1, (end - start) // native.to_timedelta())
            size = len(members) if native is bucket else max(1, CHUNK_CELLS // per_pair)
            for first in range(0, len(members), size):
                chunk = members[first : first + size]
                panel = _read_panel(
                    chunk, bucket=native, span=span, read=read, columns=columns, source_name=source_name
                )
                panels.append(open_on_time(resample_panel(panel, bucket), panel))
                bar.update(len(chunk))
    return merge_panels(panels, order)


def _read_panel(
    members: Sequence[tuple[Market, int]],
    *,
    bucket: TimeBucket,
    span: tuple[datetime, datetime],
    read: ReadMarkets,
    columns: Sequence[str],
    source_name: str,
) -> CandlePanel:
    start, end = span
    is_tvl = "volume" not in columns
    builder = PanelBuilder(
        bucket=bucket,
        pair_ids=[pair_id for _, pair_id in members],
        start=start,
        end=end,
        columns=columns,
        source_name=source_name,
        zero_allowed=is_tvl,
    )
    ids_of = dict(members)
    for group in group_markets(ids_of):
        ids = {market.pair: ids_of[market] for market in group}

        def add(frame: Candles, ids: Mapping[str, int] = ids) -> None:
            if not is_tvl:
                check_candles(frame, bucket, source_name, any_order=True)
            codes, names = pair_codes(frame[["pair"]])
            pair_ids = np.asarray([ids.get(name, -1) for name in names], dtype=np.int64)[codes]
            times = timestamps_us(frame, source_name)
            values = {name: frame[name].to_numpy(dtype=np.float64) for name in columns}
            builder.add(pair_ids, times, values, is_checked=not is_tvl)

        deque(map_in_order(add, read(group, start, end), choose_workers(None, MOST_WORKERS)), maxlen=0)
    refuse_sparse(len(members), builder.bar_count, builder.rows_added, source_name)
    return builder.build()
