"""Dagster resources: where backtests keep their artefacts and where their candles come from."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
from pydantic import Field

from trading_dagster.market.file_source import FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.source import CandleSource
from trading_dagster.orchestration.folder import BacktestFolder
from trading_dagster.strategy.module import StrategyModule

ARTEFACTS_VARIABLE = "TRADING_DAGSTER_ARTEFACTS"
DATA_VARIABLE = "TRADING_DAGSTER_DATA"


class BacktestStore(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Folders of backtests, one a strategy."""

    root: str = Field(
        default="",
        description=f"Folder of artefacts; empty takes {ARTEFACTS_VARIABLE}, or artefacts/ in the Dagster home.",
    )

    def folder(self, strategy: StrategyModule) -> BacktestFolder:
        """Return the folder of a strategy."""
        home = Path(os.environ.get("DAGSTER_HOME") or ".dagster")
        root = Path(self.root or os.environ.get(ARTEFACTS_VARIABLE) or home / "artefacts")
        return BacktestFolder(root.absolute() / strategy.id)


class CandleData(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The source that create_trading_universe is given."""

    file: str = Field(
        default="", description=f"File or folder of candles; empty takes {DATA_VARIABLE}, or the embedded sample."
    )
    lake: str = Field(default="", description="Folder of the lake, used when a lake source is named.")
    lake_source: str = Field(default="", description="Name of a source in the lake; wins over the file.")

    def client(self) -> CandleSource | None:
        """Return the source; None stands for the embedded sample. Raises MarketDataMissing."""
        if self.lake_source:
            return Lake(self.lake or None).source(self.lake_source)
        file = self.file or os.environ.get(DATA_VARIABLE)
        return FileSource(file) if file else None

    def describe(self) -> str:
        """Return which source it is."""
        if self.lake_source:
            return f"{self.lake_source} in the lake {self.lake or 'by default'}"
        return self.file or os.environ.get(DATA_VARIABLE) or "embedded sample"
