"""Choose and word the key figures at the top of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
import pandas as pd

from trading_dagster.charts.equity import calculate_drawdown
from trading_dagster.charts.number import format_duration, format_percent, format_ratio, format_usd
from trading_dagster.charts.position import select_closed
from trading_dagster.charts.sampling import Benchmarks, Curve, clean_curve, name_benchmarks
from trading_dagster.statistics.measure_ratio import cap_sortino, sharpe_ratio, sortino_ratio
from trading_dagster.statistics.measure_return import cagr
from trading_dagster.statistics.returns import calculate_daily_returns_from_curve
from trading_dagster.statistics.trade_table import CHARGE_COLUMNS

SHARPE_NAMES = ("sharpe", "sharperatio")
SORTINO_NAMES = ("sortino", "sortinoratio")
CAGR_NAMES = ("cagr", "annualisedreturnraw")
PROFIT_FACTOR_NAMES = ("profitfactor",)
IN_MARKET_NAMES = ("timeinmarketvolatile", "timeinmarket")


@dataclass(frozen=True, slots=True)
class Tile:
    """A key figure: what it is, its value, a line of context and whether it is good news."""

    label: str
    value: str
    note: str = ""
    tone: Literal["", "gain", "loss"] = ""


def choose_tiles(
    equity: Curve,
    benchmarks: Benchmarks,
    trades: pd.DataFrame,
    positions: pd.DataFrame,
    metrics: Mapping[str, object],
    performance: Curve | None = None,
) -> list[Tile]:
    """Return the key figures that can be told from what is given.

    Return and drawdown are of `performance`, equity without deposits and redemptions, where it is given.
    Sharpe, Sortino, CAGR, profit factor and time in market come from `metrics` where it has them, by name.
    """
    performance = equity if performance is None else performance
    tiles = _money_tiles(clean_curve(equity), clean_curve(performance), benchmarks, metrics)
    factor, in_market = find_metric(metrics, PROFIT_FACTOR_NAMES), find_metric(metrics, IN_MARKET_NAMES)
    if factor is not None:
        tiles.append(Tile("Profit factor", format_ratio(factor)))
    closed = select_closed(positions)
    if len(closed):
        profit = closed["realised_profit"].astype("float64")
        won, lost = int((profit > 0).sum()), int((profit < 0).sum())
        tiles.append(Tile("Win rate", format_percent(won / len(closed)), f"{won:,} won, {lost:,} lost"))
        average = float(closed["profit_pct"].astype("float64").mean())
        tiles.append(Tile("Average position", format_percent(average, signed=True), _hold_note(closed), _tone(average)))
    if in_market is not None:
        tiles.append(Tile("Time in market", format_percent(in_market)))
    if len(trades):
        done = trades[trades["status"].astype("str") == "success"]
        failed = int((trades["status"].astype("str") == "failed").sum())
        note = f"{len(positions):,} positions" + (f", {failed:,} failed" if failed else "")
        tiles.append(Tile("Trades", f"{len(done):,}", note))
        fees, volume = float(done["fee"].astype("float64").sum()), float(done["reserve"].astype("float64").sum())
        tiles.append(Tile("Fees paid", format_usd(fees), f"on {format_usd(volume)} traded"))
        others = {name: float(done[name].sum()) for name in CHARGE_COLUMNS if name != "tax" and name in done}
        if others:
            note = ", ".join(f"{name} {format_usd(value)}" for name, value in others.items() if value)
            tiles.append(Tile("Other costs", format_usd(sum(others.values())), note))
    return tiles


def find_metric(metrics: Mapping[str, object], names: tuple[str, ...]) -> float | None:
    """Return the first finite number among metrics of these names, compared without case, spaces and signs."""
    plain = {"".join(sign for sign in name.lower() if sign.isalnum()): value for name, value in metrics.items()}
    for name in names:
        value = plain.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
            return float(value)
    return None


def tiles_html(tiles: list[Tile]) -> str:
    """Return the tiles as escaped HTML."""
    cells = "".join(
        f'<div class="tile"><div class="label">{escape(tile.label)}</div>'
        f'<div class="value {tile.tone}">{escape(tile.value)}</div><div class="note">{escape(tile.note)}</div></div>'
        for tile in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _money_tiles(
    equity: Curve, performance: Curve, benchmarks: Benchmarks, metrics: Mapping[str, object]
) -> list[Tile]:
    if equity.empty:
        return []
    first, last = float(equity.iloc[0]), float(equity.iloc[-1])
    total = float(performance.iloc[-1]) / first - 1 if first > 0 else float("nan")
    other_name, other = next(iter(name_benchmarks(benchmarks).items()), ("", equity.iloc[:0]))
    other_total = float(other.iloc[-1] / other.iloc[0] - 1) if len(other) and other.iloc[0] > 0 else float("nan")
    daily = calculate_daily_returns_from_curve(performance)
    depth = _lowest(calculate_drawdown(performance))
    growth = find_metric(metrics, CAGR_NAMES)
    sharpe, sortino = find_metric(metrics, SHARPE_NAMES), find_metric(metrics, SORTINO_NAMES)
    return [
        Tile(
            "Total return",
            format_percent(total, signed=True),
            f"{other_name} {format_percent(other_total, signed=True)}" if other_name else "",
            _tone(total),
        ),
        Tile("Final equity", format_usd(last), f"from {format_usd(first)}"),
        Tile("CAGR", format_percent(growth if growth is not None else cagr(daily), signed=True), "a year, compounded"),
        Tile(
            "Max drawdown",
            format_percent(depth),
            f"{other_name} {format_percent(_lowest(calculate_drawdown(other)))}" if other_name else "",
        ),
        Tile("Sharpe", format_ratio(sharpe if sharpe is not None else sharpe_ratio(daily)), "daily, annualised"),
        Tile(
            "Sortino",
            format_ratio(cap_sortino(sortino if sortino is not None else sortino_ratio(daily))),
            "daily, annualised",
        ),
    ]


def _lowest(drawdown: Curve) -> float:
    return float(drawdown.min()) if len(drawdown) else float("nan")


def _hold_note(closed: pd.DataFrame) -> str:
    typical = pd.to_timedelta(closed["duration"]).median()
    return "" if pd.isna(typical) else f"held {format_duration(typical.to_pytimedelta())} (median)"


def _tone(value: float) -> Literal["", "gain", "loss"]:
    return "gain" if value > 0 else "loss" if value < 0 else ""
