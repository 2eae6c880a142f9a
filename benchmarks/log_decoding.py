"""How fast swap logs become columns, beside web3.py's own decoder: python -m benchmarks.log_decoding [--logs N].

The logs are an answer to eth_getLogs as a node gives it (parsed JSON), of Uniswap v3 swaps with random amounts. web3.py
decodes each with ``contract.events.Swap().process_log``; ours makes a `LogBatch`, and candles of it. All amounts of a
sample are compared. CPU time is taken, which other work on the machine disturbs least. Target: ratio >= 100.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from hexbytes import HexBytes
from web3 import Web3
from web3.datastructures import AttributeDict

from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.block_time import BlockTimes
from trading_dagster.evm.log_batch import LogBatch, decode_logs, join_batches
from trading_dagster.evm.pool import ChainPool, PoolKind
from trading_dagster.evm.pool_candle import make_candles
from trading_dagster.evm.pool_event import POOL_SHAPES, PoolState, fold_events
from trading_dagster.evm.word import to_floats, to_integers

ADDRESS = "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"
ANSWER = 10_000
"""Logs in an answer: what many providers give at most."""
SWAP = POOL_SHAPES[2].topic
FIELDS = (("amount0", "int256"), ("amount1", "int256"), ("sqrtPriceX96", "uint160"), ("liquidity", "uint128"))
ABI = {
    "type": "event",
    "name": "Swap",
    "anonymous": False,
    "inputs": [
        {"name": "sender", "type": "address", "indexed": True},
        {"name": "recipient", "type": "address", "indexed": True},
        *({"name": name, "type": kind, "indexed": False} for name, kind in (*FIELDS, ("tick", "int24"))),
    ],
}
TOKENS = (AssetIdentifier(1, "0x" + "a0" * 20, "USDC", 6), AssetIdentifier(1, "0x" + "c0" * 20, "WETH", 18))


def make_logs(count: int) -> list[dict[str, Any]]:
    """Return swaps, eight a block."""
    draw = random.Random(7)

    def word(value: int) -> str:
        return f"{value % 2**256:064x}"

    logs = []
    for place in range(count):
        usd, eth = draw.randrange(1, 10**12), draw.randrange(1, 10**20)
        amounts = (usd, -eth) if draw.random() < 0.5 else (-usd, eth)
        words = (*amounts, draw.randrange(10**33, 2 * 10**33), draw.randrange(10**20), draw.randrange(-(2**20), 2**20))
        logs.append(
            {
                "address": ADDRESS,
                "topics": [SWAP, "0x" + word(draw.getrandbits(160)), "0x" + word(draw.getrandbits(160))],
                "data": "0x" + "".join(word(value) for value in words),
                "blockNumber": hex(18_000_000 + place // 8),
                "logIndex": hex(3 * (place % 8)),
                "transactionIndex": hex(place % 8),
                "blockHash": "0x" + word(place // 8 + 1),
                "transactionHash": "0x" + word(place + 1),
                "removed": False,
            }
        )
    return logs


def decode_with_web3(logs: list[dict[str, Any]]) -> list[Any]:
    """Return the events as web3.py gives them; the logs are first formatted as its own ``get_logs`` does it."""
    event = Web3().eth.contract(address=Web3.to_checksum_address(ADDRESS), abi=[ABI]).events.Swap()
    numbers = ("blockNumber", "logIndex", "transactionIndex")
    hashes = ("blockHash", "transactionHash", "data")
    decoded = []
    for log in logs:
        formatted = (
            log | {name: int(log[name], 16) for name in numbers} | {name: HexBytes(log[name]) for name in hashes}
        )
        formatted["topics"] = [HexBytes(topic) for topic in log["topics"]]
        decoded.append(event.process_log(AttributeDict(formatted)))
    return decoded


def decode_with_numpy(logs: list[dict[str, Any]]) -> LogBatch:
    """Return our columns, the numbers of the swaps among them."""
    batches = []
    for start in range(0, len(logs), ANSWER):
        batch = decode_logs(logs[start : start + ANSWER], {ADDRESS: 0}, POOL_SHAPES)
        for place, (_, kind) in enumerate(FIELDS):
            to_floats(batch.words(place), signed=kind.startswith("int"))
        batches.append(batch)
    return join_batches(batches)


def make_hourly_candles(batch: LogBatch) -> int:
    """Return how many candles, with exact prices, volume and TVL, the logs make."""
    usd, eth = TOKENS
    pool = ChainPool(
        ADDRESS, PoolKind.v3, eth, usd, False, Fraction(5, 10_000), "uniswap-v3", "0x" + "1f" * 20, 0, True
    )
    samples, _ = fold_events(pool, batch, PoolState(10**15, 10**22))
    bars = BlockTimes(lambda number: 1_600_000_000 + 12 * number).bars_of(samples.block, samples.time, TimeBucket.h1)
    return len(make_candles("WETH/USDC", samples, bars, with_tvl=True))


def best_rate(work: Callable[[], Any], count: int, repeats: int) -> float:
    """Return logs a second of CPU time, the median of some runs."""
    rates = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        rates.append(count / (time.process_time() - begun))
    return statistics.median(rates)


def require_equal(logs: list[dict[str, Any]], batch: LogBatch) -> None:
    """Compare with web3.py's numbers."""
    events = decode_with_web3(logs)
    for place, (name, kind) in enumerate(FIELDS):
        ours = to_integers(batch.words(place)[: len(logs)], signed=kind.startswith("int"))
        assert ours == [event["args"][name] for event in events], name
    assert batch.block[: len(logs)].tolist() == [event["blockNumber"] for event in events]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--logs", type=int, default=200_000, help="logs that we decode")
    parser.add_argument("--sample", type=int, default=3_000, help="of them those that web3.py decodes")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    logs = make_logs(options.logs)
    batch = decode_with_numpy(logs)
    require_equal(logs[: options.sample], batch)
    theirs = best_rate(lambda: decode_with_web3(logs[: options.sample]), options.sample, options.repeat)
    ours = best_rate(lambda: decode_with_numpy(logs), options.logs, options.repeat)
    candles = best_rate(lambda: make_hourly_candles(decode_with_numpy(logs)), options.logs, options.repeat)
    print(f"web3.py process_log:              {theirs:12,.0f} logs a second")
    print(f"numpy columns (exact and float):  {ours:12,.0f} logs a second, {ours / theirs:,.0f} x web3.py")
    print(f"... and hourly candles with TVL:  {candles:12,.0f} logs a second, {candles / theirs:,.0f} x web3.py")
    print(f"Target: at least 100 x web3.py: {'met' if ours / theirs >= 100 else 'MISSED'}")
    assert np.isfinite(ours)


if __name__ == "__main__":
    main()
