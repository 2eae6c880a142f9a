"""Importing again adds what is new, wherever it is, and replaces what is there only when asked to."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.file_source import FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.month_import import read_repairs
from trading_dagster.market.repair import DROP_BROKEN

START = datetime(2024, 1, 20)


def make_candles(hours, *, base=100.0, first=0):
    numbers = np.arange(first, first + hours)
    times = pd.DatetimeIndex(START + pd.to_timedelta(numbers, unit="h"))
    return pd.DataFrame(
        {"timestamp": times, "open": base, "high": base + 2, "low": base - 2, "close": base + 1, "volume": 5.0}
    )


def write(folder, name, candles):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    candles.to_csv(folder / name, index=False)


def bring(lake, folder, **options):
    return import_candles(lake, FileSource(folder, bucket=TimeBucket.h1), name="mine", **options)


def read(lake):
    return lake.query("SELECT pair, timestamp, open FROM candles ORDER BY pair, timestamp")


@pytest.mark.parametrize("workers", [1, 3])
def test_file_that_fills_a_hole_is_taken_in(tmp_path, workers):
    whole = make_candles(24 * 30)  # over the end of a month
    holed = whole.drop(whole.index[24 * 3 : 24 * 15])
    write(tmp_path / "files", "a/BTC-USD.csv", holed)
    lake, at_once = Lake(tmp_path / "lake"), Lake(tmp_path / "at once")
    assert bring(lake, tmp_path / "files", workers=workers).rows_added == len(holed)
    again = bring(lake, tmp_path / "files", workers=workers)
    assert (again.rows_added, again.months_written) == (0, ())
    write(tmp_path / "files", "b/BTC-USD.csv", whole[24 * 3 : 24 * 15])
    assert bring(lake, tmp_path / "files", workers=workers).rows_added == 24 * 12
    bring(at_once, tmp_path / "files")
    assert lake.content_hash("mine", TimeBucket.h1) == at_once.content_hash("mine", TimeBucket.h1)
    for month, _ in at_once.read_contents("mine"):
        assert month.read_bytes() == lake.month_path("mine", TimeBucket.h1, month.stem).read_bytes()


def test_corrected_file_is_kept_out_until_it_is_to_replace(tmp_path):
    write(tmp_path / "files", "BTC-USD.csv", make_candles(48))
    write(tmp_path / "files", "ETH-USD.csv", make_candles(48, base=50.0))
    lake = Lake(tmp_path / "lake")
    bring(lake, tmp_path / "files")
    corrected = make_candles(50)
    corrected.loc[[3, 7], "open"] = 101.5
    write(tmp_path / "files", "BTC-USD.csv", corrected.drop(index=20))
    added = bring(lake, tmp_path / "files")
    assert (added.rows_added, added.rows_replaced) == (2, 0)
    assert not (read(lake)["open"] == 101.5).any()
    report = bring(lake, tmp_path / "files", replace=True)
    assert (report.rows_added, report.rows_replaced) == (0, 3)
    frame = read(lake)
    assert frame.loc[frame["pair"] == "BTC/USD", "open"].tolist() == corrected.drop(index=20)["open"].tolist()
    assert (frame["pair"] == "ETH/USD").sum() == 48
    assert not lake.find_damaged()


def test_replacing_keeps_what_is_outside_of_the_source(tmp_path):
    write(tmp_path / "old", "BTC-USD.csv", make_candles(48))
    write(tmp_path / "old", "ETH-USD.csv", make_candles(48))
    write(tmp_path / "new", "BTC-USD.csv", make_candles(10, base=200.0, first=5))
    lake = Lake(tmp_path / "lake")
    bring(lake, tmp_path / "old")
    report = bring(lake, tmp_path / "new", replace=True)
    assert (report.rows_added, report.rows_replaced) == (0, 10)
    frame = read(lake)
    assert (frame["open"] == 200.0).sum() == 10
    assert len(frame) == 96


def test_what_was_dropped_stays_dropped_until_it_is_mended(tmp_path):
    broken = make_candles(48)
    broken.loc[[4, 9], "high"] = -1.0
    write(tmp_path / "files", "BTC-USD.csv", broken)
    lake = Lake(tmp_path / "lake")
    assert bring(lake, tmp_path / "files", rules=DROP_BROKEN).rows_dropped == 2
    month = lake.month_path("mine", TimeBucket.h1, "2024-01")
    raw = read_repairs(month)
    for rules in (DROP_BROKEN, ()):
        report = bring(lake, tmp_path / "files", rules=rules)
        assert (report.rows_added, report.rows_dropped, report.months_written) == (0, 0, ())
        pd.testing.assert_frame_equal(read_repairs(month), raw)
    broken.loc[4, "high"] = 110.0
    write(tmp_path / "files", "BTC-USD.csv", broken)
    assert bring(lake, tmp_path / "files").rows_added == 1  # the other one is known
    with pytest.raises(CandleContractBroken, match="high: is not above zero in 1 row"):
        bring(lake, tmp_path / "files", replace=True)
    bring(lake, tmp_path / "files", replace=True, rules=DROP_BROKEN)
    assert len(read_repairs(month)) == 1
    write(tmp_path / "files", "BTC-USD.csv", make_candles(48))
    assert bring(lake, tmp_path / "files", replace=True).rows_added == 1
    assert not len(read_repairs(month))


def test_more_of_a_pair_with_repairs_keeps_their_record(tmp_path):
    broken = make_candles(48)
    broken.loc[[4, 40], "high"] = -1.0
    write(tmp_path / "files", "BTC-USD.csv", broken[:24])
    lake = Lake(tmp_path / "lake")
    bring(lake, tmp_path / "files", rules=DROP_BROKEN)
    write(tmp_path / "files", "BTC-USD.csv", broken)
    report = bring(lake, tmp_path / "files", rules=DROP_BROKEN)
    assert (report.rows_added, report.rows_dropped) == (23, 1)
    record = read_repairs(lake.month_path("mine", TimeBucket.h1, "2024-01"))
    assert sorted(record["timestamp"]) == broken["timestamp"][[4, 40]].tolist()
