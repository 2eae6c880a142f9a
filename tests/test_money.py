"""Money in and out, and the fees of a fund: exact, cut anywhere, and never seen in the share price but as fees."""

import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_strategy import Parameters as RandomParameters
from random_strategy import decide_by_seed, deposit_sometimes, describe, make_universe
from tape import START, WETH_USDC, run_on, universe_of
from test_fold import run_whole, windows_at

import trading_dagster as td
from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.domain.error import NotEnoughCashForBuys, ParameterTypeInvalid
from trading_dagster.domain.fund_fee import calculate_fund_fees, read_fund_fees
from trading_dagster.domain.state import State
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.storage.event_codec import EventDecoder, encode_event

DAY = timedelta(days=1)
YEAR = timedelta(days=365)
SLOW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def nothing(_input):
    return []


def all_in(input):
    pm = input.get_position_manager()
    return pm.open_spot(WETH_USDC, pm.get_current_cash()) if input.cycle == 1 else []


def fund(opens, decide=nothing, *, fees, days=None, hook=None):
    return run_on(
        universe_of({WETH_USDC: opens}, TimeBucket.d1),
        decide,
        cycle=CycleDuration.cycle_1d,
        cycles=days or len(opens) - 1,
        more={"fund_fees": fees},
        execution_test_hook=hook,
    )


def due(fees, **given):
    defaults = {
        "shares": Decimal(1000),
        "net_asset_value": 1000.0,
        "elapsed": YEAR,
        "high_water_mark": 1.0,
        "initial_share_price": 1.0,
    }
    return calculate_fund_fees(fees, **{**defaults, **given})


def test_management_fee_by_hand():
    """2 % of 1000 USD: the manager gets shares worth 20, the investors' 1000 shares are worth 980."""
    take = due(td.FundFees(management=0.02))
    assert take.management_usd == pytest.approx(20, rel=1e-12)
    assert take.share_price == pytest.approx(0.98, rel=1e-12)
    assert float(take.management_shares) == pytest.approx(1000 * (1 / 0.98 - 1), rel=1e-12)


def test_performance_fee_by_hand():
    """From 1.0 to 1.5, 20 % of the gain of 500: 100 USD; a share is worth 1.4, the new mark."""
    take = due(td.FundFees(performance=0.2), net_asset_value=1500.0)
    assert take.performance_usd == pytest.approx(100, rel=1e-12)
    assert take.share_price == pytest.approx(1.4, rel=1e-12)
    assert take.high_water_mark == take.share_price


def test_no_performance_fee_below_the_mark():
    take = due(td.FundFees(performance=0.2), net_asset_value=1500.0, high_water_mark=1.6)
    assert take.performance_shares == 0
    assert (take.share_price, take.high_water_mark) == (1.5, 1.6)


@given(
    st.floats(0, 0.5),
    st.lists(st.integers(1, 10_000), min_size=1, max_size=8),
    st.floats(1, 1e9),
)
def test_management_fee_does_not_depend_on_how_often_it_is_taken(fraction, hours, value):
    shares = Decimal(1000)
    for part in hours:
        take = due(
            td.FundFees(management=fraction),
            shares=shares,
            net_asset_value=value,
            elapsed=timedelta(hours=part),
        )
        shares += take.management_shares
    kept = (1 - fraction) ** (timedelta(hours=sum(hours)) / YEAR)
    assert float(shares) == pytest.approx(1000 / kept, rel=1e-12)


@given(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(1, 1e7), st.floats(0.1, 10), st.integers(0, 5000))
def test_fees_never_take_more_than_their_part(management, performance, value, mark, days):
    fees = td.FundFees(management=management, performance=performance)
    take = due(fees, net_asset_value=value, high_water_mark=mark, elapsed=days * DAY)
    shares = 1000 + float(take.management_shares + take.performance_shares)
    assert take.share_price * shares == pytest.approx(value, rel=1e-9)
    assert min(take.management_shares, take.performance_shares) >= 0
    gain = max(value / (1000 + float(take.management_shares)) - mark, 0) * (1000 + float(take.management_shares))
    assert take.performance_usd == pytest.approx(performance * gain, rel=1e-9, abs=1e-9)
    assert take.high_water_mark == max(mark, take.share_price)


def test_a_fund_that_does_nothing_loses_its_management_fee():
    result = fund([100.0] * 62, fees=td.FundFees(management=0.1))
    elapsed = result.share_price.index[-1] - START
    assert result.equity_curve.iloc[-1] == 10_000
    assert result.share_price.iloc[-1] == pytest.approx(0.9 ** (elapsed / YEAR), rel=1e-12)
    assert result.share_price_returns.iloc[-1] == pytest.approx(0.9 ** (elapsed / YEAR) - 1, rel=1e-12)
    assert result.fund_fees["management_usd"].gt(0).all()
    assert result.fund_fees["performance_usd"].eq(0).all()


def test_performance_fee_of_a_rise_a_fall_and_a_rise():
    """Price 100, 150 on day 10, 90 on day 20, 180 on day 30; fees are settled daily: on gains above the mark."""
    opens = [100.0] * 10 + [150.0] * 10 + [90.0] * 10 + [180.0] * 12
    result = fund(opens, all_in, fees=td.FundFees(performance=0.2, every=timedelta(days=1)))
    after_first = 1.5 - 0.2 * 0.5
    gross = 18_000 / (15_000 / 1.4)
    last = gross - 0.2 * (gross - after_first)
    assert result.share_price.max() == pytest.approx(last, rel=1e-9)
    paid = result.fund_fees["performance_usd"]
    assert list(paid[paid > 0]) == pytest.approx([1000, 0.2 * (gross - after_first) * 15_000 / 1.4])
    assert result.fund_fees["high_water_mark"].is_monotonic_increasing


def test_fees_are_taken_before_a_flow_so_that_newcomers_pay_none():
    """A deposit on day 10, after half of the time, is charged for the second half only."""

    def hook(cycle, timestamp, state, sync_model):
        if cycle == 1:
            sync_model.simulate_funding(START + 10 * DAY, 10_000)

    result = fund([100.0] * 22, fees=td.FundFees(management=0.5, every=timedelta(days=10_000)), hook=hook, days=21)
    factor = 0.5 ** (10 / 365)
    deposit = list(result.state.portfolio.reserve.balance_updates.values())[1]
    assert deposit.quantity == 10_000
    bought = 10_000 / factor
    total = 10_000 / factor + bought
    assert float(result.state.sync.treasury.share_count) == pytest.approx(total / factor, rel=1e-12)
    assert list(result.fund_fees["timestamp"]) == [START + 10 * DAY, START + 20 * DAY]
    assert result.investment_flow.tolist() == [10_000, 10_000]
    assert result.deposit_adjusted_returns("YE").tolist() == [0.0]


def test_after_everything_was_redeemed_the_mark_begins_anew():
    def hook(cycle, timestamp, state, sync_model):
        if cycle == 1:
            sync_model.simulate_funding(START + 5 * DAY, -10_000)
            sync_model.simulate_funding(START + 8 * DAY, 5_000)

    result = fund([100.0] * 14, fees=td.FundFees(management=0.1, performance=0.2), hook=hook)
    assert result.share_price.iloc[-1] == pytest.approx(0.9 ** (4 / 365), rel=1e-9)


def test_fees_are_off_without_being_asked_for():
    result = run_on(universe_of({WETH_USDC: [100.0] * 4}), nothing, cycles=3)
    assert result.fund_fees.empty
    assert (result.share_price == 1).all()
    module = replace(result.plan.strategy, details={"management_fee": "2%", "strategy_developer_fee": 0.1})
    assert td.FundFees.of_module(module.details) == td.FundFees(management=0.02, performance=0.1)


def test_fees_that_the_module_names_are_taken_when_asked_for(tmp_path):
    text = """
import trading_dagster as td
trading_strategy_engine_version = "0.5"
management_fee = "2%"
trading_strategy_protocol_fee = 0.02
strategy_developer_fee = "18%"
indicators = td.IndicatorRegistry()
class Parameters:
    fund_fees = True
def create_trading_universe(input):
    raise NotImplementedError
def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return td.IndicatorSet()
def decide_trades(input):
    return []
"""
    path = tmp_path / "fund.py"
    path.write_text(text)
    plan = td.plan_backtest(
        path,
        universe=universe_of({WETH_USDC: [100.0] * 4}),
        parameters={
            "cycle_duration": CycleDuration.cycle_1h,
            "routing": td.TradeRouting.default,
            "initial_cash": 1000,
            "backtest_start": START,
            "backtest_end": START + timedelta(hours=3),
        },
    )
    fees = read_fund_fees(plan.parameters, plan.strategy.details)
    assert fees.management == 0.02
    assert fees.performance == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: td.FundFees(management=2), "management is 2"),
        (lambda: td.FundFees(performance=-0.1), "performance"),
        (lambda: td.FundFees(every=30), "timedelta above 0"),
        (lambda: td.StrategyParameters({"fund_fees": 0.2}), "FundFees\\(management"),
        (lambda: td.FundFees.of_module({"management_fee": "two"}), "management_fee is 'two'"),
    ],
)
def test_bad_fees_are_refused(make, message):
    with pytest.raises(ParameterTypeInvalid, match=message):
        make()


class FundParameters(RandomParameters):
    fund_fees = td.FundFees(management=0.2, performance=0.2, every=timedelta(days=3))


def plan_of(seed, hook=deposit_sometimes, parameters=FundParameters):
    return td.plan_backtest(
        decide_trades=decide_by_seed(seed),
        universe=make_universe(seed),
        parameters=parameters,
        execution_test_hook=hook,
    )


@SLOW
@given(st.integers(0, 10_000), st.sets(st.integers(1, 119), min_size=1, max_size=7))
def test_cutting_a_fund_with_flows_and_fees_changes_no_bit(tmp_path_factory, seed, cuts):
    plan = plan_of(seed)
    whole, events, samples = run_whole(plan)
    windows = windows_at(cuts)
    folder = tmp_path_factory.mktemp("cut")
    for window in windows:
        list(PartitionedBacktest(plan_of(seed), folder, windows).run([window.key]))
    result = PartitionedBacktest(plan, folder, windows).load_result()
    pd.testing.assert_frame_equal(result.samples, samples.frame, check_exact=True)
    assert describe(result.state) == describe(whole.state)
    assert result.state.sync.treasury.fund_fees == whole.state.sync.treasury.fund_fees
    decoded = EventDecoder(plan.universe.pairs).decode_all(map(encode_event, events))
    assert decoded == events
    assert describe(State.replay(decoded, whole.marks)) == describe(whole.state)


@SLOW
@given(st.integers(0, 10_000))
def test_fees_change_shares_and_nothing_else(seed):
    class Plain(RandomParameters):
        pass

    with_fees, _, samples = run_whole(plan_of(seed))
    without, _, plain = run_whole(plan_of(seed, parameters=Plain))
    same = ["timestamp", "equity", "cash", "position_equity", "open_positions"]
    pd.testing.assert_frame_equal(samples.frame[same], plain.frame[same], check_exact=True)
    treasury = with_fees.state.sync.treasury
    assert treasury.share_count > without.state.sync.treasury.share_count
    marks = [entry.take.high_water_mark for entry in treasury.fund_fees]
    assert marks == sorted(marks)


@SLOW
@given(st.integers(0, 10_000), st.floats(-0.9, 5), st.integers(2, 110))
def test_a_flow_never_moves_the_share_price(seed, size, cycle):
    """With or without a flow in a cycle, that cycle's share price is the same."""
    frozen = make_universe(seed)

    def decide(input):
        return decide_by_seed(seed)(input) if input.cycle < cycle else []  # cash at hand decides how much is bought

    def flow(number, timestamp, state, sync_model):
        if number == cycle:
            amount = size * (state.portfolio.get_cash() if size < 0 else 10_000)
            if abs(amount) > 1:
                sync_model.simulate_funding(timestamp, amount)

    prices = []
    for hook in (None, flow):
        result = td.run_backtest(
            decide_trades=decide,
            universe=frozen,
            parameters=RandomParameters,
            execution_test_hook=hook,
            progress=False,
        )
        until = RandomParameters.backtest_start + (cycle - 1) * timedelta(hours=4)
        prices.append(result.share_price[:until].to_numpy())
    assert prices[1] == pytest.approx(prices[0], rel=1e-9)
    assert np.isfinite(prices[1]).all()


def test_cash_for_a_pending_redemption_is_not_spent_on_buys():
    """9,000 are in the position, 5,000 are asked for: until they are paid, no cash may be spent."""
    seen = []

    def hook(cycle, timestamp, state, sync_model):
        if cycle == 2:
            sync_model.simulate_funding(timestamp, -5_000)

    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            return pm.open_spot(WETH_USDC, 9_000)
        seen.append((pm.get_pending_redemptions(), pm.get_current_cash()))
        if input.cycle == 2:
            buys = pm.adjust_position(WETH_USDC, 500.0, None, 1)
            with pytest.raises(NotEnoughCashForBuys, match=r"5000.* pending redemptions"):
                pm.check_enough_cash(buys)
            sold = pm.get_current_position().get_quantity() / 2
            sells = pm.adjust_position(WETH_USDC, -4_500.0, -sold, 1)
            pm.check_enough_cash(buys + sells)
            return sells
        return []

    result = run_on(universe_of({WETH_USDC: [100.0] * 6}), decide, cycles=5, execution_test_hook=hook)
    assert seen[0] == (5_000, 1_000)
    assert seen[1] == (0, 500)
    assert result.investment_flow.tolist() == [10_000, -5_000]
    assert math.isclose(result.share_price.iloc[-1], 1.0)
