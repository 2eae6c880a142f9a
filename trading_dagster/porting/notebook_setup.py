"""The call with which ported notebooks prepare their tables."""

from __future__ import annotations

from enum import Enum

import pandas as pd

from trading_dagster.strategy.parameters import StrategyParameters


class OutputMode(Enum):
    """How figures are shown; of no effect, as figures here are interactive and pictures are asked for."""

    static = "static"
    interactive = "interactive"


def setup_charts_and_tables(
    output_mode: OutputMode = OutputMode.interactive,
    max_rows: int = 1_000,
    image_format: str | None = None,
    width: int | None = None,
    height: int | None = None,
    increase_font_size: bool = False,
) -> None:
    """Let pandas show whole tables; what is said of figures has no effect, as each figure has its own size.

    Args:
        output_mode: Of no effect.
        max_rows: Rows that a table shows.
        image_format: Of no effect.
        width: Of no effect.
        height: Of no effect.
        increase_font_size: Of no effect.
    """
    del output_mode, image_format, width, height, increase_font_size
    pd.set_option("display.max_rows", max_rows)
    pd.set_option("display.max_columns", None)


def display_parameters(parameters: StrategyParameters | type) -> pd.DataFrame:
    """Return the parameters of a strategy as a table, which a notebook shows when it is a cell's last line."""
    values = StrategyParameters.from_class(parameters) if isinstance(parameters, type) else parameters
    return pd.DataFrame({"Value": {name: str(value) for name, value in values.items()}}).rename_axis("Parameter")
