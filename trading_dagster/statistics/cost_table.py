"""What each trade cost, and all of them together: fee, tax, price impact, slippage, gas and delay."""

from __future__ import annotations

import math

import pandas as pd

from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution

COSTS = ("fee", "tax", "impact", "slippage", "gas", "delay")

COST_COLUMNS: dict[str, str] = {
    "trade_id": "int64",
    "position_id": "int64",
    "pair_ticker": "str",
    "trade_type": "str",
    "executed_at": "datetime64[us]",
    "value_usd": "float64",
    **dict.fromkeys((*COSTS, "total"), "float64"),
}


def analyse_costs(state: State) -> pd.DataFrame:
    """Return one row for each executed trade, by id; costs in USD.

    Returns:
        ``fee`` is what liquidity providers took and ``tax`` what the token took; ``gas`` left cash beside it; the
        others are in its price. ``delay`` is negative where the market moved in favour of the trade while it waited;
        no other cost ever is. ``total`` is their sum. Only fee and tax are known of trades on a chain: their gas is
        native tokens (`TradeFill.gas_cost`).
    """
    rows = [_row(trade) for trade in state.portfolio.get_all_trades() if trade.is_success()]
    return pd.DataFrame(rows, columns=list(COST_COLUMNS)).astype(COST_COLUMNS)


def summarise_costs(state: State) -> pd.DataFrame:
    """Return a row for each kind of cost and one for their total.

    Returns:
        Columns ``usd``; ``usd_per_trade``, the mean of all executed trades; ``of_volume``, a fraction of what was
        traded. NaN where nothing was traded.
    """
    table = analyse_costs(state)
    volume, count = math.fsum(table["value_usd"]), len(table)
    sums = [math.fsum(table[name]) for name in (*COSTS, "total")]
    return pd.DataFrame(
        {
            "usd": sums,
            "usd_per_trade": [value / count if count else math.nan for value in sums],
            "of_volume": [value / volume if volume else math.nan for value in sums],
        },
        index=pd.Index([*COSTS, "total"], name="cost"),
    )


def trade_costs(trade: TradeExecution) -> tuple[float, ...]:
    """Return what an executed trade cost, USD, in the order of `COSTS`."""
    tax, charges = trade.token_tax_paid, trade.charges
    fee = trade.lp_fees_paid or 0.0
    if trade.price_structure.block_number is None:  # a pool's fee never has the tax in it
        fee = max(fee - tax, 0.0)
    return fee, tax, charges.impact, charges.slippage, float(charges.gas), charges.delay


def _row(trade: TradeExecution) -> tuple[object, ...]:
    costs = trade_costs(trade)
    return (
        trade.trade_id,
        trade.position_id,
        trade.pair.get_ticker(),
        "buy" if trade.is_buy() else "sell",
        trade.executed_at,
        trade.get_value(),
        *costs,
        math.fsum(costs),
    )
