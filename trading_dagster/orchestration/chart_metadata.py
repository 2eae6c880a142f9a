"""What the Dagster UI shows of a strategy's own charts: a picture of each figure, a table of each frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from trading_dagster.charts.number import format_value
from trading_dagster.charts.rendering import ChartPart, RenderedChart
from trading_dagster.orchestration.key_figure import to_markdown
from trading_dagster.orchestration.metadata import picture

MAX_ROWS = 20
MAX_COLUMNS = 8
MAX_PICTURES = 24
"""Pictures are stored with each materialization; the page has all charts."""


def describe_charts(charts: Sequence[RenderedChart], files: Sequence[Path]) -> Mapping[str, Any]:
    """Return where the page of charts is, and each chart under its id, further parts with a number."""
    page = files[0]
    metadata: dict[str, Any] = {
        "charts": len(charts),
        "failed": sum(bool(rendered.error) for rendered in charts),
        "page": dg.MetadataValue.path(page),
        "url": dg.MetadataValue.url(page.as_uri()),
    }
    return {**metadata, **describe_parts(charts, max_pictures=MAX_PICTURES)}


def describe_parts(charts: Sequence[RenderedChart], *, max_pictures: int, has_page: bool = True) -> Mapping[str, Any]:
    """Return each chart under its id, further parts with a number; at most so many of them as pictures.

    Args:
        charts: Rendered charts; one that failed is told.
        max_pictures: Pictures beyond these are left out.
        has_page: Whether a page shows what is cut here.
    """
    metadata: dict[str, Any] = {}
    pictures = 0
    for rendered in charts:
        shown = [_failure(rendered)] if rendered.error else _show(rendered, has_page)
        for number, (value, is_picture) in enumerate(shown, start=1):
            pictures += is_picture
            if not is_picture or pictures <= max_pictures:
                metadata[rendered.chart.id if number == 1 else f"{rendered.chart.id}_{number}"] = value
    return metadata


def _failure(rendered: RenderedChart) -> tuple[dg.MarkdownMetadataValue, bool]:
    text = f"```\n{rendered.error.replace('```', chr(39) * 3)}\n```"
    return dg.MetadataValue.md(text), False


def _show(rendered: RenderedChart, has_page: bool) -> list[tuple[dg.MarkdownMetadataValue, bool]]:
    parts = zip(rendered.parts, rendered.pictures, strict=True)
    return [_show_part(rendered.chart.name, part, png, has_page) for part, png in parts]


def _show_part(name: str, part: ChartPart, png: bytes | None, has_page: bool) -> tuple[dg.MarkdownMetadataValue, bool]:
    if png is not None:
        return picture(png, name), True
    if isinstance(part, pd.DataFrame):
        return dg.MetadataValue.md(_table(part, has_page)), False
    return dg.MetadataValue.md("HTML: see the page" if has_page else "HTML, which is not shown here"), False


def _table(frame: pd.DataFrame, has_page: bool) -> str:
    """Return the first rows and columns as Markdown, numbers written as in the report."""
    shown = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
    part = shown.iloc[:MAX_ROWS, :MAX_COLUMNS]
    first = str(part.columns[0]) if len(part.columns) else ""
    rows = [
        tuple(
            _plain(format_value(f"{column} {row[first] if frame.index.name is not None else ''}", value))
            for column, value in row.items()
        )
        for row in part.to_dict("records")
    ]
    left = [f"{count - most} more {what}" for count, most, what in (
        (len(shown), MAX_ROWS, "rows"), (len(shown.columns), MAX_COLUMNS, "columns")) if count > most]  # fmt: skip
    note = f"\n\n{', '.join(left)}{' on the page' if has_page else ''}" if left else ""
    return to_markdown([tuple(map(str, part.columns)), *rows]) + note if rows else "no rows"


def _plain(text: str) -> str:
    """Return a cell on one line, without what Markdown or HTML would read as markup."""
    return " ".join(text.split()).replace("<", "&lt;")
