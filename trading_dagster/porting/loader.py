"""Loaders that ported strategies call, on the market data there is here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from trading_dagster.domain.error import BadInput, MarketDataMissing, UnknownPair
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.dataset import Dataset, UniverseOptions
from trading_dagster.market.exchange import format_description
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.lake import Lake
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.source import CandleSource, Market, usable_markets
from trading_dagster.market.universe import TradingStrategyUniverse

BINANCE = "binance"


def create_binance_universe(
    symbols: Iterable[str],
    candle_time_bucket: TimeBucket,
    stop_loss_time_bucket: TimeBucket | None = None,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    reserve_pair_ticker: str | None = None,
    include_lending: bool = False,
    trading_fee_override: float | None = None,
    force_download: bool = False,
    forward_fill: bool = False,
    *,
    client: CandleSource | None = None,
) -> TradingStrategyUniverse:
    """Return the universe of symbols such as "BTCUSDT", from the source given or the lake's source "binance".

    Nothing is downloaded: candles come from what was imported. Where the source has a pair at several venues, that of
    Binance is taken.

    Args:
        symbols: Base and quote in one word.
        candle_time_bucket: Width of the candles.
        stop_loss_time_bucket: Width of the candles for triggers.
        start_at: First instant, naive UTC.
        end_at: Last instant, naive UTC.
        reserve_pair_ticker: The symbol whose quote is the reserve; None takes the quote all pairs share.
        include_lending: Refused: there are no lending rates of Binance here.
        trading_fee_override: Fee of every pair as a fraction, whatever the source says.
        force_download: Of no effect, as nothing is downloaded.
        forward_fill: Fill gaps.
        client: Where candles come from; `trading-dagster port` puts create_trading_universe's client here.

    Raises:
        MarketDataMissing: There is no source to read from.
        UnknownPair: The source lacks a symbol; the message names it.
        BadInput: include_lending, or a bucket that cannot be made.
    """
    del force_download
    if include_lending:
        raise BadInput(
            "create_binance_universe(include_lending=True): there are no lending rates of Binance here; "
            "load without, and leave out shorts and credit"
        )
    source = client if client is not None else _binance_of_lake()
    markets = usable_markets(source.list_markets(), candle_time_bucket) or source.list_markets()
    by_symbol = {symbol: _find_symbol(markets, symbol, source.name) for symbol in symbols}
    dataset = load_partial_data(
        client=source,
        time_bucket=candle_time_bucket,
        pairs=[market.exact_description for market in by_symbol.values()],
        stop_loss_time_bucket=stop_loss_time_bucket,
        start_at=start_at,
        end_at=end_at,
        name=BINANCE,
    )
    if trading_fee_override is not None:
        dataset = replace(dataset, pairs=[replace(pair, fee=trading_fee_override) for pair in dataset.pairs])
    reserve = None
    if reserve_pair_ticker is not None:
        reserve = _find_symbol(markets, reserve_pair_ticker, source.name).description[3]
    return TradingStrategyUniverse.create_from_dataset(dataset, reserve, forward_fill=forward_fill)


def load_pair_data_for_single_exchange(
    client: CandleSource | None = None,
    execution_context: object = None,
    time_bucket: TimeBucket | None = None,
    chain_id: ChainId | None = None,
    exchange_slug: str | None = None,
    pair_tickers: Iterable[Sequence[str]] | None = None,
    universe_options: UniverseOptions | None = None,
    *,
    liquidity: bool = False,
    liquidity_time_bucket: TimeBucket | None = None,
    stop_loss_time_bucket: TimeBucket | None = None,
    required_history_period: timedelta | None = None,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    name: str | None = None,
) -> Dataset:
    """Load pairs of one venue; see `load_partial_data` for what arguments mean and what is raised.

    Args:
        client: Where candles come from; None is the embedded sample.
        execution_context: Of no effect.
        time_bucket: Width of the candles.
        chain_id: Chain of the venue; None takes any.
        exchange_slug: The venue; None takes any.
        pair_tickers: (base, quote) of each pair; None takes all the venue has.
        universe_options: What the run changes; values set there win.
        liquidity: Load TVL too.
        liquidity_time_bucket: Width of the TVL candles.
        stop_loss_time_bucket: Width of the candles for triggers.
        required_history_period: Warm-up before ``start_at``.
        start_at: First decision, naive UTC.
        end_at: Last instant, naive UTC.
        name: For messages and charts.
    """
    return load_partial_data(
        client,
        execution_context,
        time_bucket,
        _pairs_of_venue(client, chain_id, exchange_slug, pair_tickers, universe_options, time_bucket),
        universe_options,
        stop_loss_time_bucket=stop_loss_time_bucket,
        liquidity=liquidity,
        liquidity_time_bucket=liquidity_time_bucket,
        required_history_period=required_history_period,
        start_at=start_at,
        end_at=end_at,
        name=name,
    )


def load_all_data(
    client: CandleSource | None = None,
    time_bucket: TimeBucket | object = None,
    execution_context: object = None,
    universe_options: UniverseOptions | None = None,
    with_liquidity: bool = True,
    stop_loss_time_bucket: TimeBucket | None = None,
) -> Dataset:
    """Load all pairs of a source; TVL where ``with_liquidity`` and the source has it for every pair.

    Older files give ``time_bucket`` before ``execution_context``, newer ones after it; both orders are taken. See
    `load_partial_data` for what is raised.
    """
    if isinstance(execution_context, TimeBucket):
        time_bucket, execution_context = execution_context, time_bucket
    if not isinstance(time_bucket, TimeBucket):
        raise BadInput(f"load_all_data: time_bucket is {time_bucket!r}: give the candle width, such as TimeBucket.d1")
    pairs = None
    liquidity = False
    if with_liquidity and client is not None:
        known = {market.exact_description for market in getattr(client, "list_liquidity", tuple)()}
        wanted = {market.exact_description for market in usable_markets(client.list_markets(), time_bucket)}
        liquidity = bool(wanted) and wanted <= known
    return load_partial_data(
        client,
        execution_context,
        time_bucket,
        pairs,
        universe_options,
        liquidity=liquidity,
        stop_loss_time_bucket=stop_loss_time_bucket,
    )


def _binance_of_lake() -> CandleSource:
    lake = Lake()
    known = lake.list_sources()
    if BINANCE not in known:
        raise MarketDataMissing(
            f"create_binance_universe: no client was given and the lake {lake.folder} has no source {BINANCE!r} "
            f"(it has {', '.join(known) or 'none'}): pass client=, or import candles with "
            f"`trading-dagster data import FILE --name {BINANCE}`"
        )
    return lake.source(BINANCE)


def _find_symbol(markets: Sequence[Market], symbol: str, source_name: str) -> Market:
    found = [market for market in markets if market.pair.replace("/", "") == symbol]
    at_binance = [market for market in found if market.exchange_slug == BINANCE]
    chosen = at_binance or found
    if len({market.exact_description for market in chosen}) > 1:
        venues = " or ".join(format_description(market.exact_description) for market in chosen)
        raise BadInput(f"{source_name}: {symbol} fits {venues}: use load_partial_data and name one")
    if not chosen:
        known = sorted({market.pair.replace("/", "") for market in markets})
        raise UnknownPair(
            f"{source_name}: no symbol {symbol}; it has {', '.join(known[:20]) or 'none'}: import candles of it, or "
            "leave it out"
        )
    return chosen[0]


def _pairs_of_venue(
    client: CandleSource | None,
    chain_id: ChainId | None,
    exchange_slug: str | None,
    pair_tickers: Iterable[Sequence[str]] | None,
    options: UniverseOptions | None,
    time_bucket: TimeBucket | None,
) -> list[HumanReadableTradingPairDescription] | None:
    if pair_tickers is not None:
        chain = ChainId.centralised_exchange if chain_id is None else chain_id
        named: list[HumanReadableTradingPairDescription] = []
        for base, quote, *_ in pair_tickers:
            named.append((chain, exchange_slug, base, quote))
        return named
    bucket = (options.candle_time_bucket_override if options else None) or time_bucket
    if bucket is None:
        return None
    source = client if client is not None else EmbeddedSample()
    markets = usable_markets(source.list_markets(), bucket)
    of_chain = [market for market in markets if chain_id in (None, market.chain_id)]
    own = [market.exact_description for market in of_chain if exchange_slug in (None, market.exchange_slug)]
    if not own:
        venues = sorted({f"{m.chain_id.name}/{m.exchange_slug}" for m in markets})
        raise MarketDataMissing(
            f"{source.name}: no {bucket.name} candles of {exchange_slug} on {chain_id}; it has {', '.join(venues)}: "
            "import candles of that venue, or name another one"
        )
    return own
