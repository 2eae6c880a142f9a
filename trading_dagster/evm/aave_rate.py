"""Aave v3's rates over time, from the events of its pool: exact, without asking for the state of old blocks.

``ReserveDataUpdated`` says the rates of a token after every change, and they hold until the next one. So each bar opens
at the rate in force before it, and a bar without events has that rate throughout: nothing is missing between the first
event and the last closed bar. Source: IPool.sol and ReserveLogic.sol of aave-v3-core.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput, NoLendingData
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.domain.transaction import require_address
from trading_dagster.evm.aave_v3 import RAY
from trading_dagster.evm.abi import event_topic
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.block_time import US
from trading_dagster.evm.chain import Chain
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.event_scan import EventScanner, ScanSetting
from trading_dagster.evm.log_batch import EventShape, LogBatch, join_batches
from trading_dagster.evm.word import Floats, Integers, to_integers
from trading_dagster.market.contract import bucket_width_us
from trading_dagster.market.lending import LendingCandleType

RATE_EVENT = EventShape(
    event_topic("ReserveDataUpdated(address,uint256,uint256,uint256,uint256,uint256)"), 1, 5, with_topic=True
)
SUPPLY_WORD, BORROW_WORD = 1, 3
ADDRESS_START = 12


class AaveRates:
    """The rates of the reserves of one Aave v3 pool, kept on disk and read on from where they end.

    Args:
        client: Reads the chain.
        chain: What is known of the chain, the address of Aave's pool among it.
        folder: Where events are kept.
        first_block: The first block to read: rates are known from the first event after it.
        pool: Address of the pool; None is the chain's.
        setting: How the chain is read; None fits it to the chain.
        progress: Show progress of reading logs.

    Raises:
        BadInput: No pool is known on that chain.
    """

    def __init__(
        self,
        client: EvmClient,
        chain: Chain,
        folder: Path,
        *,
        first_block: int,
        pool: str | None = None,
        setting: ScanSetting | None = None,
        progress: bool = False,
    ) -> None:
        if not (pool or chain.aave_v3):
            raise BadInput(f"Aave v3's pool on {chain.name} is not known: give its address")
        self.pool = require_address(pool or chain.aave_v3, "Aave pool")
        depth = max(chain.execution.replan_depth, chain.client.max_lag + 1)
        firsts = {self.pool: first_block}
        self._scanner = EventScanner(client, [RATE_EVENT], firsts, folder, setting or ScanSetting(final_depth=depth))
        self._progress = progress

    def read(self, assets: Sequence[str], bucket: TimeBucket) -> dict[tuple[str, LendingCandleType], pd.DataFrame]:
        """Return by token and rate the candles up to the last closed bar: open, high, low, close in percent a year.

        Args:
            assets: Addresses of the underlying tokens.
            bucket: Width of the bars.

        Raises:
            NoLendingData: A token has no event: it is no reserve there, or its rates never changed since.
        """
        tail = self._scanner.refresh(progress=self._progress)
        store = self._scanner.stores[self.pool]
        logs = join_batches([*(store.read(piece) for piece in store.pieces()), tail.logs])
        closed_us = to_unix_us(bucket.floor(_time_of(tail.head)))
        bars = self._scanner.times.bars_of(logs.block, logs.timestamp, bucket)
        found: dict[tuple[str, LendingCandleType], pd.DataFrame] = {}
        for asset in assets:
            own = _rows_of(logs, require_address(asset, "asset"))
            if not len(own):
                raise NoLendingData(f"Aave's pool {self.pool} told no rates of {asset} in the blocks that were read")
            for rate, word in (
                (LendingCandleType.supply_apr, SUPPLY_WORD),
                (LendingCandleType.variable_borrow_apr, BORROW_WORD),
            ):
                values = np.asarray([rate_in_ray * 100 / RAY for rate_in_ray in to_integers(logs.words(word)[own])])
                found[asset, rate] = make_rate_candles(values, bars[own], closed_us, bucket)
        return found


def make_rate_candles(values: Floats, bars: Integers, closed_us: int, bucket: TimeBucket) -> pd.DataFrame:
    """Return a candle for every bar from the first change to the last that closed, indexed by open, naive UTC.

    Args:
        values: Rates after each change, in order.
        bars: Open of the bar of each change, microseconds since 1970.
        closed_us: End of the last closed bar.
        bucket: Width of the bars.
    """
    width = bucket_width_us(bucket)
    opens = np.arange(int(bars[0]), max(closed_us, int(bars[0])), width, dtype=np.int64)
    starts = np.searchsorted(bars, opens, side="left")
    ends = np.searchsorted(bars, opens, side="right")
    before = values[np.maximum(starts - 1, 0)]
    closes = values[np.maximum(ends - 1, 0)]
    high, low = before.copy(), before.copy()
    changed = np.flatnonzero(ends > starts)
    if len(changed):
        edges = starts[changed]
        inside = values[: ends[changed[-1]]]
        high[changed] = np.maximum(before[changed], np.maximum.reduceat(inside, edges))
        low[changed] = np.minimum(before[changed], np.minimum.reduceat(inside, edges))
    frame = pd.DataFrame({"open": before, "high": high, "low": low, "close": closes})
    return frame.set_index(pd.DatetimeIndex(opens.view("datetime64[us]"), name="timestamp"))


def _rows_of(logs: LogBatch, asset: str) -> Integers:
    wanted = np.frombuffer(bytes.fromhex(asset[2:]), np.uint8)
    rows: Integers = np.flatnonzero((logs.words(0)[:, ADDRESS_START:] == wanted).all(axis=1))
    return rows


def _time_of(header: BlockHeader) -> datetime:
    return from_unix_us(header.timestamp * US)
