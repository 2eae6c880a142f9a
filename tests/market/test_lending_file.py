"""Lending rates from Aave's data and from candles, and the loaders that take them; with what is refused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

import trading_dagster as td
from trading_dagster.domain.error import (
    BadInput,
    CandleContractBroken,
    InterestImplausible,
    MarketDataMissing,
    NoLendingData,
    UnknownPair,
)
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.market.lending import LendingCandleType

SUPPLY, BORROW = LendingCandleType.supply_apr, LendingCandleType.variable_borrow_apr
POLYGON = {
    "0x2791bca1f2de4661ed88a30c99a7a9449aa84174": AssetIdentifier(
        137, "0x2791bca1f2de4661ed88a30c99a7a9449aa84174", "USDC", 6
    ),
    "0x7ceB23fD6bC0adD59E62ac25578270cFf1b9f619": AssetIdentifier(
        137, "0x7ceb23fd6bc0add59e62ac25578270cff1b9f619", "WETH"
    ),
}


def rate_candles(symbols=("BTC", "USD"), start="2018-01-01", days=800, **changes):
    index = pd.date_range(start, periods=days, freq="D")
    rows = [
        pd.DataFrame({"timestamp": index, "token": symbol, "rate": kind, "open": p, "high": p, "low": p, "close": p})
        for symbol in symbols
        for kind, p in (("supply_apr", 2.0), ("variable_borrow_apr", 4.0))
    ]
    return pd.concat(rows).assign(**changes)


def test_minutes_of_aave_become_hourly_candles(shared_data: Path):
    file = shared_data / "aave_v3_polygon_1m.parquet"
    lending = td.read_lending_rates(file, POLYGON, td.TimeBucket.h1)
    usdc, weth = lending.reserves
    assert (usdc.asset.token_symbol, weth.vtoken.token_symbol) == ("USDC", "vWETH")
    assert usdc.atoken.liquidation_threshold == 0.85
    assert {len(frame) for frame in lending.rates.values()} == {4 * 24}
    plain = pd.read_parquet(file)
    plain = plain[plain["token"] == usdc.asset.address]
    hour = plain[plain["block_timestamp"].str.startswith("2023-08-15 07:")]["variable_borrow_rate"] * 100
    candle = lending.rates[usdc.reserve_id, BORROW].loc["2023-08-15 07:00"]
    assert candle.tolist() == pytest.approx([hour.iloc[0], hour.max(), hour.min(), hour.iloc[-1]], rel=1e-12)
    mean = lending.mean_rate(usdc, BORROW, datetime(2023, 8, 15, 7), datetime(2023, 8, 15, 7, 30))
    assert mean == pytest.approx((hour.max() + hour.min()) / 2)


def test_partial_data_takes_rates_of_the_tokens_that_have_them():
    dataset = td.load_partial_data(time_bucket=td.TimeBucket.d1, trading_fee=0.001, lending_rates=rate_candles())
    universe = td.TradingStrategyUniverse.create_from_dataset(dataset)
    btc = next(pair for pair in universe.pairs if pair.base.token_symbol == "BTC")
    eth = next(pair for pair in universe.pairs if pair.base.token_symbol == "ETH")
    at = datetime(2018, 6, 1)
    assert universe.has_lending_data()
    assert universe.can_open_short(at, btc)
    assert not universe.can_open_short(at, eth)
    assert universe.can_open_credit_supply(at)
    assert not universe.can_open_credit_supply(datetime(2017, 6, 1))
    assert universe.get_latest_supply_apr(timestamp=at) == 0.02
    assert universe.get_shorting_pair(btc).get_ticker() == "vBTC-aUSD"
    with pytest.raises(NoLendingData, match="lending rates of ETH"):
        universe.get_shorting_pair(eth)


def test_trading_and_lending_data_takes_pairs_by_their_tokens():
    dataset = td.load_trading_and_lending_data(
        time_bucket=td.TimeBucket.d1,
        asset_ids={"BTC"},
        volatile_only=True,
        trading_fee=0.001,
        lending_rates=rate_candles(),
    )
    assert [pair.get_ticker() for pair in dataset.pairs] == ["BTC-USD"]
    with pytest.raises(UnknownPair, match="no pair with"):
        td.load_trading_and_lending_data(time_bucket=td.TimeBucket.d1, asset_ids={"X"}, lending_rates=rate_candles())


def test_missing_rates_say_what_to_do():
    with pytest.raises(NoLendingData, match="give lending_rates"):
        td.load_partial_data(time_bucket=td.TimeBucket.d1, lending_reserves=["BTC", "USD"])
    with pytest.raises(NoLendingData, match="give lending_rates"):
        td.load_trading_and_lending_data(time_bucket=td.TimeBucket.d1)
    with pytest.raises(NoLendingData, match="no pair trades"):
        td.load_partial_data(time_bucket=td.TimeBucket.d1, lending_reserves=["XRP"], lending_rates=rate_candles())
    with pytest.raises(NoLendingData, match=r"no token \['ETH'\]"):
        td.load_partial_data(time_bucket=td.TimeBucket.d1, lending_reserves=["ETH"], lending_rates=rate_candles())
    with pytest.raises(MarketDataMissing, match="no such file"):
        td.load_partial_data(time_bucket=td.TimeBucket.d1, lending_rates="nowhere.parquet")
    universe = td.TradingStrategyUniverse.create_from_dataset(td.load_partial_data(time_bucket=td.TimeBucket.d1))
    with pytest.raises(NoLendingData, match="no lending markets"):
        universe.get_credit_supply_pair()
    with pytest.raises(NoLendingData, match="no lending markets"):
        universe.get_shorting_pair(universe.pairs[0])
    assert not universe.can_open_short(datetime(2018, 6, 1), universe.pairs[0])


def test_impossible_rates_are_refused():
    with pytest.raises(CandleContractBroken, match="no numbers"):
        td.load_partial_data(time_bucket=td.TimeBucket.d1, lending_rates=rate_candles(high=float("nan")))
    with pytest.raises(CandleContractBroken, match="needed are timestamp"):
        td.load_partial_data(time_bucket=td.TimeBucket.d1, lending_rates=pd.DataFrame({"x": [1]}))
    lending = td.read_lending_rates(rate_candles(["USD"]), {"USD": POLYGON[next(iter(POLYGON))]}, td.TimeBucket.d1)
    with pytest.raises(BadInput, match="not both"):
        td.load_partial_data(time_bucket=td.TimeBucket.d1, lending_reserves=lending, lending_rates=rate_candles())


def test_rates_far_too_high_stop_the_backtest():
    def decide(input):
        return input.get_position_manager().open_credit_supply_position_for_reserves(1_000) if input.cycle == 1 else []

    class Parameters:
        cycle_duration = td.CycleDuration.cycle_1d
        routing = td.TradeRouting.default
        initial_cash = 10_000
        backtest_start, backtest_end = datetime(2018, 2, 1), datetime(2018, 2, 10)

    def run(**rates):
        dataset = td.load_partial_data(time_bucket=td.TimeBucket.d1, lending_rates=rate_candles(**rates))
        universe = td.TradingStrategyUniverse.create_from_dataset(dataset)
        return td.run_backtest(decide_trades=decide, universe=universe, parameters=Parameters, progress=False)

    with pytest.raises(InterestImplausible, match="check supply_apr"):
        run(high=4_000.0, low=4_000.0)
    with pytest.raises(InterestImplausible, match="must not be negative"):
        run(high=-1.0, low=-1.0)
    with pytest.raises(NoLendingData, match="the rates reach from"):
        run(start="2018-03-01", days=30)
    assert run().state.portfolio.calculate_total_equity() == pytest.approx(10_000 + 1_000 * 0.02 * 8 / 365, abs=1e-3)
