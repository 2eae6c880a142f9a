"""One self-contained HTML page of the figures and tables of a search for parameters."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.page import Page
from trading_dagster.charts.report import fill_template
from trading_dagster.charts.table import guess_columns
from trading_dagster.market.atomic_file import write_atomically

SearchParts: TypeAlias = "Mapping[str, go.Figure | pd.DataFrame]"
"""Figures and tables by their headings."""


def write_search_page(path: str | Path, name: str, subtitle: str, parts: SearchParts) -> Path:
    """Write a page, whole or not at all; missing folders are made.

    Args:
        path: The file.
        name: Heading of the page.
        subtitle: A line below it, as plain text.
        parts: A section each, in this order.

    Returns:
        The path written to.
    """
    page = Page()
    for title, part in parts.items():
        if isinstance(part, go.Figure):
            page.add_figure(title, part)
        else:
            frame = part.reset_index()
            frame = frame.set_axis([str(column) for column in frame.columns], axis="columns")
            page.add_table(title, frame, guess_columns(frame))
    target = Path(path)
    text = fill_template(page, name, escape(subtitle))
    write_atomically(target, lambda temporary: _fill(temporary, text))
    return target


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
