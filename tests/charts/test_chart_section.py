"""The strategy's own charts and plots in the report: all are there, and nothing of them is executed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from charts.test_chart_report import HOSTILE, LOADING, Reader, content  # noqa: F401 - a fixture

from trading_dagster.charts.plot import PANEL_HEIGHT, arrange_panels, draw_panels, trace_plot
from trading_dagster.charts.price import draw_price_and_trades
from trading_dagster.charts.rendering import Markup, Picture, RenderedChart
from trading_dagster.charts.report import render_chart_page, render_report
from trading_dagster.domain.visualisation import Plot, PlotKind, PlotShape, Visualisation
from trading_dagster.strategy.chart import ChartCallback, ChartKind

DAY = datetime(2023, 2, 1)
DETACHED, OVERLAY = PlotKind.technical_indicator_detached, PlotKind.technical_indicator_overlay_on_detached
ON_PRICE = PlotKind.technical_indicator_on_price


def chart(name, *parts, error=""):
    callback = ChartCallback(name, name.capitalize(), print, ChartKind.state_all_pairs, f"About {name}")
    return RenderedChart(callback, parts, error)


def test_report_has_every_chart_and_says_what_failed(content):  # noqa: F811
    figure = go.Figure(go.Scatter(x=[DAY], y=[np.float64(1.5)])).update_layout(height=333, width=10_000)
    table = pd.DataFrame({"Asset": ["BTC", "ETH"], "Share": [0.25, np.nan]})
    measures = pd.DataFrame({"All": [0.5, "-"]}, index=["Return %", "Positions"])
    page = Reader(
        render_report(
            replace(
                content,
                charts=[
                    chart("one", figure, table),
                    chart("two", measures),
                    chart("bad", error="Chart 'bad' raised KeyError: 'x'\nTraceback: line 3"),
                    chart("none"),
                    chart("empty", pd.DataFrame()),
                    chart("picture", Picture(b"\x89PNG")),
                ],
            )
        )
    )
    for words in ("One", "About one", "Chart 'bad' raised KeyError: 'x'", "line 3", "Nothing to show.", "No rows."):
        assert words in page.text
    drawn = next(
        data for data in page.data.values() if isinstance(data, dict) and data.get("layout", {}).get("height") == 333
    )
    assert drawn["data"][0]["y"] == [1.5]
    assert "width" not in drawn["layout"]
    packed = next(d for d in page.data.values() if isinstance(d, dict) and d.get("rows") == 2)
    assert [(column["label"], column["kind"]) for column in packed["columns"]] == [
        ("Asset", "text"),
        ("Share", "percent"),
    ]
    assert page.loaded.count("data:image/png;base64,iVBORw==") == 1


def test_nothing_of_a_chart_is_executed(content):  # noqa: F811
    figure = go.Figure(go.Scatter(x=[DAY], y=[1], name=HOSTILE))
    table = pd.DataFrame({HOSTILE: [HOSTILE]}, index=[HOSTILE])
    callback = ChartCallback("made", HOSTILE, print, ChartKind.state_all_pairs, HOSTILE)
    charts = [RenderedChart(callback, (figure, table, Markup(HOSTILE))), chart("bad", error=f"{HOSTILE}\n{HOSTILE}")]
    page = Reader(render_report(replace(content, charts=charts)))

    assert page.tags["img"] == 0
    assert page.tags["iframe"] == 1
    frame = render_report(replace(content, charts=charts)).split("<iframe", 1)[1].split(">", 1)[0]
    assert 'sandbox=""' in frame
    assert "<script" not in frame
    assert not [value for value in page.loaded if value and not value.startswith(("#", "data:"))], LOADING


def test_data_that_is_no_json_fails_one_chart_only(content):  # noqa: F811
    figure = go.Figure(go.Scatter(x=[1], y=[1]))
    figure.update_layout(meta={"odd": {1, 2}})
    html = render_report(replace(content, charts=[chart("odd", figure), chart("fine", pd.DataFrame({"a": [1]}))]))
    page = Reader(html)
    assert "About fine" in page.text
    assert ("data that is no JSON" in page.text) or '"odd"' in html


def test_charts_have_a_page_of_their_own():
    page = Reader(render_chart_page("Trend", [chart("one", pd.DataFrame({"a": [1.0]}))]))
    assert "Trend" in page.text
    assert "About one" in page.text


def shown(*calls) -> list[Plot]:
    visualisation = Visualisation()
    for name, kind, values, style in calls:
        for number, value in enumerate(values):
            visualisation.plot_indicator(DAY + pd.Timedelta(days=number), name, kind, value, **style)
    return list(visualisation.plots.values())


def test_detached_plots_have_panels_and_overlays_lie_on_them():
    plots = shown(
        ("rsi", DETACHED, [1, 2], {"height": 200}),
        ("limit", OVERLAY, [3, 3], {"detached_overlay_name": "rsi", "colour": "red"}),
        ("lost", OVERLAY, [3, 3], {"detached_overlay_name": "absent"}),
        ("volume", DETACHED, [1, 2], {"plot_shape": PlotShape.horizontal_vertical}),
        ("ema", ON_PRICE, [1, 2], {"label": "hidden"}),
    )
    panels = arrange_panels(plots)
    assert [(panel.title, panel.height, [trace.name for trace in panel.traces]) for panel in panels] == [
        ("rsi", 200, ["rsi", "limit"]),
        ("volume", PANEL_HEIGHT, ["volume"]),
        ("lost", PANEL_HEIGHT, ["lost"]),
    ]
    assert panels[0].traces[1].line.color == "red"
    assert panels[1].traces[0].line.shape == "hv"
    figure = draw_panels(plots)
    assert [trace.name for trace in figure.data] == ["ema", "rsi", "limit", "volume", "lost"]
    assert figure.data[0].showlegend is False
    assert draw_panels([]).layout.annotations[0].text == "The strategy plotted nothing"


def test_points_keep_gaps_order_and_extremes():
    plot = Plot("x", ON_PRICE, plot_shape=PlotShape.markers, indicator_size=4)
    plot.points += [(DAY + pd.Timedelta(days=2), 3.0), (DAY, 1.0), (DAY + pd.Timedelta(days=1), None)]
    trace = trace_plot(plot, "#112233")
    assert trace.mode == "markers"
    assert (trace.marker.size, trace.marker.color) == (4, "#112233")
    np.testing.assert_array_equal(np.asarray(trace.y, dtype=float), [1.0, np.nan, 3.0])
    long = Plot("y", ON_PRICE, colour="no such colour")
    long.points += [(DAY + pd.Timedelta(hours=n), None if n == 5_000 else float(n == 7_777)) for n in range(10_000)]
    thin = trace_plot(long, "#112233", max_points=100)
    assert len(thin.x) < 110
    assert np.nanmax(np.asarray(thin.y, dtype=float)) == 1
    assert np.isnan(np.asarray(thin.y, dtype=float)).any()
    assert thin.line.color == "#112233"


def test_plots_of_a_pair_are_drawn_with_its_price(candles):
    plots = shown(("ema", ON_PRICE, [100, 101], {}), ("rsi", DETACHED, [1, 2], {"height": 150}))
    plain, drawn = draw_price_and_trades(candles), draw_price_and_trades(candles, plots=plots)
    assert [trace.name for trace in drawn.data] == ["Price", "ema", "rsi"]
    assert drawn.data[2].yaxis == "y2"
    assert drawn.layout.height == plain.layout.height + 150


@pytest.mark.parametrize("count", [1, 30])
def test_many_panels_fit(count):
    plots = shown(*((f"p{number}", DETACHED, [1, 2], {}) for number in range(count)))
    assert len(draw_panels(plots).data) == count


def test_plots_appear_in_the_report_by_pair(content):  # noqa: F811
    plots = {
        "BTC-USD": shown(("own", ON_PRICE, [100, 101], {})),
        "": shown(("loose", DETACHED, [1, 2], {})),
    }
    page = Reader(render_report(replace(content, plots=plots)))
    figures = [data for data in page.data.values() if isinstance(data, dict) and "data" in data]
    names = [[trace.get("name") for trace in figure["data"]] for figure in figures]
    assert any("own" in each and "Price" in each for each in names)
    assert ["loose"] in names
    assert "Plots" in page.text
