"""The timeline: one row a position, raw for programs and as text for people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pandas as pd

from trading_dagster.domain.position import TradingPosition
from trading_dagster.statistics.summary_table import ABSENT
from trading_dagster.statistics.trade_table import close_reason

TIMELINE_COLUMNS: dict[str, str] = {
    "position_id": "int64",
    "side": "str",
    "status": "str",
    "closed_by": "str",
    "exchange": "str",
    "base": "str",
    "quote": "str",
    "opened_at": "datetime64[us]",
    "closed_at": "datetime64[us]",
    "duration": "timedelta64[us]",
    "value_at_open": "float64",
    "bought_value": "float64",
    "portfolio_share_at_open": "float64",
    "opening_mid_price": "float64",
    "closing_mid_price": "float64",
    "profit_usd": "float64",
    "profit_pct": "float64",
    "size_relative_profit_pct": "float64",
    "trade_count": "int64",
    "lp_fees": "float64",
    "notes": "str",
}

HEADINGS = (
    "Id",
    "Remarks",
    "Type",
    "Opened at",
    "Closed at",
    "Duration",
    "Exchange",
    "Pair",
    "Value at open USD",
    "Bought USD",
    "PnL USD",
    "PnL %",
    "Open mid price USD",
    "Close mid price USD",
    "Trades",
    "LP fees",
)


def create_timeline(positions: Iterable[TradingPosition]) -> pd.DataFrame:
    """Return one row a position, in the order given; times are naive UTC, amounts in USD, percents fractions.

    Profit is realised plus unrealised, the latter at the last prices; ``profit_pct`` is on all that was bought,
    ``size_relative_profit_pct`` is the realised percent x the share of the portfolio tied at open.
    """
    frame = pd.DataFrame([_row(position) for position in positions], columns=list(TIMELINE_COLUMNS))
    return frame.astype(TIMELINE_COLUMNS)


def expand_timeline(timeline: pd.DataFrame) -> pd.DataFrame:
    """Return the timeline as text for people: dates, dollars, percents and what is remarkable of each position."""
    rows = [
        (
            str(row["position_id"]),
            _remarks(str(row["status"]), str(row["closed_by"])),
            str(row["side"]).capitalize(),
            f"{row['opened_at']:%Y-%m-%d %H:%M}",
            ABSENT if pd.isna(row["closed_at"]) else f"{row['closed_at']:%Y-%m-%d %H:%M}",
            ABSENT if pd.isna(row["duration"]) else _days_and_hours(row["duration"].to_pytimedelta()),
            str(row["exchange"]),
            f"{row['base']}-{row['quote']}",
            f"{row['value_at_open']:,.2f}",
            f"{row['bought_value']:,.2f}",
            f"{row['profit_usd']:z,.2f}",
            f"{row['profit_pct']:z.2%}",
            _price(row["opening_mid_price"]),
            _price(row["closing_mid_price"]),
            str(row["trade_count"]),
            f"{row['lp_fees']:,.2f}",
        )
        for row in timeline.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=list(HEADINGS), dtype="str")


def _row(position: TradingPosition) -> tuple[object, ...]:
    pair, last = position.pair, position.last_executed_trade
    closing = last.planned_mid_price if position.is_closed() and last is not None else None
    return (
        position.position_id,
        side_of(position),
        "closed" if position.is_closed() else "frozen" if position.is_frozen() else "open",
        close_reason(position),
        pair.exchange_name or "",
        pair.base.token_symbol,
        pair.quote.token_symbol,
        position.opened_at,
        position.closed_at,
        position.get_duration(),
        position.get_value_at_open(),
        position.get_buy_value(),
        position.get_capital_tied_at_open_pct(),
        position.get_first_trade().planned_mid_price,
        float("nan") if closing is None else closing,
        position.get_total_profit_usd(),
        position.get_unrealised_and_realised_profit_percent(),
        position.get_size_relative_realised_profit_percent(),
        position.executed_trade_count,
        position.fees_paid,
        position.notes or "",
    )


def side_of(position: TradingPosition) -> str:
    """Return "long", "short" or "credit"."""
    if position.is_credit_supply():
        return "credit"
    return "short" if position.is_short() else "long"


def _remarks(status: str, closed_by: str) -> str:
    if status != "closed":
        return status
    return "" if closed_by == "rebalance" else closed_by.replace("_", " ")


def _days_and_hours(duration: timedelta) -> str:
    minutes = duration // timedelta(minutes=1)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = ((days, "d"), (hours, "h"), (minutes, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 min"


def _price(price: float) -> str:
    return ABSENT if pd.isna(price) else f"{price:,.6g}" if abs(price) < 1 else f"{price:,.2f}"
