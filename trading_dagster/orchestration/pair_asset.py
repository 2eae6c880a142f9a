"""The tables of all exchanges, pairs and tokens as Dagster assets of the group ``market``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.market.lake import Lake
from trading_dagster.market.pair_file import read_pair_folder, read_pair_table, write_pair_table
from trading_dagster.market.pair_table import PairTable
from trading_dagster.orchestration.key_figure import frame_to_markdown

PAIR_TABLES_VARIABLE = "TRADING_DAGSTER_PAIR_TABLES"
GROUP = "market"
MAX_ROWS = 20


class PairTables(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where files of pools come from, and where the tables made of them are kept."""

    files: str = Field(default="", description=f"Folder of files of pools; empty takes {PAIR_TABLES_VARIABLE}.")
    lake: str = Field(default="", description="Folder of the lake; empty takes that of the environment.")

    def read_files(self) -> PairTable:
        """Return all pools; raises BadConfiguration when no folder is named, MarketDataMissing, BadInput."""
        folder = self.files or os.environ.get(PAIR_TABLES_VARIABLE)
        if not folder:
            raise BadConfiguration(f"No folder of pools is named: set {PAIR_TABLES_VARIABLE} to one with their files")
        return read_pair_folder(Path(folder))

    @property
    def path(self) -> Path:
        """Return where the table of pairs is kept."""
        return Lake(self.lake or None).folder / "tables" / "pairs.parquet"


def build_pair_assets() -> list[dg.AssetsDefinition]:
    """Return the assets market/pairs, market/exchanges and market/tokens."""

    @dg.asset(key=["market", "pairs"], group_name=GROUP, kinds={"parquet"}, owners=["team:data"])
    def pairs(tables: PairTables) -> dg.MaterializeResult[Any]:
        """All pools with tokens, fee, creation, TVL and volume, one row each."""
        table = tables.read_files()
        write_pair_table(table, tables.path)
        return dg.MaterializeResult(metadata=_describe_pairs(table, tables.path))

    @dg.asset(key=["market", "exchanges"], deps=[["market", "pairs"]], group_name=GROUP, owners=["team:data"])
    def exchanges(tables: PairTables) -> dg.MaterializeResult[Any]:
        """All exchanges with the number of their pools, one row each."""
        return _store(read_pair_table(tables.path).exchanges(), tables.path.with_name("exchanges.parquet"))

    @dg.asset(key=["market", "tokens"], deps=[["market", "pairs"]], group_name=GROUP, owners=["team:data"])
    def tokens(tables: PairTables) -> dg.MaterializeResult[Any]:
        """All tokens with decimals, categories and the number of their pools, one row each."""
        table = read_pair_table(tables.path).tokens().sort_values("pair_count", ascending=False, kind="stable")
        return _store(table, tables.path.with_name("tokens.parquet"))

    return [pairs, exchanges, tokens]


def _store(table: pd.DataFrame, path: Path) -> dg.MaterializeResult[Any]:
    table.to_parquet(path, index=False)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(table),
            "file": dg.MetadataValue.path(path),
            "first_rows": dg.MetadataValue.md(frame_to_markdown(table.head(MAX_ROWS))),
        }
    )


def _describe_pairs(table: PairTable, path: Path) -> dict[str, Any]:
    frame = table.frame
    known = {name: int(frame[name].notna().sum()) for name in ("created_at", "tvl", "volume", "base_decimals")}
    return {
        "dagster/row_count": len(table),
        "file": dg.MetadataValue.path(path),
        "span": f"{frame['created_at'].min()} to {frame['created_at'].max()}",
        **{f"{name}_known": count for name, count in known.items()},
        "exchanges": dg.MetadataValue.md(frame_to_markdown(table.exchanges().head(MAX_ROWS))),
    }
