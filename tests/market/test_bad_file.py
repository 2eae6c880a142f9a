"""Files that are written another way than expected are read, or refused with what to do about it."""

from datetime import datetime

import pandas as pd
import pytest

from trading_dagster.domain.error import BadInput, CandleContractBroken, MarketDataMissing
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.file_source import FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.mapping_file import read_mapping

START = datetime(2024, 1, 1)


def make_candles(count=72):
    times = pd.date_range(START, periods=count, freq="h", unit="us")
    prices = {"open": 2.5, "high": 3.0, "low": 1.5, "close": 2.0, "volume": 4.0}
    return pd.DataFrame({"timestamp": times, **prices})


def load(path, mapping=None, folder=None):
    layout = None
    if mapping is not None:
        file = folder / "mapping.yaml"
        file.write_text(mapping)
        layout = read_mapping(file)
    source = FileSource(path, pair="BTC/USD", layout=layout)
    return pd.concat(source.load_candles(source.list_markets(), START, datetime(2030, 1, 1)), ignore_index=True)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mapping", [None, "exchange: kraken"])
def test_columns_may_be_told_apart_in_several_ways(tmp_path, name, delimiter, mapping):
    make_candles().to_csv(tmp_path / name, index=False, sep=delimiter)
    frame = load(tmp_path / name, mapping, tmp_path)
    pd.testing.assert_frame_equal(frame.drop(columns="pair"), make_candles())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda candles: candles[:0], MarketDataMissing, "there are no candles in it"),
        (
            lambda candles: candles.assign(timestamp=candles["timestamp"].dt.strftime("%d/%m/%Y %H:%M")),
            CandleContractBroken,
            r"timestamp is a text that cannot be read as a time: .*--mapping, time_format",
        ),
        (
            lambda candles: candles.assign(timestamp=candles["timestamp"].astype("int64")),
            CandleContractBroken,
            r"timestamp is a number \(int64\): .*time_unit s, ms or us",
        ),
        (
            lambda candles: candles.assign(close=candles["close"].map("{:.2f} $".format)),
            CandleContractBroken,
            r"column close has type string, first value '2.00 \$'",
        ),
        (lambda candles: candles.drop(columns=["low"]), CandleContractBroken, "column low is missing"),
    ],
    ids=["no rows", "text", "numbers", "currency", "column"],
)
def test_file_is_refused_with_what_to_do(tmp_path, change, error, message):
    path = tmp_path / "bad.csv"
    change(make_candles()).to_csv(path, index=False)
    with pytest.raises(error, match=rf"bad\.csv: {message}"):
        load(path)


@pytest.mark.parametrize("mapping", [None, "exchange: kraken"])
@pytest.mark.parametrize("name", ["Volume", " volume"])
def test_two_columns_of_one_name_are_refused(tmp_path, mapping, name):
    candles = make_candles()
    candles.insert(6, name, 77.0)
    candles.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(CandleContractBroken, match=r"a\.csv: 2 columns are called volume, whatever the case"):
        load(tmp_path / "a.csv", mapping, tmp_path)


def test_column_that_a_mapping_names_wins_over_one_that_is_called_so(tmp_path):
    candles = make_candles()
    candles.rename(columns={"volume": "Volume BTC"}).assign(volume=77.0).to_csv(tmp_path / "a.csv", index=False)
    frame = load(tmp_path / "a.csv", "columns: {volume: Volume BTC}", tmp_path)
    pd.testing.assert_frame_equal(frame.drop(columns="pair"), candles)


def test_times_finer_than_a_microsecond_are_refused_with_the_file(tmp_path):
    candles = make_candles()
    fine = candles["timestamp"].astype("datetime64[ns]") + pd.Timedelta(1, "ns")
    candles.assign(timestamp=fine).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(CandleContractBroken, match=r"a\.parquet: timestamp is finer than a microsecond"):
        load(tmp_path / "a.parquet")


@pytest.mark.parametrize("has_names", [True, False])
def test_decimal_comma_is_read_where_a_mapping_says_so(tmp_path, has_names):
    candles = make_candles()
    candles.to_csv(tmp_path / "a.csv", index=False, sep=";", decimal=",", header=has_names)
    header = "header: [timestamp, open, high, low, close, volume]\n"
    frame = load(tmp_path / "a.csv", header + 'decimal: ","', tmp_path)
    pd.testing.assert_frame_equal(frame.drop(columns="pair"), candles)
    if has_names:
        with pytest.raises(CandleContractBroken, match=r'first value \'2,5\': .* or say decimal: "," in a mapping'):
            load(tmp_path / "a.csv")
        with pytest.raises(CandleContractBroken, match=r'column open is not numeric: .*by decimal: "," in the mapping'):
            load(tmp_path / "a.csv", "exchange: kraken", tmp_path)


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "bad.csv").touch()
    with pytest.raises(CandleContractBroken, match=r"bad\.csv: not readable as csv: the file is empty"):
        load(tmp_path / "bad.csv")


def test_mapping_says_how_times_are_written(tmp_path):
    candles = make_candles(24 * 20)
    path = tmp_path / "dmy.csv"
    candles.assign(timestamp=candles["timestamp"].dt.strftime("%d/%m/%Y %H:%M")).to_csv(path, index=False)
    frame = load(path, 'time_format: "%d/%m/%Y %H:%M"', tmp_path)
    pd.testing.assert_frame_equal(frame.drop(columns="pair"), candles)
    with pytest.raises(CandleContractBroken, match=r"dmy\.csv: times cannot be read: .*time_format of the mapping"):
        load(path, 'time_format: "%Y"', tmp_path)


def test_wrong_unit_of_times_is_noticed(tmp_path):
    path = tmp_path / "seconds.csv"
    candles = make_candles()
    candles.assign(timestamp=candles["timestamp"].astype("int64") // 10**6).to_csv(path, index=False)
    pd.testing.assert_frame_equal(load(path, "time_unit: s", tmp_path).drop(columns="pair"), candles)
    with pytest.raises(BadInput, match=r"seconds\.csv: most candles are 0:00:03.600000 apart\. .*time_unit"):
        load(path, "time_unit: ms", tmp_path)


@pytest.mark.parametrize("workers", [1, 3])
def test_broken_candle_in_a_folder_is_told_with_its_file(tmp_path, workers):
    folder = tmp_path / "folder"
    folder.mkdir()
    for pair in ("AAA-USD", "BBB-USD", "CCC-USD"):
        candles = make_candles(24 * 100)
        if pair != "AAA-USD":
            candles.loc[24 * 45, "low"] = -1.0
        candles.to_csv(folder / f"{pair}.csv", index=False)
    lake = Lake(tmp_path / "lake")
    with pytest.raises(
        CandleContractBroken, match=r"BBB-USD\.csv: low: is not above zero in 1 row, first: BBB/USD 2024-02-15 00:00:00"
    ):
        import_candles(lake, FileSource(folder, bucket=TimeBucket.h1), name="mine", workers=workers)
    assert [path.stem for path, _ in lake.read_contents("mine")] == ["2024-01"]


def test_candle_that_two_files_have_is_refused_for_the_folder(tmp_path):
    folder = tmp_path / "folder"
    for part in ("a", "b"):
        (folder / part).mkdir(parents=True)
        make_candles().to_csv(folder / part / "AAA-USD.csv", index=False)
    with pytest.raises(CandleContractBroken, match="folder: timestamp: is duplicated in 72 rows"):
        import_candles(Lake(tmp_path / "lake"), FileSource(folder))
