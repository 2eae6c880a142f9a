"""The generators must give the exact numbers of the acceptance scenarios."""

import random
from datetime import datetime

import numpy as np
import pytest

from trading_dagster.domain.error import BadInput, MarketDataMissing
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import check_candles
from trading_dagster.market.lending import LendingCandleType
from trading_dagster.market.synthetic import (
    create_synthetic_single_pair_universe,
    generate_exchange,
    generate_fixed_price_candles,
    generate_lending_reserve,
    generate_lending_universe,
    generate_multi_pair_candles,
    generate_ohlcv_candles,
    generate_tvl_candles,
    load_ohlcv_parquet_file,
)

START, END = datetime(2021, 6, 1), datetime(2022, 1, 1)
USDC = AssetIdentifier(ChainId.ethereum, "0x01", "USDC", 6)
WETH = AssetIdentifier(ChainId.ethereum, "0x02", "WETH", 18)
AAVE = AssetIdentifier(ChainId.ethereum, "0x03", "AAVE", 18)
WETH_USDC = TradingPairIdentifier(WETH, USDC, "0x11", "0x10", internal_id=555, fee=0.003)
AAVE_USDC = TradingPairIdentifier(AAVE, USDC, "0x12", "0x10", internal_id=556, fee=0.003)
DEX = generate_exchange(1, ChainId.ethereum, "0x10")


def test_python_generator_is_the_one_the_numbers_rest_on():
    generator = random.Random(1)
    assert [generator.random() for _ in range(3)] == [0.13436424411240122, 0.8474337369372327, 0.763774618976614]


def test_daily_candles_have_the_reference_numbers():
    candles = generate_ohlcv_candles(TimeBucket.d1, START, END)
    assert len(candles) == 214
    assert candles["close"][:3].tolist() == pytest.approx(
        [1734.185563940232, 1691.709987967781, 1717.355122573864], rel=1e-13
    )
    assert candles["high"][0] == pytest.approx(1876.269036324351, rel=1e-13)
    assert candles["low"][0] == pytest.approx(1662.520568584210, rel=1e-13)
    last = candles.iloc[-1]
    assert last["timestamp"] == datetime(2021, 12, 31)
    assert last["open"] == pytest.approx(1854.936580827143, rel=1e-13)
    assert last["close"] == pytest.approx(1913.350492345914, rel=1e-13)
    assert (candles["volume"] == 0).all()
    assert (candles["pair_id"] == 1).all()


def test_hourly_candles_have_the_reference_numbers():
    candles = generate_ohlcv_candles(TimeBucket.h1, START, END)
    assert len(candles) == 5136
    daily = generate_ohlcv_candles(TimeBucket.d1, START, END)
    prices = ["open", "high", "low", "close"]
    assert candles[prices][:3].equals(daily[prices][:3])
    assert candles["close"].iloc[-1] == pytest.approx(280.055130891077, rel=1e-12)


def test_month_of_daily_candles_has_the_reference_numbers():
    candles = generate_ohlcv_candles(TimeBucket.d1, datetime(2023, 1, 1), datetime(2023, 1, 30))
    assert len(candles) == 29
    assert candles["close"].iloc[-1] == pytest.approx(1548.284507366780, rel=1e-13)


def test_generated_candles_keep_the_contract_but_for_the_close():
    candles = generate_ohlcv_candles(TimeBucket.d1, START, END)
    check_candles(candles, TimeBucket.d1, "synthetic", close_may_leave_range=True)
    assert (candles["close"] > candles["high"]).any()


def test_every_pair_walks_with_the_same_seed():
    candles = generate_multi_pair_candles(TimeBucket.d1, START, END, {WETH_USDC: 1800.0, AAVE_USDC: 900.0}, 7)
    weth = candles[candles["pair_id"] == 555].reset_index(drop=True)
    aave = candles[candles["pair_id"] == 556].reset_index(drop=True)
    assert len(weth) == len(aave) == 214
    np.testing.assert_allclose(weth["close"], aave["close"] * 2, rtol=1e-12)
    assert weth["close"].equals(generate_ohlcv_candles(TimeBucket.d1, START, END, random_seed=7)["close"])


def test_fixed_prices_do_not_move():
    candles = generate_fixed_price_candles(TimeBucket.h1, START, datetime(2021, 6, 2), {WETH_USDC: 4000, AAVE_USDC: 5})
    assert candles.groupby("pair_id")[["open", "high", "low", "close"]].agg(["min", "max"]).to_numpy().tolist() == [
        [4000.0] * 8,
        [5.0] * 8,
    ]
    assert len(candles) == 48


def test_tvl_is_the_same_walk_and_honours_low_drift():
    tvl = generate_tvl_candles(TimeBucket.d1, START, END, start_liquidity=1800, low_drift=0.5)
    candles = generate_ohlcv_candles(TimeBucket.d1, START, END, low_drift=0.5)
    assert "volume" not in tvl.columns
    assert tvl["low"].equals(candles["low"])
    assert tvl["low"].min() < candles["close"].min() * 0.9


def test_lending_rates_are_flat_percentages():
    usdc, weth = generate_lending_reserve(USDC, 1), generate_lending_reserve(WETH, 2)
    universe = generate_lending_universe(TimeBucket.d1, START, END, [usdc, weth], {"supply": 2, "variable": 5})
    assert usdc.atoken.token_symbol == "aUSDC"
    assert weth.vtoken.token_symbol == "vWETH"
    assert weth.vtoken.underlying == WETH
    rates = universe.rates[2, LendingCandleType.variable_borrow_apr]
    assert len(rates) == 214
    assert set(rates.to_numpy().ravel()) == {5.0}


def test_unknown_lending_rate_is_refused():
    with pytest.raises(BadInput, match="stable"):
        generate_lending_universe(TimeBucket.d1, START, END, [generate_lending_reserve(USDC)], {"stable": 1})


def test_single_pair_universe_uses_its_candles_as_stop_loss_feed():
    candles = generate_ohlcv_candles(TimeBucket.d1, START, END, pair_id=555)
    universe = create_synthetic_single_pair_universe(candles, ChainId.ethereum, DEX, TimeBucket.d1, WETH_USDC)
    assert universe.get_single_pair() is WETH_USDC
    assert universe.get_reserve_asset() == USDC
    assert universe.stop_loss_candles is universe.candles
    assert universe.candles.columns["close"][0].tolist() == candles["close"].tolist()
    assert universe.candles.exists.all()


def test_pair_without_id_is_refused():
    pair = TradingPairIdentifier(WETH, USDC, "0x11", "0x10")
    with pytest.raises(BadInput, match="internal_id"):
        generate_multi_pair_candles(TimeBucket.d1, START, END, {pair: 1.0})


def test_empty_range_is_refused():
    with pytest.raises(BadInput, match="not before"):
        generate_ohlcv_candles(TimeBucket.d1, END, START)


def test_candles_come_back_from_a_parquet_file(tmp_path):
    candles = generate_ohlcv_candles(TimeBucket.d1, START, END)
    path = tmp_path / "weth.parquet"
    candles.drop(columns="pair_id").set_index("timestamp").tz_localize("UTC").to_parquet(path)
    loaded = load_ohlcv_parquet_file(path, ChainId.ethereum, 1, 555)
    assert set(loaded["pair_id"]) == {555}
    assert loaded["timestamp"].equals(candles["timestamp"])
    assert loaded["close"].equals(candles["close"])


def test_missing_parquet_file_is_named():
    with pytest.raises(MarketDataMissing, match=r"nowhere\.parquet"):
        load_ohlcv_parquet_file("nowhere.parquet", ChainId.ethereum, 1, 1)
