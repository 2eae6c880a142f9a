"""Tables of all pools of a chain: read as published, filtered, as they were at a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from trading_dagster.domain.error import BadInput, MarketDataMissing
from trading_dagster.domain.identifier import ChainId
from trading_dagster.market.pair_file import read_pair_table, write_pair_table
from trading_dagster.market.pair_table import PairTable, join_tables

WETH, USDC = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2", "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"


@pytest.fixture(scope="module")
def mainnet(shared_data: Path) -> PairTable:
    path = shared_data / "uniswap_v3_pools_mainnet.parquet"
    return read_pair_table(path, chain=ChainId.ethereum, exchange="uniswap-v3")


@pytest.fixture(scope="module")
def base(shared_data: Path) -> PairTable:
    path = shared_data / "uniswap_v3_pools_base.parquet"
    return read_pair_table(path, chain=ChainId.base, exchange="uniswap-v3")


def make_table(rows: list[dict], **categories: list[str]) -> PairTable:
    defaults = {
        "chain_id": 1, "exchange_slug": "uniswap-v3", "quote_symbol": "USDC", "quote_address": USDC,
        "quote_decimals": 6, "base_decimals": 18, "fee": 0.003,
    }  # fmt: skip
    frame = pd.DataFrame([defaults | {"base_address": f"0x{place:040x}"} | row for place, row in enumerate(rows)])
    return PairTable.from_frame(frame.assign(pool_address=[f"0x{100 + i:040x}" for i in range(len(rows))]), categories)


def symbols(table: PairTable) -> list[str]:
    return table.frame["base_symbol"].tolist()


def test_creation_events_are_oriented_by_known_quote_tokens(mainnet):
    assert len(mainnet) == 11_117
    first = mainnet.select("pool_address = '0x7bea39867e4169dbe237d55c8242a8f2fcdcc387'").frame.iloc[0]
    assert (first["base_symbol"], first["quote_symbol"], first["fee"]) == ("WETH", "USDC", 0.01)
    assert first["created_at"] == pd.Timestamp("2021-05-04 20:07:45")
    assert set(mainnet.frame["fee"]) == {0.0001, 0.0005, 0.003, 0.01}
    assert mainnet.frame.loc[mainnet.frame["base_address"] == USDC, "quote_symbol"].tolist() == []
    assert (mainnet.frame[["base_symbol", "quote_symbol"]] == "").sum().sum() == 56
    assert mainnet.exchanges()["pair_count"].tolist() == [11_117]
    tokens = mainnet.tokens().set_index("address")
    assert tokens.loc[WETH, "symbol"] == "WETH"
    assert tokens.loc[USDC, "categories"] == "quote, stablecoin"


def test_a_universe_of_2021_has_what_was_listed_then_only(mainnet):
    early = mainnet.listed_at(datetime(2021, 6, 1))
    assert len(early) == 1_606  # counted in the file by hand
    assert early.frame["created_at"].max() <= pd.Timestamp("2021-06-01")
    assert len(mainnet.listed_at(datetime(2021, 5, 1))) == 0
    assert len(mainnet.listed_at(datetime(2023, 5, 1))) == len(mainnet)
    old = mainnet.older_than(timedelta(days=365), datetime(2023, 1, 1))
    assert old.frame["created_at"].max() <= pd.Timestamp("2022-01-01")


def test_pairs_of_unknown_creation_are_refused_in_the_past_unless_asked_for(base):
    assert len(base) == 7_846
    assert set(base.frame["fee"]) == {0.0001, 0.0004, 0.0005, 0.003, 0.01}
    with pytest.raises(BadInput, match="created_at of 7846 of 7846 pairs is not known"):
        base.listed_at(datetime(2025, 1, 1))
    assert len(base.listed_at(datetime(2025, 1, 1), unknown=False)) == 0
    assert len(base.listed_at(datetime(2025, 1, 1), unknown=True)) == 7_846
    assert base.to_pairs()[0].base.decimals == 18


def test_chains_join_into_one_table_that_sql_and_python_select_from_alike(mainnet, base):
    both = join_tables([mainnet, base])
    assert len(both) == 11_117 + 7_846
    python = both.on_chain(ChainId.base).on_exchange("uniswap-v3").between("fee", most=0.0005).quoted_in("USDC")
    sql = both.select("chain_id = 8453 AND fee <= 0.0005 AND quote_symbol = 'USDC'")
    assert len(sql) > 10
    assert python.frame.equals(sql.frame)
    assert both.exchanges()["chain_id"].tolist() == [1, 8453]


def test_a_table_comes_back_from_its_file(mainnet, tmp_path):
    write_pair_table(mainnet, tmp_path / "pairs.parquet")
    assert read_pair_table(tmp_path / "pairs.parquet").frame.equals(mainnet.frame)


def test_filters_by_tvl_volume_token_and_category_leave_out_what_is_not_known():
    table = make_table(
        [
            {"base_symbol": "A", "tvl": 5e6, "volume": 1e5},
            {"base_symbol": "B", "tvl": 1e5, "volume": 9e5},
            {"base_symbol": "C"},
            {"base_symbol": "DAI", "tvl": 9e6, "volume": 9e6, "base_address": "0x" + "da" * 20},
        ],
        stable=["0x" + "DA" * 20],
    )
    assert symbols(table.between("tvl", least=1e6)) == ["A", "DAI"]
    assert symbols(table.between("volume", 1e5, 1e6)) == ["A", "B"]
    assert symbols(table.top(2)) == ["DAI", "B"]
    assert symbols(table.not_in_category("stable").top(9)) == ["B", "A"]
    assert symbols(table.in_category("stable")) == ["DAI"]
    assert symbols(table.without_tokens(["B", "0x" + "dA" * 20])) == ["A", "C"]
    assert symbols(table.select("tvl IS NOT NULL ORDER BY tvl LIMIT 1")) == ["B"]
    assert table.to_descriptions()[0] == (ChainId.ethereum, "uniswap-v3", "A", "USDC", 0.003)


def test_of_several_pools_of_a_token_the_one_with_most_volume_stays():
    token = "0x" + "77" * 20
    table = make_table(
        [
            {"base_symbol": "A", "base_address": token, "volume": 10.0, "fee": 0.01},
            {"base_symbol": "A", "base_address": token, "volume": 20.0, "fee": 0.0005},
            {"base_symbol": "B", "fee": 0.003},
            {"base_symbol": "A", "base_address": token, "fee": 0.0001},
        ]
    )
    assert table.without_duplicates().frame["fee"].tolist() == [0.0005, 0.003]


def test_pools_that_have_all_but_the_address_in_common_are_described_by_it():
    frame = pd.DataFrame(
        {
            "chain_id": 1,
            "exchange_slug": "uniswap-v3",
            "pool_address": ["0x1", "0x2", "0x3"],
            "base_symbol": "WETH",
            "quote_symbol": "USDC",
            "fee": [0.003, 0.003, 0.0005],
        }
    )
    venues = [description[1] for description in PairTable.from_frame(frame).to_descriptions()]
    assert venues == ["0x1", "0x2", "uniswap-v3"]


def test_what_candles_know_replaces_columns():
    table = make_table([{"base_symbol": "A", "tvl": 1.0}, {"base_symbol": "B", "tvl": 2.0}])
    spans = table.frame[["chain_id", "pool_address"]].iloc[:1].assign(tvl=7.0, created_at=datetime(2022, 1, 1))
    known = table.with_spans(spans)
    assert known.frame["tvl"].tolist() == [7.0, 2.0]
    assert len(known.listed_at(datetime(2023, 1, 1), unknown=False)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fee": 3000.0}, "fee 3000.0 is no fraction"),
        ({"surplus": 1}, "column surplus is unknown"),
    ],
)
def test_bad_tables_are_refused(change, message):
    with pytest.raises(BadInput, match=message):
        make_table([{"base_symbol": "A"} | change])


def test_bad_questions_are_refused(tmp_path):
    table = make_table([{"base_symbol": "A"}])
    with pytest.raises(BadInput, match="sql 'tvl >> 3'"):
        table.select("tvl >> 3")
    with pytest.raises(BadInput, match="exchange 'sushi' is not in the table, which has uniswap-v3"):
        table.on_exchange("sushi")
    with pytest.raises(BadInput, match="category 'meme' is not known"):
        table.in_category("meme")
    with pytest.raises(BadInput, match="column 'age' is no number"):
        table.between("age")
    with pytest.raises(MarketDataMissing, match="no such file"):
        read_pair_table(tmp_path / "none.parquet")
    table.frame.drop(columns="chain_id").to_csv(tmp_path / "pairs.csv", index=False)
    with pytest.raises(BadInput, match="it does not say chain_id: give chain="):
        read_pair_table(tmp_path / "pairs.csv")
