"""Lay out trade summaries as a table: a row a metric, a column a side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pandas as pd

from trading_dagster.statistics.trade_summary import TradeSummary, annualise_linearly, share

ABSENT = "-"
"""What a cell shows that has no value, or whose row makes no sense for one side."""


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A row of the table: its heading, the field of TradeSummary it shows, whether one side may have it."""

    label: str
    field: str
    is_per_side: bool = True


SUMMARY_ROWS = (
    SummaryRow("Trading period length", "duration", False),
    SummaryRow("Return %", "return_percent"),
    SummaryRow("Annualised return %", "annualised_return_percent"),
    SummaryRow("Compounding return", "compounding_return"),
    SummaryRow("Cash at start", "initial_cash", False),
    SummaryRow("Later deposits less redemptions, USD", "later_flows", False),
    SummaryRow("Share price return", "share_price_return", False),
    SummaryRow("Value at end", "end_value", False),
    SummaryRow("Cash left at the end", "uninvested_cash", False),
    SummaryRow("Value of open positions", "open_value"),
    SummaryRow("Realised profit", "realised_profit"),
    SummaryRow("Unrealised profit", "unrealised_profit"),
    SummaryRow("Average net profit", "average_net_profit"),
    SummaryRow("Trade volume", "trade_volume"),
    SummaryRow("Trade volume without vaults", "trade_volume_wo_vault"),
    SummaryRow("Taxed trade volume", "trade_volume_taxed"),
    SummaryRow("LP fees paid", "lp_fees_paid"),
    SummaryRow("LP fees % of volume", "lp_fees_average_pc"),
    SummaryRow("Token tax paid", "token_tax_paid"),
    SummaryRow("Price impact paid", "price_impact_paid"),
    SummaryRow("Slippage paid", "slippage_paid"),
    SummaryRow("Gas paid", "gas_paid"),
    SummaryRow("Cost of execution delay", "delay_paid"),
    SummaryRow("Total trades", "total_trades"),
    SummaryRow("Total positions", "total_positions"),
    SummaryRow("Won positions", "won"),
    SummaryRow("Lost positions", "lost"),
    SummaryRow("Zero profit positions", "zero_loss"),
    SummaryRow("Delta neutral positions", "delta_neutral"),
    SummaryRow("Positions open at the end", "undecided"),
    SummaryRow("Win %", "win_percent"),
    SummaryRow("Lost %", "lost_percent"),
    SummaryRow("Average position %", "average_trade"),
    SummaryRow("Median position %", "median_trade"),
    SummaryRow("Average winning position %", "average_winning_trade_profit_pc"),
    SummaryRow("Average losing position %", "average_losing_trade_loss_pc"),
    SummaryRow("Median winning position %", "median_win"),
    SummaryRow("Median losing position %", "median_loss"),
    SummaryRow("Biggest winning position %", "biggest_winning_trade_pc"),
    SummaryRow("Biggest losing position %", "biggest_losing_trade_pc"),
    SummaryRow("Average duration of winning positions", "average_duration_of_winning_trades"),
    SummaryRow("Average duration of losing positions", "average_duration_of_losing_trades"),
    SummaryRow("Average duration of zero profit positions", "average_duration_of_zero_loss_trades"),
    SummaryRow("Average duration of positions", "average_duration_of_all_trades"),
    SummaryRow("Average bars of winning positions", "average_bars_of_winning_trades"),
    SummaryRow("Average bars of losing positions", "average_bars_of_losing_trades"),
    SummaryRow("Average bars of zero profit positions", "average_bars_of_zero_loss_trades"),
    SummaryRow("Average bars of positions", "average_bars_of_all_trades"),
    SummaryRow("Most consecutive wins", "max_pos_cons"),
    SummaryRow("Most consecutive losses", "max_neg_cons"),
    SummaryRow("Max pullback", "max_pullback"),
    SummaryRow("Biggest realised risk", "max_realised_loss"),
    SummaryRow("Average realised risk", "avg_realised_risk"),
    SummaryRow("Max loss risk at opening", "max_loss_risk"),
    SummaryRow("Closed because delisted", "delisted"),
    SummaryRow("Stop losses", "stop_losses"),
    SummaryRow("Stop losses % of all", "all_stop_loss_percent"),
    SummaryRow("Stop losses % of lost", "lost_stop_loss_percent"),
    SummaryRow("Winning stop losses", "winning_stop_losses"),
    SummaryRow("Winning stop losses %", "winning_stop_losses_percent"),
    SummaryRow("Losing stop losses", "losing_stop_losses"),
    SummaryRow("Losing stop losses %", "losing_stop_losses_percent"),
    SummaryRow("Take profits", "take_profits"),
    SummaryRow("Take profits % of all", "all_take_profit_percent"),
    SummaryRow("Take profits % of won", "won_take_profit_percent"),
    SummaryRow("Winning take profits", "winning_take_profits"),
    SummaryRow("Winning take profits %", "winning_take_profits_percent"),
    SummaryRow("Losing take profits", "losing_take_profits"),
    SummaryRow("Losing take profits %", "losing_take_profits_percent"),
    SummaryRow("Average interest paid", "average_interest_paid_usd"),
    SummaryRow("Median interest paid", "median_interest_paid_usd"),
    SummaryRow("Max interest paid", "max_interest_paid_usd"),
    SummaryRow("Min interest paid", "min_interest_paid_usd"),
    SummaryRow("Total interest paid", "total_interest_paid_usd"),
    SummaryRow("Total claimed interest", "total_claimed_interest_usd"),
    SummaryRow("Time in market", "time_in_market"),
    SummaryRow("Time in market, volatile", "time_in_market_volatile"),
    SummaryRow("Average duration between position openings", "average_duration_between_position_openings"),
    SummaryRow("Positions per day", "average_position_frequency"),
    SummaryRow("Sharpe", "sharpe_ratio"),
    SummaryRow("Sortino", "sortino_ratio"),
    SummaryRow("Profit Factor", "profit_factor"),
    SummaryRow("Max Drawdown", "max_drawdown"),
    SummaryRow("Max Run-up", "max_runup"),
)


def tabulate_summary(summary: TradeSummary, name: str = "All") -> pd.DataFrame:
    """Return one summary as a table of one column."""
    return tabulate_sides(summary, {}).rename(columns={"All": name})


def tabulate_sides(whole: TradeSummary, sides: dict[str, TradeSummary]) -> pd.DataFrame:
    """Return summaries as a table: column All, then one for each side, by name.

    A side's return is the whole return x side's profit ÷ whole profit, so that the sides add up to it.

    Returns:
        A row for each of `SUMMARY_ROWS`. Values are numbers (0.01 = 1 %) and timedeltas; "-" where there is none, and
        where a row makes no sense for one side.
    """
    columns = {"All": [_cell(getattr(whole, row.field)) for row in SUMMARY_ROWS]}
    for name, side in sides.items():
        given = _returns_of_side(whole, side)
        columns[name] = [
            _cell(given.get(row.field, getattr(side, row.field))) if row.is_per_side else ABSENT for row in SUMMARY_ROWS
        ]
    index = pd.Index([row.label for row in SUMMARY_ROWS], name="Metric")
    return pd.DataFrame(columns, index=index, dtype="object")


def _returns_of_side(whole: TradeSummary, side: TradeSummary) -> dict[str, float | None]:
    part = share(side.total_profit, whole.total_profit)
    total = None if part is None or whole.return_percent is None else whole.return_percent * part
    return {"return_percent": total, "annualised_return_percent": annualise_linearly(total, whole.duration)}


def _cell(value: float | timedelta | None) -> float | timedelta | str:
    return ABSENT if value is None else value
