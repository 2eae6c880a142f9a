"""What the events of a pool say: its price after each swap, what was traded, and what it holds, from exact integers.

Uniswap v2: ``Sync`` has the reserves after every change; the ``Swap`` right after it has the amounts. Before and after
a swap the reserves must differ by exactly these amounts, so an event that is missing is found. Uniswap v3: ``Swap`` has
the price; what the pool holds is the running sum of what ``Mint``, ``Swap`` and ``Flash`` brought and ``Collect`` and
``CollectProtocol`` took (``Burn`` moves nothing).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np

from trading_dagster.domain.error import EventsMissing
from trading_dagster.evm.abi import event_topic
from trading_dagster.evm.log_batch import EventShape, LogBatch
from trading_dagster.evm.pool import ChainPool, PoolKind
from trading_dagster.evm.word import Floats, Integers, to_integers
from trading_dagster.market.panel import Flags

Q192 = 2**192


class PoolEvent(IntEnum):
    """Code of an event in stored logs."""

    v2_sync = 1
    v2_swap = 2
    v3_swap = 3
    v3_mint = 4
    v3_collect = 5
    v3_flash = 6
    v3_collect_protocol = 7


def _shape(signature: str, code: PoolEvent, words: int) -> EventShape:
    return EventShape(event_topic(signature), code, words)


POOL_SHAPES = (
    _shape("Sync(uint112,uint112)", PoolEvent.v2_sync, 2),
    _shape("Swap(address,uint256,uint256,uint256,uint256,address)", PoolEvent.v2_swap, 4),
    _shape("Swap(address,address,int256,int256,uint160,uint128,int24)", PoolEvent.v3_swap, 5),
    # PancakeSwap v3: two more fields at the end
    _shape("Swap(address,address,int256,int256,uint160,uint128,int24,uint128,uint128)", PoolEvent.v3_swap, 7),
    _shape("Mint(address,address,int24,int24,uint128,uint256,uint256)", PoolEvent.v3_mint, 4),
    _shape("Collect(address,address,int24,int24,uint128,uint128)", PoolEvent.v3_collect, 3),
    _shape("Flash(address,address,uint256,uint256,uint256,uint256)", PoolEvent.v3_flash, 4),
    _shape("CollectProtocol(address,address,uint128,uint128)", PoolEvent.v3_collect_protocol, 2),
)

FLOWS = {
    PoolEvent.v3_mint: (2, 3, 1),
    PoolEvent.v3_collect: (1, 2, -1),
    PoolEvent.v3_flash: (2, 3, 1),
    PoolEvent.v3_collect_protocol: (0, 1, -1),
}
"""Where the amounts of token0 and token1 are, and whether they come or go."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """What a pool holds, in smallest units, and a v3 pool's square root price (``sqrtPriceX96``); None is not known."""

    amount0: int | None = None
    amount1: int | None = None
    sqrt_price: int | None = None


@dataclass(frozen=True, eq=False)
class PoolSamples:
    """A pool after each event that changed it, as columns of equal length.

    Attributes:
        block: Number of the block.
        time: Of the block, seconds since 1970; -1 where not known.
        is_swap: Whether it was a swap.
        price: Quote tokens a base token costs after it, the float64 nearest to the exact quotient.
        volume: Base tokens swapped.
        is_buy: Whether base tokens left the pool.
        tvl: What the pool holds, in quote tokens at that price; NaN where not known.
    """

    block: Integers
    time: Integers
    is_swap: Flags
    price: Floats
    volume: Floats
    is_buy: Flags
    tvl: Floats

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.block)

    def take(self, rows: Any) -> PoolSamples:
        """Return some of the samples."""
        return PoolSamples(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def join_samples(parts: Sequence[PoolSamples]) -> PoolSamples:
    """Return the samples of several parts in their order; at least one part."""
    columns = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(parts[0])}
    return PoolSamples(**columns)


def fold_events(pool: ChainPool, logs: LogBatch, state: PoolState) -> tuple[PoolSamples, PoolState]:
    """Return the pool after each event, and its state after all of them.

    Args:
        pool: The pool.
        logs: Its events, in order.
        state: Before the first of them.

    Raises:
        EventsMissing: The events do not add up.
    """
    if not len(logs):
        return _no_samples(), state
    return _fold_v2(pool, logs, state) if pool.kind is PoolKind.v2 else _fold_v3(pool, logs, state)


def _fold_v2(pool: ChainPool, logs: LogBatch, state: PoolState) -> tuple[PoolSamples, PoolState]:
    is_sync = logs.kind == PoolEvent.v2_sync
    syncs, swaps = np.flatnonzero(is_sync), np.flatnonzero(logs.kind == PoolEvent.v2_swap)
    _require_syncs(pool, logs, is_sync, swaps)
    reserve0, reserve1 = (to_integers(logs.words(place)[syncs]) for place in (0, 1))
    ins_outs = [to_integers(logs.words(place)[swaps]) for place in range(4)]
    sample_of = np.searchsorted(syncs, swaps - 1)
    volume: Floats = np.zeros(len(syncs))
    is_buy: Flags = np.zeros(len(syncs), np.bool_)
    is_swap: Flags = np.zeros(len(syncs), np.bool_)
    is_swap[sample_of] = True
    amounts = []
    for sample, in0, in1, out0, out1 in zip(sample_of.tolist(), *ins_outs, strict=True):
        before0 = reserve0[sample - 1] if sample else state.amount0
        before1 = reserve1[sample - 1] if sample else state.amount1
        is_whole = before0 is None or before1 is None or (
            before0 + in0 - out0 == reserve0[sample] and before1 + in1 - out1 == reserve1[sample]
        )  # fmt: skip
        if not is_whole:
            _refuse(pool, int(logs.block[syncs[sample]]), "the reserves before and after a swap differ by more than it")
        amounts.append(out0 - in0 if pool.is_base_token0 else out1 - in1)
    volume[sample_of], is_buy[sample_of] = _to_volume(amounts, pool)
    _require_swaps(pool, logs.block[syncs], is_swap, (reserve0, reserve1), state)
    bases, quotes = (reserve0, reserve1) if pool.is_base_token0 else (reserve1, reserve0)
    up, down = 10**pool.base.decimals, 10**pool.quote.decimals
    samples = PoolSamples(
        block=logs.block[syncs],
        time=logs.timestamp[syncs],
        is_swap=is_swap,
        price=_quotients((quote * up, base * down) for base, quote in zip(bases, quotes, strict=True)),
        volume=volume,
        is_buy=is_buy,
        tvl=_quotients((2 * quote, down) for quote in quotes),
    )
    if not len(syncs):
        return samples, state
    return samples, PoolState(reserve0[-1], reserve1[-1])


def _fold_v3(pool: ChainPool, logs: LogBatch, state: PoolState) -> tuple[PoolSamples, PoolState]:
    flows0, flows1, roots = _flows_v3(logs)
    up, down = 10**pool.base.decimals, 10**pool.quote.decimals
    amount0, amount1, root = state.amount0, state.amount1, state.sqrt_price
    is_known = amount0 is not None and amount1 is not None
    held0, held1 = amount0 or 0, amount1 or 0
    prices: list[tuple[int, int]] = []
    bases, quotes = [], []
    for flow0, flow1, new_root in zip(flows0, flows1, roots, strict=True):
        held0 += flow0
        held1 += flow1
        root = new_root or root
        square = (root or 0) ** 2
        prices.append((square * up, Q192 * down) if pool.is_base_token0 else (Q192 * up, square * down))
        bases.append(held0 if pool.is_base_token0 else held1)
        quotes.append(held1 if pool.is_base_token0 else held0)
    price = _quotients(prices)
    if pool.is_base_token0:
        price[price == 0] = np.nan
    tvl = _quotients((quote, down) for quote in quotes) + _quotients((base, up) for base in bases) * price
    is_swap = logs.kind == PoolEvent.v3_swap
    own = flows0 if pool.is_base_token0 else flows1
    volume, is_buy = _to_volume([-flow for flow in own], pool)
    samples = PoolSamples(
        block=logs.block,
        time=logs.timestamp,
        is_swap=is_swap,
        price=price,
        volume=np.where(is_swap, volume, 0.0),
        is_buy=is_buy & is_swap,
        tvl=tvl if is_known else np.full(len(logs), np.nan),
    )
    return samples, PoolState(held0 if is_known else None, held1 if is_known else None, root)


def sum_flows(logs: LogBatch) -> tuple[int, int]:
    """Return what events of a v3 pool brought in all, token0 and token1."""
    flows0, flows1, _ = _flows_v3(logs)
    return sum(flows0), sum(flows1)


def _flows_v3(logs: LogBatch) -> tuple[list[int], list[int], list[int]]:
    """Return what each event brought of token0 and token1, and the square root price it set or 0."""
    flows0, flows1, roots = ([0] * len(logs) for _ in range(3))
    rows = np.flatnonzero(logs.kind == PoolEvent.v3_swap)
    swapped = (to_integers(logs.words(place)[rows], signed=place < 2) for place in range(3))
    for row, flow0, flow1, root in zip(rows.tolist(), *swapped, strict=True):
        flows0[row], flows1[row], roots[row] = flow0, flow1, root
    for code, (place0, place1, sign) in FLOWS.items():
        rows = np.flatnonzero(logs.kind == code)
        moved = (to_integers(logs.words(place)[rows]) for place in (place0, place1))
        for row, flow0, flow1 in zip(rows.tolist(), *moved, strict=True):
            flows0[row], flows1[row] = sign * flow0, sign * flow1
    return flows0, flows1, roots


def _require_syncs(pool: ChainPool, logs: LogBatch, is_sync: Flags, swaps: Integers) -> None:
    """Refuse a swap without the Sync right before it."""
    if not len(swaps):
        return
    before = np.maximum(swaps - 1, 0)
    is_paired = (
        (swaps > 0)
        & is_sync[before]
        & (logs.block[before] == logs.block[swaps])
        & (logs.log_index[before] + 1 == logs.log_index[swaps])
    )
    if not is_paired.all():
        _refuse(pool, int(logs.block[swaps[~is_paired][0]]), "a Swap has no Sync before it")


def _require_swaps(
    pool: ChainPool, blocks: Integers, is_swap: Flags, reserves: tuple[list[int], list[int]], state: PoolState
) -> None:
    """Refuse a Sync alone by which one reserve rose and the other fell, as only swaps do it."""
    for sample in np.flatnonzero(~is_swap).tolist():
        before0 = reserves[0][sample - 1] if sample else state.amount0
        before1 = reserves[1][sample - 1] if sample else state.amount1
        if before0 is None or before1 is None:
            continue
        if (reserves[0][sample] - before0) * (reserves[1][sample] - before1) < 0:
            _refuse(pool, int(blocks[sample]), "reserves moved as by a swap, without a Swap")


def _refuse(pool: ChainPool, block: int, what: str) -> None:
    raise EventsMissing(
        f"Events of pool {pool.address} ({pool.base.token_symbol}/{pool.quote.token_symbol}) are missing at or before "
        f"block {block}: {what}. The node left some out, or the pool is no {pool.kind.value} pool; use another node",
        block,
    )


def _to_volume(amounts: Sequence[int], pool: ChainPool) -> tuple[Floats, Flags]:
    """Return base tokens swapped and whether they left the pool, of smallest units that left it."""
    unit = 10**pool.base.decimals
    volume = np.fromiter((abs(amount) / unit for amount in amounts), np.float64, len(amounts))
    return volume, np.fromiter((amount > 0 for amount in amounts), np.bool_, len(amounts))


def _quotients(parts: Iterable[tuple[int, int]]) -> Floats:
    """Return the float64 nearest to each quotient of integers; NaN where the divisor is 0."""
    return np.fromiter(_divide(parts), np.float64)


def _divide(parts: Iterable[tuple[int, int]]) -> Iterator[float]:
    for above, below in parts:
        yield above / below if below else float("nan")


def _no_samples() -> PoolSamples:
    integers, floats, flags = np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_)
    return PoolSamples(integers, integers, flags, floats, floats, flags, floats)
