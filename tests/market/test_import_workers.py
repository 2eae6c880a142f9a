"""How many months are imported at once changes nothing in the lake, not even when the import fails."""

from datetime import datetime

import pandas as pd
import pytest

from trading_dagster.domain.error import BadInput, CandleContractBroken
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.file_source import EmbeddedSample, FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.memory_source import MemorySource

H1 = TimeBucket.h1


def read_files(lake):
    paths = [path for path in lake.folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.relative_to(lake.folder).as_posix(): path.read_bytes() for path in paths if path.name != ".lock"}


def test_lake_is_the_same_to_the_byte(tmp_path, shared_data):
    dirty = FileSource(shared_data / "dirty_daily_12exchanges.parquet", name="dirty")
    made = []
    for workers in (1, 2, 7):
        lake = Lake(tmp_path / str(workers))
        span = {"start_at": datetime(2014, 10, 1), "end_at": datetime(2015, 4, 1), "workers": workers}
        reports = [
            import_candles(lake, EmbeddedSample(), name="sample", **span),
            import_candles(lake, dirty, drop_broken=True, **span),
        ]
        assert [path.stem for path in reports[1].months_written] == [f"2014-{month}" for month in (10, 11, 12)] + [
            f"2015-0{month}" for month in (1, 2, 3)
        ]
        made.append((read_files(lake), [(report.rows_added, report.rows_dropped) for report in reports]))
    assert made[0] == made[1] == made[2]
    assert any(name.endswith(".repairs.parquet") for name in made[0][0])


@pytest.mark.parametrize("rules", [False, True], ids=["as is", "repaired"])
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_months_before_the_first_broken_one_stay_and_none_after(tmp_path, workers, rules):
    candles = pd.concat(
        EmbeddedSample().load_candles(
            [EmbeddedSample().list_markets()[-1]], datetime(2018, 1, 1), datetime(2018, 12, 1)
        )
    )
    candles.loc[candles["timestamp"] == "2018-05-10", "volume"] = -1.0
    candles.loc[candles["timestamp"] == "2018-08-10", "low"] = -1.0
    lake = Lake(tmp_path)
    with pytest.raises(CandleContractBroken, match="volume: is negative in 1 row, first: BTC/USD@x -1 2018-05-10"):
        import_candles(
            lake,
            MemorySource({H1: candles}, exchange="x"),
            workers=workers,
            rules=("widen_range",) if rules else (),
        )
    names = {name for name in read_files(lake) if not name.endswith(".repairs.parquet")}
    assert names == {f"memory/1h/2018-0{month}.parquet" for month in range(1, 5)}
    assert not list(lake.folder.rglob("*.tmp"))


def test_number_of_workers_must_make_sense(tmp_path):
    with pytest.raises(BadInput, match="workers is 0"):
        import_candles(Lake(tmp_path), EmbeddedSample(), workers=0)
