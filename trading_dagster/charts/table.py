"""Turn frames into HTML tables: small ones as markup, long ones as data that the page sorts, searches and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from trading_dagster.charts.number import MINUS, format_percent, format_value
from trading_dagster.charts.returns import month_scale
from trading_dagster.statistics.returns import MONTHS

Kind: TypeAlias = Literal[
    "text",
    "code",
    "side",
    "status",
    "count",
    "usd",
    "profit",
    "price",
    "amount",
    "percent",
    "change",
    "time",
    "duration",
]
"""How the page writes a column: percent and change (coloured) are fractions, time and duration are seconds."""


LONG_SUMMARY = 14


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a long table: the frame's column, its heading and how its values are written."""

    key: str
    label: str
    kind: Kind
    is_varied: bool = False
    """True where the column is shown only if its values differ."""


TRADE_COLUMNS = (
    Column("trade_id", "#", "count"),
    Column("executed_at", "Executed", "time"),
    Column("pair", "Pair", "text"),
    Column("side", "Side", "side"),
    Column("trade_type", "Type", "code"),
    Column("quantity", "Quantity", "amount"),
    Column("executed_price", "Price", "price"),
    Column("reserve", "Value", "usd"),
    Column("fee", "Fee", "usd"),
    Column("tax", "of it tax", "usd", is_varied=True),
    Column("impact", "Impact", "usd", is_varied=True),
    Column("slippage", "Slippage", "usd", is_varied=True),
    Column("gas", "Gas", "usd"),
    Column("delay", "Delay", "usd", is_varied=True),
    Column("profit", "Profit", "profit"),
    Column("position_id", "Position", "count"),
    Column("status", "Status", "status"),
    Column("notes", "Notes", "text"),
)
POSITION_COLUMNS = (
    Column("position_id", "#", "count"),
    Column("pair", "Pair", "text"),
    Column("kind", "Kind", "code", is_varied=True),
    Column("status", "Status", "status"),
    Column("opened_at", "Opened", "time"),
    Column("closed_at", "Closed", "time"),
    Column("duration", "Duration", "duration"),
    Column("opening_price", "Entry", "price"),
    Column("closing_price", "Exit", "price"),
    Column("value_at_open", "Value at open", "usd"),
    Column("realised_profit", "Realised", "profit"),
    Column("unrealised_profit", "Unrealised", "profit", is_varied=True),
    Column("profit_pct", "Profit %", "change"),
    Column("close_reason", "Closed by", "code"),
    Column("stop_loss", "Stop loss", "price"),
    Column("take_profit", "Take profit", "price"),
    Column("trade_count", "Trades", "count"),
    Column("fees", "Fees", "usd"),
)
PAIR_COLUMNS = (
    Column("pair", "Pair", "text"),
    Column("positions", "Positions", "count"),
    Column("trades", "Trades", "count"),
    Column("won", "Won", "count"),
    Column("lost", "Lost", "count"),
    Column("win_rate", "Win rate", "percent"),
    Column("profit", "Profit", "profit"),
    Column("average", "Average", "change"),
    Column("best", "Best", "change"),
    Column("worst", "Worst", "change"),
    Column("stop_losses", "Stop losses", "count"),
    Column("take_profits", "Take profits", "count"),
    Column("volume", "Volume", "usd"),
    Column("fees", "Fees", "usd"),
)


def pack_table(frame: pd.DataFrame, columns: Sequence[Column]) -> dict[str, Any]:
    """Return a frame as plain data for the page: columns with label, kind and values, and the number of rows.

    Columns that the frame does not have or that hold nothing at all are left out; so are those that should vary and
    do not.
    """
    packed = []
    for column in columns:
        if column.key not in frame.columns:
            continue
        values = _pack_values(frame[column.key], column.kind)
        distinct = set(values) - {None, ""}
        if len(values) and len(distinct) <= int(column.is_varied):
            continue
        packed.append({"label": column.label, "kind": column.kind, "values": values})
    return {"rows": len(frame), "columns": packed}


def guess_columns(frame: pd.DataFrame) -> tuple[Column, ...]:
    """Return columns for any frame: known names as in the trades, positions and pairs tables, others by their type."""
    known = {column.key: column for column in (*TRADE_COLUMNS, *POSITION_COLUMNS, *PAIR_COLUMNS)}
    return tuple(known.get(str(name)) or _guess_column(frame[name], str(name)) for name in frame.columns)


def summarise_pairs(trades: pd.DataFrame, positions: pd.DataFrame) -> pd.DataFrame:
    """Return a row per pair with its positions, profit and costs, the most profitable first.

    Win rate and percentages are of closed positions; volume and fees of successful trades.
    """
    rows = []
    done = trades[trades["status"].astype("str") == "success"]
    for pair in sorted({*done["pair"], *positions["pair"]}):
        own, own_trades = positions[positions["pair"] == pair], done[done["pair"] == pair]
        closed = own[own["status"].astype("str") == "closed"]
        profit, percent = closed["realised_profit"].astype("float64"), closed["profit_pct"].astype("float64")
        kinds = own_trades["trade_type"].astype("str")
        rows.append(
            {
                "pair": pair,
                "positions": len(own),
                "trades": len(own_trades),
                "won": int((profit > 0).sum()),
                "lost": int((profit < 0).sum()),
                "win_rate": float((profit > 0).mean()) if len(profit) else np.nan,
                "profit": float(own[["realised_profit", "unrealised_profit"]].astype("float64").sum().sum()),
                "average": float(percent.mean()),
                "best": float(percent.max()),
                "worst": float(percent.min()),
                "stop_losses": int((kinds == "stop_loss").sum()),
                "take_profits": int((kinds == "take_profit").sum()),
                "volume": float(own_trades["reserve"].astype("float64").sum()),
                "fees": float(own_trades["fee"].astype("float64").sum()),
            }
        )
    frame = pd.DataFrame(rows, columns=[column.key for column in PAIR_COLUMNS])
    return frame.sort_values(["profit", "pair"], ascending=[False, True], kind="stable", ignore_index=True)


def summary_table_html(summary: pd.DataFrame) -> str:
    """Return a statistics table (metric names as index, any columns) as escaped HTML; long ones as two halves."""
    half = -(-len(summary) // 2) if len(summary) > LONG_SUMMARY else len(summary)
    parts = [_summary_part(part) for part in (summary.iloc[:half], summary.iloc[half:]) if len(part)]
    tables = "".join(f'<div class="scroll">{part}</div>' for part in parts)
    return f'<div class="columns">{tables}</div>' if len(parts) > 1 else tables


def _summary_part(summary: pd.DataFrame) -> str:
    names = [str(name) for name in summary.columns]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = []
    for row, metric in enumerate(summary.index):
        cells = "".join(
            f"<td>{escape(format_value(str(metric), summary.iat[row, column]))}</td>" for column in range(len(names))
        )
        body.append(f'<tr><th scope="row">{escape(str(metric))}</th>{cells}</tr>')
    return f'<table class="summary"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def monthly_table_html(table: pd.DataFrame) -> str:
    """Return monthly returns (rows years, columns Jan to Dec and Year) as an HTML heat map, the newest year on top.

    The depth of a cell's colour is given as ``--depth``, 0 to 1; the page's style sheet has the colours.
    """
    scale = month_scale(table.to_numpy(dtype=np.float64))
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in table.columns)
    body = []
    for year, row in table.iloc[::-1].iterrows():
        cells = "".join(
            _month_cell(float(value), scale, is_total=name not in MONTHS)
            for name, value in zip(row.index, row, strict=True)
        )
        body.append(f'<tr><th scope="row">{escape(str(year))}</th>{cells}</tr>')
    return f'<table class="months"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def _month_cell(value: float, scale: float, *, is_total: bool) -> str:
    if np.isnan(value):
        return "<td></td>"
    tone = "gain" if value > 0 else "loss" if value < 0 else "flat"
    depth = min(abs(value) / scale, 1.0)
    total = " total" if is_total else ""
    text = f"{value:+.1%}".replace("-", MINUS)
    exact = format_percent(value, signed=True)
    return f'<td class="{tone}{total}" style="--depth:{depth:.2f}" title="{exact}">{text}</td>'


def _guess_column(values: pd.Series[Any], name: str) -> Column:
    kind: Kind = "text"
    if pd.api.types.is_datetime64_any_dtype(values):
        kind = "time"
    elif pd.api.types.is_timedelta64_dtype(values):
        kind = "duration"
    elif pd.api.types.is_integer_dtype(values):
        kind = "count"
    elif pd.api.types.is_float_dtype(values):
        kind = _guess_float(name.lower())
    return Column(name, name.replace("_", " ").capitalize() if name.islower() else name, kind)


def _guess_float(name: str) -> Kind:
    """Return how a float column is written, by words of its heading."""
    words = set(name.replace("_", " ").split())
    is_change = bool(words & {"profit", "pnl", "change", "return", "gain"})
    if "usd" in words:
        return "profit" if is_change else "usd"
    if is_change:
        return "change"
    if "price" in words or {"stop", "loss"} <= words:
        return "price"
    return "percent" if words & {"share", "weight", "%", "time"} else "amount"


def _pack_values(values: pd.Series[Any], kind: Kind) -> list[Any]:
    if kind == "time":
        seconds = values.astype("datetime64[s]").astype("int64")
        return [None if absent else int(second) for second, absent in zip(seconds, values.isna(), strict=True)]
    if kind == "duration":
        return _pack_floats(pd.to_timedelta(values).dt.total_seconds(), digits=9)
    if kind in {"count", "usd", "profit", "price", "amount", "percent", "change"}:
        return _pack_floats(pd.to_numeric(values, errors="coerce"), digits=9)
    return ["" if absent else str(value) for value, absent in zip(values, values.isna(), strict=True)]


def _pack_floats(values: pd.Series[Any], *, digits: int) -> list[float | int | None]:
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan).tolist()
    return [shorten_number(number, digits) for number in numbers]


def shorten_number(number: float, digits: int) -> float | int | None:
    """Return a number with so many significant digits, whole ones as integers, None where it is not finite."""
    if not np.isfinite(number):
        return None
    short = float(f"{number:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
