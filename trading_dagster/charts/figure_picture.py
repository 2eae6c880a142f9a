"""Paint a plotly figure as a small PNG picture, for places that show an image but no interactive chart.

It paints what charts of trading are made of: lines, areas, points, bars, candles and heat maps on one or several pairs
of axes. Plotly's own exporter would start a browser. A figure of something else says what could not be painted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import unescape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trading_dagster.charts.canvas import encode_png, new_figure, plain_label, style_axes, style_times, with_own_style
from trading_dagster.charts.number import MINUS
from trading_dagster.charts.palette import GAIN, LIGHT, LOSS, NEUTRAL, STRATEGY

WIDTH = 900
LEAST_HEIGHT, MOST_HEIGHT = 300, 760
LEGEND_ENTRIES = 9
SHAPES = {
    "triangle-up": "^", "triangle-down": "v", "x": "X", "star": "*", "diamond": "D", "square": "s",
    "circle-x-open": "o",
}  # fmt: skip
_RGBA = re.compile(r"rgba?\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(?:,\s*([\d.]+)\s*)?\)")


@with_own_style
def paint_figure(figure: go.Figure, *, title: str = "", width: int = WIDTH) -> bytes:
    """Paint a figure.

    Args:
        figure: any plotly figure
        title: heading; the figure's own by default
        width: pixels; the height follows the figure's

    Returns:
        A PNG file.
    """
    wanted = figure.layout.height or 400
    height = int(min(max(wanted * 0.8, LEAST_HEIGHT), MOST_HEIGHT))
    canvas = new_figure(width, height)
    canvas.set_layout_engine(None)
    painter = _Painter(canvas, figure, width, height)
    for trace in figure.data:
        painter.paint(trace)
    painter.finish(title or str(figure.layout.title.text or ""))
    return encode_png(canvas)


class _Painter:
    """Paints the traces of one figure, each on the axes it belongs to."""

    def __init__(self, canvas: Figure, figure: go.Figure, width: int, height: int) -> None:
        self._canvas = canvas
        self._layout = figure.layout
        self._pixels = width, height
        self._axes: dict[str, Axes] = {}
        self._legend: dict[str, Any] = {}
        self._unknown: list[str] = []
        self._below: dict[str, npt.NDArray[np.float64]] = {}
        self._stacked: dict[str, npt.NDArray[np.float64]] = {}

    def paint(self, trace: Any) -> None:
        """Paint one trace; one of an unknown kind is noted."""
        painters: Mapping[str, Callable[[Any, Axes], Any]] = {
            "scatter": self._scatter,
            "scattergl": self._scatter,
            "bar": self._bar,
            "candlestick": self._candles,
            "heatmap": self._heatmap,
        }
        painter = painters.get(trace.type)
        if painter is None or trace.visible is False:
            self._unknown += [] if painter is not None else [trace.type]
            return
        handle = painter(trace, self._axes_of(trace))
        if handle is not None and trace.name and trace.showlegend is not False and self._layout.showlegend is not False:
            self._legend.setdefault(unescape(str(trace.name)), handle)

    def finish(self, title: str) -> None:
        """Write titles, legend and the figure's sentences."""
        for key, axes in self._axes.items():
            self._style(axes, key)
        if not self._axes:
            axes = self._canvas.add_axes((0.02, 0.02, 0.96, 0.86))
            axes.set_axis_off()
        text = plain_label(unescape(title), 60)
        self._canvas.text(0.012, 0.985, text, ha="left", va="top", fontsize=10, color=LIGHT.text)
        entries = list(self._legend.items())[:LEGEND_ENTRIES]
        if len(entries) > 1:
            self._canvas.legend(
                handles=[handle for _, handle in entries],
                labels=[plain_label(name, 24) for name, _ in entries],
                loc="upper right" if text else "upper left",
                bbox_to_anchor=(0.99, 0.995) if text else (0.06, 0.995),
                ncols=len(entries), fontsize=8, frameon=False, borderaxespad=0.2, columnspacing=1.2, handletextpad=0.4,
                labelcolor=LIGHT.text,
            )  # fmt: skip
        sentences = [unescape(str(each.text)) for each in self._layout.annotations if each.yref == "paper"]
        sentences = [each for each in sentences if not self._legend]
        sentences += [f"A {kind} chart is not painted here: open the page" for kind in sorted(set(self._unknown))]
        for number, sentence in enumerate(sentences):
            self._canvas.text(0.5, 0.5 - 0.07 * number, plain_label(sentence), ha="center", color=LIGHT.muted)

    # -- axes -----------------------------------------------------------------------------------------------------

    def _axes_of(self, trace: Any) -> Axes:
        key = str(trace.yaxis or "y")
        if key not in self._axes:
            layout = self._layout[f"yaxis{key[1:]}"]
            base = layout.overlaying
            if base and base != "free":
                below = self._axes.get(str(base)) or self._new_axes(str(base), str(trace.xaxis or "x"))
                self._axes[key] = below.twinx()
            else:
                self._new_axes(key, str(trace.xaxis or "x"))
        return self._axes[key]

    def _new_axes(self, key: str, x_key: str) -> Axes:
        width, height = self._pixels
        left, right, top, bottom = 80 / width, 1 - 24 / width, 1 - 40 / height, 34 / height
        if any(self._layout[name].overlaying for name in self._layout if name.startswith("yaxis")):
            right = 1 - 70 / width
        x_domain = self._layout[f"xaxis{x_key[1:]}"].domain or (0.0, 1.0)
        y_domain = self._layout[f"yaxis{key[1:]}"].domain or (0.0, 1.0)
        rectangle = (
            left + (right - left) * x_domain[0],
            bottom + (top - bottom) * y_domain[0],
            (right - left) * (x_domain[1] - x_domain[0]),
            (top - bottom) * (y_domain[1] - y_domain[0]),
        )
        self._axes[key] = self._canvas.add_axes(rectangle)
        return self._axes[key]

    def _style(self, axes: Axes, key: str) -> None:
        layout = self._layout[f"yaxis{key[1:]}"]
        if not axes.images:
            style_axes(axes)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(FuncFormatter(_writer(str(layout.tickformat or ""))))
            if layout.type == "log":
                axes.set_yscale("log")
        label = plain_label(unescape(str(layout.title.text or "")), 24)
        axes.set_ylabel(label, fontsize=8, color=LIGHT.muted)
        if isinstance(axes.xaxis.get_converter(), object) and axes.xaxis.have_units() and not axes.images:
            style_times(axes)
        is_lowest = all(axes.get_position().y0 <= other.get_position().y0 + 1e-9 for other in self._axes.values())
        if not is_lowest:
            axes.set_xticklabels([])
            axes.xaxis.get_offset_text().set_visible(False)

    # -- traces ---------------------------------------------------------------------------------------------------

    def _scatter(self, trace: Any, axes: Axes) -> Any:
        x, y = _times_or_values(trace.x), _floats(trace.y)
        if not len(x) or not len(y):
            return None
        key, mode = str(trace.yaxis or "y"), str(trace.mode or "lines")
        if trace.stackgroup:
            y = self._stacked[key] = y + self._stacked.get(key, np.zeros(len(y)))
        colour = _colour(trace.line.color or trace.marker.color, STRATEGY)
        handle: Any = None
        if trace.fill or trace.stackgroup:
            lower = self._below.get(key) if trace.fill == "tonexty" or trace.stackgroup else None
            below = np.zeros(len(y)) if lower is None or len(lower) != len(y) else lower
            fill = _colour(trace.fillcolor, (*to_rgba(colour)[:3], 0.4))
            handle = axes.fill_between(x, below, y, color=fill, linewidth=0)
            self._below[key] = y
        if "lines" in mode:
            line_width = (trace.line.width or 1.5) * 0.75
            style = {"dot": ":", "dash": "--", "dashdot": "-."}.get(str(trace.line.dash), "-")
            steps = "steps-post" if trace.line.shape == "hv" else "default"
            (line,) = axes.plot(x, y, color=colour, linewidth=line_width, linestyle=style, drawstyle=steps)
            handle = handle or line
        if "markers" in mode:
            marker_colour = trace.marker.color if isinstance(trace.marker.color, str) else None
            size = trace.marker.size if isinstance(trace.marker.size, int | float) else 6
            points = axes.scatter(
                x, y, s=(size * 0.75) ** 2, color=_colour(marker_colour, colour), linewidths=0.4, edgecolors="white",
                marker=SHAPES.get(str(trace.marker.symbol), "o"), zorder=3,
            )  # fmt: skip
            handle = handle or points
        return handle

    def _bar(self, trace: Any, axes: Axes) -> Any:
        x, y = _times_or_values(trace.x), _floats(trace.y)
        if not len(x):
            return None
        given = trace.marker.color
        is_each = isinstance(given, list | tuple | np.ndarray) and len(given) == len(x)
        colours = [_colour(each, STRATEGY) for each in given] if is_each else _colour(given, STRATEGY)
        width = float(trace.width) if isinstance(trace.width, int | float) else 0.8
        return axes.bar(x, y, width, color=colours)

    def _candles(self, trace: Any, axes: Axes) -> Any:
        x = _times_or_values(trace.x)
        if len(x):
            axes.fill_between(x, _floats(trace.low), _floats(trace.high), color=NEUTRAL, alpha=0.3, linewidth=0)
            axes.plot(x, _floats(trace.close), color=NEUTRAL, linewidth=0.9)

    def _heatmap(self, trace: Any, axes: Axes) -> None:
        values = np.array([[np.nan if cell is None else cell for cell in row] for row in trace.z], dtype=np.float64)
        if not values.size or not np.isfinite(values).any():
            return
        middle = 0.0 if trace.zmid is None else float(trace.zmid)
        span = max(float(np.nanmax(np.abs(values - middle))), 1e-12)
        low = middle - span if trace.zmin is None else float(trace.zmin)
        high = middle + span if trace.zmax is None else float(trace.zmax)
        colours = LinearSegmentedColormap.from_list("diverging", [LOSS, LIGHT.middle, GAIN])
        is_reversed = self._layout[f"yaxis{str(trace.yaxis or 'y')[1:]}"].autorange == "reversed"
        origin: Any = "upper" if is_reversed else "lower"
        axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high, aspect="auto", origin=origin)
        for names, place in ((trace.x, axes.set_xticks), (trace.y, axes.set_yticks)):
            if names is not None:
                every = -(-len(names) // 26)
                place(range(0, len(names), every), [plain_label(str(name), 14) for name in names[::every]])
        axes.tick_params(length=0, labelsize=8, colors=LIGHT.muted)
        axes.spines[:].set_visible(False)


def _times_or_values(values: Any) -> Any:
    """Return an axis' values as times where they are times, as texts where they are, else as floats."""
    array = np.asarray([] if values is None else values)
    if array.dtype.kind == "M":
        return array
    if array.dtype.kind in "OU" and len(array):
        times = pd.to_datetime(pd.Series(array), errors="coerce", format="ISO8601")
        return times.to_numpy() if times.notna().all() else array.astype(str)
    return array.astype(np.float64)


def _floats(values: Any) -> npt.NDArray[np.float64]:
    given = [] if values is None else values
    return np.array([np.nan if each is None else each for each in given], dtype=np.float64)


def _colour(colour: Any, default: Any) -> Any:
    """Return a CSS colour as matplotlib has it; the default for what it does not know."""
    if not isinstance(colour, str):
        return default
    match = _RGBA.fullmatch(colour.strip())
    if match:
        red, green, blue, alpha = match.groups()
        return int(red) / 255, int(green) / 255, int(blue) / 255, float(alpha or 1)
    try:
        return to_rgba(colour)
    except ValueError:
        return default


def _writer(tick_format: str) -> Callable[[float, int], str]:
    """Return what writes the numbers of an axis the way plotly's format says."""

    def write(value: float, _: int) -> str:
        if "%" in tick_format:
            text = f"{value:.3g}" if abs(value) < 1e-12 else f"{value * 100:,.4g}"
            return f"{text} %".replace("-", MINUS)
        text = f"{abs(value):,.10g}"
        dollars = "$" if tick_format.startswith("$") else ""
        return f"{MINUS if value < 0 else ''}{dollars}{text}".replace("$", r"\$")

    return write
