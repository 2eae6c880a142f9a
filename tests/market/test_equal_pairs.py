"""The same tokens at the same fee on two pools are two markets of one universe, though the pairs compare equal."""

from datetime import datetime

import pandas as pd

import trading_dagster as td
from trading_dagster.domain.event import PairIntroduced
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.synthetic import generate_exchange, generate_fixed_price_candles
from trading_dagster.storage.event_codec import EventDecoder, encode_event

START, END = datetime(2022, 1, 1), datetime(2022, 1, 5)
USDC = AssetIdentifier(ChainId.ethereum, "0x01", "USDC", 6)
WETH = AssetIdentifier(ChainId.ethereum, "0x02", "WETH", 18)
FIRST, SECOND = (
    TradingPairIdentifier(WETH, USDC, pool, "0x30", number, 1, fee=0.003) for number, pool in ((1, "0x21"), (2, "0x22"))
)


class Parameters:
    cycle_duration = td.CycleDuration.cycle_1d
    routing = td.TradeRouting.default
    initial_cash = 1_000
    backtest_start, backtest_end = START, END


def universe() -> td.TradingStrategyUniverse:
    candles = pd.concat(
        candles.assign(pair_id=pair.internal_id)
        for pair, price in ((FIRST, 100.0), (SECOND, 200.0))
        for candles in [generate_fixed_price_candles(td.TimeBucket.d1, START, END, {pair: price})]
    )
    dataset = Dataset(
        time_bucket=td.TimeBucket.d1,
        exchanges=[generate_exchange(1, ChainId.ethereum, "0x30")],
        pairs=[FIRST, SECOND],
        candles=candles,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset, reserve_asset="USDC")


def test_each_pool_is_traded_at_its_own_price_and_told_apart_in_the_ledger():
    def decide_trades(input):
        pm = input.get_position_manager()
        pair = {1: FIRST, 3: SECOND}.get(input.cycle)
        if pair is not None:
            return pm.open_spot(pair, 100)
        return pm.close_all() if pm.is_any_open() else []

    result = td.run_backtest(decide_trades=decide_trades, universe=universe(), parameters=Parameters, progress=False)

    assert result.trades["mid_price"].tolist() == [100, 100, 200, 200]
    introduced = [event.pair.pool_address for event in result.events if isinstance(event, PairIntroduced)]
    assert introduced == [FIRST.pool_address, SECOND.pool_address]
    lines = [encode_event(event) for event in result.events]
    decoded = EventDecoder(result.universe.pairs).decode_all(lines)
    assert [encode_event(event) for event in decoded] == lines
