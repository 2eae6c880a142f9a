"""A universe comes back from its folder exactly as it was, and a kill never leaves half of one."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from trading_dagster.domain.error import CandleContractBroken, MarketDataMissing
from trading_dagster.domain.identifier import (
    AssetIdentifier,
    AssetType,
    ChainId,
    TradingPairIdentifier,
    TradingPairKind,
)
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.identifier_json import pair_from_json, pair_to_json
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.synthetic import (
    create_synthetic_single_pair_universe,
    generate_exchange,
    generate_lending_reserve,
    generate_lending_universe,
    generate_ohlcv_candles,
    generate_tvl_candles,
)
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.market.universe_store import read_universe, write_universe

START, END = datetime(2024, 1, 1), datetime(2024, 2, 1)
USDC = AssetIdentifier(ChainId.ethereum, "0x01", "USDC", 6)
WETH = AssetIdentifier(ChainId.ethereum, "0x02", "WETH", 18)
DEX = generate_exchange(1, ChainId.ethereum, "0x10", "my-dex")
PAIR = TradingPairIdentifier(
    WETH, USDC, "0x11", DEX.address, internal_id=555, fee=0.003, other_data={"b": 1, "a": ["x", None]}
)

KILLED_WRITE = """
import os, signal, sys
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market import atomic_file, universe_store
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.universe import TradingStrategyUniverse

real_sync, calls = atomic_file.sync, 0

def sync_or_die(path):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    real_sync(path)

atomic_file.sync = universe_store.sync = sync_or_die
dataset = load_partial_data(time_bucket=TimeBucket.d1)
universe_store.write_universe(TradingStrategyUniverse.create_from_dataset(dataset), sys.argv[1])
"""


def make_full_universe():
    candles = generate_ohlcv_candles(TimeBucket.d1, START, END, pair_id=555).drop(index=[4, 5, 20])
    hourly = generate_ohlcv_candles(TimeBucket.h1, START, END, pair_id=555)
    tvl = generate_tvl_candles(TimeBucket.d7, START, END, pair_id=555)
    reserves = [generate_lending_reserve(USDC, 1), generate_lending_reserve(WETH, 2)]
    dataset = Dataset(
        time_bucket=TimeBucket.d1,
        exchanges=(DEX,),
        pairs=(PAIR,),
        candles=candles,
        liquidity=tvl,
        liquidity_time_bucket=TimeBucket.d7,
        backtest_stop_loss_candles=hourly,
        backtest_stop_loss_time_bucket=TimeBucket.h1,
        lending_candles=generate_lending_universe(TimeBucket.d1, START, END, reserves, {"supply": 2, "variable": 5}),
        start_at=START,
        end_at=END,
        history_period=timedelta(days=3, microseconds=1),
        name="all there is",
    )
    return TradingStrategyUniverse.create_from_dataset(
        dataset, forward_fill=True, price_data_delay_tolerance=timedelta(days=1)
    )


def daily_universe():
    return TradingStrategyUniverse.create_from_dataset(load_partial_data(time_bucket=TimeBucket.d1))


def test_everything_comes_back(tmp_path):
    universe = make_full_universe()
    write_universe(universe, tmp_path)
    back = read_universe(tmp_path, verify=True)
    assert back.get_cache_key() == universe.get_cache_key()
    for name in (
        "pairs",
        "exchanges",
        "reserve_assets",
        "primary_chain",
        "price_data_delay_tolerance",
        "start_at",
        "end_at",
        "required_history_period",
        "name",
        "time_bucket",
        "stop_loss_time_bucket",
    ):
        assert getattr(back, name) == getattr(universe, name)
    assert asdict(back.get_single_pair()) == asdict(universe.get_single_pair())
    assert back.candles.forward_filled.sum() == 1
    for role in ("candles", "stop_loss_candles", "liquidity"):
        np.testing.assert_array_equal(getattr(back, role).columns["close"], getattr(universe, role).columns["close"])
    assert back.lending.content_hash() == universe.lending.content_hash()
    assert list(back.lending.rates) == list(universe.lending.rates)


@pytest.mark.parametrize(("smallest_mapped", "is_mapped"), [(129, True), (1 << 20, False)])
def test_long_columns_are_mapped_and_all_are_read_only(tmp_path, monkeypatch, smallest_mapped, is_mapped):
    monkeypatch.setattr("trading_dagster.market.universe_store.SMALLEST_MAPPED", smallest_mapped)
    write_universe(make_full_universe(), tmp_path)
    column = read_universe(tmp_path).candles.columns["close"]
    assert isinstance(column, np.memmap) is is_mapped
    with pytest.raises(ValueError, match="read-only"):
        column[0, 0] = 1.0


def test_shared_stop_loss_feed_stays_shared_and_is_stored_once(tmp_path):
    candles = generate_ohlcv_candles(TimeBucket.d1, START, END, pair_id=555)
    universe = create_synthetic_single_pair_universe(candles, ChainId.ethereum, DEX, TimeBucket.d1, PAIR)
    write_universe(universe, tmp_path)
    back = read_universe(tmp_path, verify=True)
    assert back.stop_loss_candles is back.candles
    assert not list(tmp_path.rglob("stop_loss*"))


def test_universe_without_bars_comes_back(tmp_path):
    candles = generate_ohlcv_candles(TimeBucket.d1, START, END, pair_id=555)[:0]
    universe = TradingStrategyUniverse.create_from_dataset(Dataset(TimeBucket.d1, (DEX,), (PAIR,), candles))
    write_universe(universe, tmp_path)
    assert read_universe(tmp_path, verify=True).candles.exists.shape == (1, 0)


def test_folder_holds_the_last_universe_only_and_open_ones_stay_readable(tmp_path):
    write_universe(make_full_universe(), tmp_path)
    old = read_universe(tmp_path)
    new = daily_universe()
    write_universe(new, tmp_path)
    write_universe(new, tmp_path)
    assert read_universe(tmp_path, verify=True).get_cache_key() == new.get_cache_key()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [new.get_cache_key()]
    assert old.get_cache_key() == make_full_universe().get_cache_key()


def test_new_name_alone_is_written_too(tmp_path):
    universe = daily_universe()
    write_universe(universe, tmp_path)
    write_universe(replace(universe, name="renamed"), tmp_path)
    assert read_universe(tmp_path).name == "renamed"


def test_missing_and_damaged_universes_are_named(tmp_path):
    with pytest.raises(MarketDataMissing, match=r"no universe\.json in it"):
        read_universe(tmp_path)
    universe = make_full_universe()
    write_universe(universe, tmp_path)
    column = tmp_path / universe.get_cache_key() / "candles.column_close.npy"
    content = bytearray(column.read_bytes())
    content[-1] ^= 1
    column.write_bytes(bytes(content))
    with pytest.raises(CandleContractBroken, match="does not match its hash"):
        read_universe(tmp_path, verify=True)
    column.write_bytes(bytes(content[:-8]))
    with pytest.raises(CandleContractBroken, match="damaged"):
        read_universe(tmp_path)
    column.unlink()
    with pytest.raises(CandleContractBroken, match=r"candles\.column_close\.npy is missing"):
        read_universe(tmp_path)


def test_another_version_is_refused(tmp_path):
    write_universe(daily_universe(), tmp_path)
    index = tmp_path / "universe.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"version": 99}))
    with pytest.raises(CandleContractBroken, match="version 99"):
        read_universe(tmp_path)


@pytest.mark.parametrize("call", [1, 8, 9, 10, 11])
def test_write_killed_anywhere_leaves_the_old_universe_or_the_new_one(tmp_path, call):
    old, new = make_full_universe(), daily_universe()
    write_universe(old, tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WRITE, str(tmp_path), str(call)], check=False, capture_output=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_universe(tmp_path, verify=True).get_cache_key() in {old.get_cache_key(), new.get_cache_key()}
    write_universe(new, tmp_path)
    assert read_universe(tmp_path, verify=True).get_cache_key() == new.get_cache_key()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [new.get_cache_key()]


def test_pair_with_a_loan_comes_back_from_json():
    collateral = AssetIdentifier(1, "0x04", "aUSDC", 6, underlying=USDC, type=AssetType.collateral)
    debt = AssetIdentifier(1, "0x05", "vWETH", 18, underlying=WETH, type=AssetType.borrowed, liquidation_threshold=0.85)
    short = TradingPairIdentifier(
        debt, collateral, "0x11", "0x10", kind=TradingPairKind.lending_protocol_short, underlying_spot_pair=PAIR
    )
    assert repr(pair_from_json(json.loads(json.dumps(pair_to_json(short))))) == repr(short)
