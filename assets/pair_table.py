"""The tables of exchanges, pairs and tokens, of the files in TRADING_DAGSTER_PAIR_TABLES."""

import os

import dagster as dg

from trading_dagster.orchestration.pair_asset import PAIR_TABLES_VARIABLE, build_pair_assets


def pair_table_assets() -> list[dg.AssetsDefinition]:
    """Return the assets; none where no folder of pools is named."""
    return build_pair_assets() if os.environ.get(PAIR_TABLES_VARIABLE) else []
