"""A universe finds pairs by every name they have and says what is wrong when it does not."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from trading_dagster.domain.error import BadInput, CandleContractBroken, UnknownAsset, UnknownPair
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.exchange import centralised_exchange, centralised_pair
from trading_dagster.market.synthetic import (
    generate_exchange,
    generate_fixed_price_candles,
    generate_multi_pair_candles,
    generate_ohlcv_candles,
    generate_tvl_candles,
)
from trading_dagster.market.universe import TradingStrategyUniverse, default_delay_tolerance

START, END = datetime(2021, 6, 1), datetime(2021, 7, 1)
USDC = AssetIdentifier(ChainId.ethereum, "0x01", "USDC", 6)
WETH = AssetIdentifier(ChainId.ethereum, "0x02", "WETH", 18)
AAVE = AssetIdentifier(ChainId.ethereum, "0x03", "AAVE", 18)
DEX = generate_exchange(1, ChainId.ethereum, "0x10", "my-dex")
WETH_USDC = TradingPairIdentifier(WETH, USDC, "0x11", DEX.address, internal_id=555, fee=0.003)
AAVE_USDC = TradingPairIdentifier(AAVE, USDC, "0x12", DEX.address, internal_id=556, fee=0.003)


def make_dataset(**changes):
    candles = generate_multi_pair_candles(TimeBucket.d1, START, END, {WETH_USDC: 1800.0, AAVE_USDC: 300.0})
    dataset = Dataset(time_bucket=TimeBucket.d1, exchanges=(DEX,), pairs=(WETH_USDC, AAVE_USDC), candles=candles)
    return replace(dataset, **changes)


def make_universe(**changes):
    return TradingStrategyUniverse.create_from_dataset(make_dataset(**changes))


def test_pair_is_found_by_each_of_its_names():
    universe = make_universe()
    assert universe.get_pair_by_id(555) == WETH_USDC
    assert universe.get_pair_by_address("0x12") == AAVE_USDC
    assert universe.get_pair_by_smart_contract("0X12".lower()) == AAVE_USDC
    assert universe.get_pair_by_human_description((ChainId.ethereum, "my-dex", "WETH", "USDC")) == WETH_USDC
    assert universe.get_pair_by_human_description((ChainId.ethereum, None, "WETH", "USDC", 0.003)) == WETH_USDC
    assert universe.data_universe.pairs.get_pair_by_id(556) == AAVE_USDC
    assert list(universe.iterate_pairs()) == [WETH_USDC, AAVE_USDC]
    assert universe.get_pair_count() == 2


def test_unknown_symbol_suggests_the_closest_pair():
    with pytest.raises(UnknownPair, match=r"did you mean .*'my-dex', 'WETH', 'USDC'"):
        make_universe().get_pair_by_human_description((ChainId.ethereum, "my-dex", "ETH", "USDC"))


def test_wrong_fee_suggests_the_fee_there_is():
    with pytest.raises(UnknownPair, match=r"did you mean .*0\.003"):
        make_universe().get_pair_by_human_description((ChainId.ethereum, "my-dex", "WETH", "USDC", 0.0005))


def test_description_of_several_fee_tiers_asks_for_the_fee():
    cheap = replace(WETH_USDC, fee=0.0005, pool_address="0x13", internal_id=557)
    universe = make_universe(pairs=(WETH_USDC, AAVE_USDC, cheap))
    with pytest.raises(BadInput, match=r"fits 2 pairs.*0\.0005"):
        universe.get_pair_by_human_description((ChainId.ethereum, "my-dex", "WETH", "USDC"))
    assert universe.get_pair_by_human_description((ChainId.ethereum, "my-dex", "WETH", "USDC", 0.0005)) == cheap


def test_description_of_wrong_shape_is_refused():
    with pytest.raises(BadInput, match="not a tuple"):
        make_universe().get_pair_by_human_description(("WETH", "USDC"))


def test_unknown_id_and_token_list_the_known():
    universe = make_universe()
    with pytest.raises(UnknownPair, match="555 WETH-USDC"):
        universe.get_pair_by_id(1)
    with pytest.raises(UnknownAsset, match="WETH"):
        universe.get_asset_by_address("0x99")
    assert universe.get_pair_by_address("0x99") is None
    assert universe.get_asset_by_address("0x03") == AAVE


def test_single_pair_of_two_is_refused():
    universe = make_universe()
    assert not universe.is_single_pair_universe()
    with pytest.raises(BadInput, match="2 pairs"):
        universe.get_single_pair()


def test_ids_are_given_from_one_when_pairs_have_none():
    pairs = [centralised_pair("kraken", base, "USD") for base in ("BTC", "ETH")]
    candles = generate_ohlcv_candles(TimeBucket.d1, START, END).drop(columns="pair_id").assign(pair="ETH/USD")
    dataset = Dataset(TimeBucket.d1, [centralised_exchange("kraken")], pairs, candles)
    universe = TradingStrategyUniverse.create_from_dataset(dataset)
    assert [pair.internal_id for pair in universe.pairs] == [1, 2]
    assert universe.candles.exists.sum(axis=1).tolist() == [0, 30]


def test_candles_of_a_pair_outside_the_universe_are_refused():
    with pytest.raises(UnknownPair, match="556"):
        make_universe(pairs=(WETH_USDC,))


def test_reserve_is_the_quote_all_pairs_share_or_must_be_named():
    assert make_universe().get_reserve_asset() == USDC
    aave_weth = replace(AAVE_USDC, quote=WETH)
    dataset = make_dataset(pairs=(WETH_USDC, aave_weth))
    with pytest.raises(BadInput, match="2 quote tokens"):
        TradingStrategyUniverse.create_from_dataset(dataset)
    for reserve in (USDC, "USDC", "0x01"):
        assert TradingStrategyUniverse.create_from_dataset(dataset, reserve).get_reserve_asset() == USDC
    with pytest.raises(UnknownAsset, match="did you mean USDC"):
        TradingStrategyUniverse.create_from_dataset(dataset, "USDT")


def test_limited_universe_has_only_the_named_pairs():
    universe = TradingStrategyUniverse.create_multipair_universe(make_dataset(), [AAVE_USDC])
    assert universe.pairs == (AAVE_USDC,)
    assert universe.candles.pair_ids == (556,)
    single = TradingStrategyUniverse.create_single_pair_universe(
        make_dataset(), (ChainId.ethereum, "my-dex", "AAVE", "USDC")
    )
    assert single.get_cache_key() == universe.get_cache_key()


def test_stop_loss_feed_may_be_finer_but_not_coarser():
    hourly = generate_fixed_price_candles(TimeBucket.h1, START, END, {WETH_USDC: 1800, AAVE_USDC: 300})
    universe = make_universe(backtest_stop_loss_candles=hourly, backtest_stop_loss_time_bucket=TimeBucket.h1)
    assert universe.stop_loss_time_bucket is TimeBucket.h1
    assert universe.has_stop_loss_data()
    assert universe.stop_loss_candles.bar_count == 720
    with pytest.raises(BadInput, match="coarser"):
        TradingStrategyUniverse.create_from_dataset(
            Dataset(
                TimeBucket.h1,
                (DEX,),
                (WETH_USDC, AAVE_USDC),
                hourly,
                backtest_stop_loss_candles=make_dataset().candles,
                backtest_stop_loss_time_bucket=TimeBucket.d1,
            )
        )


def test_tvl_has_its_own_bucket_and_may_be_zero():
    tvl = generate_tvl_candles(TimeBucket.d7, datetime(2021, 5, 31), END, pair_id=555)
    tvl.loc[0, ["open", "high", "low", "close"]] = 0.0
    universe = make_universe(liquidity=tvl, liquidity_time_bucket=TimeBucket.d7)
    assert universe.has_liquidity_data()
    assert universe.liquidity.columns["open"][0, 0] == 0
    assert not universe.liquidity.exists[1].any()


def test_tvl_may_come_as_one_column():
    tvl = generate_tvl_candles(TimeBucket.d1, START, END, pair_id=555)[["pair_id", "timestamp", "close"]]
    universe = make_universe(liquidity=tvl.rename(columns={"close": "tvl"}))
    assert universe.liquidity.columns["open"][0].tolist() == tvl["close"].tolist()


def test_price_of_zero_is_refused():
    dataset = make_dataset()
    dataset.candles.loc[3, "low"] = 0.0
    with pytest.raises(CandleContractBroken, match="low is not above zero in 1 rows, first: pair_id 555 2021-06-04"):
        TradingStrategyUniverse.create_from_dataset(dataset)


@pytest.mark.parametrize(
    ("bucket", "expected"), [(TimeBucket.m1, 2), (TimeBucket.d1, 2), (TimeBucket.d7, 9), (TimeBucket.d30, 32)]
)
def test_default_delay_tolerance(bucket, expected):
    assert default_delay_tolerance(bucket) == timedelta(days=expected)


def test_spot_opens_only_near_a_real_candle():
    universe = make_universe()
    last_open = datetime(2021, 6, 30)
    assert not universe.can_open_spot(START - timedelta(seconds=1), WETH_USDC)
    assert universe.can_open_spot(START, WETH_USDC)
    assert universe.can_open_spot(last_open + timedelta(days=2), WETH_USDC)
    assert not universe.can_open_spot(last_open + timedelta(days=2, seconds=1), WETH_USDC)


def test_spot_does_not_open_on_filled_candles_alone():
    universe = TradingStrategyUniverse.create_from_dataset(
        make_dataset(),
        forward_fill=True,
        forward_fill_until=datetime(2021, 8, 1),
        forward_fill_tolerance=timedelta(days=99),
    )
    assert universe.candles.end_at == datetime(2021, 8, 2)
    assert not universe.can_open_spot(datetime(2021, 7, 31), WETH_USDC)


def test_broken_reason_looks_only_before_the_time():
    dataset = make_dataset()
    dataset.candles.loc[20, "high"] = 2e6
    universe = TradingStrategyUniverse.create_from_dataset(dataset)
    assert "above 1000000.0" in universe.get_trading_broken_reason(WETH_USDC, 10)
    assert universe.get_trading_broken_reason(WETH_USDC, 10, timestamp=datetime(2021, 6, 21)) is None
    assert "above" in universe.get_trading_broken_reason(WETH_USDC, 10, timestamp=datetime(2021, 6, 22))
    assert "5 candles, 10" in universe.get_trading_broken_reason(WETH_USDC, 10, timestamp=datetime(2021, 6, 6))
    assert "below 1000000000.0" in universe.get_trading_broken_reason(AAVE_USDC, 10, min_price=1e9)


def test_cache_key_follows_the_content():
    key = make_universe().get_cache_key()
    assert make_universe(name="another name").get_cache_key() == key
    dataset = make_dataset()
    dataset.candles.loc[7, "close"] += 1e-9
    assert TradingStrategyUniverse.create_from_dataset(dataset).get_cache_key() != key
    assert make_universe(pairs=(replace(WETH_USDC, fee=0.0005), AAVE_USDC)).get_cache_key() != key
    assert make_universe(end_at=END).get_cache_key() != key
    assert make_universe(liquidity=make_dataset().candles).get_cache_key() != key


def test_ported_strategies_read_frames():
    universe = make_universe()
    frame = universe.data_universe.candles.get_candles_by_pair(WETH_USDC)
    assert list(frame.columns) == ["open", "high", "low", "close", "volume"]
    assert universe.data_universe.candles.df.shape == (60, 7)
    assert universe.data_universe.candles.get_timestamp_range() == (START, datetime(2021, 6, 30))
    price, age = universe.data_universe.candles.get_price_with_tolerance(
        WETH_USDC, datetime(2021, 7, 1, 12), timedelta(days=2), "open"
    )
    assert price == frame["open"].iloc[-1]
    assert age == timedelta(days=1, hours=12)


def test_two_reserves_are_refused():
    with pytest.raises(BadInput, match="exactly one reserve"):
        replace(make_universe(), reserve_assets=(USDC, WETH))


def test_candles_stop_loss_feed_and_tvl_are_filled_alike():
    hourly = generate_fixed_price_candles(TimeBucket.h1, START, END, {WETH_USDC: 1800, AAVE_USDC: 300})
    weekly = generate_tvl_candles(TimeBucket.d7, datetime(2021, 5, 31), END, pair_id=555)
    universe = TradingStrategyUniverse.create_from_dataset(
        make_dataset(
            candles=make_dataset().candles.drop(index=[5, 6, 10, 11, 12]),
            backtest_stop_loss_candles=hourly.drop(index=[100, 101]),
            backtest_stop_loss_time_bucket=TimeBucket.h1,
            liquidity=weekly.drop(index=[2]),
            liquidity_time_bucket=TimeBucket.d7,
        ),
        forward_fill=True,
    )
    assert universe.candles.forward_filled[0].nonzero()[0].tolist() == [5, 6]
    assert universe.stop_loss_candles.forward_filled[0].nonzero()[0].tolist() == [100, 101]
    assert universe.liquidity.forward_filled[0].nonzero()[0].tolist() == [2]


def test_pool_on_two_chains_needs_the_chain():
    base_usdc, base_weth = (replace(token, chain_id=ChainId.base) for token in (USDC, WETH))
    twin = replace(WETH_USDC, base=base_weth, quote=base_usdc, internal_id=1)
    dataset = make_dataset(pairs=(WETH_USDC, AAVE_USDC, twin))
    pairs = TradingStrategyUniverse.create_from_dataset(dataset, USDC).data_universe.pairs
    assert pairs.get_pair_by_smart_contract("0x11", ChainId.base) is twin
    with pytest.raises(BadInput, match=r"on chains \[1, 8453\]"):
        pairs.get_pair_by_smart_contract("0x11")
    with pytest.raises(BadInput, match="give chain_id"):
        pairs.get_asset_by_address("0x02")
    assert pairs.get_asset_by_address("0x02", ChainId.base) == base_weth


def test_panel_handed_in_is_aligned_to_the_pairs():
    dataset = make_dataset()
    panel = TradingStrategyUniverse.create_from_dataset(dataset).candles
    turned = TradingStrategyUniverse.create_from_dataset(make_dataset(candles=panel, pairs=(AAVE_USDC, WETH_USDC)))
    assert turned.candles.pair_ids == (556, 555)
    assert turned.candles.frame(555).equals(panel.frame(555))
    with pytest.raises(UnknownPair, match="555"):
        make_universe(candles=panel, pairs=(AAVE_USDC,))
    with pytest.raises(CandleContractBroken, match="panel of 1d candles, not 1h"):
        make_universe(candles=panel, time_bucket=TimeBucket.h1)
