"""Put the charts that a strategy registered into a page: figures, tables, pictures, and what failed."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape

import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.page import Page
from trading_dagster.charts.rendering import ChartPart, Markup, Picture, RenderedChart
from trading_dagster.charts.table import guess_columns, pack_table, summary_table_html

ROWS_SHOWN = 12


def add_charts(page: Page, charts: Sequence[RenderedChart], title: str = "Charts") -> None:
    """Append a section with all charts, each under its name; nothing when there are none."""
    if charts:
        body = "".join(f'<div class="chart" id="chart-{each.chart.id}">{_chart(page, each)}</div>' for each in charts)
        page.add(title, f'<div class="stack charts">{body}</div>', caption=f"{len(charts)} of the strategy's own")


def _chart(page: Page, rendered: RenderedChart) -> str:
    chart = rendered.chart
    head = f'<h3>{escape(chart.name)}</h3><p class="about">{escape(chart.description)}</p>'
    if rendered.error:
        return head + _failure(rendered.error)
    parts = "".join(_part(page, chart.id, part) for part in rendered.parts)
    return head + (parts or '<p class="notice">Nothing to show.</p>')


def _part(page: Page, name: str, part: ChartPart) -> str:
    if isinstance(part, go.Figure):
        try:
            return page.embed_plain(json.loads(part.to_json()))
        except (TypeError, ValueError) as error:
            return _failure(f"Chart {name!r} has data that is no JSON: {error}")
    if isinstance(part, Picture):
        data = base64.b64encode(part.png).decode("ascii")
        return f'<img class="picture" alt="{escape(name)}" src="data:image/png;base64,{data}">'
    if isinstance(part, Markup):  # made by the strategy: shown apart from the page, without scripts
        return f'<iframe class="markup" sandbox="" title="{escape(name)}" srcdoc="{escape(part.html)}"></iframe>'
    return _table(page, part)


def _failure(error: str) -> str:
    first, _, rest = error.partition("\n")
    trace = f"<details><summary>Traceback</summary><pre>{escape(rest)}</pre></details>" if rest.strip() else ""
    return f'<div class="failure"><p>{escape(first)}</p>{trace}</div>'


def _table(page: Page, frame: pd.DataFrame) -> str:
    """Return a table of measures with their own units as markup, and one of rows as data that the page sorts."""
    if frame.empty:
        return '<p class="notice">No rows.</p>'
    if any(frame[name].dtype == object for name in frame.columns) or _is_text(frame):
        return summary_table_html(frame) if not isinstance(frame.index, pd.RangeIndex) else _rows(page, frame)
    return _rows(page, frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index())


def _rows(page: Page, frame: pd.DataFrame) -> str:
    named = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    source = page.embed_data(pack_table(named, guess_columns(named)))
    return f'<div class="long" data-source="{source}" data-size="{ROWS_SHOWN}" data-wide="false"></div>'


def _is_text(frame: pd.DataFrame) -> bool:
    return all(pd.api.types.is_string_dtype(frame[name]) for name in frame.columns)
