"""What a strategy shows as tables of a piece of a backtest, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.visualisation import Plot, PlotKind, PlotShape, RecordingTime, Visualisation
from trading_dagster.statistics.table import Table

VISUALISATION_TABLES: dict[str, dict[str, str]] = {
    "messages": {"timestamp": "datetime64[us]", "message": "str"},
    "calculations": {"timestamp": "datetime64[us]", "values": "str"},
    "plots": {"plot": "str", "timestamp": "datetime64[us]", "value": "float64"},
    "plot_styles": {
        "plot": "str",
        "kind": "str",
        "colour": "str",
        "label": "str",
        "detached_overlay_name": "str",
        "plot_shape": "str",
        "indicator_size": "float64",
        "recording_time": "str",
        "pair": "str",
        "height": "float64",
    },
    "visualised_pairs": {"pair": "str"},
}
"""Columns by table; ``pair`` is a pair's identifier, ``values`` JSON."""


def take_visualisation(shown: Visualisation) -> dict[str, Table]:
    """Return what a strategy showed as tables, and forget it; tables without rows are left out.

    The looks of a plot are those of its first call in the piece, whatever ran before, so that a piece that is run again
    in another process gives the same tables.
    """
    plots = shown.take_plots()
    points = [(p.name, time, math.nan if value is None else value) for p in plots for time, value in p.points]
    rows: dict[str, list[tuple[Any, ...]]] = {
        "messages": list(shown.take_messages()),
        "calculations": [(time, json.dumps(values)) for time, values in shown.take_calculations().items()],
        "plots": points,
        "plot_styles": [_style_row(plot) for plot in plots],
        "visualised_pairs": [(pair.get_identifier(),) for pair in shown.take_visualised_pairs()],
    }
    return {name: Table.from_rows(rows[name], types) for name, types in VISUALISATION_TABLES.items() if rows[name]}


def restore_visualisation(
    shown: Visualisation, read: Callable[[str], Iterable[Table]], pairs: Iterable[TradingPairIdentifier]
) -> None:
    """Put the tables of consecutive pieces back; of a plot's looks the first piece's count, of chosen pairs the last's.

    Args:
        shown: What is filled.
        read: Gives the tables of a name, piece by piece.
        pairs: The pairs that identifiers are looked up among.
    """
    known = {pair.get_identifier(): pair for pair in pairs}
    for table in read("messages"):
        for time, text in zip(_times(table), table.columns["message"], strict=True):
            shown.add_message(time, text)
    for table in read("calculations"):
        for time, values in zip(_times(table), table.columns["values"], strict=True):
            shown.calculations[time] = json.loads(values)
    for table in read("plot_styles"):
        for row in zip(*(table.columns[name] for name in table.types), strict=True):
            plot = _read_style(dict(zip(table.types, row, strict=True)), known)
            shown.plots.setdefault(plot.name, plot)
    for table in read("plots"):
        values = np.asarray(table.columns["value"], dtype=np.float64).tolist()
        for name, time, value in zip(table.columns["plot"], _times(table), values, strict=True):
            shown.plots[name].points.append((time, None if math.isnan(value) else value))
    for table in read("visualised_pairs"):
        if len(table):
            shown.visualised_pairs = [known[identifier] for identifier in table.columns["pair"] if identifier in known]


def _style_row(plot: Plot) -> tuple[Any, ...]:
    return (
        plot.name,
        plot.kind.value,
        plot.colour,
        plot.label,
        plot.detached_overlay_name,
        plot.plot_shape.value,
        math.nan if plot.indicator_size is None else float(plot.indicator_size),
        plot.recording_time.value,
        None if plot.pair is None else plot.pair.get_identifier(),
        math.nan if plot.height is None else float(plot.height),
    )


def _read_style(row: Mapping[str, Any], pairs: Mapping[str, TradingPairIdentifier]) -> Plot:
    size, height = float(row["indicator_size"]), float(row["height"])
    return Plot(
        name=row["plot"],
        kind=PlotKind(row["kind"]),
        colour=row["colour"],
        label=row["label"],
        detached_overlay_name=row["detached_overlay_name"],
        plot_shape=PlotShape(row["plot_shape"]),
        indicator_size=None if math.isnan(size) else size,
        recording_time=RecordingTime(row["recording_time"]),
        pair=pairs.get(row["pair"] or ""),
        height=None if math.isnan(height) else round(height),
    )


def _times(table: Table) -> list[datetime]:
    times: list[datetime] = np.asarray(table.columns["timestamp"], dtype="datetime64[us]").tolist()
    return times
