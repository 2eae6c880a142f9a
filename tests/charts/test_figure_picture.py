"""Plotly figures are painted as small pictures without a browser."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image
from plotly.subplots import make_subplots

from trading_dagster.charts.chart_folder import write_charts
from trading_dagster.charts.curve import draw_areas, gather_others
from trading_dagster.charts.figure_picture import paint_figure
from trading_dagster.charts.rendering import Markup, Picture, RenderedChart
from trading_dagster.charts.returns import draw_monthly_returns
from trading_dagster.strategy.chart import ChartCallback, ChartKind

TIMES = pd.date_range("2023-01-01", periods=50, freq="D")


def pixels(figure: go.Figure, **options) -> np.ndarray:
    png = paint_figure(figure, **options)
    assert len(png) < 80_000
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def near(image: np.ndarray, red: int, green: int, blue: int) -> int:
    """Count the pixels of about a colour."""
    return int((np.abs(image - [red, green, blue]).sum(axis=2) < 60).sum())


def test_line_is_painted_in_its_colour_and_leaves_gaps():
    values = np.where(np.arange(50) == 25, np.nan, 1.0)
    image = pixels(go.Figure(go.Scatter(x=TIMES, y=values, line={"color": "rgb(255,0,0)", "width": 4})))
    assert image.shape[1] == 900
    assert near(image, 255, 0, 0) > 500
    row = int(np.argmax((np.abs(image - [255, 0, 0]).sum(axis=2) < 60).sum(axis=1)))
    columns = np.flatnonzero(np.abs(image[row] - [255, 0, 0]).sum(axis=1) < 60)
    assert np.diff(columns).max() > 15


@pytest.mark.parametrize(
    "trace",
    [
        go.Bar(x=["a", "b"], y=[1, -2], marker={"color": ["rgb(255,0,0)", "rgb(255,0,0)"]}),
        go.Scatter(x=TIMES, y=np.ones(50), mode="markers", marker={"color": "red", "size": 9, "symbol": "diamond"}),
        go.Scatter(x=TIMES, y=np.ones(50), fill="tozeroy", line={"color": "red"}, fillcolor="rgba(255,0,0,1.0)"),
        go.Heatmap(z=[[-1, -1], [-1, None]], colorscale="Reds"),
    ],
    ids=lambda trace: trace.type,
)
def test_kinds_of_traces_are_painted(trace):
    image = pixels(go.Figure(trace))
    is_heatmap = trace.type == "heatmap"
    assert near(image, *((229, 56, 79) if is_heatmap else (255, 0, 0))) > 400


def test_rows_of_a_figure_lie_above_each_other():
    figure = make_subplots(rows=2, cols=1, row_heights=[0.7, 0.3])
    figure.add_trace(go.Scatter(x=TIMES, y=np.arange(50), line={"color": "rgb(255,0,0)", "width": 3}), row=1, col=1)
    figure.add_trace(go.Scatter(x=TIMES, y=np.arange(50), line={"color": "rgb(0,0,255)", "width": 3}), row=2, col=1)
    image = pixels(figure)
    red = np.flatnonzero((np.abs(image - [255, 0, 0]).sum(axis=2) < 60).any(axis=1))
    blue = np.flatnonzero((np.abs(image - [0, 0, 255]).sum(axis=2) < 60).any(axis=1))
    assert red.max() < blue.min()


def test_second_axis_has_a_scale_of_its_own():
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    figure.add_trace(go.Scatter(x=TIMES, y=np.arange(50.0), line={"color": "rgb(255,0,0)"}), secondary_y=False)
    figure.add_trace(go.Scatter(x=TIMES, y=np.arange(50.0) * 1e6, line={"color": "rgb(0,0,255)"}), secondary_y=True)
    image = pixels(figure)
    assert near(image, 255, 0, 0) + near(image, 0, 0, 255) > 300


def test_what_cannot_be_painted_says_so_and_nothing_fails():
    assert pixels(go.Figure(go.Pie(values=[1, 2]))).min() < 200
    assert pixels(go.Figure()).shape[2] == 3
    assert pixels(go.Figure(go.Scatter(x=[], y=[]))).shape[2] == 3
    odd = go.Figure(go.Scatter(x=[1, 2], y=[None, 3], line={"color": "hsl(0,100%,50%)"}))
    assert pixels(odd, title="$x$ _a").shape[2] == 3
    assert pixels(draw_monthly_returns(pd.Series([1.0, 2.0], index=TIMES[[0, -1]]))).shape[2] == 3


def test_same_figure_gives_the_same_bytes():
    figure = draw_areas(pd.DataFrame({"a": np.arange(50.0), "b": 1.0}, index=TIMES))
    assert paint_figure(figure) == paint_figure(figure)


def test_small_columns_are_gathered():
    table = pd.DataFrame({f"c{n}": [float(n), float(n)] for n in range(20)}, index=TIMES[:2])
    gathered = gather_others(table)
    assert list(gathered) == [*(f"c{n}" for n in range(9, 20)), "others"]
    assert gathered.sum(axis=1).tolist() == table.sum(axis=1).tolist()
    assert gather_others(table.iloc[:, :3]) is not None
    assert len(draw_areas(table).data) == 12


def test_folder_has_a_page_pictures_and_tables(tmp_path):
    def rendered(name, *parts, error=""):
        return RenderedChart(ChartCallback(name, name, print, ChartKind.state_all_pairs, "About"), parts, error)

    figure, table = (
        go.Figure(go.Scatter(x=[1, 2], y=[1, 2])),
        pd.DataFrame({"a": [1.5]}, index=pd.Index(["r"], name="n")),
    )
    charts = [
        rendered("one", figure, figure, table), rendered("bad", error="no"),
        rendered("two", Picture(b"x"), Markup("y")),
    ]  # fmt: skip
    files = write_charts(tmp_path / "new", "Name", charts)
    assert [file.name for file in files] == ["index.html", "one.png", "one-2.png", "one.csv", "two.png"]
    assert (tmp_path / "new" / "one.csv").read_text() == "n,a\nr,1.5\n"
    assert (tmp_path / "new" / "two.png").read_bytes() == b"x"
    assert "Name" in files[0].read_text(encoding="utf-8")
