"""Set up, style and encode matplotlib figures without its global state."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from PIL import Image

from trading_dagster.charts.number import MINUS
from trading_dagster.charts.palette import LIGHT

DPI = 100
COLOURS = (128, 32, 8)
MAX_BYTES = 80_000
INCH_PAD = 0.08


Arguments = ParamSpec("Arguments")
Painted = TypeVar("Painted")


def with_own_style(paint: Callable[Arguments, Painted]) -> Callable[Arguments, Painted]:
    """Paint under matplotlib's defaults, whatever style the user or an imported package has set."""

    @wraps(paint)
    def painted(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Painted:
        with mpl.rc_context(dict(mpl.rcParamsDefault)):
            return paint(*args, **kwargs)

    return painted


def new_figure(width: int, height: int) -> Figure:
    """Return an empty white figure of so many pixels that lays itself out."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(w_pad=INCH_PAD, h_pad=INCH_PAD)
    return figure


def encode_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file of at most 128 colours, of fewer where it would exceed 80 kB."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = Image.fromarray(pixels).convert("RGB")
    png = b""
    for colours in COLOURS:
        file = io.BytesIO()
        few = image.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(file, "PNG", optimize=True)
        png = file.getvalue()
        if len(png) < MAX_BYTES:
            break
    return png


def write_head(axes: Axes, title: str, note: str = "", *, handles: list[Line2D] | None = None) -> None:
    """Write the title and a note at the left, the legend at the right above the plot."""
    text = f"{plain_label(title, 60)}   {plain_label(note)}" if note else plain_label(title, 60)
    axes.set_title(text, loc="left", fontsize=10, color=LIGHT.text, pad=8)
    entries = handles if handles is not None else axes.get_legend_handles_labels()[0]
    if entries:
        axes.legend(
            handles=entries, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(entries), fontsize=8, frameon=False,
            borderaxespad=0.2, columnspacing=1.2, handletextpad=0.4, labelcolor=LIGHT.text,
        )  # fmt: skip


def say_instead(axes: Axes, title: str, text: str) -> None:
    """Write a sentence where the data would be, without axes."""
    write_head(axes, title)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=LIGHT.muted)
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    for other in figure.axes:
        other.set_axis_off()


def style_axes(axes: Axes) -> None:
    """Take away all lines but the time axis and a faint horizontal grid."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LIGHT.grid)
    axes.grid(axis="y", color=LIGHT.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8, colors=LIGHT.muted)
    axes.margins(x=0.01)


def style_times(axes: Axes) -> None:
    """Label a time axis with as few words as needed."""
    locator = mdates.AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    formatter = mdates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set(fontsize=8, color=LIGHT.muted)


def draw_cells(axes: Axes, columns: list[str], rows: list[str]) -> None:
    """Name the columns and rows of a heat map and separate its cells."""
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(np.arange(-0.5, len(columns)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(rows)), minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0, labelsize=8, colors=LIGHT.muted, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)


def dot_if_single(drawn: pd.Series[float]) -> str:
    """Return the marker that makes a curve of one sample visible."""
    return "o" if len(drawn) == 1 else ""


def mix_with_white(colour: str, share: float) -> tuple[float, float, float]:
    """Return a share (0 to 1) of a colour on white."""
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def plain_label(text: str, longest: int = 90) -> str:
    """Return text without mathematics and without signs that the built-in font lacks."""
    known = "".join(sign if sign == MINUS or ord(sign) < 256 else "?" for sign in text)
    visible = "".join(sign if sign.isprintable() else " " for sign in known)
    short = visible if len(visible) <= longest else visible[: longest - 1].rstrip() + "."
    return short.replace("\\", "/").replace("$", r"\$")
