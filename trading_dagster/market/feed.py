"""A feed: a source whose candles are kept in the lake and brought up to date, described by a small YAML file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import yaml
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange_api import CcxtApi
from trading_dagster.market.exchange_source import ExchangeSource
from trading_dagster.market.file_source import SAMPLE_NAME, EmbeddedSample, FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.mapping_file import read_mapping
from trading_dagster.market.market_key import market_key
from trading_dagster.market.month_file import hash_rows
from trading_dagster.market.repair import RepairRule
from trading_dagster.market.source import CandleSource, group_markets
from trading_dagster.market.trading_strategy_api import DEFAULT_KEY_VARIABLE
from trading_dagster.market.trading_strategy_source import open_trading_strategy

FEEDS_VARIABLE = "TRADING_DAGSTER_FEEDS"
DEFAULT_FOLDER = Path("feeds")
EXAMPLE_PREFIX = "example"
STRICT = ConfigDict(extra="forbid")
FIRST_YEAR = 2010


@checked_dataclass(frozen=True, config=STRICT)
class Feed:
    """Where candles come from, which, and how often they are brought up to date.

    Attributes:
        name: Names the source in the lake and its assets.
        source: exchange, file, chain (swaps of pools, or share prices of vaults), trading_strategy (the data service),
            or sample: the candles that come with the package, which are read where they are.
        buckets: Widths of the candles, each an asset.
        start: First day.
        end: Day after the last one; None goes on for ever.
        exchange: Id of the exchange in ccxt, or the venue of files that name none.
        pairs: BASE/QUOTE; none named takes all. Of trading_strategy BASE/QUOTE@exchange or a pool's address too.
        path: File or folder of candles; relative paths begin at the YAML file.
        mapping: Mapping file of the candles.
        api_url: Base of the exchange's public interface, or of the data service, for a mirror.
        chain: Slug of the chain of pools or vaults.
        key_env: Variable that holds the key of trading_strategy.
        pair_file: Table of its pairs; one that is not there is downloaded. None takes one beside the lake.
        rpc_envs: Variables that hold the URLs of its nodes, the best first.
        pools: Addresses of the pools.
        vaults: Addresses of ERC-4626 vaults, in place of pools.
        quote: Symbol or address of the token that prices are in; None finds out.
        usd: Addresses of tokens worth one USD that are not among the chain's known stablecoins.
        repair: Repair rules, see docs/data.md.
        refresh: When the newest month is brought up to date, a cron schedule in UTC; "" never.
        stale_after_hours: After how long without it the asset counts as stale.
        autostart: Whether the schedule begins turned on.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
    source: Literal["exchange", "file", "chain", "trading_strategy", "sample"]
    buckets: tuple[str, ...]
    start: date
    end: date | None = None
    exchange: str | None = None
    pairs: tuple[str, ...] = ()
    path: Path | None = None
    mapping: Path | None = None
    api_url: str | None = None
    chain: str = ""
    key_env: str = DEFAULT_KEY_VARIABLE
    pair_file: Path | None = None
    rpc_envs: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    vaults: tuple[str, ...] = ()
    quote: str | None = None
    usd: tuple[str, ...] = ()
    repair: tuple[RepairRule, ...] = ()
    refresh: str = "5 * * * *"
    stale_after_hours: Annotated[float, Field(gt=0)] = 26.0
    autostart: bool = False

    def __post_init__(self) -> None:
        """Check."""
        known = {bucket.value for bucket in TimeBucket}
        wrong = [bucket for bucket in self.buckets if bucket not in known]
        if wrong or not self.buckets:
            raise ValueError(f"buckets is {self.buckets}: use some of {', '.join(sorted(known))}")
        if self.source == "file" and self.path is None:
            raise ValueError("source is file, so path must say where: add it")
        if self.source == "chain" and not (self.chain and self.rpc_envs and bool(self.pools) != bool(self.vaults)):
            raise ValueError(
                "source is chain, so chain, rpc_envs and pools must say which: add them (or vaults, not both)"
            )
        if self.source == "trading_strategy" and not self.pairs:
            raise ValueError("source is trading_strategy, so pairs must say which: add them")
        if self.start.year < FIRST_YEAR or (self.end is not None and self.end <= self.start):
            raise ValueError(f"start {self.start} and end {self.end}: give days from {FIRST_YEAR} on, in order")

    @property
    def time_buckets(self) -> tuple[TimeBucket, ...]:
        """Return the widths of the candles."""
        return tuple(bucket for bucket in TimeBucket if bucket.value in self.buckets)

    def open_source(self) -> CandleSource:
        """Return where the candles come from; raises MarketDataMissing, BadConfiguration, also for a chain."""
        if self.source == "chain":
            raise BadConfiguration(f"feed {self.name}: a chain is opened by `open_feed` of the orchestration layer")
        if self.source == "sample":
            return EmbeddedSample()
        if self.source == "exchange":
            api = CcxtApi(self.exchange or self.name, api_url=self.api_url)
            return ExchangeSource(api, pairs=self.pairs or None, name=self.name)
        if self.source == "trading_strategy":
            return open_trading_strategy(
                self.pairs,
                chain=self.chain,
                pair_file=self.pair_file,
                api_url=self.api_url,
                key_variable=self.key_env,
                name=self.name,
            )
        assert self.path is not None
        layout = None if self.mapping is None else read_mapping(self.mapping)
        return FileSource(self.path, exchange=self.exchange, name=self.name, layout=layout)


SAMPLE_FEED = Feed(
    name=SAMPLE_NAME, source="sample", buckets=("1h", "1d"), start=date(2014, 11, 1), end=date(2020, 2, 1), refresh=""
)


@dataclass(frozen=True, slots=True)
class FeedMonth:
    """The candles of a feed in one bucket and month.

    Args:
        candles: With pair names as BASE/QUOTE@venue; empty when there are none.
        content_hash: Of the candles.
        rows_added: How many of them are new.
        rows_repaired: How many rows repairs touched.
    """

    candles: Candles
    content_hash: str
    rows_added: int = 0
    rows_repaired: int = 0


def find_feeds(environ: Mapping[str, str] = os.environ) -> Iterator[Feed | BadConfiguration]:
    """Yield the feeds of TRADING_DAGSTER_FEEDS (files or folders), else of ./feeds, after that of the sample.

    Files whose name begins with ``example``, ``_`` or ``.`` are left out of folders. A file that cannot be used comes
    as the error that says why.
    """
    yield SAMPLE_FEED
    named = [Path(part) for part in environ.get(FEEDS_VARIABLE, "").split(os.pathsep) if part]
    seen = {SAMPLE_NAME}
    for file in _find_files(named or [DEFAULT_FOLDER]):
        try:
            feed = read_feed(file)
        except BadConfiguration as error:
            yield error
            continue
        if feed.name in seen:
            yield BadConfiguration(f"{file}: name: {feed.name} is another feed's: give it another one")
            continue
        seen.add(feed.name)
        yield feed


def read_feed(file: Path) -> Feed:
    """Read a feed's file; raises BadConfiguration with every mistake in it."""
    try:
        loaded: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        fields = {"name": file.stem.replace("-", "_").lower(), **(loaded or {})}
        for place in ("path", "mapping", "pair_file"):
            if isinstance(fields.get(place), str):
                fields[place] = (file.absolute().parent / fields[place]).resolve()
        return TypeAdapter(Feed).validate_python(fields)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise BadConfiguration(f"feed {file}: {error}") from error
    except ValidationError as error:
        wrong = "\n".join(f"{file}: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise BadConfiguration(wrong) from None


def bring_month(
    feed: Feed,
    lake: Lake,
    bucket: TimeBucket,
    start: datetime,
    end: datetime,
    *,
    source: CandleSource | None = None,
) -> FeedMonth:
    """Bring one month of a feed up to date in the lake and return it; the sample is only read.

    Args:
        feed: The feed.
        lake: Where candles are kept.
        bucket: One of its buckets.
        start: Begin of the month, naive UTC.
        end: Its end.
        source: Where the candles are; None opens the feed's own.

    Raises:
        CandleContractBroken: The candles cannot be trusted; nothing was written.
        SourceUnavailable: The source does not answer; what was read before is kept.
    """
    source = source or feed.open_source()
    if feed.source == "sample":
        return _describe(source, bucket, start, end)
    report = import_candles(
        lake,
        source,
        name=feed.name,
        bucket=bucket,
        pairs=None if feed.source == "trading_strategy" else _descriptions(feed.pairs),
        start_at=max(start, datetime.combine(feed.start, datetime.min.time())),
        end_at=end if feed.end is None else min(end, datetime.combine(feed.end, datetime.min.time())),
        rules=feed.repair,
    )
    if not lake.month_path(feed.name, bucket, f"{start:%Y-%m}").is_file():
        return FeedMonth(pd.DataFrame(), "", report.rows_added)
    found = _describe(lake.source(feed.name), bucket, start, end)
    repaired = report.rows_dropped + report.rows_changed
    return FeedMonth(found.candles, found.content_hash, report.rows_added, repaired)


def choose_buckets(feed: Feed, wanted: Sequence[TimeBucket | None]) -> list[TimeBucket]:
    """Return the buckets of a feed that are read for the ones wanted: the coarsest of which each can be made."""
    chosen: list[TimeBucket] = []
    for bucket in wanted:
        if bucket is None:
            continue
        usable = [each for each in feed.time_buckets if not bucket.to_timedelta() % each.to_timedelta()]
        chosen += [max(usable, key=lambda each: each.to_timedelta())] if usable else []
    return list(dict.fromkeys(chosen))


def _describe(source: CandleSource, bucket: TimeBucket, start: datetime, end: datetime) -> FeedMonth:
    own = [market for market in source.list_markets() if market.bucket is bucket]
    frames = []
    for group in group_markets(own):
        keys = {market.pair: market_key(market) for market in group}
        loaded = source.load_candles(group, start, end)
        frames += [frame.assign(market=frame["pair"].astype("str").map(keys)) for frame in loaded]
    if not frames:
        return FeedMonth(pd.DataFrame(), "")
    candles = pd.concat(frames, ignore_index=True).sort_values(["market", "timestamp"], ignore_index=True)
    short = {key: key.split(" ")[0] for key in candles["market"].unique()}
    uses = Counter(short.values())
    names = candles["market"].map({key: name if uses[name] == 1 else key for key, name in short.items()})
    return FeedMonth(candles.assign(pair=names).drop(columns="market"), hash_rows(candles))


def _descriptions(pairs: Iterable[str]) -> list[HumanReadableTradingPairDescription] | None:
    named: list[HumanReadableTradingPairDescription] = []
    for pair in pairs:
        base, _, quote = pair.partition("/")
        named.append((ChainId.centralised_exchange, None, base, quote))
    return named or None


def _find_files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            own = (path for path in place.iterdir() if path.suffix in (".yaml", ".yml"))
            yield from sorted(path for path in own if not path.name.startswith((EXAMPLE_PREFIX, "_", ".")))
        elif place.is_file():
            yield place


def month_span(key: str) -> tuple[datetime, datetime]:
    """Return begin and end of a month such as "2024-01", naive UTC."""
    start = datetime.strptime(key, "%Y-%m")  # noqa: DTZ007 - naive means UTC here
    return start, (start + timedelta(days=32)).replace(day=1)
