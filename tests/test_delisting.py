"""Pairs that appear and die during a backtest: bought only while they trade, closed at the last real price."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tape import AAVE_USDC, START, WETH_USDC, run_on, universe_of

import trading_dagster as td
from trading_dagster.backtest.partition import PartitionedBacktest, PartitionWindow
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trade import TradeType

DAY = timedelta(days=1)
ALIVE = [100.0] * 12
DIES = [10.0, 11.0, 12.0, None, None, None, None, None, None, None, None, None]
"""Opens of daily bars; a bar closes at 1.5 x its open, so the last real price is 18."""


def hold_both(input):
    pm = input.get_position_manager()
    if input.cycle == 1:
        return pm.open_spot(AAVE_USDC, value=1000) + pm.open_spot(WETH_USDC, value=1000)
    return []


def run_days(universe, decide, days=11, **arguments):
    return run_on(universe, decide, cycle=CycleDuration.cycle_1d, cycles=days, **arguments)


def test_delisting_closes_the_position_at_the_last_real_price():
    """The bar of day 2 is the last; it may be two days old, so on day 5 the pair is gone."""
    universe = universe_of({WETH_USDC: ALIVE, AAVE_USDC: DIES}, TimeBucket.d1)
    result = run_days(universe, hold_both)
    dead = result.positions.set_index("pair").loc["AAVE-USDC"]

    assert dead["closed_at"] == START + 5 * DAY
    assert dead["close_reason"] == "delisting"
    assert dead["closing_price"] == pytest.approx(18 * 0.997)
    sell = result.trades.set_index("pair").loc["AAVE-USDC"].iloc[-1]
    assert sell["trade_type"] == "delisting"
    assert "no candle since 2022-01-06" in sell["notes"]
    assert "gone" in result.state.visualisation.messages[START + 5 * DAY][0]
    assert result.state.portfolio.get_cash() == pytest.approx(8000 + 1000 / (10 * 1.003) * 18 * 0.997)
    assert result.statistics.loc["Closed because delisted", "All"] == 1
    assert list(result.decisions["sells"]) == [0] * 11
    values = result.samples.set_index("timestamp")["open_positions"]
    assert list(values[START + 4 * DAY : START + 5 * DAY]) == [2, 1]


def test_a_position_can_be_kept_on_its_last_price():
    universe = universe_of({WETH_USDC: ALIVE, AAVE_USDC: DIES}, TimeBucket.d1)

    result = run_days(universe, hold_both, more={"close_delisted": False})
    assert (result.positions["status"] == "open").all()
    value = result.positions.set_index("pair").loc["AAVE-USDC", "value"]
    assert value == pytest.approx(1000 / (10 * 1.003) * 12 * 0.997)


@pytest.mark.parametrize(("day", "can_buy"), [(1, False), (2, True), (6, True), (7, False)])
def test_a_pair_is_bought_only_from_its_first_bar_on_until_its_last_is_too_old(day, can_buy):
    """Bars of days 2 to 4; that of day 4 is the price of days 5 and 6."""
    universe = universe_of({WETH_USDC: ALIVE, AAVE_USDC: [None, None, 10.0, 10.0, 10.0] + [None] * 7}, TimeBucket.d1)

    def decide(input):
        if input.cycle != day + 1:
            return []
        assert input.strategy_universe.can_open_spot(input.timestamp, AAVE_USDC) == can_buy
        return input.get_position_manager().open_spot(AAVE_USDC, value=100)

    if can_buy:
        assert len(run_days(universe, decide).trades) >= 1
    else:
        with pytest.raises(td.StrategyFailed, match=r"No candle of .*AAVE"):
            run_days(universe, decide)


def test_a_pair_that_comes_back_can_be_bought_again():
    universe = universe_of(
        {WETH_USDC: ALIVE, AAVE_USDC: [10.0, 10.0, None, None, None, None, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0]},
        TimeBucket.d1,
    )

    def decide(input):
        if input.cycle in {1, 8}:
            return input.get_position_manager().open_spot(AAVE_USDC, value=100)
        return []

    result = run_days(universe, decide)
    assert list(result.positions["status"]) == ["closed", "open"]
    assert result.positions["closed_at"].iloc[0] == START + 4 * DAY


def test_an_outage_of_the_whole_market_closes_nothing():
    """No pair has candles on days 3 to 8; the pair that comes back a day later than the other is kept, too."""
    gap = [None] * 6
    universe = universe_of(
        {WETH_USDC: [100.0] * 3 + gap + [100.0] * 3, AAVE_USDC: [10.0] * 3 + gap + [None, 10.0, 10.0]}, TimeBucket.d1
    )
    result = run_days(universe, hold_both)
    assert (result.positions["status"] == "open").all()


def test_forward_filled_candles_keep_a_pair_alive():
    universe = universe_of({WETH_USDC: ALIVE, AAVE_USDC: [10.0, *[None] * 9, 10.0, 10.0]}, TimeBucket.d1)
    filled = td.TradingStrategyUniverse.create_from_dataset(
        td.Dataset(
            time_bucket=TimeBucket.d1,
            exchanges=(),
            pairs=universe.pairs,
            candles=pd.concat(
                universe.candles.frame(pair.internal_id).reset_index().assign(pair_id=pair.internal_id)
                for pair in universe.pairs
            ),
        ),
        WETH_USDC.quote,
        forward_fill=True,
        forward_fill_tolerance=timedelta(days=10),
    )
    result = run_days(filled, hold_both)
    assert (result.positions["status"] == "open").all()


def test_the_last_sale_pays_gas_but_no_price_impact():
    """Nothing is left to measure an impact on: TVL was known when the pair was bought, not when it was gone."""
    universe = universe_of({WETH_USDC: ALIVE, AAVE_USDC: DIES}, TimeBucket.d1)
    tvl = pd.DataFrame(
        {"pair_id": 2, "timestamp": [START, START + DAY], "open": 1e6, "high": 1e6, "low": 1e6, "close": 1e6}
    )
    with_tvl = td.TradingStrategyUniverse.create_from_dataset(
        td.Dataset(
            time_bucket=TimeBucket.d1,
            exchanges=(),
            pairs=universe.pairs,
            candles=pd.concat(
                universe.candles.frame(pair.internal_id).reset_index().assign(pair_id=pair.internal_id)
                for pair in universe.pairs
            ),
            liquidity=tvl.assign(volume=0.0),
            liquidity_time_bucket=TimeBucket.d1,
        ),
        WETH_USDC.quote,
    )

    def decide(input):
        return input.get_position_manager().open_spot(AAVE_USDC, value=1000) if input.cycle == 1 else []

    result = run_days(with_tvl, decide, costs=[td.ConstantProductImpact(), td.GasPerTrade(usd=1)])
    buy, sell = result.costs["impact"]
    assert buy > 0
    assert sell == 0
    assert list(result.costs["gas"]) == [1, 1]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.booleans(), min_size=14, max_size=14),
    st.integers(min_value=1, max_value=12),
    st.integers(min_value=2, max_value=12),
)
def test_closing_looks_at_no_later_candle(exists, cut, future):
    """Whether candles come again later changes nothing before: the same trades and equity up to the cut."""
    opens = [10.0 + n if n == 0 or exists[n] else None for n in range(14)]
    changed = [price if n < cut else (50.0 if (n * future) % 3 else None) for n, price in enumerate(opens)]

    def decide(input):
        if input.cycle == 1:
            return input.get_position_manager().open_spot(AAVE_USDC, value=1000)
        return []

    results = [
        run_days(universe_of({WETH_USDC: [100.0] * 14, AAVE_USDC: series}, TimeBucket.d1), decide, days=13)
        for series in (opens, changed)
    ]
    end = START + (cut - 1) * DAY
    one, other = (result.equity_curve[:end] for result in results)
    pd.testing.assert_series_equal(one, other, check_exact=True)
    one, other = (result.trades[result.trades["opened_at"] <= end] for result in results)
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.booleans(), min_size=14, max_size=14))
def test_cutting_anywhere_changes_nothing(tmp_path_factory, exists):
    opens = [10.0 + n if n == 0 or exists[n] else None for n in range(14)]
    universe = universe_of({WETH_USDC: [100.0] * 14, AAVE_USDC: opens}, TimeBucket.d1)

    def decide(input):
        pm = input.get_position_manager()
        is_tradable = input.strategy_universe.can_open_spot(input.timestamp, AAVE_USDC)
        if is_tradable and not pm.get_current_position_for_pair(AAVE_USDC):
            return pm.open_spot(AAVE_USDC, value=1000)
        return []

    whole = run_days(universe, decide, days=13)
    plan = whole.plan
    windows = [PartitionWindow(str(n), START + n * DAY, START + (n + 1) * DAY) for n in range(13)]
    folder = tmp_path_factory.mktemp("cut")
    for window in windows:
        list(PartitionedBacktest(plan, folder, windows).run([window.key]))
    result = PartitionedBacktest(plan, folder, windows).load_result()
    pd.testing.assert_frame_equal(result.samples, whole.samples, check_exact=True)
    pd.testing.assert_frame_equal(result.trades, whole.trades, check_exact=True)
    gone = result.trades["trade_type"] == TradeType.delisting.value
    longest = max(np.diff([n for n in range(14) if opens[n] is not None], append=13))
    assert gone.any() or longest <= 3
    assert result.state.portfolio.reserve.quantity >= Decimal(0)
