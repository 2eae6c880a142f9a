"""What each position was worth at each equity sample, and from that the weights of assets over time.

A run does not record positions sample by sample: between trades their worth follows from quantity and price. Values are
calculated here from the fills and the marks of the run, operation by operation as the run valued its equity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import ChainId, TradingPairIdentifier
from trading_dagster.domain.loan import Loan
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_unix_us
from trading_dagster.domain.trade import TradeFill
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause
from trading_dagster.pricing.candle_pricing import CandleMarks, PriceColumns

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
RESERVE_SYMBOL = "reserve_asset_symbol"
"""The attribute of a table of weights that names its column of cash."""


@dataclass(frozen=True, eq=False)
class PositionValues:
    """Values at each equity sample, USD.

    Attributes:
        times: Naive UTC, without duplicates.
        cash: Shape (samples,).
        equity: As the run sampled it.
        by_position: Shape (samples,) each, in order of the positions' ids; 0 where a position is not open.
        prices: By position what a sale of one token brought, open or not; 0 for a credit supply.
    """

    times: pd.DatetimeIndex
    cash: Floats
    equity: Floats
    by_position: dict[int, tuple[TradingPairIdentifier, Floats]]
    prices: dict[int, Floats]

    def by_pair(self) -> dict[TradingPairIdentifier, Floats]:
        """Return the sums over the positions of each pair, in order of their first position."""
        sums: dict[TradingPairIdentifier, Floats] = {}
        for pair, values in self.by_position.values():
            sums[pair] = sums[pair] + values if pair in sums else values
        return sums


def value_positions(state: State) -> PositionValues:
    """Return what each position was worth at each equity sample of a backtest.

    Raises:
        BadInput: The state is not that of a backtest's result.
    """
    marks, samples = state.portfolio.marks, state.stats
    if not len(samples) or not isinstance(marks, CandleMarks):
        raise BadInput("Weights over time need the state of a backtest's result, with its equity samples and candles")
    times = np.asarray(samples.columns["timestamp"], dtype="datetime64[us]")
    kept = np.append(times[1:] != times[:-1], True)
    times_us: Integers = times[kept].astype(np.int64)
    cash, equity = (np.asarray(samples.columns[name], dtype=np.float64)[kept] for name in ("cash", "equity"))
    positions = [
        p for p in state.portfolio.get_all_positions() if any(t.started_at is not None for t in p.trades.values())
    ]
    positions.sort(key=lambda p: p.position_id)
    held, fixed = (
        zip(*(_holdings(position, times_us) for position in positions), strict=True) if positions else ((), ())
    )
    on_the_way = [_allocations(position, times_us) for position in positions]
    by_cycle, by_trigger = (_prices(marks, positions, times_us, feed) for feed in (None, marks.trigger_columns))
    at_cycles, at_triggers = (
        [a * b + c + d for a, b, c, d in zip(held, prices, fixed, on_the_way, strict=True)]
        for prices in (by_cycle, by_trigger)
    )
    # A sample was valued on the candles or, at a trigger, on the stop-loss feed: its equity tells which.
    is_cycle = abs(cash + sum(at_cycles) - equity) <= abs(cash + sum(at_triggers) - equity)
    values = [np.where(is_cycle, a, b) for a, b in zip(at_cycles, at_triggers, strict=True)]
    by_position = {p.position_id: (p.pair, part) for p, part in zip(positions, values, strict=True)}
    prices = {p.position_id: np.where(is_cycle, a, b) for p, a, b in zip(positions, by_cycle, by_trigger, strict=True)}
    return PositionValues(pd.DatetimeIndex(times[kept], name="timestamp"), cash, equity, by_position, prices)


def calculate_asset_weights(state: State) -> pd.DataFrame:
    """Return the value of each asset at each equity sample: the reserve first, then tokens in order of first use.

    Returns:
        USD by naive UTC time, a column per token symbol; ``attrs["reserve_asset_symbol"]`` names the column of cash.
    """
    values = value_positions(state)
    reserve = state.portfolio.reserve.asset.token_symbol
    return _to_frame(values, reserve, ((pair.base.token_symbol, part) for pair, part in values.by_pair().items()))


def calculate_weights_statistics(weights: pd.DataFrame) -> pd.DataFrame:
    """Return the largest, smallest and average position, in USD and as a share, with the reserve and without.

    Args:
        weights: What `calculate_asset_weights` returned.

    Returns:
        A row per measure; columns USD, Share (of equity; without the reserve of what is invested), Asset and At, the
        last two for extremes only. Smallest and average are of times at which an asset is held.
    """
    rows: list[tuple[str, float, float, str, Any]] = []
    reserve = weights.attrs[RESERVE_SYMBOL]
    for label, table in (("with reserve", weights), ("without reserve", weights.drop(columns=reserve))):
        values = table.to_numpy(dtype=np.float64)
        held = np.where(values > 0, values, np.nan)
        shares = held / np.nansum(held, axis=1, keepdims=True, initial=0.0, where=values > 0)
        if not (values > 0).any():
            names = ("Largest", "Smallest", "Average")
            rows += [(f"{name} position, {label}", np.nan, np.nan, "", pd.NaT) for name in names]
            continue
        for name, pick, pick_share in (("Largest", np.nanargmax, np.nanmax), ("Smallest", np.nanargmin, np.nanmin)):
            row, column = divmod(int(pick(held)), held.shape[1])
            found = float(held[row, column]), float(pick_share(shares)), str(table.columns[column]), table.index[row]
            rows.append((f"{name} position, {label}", *found))
        rows.append((f"Average position, {label}", float(np.nanmean(held)), float(np.nanmean(shares)), "", pd.NaT))
    return pd.DataFrame(rows, columns=["Measure", "USD", "Share", "Asset", "At"]).set_index("Measure")


def calculate_chain_weights(state: State) -> pd.DataFrame:
    """Return the value on each chain at each equity sample; cash is on the chain of the reserve."""
    values = value_positions(state)
    home = _chain_name(state.portfolio.reserve.asset.chain_id)
    return _to_frame(values, home, ((_chain_name(pair.chain_id), part) for pair, part in values.by_pair().items()))


def _to_frame(values: PositionValues, cash: str, parts: Iterable[tuple[str, Floats]]) -> pd.DataFrame:
    columns = {cash: values.cash}
    for name, part in parts:
        columns[name] = columns[name] + part if name in columns else part
    frame = pd.DataFrame(columns, index=values.times)
    frame.attrs[RESERVE_SYMBOL] = cash
    return frame


def _chain_name(chain_id: int) -> str:
    try:
        return ChainId(chain_id).name
    except ValueError:
        return str(chain_id)


def _holdings(position: TradingPosition, times_us: Integers) -> tuple[Floats, Floats]:
    """Return the tokens held, or owed below 0, and USD that no price moves at each time; changes at a time are in it.

    What no price moves is the collateral of a loan, interest included.
    """
    fills = [(t.fill.executed_at, 1, t.fill) for t in position.trades.values() if t.fill is not None]
    updates = [(update.block_mined_at, 0, update) for update in position.balance_updates.values()]
    held, fixed, steps_us = [0.0], [0.0], []
    quantity, loan = ZERO, None
    for at, _, change in sorted([*fills, *updates], key=lambda step: step[:2]):
        if isinstance(change, TradeFill) and change.loan is not None:
            begun = Loan.begin(position.pair, change.loan, change.quantity, at) if loan is None else None
            loan = begun if loan is None else loan.apply(change.loan, change.quantity)
        elif loan is not None and isinstance(change, BalanceUpdate):
            is_interest = change.cause is BalanceUpdateCause.interest
            grow = loan.accrue(change.asset, change.quantity, at) if is_interest else None
            loan = grow or loan.correct(change.asset, change.quantity)
        elif isinstance(change, TradeFill | BalanceUpdate):
            quantity += change.quantity
        owed = ZERO if loan is None or loan.borrowed is None else loan.borrowed.total
        held.append(float(quantity if loan is None else -owed))
        fixed.append(0.0 if loan is None else float(loan.collateral.total))
        steps_us.append(to_unix_us(at))
    rows = np.searchsorted(np.array(steps_us, dtype=np.int64), times_us, side="right")
    quantities, worth = np.array(held)[rows], np.array(fixed)[rows]
    if position.closed_at is not None:  # what a close leaves behind is no position
        is_over = times_us >= to_unix_us(position.closed_at)
        quantities[is_over] = worth[is_over] = 0.0
    return quantities, worth


def _allocations(position: TradingPosition, times_us: Integers) -> Floats:
    """Return USD that trades took and gave nothing for yet at each time, as a vault does between order and shares."""
    waiting = np.zeros(len(times_us))
    for trade in position.trades.values():
        if trade.started_at is None or not trade.allocated:
            continue
        ended_at = trade.failed_at or (None if trade.fill is None else trade.fill.executed_at)
        first_us = to_unix_us(trade.started_at)
        is_over = np.zeros(len(times_us), dtype=np.bool_) if ended_at is None else times_us >= to_unix_us(ended_at)
        waiting[(times_us >= first_us) & ~is_over] += float(trade.allocated)
    return waiting


def _prices(
    marks: CandleMarks, positions: Iterable[TradingPosition], times_us: Integers, feed: PriceColumns | None
) -> list[Floats]:
    """Return what a sale of each position's token brought at each sample, USD; 0 before the pair's first candle."""
    known: dict[TradingPairIdentifier, Floats] = {}
    found = []
    for position in positions:
        pair = position.pair
        if pair.is_credit_supply():  # what is lent out is in the reserve
            known[pair] = np.zeros(len(times_us))
        if pair not in known:
            pair_id, factor = marks.factor_of(pair)
            mids = _read(marks.columns, pair_id, times_us)
            if feed is not None and feed.has_pair(pair_id):
                finer = _read(feed, pair_id, times_us)
                mids = np.where(np.isnan(finer), mids, finer)
            known[pair] = np.nan_to_num(mids * factor)
        found.append(known[pair])
    return found


def _read(columns: PriceColumns, pair_id: int, times_us: Integers) -> Floats:
    bars = np.clip((times_us - columns.start_us) // columns.width_us, 0, columns.panel.bar_count - 1)
    values: Floats = np.asarray(columns.view(pair_id))[bars]
    return values
