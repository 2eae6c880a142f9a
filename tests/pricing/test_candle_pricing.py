"""Prices from candles: which bar, which fee, and nothing later than now."""

from __future__ import annotations

from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from tape import AAVE_USDC, START, USDC, WETH_USDC, Desk, Opens, pair_of, run_on, token, universe_of

from trading_dagster.backtest import BacktestOptions
from trading_dagster.domain.error import (
    CandleSampleUnavailable,
    FeeMissing,
    InvalidTrade,
    LiquidityDataUnavailable,
    LookaheadRefused,
    NaiveDatetimeRequired,
    StrategyFailed,
)
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.time import CycleDuration, TimeBucket, to_unix_us
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.pricing.candle_pricing import CandleMarks, CandlePricing, FeeSchedule, PriceColumns
from trading_dagster.strategy.clock import DecisionClock

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WETH = WETH_USDC.base


def pricing_at(
    now: timedelta, opens: Opens, bucket: TimeBucket = TimeBucket.d1, *, tolerance: timedelta | None = None
) -> CandlePricing:
    """Return a pricing model that stands ``now`` after START."""
    universe = universe_of({WETH_USDC: opens}, bucket)
    clock = DecisionClock([to_unix_us(START + now)])
    return CandlePricing(universe.candles, FeeSchedule(USDC, universe.pairs), clock, data_delay_tolerance=tolerance)


def mid(pricing: CandlePricing, after: timedelta) -> float | None:
    try:
        return pricing.get_mid_price(START + after, WETH_USDC)
    except CandleSampleUnavailable:
        return None


# -- which bar --------------------------------------------------------------------------------------------------------


def test_price_is_the_open_of_the_bar_that_starts_now():
    pricing = pricing_at(2 * DAY, [100.0, 110.0, 120.0, 130.0])
    assert [mid(pricing, n * DAY) for n in range(3)] == [100, 110, 120]


def test_price_inside_a_bar_is_its_open():
    assert mid(pricing_at(DAY + 23 * HOUR, [100.0, 110.0, 120.0]), DAY + 23 * HOUR) == 110


@pytest.mark.parametrize(
    ("bucket", "tolerance", "opens", "expected"),
    [
        (TimeBucket.d1, None, [100.0, None, None, None, 140.0], [100, 100, 100, None, 140]),
        (TimeBucket.d1, DAY, [100.0, None, None, 130.0], [100, 100, None, 130]),
        (TimeBucket.d1, timedelta(0), [100.0, None, 120.0], [100, None, 120]),
        (TimeBucket.h1, 3 * HOUR, [100.0, None, None, None, None, 150.0], [100, 100, 100, 100, None, 150]),
        (TimeBucket.d7, None, [100.0, None, None, 130.0], [100, 100, None, 130]),
        (TimeBucket.d1, None, [None, 110.0], [None, 110]),
    ],
    ids=["2 d by default", "1 d", "none", "3 h", "9 d for weeks", "before the first bar"],
)
def test_missing_bar_is_replaced_by_an_earlier_one_within_the_tolerance(bucket, tolerance, opens, expected):
    if opens[0] is None:  # keep the panel's first bar where START is
        opens = [1.0, *opens]
        expected = [1, *expected]
        tolerance = timedelta(0)
    width = bucket.to_timedelta()
    found = [
        mid(pricing_at(number * width, opens, bucket, tolerance=tolerance), number * width)
        for number in range(len(opens))
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("bucket", "after", "expected"),
    [
        (TimeBucket.d1, 3 * DAY, 110),
        (TimeBucket.d1, 4 * DAY, None),
        (TimeBucket.d7, 7 * DAY + 9 * DAY, 110),
        (TimeBucket.d7, 7 * DAY + 10 * DAY, None),
        (TimeBucket.h1, HOUR + 2 * DAY, 110),
        (TimeBucket.h1, HOUR + 2 * DAY + HOUR, None),
    ],
)
def test_price_after_the_end_of_data_ages_out(bucket, after, expected):
    assert mid(pricing_at(after, [100.0, 110.0], bucket), after) == expected


@pytest.mark.parametrize("has_gap", [False, True])
def test_age_of_a_price_is_counted_from_now_not_from_the_open_of_the_bar_now(has_gap):
    """A bar 2 days and 1 hour old is older than 2 days, whether or not candles follow."""
    opens = [100.0, None, None, 140.0] if has_gap else [100.0]
    assert mid(pricing_at(2 * DAY, opens), 2 * DAY) == 100
    assert mid(pricing_at(2 * DAY + HOUR, opens), 2 * DAY + HOUR) is None


def test_missing_price_says_what_is_missing_and_what_to_do():
    pricing = pricing_at(9 * DAY, [100.0])
    with pytest.raises(CandleSampleUnavailable) as error:
        pricing.get_buy_price(START + 9 * DAY, WETH_USDC, 100)
    for part in ("WETH-USDC", "2022-01-12", "2 days", "data_delay_tolerance"):
        assert part in str(error.value)


def test_pair_without_candles_has_no_price():
    desk = Desk({WETH_USDC: [100.0]})
    with pytest.raises(CandleSampleUnavailable, match="No candle of AAVE-USDC"):
        desk.pricing.get_mid_price(START, AAVE_USDC)


def test_price_before_the_first_bar_is_missing():
    clock = DecisionClock([to_unix_us(START)])
    universe = universe_of({WETH_USDC: [100.0]})
    pricing = CandlePricing(universe.candles, FeeSchedule(USDC, universe.pairs), clock)
    with pytest.raises(CandleSampleUnavailable):
        pricing.get_mid_price(START - HOUR, WETH_USDC)


def test_backtest_takes_the_tolerance_of_the_options_then_of_the_universe():
    """Bars at 0 h and 3 h; at 2 h the newest price is 2 h old."""

    def buy_at_two(input):
        return input.get_position_manager().open_spot(WETH_USDC, 10) if input.cycle == 3 else []

    def run(tolerance=None, universe_tolerance=None):
        universe = universe_of({WETH_USDC: [100.0, None, None, 130.0]}, tolerance=universe_tolerance)
        options = BacktestOptions(data_delay_tolerance=tolerance)
        return run_on(universe, buy_at_two, cycles=4, options=options)

    assert len(run().trades) == 1
    assert len(run(universe_tolerance=2 * HOUR).trades) == 1
    for arguments in ({"tolerance": HOUR}, {"tolerance": timedelta(0)}, {"universe_tolerance": HOUR}):
        with pytest.raises(StrategyFailed, match="No candle of WETH-USDC"):
            run(**arguments)


# -- lookahead --------------------------------------------------------------------------------------------------------


def test_later_price_is_refused():
    pricing = pricing_at(DAY, [100.0, 110.0, 120.0])
    for ask in (
        lambda: pricing.get_mid_price(START + DAY + timedelta(microseconds=1), WETH_USDC),
        lambda: pricing.get_buy_price(START + 2 * DAY, WETH_USDC, 1),
        lambda: pricing.get_sell_price(START + 2 * DAY, WETH_USDC, 1),
        lambda: pricing.get_pair_fee(START + 2 * DAY, WETH_USDC),
        lambda: pricing.get_usd_tvl(START + 2 * DAY, WETH_USDC),
    ):
        with pytest.raises(LookaheadRefused, match="cannot know a later price"):
            ask()


def test_zone_aware_time_is_refused():
    with pytest.raises(NaiveDatetimeRequired):
        pricing_at(DAY, [100.0, 110.0]).get_mid_price(START.replace(tzinfo=UTC), WETH_USDC)


# -- fees -------------------------------------------------------------------------------------------------------------

LINK_WETH = pair_of(3, token(4, "LINK"), WETH, fee=0.01)
WETH_003 = pair_of(1, WETH, USDC, fee=0.003)
NO_FEE = pair_of(5, token(5, "FREE"), USDC)
TAXED = pair_of(6, token(6, "TAX"), USDC, fee=0.003, other_data={"buy_tax": 0.05, "sell_tax": 0.08})


def fee(pair: TradingPairIdentifier, *, buy: bool = True, **rules) -> float:
    return FeeSchedule(USDC, (LINK_WETH, WETH_003, NO_FEE, TAXED), **rules).fee_of(pair, buy)


@pytest.mark.parametrize(
    ("pair", "rules", "expected"),
    [
        (WETH_003, {}, 0.003),
        (WETH_003, {"default_fee": 0.5}, 0.003),
        (WETH_003, {"trading_fee_override": 0.0}, 0.0),
        (NO_FEE, {"trading_fee_override": 0.02}, 0.02),
        (NO_FEE, {"default_fee": 0.004}, 0.004),
        (NO_FEE, {"default_fee": 0.004, "allow_missing_fees": True}, 0.004),
        (NO_FEE, {"allow_missing_fees": True}, 0.0),
        (LINK_WETH, {}, 0.013),
        (LINK_WETH, {"three_leg_resolution": False}, 0.01),
        (LINK_WETH, {"trading_fee_override": 0.02}, 0.02),
        (TAXED, {}, 0.053),
    ],
)
def test_fee_is_found_in_the_order_of_the_rules(pair, rules, expected):
    assert fee(pair, **rules) == pytest.approx(expected, abs=1e-15)


def test_tax_of_a_sell_differs_from_that_of_a_buy():
    assert fee(TAXED, buy=False) == pytest.approx(0.083)


def test_unknown_fee_is_an_assertion_error_that_says_what_to_do():
    with pytest.raises(FeeMissing, match=r"FREE-USDC .* has no fee: give it one .* allow_missing_fees=True") as error:
        fee(NO_FEE)
    assert isinstance(error.value, AssertionError)


def test_unknown_fee_of_the_middle_pair_is_not_taken_for_zero():
    middle = pair_of(1, WETH, USDC)
    with pytest.raises(FeeMissing, match="WETH-USDC"):
        FeeSchedule(USDC, (LINK_WETH, middle)).fee_of(LINK_WETH, True)
    assert FeeSchedule(USDC, (LINK_WETH, middle), default_fee=0.002).fee_of(LINK_WETH, True) == pytest.approx(0.012)
    assert FeeSchedule(USDC, (LINK_WETH, middle), allow_missing_fees=True).fee_of(LINK_WETH, True) == 0.01


def test_buy_and_sell_prices_contain_the_fee():
    desk = Desk({AAVE_USDC: [50.0]})
    buy = desk.pricing.get_buy_price(START, AAVE_USDC, 1000)
    sell = desk.pricing.get_sell_price(START, AAVE_USDC, 4)
    assert (buy.price, buy.mid_price, buy.pair_fee, buy.side) == (50 * 1.003, 50, 0.003, True)
    assert buy.lp_fee == pytest.approx(1000 * 0.003)
    assert (sell.price, sell.mid_price, sell.pair_fee, sell.side) == (50 * 0.997, 50, 0.003, False)
    assert sell.lp_fee == pytest.approx(4 * 50 * 0.003)
    assert (buy.path, buy.read_at) == ((AAVE_USDC,), START)


def test_trade_through_a_middle_pair_pays_both_and_names_the_path():
    desk = Desk({WETH_003: [2000.0], LINK_WETH: [10.0]})
    middle, link = desk.universe.pairs
    price = desk.pricing.get_buy_price(START, link, 100)
    assert price.path == (middle, link)
    assert price.pair_fee == pytest.approx(0.013)


def test_token_tax_is_told_apart_from_the_fee():
    desk = Desk({TAXED: [10.0]})
    price = desk.pricing.get_sell_price(START, TAXED, 2)
    assert price.price == pytest.approx(10 * (1 - 0.083))
    assert price.token_tax_percent == pytest.approx(0.08)


def test_price_tells_how_old_its_candle_is():
    pricing = pricing_at(DAY, [100.0, None, 120.0])
    assert pricing.get_buy_price(START + DAY, WETH_USDC, 1).market_feed_delay == DAY.total_seconds()


@pytest.mark.parametrize("amount", [0, -1, float("nan")])
def test_price_of_nothing_is_refused(amount):
    pricing = Desk({WETH_USDC: [100.0]}).pricing
    with pytest.raises(InvalidTrade, match="needs a reserve above 0"):
        pricing.get_buy_price(START, WETH_USDC, amount)
    with pytest.raises(InvalidTrade, match="needs a quantity above 0"):
        pricing.get_sell_price(START, WETH_USDC, amount)


# -- TVL --------------------------------------------------------------------------------------------------------------


def test_tvl_is_the_open_of_the_bar_at_or_before_within_the_tolerance():
    candles, tvl = (
        universe_of({WETH_USDC: opens}, TimeBucket.d1).candles for opens in ([1.0] * 6, [100.0, 200.0, None])
    )
    dataset = Dataset(TimeBucket.d1, (), (WETH_USDC,), candles, liquidity=tvl, liquidity_time_bucket=TimeBucket.d1)
    universe = TradingStrategyUniverse.create_from_dataset(dataset, USDC)
    clock = DecisionClock([to_unix_us(START + 5 * DAY)])
    pricing = CandlePricing(universe.candles, FeeSchedule(USDC, universe.pairs), clock, liquidity=universe.liquidity)
    assert [pricing.get_usd_tvl(START + n * DAY, WETH_USDC) for n in range(4)] == [100, 200, 200, 200]
    with pytest.raises(LiquidityDataUnavailable, match="No TVL of WETH-USDC"):
        pricing.get_usd_tvl(START + 4 * DAY, WETH_USDC)


def test_tvl_without_liquidity_data_is_missing():
    with pytest.raises(LiquidityDataUnavailable, match="load liquidity data"):
        Desk({WETH_USDC: [100.0]}).pricing.get_usd_tvl(START, WETH_USDC)


# -- valuation --------------------------------------------------------------------------------------------------------


def test_open_position_is_worth_the_bid_at_once():
    desk = Desk({AAVE_USDC: [50.0, 60.0]})
    desk.execute(desk.manager.open_spot(AAVE_USDC, 1000))
    position = desk.manager.get_current_position()
    assert position.get_value() == pytest.approx(1000 * 0.997 / 1.003)
    desk.at(1)
    assert position.get_value() == pytest.approx(1000 / (50 * 1.003) * 60 * 0.997)
    assert position.last_pricing_at == START + HOUR


def test_position_keeps_its_last_price_when_candles_end():
    """Candles of one pair end 30 days before the other's; its position keeps the last price, however old."""
    desk = Desk({WETH_USDC: [100.0, 110.0], AAVE_USDC: [50.0] * 40}, bucket=TimeBucket.d1)
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    position = desk.manager.get_current_position()
    assert [position.last_token_price for bar in (0, 1, 2, 39) if desk.at(bar)] == [100, 110, 110, 110]
    assert desk.portfolio.calculate_total_equity() == pytest.approx(9000 + 1100)


def test_equity_samples_keep_the_last_price_when_candles_end():
    universe = universe_of({WETH_USDC: [100.0, 110.0], AAVE_USDC: [50.0] * 8}, TimeBucket.d1)

    def decide(input):
        return input.get_position_manager().open_spot(WETH_USDC, 1000) if input.cycle == 1 else []

    kept = run_on(universe, decide, cycle=CycleDuration.cycle_1d, cycles=8, more={"close_delisted": False})
    assert kept.equity_curve.tolist() == pytest.approx([10_000, *[10_100] * 7])


def test_marks_look_at_the_stop_loss_feed_only_when_told():
    universe = universe_of(
        {WETH_USDC: [100.0, 110.0]}, feed={WETH_USDC: [100.0, 90.0, 110.0]}, feed_bucket=TimeBucket.m30
    )
    clock = DecisionClock([to_unix_us(START)])
    marks = CandleMarks(universe.candles, universe.stop_loss_candles, FeeSchedule(USDC, universe.pairs), clock)
    assert (marks.price_of(WETH_USDC), marks.priced_at()) == (100, START)
    marks.look_at_triggers(to_unix_us(START + HOUR / 2))
    assert (marks.price_of(WETH_USDC), marks.priced_at()) == (90, START + HOUR / 2)
    marks.look_at_cycle()
    assert marks.price_of(WETH_USDC) == 100


def test_quantity_of_a_buy_is_exact_in_decimals():
    desk, value = Desk({AAVE_USDC: [50.1]}), 999.9
    (trade,) = desk.execute(desk.manager.open_spot(AAVE_USDC, value))
    assert trade.executed_quantity == Decimal(value) / Decimal(50.1 * 1.003)


@pytest.mark.parametrize("opens", [[100.0, 101, None, None, 104, 105], [100.0, 101, 102, 103]])
def test_sample_is_the_value_and_when_its_bar_opened_on_and_off_the_grid(opens):
    columns = PriceColumns(universe_of({WETH_USDC: opens}).candles, "open", HOUR)
    for _ in range(2):
        for minutes in range(-60, 600, 30):
            at_us = to_unix_us(START + timedelta(minutes=minutes))
            value, opened_us = columns.at(1, at_us), columns.opened_at(1, at_us)
            assert columns.sample(1, at_us) == (None if value is None else (value, opened_us)), minutes
    assert columns.sample(1, to_unix_us(START + HOUR)) == (101.0, to_unix_us(START + HOUR))
    assert columns.sample(2, to_unix_us(START)) is None
