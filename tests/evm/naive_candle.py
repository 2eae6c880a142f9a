"""Candles of pools from a node's logs the slow and obvious way, in exact fractions, to hold the source against."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pandas as pd
from evm.node import Anvil

from trading_dagster.evm.abi import event_topic
from trading_dagster.evm.pool import ChainPool, PoolKind

SYNC = event_topic("Sync(uint112,uint112)")
SWAP_V2 = event_topic("Swap(address,uint256,uint256,uint256,uint256,address)")
SWAP_V3 = event_topic("Swap(address,address,int256,int256,uint160,uint128,int24)")


def naive_candles(node: Anvil, pool: ChainPool, width: timedelta) -> pd.DataFrame:
    """Return candles with exact prices and volumes rounded once."""
    query = {"address": pool.address, "fromBlock": "0x0", "toBlock": "latest"}
    times: dict[str, datetime] = {}
    bars: dict[datetime, list[tuple[Fraction, Fraction, bool]]] = {}
    scale = Fraction(10**pool.base.decimals, 10**pool.quote.decimals)
    price = Fraction(0)
    for log in node.rpc("eth_getLogs", query):
        number, topic = log["blockNumber"], log["topics"][0]
        words = [int(log["data"][at : at + 64], 16) for at in range(2, len(log["data"]), 64)]
        if topic == SYNC:
            reserves = words if pool.is_base_token0 else words[::-1]
            price = Fraction(reserves[1], reserves[0]) * scale
            continue
        if topic not in (SWAP_V2, SWAP_V3):
            continue
        if pool.kind is PoolKind.v3:
            ratio = Fraction(words[2] ** 2, 2**192)
            price = (ratio if pool.is_base_token0 else 1 / ratio) * scale
            flow = words[0 if pool.is_base_token0 else 1]
            gone = -(flow - 2**256 if flow >= 2**255 else flow)
        else:
            gone = words[2] - words[0] if pool.is_base_token0 else words[3] - words[1]
        if number not in times:
            header = node.rpc("eth_getBlockByNumber", number, False)
            times[number] = datetime.fromtimestamp(int(header["timestamp"], 16), UTC).replace(tzinfo=None)
        opened = datetime(1, 1, 1) + (times[number] - datetime(1, 1, 1)) // width * width
        bars.setdefault(opened, []).append((price, Fraction(abs(gone), 10**pool.base.decimals), gone > 0))
    rows = [
        {
            "timestamp": opened,
            "open": float(swaps[0][0]),
            "high": float(max(price for price, _, _ in swaps)),
            "low": float(min(price for price, _, _ in swaps)),
            "close": float(swaps[-1][0]),
            "volume": float(sum(volume for _, volume, _ in swaps)),
            "buys": float(sum(is_buy for _, _, is_buy in swaps)),
            "sells": float(sum(not is_buy for _, _, is_buy in swaps)),
        }
        for opened, swaps in sorted(bars.items())
    ]
    return pd.DataFrame(rows)
