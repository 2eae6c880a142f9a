"""What trading costs: each cost by hand, and that none ever gives money."""

import pickle
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tape import START, universe_of
from tape import WETH_USDC as PAIR

from trading_dagster.domain.error import LiquidityDataUnavailable, ParameterTypeInvalid
from trading_dagster.domain.time import to_unix_us
from trading_dagster.pricing.candle_market import CandleMarket
from trading_dagster.pricing.cost import (
    ConstantProductImpact,
    ExecutionDelay,
    GasPerTrade,
    PairFee,
    PriceImpact,
    Slippage,
    SquareRootImpact,
    TokenTax,
)
from trading_dagster.pricing.cost_model import CostModel, collect_costs
from trading_dagster.pricing.market_impact import MarketImpact
from trading_dagster.strategy.clock import DecisionClock

ALL = (
    PairFee(0.001),
    TokenTax(buy=0.01, sell=0.02),
    ConstantProductImpact(missing_tvl_usd=1e6),
    Slippage(bps=10),
    GasPerTrade(usd=2),
    ExecutionDelay(by=timedelta(minutes=5)),
)
AMOUNTS = st.floats(min_value=1e-3, max_value=1e9)


@dataclass(frozen=True)
class Market:
    """A market by its numbers."""

    tvl_usd: float | None = None
    volume: float | None = None
    volatility: float | None = None
    pair = PAIR

    def tvl(self):
        return self.tvl_usd

    def daily_volume(self, window, is_volume_in_usd):
        return self.volume

    def daily_volatility(self, window):
        return self.volatility


@given(AMOUNTS, st.floats(min_value=10, max_value=1e9))
def test_constant_product_impact_is_what_such_a_pool_does(value, tvl):
    """Against x * y = k by hand: a buy of USD from a pool with half of its TVL in USD, a sale back into it."""
    half, given_value = Fraction(tvl) / 2, Fraction(value)
    i = ConstantProductImpact().impact(value, Market(tvl_usd=tvl))

    bought = half - half * half / (half + given_value)  # tokens at a mid price of 1
    assert float(given_value / bought) == pytest.approx(1 + i, rel=1e-12)

    received = half - half * half / (half + given_value)
    assert float(received / given_value) == pytest.approx(1 / (1 + i), rel=1e-12)


def test_square_root_impact_by_hand():
    """1 % of a day's volume at 4 % daily volatility moves the price by 4 % x sqrt(1 %) = 0.4 %."""
    market = Market(volume=1_000_000, volatility=0.04)
    assert SquareRootImpact().impact(10_000, market) == pytest.approx(0.004)
    assert SquareRootImpact(coefficient=0.5).impact(10_000, market) == pytest.approx(0.002)


@given(AMOUNTS, AMOUNTS, st.floats(min_value=1, max_value=1e9), st.floats(min_value=0, max_value=2))
def test_impact_grows_with_size_and_is_never_a_gift(small, more, depth, volatility):
    market = Market(tvl_usd=depth, volume=depth, volatility=volatility)
    for cost in (ConstantProductImpact(), SquareRootImpact()):
        assert 0 <= cost.impact(small, market) <= cost.impact(small + more, market)


@given(AMOUNTS, st.floats(min_value=1, max_value=1e6), st.floats(min_value=1, max_value=100))
def test_impact_is_monotone_in_its_parameters(value, depth, factor):
    market = Market(tvl_usd=depth, volume=depth, volatility=0.05)
    shallow, deep = ConstantProductImpact(), ConstantProductImpact(concentration=factor)
    assert deep.impact(value, market) <= shallow.impact(value, market)
    weak, strong = SquareRootImpact(), SquareRootImpact(coefficient=factor)
    assert weak.impact(value, market) <= strong.impact(value, market)


def test_a_market_nobody_measured_is_refused_or_given_by_hand():
    with pytest.raises(LiquidityDataUnavailable, match="missing_tvl_usd"):
        ConstantProductImpact().impact(1, Market())
    with pytest.raises(LiquidityDataUnavailable, match="missing_volume_usd"):
        SquareRootImpact().impact(1, Market(volume=0.0, volatility=0.1))
    assert ConstantProductImpact(missing_tvl_usd=200).impact(1, Market()) == pytest.approx(0.01)
    given_volume = SquareRootImpact(missing_volume_usd=100)
    assert given_volume.impact(1, Market(volatility=0.1)) == pytest.approx(0.01)


def test_volume_and_volatility_are_of_closed_candles():
    opens = [100.0, 101.0, 99.0, 102.0, 500.0, 900.0]
    universe = universe_of({PAIR: opens})
    panel = universe.candles
    impact = SquareRootImpact(window=timedelta(hours=3))
    at = to_unix_us(START + timedelta(hours=4))
    row = panel.row_of(PAIR.internal_id)
    volumes = np.arange(1.0, 7.0).reshape(1, -1)
    panel = replace(panel, columns={**panel.columns, "volume": volumes})

    fraction = MarketImpact(impact, panel, None, timedelta(days=2)).fraction_of(PAIR, at, 1000.0)

    closes = panel.columns["close"][row, 1:4]
    volume = (volumes[0, 1:4] * closes).sum() * 8  # three hours are an eighth of a day
    volatility = np.log(closes[1:] / closes[:-1]).std(ddof=1) * np.sqrt(24)
    assert fraction == pytest.approx(volatility * np.sqrt(1000 / volume), rel=1e-12)


def test_a_listed_pair_is_measured_over_the_candles_it_has():
    universe = universe_of({PAIR: [100.0, 101.0, 99.0, 102.0]})
    panel = universe.candles
    exists = panel.exists.copy()
    exists[0, :1] = False
    columns = {name: np.where(exists, array, np.nan) for name, array in panel.columns.items()}
    columns["volume"] = np.where(exists, 1.0, np.nan)
    panel = replace(panel, columns=columns, exists=exists)
    at = to_unix_us(START + timedelta(hours=4))
    closes = panel.columns["close"][0, 1:4]

    fraction = MarketImpact(SquareRootImpact(), panel, None, timedelta(days=2)).fraction_of(PAIR, at, 1.0)

    volatility = np.log(closes[1:] / closes[:-1]).std(ddof=1) * np.sqrt(24)
    assert fraction == pytest.approx(volatility * np.sqrt(1 / (closes.sum() * 8)), rel=1e-12)


def test_an_impact_of_the_users_own_may_not_give_money():
    class Gift:
        def impact(self, value, market):
            return -0.1

    universe = universe_of({PAIR: [100.0]})
    market = MarketImpact(Gift(), universe.candles, None, timedelta(days=2))
    with pytest.raises(ParameterTypeInvalid, match="never gives money"):
        market.fraction_of(PAIR, to_unix_us(START), 1.0)


@pytest.mark.parametrize(("is_buy", "price"), [(True, 100 * 1.011), (False, 100 * 0.979)])
def test_pair_fee_and_token_tax_add_up_in_the_price(is_buy, price):
    universe = universe_of({PAIR: [100.0]})
    clock = DecisionClock([to_unix_us(START)])
    pricing = CandleMarket(universe, CostModel(ALL[:2])).price_on(universe.candles, clock)
    quote = pricing.get_buy_price(START, PAIR, 1000) if is_buy else pricing.get_sell_price(START, PAIR, 10)

    assert quote.price == pytest.approx(price)
    assert quote.token_tax == pytest.approx(10 if is_buy else 20)
    assert quote.lp_fee == pytest.approx(11 if is_buy else 21)


def test_costs_may_be_for_some_tokens_only():
    costs = CostModel((PairFee(0.01, bases=("PEPE",)), TokenTax(sell=0.05, tokens=("PEPE",))))
    assert costs.fee_of(PAIR) is None
    assert costs.tax_of(PAIR, False) is None
    pepe = replace(PAIR, base=replace(PAIR.base, token_symbol="PEPE"))
    assert (costs.fee_of(pepe), costs.tax_of(pepe, True), costs.tax_of(pepe, False)) == (0.01, 0.0, 0.05)


def test_costs_are_values():
    assert pickle.loads(pickle.dumps(ALL)) == ALL
    assert repr(ALL) == repr(pickle.loads(pickle.dumps(ALL)))
    assert hash(ALL) == hash(tuple(ALL))
    assert isinstance(ALL[2], PriceImpact)
    assert not isinstance(ALL[3], PriceImpact)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PairFee(1.5), "PairFee.fraction is 1.5"),
        (lambda: PairFee(0.1, bases="WETH"), "tuple of token symbols"),
        (lambda: TokenTax(buy=-0.1), "TokenTax.buy"),
        (lambda: ConstantProductImpact(concentration=0), "concentration is 0"),
        (lambda: SquareRootImpact(window=30), "timedelta above 0"),
        (lambda: SquareRootImpact(coefficient=float("nan")), "above 0"),
        (lambda: Slippage(bps=5000), "below 3300"),
        (lambda: Slippage(bps="10"), "expected a number"),
        (lambda: GasPerTrade(usd=-1), "from 0 on"),
        (lambda: ExecutionDelay(by=timedelta(0)), "timedelta above 0"),
        (lambda: collect_costs([Slippage(1), Slippage(2)]), "keep one"),
        (lambda: collect_costs([0.003]), "expected costs"),
        (lambda: collect_costs([Slippage]), "expected costs"),
    ],
)
def test_bad_costs_are_refused_with_what_to_do(make, message):
    with pytest.raises(ParameterTypeInvalid, match=message):
        make()
