"""What each trade cost, and all of them together: fee, tax, price impact, slippage, gas and delay."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import pandas as pd

from trading_dagster.domain.state import State
from trading_dagster.domain.trade import NO_CHARGES, TradeExecution
from trading_dagster.execution.costed_loan import is_loan_swap
from trading_dagster.statistics.price_step import explain_fill

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
        no other cost of a simulated trade ever is. ``total`` is their sum.
        On a chain they are what the trade's price is explained by, so all but the gas sum to what it lost against the
        mid price of its decision; what the market did until the fill is in ``slippage``, which may be negative. ``gas``
        is NaN, and not in the total, where the price of native tokens was not known.
    """
    rows = [_row(trade) for trade in state.portfolio.get_all_trades() if trade.is_success()]
    return pd.DataFrame(rows, columns=list(COST_COLUMNS)).astype(COST_COLUMNS)


def summarise_costs(state: State) -> pd.DataFrame:
    """Return a row for each kind of cost and one for their total.

    Returns:
        Columns ``usd``; ``usd_per_trade``, the mean of all executed trades; ``of_volume``, a fraction of what was
        traded. NaN where nothing was traded. Gas of which the price was not known is left out.
    """
    table = analyse_costs(state)
    volume, count = math.fsum(table["value_usd"]), len(table)
    sums = [math.fsum(table[name].dropna()) for name in (*COSTS, "total")]
    return pd.DataFrame(
        {
            "usd": sums,
            "usd_per_trade": [value / count if count else math.nan for value in sums],
            "of_volume": [value / volume if volume else math.nan for value in sums],
        },
        index=pd.Index([*COSTS, "total"], name="cost"),
    )


def trade_costs(trade: TradeExecution) -> tuple[float, ...]:
    """Return what an executed trade cost, USD, in the order of `COSTS`; gas is NaN where it is not known."""
    if _is_real(trade):
        return _real_costs(trade)
    tax, charges = trade.token_tax_paid, trade.charges
    fee = max((trade.lp_fees_paid or 0.0) - tax, 0.0)
    return fee, tax, charges.impact, charges.slippage, float(charges.gas), charges.delay


def has_costs(trade: TradeExecution) -> bool:
    """Tell whether more than the fee is known of what a trade cost: its costs were simulated, or a chain took them."""
    return trade.charges is not NO_CHARGES or _is_real(trade)


def sum_costs(trades: Iterable[TradeExecution]) -> dict[str, float]:
    """Return by name of `COSTS` what executed trades cost together, USD, without gas that is not known."""
    rows = [trade_costs(trade) for trade in trades]
    return {name: math.fsum(row[k] for row in rows if not math.isnan(row[k])) for k, name in enumerate(COSTS)}


def _is_real(trade: TradeExecution) -> bool:
    """Tell whether a trade was quoted or executed on a chain."""
    fill = trade.fill
    return trade.plan.pricing.block_number is not None or (fill is not None and fill.gas_cost is not None)


def _real_costs(trade: TradeExecution) -> tuple[float, ...]:
    """Return what a chain's trade cost; where a loan only changes in size its price explains nothing."""
    fill, side = trade.fill, 1 if trade.price_structure.side else -1
    gas = math.nan if fill is None or fill.gas_usd is None else fill.gas_usd
    if fill is None or not (trade.pair.is_spot() or is_loan_swap(trade)):
        return trade.lp_fees_paid or 0.0, 0.0, 0.0, 0.0, gas, 0.0
    lost = explain_fill(trade).scaled(Fraction(side * abs(fill.quantity)))
    return float(lost.fee), float(lost.tax), float(lost.impact), float(lost.slippage), gas, 0.0


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
        math.fsum(cost for cost in costs if not math.isnan(cost)),
    )
