"""Pairs that appear and die during a backtest: bought only while they trade, closed at the last real price."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tape import AAVE_USDC, START, USDC, WETH_USDC, pair_of, run_on, token, universe_of

import trading_dagster as td
from trading_dagster.backtest.partition import PartitionedBacktest, PartitionWindow
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trade import TradeType
from trading_dagster.market.vault import to_vault

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


@settings(max_examples=12, deadline=None)
@given(st.lists(st.booleans(), min_size=14, max_size=14), st.integers(min_value=0, max_value=4))
def test_cutting_anywhere_changes_nothing(tmp_path_factory, exists, days):
    """Of a market, or of a vault that settles some days later."""
    opens = [10.0 + n if n == 0 or exists[n] else None for n in range(14)]
    pair = vault(settlement_delay=days * DAY) if days else AAVE_USDC
    universe = universe_of({WETH_USDC: [100.0] * 14, pair: opens}, TimeBucket.d1)

    def decide(input):
        pm = input.get_position_manager()
        is_tradable = input.strategy_universe.can_open_spot(input.timestamp, pair)
        position = pm.get_current_position_for_pair(pair)
        if is_tradable and position is None:
            return pm.open_spot(pair, value=1000)
        if days and is_tradable and input.cycle % 4 == 0 and not position.is_settling():
            return pm.close_spot_position(position, quantity=position.get_quantity() / 2)
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
    assert gone.any() or longest <= 3 or days
    assert result.state.portfolio.reserve.quantity >= Decimal(0)
    assert result.state.portfolio.settlements == whole.state.portfolio.settlements
    known = whole.state.portfolio
    assert all(
        trade.settles_at is None or trade.fill or trade.trade_id in known.settlements
        for trade in known.get_all_trades()
    )


def vault(**terms):
    return to_vault(pair_of(5, token(5, "SHARE"), USDC), td.VaultTerms("Lost", **terms))


def run_vault(decide, pair, days=11, opens=DIES, **arguments):
    return run_days(universe_of({WETH_USDC: ALIVE, pair: opens}, TimeBucket.d1), decide, days, **arguments)


def act(pair, *, open_at=1, close_at=None, part=None):
    """Return a decision that deposits 1000 USD in one cycle and redeems all, or a part, in another."""

    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == open_at:
            return pm.open_spot(pair, value=1000)
        if input.cycle == close_at:
            position = pm.get_current_position_for_pair(pair)
            return pm.close_spot_position(position, quantity=part)
        return []

    return decide


@pytest.mark.parametrize(
    "terms",
    [{}, {"settlement_delay": DAY}, {"limits": (td.VaultLimit(START + 2 * DAY, 0, 0),)}],
    ids=["settles at once", "settles later", "closed"],
)
def test_a_vault_that_stops_is_left_at_its_last_real_price(terms):
    """Bought at 10, or at 11 a day later; the last close is 18; gone on day 5, redeemed at once."""
    pair = vault(**terms)
    result = run_vault(act(pair), pair)
    (position,) = result.state.portfolio.closed_positions.values()
    sale = position.get_last_trade()
    assert (position.closed_at, sale.trade_type) == (START + 5 * DAY, TradeType.delisting)
    assert (sale.executed_at, sale.executed_price) == (START + 5 * DAY, 18)
    entry = 11 if "settlement_delay" in terms else 10
    assert result.state.portfolio.get_cash() == pytest.approx(9_000 + 1000 / entry * 18)
    assert "SHARE-USDC is gone: no candle since 2022-01-06" in sale.notes
    assert result.state.visualisation.messages[START + 5 * DAY] == [sale.notes]
    assert result.statistics.loc["Closed because delisted", "All"] == 1


def test_a_deposit_that_waits_at_a_vault_that_stops_comes_back_at_the_last_real_price():
    pair = vault(settlement_delay=7 * DAY)
    result = run_vault(act(pair), pair, costs=[td.GasPerTrade(usd=2)])
    (position,) = result.state.portfolio.closed_positions.values()
    deposit, sale = position.trades.values()
    assert deposit.settles_at == START + 7 * DAY
    assert (deposit.executed_at, deposit.executed_price) == (START + 5 * DAY, 18)
    assert float(deposit.executed_quantity) == pytest.approx(998 / 18)
    assert (sale.trade_type, sale.executed_price) == (TradeType.delisting, 18)
    assert result.state.portfolio.get_cash() == pytest.approx(10_000 - 4)
    assert not result.state.portfolio.settlements
    said = result.state.visualisation.messages[START + 5 * DAY]
    assert "its deposit #1 settled at its last real price 18.0" in said[0]
    assert "closed at its last real price 18.0" in said[1]
    assert list(result.costs["gas"]) == [2, 2]


@pytest.mark.parametrize("part", [None, 40])
def test_a_redemption_that_waits_at_a_vault_that_stops_is_paid_at_the_last_real_price(part):
    """In at 12 on day 2, asked back on day 4, due on day 6, gone on day 5: what was not asked back is sold, too."""
    pair = vault(settlement_delay=2 * DAY)
    result = run_vault(act(pair, close_at=5, part=part), pair)
    (position,) = result.state.portfolio.closed_positions.values()
    _, redemption, *sales = position.trades.values()
    assert redemption.settles_at == START + 6 * DAY
    assert (redemption.executed_at, redemption.executed_price) == (START + 5 * DAY, 18)
    assert [sale.trade_type for sale in sales] == ([] if part is None else [TradeType.delisting])
    assert position.closed_at == START + 5 * DAY
    assert result.state.portfolio.get_cash() == pytest.approx(9_000 + 1000 / 12 * 18)
    said = result.state.visualisation.messages[START + 5 * DAY]
    assert "its redemption #2 settled at its last real price 18.0" in said[0]
    assert len(said) == 1 + len(sales)


def test_a_vault_kept_on_its_last_price_keeps_its_orders_waiting():
    pair = vault(settlement_delay=7 * DAY)
    result = run_vault(act(pair), pair, more={"close_delisted": False})
    (position,) = result.state.portfolio.open_positions.values()
    assert position.is_settling()
    assert result.equity_curve.iloc[-1] == 10_000
