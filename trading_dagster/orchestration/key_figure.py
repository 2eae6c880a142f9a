"""The figures by which a backtest is judged first, beside buying and holding: for terminals and metadata."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from trading_dagster.backtest.result import BacktestResult
from trading_dagster.statistics.drawdown import max_drawdown
from trading_dagster.statistics.measure import Measure
from trading_dagster.statistics.returns import calculate_daily_returns_from_curve, calculate_returns

ABSENT = "-"
MEASURES = {
    "CAGR": Measure.cagr,
    "Sharpe": Measure.sharpe,
    "Sortino": Measure.sortino,
}


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A figure of the strategy and, where it has one, of buying and holding; NaN where it has no value."""

    name: str
    strategy: float
    hold: float | None
    is_fraction: bool = False
    digits: int = 2

    def text(self, value: float | None) -> str:
        """Return a value as a person reads it."""
        if value is None or math.isnan(value):
            return ABSENT
        return f"{value:z.2%}" if self.is_fraction else f"{value:z,.{self.digits}f}"


def calculate_key_figures(result: BacktestResult) -> list[KeyFigure]:
    """Return the key figures: CAGR, Sharpe and Sortino of daily returns, drawdown of every sample.

    What tells of performance leaves deposits and redemptions after the first deposit out; equity has them.
    """
    end, cash = result.plan.end, float(result.plan.initial_cash)
    hold = result.buy_and_hold
    hold_end = float(hold.iloc[-1]) if len(hold) else math.nan
    held = calculate_daily_returns_from_curve(hold, end) if len(hold) else hold
    final = float(result.equity_curve.iloc[-1])
    closed = result.positions[result.positions["status"] == "closed"]
    won = float((closed["realised_profit"] > 0).mean()) if len(closed) else math.nan
    fees = float(result.trades["fee"].sum()) if len(result.trades) else 0.0
    return [
        KeyFigure("Equity at end, USD", final, hold_end),
        KeyFigure("Return", float(result.performance_curve.iloc[-1]) / cash - 1, hold_end / cash - 1, is_fraction=True),
        *(
            KeyFigure(
                name,
                float(measure.calculate(result.daily_returns)),
                float(measure.calculate(held)),
                is_fraction=name == "CAGR",
            )
            for name, measure in MEASURES.items()
        ),
        KeyFigure(
            "Max drawdown", max_drawdown(result.returns), max_drawdown(calculate_returns(hold)), is_fraction=True
        ),
        KeyFigure("Trades", float(len(result.trades)), None, digits=0),
        KeyFigure("Win rate", won, None, is_fraction=True),
        KeyFigure("Fees, USD", fees, None),
    ]


def key_figure_rows(result: BacktestResult, figures: Sequence[KeyFigure]) -> list[tuple[str, str, str]]:
    """Return heading and rows of the table of key figures as text."""
    hold = f"Hold {result.universe.pairs[0].get_ticker()}"
    rows = [(figure.name, figure.text(figure.strategy), figure.text(figure.hold)) for figure in figures]
    return [("", result.plan.name, hold), *rows]


def format_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as a table of fixed width: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * (len(widths) - 1)]
    lines = [
        "  ".join(align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)) for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def to_markdown(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as a Markdown table, the first of them its heading."""
    heading, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heading, rule, *body))


def frame_to_markdown(frame: pd.DataFrame) -> str:
    """Return a small frame of texts as a Markdown table."""
    return to_markdown(
        [tuple(map(str, frame.columns)), *(tuple(map(str, row)) for row in frame.itertuples(index=False))]
    )
