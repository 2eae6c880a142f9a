"""Draw equity above its drawdown as a small SVG: text, which takes a fiftieth of the time of a painted picture.

It is for places that show an image but no interactive chart, such as Dagster's metadata, where a backtest may draw one
in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.charts.axis import money_ticks, time_ticks
from trading_dagster.charts.number import MINUS, format_percent
from trading_dagster.charts.palette import LIGHT, LOSS, STRATEGY, colour_of
from trading_dagster.charts.sampling import Benchmarks, Curve, clean_curve, name_benchmarks, thin_positions
from trading_dagster.statistics.drawdown import calculate_drawdown_series
from trading_dagster.statistics.returns import calculate_returns

Points: TypeAlias = "npt.NDArray[np.float64]"
"""Pixels from the left and from the top, shape (points, 2)."""

WIDTH, HEIGHT = 900, 360
LEFT, RIGHT, TOP, GAP, BOTTOM = 84, 16, 34, 14, 24
LOWER_SHARE = 0.25
LONGEST_TITLE, LONGEST_NAME = 60, 30


@dataclass(frozen=True, slots=True)
class _Panel:
    """A rectangle of pixels that shows a range of times and values."""

    left: float
    right: float
    top: float
    bottom: float
    first_ns: int
    last_ns: int
    low: float
    high: float

    def x(self, times_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return self.left + (times_ns - self.first_ns) / max(self.last_ns - self.first_ns, 1) * (self.right - self.left)

    def y(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return self.bottom - (values - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def points(self, curve: Curve) -> Points:
        """Return the pixels of a curve, as many as there is room for, with its extremes kept; shape (points, 2)."""
        values = np.asarray(curve, dtype=np.float64)
        kept = thin_positions(values, int(self.right - self.left))
        return np.column_stack([self.x(_ns(curve.index)[kept]), self.y(values[kept])])

    def grid(self, ticks: Sequence[float], labels: Sequence[str]) -> list[str]:
        """Return faint horizontal lines with their labels at the left."""
        parts = []
        for y, label in zip(self.y(np.asarray(ticks, dtype=np.float64)).tolist(), labels, strict=True):
            parts += [
                f'<path d="M{self.left} {y:.1f}H{self.right}" stroke="{LIGHT.grid}"/>',
                _text(self.left - 6, y + 4, label, anchor="end"),
            ]
        return parts


def sketch_equity(
    equity: Curve, benchmarks: Benchmarks = None, *, title: str = "Equity", width: int = WIDTH, height: int = HEIGHT
) -> bytes:
    """Draw equity above its drawdown, with benchmarks.

    Args:
        equity: USD by naive UTC time
        benchmarks: curves of the same kind
        title: heading; total return and deepest drawdown are added to it
        width: pixels
        height: pixels

    Returns:
        An SVG file; equal curves give equal bytes.
    """
    cleaned = clean_curve(equity)
    if cleaned.empty:
        sentence = _text(width / 2, height / 2, "No equity was recorded", anchor="middle")
        return _document([_head(title), sentence], width, height)
    others = name_benchmarks(benchmarks)
    drawdown = calculate_drawdown_series(calculate_returns(cleaned))
    curves = [cleaned, *others.values()]
    first, last = min(c.index[0] for c in curves), max(c.index[-1] for c in curves)
    low, high = min(float(c.min()) for c in curves), max(float(c.max()) for c in curves)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    split = TOP + (height - TOP - GAP - BOTTOM) * (1 - LOWER_SHARE)
    sides = {"left": LEFT, "right": width - RIGHT, "first_ns": first.value, "last_ns": last.value}
    upper = _Panel(top=TOP, bottom=split, low=low - margin, high=high + margin, **sides)
    deepest = float(drawdown.min()) if len(drawdown) else 0.0
    lower = _Panel(top=split + GAP, bottom=height - BOTTOM, low=min(deepest * 1.1, -0.01), high=0.0, **sides)
    money, losses = money_ticks(upper.low, upper.high), money_ticks(lower.low, 0.0, 2)
    change = float(cleaned.iloc[-1]) / float(cleaned.iloc[0]) - 1 if cleaned.iloc[0] > 0 else np.nan
    note = f"{format_percent(change, signed=True)}, max drawdown {format_percent(deepest)}"
    parts = [_head(title, note), *_legend(list(others), width)]
    parts += upper.grid(money, [f"${tick:,.10g}".replace("$-", f"{MINUS}$") for tick in money])
    parts += lower.grid(losses, [f"{tick * 100:.3g}%".replace("-", MINUS) for tick in losses])
    for position, curve in enumerate(others.values()):
        parts.append(_line(upper.points(curve), colour_of(position), 1))
    parts.append(_line(upper.points(cleaned), STRATEGY, 1.5))
    if len(drawdown):
        area = lower.points(drawdown)
        sides_up = np.array([[area[0, 0], lower.top], [area[-1, 0], lower.top]])
        parts.append(_line(area, LOSS, 0.8))
        edge = f"{_pixels(sides_up[:1])} {_pixels(area)} {_pixels(sides_up[1:])}"
        parts.append(f'<polygon points="{edge}" fill="{LOSS}" fill-opacity="0.25"/>')
    for tick, label in time_ticks(first, last):
        x = float(upper.x(np.array([tick.value]))[0])
        parts.append(_text(x, height - 8, label, anchor="middle"))
    return _document(parts, width, height)


def _line(points: Points, colour: str, width: float) -> str:
    if len(points) == 1:
        return f'<circle cx="{points[0, 0]:.1f}" cy="{points[0, 1]:.1f}" r="3" fill="{colour}"/>'
    return f'<polyline points="{_pixels(points)}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _pixels(points: Points) -> str:
    return " ".join(["%.1f,%.1f"] * len(points)) % tuple(points.ravel().tolist())


def _head(title: str, note: str = "") -> str:
    heading = f'{escape(_plain(title, LONGEST_TITLE))}<tspan dx="10">{escape(note)}</tspan>'
    return f'<text x="{LEFT}" y="20" font-size="13" fill="{LIGHT.text}">{heading}</text>'


def _legend(names: Sequence[str], width: int) -> list[str]:
    """Return the names of the curves in their colours, from the right edge of the heading leftwards."""
    if not names:
        return []
    named = [("Strategy", STRATEGY), *((_plain(name, LONGEST_NAME), colour_of(i)) for i, name in enumerate(names))]
    spans = "".join(f'<tspan dx="12" fill="{colour}">{escape(name)}</tspan>' for name, colour in named)
    return [f'<text x="{width - RIGHT}" y="20" font-size="11" text-anchor="end">{spans}</text>']


def _text(x: float, y: float, text: str, *, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _plain(text: str, longest: int) -> str:
    """Return a text without signs that XML does not allow, cut to a length."""
    visible = "".join(sign if sign.isprintable() else " " for sign in text)
    return visible if len(visible) <= longest else f"{visible[: longest - 1].rstrip()}."


def _ns(index: pd.Index) -> npt.NDArray[np.int64]:
    return index.to_numpy().astype("datetime64[ns]").astype(np.int64)


def _document(parts: Sequence[str], width: int, height: int) -> bytes:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="11" fill="{LIGHT.muted}">'
        f'<rect width="{width}" height="{height}" fill="{LIGHT.background}"/>'
    )
    return "\n".join([head, *parts, "</svg>\n"]).encode()
