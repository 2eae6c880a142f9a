"""Which pairs belong to a universe from when to when, decided with what was known at each time: no survivorship.

A universe for a backtest of 2021 loads every pair that was a member at any time of it, those that died since too, and
the strategy trades at each time the members of that time only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput, MarketDataMissing
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, require_naive_utc, to_unix_us
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.exchange import format_description
from trading_dagster.market.lake import LakeSource, months_sql
from trading_dagster.market.market_key import parse_market_key
from trading_dagster.market.pair_alias import is_venue
from trading_dagster.market.pair_table import PairTable
from trading_dagster.market.source import CandleSource, Market, group_markets

MEMBER = "member"
"""Key of a pair's ``other_data``: a list of [from, to) in microseconds since 1970, to None for ever."""

Rule = Callable[[PairTable, datetime], PairTable]
"""Chooses of the pairs that were listed at a time."""


@dataclass(frozen=True, slots=True)
class MembershipPeriod:
    """The members from ``since`` until the next period, best first; ``since`` naive UTC."""

    since: datetime
    members: tuple[HumanReadableTradingPairDescription, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """Members over time.

    Args:
        periods: Ascending.
        until: When the last period ends, naive UTC; None for never.
    """

    periods: tuple[MembershipPeriod, ...]
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Check the order."""
        times = [period.since for period in self.periods]
        if not times or times != sorted(set(times)):
            raise BadInput(f"The periods of a membership begin at {times[:5]}: give at least one, each later")

    def at(self, timestamp: datetime) -> tuple[HumanReadableTradingPairDescription, ...]:
        """Return the members at a time, naive UTC, best first; none before the first period and after the last."""
        place = bisect_right([period.since for period in self.periods], require_naive_utc(timestamp)) - 1
        if place < 0 or (self.until is not None and timestamp >= self.until):
            return ()
        return self.periods[place].members

    def to_descriptions(self) -> list[HumanReadableTradingPairDescription]:
        """Return all that were members at any time, in the order in which they became it, for `load_partial_data`."""
        return list(dict.fromkeys(member for period in self.periods for member in period.members))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a member and period: since, rank (from 1), chain, exchange, base, quote, fee."""
        rows = [
            [period.since, rank, *member, *[None] * (5 - len(member))]
            for period in self.periods
            for rank, member in enumerate(period.members, 1)
        ]
        return pd.DataFrame(rows, columns=["since", "rank", "chain", "exchange", "base", "quote", "fee"])

    def mark(self, dataset: Dataset) -> Dataset:
        """Return a dataset whose pairs know when they are members; `inclusion.membership_criteria` reads it.

        Raises:
            BadInput: A pair was never a member: load those of ``to_descriptions``.
        """
        spans = self._spans()
        slugs = {(int(venue.chain_id), venue.address): venue.exchange_slug for venue in dataset.exchanges}
        marked = []
        for pair in dataset.pairs:
            own = [span for member, found in spans.items() if _fits(pair, member, slugs) for span in found]
            if not own:
                raise BadInput(f"{pair} was never a member: load the pairs of membership.to_descriptions()")
            marked.append(replace(pair, other_data={**pair.other_data, MEMBER: own}))
        return replace(dataset, pairs=tuple(marked))

    def _spans(self) -> dict[HumanReadableTradingPairDescription, list[list[int | None]]]:
        ends = [*(period.since for period in self.periods[1:]), self.until]
        spans: dict[HumanReadableTradingPairDescription, list[list[int | None]]] = {}
        for period, end in zip(self.periods, ends, strict=True):
            start_us, end_us = to_unix_us(period.since), None if end is None else to_unix_us(end)
            for member in period.members:
                own = spans.setdefault(member, [])
                if own and own[-1][1] == start_us:
                    own[-1][1] = end_us
                else:
                    own.append([start_us, end_us])
        return spans


def select_members(
    table: PairTable, rule: Rule, *, start: datetime, end: datetime, every: timedelta | None = None
) -> Membership:
    """Choose again and again among the pairs that were listed.

    Args:
        table: Pairs with their ``created_at`` and ``ended_at``.
        rule: Is called with the pairs listed at a time, and the time; a rule on ``tvl`` or ``volume`` must bring what
            was known then (`PairTable.with_spans`), for those of a table are of the day it was made.
        start: First choice, naive UTC.
        end: Exclusive end.
        every: Time between choices; None is the first of each month.
    """
    periods = []
    for moment in choice_times(start, end, every):
        chosen = rule(table.listed_at(moment), moment)
        periods.append(MembershipPeriod(moment, tuple(chosen.to_descriptions())))
    return Membership(tuple(periods), end)


def select_by_volume(
    source: CandleSource,
    bucket: TimeBucket,
    *,
    top: int,
    start: datetime,
    end: datetime,
    every: timedelta | None = None,
    window: timedelta = timedelta(days=30),
    min_volume: float = 0.0,
    is_volume_in_usd: bool = False,
    pairs: Sequence[HumanReadableTradingPairDescription] | None = None,
) -> Membership:
    """Choose the pairs with most volume of the days before, again and again.

    A choice at a time counts the candles that opened in [time - window, time), so all of them have closed. Of the lake
    only these months are read, and only three columns of them: it takes any number of pairs.

    Args:
        source: The candles.
        bucket: Width of the candles; the source must have it.
        top: How many are chosen.
        start: First choice, naive UTC.
        end: Exclusive end.
        every: Time between choices; None is the first of each month.
        window: How far back volume counts.
        min_volume: Least volume of a member, quote tokens.
        is_volume_in_usd: Whether volume is in quote tokens already; otherwise it is in base tokens, and is valued at
            the close of its candle.
        pairs: Choose among these only, as a table of pairs gives them; those that the source has not are left out.
            None is all.

    Raises:
        BadInput: ``top`` is below 1, the source has no such candles, or several pools by the name of a pair.
    """
    if top < 1:
        raise BadInput(f"top is {top}: choose at least 1 pair")
    among = None if pairs is None else _find_members(source, bucket, pairs)
    total = _sum_lake if isinstance(source, LakeSource) else _sum_source
    most = top if among is None else None
    periods = []
    for moment in choice_times(start, end, every):
        ranked = total(source, bucket, moment - window, moment, is_volume_in_usd, most)  # type: ignore[arg-type]
        chosen = [
            member
            for member, volume in ranked
            if volume > 0 and volume >= min_volume and (among is None or member in among)
        ]
        periods.append(MembershipPeriod(moment, tuple(chosen[:top])))
    if not any(period.members for period in periods):
        raise MarketDataMissing(
            f"{source.name}: no {bucket.name} candles with volume from {start - window} to {end}: choose another span"
        )
    return Membership(tuple(periods), end)


def choice_times(start: datetime, end: datetime, every: timedelta | None) -> Iterator[datetime]:
    """Yield the times of choices in [start, end): ``start``, and then each first of a month, or each ``every``."""
    if require_naive_utc(start) >= require_naive_utc(end):
        raise BadInput(f"start {start} is not before end {end}")
    if every is not None and every <= timedelta(0):
        raise BadInput(f"every is {every}: give a time above 0, or None for the first of each month")
    moment = start
    while moment < end:
        yield moment
        if every is not None:
            moment += every
        else:
            first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            moment = (first + timedelta(days=32)).replace(day=1)


def member_mask(pair: TradingPairIdentifier, times_us: np.ndarray) -> np.ndarray:
    """Tell for each instant, microseconds since 1970, whether a marked pair is a member; a pair without mark always."""
    spans: list[list[Any]] | None = pair.other_data.get(MEMBER)
    if spans is None:
        return np.ones(len(times_us), np.bool_)
    mask = np.zeros(len(times_us), np.bool_)
    for since, until in spans:
        mask |= (times_us >= since) & (True if until is None else times_us < until)
    return mask


def _find_members(
    source: CandleSource, bucket: TimeBucket, pairs: Sequence[HumanReadableTradingPairDescription]
) -> set[HumanReadableTradingPairDescription]:
    """Return the pairs that a source has, in its words; raises BadInput where a name fits several pools."""
    by_name: dict[tuple[object, str], list[Market]] = {}
    for market in source.list_markets():
        if market.bucket is bucket:
            by_name.setdefault((market.chain_id, market.pair), []).append(market)
    found: set[HumanReadableTradingPairDescription] = set()
    for chain, venue, base, quote, *fee in pairs:
        own: dict[HumanReadableTradingPairDescription, HumanReadableTradingPairDescription] = {}
        for market in by_name.get((chain, f"{base}/{quote}"), ()):
            if is_venue(venue, market.exchange_slug, market.identifier) and (not fee or market.fee in (None, *fee)):
                other = own.setdefault(market.description, market.exact_description)
                if other != market.exact_description:
                    raise BadInput(
                        f"{source.name}: pairs: {format_description(market.description)} fits several pools: name "
                        f"{format_description(other)} or {format_description(market.exact_description)}"
                    )
        found.update(own.values())
    return found


def _sum_lake(
    source: LakeSource, bucket: TimeBucket, start: datetime, end: datetime, is_usd: bool, most: int | None
) -> list[tuple[HumanReadableTradingPairDescription, float]]:
    files = source.month_files(bucket, start, end)
    if not files:
        return []
    value = "volume" if is_usd else "volume * close"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")  # sums must not depend on what runs when
        rows = connection.execute(
            f"SELECT market, sum({value}) AS traded FROM {months_sql(files)} "  # noqa: S608 - bound
            "WHERE timestamp >= make_timestamptz($start) AND timestamp < make_timestamptz($end) "
            f"GROUP BY market HAVING traded > 0 ORDER BY traded DESC, market LIMIT {'ALL' if most is None else most}",
            {"start": to_unix_us(start), "end": to_unix_us(end)},
        ).fetchall()
    return [(parse_market_key(str(market)), float(traded)) for market, traded in rows]


def _sum_source(
    source: CandleSource, bucket: TimeBucket, start: datetime, end: datetime, is_usd: bool, most: int | None
) -> list[tuple[HumanReadableTradingPairDescription, float]]:
    markets = [market for market in source.list_markets() if market.bucket is bucket and market.first_at < end]
    sums: dict[HumanReadableTradingPairDescription, float] = {}
    for group in group_markets(markets):
        names = {market.pair: market.exact_description for market in group}
        for frame in source.load_candles(group, start, end):
            traded = frame["volume"] if is_usd else frame["volume"] * frame["close"]
            for pair, volume in traded.groupby(frame["pair"], observed=True).sum().items():
                member = names[str(pair)]
                sums[member] = sums.get(member, 0.0) + float(volume)
    return sorted(sums.items(), key=lambda item: (-item[1], format_description(item[0])))[:most]


def _fits(
    pair: TradingPairIdentifier, member: HumanReadableTradingPairDescription, slugs: dict[tuple[int, str], str]
) -> bool:
    slug = slugs.get((pair.chain_id, pair.exchange_address), pair.exchange_name)
    own = (pair.chain_id, pair.base.token_symbol, pair.quote.token_symbol)
    is_same = own == (int(member[0]), *member[2:4]) and is_venue(member[1], slug, pair)
    return is_same and (len(member) == 4 or pair.fee in (None, member[4]))
