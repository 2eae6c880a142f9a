"""The commands that fill, check and ask the lake, as a user would type them."""

from datetime import datetime
from pathlib import Path

import pandas as pd
from market.exchange_server import FakeExchange, serve_exchange
from market.trading_strategy_server import ETH_POOL, KEY, FakeService, serve_service

SAMPLE = Path(__file__).parents[2] / "trading_dagster" / "market" / "sample" / "sample_btc_1h.parquet"


def test_download_is_continued_and_compacted(run, tmp_path, monkeypatch):
    monkeypatch.setattr("trading_dagster.market.exchange_api.CcxtApi.page_rows", 300)
    with serve_exchange(FakeExchange(datetime(2024, 3, 1), BTCUSDT=datetime(2024, 2, 1))) as url:
        options = ("--bucket", "1h", "--api-url", url, "--lake", "lake", "--no-progress")
        code, output, errors = run("data", "download", "BTC/USDT", "--end", "2024-02-20", *options)
        assert (code, errors) == (0, "")
        assert "456 candles added to lake/binance in 1 files" in output
        again = ("data", "download", "BTC/USDT", "--end", "2024-03-01", *options)
        assert "240 candles added" in run(*again)[1]
        assert "0 candles added to lake/binance in 0 files" in run(*again)[1]
        code, _, errors = run("data", "download", "BTC/EUR", *options)
        assert (code, "no BTC/EUR; did you mean" in errors) == (2, True)
    code, output, _ = run("data", "compact", "--lake", "lake", "--no-progress")
    assert (code, "1 months rewritten in lake" in output) == (0, True)
    code, output, _ = run("data", "check", "binance", "--lake", "lake")
    assert (code, "Nothing stands out." in output) == (0, True)


def test_service_is_downloaded_continued_and_its_key_kept_secret(run, tmp_path, monkeypatch):
    service = FakeService(datetime(2024, 3, 1, 0, 30), p11=datetime(2024, 2, 1))
    service.key = KEY
    monkeypatch.delenv("MY_KEY", raising=False)
    with serve_service(service) as url:
        options = ("--source", "trading_strategy", "--bucket", "1h", "--api-url", url, "--key-env", "MY_KEY")
        command = ("data", "download", "WETH/USDC@uniswap-v3", "--chain", "ethereum", *options, "--lake", "lake")
        code, _, errors = run(*command, "--no-progress")
        assert (code, "set the environment variable MY_KEY" in errors) == (2, True)
        monkeypatch.setenv("MY_KEY", KEY)
        code, output, errors = run(*command, "--end", "2024-02-20", "--no-progress")
        assert (code, errors) == (0, "")
        assert "456 candles added to lake/trading_strategy in 1 files" in output
        code, output, shown = run(*command)
        assert "240 candles added" in output
        assert "Importing 1h candles" in shown
        assert "0 candles added to lake/trading_strategy in 0 files" in run(*command, "--no-progress")[1]
        assert run("data", "download", ETH_POOL, "--source", "elsewhere")[0] == 2
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert tmp_path / "trading-strategy" / "pairs.parquet" in written
    assert not any(KEY.encode() in file.read_bytes() for file in written)


def test_dirty_file_is_checked_refused_and_repaired(run, shared_data):
    dirty = shared_data / "dirty_daily_12exchanges.parquet"
    code, output, errors = run("data", "check", dirty)
    assert code == 1
    assert "Some candles break the contract." in output
    assert "impossible" in output
    assert "is duplicated" in errors
    code, _, errors = run("data", "import", dirty, "--name", "dirty", "--lake", "lake", "--no-progress")
    assert (code, "Drop or repair these rows" in errors) == (2, True)
    assert run("data", "import", dirty, "--repair", "mend")[0] == 2
    command = ("data", "import", dirty, "--name", "dirty", "--lake", "lake", "--no-progress")
    code, output, _ = run(*command, "--repair", "widen_range", "--drop-broken")
    assert code == 0
    assert "broken ones left out, " in output
    assert "repaired" in output


def test_lake_is_listed_by_source_and_by_market(run, shared_data):
    code, output, _ = run("data", "list", "--lake", "lake")
    assert (code, "is empty: import candles" in output) == (0, True)
    command = ("data", "import", shared_data / "binance_12pairs_1h.parquet", "--exchange", "binance", "--name", "b")
    assert run(*command, "--lake", "lake", "--workers", "2", "--no-progress")[0] == 0
    assert run(*command, "--lake", "lake", "--workers", "0")[0] == 2
    output = run("data", "list", "--lake", "lake")[1]
    assert (
        output.split()
        == (
            "source bucket markets candles first last b 1h 12 71980 2024-01-01 2024-09-07 " + output.split()[-1]
        ).split()
    )
    lines = run("data", "list", "b", "--lake", "lake")[1].splitlines()
    assert len(lines) == 13
    assert "BTC/USDT@binance -1" in " ".join(lines)
    code, _, errors = run("data", "list", "c", "--lake", "lake")
    assert (code, "'c' is not in the lake lake, which has b" in errors) == (2, True)


def test_lake_that_cannot_be_written_is_told_by_compact(run, tmp_path):
    assert run("data", "import", str(SAMPLE), "--name", "b", "--lake", "lake", "--no-progress")[0] == 0
    month = min((tmp_path / "lake" / "b" / "1h").glob("*.parquet"))
    lock = month.with_name(f".{month.stem}.lock")
    lock.unlink()
    lock.mkdir()
    code, _, errors = run("data", "compact", "--lake", "lake", "--no-progress")
    assert (code, "Error: lake lake: " in errors, "must be writable" in errors) == (2, True, True)


def test_clocks_are_compared_and_a_picture_is_painted(run, tmp_path):
    late = pd.read_parquet(SAMPLE)
    late = late.assign(timestamp=late["timestamp"] + pd.Timedelta(hours=5))
    late.to_parquet(tmp_path / "late.parquet")
    code, output, _ = run("data", "check", "late.parquet", "--against", SAMPLE, "--picture", "late.png")
    assert code == 0
    assert "BTC/USD: 5:00:00 away from file (returns correlate 1.00 once shifted" in output
    assert (tmp_path / "late.png").read_bytes().startswith(b"\x89PNG")
