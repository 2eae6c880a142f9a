"""Share prices of ERC-4626 vaults over time as a candle source: what a share was worth at the ends of bars.

A price is what the vault itself said in the last block before the end of a bar, so that a candle has the price at its
beginning and at its end, and nothing of what was between. Prices of the past need a node that keeps old states.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from trading_dagster.domain.error import (
    BadInput,
    BlockUnavailable,
    CallReverted,
    ContractMissing,
    MarketDataMissing,
    NodeRefused,
)
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.domain.transaction import require_address
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.evm import erc4626
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.block_time import US
from trading_dagster.evm.chain import Chain
from trading_dagster.evm.chain_source import SettledCandles
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc20 import read_asset
from trading_dagster.evm.vault_dex import CONVERT_TO_ASSETS, VAULT_EXCHANGE
from trading_dagster.market.availability import CandleAvailability
from trading_dagster.market.contract import Candles
from trading_dagster.market.event_file import read_columns, write_columns
from trading_dagster.market.exchange import format_description
from trading_dagster.market.source import Market, choose_market
from trading_dagster.market.vault import to_vault

logger = logging.getLogger(__name__)

BUCKETS = (TimeBucket.h1, TimeBucket.h4, TimeBucket.d1)
KEEP_EVERY = 100
"""After how many new prices those that are final are written."""


@dataclass(slots=True)
class _Prices:
    """Prices of one vault by the end of a bar, seconds since 1970: block and price, NaN where there was none."""

    path: Path
    known: dict[int, tuple[int, float]] = field(default_factory=dict)
    kept: int = 0

    def __post_init__(self) -> None:
        if self.path.is_file():
            columns = read_columns(self.path)
            rows = zip(*(columns[name].tolist() for name in ("moment", "block", "price")), strict=True)
            self.known = {moment: (block, price) for moment, block, price in rows}
            self.kept = len(self.known)

    def keep(self, final: int) -> None:
        """Write what no reorg is expected to change."""
        rows = [(m, b, p) for m, (b, p) in sorted(self.known.items()) if b <= final]
        if len(rows) != self.kept:
            moments, blocks, prices = (np.asarray([row[i] for row in rows]) for i in range(3))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_columns(self.path, {"moment": moments, "block": blocks, "price": prices}, {})
            self.kept = len(rows)

    def forget_after(self, final: int) -> None:
        """Forget what a reorg may have changed."""
        self.known = {m: (b, p) for m, (b, p) in self.known.items() if b <= final}


class VaultPriceSource:
    """Share prices of vaults of one chain; a `CandleSource` and an `AvailabilitySource`.

    A bar is closed once a block with the wanted confirmations is at or after its end. What is deeper than reorgs reach
    is kept in a folder and read once.

    Args:
        client: Reads the chain, at old blocks too.
        chain: What is known of the chain.
        vaults: Addresses of ERC-4626 vaults.
        folder: Where prices are kept.
        first_block: The first block that is looked at.
        confirmations: Blocks on top of the one that closes a bar; None is the chain's number.
        buckets: Widths of the bars that there are.

    Raises:
        BadInput: No vault is named, or one twice.
        ContractMissing, CallReverted: There is no vault at an address.
        NodeError: No node answers.
    """

    def __init__(
        self,
        client: EvmClient,
        chain: Chain,
        vaults: Sequence[str],
        folder: Path,
        *,
        first_block: int,
        confirmations: int | None = None,
        buckets: Sequence[TimeBucket] = BUCKETS,
    ) -> None:
        addresses = [require_address(vault, "vault") for vault in vaults]
        if not addresses or len(set(addresses)) != len(addresses):
            raise BadInput(f"vaults are {addresses}: name at least one, and each once")
        self.name = f"{chain.slug} vaults"
        self._client = client
        self._folder = folder / "vault-prices"
        self._first_block = first_block
        self._confirmations = chain.execution.confirmations if confirmations is None else confirmations
        self._depth = max(chain.execution.replan_depth, chain.client.max_lag + 1, self._confirmations)
        self._buckets = tuple(buckets)
        self._head = client.read_head()
        self._closing = self._final = self._head
        self.pairs = {vault: _read_pair(client, vault, self._head) for vault in addresses}
        self._births: dict[str, int | None] = {}
        self._times: dict[int, int] = {}
        self._prices: dict[tuple[str, TimeBucket], _Prices] = {}

    def refresh(self) -> BlockHeader:
        """Look at the newest block, and return it."""
        self._head = self._client.read_head()
        self._closing = self._client.read_block(max(0, self._head.number - self._confirmations))
        self._final = self._client.read_block(max(0, self._head.number - self._depth))
        self._times = {block: time for block, time in self._times.items() if block <= self._final.number}
        for prices in self._prices.values():
            prices.forget_after(self._final.number)
        return self._head

    def list_markets(self) -> Sequence[Market]:
        """Return the vaults that have shares, in all buckets."""
        self.refresh()
        found = []
        for bucket in self._buckets:
            for vault, pair in sorted(self.pairs.items()):
                birth = self._birth_of(vault)
                if birth is None:
                    continue
                first, last = bucket.ceil(_to_time(birth + 1)), bucket.floor(_to_time(self._closing.timestamp))
                if first <= last:
                    found.append(_to_market(pair, bucket, first, last))
        return tuple(found)

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end), the one in progress too; see `CandleSource`.

        Raises MarketDataMissing when no node has the state of an old block any more.
        """
        for market in markets:
            pair = market.identifier
            if pair is None or pair.base.address not in self.pairs:
                raise MarketDataMissing(f"{self.name}: no vault is {format_description(market.description)}")
            yield self._make_candles(market, pair.base.address, start, end)

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what is closed of each vault by the chain's own time: every bar has a price."""
        markets = self.list_markets()
        closed = bucket.floor(_to_time(self._closing.timestamp)) - bucket.to_timedelta()
        found = []
        for description in pairs:
            market = choose_market(markets, description, bucket, self.name)
            last = closed if closed >= market.first_at else None
            found.append(CandleAvailability(description, bucket, last, None))
        return found

    def settled(self) -> SettledCandles:
        """Return the candles that no reorg is expected to change any more, for import into the lake."""
        return SettledCandles(self)

    def settled_end(self, bucket: TimeBucket) -> datetime:
        """Return the end of the last bar that no reorg is expected to change, naive UTC; `refresh` moves it."""
        return bucket.floor(_to_time(self._final.timestamp))

    def _make_candles(self, market: Market, vault: str, start: datetime, end: datetime) -> Candles:
        width, bucket = market.bucket.to_timedelta(), market.bucket
        first = max(bucket.ceil(start), market.first_at)
        last = bucket.floor(_to_time(self._closing.timestamp))
        count = max(0, math.ceil((min(end, last + width) - first) / width))
        opens = [first + number * width for number in range(count)]
        ends = [moment for moment in (*opens, *([opens[-1] + width] if opens else [])) if moment <= last]
        prices = self._read_prices(vault, bucket, [_to_seconds(moment) for moment in ends])
        if len(ends) == len(opens):  # the bar in progress: up to the newest block
            prices += [self._price_at(vault, self._head)] if opens else []
        frame = pd.DataFrame(
            {
                "timestamp": pd.DatetimeIndex(opens).as_unit("us"),
                "pair": market.pair,
                "open": np.asarray(prices[:-1], np.float64),
                "high": np.asarray(list(map(max, prices[:-1], prices[1:])), np.float64),
                "low": np.asarray(list(map(min, prices[:-1], prices[1:])), np.float64),
                "close": np.asarray(prices[1:], np.float64),
                "volume": 0.0,
            }
        )
        candles: Candles = frame[np.isfinite(frame["open"]) & np.isfinite(frame["close"])].reset_index(drop=True)
        return candles

    def _read_prices(self, vault: str, bucket: TimeBucket, moments: Sequence[int]) -> list[float]:
        key = (vault, bucket)
        if key not in self._prices:
            self._prices[key] = _Prices(self._folder / f"{vault}-{bucket.value}.parquet")
        prices = self._prices[key]
        before = self._first_block
        missing = [moment for moment in moments if moment not in prices.known]
        for number, moment in enumerate(missing, 1):
            before = self._find_last_before(moment, before)
            prices.known[moment] = (before, self._price_at(vault, self._client.read_block(before)))
            if number % KEEP_EVERY == 0:
                logger.info("%s: %d of %d prices of %s are read", self.name, number, len(missing), vault)
                prices.keep(self._final.number)
        prices.keep(self._final.number)
        return [prices.known[moment][1] for moment in moments]

    def _price_at(self, vault: str, block: BlockHeader) -> float:
        """Return assets a share is worth at a block, in tokens; NaN when it has no price there."""
        try:
            (shares,) = self._client.call(vault, erc4626.TOTAL_SUPPLY, (), block)
            (assets,) = self._client.call(vault, CONVERT_TO_ASSETS, (shares,), block)
        except (ContractMissing, CallReverted):
            return math.nan
        except (NodeRefused, BlockUnavailable) as error:
            message = (
                f"{self.name}: the price of {vault} in block {block.number} is not known ({error}): name a node that "
                "keeps old states (an archive node), or begin later"
            )
            if isinstance(error, BlockUnavailable):  # or a reorg took the block, so that another try may succeed
                raise BlockUnavailable(message) from error
            raise MarketDataMissing(message) from error
        pair = self.pairs[vault]
        scale = Fraction(10) ** (pair.base.decimals - pair.quote.decimals)
        return float(Fraction(assets, shares) * scale) if shares and assets else math.nan

    # Blocks by their time

    def _birth_of(self, vault: str) -> int | None:
        """Return the time of the first block looked at in which a vault has a price, by bisection; None has none."""
        if self._births.get(vault) is None:
            low, high = self._first_block, self._closing.number + 1
            while low < high:
                middle = (low + high) // 2
                if math.isnan(self._price_at(vault, self._client.read_block(middle))):
                    low = middle + 1
                else:
                    high = middle
            self._births[vault] = None if low > self._closing.number else self._time_of(low)
        return self._births[vault]

    def _find_last_before(self, moment: int, low: int) -> int:
        """Return the last block before a time; ``low`` is one before it. Times never fall along a chain."""
        high, turn = self._head.number, 0
        if self._time_of(high) < moment:
            return high
        while high - low > 1:
            early, late = self._time_of(low), self._time_of(high)
            guess = low + (moment - early) * (high - low) // max(1, late - early)
            middle = (low + high) // 2 if turn % 3 == 2 else min(max(guess, low + 1), high - 1)
            low, high = (middle, high) if self._time_of(middle) < moment else (low, middle)
            turn += 1
        return low

    def _time_of(self, block: int) -> int:
        if block not in self._times:
            self._times[block] = self._client.read_block(block).timestamp
        return self._times[block]


def _read_pair(client: EvmClient, vault: str, block: BlockHeader) -> TradingPairIdentifier:
    """Return the pair of a vault's shares against what it holds."""
    (asset,) = client.call(vault, erc4626.ASSET, (), block)
    share, quote = read_asset(client, vault, block), read_asset(client, str(asset), block)
    pair = TradingPairIdentifier(share, quote, vault, vault, fee=0.0, exchange_name=VAULT_EXCHANGE)
    return to_vault(pair, VaultTerms())


def _to_market(pair: TradingPairIdentifier, bucket: TimeBucket, first: datetime, last: datetime) -> Market:
    return Market(
        chain_id=ChainId(pair.base.chain_id),
        exchange_slug=VAULT_EXCHANGE,
        pair=f"{pair.base.token_symbol}/{pair.quote.token_symbol}",
        bucket=bucket,
        first_at=first,
        last_at=last,
        fee=pair.fee,
        identifier=replace(pair, internal_id=None),
    )


def _to_time(seconds: int) -> datetime:
    return from_unix_us(seconds * US)


def _to_seconds(moment: datetime) -> int:
    return to_unix_us(moment) // US
