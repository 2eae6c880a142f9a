"""vectorbt: arrays in, simulation compiled by Numba; no Python callback during the run.

W1 and W2 use `from_signals` with signals moved by one bar, the opens as prices and a size in percent of the cash (which
includes the fee: the ask of our rule). The accounts of W3 and W4 depend on each other's fills, so they use
`from_order_func` with a flexible order function; W4 visits only the rebalance bars.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import vectorbt as vbt
from numba import njit
from vectorbt.portfolio import nb
from vectorbt.portfolio.enums import Direction, FlexOrderContext, Order, SegmentContext, SimulationContext

from benchmarks.rule import ALLOCATION, CASH, FAST, MOMENTUM, SLOW, Outcome, rebalance_mask
from benchmarks.workload import FloatArray, Workload, load_candles, pivot_candles

IntArray = npt.NDArray[np.int64]

MAX_FILLS = 100_000
"""Room for fills; the library's default reserves one a candle."""


def prepare(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Pivot the candles; return the call that is timed."""
    candles = load_candles(workload, folder)
    index = workload.timestamps
    opens, closes = (
        pd.DataFrame(pivot_candles(candles, column, workload.pairs), index=index, columns=range(1, workload.pairs + 1))
        for column in ("open", "close")
    )
    if workload.name in MOMENTUM:
        return lambda: summarise(simulate_momentum(workload, opens, closes))
    return lambda: summarise(simulate_ema_cross(workload, opens[1], closes[1]))


def summarise(portfolio: vbt.Portfolio) -> Outcome:
    """Ask for the equity curve and the fills, as every engine must have them at the end."""
    return Outcome(float(portfolio.value().iloc[-1]), int(portfolio.orders.count()))


def simulate_ema_cross(workload: Workload, opens: pd.Series, closes: pd.Series) -> vbt.Portfolio:
    """Trade the EMA cross through signals."""
    fast, slow = (closes.ewm(span=span, adjust=False).mean() for span in (FAST, SLOW))
    signals = (fast > slow).shift(fill_value=False)
    return vbt.Portfolio.from_signals(
        closes,
        entries=signals,
        exits=~signals,
        price=opens,
        size=ALLOCATION,
        size_type="percent",
        direction="longonly",
        fees=workload.fee,
        init_cash=CASH,
    )


def simulate_momentum(workload: Workload, opens: pd.DataFrame, closes: pd.DataFrame) -> vbt.Portfolio:
    """Trade the momentum rule through a compiled order function over one cash-sharing group."""
    rule, mask = MOMENTUM[workload.name], rebalance_mask(workload)
    stop = rule.stop or 0.0
    momentum = (closes / closes.shift(rule.lookback) - 1).shift().to_numpy()
    return vbt.Portfolio.from_order_func(
        closes,
        next_order,
        opens.to_numpy(),
        workload.fee,
        flexible=True,
        pre_sim_func_nb=allocate_memory,
        pre_segment_func_nb=plan_orders,
        pre_segment_args=(opens.to_numpy(), momentum, mask, rule.top, stop, workload.fee),
        segment_mask=True if stop else mask[:, None],
        cash_sharing=True,
        group_by=True,
        init_cash=CASH,
        fill_pos_record=False,
        update_value=False,
        max_orders=MAX_FILLS,
    )


@njit
def allocate_memory(context: SimulationContext) -> tuple[FloatArray, IntArray, FloatArray, IntArray]:
    """Return stop levels, order columns, order sizes and the number of orders, shared by all bars."""
    pairs = context.target_shape[1]
    return np.zeros(pairs), np.empty(2 * pairs, np.int64), np.empty(2 * pairs), np.zeros(1, np.int64)


@njit
def plan_orders(
    context: SegmentContext,
    levels: FloatArray,
    columns: IntArray,
    sizes: FloatArray,
    count: IntArray,
    opens: FloatArray,
    momentum: FloatArray,
    mask: npt.NDArray[np.bool_],
    top: int,
    stop: float,
    fee: float,
) -> tuple[IntArray, FloatArray, IntArray]:
    """Write the orders of this bar, sells before buys; sizes are signed quantities."""
    i, planned = context.i, 0
    quantities = context.last_position
    cash = context.last_cash[0]
    if stop > 0.0:
        for pair in range(len(levels)):
            if levels[pair] > 0.0 and opens[i, pair] <= levels[pair]:
                columns[planned], sizes[planned] = pair, -quantities[pair]
                cash += quantities[pair] * opens[i, pair] * (1 - fee)
                levels[pair] = 0.0
                planned += 1
    if mask[i]:
        stopped = planned
        values = quantities * opens[i] * (1 - fee)
        for k in range(stopped):
            values[columns[k]] = 0.0
        ranked = np.argsort(-momentum[i], kind="mergesort")[:top]
        is_target = np.zeros(len(levels), np.bool_)
        is_target[ranked] = True
        goal = ALLOCATION / top * (cash + values.sum())
        for pair in range(len(levels)):
            if values[pair] > 0.0 and not is_target[pair]:
                columns[planned], sizes[planned] = pair, -quantities[pair]
                levels[pair] = 0.0
                planned += 1
            elif values[pair] > goal:
                columns[planned], sizes[planned] = pair, -(values[pair] - goal) / opens[i, pair]
                planned += 1
        for pair in ranked:
            if values[pair] < goal:
                columns[planned], sizes[planned] = pair, (goal - values[pair]) / (opens[i, pair] * (1 + fee))
                if values[pair] == 0.0:
                    levels[pair] = stop * opens[i, pair]
                planned += 1
    count[0] = planned
    return columns, sizes, count


@njit
def next_order(
    context: FlexOrderContext, columns: IntArray, sizes: FloatArray, count: IntArray, opens: FloatArray, fee: float
) -> tuple[int, Order]:
    """Hand out the planned orders one by one."""
    k = context.call_idx
    if k >= count[0]:
        return -1, nb.order_nothing_nb()
    pair = columns[k]
    order = nb.order_nb(size=sizes[k], price=opens[context.i, pair], direction=Direction.LongOnly, fees=fee)
    return pair, order
