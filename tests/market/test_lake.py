"""The lake imports only what is missing, survives a kill anywhere, and gives back exactly what went in."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput, CandleContractBroken, MarketDataMissing, UnknownPair
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.file_source import EmbeddedSample, FileSource
from trading_dagster.market.lake import DEFAULT_LAKE, Lake, months_between
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.membership import select_by_volume
from trading_dagster.market.memory_source import MemorySource
from trading_dagster.market.month_file import join_intervals, missing_intervals
from trading_dagster.market.synthetic import generate_ohlcv_candles
from trading_dagster.market.universe import TradingStrategyUniverse

CEX = ChainId.centralised_exchange
START = datetime(2024, 1, 10)
INTERVALS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted).map(tuple), max_size=6)

KILLED_IMPORT = """
import os, signal, sys
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market import atomic_file
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles

real_sync, calls = atomic_file.sync, 0

def sync_or_die(path):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    real_sync(path)

atomic_file.sync = sync_or_die
import_candles(Lake(sys.argv[1]), EmbeddedSample(), bucket=TimeBucket.h1)
"""


class CountingSource(MemorySource):
    """A source that records what it was asked for."""

    def __init__(self, candles, **options):
        super().__init__(candles, exchange="kraken", **options)
        self.asked = []

    def load_candles(self, markets, start, end):
        self.asked.append(([market.pair for market in markets], start, end))
        yield from super().load_candles(markets, start, end)


def make_source(end, *pairs, bucket=TimeBucket.h1):
    frames = [
        generate_ohlcv_candles(bucket, START, end, random_seed=seed, daily_drift=(0.999, 1.001))
        .drop(columns="pair_id")
        .assign(pair=pair)
        for seed, pair in enumerate(pairs or ("BTC/USD",))
    ]
    candles = pd.concat(frames, ignore_index=True)
    candles["high"] = candles[["high", "close"]].max(axis=1)
    candles["low"] = candles[["low", "close"]].min(axis=1)
    return CountingSource({bucket: candles}, name="kraken spot")


def cache_key(source, bucket=TimeBucket.h1):
    return TradingStrategyUniverse.create_from_dataset(load_partial_data(source, time_bucket=bucket)).get_cache_key()


@pytest.fixture(scope="module")
def sample_lake(tmp_path_factory):
    """Make a lake of the embedded sample, for tests that only read."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    report = import_candles(lake, EmbeddedSample())
    assert (report.rows_added, report.rows_dropped) == (15_706 + 3_578, 0)
    return lake


def test_lake_gives_back_what_went_in(sample_lake):
    lake = sample_lake
    source = lake.source("embedded sample")
    assert set(source.list_markets()) == set(EmbeddedSample().list_markets())
    assert cache_key(source) == cache_key(EmbeddedSample())
    assert cache_key(source, TimeBucket.d7) == cache_key(EmbeddedSample(), TimeBucket.d7)
    assert lake.find_damaged() == []


def test_files_are_partitioned_by_source_bucket_and_month(tmp_path):
    import_candles(Lake(tmp_path), make_source(datetime(2024, 3, 5)))
    folder = tmp_path / "kraken-spot" / "1h"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".2024-01.lock",
        ".2024-02.lock",
        ".2024-03.lock",
        ".lock",
        "2024-01.parquet",
        "2024-02.parquet",
        "2024-03.parquet",
        "manifest.json",
    ]
    months = pd.read_parquet(folder / "2024-02.parquet")["timestamp"]
    assert (months.min(), months.max()) == (
        pd.Timestamp("2024-02-01", tz="UTC"),
        pd.Timestamp("2024-02-29 23:00", tz="UTC"),
    )


def test_second_import_asks_for_nothing(tmp_path):
    source = make_source(datetime(2024, 3, 5), "BTC/USD", "ETH/USD")
    import_candles(Lake(tmp_path), source)
    source.asked.clear()
    report = import_candles(Lake(tmp_path), source)
    assert source.asked == []
    assert (report.rows_added, report.months_written) == (0, ())


def test_import_asks_only_for_new_candles_and_new_pairs(tmp_path):
    lake = Lake(tmp_path)
    import_candles(lake, make_source(datetime(2024, 2, 15)))
    longer = make_source(datetime(2024, 3, 5))
    report = import_candles(lake, longer)
    assert sorted(longer.asked) == [
        (["BTC/USD"], datetime(2024, 2, 15), datetime(2024, 3, 1)),
        (["BTC/USD"], datetime(2024, 3, 1), datetime(2024, 3, 5)),
    ]
    assert report.rows_added == 19 * 24
    wider = make_source(datetime(2024, 3, 5), "BTC/USD", "ETH/USD")
    import_candles(lake, wider)
    assert [pairs for pairs, _, _ in wider.asked] == [["ETH/USD"]] * 3
    assert cache_key(lake.source("kraken spot")) == cache_key(wider)


def test_parts_imported_in_any_order_make_the_whole(tmp_path):
    source = make_source(datetime(2024, 4, 5))
    edges = [None, datetime(2024, 1, 20), datetime(2024, 1, 25, 7), datetime(2024, 3, 3), None]
    parts = Lake(tmp_path / "parts")
    for place in (2, 0, 3, 1):
        import_candles(parts, source, start_at=edges[place], end_at=edges[place + 1])
    whole = Lake(tmp_path / "whole")
    import_candles(whole, source)
    assert parts.content_hash("kraken spot", TimeBucket.h1) == whole.content_hash("kraken spot", TimeBucket.h1)
    assert sum(end > start for _, start, end in source.asked) == len(source.asked)


def test_two_imports_at_once_lose_nothing(tmp_path):
    source = make_source(datetime(2024, 4, 5), "BTC/USD", "ETH/USD", "LTC/USD", "XRP/USD")
    names = [[(CEX, "kraken", base, "USD")] for base in ("BTC", "ETH", "LTC", "XRP")]
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda pairs: import_candles(Lake(tmp_path), source, pairs=pairs), names))
    assert sum(report.rows_added for report in reports) == len(source._candles[TimeBucket.h1])
    assert cache_key(Lake(tmp_path).source("kraken spot")) == cache_key(source)


def test_hole_in_the_source_is_not_asked_for_again(tmp_path):
    source = make_source(datetime(2024, 5, 5))
    frame = source._candles[TimeBucket.h1]
    source._candles[TimeBucket.h1] = frame[(frame["timestamp"] < "2024-02-01") | (frame["timestamp"] >= "2024-04-01")]
    import_candles(Lake(tmp_path), source)
    source.asked.clear()
    import_candles(Lake(tmp_path), source)
    assert source.asked == []
    assert cache_key(Lake(tmp_path).source("kraken spot")) == cache_key(source)


def test_named_pairs_and_bucket_limit_the_import(tmp_path):
    lake = Lake(tmp_path)
    import_candles(lake, EmbeddedSample(), name="sample", bucket=TimeBucket.d1, pairs=[(CEX, None, "ETH", "USD")])
    assert [market.pair for market in lake.source("sample").list_markets()] == ["ETH/USD"]
    with pytest.raises(UnknownPair, match="did you mean"):
        import_candles(lake, EmbeddedSample(), pairs=[(CEX, None, "ETC", "USD")])
    with pytest.raises(BadInput, match="bucket m1 is not there; it has d1, h1"):
        import_candles(lake, EmbeddedSample(), bucket=TimeBucket.m1)


def test_broken_candles_are_refused_or_dropped(tmp_path):
    source = make_source(datetime(2024, 3, 5))
    frame = source._candles[TimeBucket.h1]
    frame.loc[frame["timestamp"] == "2024-02-10 05:00", "low"] = 0.0
    lake = Lake(tmp_path)
    with pytest.raises(
        CandleContractBroken, match="kraken spot: low: is not above zero in 1 row, first: BTC/USD@kraken"
    ):
        import_candles(lake, source)
    assert [path.name for path, _ in lake.read_contents("kraken spot")] == ["2024-01.parquet"]
    report = import_candles(lake, source, drop_broken=True)
    assert report.rows_dropped == 1
    assert len(lake.query("SELECT * FROM candles")) == len(frame) - 1


def test_dirty_file_imports_without_its_broken_rows(tmp_path, shared_data):
    source = FileSource(shared_data / "dirty_daily_12exchanges.parquet", name="dirty")
    lake = Lake(tmp_path)
    pairs = [(CEX, "mexbt", "BTC", "USD"), (CEX, "coinbase-pro", "LTC", "USD")]
    report = import_candles(lake, source, pairs=pairs, drop_broken=True)
    assert report.rows_added + report.rows_dropped == 609 + 1573
    impossible, non_positive, duplicates = 97, 205 + 4, 6
    assert report.rows_dropped == impossible + non_positive + duplicates
    assert len(lake.source("dirty").list_markets()) == 2
    assert lake.find_damaged() == []


def test_damaged_files_are_found(tmp_path):
    lake = Lake(tmp_path)
    import_candles(lake, make_source(datetime(2024, 3, 5)))
    path = lake.month_path("kraken spot", TimeBucket.h1, "2024-02")
    content = path.read_bytes()
    path.write_bytes(content[:-50])
    with pytest.raises(CandleContractBroken, match=r"2024-02\.parquet: .*delete it, import again"):
        lake.source("kraken spot").list_markets()
    path.unlink()
    import_candles(lake, make_source(datetime(2024, 3, 5)))
    assert cache_key(lake.source("kraken spot")) == cache_key(make_source(datetime(2024, 3, 5)))


def test_content_hash_changes_with_the_data_only(tmp_path):
    first, second = Lake(tmp_path / "a"), Lake(tmp_path / "b")
    import_candles(first, make_source(datetime(2024, 2, 5)))
    import_candles(second, make_source(datetime(2024, 2, 5)))
    before = first.content_hash("kraken spot", TimeBucket.h1)
    assert before == second.content_hash("kraken spot", TimeBucket.h1)
    import_candles(first, make_source(datetime(2024, 2, 6)))
    assert first.content_hash("kraken spot", TimeBucket.h1) != before


def test_sql_sees_all_candles(sample_lake):
    table = sample_lake.query("SELECT bucket, exchange, pair, count(*) AS n FROM candles GROUP BY ALL ORDER BY ALL")
    assert table.to_numpy().tolist() == [
        ["1d", "bitstamp", "BTC/USD", 1865],
        ["1d", "bitstamp", "ETH/USD", 788],
        ["1d", "bitstamp", "LTC/USD", 925],
        ["1h", "coinbase", "BTC/USD", 15_706],
    ]
    with pytest.raises(BadInput, match="SELEC"):
        sample_lake.query("SELEC 1")


def test_empty_lake_and_unknown_source_are_named(tmp_path):
    with pytest.raises(MarketDataMissing, match="is empty"):
        Lake(tmp_path).query("SELECT 1")
    import_candles(Lake(tmp_path), make_source(datetime(2024, 2, 5)))
    with pytest.raises(MarketDataMissing, match=r"'binance' is not in the lake .* which has kraken-spot"):
        Lake(tmp_path).source("binance")


def test_folder_comes_from_argument_environment_or_default(tmp_path, monkeypatch):
    monkeypatch.delenv("TRADING_DAGSTER_LAKE", raising=False)
    assert Lake().folder == DEFAULT_LAKE
    monkeypatch.setenv("TRADING_DAGSTER_LAKE", str(tmp_path))
    assert Lake().folder == tmp_path
    assert Lake(tmp_path / "x").folder == tmp_path / "x"


@pytest.mark.parametrize("call", [1, 2, 3, 28])
def test_import_killed_anywhere_is_continued(tmp_path, call):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_IMPORT, str(tmp_path), str(call)], check=False, capture_output=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    lake = Lake(tmp_path)
    assert lake.find_damaged() == []
    assert import_candles(lake, EmbeddedSample(), bucket=TimeBucket.h1).rows_added > 0
    assert cache_key(lake.source("embedded sample")) == cache_key(EmbeddedSample())
    assert import_candles(lake, EmbeddedSample(), bucket=TimeBucket.h1).months_written == ()


def test_months_cover_a_span_without_gap():
    months = list(months_between(1_703_980_800_000_000 + 1, 1_709_251_200_000_000 + 1))
    assert [name for name, _ in months] == ["2023-12", "2024-01", "2024-02", "2024-03"]
    assert all(left[1][1] == right[1][0] for left, right in zip(months, months[1:], strict=False))
    assert list(months_between(5, 5)) == []


@given(st.tuples(st.integers(0, 50), st.integers(0, 50)), INTERVALS)
def test_missing_and_covered_times_make_the_whole(wanted, covered):
    missing = missing_intervals(wanted, covered)
    inside = {point for start, end in covered for point in range(start, end)}
    asked = set(range(*wanted))
    assert {point for start, end in missing for point in range(start, end)} == asked - inside
    assert all(start < end for start, end in missing)


@given(INTERVALS)
def test_joined_intervals_are_the_same_times(intervals):
    joined = join_intervals(intervals)
    points = {point for start, end in intervals for point in range(start, end)}
    assert {point for start, end in joined for point in range(start, end)} == points
    assert all(left[1] < right[0] for left, right in zip(joined, joined[1:], strict=False))


class LiquidSource(MemorySource):
    """A source whose candles carry TVL and counts of swaps in the first of two months."""

    def load_candles(self, markets, start, end):
        for frame in super().load_candles(markets, start, end):
            is_known = frame["timestamp"] < datetime(2024, 2, 1)
            tvl = {f"tvl_{name}": frame[name].where(is_known) * 1000 for name in ("open", "high", "low", "close")}
            yield frame.assign(**tvl, buys=3.0, sells=1.0)


def test_tvl_and_counts_come_back_from_the_lake_and_older_sources_lack_them(tmp_path):
    made = generate_ohlcv_candles(TimeBucket.d1, START, datetime(2024, 2, 20)).drop(columns="pair_id")
    candles = made.assign(pair="ETH/USD", high=made[["open", "high", "close"]].max(axis=1))
    candles["low"] = candles[["open", "low", "close"]].min(axis=1)
    source = LiquidSource({TimeBucket.d1: candles}, exchange="uniswap-v3", name="chain")
    lake = Lake(tmp_path)
    import_candles(lake, source)
    import_candles(lake, EmbeddedSample(), bucket=TimeBucket.d1)
    stored = lake.source("chain")
    (market,) = stored.list_liquidity()
    tvl = pd.concat(stored.load_liquidity([market], START, datetime(2024, 3, 1)))
    assert tvl["timestamp"].max() == datetime(2024, 1, 31)
    assert tvl["close"].tolist() == (candles["close"][: len(tvl)] * 1000).tolist()
    assert lake.source("embedded sample").list_liquidity() == ()
    counts = lake.query("SELECT source, sum(buys) AS buys, count(tvl_open) AS known FROM candles GROUP BY 1 ORDER BY 1")
    assert counts["buys"].fillna(0).tolist() == [3.0 * len(candles), 0.0]
    assert counts["known"].tolist() == [22, 0]
    assert lake.find_damaged() == []
    dataset = load_partial_data(
        stored, None, TimeBucket.d1, [market.description], liquidity=True, end_at=datetime(2024, 1, 30)
    )
    universe = TradingStrategyUniverse.create_from_dataset(dataset)
    assert universe.liquidity is not None
    assert universe.liquidity.columns["open"][0, 0] == candles["open"].iloc[0] * 1000


@pytest.mark.parametrize("name", ["la*e", "la?e", "la[k]e", "la'ke"])
def test_folder_of_a_lake_may_have_signs_of_patterns(tmp_path, name):
    for folder in ("lake", name):
        import_candles(Lake(tmp_path / folder), EmbeddedSample(), name="mine", bucket=TimeBucket.d1)
    lake = Lake(tmp_path / name)
    assert lake.query("SELECT count(*) AS n FROM candles")["n"].tolist() == [3578]
    span = {"top": 3, "start": datetime(2019, 2, 1), "end": datetime(2019, 3, 1), "window": timedelta(days=1)}
    assert len(select_by_volume(lake.source("mine"), TimeBucket.d1, **span).to_descriptions()) == 3


def test_sources_of_other_scripts_have_folders_of_their_own(tmp_path):
    lake = Lake(tmp_path / "lake")
    for name in ("данные", "数据", "Bo\u0308rse 1"):
        assert import_candles(lake, EmbeddedSample(), name=name, bucket=TimeBucket.d1).rows_added == 3578
    assert lake.list_sources() == ["Börse-1", "данные", "数据"]
    assert len(lake.source("Börse 1").list_markets()) == 3
