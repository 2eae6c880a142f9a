"""Paint small PNG pictures for places that show an image but no interactive chart, such as Dagster's metadata.

Equity is drawn by `sketch`. Every picture is 900 by 360 pixels unless asked otherwise and has at most 128 colours,
which keeps it below 80 kB.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trading_dagster.charts.canvas import (
    dot_if_single,
    draw_cells,
    encode_png,
    mix_with_white,
    new_figure,
    plain_label,
    say_instead,
    style_axes,
    style_times,
    with_own_style,
    write_head,
)
from trading_dagster.charts.marker import sort_markers
from trading_dagster.charts.number import MINUS
from trading_dagster.charts.palette import GAIN, LIGHT, LOSS, NEUTRAL, STRATEGY, TAKE_PROFIT, colour_of
from trading_dagster.charts.returns import month_scale
from trading_dagster.charts.sampling import (
    Curve,
    clean_curve,
    resample_candles,
    thin_curve,
)
from trading_dagster.statistics.returns import calculate_monthly_returns_table, calculate_returns

Pixels: TypeAlias = npt.NDArray[np.float64]

WIDTH, HEIGHT = 900, 360
MAX_POINTS = 1_800
MAX_PANELS = 6
MAX_LABELLED_PAIRS = 24
MARKER_AREA = {"^": 36, "v": 36, "X": 44, "*": 80, "D": 28, "s": 28, "o": 28}
MISSING, EXISTING, FILLED = 0, 1, 2
"""What a bar of `paint_coverage` is."""

COVERAGE = {"existing": (EXISTING, GAIN), "filled": (FILLED, TAKE_PROFIT), "missing": (MISSING, "#e3e7ed")}
LEAST_WEIGHT = 0.4
"""What a single hole or filled bar weighs at least in a pixel that covers many bars."""


@with_own_style
def paint_price(
    candles: pd.DataFrame,
    trades: pd.DataFrame | None = None,
    *,
    title: str = "Price and trades",
    width: int = WIDTH,
    height: int = HEIGHT,
) -> bytes:
    """Paint closes with the high-low range behind them and a marker at each trade.

    Args:
        candles: open, high, low, close by naive UTC open time
        trades: trades of this pair
        title: heading; the kinds of trades are counted in the legend
        width: pixels
        height: pixels

    Returns:
        A PNG file.
    """
    figure = new_figure(width, height)
    axes = figure.subplots()
    shown = resample_candles(candles, width)
    if shown.empty:
        say_instead(axes, title, "No candles in this range")
        return encode_png(figure)
    axes.fill_between(shown.index, shown["low"], shown["high"], color=NEUTRAL, alpha=0.3, linewidth=0)
    axes.plot(shown.index, shown["close"], color=NEUTRAL, linewidth=0.9, marker=dot_if_single(shown["close"]))
    for kind, rows in sort_markers(trades).items() if trades is not None else ():
        axes.scatter(
            rows["marker_at"].to_numpy(),
            rows["marker_price"].to_numpy(),
            s=MARKER_AREA[kind.shape] / (1 if len(rows) <= 150 else 3),
            color=kind.colour,
            marker=kind.shape,
            edgecolors="white",
            linewidths=0.5,
            label=f"{kind.name} ({len(rows):,})",
            zorder=3,
        )
    style_axes(axes)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", MINUS)))
    write_head(axes, title)
    style_times(axes)
    return encode_png(figure)


@with_own_style
def paint_monthly_returns(
    equity: Curve, *, title: str = "Monthly returns", width: int = WIDTH, height: int | None = None
) -> bytes:
    """Paint monthly returns: a row per year, the newest on top, the year's total at the right.

    Args:
        equity: USD by naive UTC time
        title: heading
        width: pixels
        height: pixels; by default what the number of years needs

    Returns:
        A PNG file.
    """
    table = calculate_monthly_returns_table(calculate_returns(clean_curve(equity))).iloc[::-1]
    figure = new_figure(width, height or min(max(130, 80 + 30 * len(table)), 720))
    axes = figure.subplots()
    if table.empty:
        say_instead(axes, title, "No returns to show")
        return encode_png(figure)
    values = table.to_numpy(dtype=np.float64)
    scale = month_scale(values)
    stops: list[tuple[float, tuple[float, float, float] | str]] = [
        (0.0, mix_with_white(LOSS, 0.6)),
        (0.5, LIGHT.middle),
        (1.0, mix_with_white(GAIN, 0.6)),
    ]
    colours = LinearSegmentedColormap.from_list("returns", stops)
    axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=-scale, vmax=scale, aspect="auto")
    for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
        text = f"{values[row, column]:+.1%}".replace("-", MINUS)
        weight = "bold" if column == values.shape[1] - 1 else "normal"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=LIGHT.text, fontweight=weight)
    draw_cells(axes, list(table.columns), [str(year) for year in table.index])
    write_head(axes, title)
    return encode_png(figure)


@with_own_style
def paint_coverage(
    coverage: pd.DataFrame,
    *,
    title: str = "Candle coverage",
    filled: str = "filled",
    width: int = WIDTH,
    height: int = HEIGHT,
) -> bytes:
    """Paint which bars exist: a row per pair, time to the right.

    A pixel that covers several bars mixes their colours; a single hole or filled bar among them stays visible.

    Args:
        coverage: a column per pair, a row per bar by naive UTC open time; values MISSING (0), EXISTING (1) or
            FILLED (2), the last for bars made from the close before them
        title: heading; the shares are added to it
        filled: what the legend calls bars that are FILLED
        width: pixels
        height: pixels

    Returns:
        A PNG file.
    """
    figure = new_figure(width, height)
    axes = figure.subplots()
    if coverage.empty:
        say_instead(axes, title, "No bars to show")
        return encode_png(figure)
    states = coverage.to_numpy(dtype=np.int8).T
    image = _mix_states(states, height, width)
    index = pd.DatetimeIndex(coverage.index)
    step = index[1] - index[0] if len(index) > 1 else pd.Timedelta(hours=1)
    edges = [float((time - pd.Timestamp(0)) / pd.Timedelta(days=1)) for time in (index[0], index[-1] + step)]
    axes.imshow(
        image,
        aspect="auto",
        interpolation="nearest",
        extent=(edges[0], edges[1], len(states) - 0.5, -0.5),
    )
    axes.xaxis_date()
    names = [plain_label(str(name)) for name in coverage.columns]
    every = -(-len(names) // MAX_LABELLED_PAIRS)
    axes.set_yticks(range(0, len(names), every), names[::every])
    axes.tick_params(length=0, labelsize=8, colors=LIGHT.muted)
    axes.spines[:].set_visible(False)
    if every == 1:
        axes.hlines(np.arange(0.5, len(names) - 1), edges[0], edges[1], color="white", linewidth=2)
    handles = [
        Line2D(
            [],
            [],
            marker="s",
            linestyle="",
            color=colour,
            label=f"{filled if state == FILLED else name} {_share(states == state)}",
        )
        for name, (state, colour) in COVERAGE.items()
    ]
    write_head(axes, title, f"{len(names):,} pairs, {len(index):,} bars", handles=handles)
    style_times(axes)
    return encode_png(figure)


@with_own_style
def paint_indicators(
    indicators: Mapping[str, Curve], *, title: str = "Indicators", width: int = WIDTH, height: int = HEIGHT
) -> bytes:
    """Paint an overview of indicators, a narrow panel each, at most six.

    Args:
        indicators: values by naive UTC time, by name; NaN (warm-up) is left out
        title: heading; says how many there are if not all are shown
        width: pixels
        height: pixels

    Returns:
        A PNG file.
    """
    figure = new_figure(width, height)
    chosen = list(indicators.items())[:MAX_PANELS]
    panels = figure.subplots(max(len(chosen), 1), 1, sharex=True, squeeze=False)[:, 0]
    if not chosen:
        say_instead(panels[0], title, "No indicators")
        return encode_png(figure)
    for position, (axes, (name, curve)) in enumerate(zip(panels, chosen, strict=True)):
        drawn = thin_curve(curve, MAX_POINTS)
        colour = STRATEGY if position == 0 else colour_of(position)
        axes.plot(drawn.index, drawn.to_numpy(), color=colour, linewidth=0.9, marker=dot_if_single(drawn))
        style_axes(axes)
        axes.yaxis.set_major_locator(MaxNLocator(2))
        axes.set_ylabel(
            plain_label(name, 24), rotation=0, ha="right", va="center", fontsize=8, color=LIGHT.text, labelpad=44
        )
    hidden = len(indicators) - len(chosen)
    write_head(panels[0], title, f"first {len(chosen)} of {len(indicators)}" if hidden else "")
    style_times(panels[-1])
    return encode_png(figure)


def to_markdown_image(image: bytes, alt: str) -> str:
    """Return a Markdown image that carries the picture in itself as a data URI.

    Args:
        image: a PNG or an SVG file
        alt: what the picture shows, for readers who do not see it
    """
    words = "".join(" " if sign in "[]()\\!<>\r\n" else sign for sign in alt)
    kind = "png" if image.startswith(b"\x89PNG") else "svg+xml"
    return f"![{' '.join(words.split())}](data:image/{kind};base64,{base64.b64encode(image).decode('ascii')})"


def _mix_states(states: npt.NDArray[np.int8], max_rows: int, max_columns: int) -> Pixels:
    """Return the red, green and blue of each cell of a grid of at most so many rows and columns."""
    weights = {name: _shrink(states == state, max_rows, max_columns) for name, (state, _) in COVERAGE.items()}
    for name in ("filled", "missing"):
        weights[name] = np.where(weights[name] > 0, np.maximum(weights[name], LEAST_WEIGHT), 0.0)
    total = np.asarray(sum(weights.values()))
    colours = {name: np.array(to_rgb(colour)) for name, (_, colour) in COVERAGE.items()}
    mixed = [(weight / total)[..., None] * colours[name] for name, weight in weights.items()]
    image: Pixels = np.clip(np.sum(mixed, axis=0), 0.0, 1.0)
    return image


def _shrink(flags: npt.NDArray[np.bool_], max_rows: int, max_columns: int) -> Pixels:
    """Return the share of True in each cell of a grid of at most so many rows and columns."""
    shares = flags.astype(np.float64)
    for axis, most in ((1, max_columns), (0, max_rows)):
        count = shares.shape[axis]
        if count > most:
            starts = np.arange(most) * count // most
            sizes = np.diff(np.append(starts, count))
            shares = np.add.reduceat(shares, starts, axis=axis) / np.expand_dims(sizes, 1 - axis)
    return shares


def _share(flags: npt.NDArray[np.bool_]) -> str:
    share = float(flags.mean())
    digits = 1 if 0.001 <= share <= 0.999 or share in {0.0, 1.0} else 3
    return f"{share:.{digits}%}"
