"""Write the charts of a strategy into a folder: one page of all, a picture of each figure, each table as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from trading_dagster.charts.rendering import ChartPart, RenderedChart
from trading_dagster.charts.report import render_chart_page
from trading_dagster.market.atomic_file import write_atomically

PAGE = "index.html"


def write_charts(folder: Path, name: str, charts: Sequence[RenderedChart]) -> list[Path]:
    """Write rendered charts; files of the same names are replaced.

    Args:
        folder: Made if it does not exist.
        name: Heading of the page.
        charts: Charts; those that failed are told on the page.

    Returns:
        The files, ``index.html`` first. A chart's first picture or table has the chart's id as its name, further ones
        a number behind it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {PAGE: render_chart_page(name, charts).encode()}
    for rendered in charts:
        for part, png in zip(rendered.parts, rendered.pictures, strict=True):
            content = _content(part, png)
            if content is not None:
                ending, data = content
                files[_free_name(files, rendered.chart.id, ending)] = data
    for file, data in files.items():
        write_atomically(folder / file, lambda path, data=data: _fill(path, data))  # type: ignore[misc]
    return [folder / file for file in files]


def _content(part: ChartPart, png: bytes | None) -> tuple[str, bytes] | None:
    if isinstance(part, pd.DataFrame):
        return ".csv", part.to_csv(index=not isinstance(part.index, pd.RangeIndex)).encode()
    return None if png is None else (".png", png)


def _free_name(files: dict[str, bytes], stem: str, ending: str) -> str:
    number = 1
    name = f"{stem}{ending}"
    while name in files:
        number += 1
        name = f"{stem}-{number}{ending}"
    return name


def _fill(path: Path, data: bytes) -> None:
    path.write_bytes(data)
