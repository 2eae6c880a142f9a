"""Lending rates are looked up by time and never from the future."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from trading_dagster.domain.error import NoLendingData, UnknownPair
from trading_dagster.domain.identifier import AssetIdentifier, ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.lending import LendingCandleType, LendingUniverse
from trading_dagster.market.synthetic import generate_lending_reserve

USDC = AssetIdentifier(ChainId.ethereum, "0x01", "USDC", 6)
WETH = AssetIdentifier(ChainId.ethereum, "0x02", "WETH", 18)
RESERVE = generate_lending_reserve(USDC)
DAY = timedelta(days=1)
START = datetime(2024, 1, 1)


def make_universe(percents=(1.0, 2.0, 3.0)):
    series = pd.Series(percents, index=pd.date_range(START, periods=len(percents), freq="1D", unit="us"))
    return LendingUniverse(TimeBucket.d1, (RESERVE,), {(1, LendingCandleType.supply_apr): series})


@pytest.mark.parametrize(("hours", "expected"), [(0, 1.0), (23, 1.0), (24, 2.0), (72, 3.0), (96, 3.0)])
def test_rate_is_that_of_the_latest_candle(hours, expected):
    at = START + timedelta(hours=hours)
    assert make_universe().get_rate(RESERVE, LendingCandleType.supply_apr, at, 2 * DAY) == expected


@pytest.mark.parametrize("at", [START - timedelta(seconds=1), START + timedelta(days=4, seconds=1)])
def test_rate_outside_the_tolerance_is_missing(at):
    with pytest.raises(NoLendingData, match="supply_apr of USDC"):
        make_universe().get_rate(RESERVE, LendingCandleType.supply_apr, at, 2 * DAY)


def test_rate_without_data_is_missing():
    with pytest.raises(NoLendingData, match="variable_borrow_apr"):
        make_universe().get_rate(RESERVE, LendingCandleType.variable_borrow_apr, START, DAY)


def test_reserve_is_found_by_token():
    assert make_universe().get_reserve(USDC) is RESERVE
    with pytest.raises(UnknownPair, match=r"No lending reserve for WETH .*there are USDC"):
        make_universe().get_reserve(WETH)


def test_content_hash_follows_the_rates():
    assert make_universe().content_hash() == make_universe().content_hash()
    assert make_universe().content_hash() != make_universe((1.0, 2.0, 3.5)).content_hash()
