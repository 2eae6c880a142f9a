"""A feed of the Trading Strategy data service, as its YAML file says."""

from datetime import datetime

import pytest
from market.trading_strategy_server import ETH_POOL, FakeService, serve_service

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.feed import bring_month, month_span, read_feed
from trading_dagster.market.lake import Lake

TEXT = """\
source: trading_strategy
pairs: [WETH/USDC@uniswap-v3]
chain: ethereum
pair_file: pairs.parquet
buckets: [1h]
start: 2024-01-01
"""


def test_month_is_brought_up_to_date(tmp_path):
    service = FakeService(datetime(2024, 2, 10, 6, 20), p11=datetime(2024, 1, 5))
    file, lake = tmp_path / "dex.yaml", Lake(tmp_path / "lake")
    with serve_service(service) as url:
        file.write_text(f"{TEXT}api_url: {url}\n", encoding="utf-8")
        feed = read_feed(file)
        months = [bring_month(feed, lake, TimeBucket.h1, *month_span(month)) for month in ("2024-01", "2024-02")]
        assert [month.rows_added for month in months] == [27 * 24, 9 * 24 + 6]
        service.now = datetime(2024, 2, 10, 8, 1)
        later = bring_month(feed, lake, TimeBucket.h1, *month_span("2024-02"))
        assert later.rows_added == 2
    assert (tmp_path / "pairs.parquet").is_file()
    (market,) = lake.source("dex").list_markets()
    assert market.identifier.pool_address == ETH_POOL


def test_feed_must_name_pairs(tmp_path):
    file = tmp_path / "dex.yaml"
    file.write_text(TEXT.replace("pairs: [WETH/USDC@uniswap-v3]\n", ""), encoding="utf-8")
    with pytest.raises(BadConfiguration, match="pairs must say which"):
        read_feed(file)
