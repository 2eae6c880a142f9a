"""The tables of pairs, tokens and exchanges as assets."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from trading_dagster.domain.error import BadConfiguration, BadInput, MarketDataMissing
from trading_dagster.market.pair_file import read_pair_table
from trading_dagster.orchestration.pair_asset import PAIR_TABLES_VARIABLE, PairTables, build_pair_assets

pytestmark = pytest.mark.dagster


def test_files_of_pools_become_three_tables(shared_data: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name, target in (("mainnet", "ethereum.uniswap-v3"), ("base", "base.uniswap-v3")):
        (files / f"{target}.parquet").symlink_to(shared_data / f"uniswap_v3_pools_{name}.parquet")
    resource = PairTables(files=str(files), lake=str(tmp_path / "lake"))
    result = dg.materialize(build_pair_assets(), resources={"tables": resource})
    assert result.success
    rows = {
        event.asset_key.path[-1]: event.step_materialization_data.materialization.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
    }
    assert rows["pairs"] == 11_117 + 7_846
    assert rows["exchanges"] == 2
    assert len(read_pair_table(tmp_path / "lake" / "tables" / "pairs.parquet")) == rows["pairs"]
    tokens = pd.read_parquet(tmp_path / "lake" / "tables" / "tokens.parquet")
    assert len(tokens) == rows["tokens"]
    assert tokens["symbol"].iloc[0] == "WETH"


def test_a_folder_that_is_not_named_or_empty_or_misnamed_is_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv(PAIR_TABLES_VARIABLE, raising=False)
    with pytest.raises(BadConfiguration, match=PAIR_TABLES_VARIABLE):
        PairTables().read_files()
    with pytest.raises(MarketDataMissing, match=r"no \.parquet or \.csv"):
        PairTables(files=str(tmp_path)).read_files()
    (tmp_path / "mars.dex.csv").write_text("pool_address\n0x1\n")
    with pytest.raises(BadInput, match="'mars' is no chain"):
        PairTables(files=str(tmp_path)).read_files()
