"""Times in files of other programs are read as meant, or refused: never guessed between two meanings."""

from datetime import datetime

import pandas as pd
import pytest

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.market.file_layout import FileLayout
from trading_dagster.market.file_source import FileSource

TIMES = pd.date_range(datetime(2024, 1, 1), periods=12, freq="D", unit="us")


def load(path, texts, **layout):
    prices = {"open": 2.5, "high": 3.0, "low": 1.5, "close": 2.0, "volume": 4.0}
    pd.DataFrame({"timestamp": texts, **prices}).to_csv(path, index=False)
    source = FileSource(path, layout=FileLayout(pair="BTC/USD", **layout))
    frames = source.load_candles(source.list_markets(), datetime(1970, 1, 1), datetime(2100, 1, 1))
    return pd.concat(frames, ignore_index=True)["timestamp"].astype("datetime64[us]")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("kind", ["int64", "float64"])
def test_numbers_are_told_by_their_unit_or_their_size(tmp_path, unit, is_told, kind):
    numbers = TIMES.as_unit(unit).asi8.astype(kind)
    assert load(tmp_path / "n.csv", numbers, unit=unit if is_told else None).tolist() == TIMES.tolist()


def test_digits_of_a_date_are_read_by_their_format(tmp_path):
    digits = TIMES.strftime("%Y%m%d")
    assert load(tmp_path / "d.csv", digits, time_format="%Y%m%d").tolist() == TIMES.tolist()


def test_missing_time_is_refused_and_no_candle_of_1970(tmp_path):
    numbers = TIMES.as_unit("s").asi8.astype("float64")
    with pytest.raises(CandleContractBroken, match=r"n\.csv: timestamp is missing in 1 rows"):
        load(tmp_path / "n.csv", pd.Series(numbers).where(TIMES.day != 3))


def test_number_beyond_all_times_is_refused(tmp_path):
    with pytest.raises(CandleContractBroken, match=r"n\.csv: timestamp .* is no time when read in s: .*time_unit"):
        load(tmp_path / "n.csv", TIMES.as_unit("ns").asi8, unit="s")


@pytest.mark.parametrize("written", ["%d/%m/%Y", "%m/%d/%Y", "%d-%m-%y", "%d.%m.%Y %H:%M"])
def test_first_days_of_a_month_that_may_be_months_are_refused(tmp_path, written):
    texts = TIMES.strftime(written)
    with pytest.raises(CandleContractBroken, match=r"t\.csv: times cannot be read: .* in several ways; .*time_format"):
        load(tmp_path / "t.csv", texts)
    assert load(tmp_path / "t.csv", texts, time_format=written).tolist() == TIMES.tolist()


@pytest.mark.parametrize(
    "written", ["%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d %H:%M:%S UTC", "%b %d, %Y", "%Y-%m-%dT%H:%M+00:00"]
)
def test_text_that_can_be_read_in_one_way_needs_no_format(tmp_path, written):
    assert load(tmp_path / "t.csv", TIMES.strftime(written)).tolist() == TIMES.tolist()
