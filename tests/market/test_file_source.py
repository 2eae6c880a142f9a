"""Candle files of every kind read the same, and a bad file is named with what is wrong."""

from datetime import datetime

import pandas as pd
import pytest

from trading_dagster.domain.error import BadInput, CandleContractBroken, MarketDataMissing
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import check_candles
from trading_dagster.market.file_source import EmbeddedSample, FileSource
from trading_dagster.market.synthetic import generate_ohlcv_candles

START, END = datetime(2024, 1, 1), datetime(2024, 1, 8)
COLUMNS = ["timestamp", "pair", "open", "high", "low", "close", "volume"]


def make_candles(*pairs):
    frames = [
        generate_ohlcv_candles(TimeBucket.h1, START, END, random_seed=seed, daily_drift=(0.99, 1.01))
        .drop(columns="pair_id")
        .assign(pair=pair)
        for seed, pair in enumerate(pairs or ("BTC/USD",))
    ]
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def load_all(source):
    frames = list(source.load_candles(source.list_markets(), datetime(2000, 1, 1), datetime(2040, 1, 1)))
    return pd.concat(frames, ignore_index=True).astype({"pair": "str"})


def write(frame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif path.suffix == ".feather":
        frame.to_feather(path)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.csv", "a.csv.gz"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_every_format_reads_the_same(tmp_path, name, zone):
    candles = make_candles("BTC/USD", "ETH/USD")
    written = candles.assign(timestamp=candles["timestamp"].dt.tz_localize(zone))
    source = FileSource(write(written, tmp_path / name), exchange="kraken")
    pd.testing.assert_frame_equal(load_all(source), candles)
    assert [market.description for market in source.list_markets()] == [
        (ChainId.centralised_exchange, "kraken", "BTC", "USD"),
        (ChainId.centralised_exchange, "kraken", "ETH", "USD"),
    ]
    assert {market.bucket for market in source.list_markets()} == {TimeBucket.h1}
    assert {(market.first_at, market.last_at) for market in source.list_markets()} == {
        (START, datetime(2024, 1, 7, 23))
    }


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_resolution_of_time_reads_the_same(tmp_path, unit):
    candles = make_candles()
    written = candles.assign(timestamp=candles["timestamp"].astype(f"datetime64[{unit}]"))
    pd.testing.assert_frame_equal(load_all(FileSource(write(written, tmp_path / "a.parquet"))), candles)


def test_span_and_pair_limit_what_is_read(tmp_path):
    candles = make_candles("BTC/USD", "ETH/USD", "LTC/USD")
    source = FileSource(write(candles, tmp_path / "a.parquet"))
    markets = source.list_markets()[1:2]
    frame = pd.concat(source.load_candles(markets, datetime(2024, 1, 2), datetime(2024, 1, 3)))
    assert len(frame) == 24
    assert set(frame["pair"]) == {"ETH/USD"}
    assert frame["timestamp"].min() == datetime(2024, 1, 2)
    assert frame["timestamp"].max() == datetime(2024, 1, 2, 23)


def test_one_pair_file_is_named_by_the_file_or_the_argument(tmp_path):
    candles = make_candles().drop(columns="pair")
    source = FileSource(write(candles, tmp_path / "BTC-USD.csv"))
    assert [market.pair for market in source.list_markets()] == ["BTC/USD"]
    named = FileSource(write(candles, tmp_path / "prices.csv"), pair="ETH/EUR")
    assert [market.pair for market in named.list_markets()] == ["ETH/EUR"]
    with pytest.raises(BadInput, match=r"prices\.csv: neither a column pair nor the file name says"):
        FileSource(tmp_path / "prices.csv").list_markets()


@pytest.mark.parametrize("name", ["BTC_1h.csv", "candles-BTC.csv", "2024-01.csv", "ohlcv_15min.csv"])
def test_width_or_date_in_the_name_of_a_file_is_no_token(tmp_path, name):
    candles = make_candles().drop(columns="pair")
    with pytest.raises(BadInput, match=rf"{name}: neither a column pair nor the file name says"):
        FileSource(write(candles, tmp_path / name)).list_markets()


def test_files_of_a_folder_join_into_one_market(tmp_path):
    candles = make_candles()
    write(candles[:100], tmp_path / "part1.parquet")
    write(candles[100:], tmp_path / "part2.csv")
    write(make_candles("ETH/USD"), tmp_path / "eth.feather")
    (tmp_path / ".part3.parquet.123.tmp").write_bytes(b"half a file")
    (tmp_path / "notes.txt").write_text("not candles")
    source = FileSource(tmp_path)
    assert [market.pair for market in source.list_markets()] == ["BTC/USD", "ETH/USD"]
    found = load_all(source).sort_values(["pair", "timestamp"], ignore_index=True)
    pd.testing.assert_frame_equal(found, pd.concat([candles, make_candles("ETH/USD")], ignore_index=True))


def test_pair_ids_are_told_apart(tmp_path):
    candles = make_candles("BTC/USD", "ETH/USD")
    candles["pair_id"] = candles.pop("pair").map({"BTC/USD": 1, "ETH/USD": 2})
    source = FileSource(write(candles, tmp_path / "a.parquet"))
    assert [market.pair for market in source.list_markets()] == ["1/USD", "2/USD"]
    assert len(next(source.load_candles(source.list_markets()[:1], START, END))) == 168


def test_venues_are_read_from_the_file(shared_data):
    source = FileSource(shared_data / "dirty_daily_12exchanges.parquet")
    markets = source.list_markets()
    assert len(markets) == 32
    assert markets[0].description == (ChainId.centralised_exchange, "bitfinex", "BTC", "USD")
    mexbt = [market for market in markets if market.exchange_slug == "mexbt"]
    frame = pd.concat(source.load_candles(mexbt, datetime(2000, 1, 1), datetime(2030, 1, 1)))
    assert len(frame) == 609
    assert set(frame["pair"]) == {"BTC/USD"}


def test_column_names_match_in_any_case(tmp_path):
    candles = make_candles().rename(columns=str.title).rename(columns={"Timestamp": "Date"})
    pd.testing.assert_frame_equal(load_all(FileSource(write(candles, tmp_path / "a.csv"))), make_candles())


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, MarketDataMissing, "there is no such file"),
        (b"PAR1 this is no parquet", CandleContractBroken, "not readable"),
        (b"", CandleContractBroken, "not readable"),
    ],
)
def test_missing_and_unreadable_files_are_named(tmp_path, content, error, message):
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=rf"a\.parquet: .*{message}"):
        FileSource(path).list_markets()


def test_file_cut_off_in_the_middle_is_refused(tmp_path):
    path = write(make_candles(), tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CandleContractBroken, match="not readable"):
        FileSource(path).list_markets()


def test_empty_folder_and_other_kinds_of_file_are_refused(tmp_path):
    with pytest.raises(MarketDataMissing, match=r"no .* file in this folder"):
        FileSource(tmp_path)
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"cannot read \.xlsx files"):
        FileSource(tmp_path / "a.xlsx")


def test_missing_column_is_named(tmp_path, shared_data):
    path = write(make_candles().drop(columns=["low", "volume"]), tmp_path / "a.parquet")
    with pytest.raises(CandleContractBroken, match="column low, volume is missing"):
        FileSource(path)
    with pytest.raises(CandleContractBroken, match="column timestamp, open"):
        FileSource(shared_data / "aave_v3_polygon_1m.parquet")


def test_wrong_types_are_refused(tmp_path):
    candles = make_candles()
    text = candles.assign(close=candles["close"].astype("str"))
    with pytest.raises(CandleContractBroken, match="column close has type"):
        load_all(FileSource(write(text, tmp_path / "a.parquet")))
    local = candles.assign(timestamp=candles["timestamp"].dt.tz_localize("Europe/Helsinki"))
    with pytest.raises(CandleContractBroken, match=r"timestamp has type timestamp\[us, tz=Europe/Helsinki\]"):
        FileSource(write(local, tmp_path / "b.parquet"))
    number = candles.assign(timestamp=range(len(candles)))
    with pytest.raises(CandleContractBroken, match=r"timestamp is a number \(int64\)"):
        FileSource(write(number, tmp_path / "c.parquet"))


def test_pair_of_another_form_is_refused(tmp_path):
    candles = make_candles().assign(pair="BTCUSD")
    with pytest.raises(BadInput, match=r"a\.parquet: Pair 'BTCUSD' is not BASE/QUOTE"):
        FileSource(write(candles, tmp_path / "a.parquet")).list_markets()
    missing = make_candles().assign(pair=None).astype({"pair": "str"})
    with pytest.raises(BadInput, match=r"b\.parquet: Pair '' is not BASE/QUOTE"):
        FileSource(write(missing, tmp_path / "b.parquet")).list_markets()


def test_bucket_is_that_of_most_steps_or_as_told(tmp_path, shared_data):
    assert FileSource(shared_data / "bitfinex_7pairs_1h.parquet").list_markets()[0].bucket is TimeBucket.h1
    assert FileSource(shared_data / "uniswap_v3_polygon_usdc_weth_1m.parquet").list_markets()[0].bucket is TimeBucket.m1
    one = write(make_candles()[:1], tmp_path / "a.parquet")
    with pytest.raises(BadInput, match="one candle does not tell the time bucket"):
        FileSource(one).list_markets()
    assert FileSource(one, bucket=TimeBucket.h4).list_markets()[0].bucket is TimeBucket.h4


def test_empty_file_is_refused(tmp_path):
    with pytest.raises(MarketDataMissing, match="no candles in it"):
        FileSource(write(make_candles()[:0], tmp_path / "a.parquet")).list_markets()


def test_embedded_sample_is_good_and_complete():
    sample = EmbeddedSample()
    markets = sample.list_markets()
    assert [(market.exchange_slug, market.pair, market.bucket) for market in markets] == [
        ("bitstamp", "BTC/USD", TimeBucket.d1),
        ("bitstamp", "ETH/USD", TimeBucket.d1),
        ("bitstamp", "LTC/USD", TimeBucket.d1),
        ("coinbase", "BTC/USD", TimeBucket.h1),
    ]
    counts = {}
    for market in markets:
        frame = pd.concat(sample.load_candles([market], datetime(2000, 1, 1), datetime(2030, 1, 1)))
        check_candles(frame, market.bucket, sample.name)
        counts[market.exchange_slug, market.pair] = len(frame)
    assert counts == {
        ("bitstamp", "BTC/USD"): 1865,
        ("bitstamp", "ETH/USD"): 788,
        ("bitstamp", "LTC/USD"): 925,
        ("coinbase", "BTC/USD"): 15_706,
    }
