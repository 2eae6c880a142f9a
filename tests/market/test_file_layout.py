"""Dumps of freqtrade and Binance are recognised by their names; other files by a mapping file."""

import json
import zipfile
from datetime import datetime

import pandas as pd
import pytest

from trading_dagster.domain.error import BadConfiguration, BadInput, CandleContractBroken
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.file_layout import FileLayout
from trading_dagster.market.file_source import FileSource, OpenFile
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.layout_file import LayoutFile, Shelf
from trading_dagster.market.mapping_file import read_mapping

START = datetime(2024, 1, 1)
OHLCV = ["open", "high", "low", "close", "volume"]


@pytest.fixture
def candles():
    """Return 48 hours of made-up candles."""
    close = 100 + pd.Series(range(48), dtype="float64") % 7
    times = pd.date_range(START, periods=48, freq="h", unit="us")
    return pd.DataFrame(
        {"timestamp": times, "open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": 3.0}
    )


def load(source):
    (market,) = source.list_markets()
    frame = pd.concat(source.load_candles([market], market.first_at, market.end_at), ignore_index=True)
    return market, frame


def same_rows(frame, candles):
    return frame[["timestamp", *OHLCV]].astype({"timestamp": "datetime64[us]"}).equals(candles)


def binance_csv(candles, unit):
    scale = {"ms": 1_000, "us": 1}[unit]
    opened = candles["timestamp"].astype("int64") // scale
    lines = zip(opened, *(candles[name] for name in OHLCV), strict=True)
    width = 3_600_000_000 // scale
    rows = (
        f"{line[0]},{','.join(f'{value:.8f}' for value in line[1:])},{line[0] + width - 1},9.9,12,4.0,5.0,0"
        for line in lines
    )
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("kind", ["csv", "zip"])
def test_binance_dump_is_read(tmp_path, candles, kind, unit):
    path = tmp_path / f"BTCUSDT-1h-2024-01.{kind}"
    text = binance_csv(candles, unit)
    if kind == "csv":
        path.write_text(text)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("BTCUSDT-1h-2024-01.csv", text)
    market, frame = load(FileSource(tmp_path))
    assert (market.exchange_slug, market.pair, market.bucket) == ("binance", "BTC/USDT", TimeBucket.h1)
    assert same_rows(frame, candles)


def test_binance_dump_with_a_line_of_names_is_read(tmp_path, candles):
    names = "open_time,open,high,low,close,volume,close_time,quote_volume,count,tbv,tbqv,ignore\n"
    (tmp_path / "ETHFDUSD-1h-2024-01-01.csv").write_text(names + binance_csv(candles, "ms"))
    market, frame = load(FileSource(tmp_path))
    assert market.pair == "ETH/FDUSD"
    assert same_rows(frame, candles)


def test_folder_of_binance_months_goes_into_the_lake(tmp_path, candles):
    later = candles.assign(timestamp=candles["timestamp"] + pd.Timedelta(days=31))
    folder = tmp_path / "data" / "spot" / "monthly" / "klines" / "BTCUSDT" / "1h"
    folder.mkdir(parents=True)
    (folder / "BTCUSDT-1h-2024-01.csv").write_text(binance_csv(candles, "ms"))
    (folder / "BTCUSDT-1h-2024-02.csv").write_text(binance_csv(later, "us"))
    lake = Lake(tmp_path / "lake")
    report = import_candles(lake, FileSource(tmp_path / "data", name="dump"))
    assert (report.rows_added, len(report.months_written)) == (96, 2)
    assert [market.pair for market in lake.source("dump").list_markets()] == ["BTC/USDT"]


@pytest.mark.parametrize("kind", ["feather", "json"])
def test_freqtrade_dump_is_read_and_futures_are_left_out(tmp_path, candles, kind):
    folder = tmp_path / "user_data" / "data" / "kraken"
    (folder / "futures").mkdir(parents=True)
    path = folder / f"BTC_USD-1h.{kind}"
    if kind == "feather":
        frame = candles.rename(columns={"timestamp": "date"})
        frame["date"] = frame["date"].dt.tz_localize("UTC").dt.as_unit("ms")
        frame.to_feather(path)
        frame.to_feather(folder / "futures" / "BTC_USD_USD-1h-futures.feather")
        frame.to_feather(folder / "futures" / "BTC_USD_USD-8h-funding_rate.feather")
    else:
        times = candles["timestamp"].astype("int64") // 1000
        path.write_text(
            json.dumps([[int(at), *row] for at, row in zip(times, candles[OHLCV].to_numpy().tolist(), strict=True)])
        )
    market, frame = load(FileSource(tmp_path / "user_data"))
    assert (market.exchange_slug, market.pair, market.bucket) == ("kraken", "BTC/USD", TimeBucket.h1)
    assert same_rows(frame, candles)


MAPPING = """
columns: {timestamp: Date, open: O, high: H, low: L, close: C, volume: Vol, pair: Symbol}
pairs: {XBTUSD: BTC/USD, ETHUSD: ETH/USD}
exchange: kraken
bucket: 1h
label: close
utc_offset_hours: 2
"""


def test_mapping_file_names_columns_pairs_and_clock(tmp_path, candles):
    theirs = candles.rename(columns=dict(zip(OHLCV, ["O", "H", "L", "C", "Vol"], strict=True)))
    theirs["Date"] = (theirs.pop("timestamp") + pd.Timedelta(hours=3)).dt.strftime("%Y-%m-%d %H:%M:%S")
    both = pd.concat([theirs.assign(Symbol="XBTUSD"), theirs.assign(Symbol="ETHUSD")])
    both.to_csv(tmp_path / "mine.csv", index=False)
    (tmp_path / "map.yaml").write_text(MAPPING)
    source = FileSource(tmp_path / "mine.csv", layout=read_mapping(tmp_path / "map.yaml"))
    markets = source.list_markets()
    assert [(market.exchange_slug, market.pair, market.first_at) for market in markets] == [
        ("kraken", "BTC/USD", START),
        ("kraken", "ETH/USD", START),
    ]
    frame = pd.concat(source.load_candles([markets[1]], START, datetime(2025, 1, 1)), ignore_index=True)
    assert same_rows(frame, candles)
    assert set(frame["pair"]) == {"ETH/USD"}


@pytest.mark.parametrize("names", ["timestamp,open,high,low,close,volume", "pair,timestamp,open,high,low,close,volume"])
@pytest.mark.parametrize("quoting", [0, 1], ids=["plain", "quoted"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("has_names", [True, False])
def test_first_line_without_names_is_a_candle(tmp_path, candles, names, quoting, encoding, has_names):
    header = names.split(",")
    text = candles.assign(pair="BTC/USD")[header].to_csv(index=False, header=has_names, quoting=quoting)
    (tmp_path / "mine.csv").write_text(text, encoding=encoding)
    layout = FileLayout(header=tuple(header), pair=None if "pair" in header else "BTC/USD")
    assert same_rows(load(FileSource(tmp_path / "mine.csv", layout=layout))[1], candles)


def test_all_tables_of_an_archive_are_read(tmp_path, candles):
    path = tmp_path / "mine.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/._b.csv", "\x00\x05")
        archive.writestr("README.txt", "hourly")
        for name, part in (("2/b.csv", candles[20:]), ("1/a.csv", candles[:20])):
            archive.writestr(name, part.to_csv(index=False))
    assert same_rows(load(FileSource(path, layout=FileLayout(pair="BTC/USD")))[1], candles)
    with pytest.raises(BadInput, match=r"mine\.zip: cannot read \.zip files; .* needs a mapping"):
        FileSource(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "nothing")
    with pytest.raises(CandleContractBroken, match=r"mine\.zip: not readable: there is no \.csv file in it"):
        load(FileSource(path, layout=FileLayout(pair="BTC/USD")))


def test_mistakes_in_a_mapping_are_named(tmp_path, candles):
    path = tmp_path / "map.yaml"
    path.write_text("colums: {open: o}\n")
    with pytest.raises(BadConfiguration, match=r"map\.yaml: colums: .*; see docs/data\.md"):
        read_mapping(path)
    path.write_text("label: close\n")
    with pytest.raises(BadConfiguration, match="label is close, so bucket must say"):
        read_mapping(path)
    path.write_text("bucket: 7h\n")
    with pytest.raises(BadConfiguration, match="bucket is '7h'"):
        read_mapping(path)
    path.write_text("pair: BTC/USD\ncolumns: {open: first}\n")
    candles.to_csv(tmp_path / "c.csv", index=False)
    source = FileSource(tmp_path / "c.csv", layout=read_mapping(path))
    assert len(load(source)[1]) == 48  # a column that is not there takes nothing away
    candles.drop(columns="open").to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(CandleContractBroken, match="column open is missing"):
        FileSource(tmp_path / "d.csv", layout=read_mapping(path)).list_markets()


def test_dumps_that_cannot_be_used_are_named(tmp_path, candles):
    path = tmp_path / "BTCXXX-1h-2024-01.csv"
    path.write_text(binance_csv(candles, "ms"))
    with pytest.raises(BadInput, match="symbol BTCXXX ends in none of"):
        FileSource(path)
    broken = tmp_path / "BTCUSDT-1h-2024-01.zip"
    broken.write_bytes(b"PK nothing")
    with pytest.raises(CandleContractBroken, match="not readable"):
        FileSource(broken).list_markets()


@pytest.mark.parametrize(("most_rows", "reads"), [(10_000, 1), (0, 5)], ids=["kept", "no room"])
def test_dump_of_many_months_is_read_once_where_there_is_room(tmp_path, monkeypatch, most_rows, reads):
    times = pd.date_range("2024-01-01", "2024-03-31 23:00", freq="h", tz="UTC")
    path = tmp_path / "BTC_USDT-1h.feather"
    columns = {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.0, "volume": 1.0}
    pd.DataFrame({"date": times, **columns}).to_feather(path)
    seen = []
    parse = LayoutFile._parse
    monkeypatch.setattr(LayoutFile, "_parse", lambda self: (seen.append(self), parse(self))[1])
    source = FileSource(tmp_path)
    source._shelf = Shelf(most_rows)
    source._files = {
        path: OpenFile(known.mark, LayoutFile(path, known.file._layout, source._shelf))
        for path, known in source._files.items()
    }
    lake = Lake(tmp_path / "lake")
    assert import_candles(lake, source, name="mine", workers=1).rows_added == len(times)
    assert lake.query("SELECT count(*) AS n FROM candles")["n"].tolist() == [len(times)]
    assert len(seen) <= reads
    assert (len(seen) == 1) == (reads == 1)
