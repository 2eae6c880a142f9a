"""Costs in a backtest: each to the unit, none gives money, cutting changes nothing, nor does leaving them out."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loan_scenario import START as LOAN_START
from loan_scenario import lending_universe, run_with_loans
from random_strategy import Parameters as RandomParameters
from random_strategy import decide_by_seed, deposit_sometimes, describe, make_universe
from scenario import START, WETH_USDC, daily_universe, flat_universe, run
from tape import AAVE_USDC, run_on, universe_of
from tape import START as TAPE_START
from tape import WETH_USDC as PAIR
from test_fold import run_whole, windows_at

import trading_dagster as td
from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.plan_hash import hash_plan
from trading_dagster.domain.error import (
    BacktestExecutionFailed,
    BadInput,
    ParameterTypeInvalid,
    PriceImpactToleranceExceeded,
    StrategyFailed,
)
from trading_dagster.domain.state import State
from trading_dagster.domain.time import TimeBucket
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.execution.simulated import SimulatedExecution
from trading_dagster.statistics.price_step import explain_fill
from trading_dagster.statistics.trade_table import CHARGE_COLUMNS

SLOW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MINUTES = timedelta(minutes=1)
IMPACT = td.ConstantProductImpact(missing_tvl_usd=1_000_000)


def buy_then_sell(input):
    pm = input.get_position_manager()
    if input.cycle == 1:
        return pm.open_spot(input.get_default_pair(), value=1000)
    return pm.close_all() if input.cycle == 3 else []


def test_each_cost_by_hand():
    """1000 USD at a fixed 1800 with 0.3 % fee; half the pool is 500,000 USD: a trade of V has i = V / 500,000."""
    result = run(buy_then_sell, flat_universe(), costs=[IMPACT, td.Slippage(bps=10), td.GasPerTrade(usd=2)])
    buy, sell = result.state.portfolio.get_all_trades()

    quoted = 1800 * 1.003 * (1 + 1000 / 500_000)
    tokens = 998 / (quoted * 1.001)
    assert float(buy.executed_quantity) == pytest.approx(tokens, rel=1e-12)
    assert buy.executed_reserve == 998
    assert buy.charges.gas == 2
    assert buy.charges.impact == pytest.approx(1800 * 1.003 * (1000 / 500_000) * tokens, rel=1e-9)
    assert buy.charges.slippage == pytest.approx(quoted * 0.001 * tokens, rel=1e-9)
    assert buy.lp_fees_paid == pytest.approx(998 * 0.003)

    bid = 1800 * 0.997 / (1 + tokens * 1800 / 500_000)
    assert float(sell.executed_reserve) == pytest.approx(tokens * bid * 0.999, rel=1e-12)
    assert result.state.portfolio.get_cash() == pytest.approx(9000 + tokens * bid * 0.999 - 2, rel=1e-12)

    table = result.trades
    assert list(table["gas"]) == [2, 2]
    assert list(table["delay"]) == [0, 0]
    costs = result.costs.set_index("trade_id")
    assert costs.loc[1, "fee"] == pytest.approx(998 * 0.003)
    assert costs.loc[1, "total"] == pytest.approx(costs.loc[1, ["fee", "impact", "slippage", "gas"]].sum())
    summary = result.cost_summary
    assert summary.loc["gas", "usd"] == 4
    assert summary.loc["impact", "usd_per_trade"] == pytest.approx(costs["impact"].mean())
    assert result.statistics.loc["Gas paid", "All"] == 4
    assert result.statistics.loc["Price impact paid", "All"] == pytest.approx(costs["impact"].sum())


def test_without_costs_nothing_changes():
    plan = td.plan_backtest(decide_trades=buy_then_sell, universe=daily_universe(), parameters=SmallParameters)
    whole = td.BacktestRun(plan)
    assert type(whole.cycle._execution) is SimulatedExecution
    whole.advance(plan.cycle_count)
    events, _ = whole.take_segment()
    assert not [event for event in events if type(event).__name__ == "TradeCharged"]
    result = run(buy_then_sell, daily_universe())
    assert not set(CHARGE_COLUMNS) & set(result.trades.columns)
    assert (result.costs[["tax", "impact", "slippage", "gas", "delay"]] == 0).all(axis=None)


class SmallParameters(RandomParameters):
    cycle_duration = td.CycleDuration.cycle_1d
    backtest_start = START
    backtest_end = START + timedelta(days=20)


class CostlyParameters(SmallParameters):
    costs = [td.Slippage(bps=10), td.GasPerTrade(usd=1)]  # noqa: RUF012 - as users write it


def hash_with(**arguments):
    given = {"parameters": SmallParameters, **arguments}
    return hash_plan(td.plan_backtest(decide_trades=buy_then_sell, universe=daily_universe(), **given))


def test_a_changed_cost_is_another_backtest():
    plain = hash_with()
    costly = hash_with(costs=[td.Slippage(bps=10), td.GasPerTrade(usd=1)])
    assert hash_with(parameters=CostlyParameters) == costly
    assert len({plain, costly, hash_with(costs=[td.Slippage(bps=11), td.GasPerTrade(usd=1)])}) == 3
    assert hash_with() == plain


def test_costs_of_the_call_replace_those_of_parameters():
    plan = td.plan_backtest(
        decide_trades=buy_then_sell,
        universe=daily_universe(),
        parameters=CostlyParameters,
        costs=[td.Slippage(bps=1)],
    )
    assert plan.parameters.costs == (td.Slippage(bps=1),)


def test_a_list_of_lists_is_a_grid_of_costs():
    grid = td.StrategyParameters({"costs": [[td.Slippage(1)], [td.Slippage(2)]]})
    assert grid.costs == [(td.Slippage(1),), (td.Slippage(2),)]
    with pytest.raises(ParameterTypeInvalid, match="expected costs"):
        td.StrategyParameters({"costs": [0.003]})


COSTS = st.builds(
    lambda fee, tax, impact, slippage, gas, delay: [
        *([td.PairFee(fee)] if fee is not None else []),
        *([td.TokenTax(buy=tax, sell=tax / 2)] if tax else []),
        *([impact] if impact else []),
        td.Slippage(bps=slippage),
        td.GasPerTrade(usd=gas),
        *([td.ExecutionDelay(by=delay * MINUTES)] if delay else []),
    ],
    fee=st.none() | st.floats(0, 0.01),
    tax=st.floats(0, 0.02),
    impact=st.sampled_from(
        [None, td.ConstantProductImpact(missing_tvl_usd=5e5), td.SquareRootImpact(missing_volume_usd=1e6)]
    ),
    slippage=st.floats(0, 100),
    gas=st.floats(0, 0.5),
    delay=st.sampled_from([0, 1, 30, 45, 120, 240]),
)


class PlanParameters(RandomParameters):
    backtest_start = RandomParameters.backtest_start + timedelta(days=1)


def plan_of(seed, costs, hook=deposit_sometimes):
    return td.plan_backtest(
        decide_trades=decide_by_seed(seed),
        universe=make_universe(seed),
        parameters=PlanParameters,
        costs=costs,
        execution_test_hook=hook,
    )


@SLOW
@given(st.integers(0, 10_000), COSTS)
def test_equity_changes_by_profit_and_flows_less_costs(seed, costs):
    whole, events, samples = run_whole(plan_of(seed, costs))
    state = whole.state
    trades = [t for t in state.portfolio.get_all_trades() if t.fill is not None]
    flows = sum((u.quantity for u in state.portfolio.reserve.balance_updates.values()), Decimal(0))
    moved = sum((-t.fill.reserve if t.is_buy() else t.fill.reserve for t in trades), Decimal(0))
    gas = sum((t.charges.gas for t in trades), Decimal(0))

    assert abs(flows + moved - gas - state.portfolio.reserve.quantity) < Decimal("1e-18")
    profit = sum(p.get_total_profit_usd() for p in state.portfolio.get_all_positions())
    expected = float(flows) + profit - float(gas)
    assert state.portfolio.calculate_total_equity() == pytest.approx(expected, rel=1e-9)
    assert (samples.frame["cash"] >= 0).all()
    assert describe(State.replay(events, whole.marks)) == describe(state)


@SLOW
@given(st.integers(0, 10_000), COSTS)
def test_what_is_charged_explains_every_price(seed, costs):
    """From the mid price at the decision to the executed price: fee and tax, impact, slippage, delay; no gifts."""
    whole, _, _ = run_whole(plan_of(seed, costs))
    for trade in (t for t in whole.state.portfolio.get_all_trades() if t.fill is not None):
        side, pricing, charges = (1 if trade.is_buy() else -1), trade.price_structure, trade.charges
        quantity = abs(float(trade.executed_quantity))
        paid = side * (float(trade.executed_reserve) - pricing.mid_price * quantity)
        mid_at_fill = pricing.mid_price + side * charges.delay / quantity
        fee = mid_at_fill * pricing.pair_fee * quantity
        explained = fee + charges.impact + charges.slippage + charges.delay
        assert paid == pytest.approx(explained, rel=1e-9, abs=1e-9)
        assert min(charges.gas, charges.impact, charges.slippage, trade.token_tax_paid) >= 0
        steps = explain_fill(trade)
        assert steps.total == Fraction(trade.executed_price)
        assert float(steps.move * side) * quantity == pytest.approx(charges.delay, rel=1e-6, abs=1e-9)


@SLOW
@given(st.integers(0, 10_000), COSTS, st.sets(st.integers(1, 113), min_size=1, max_size=6))
def test_cutting_a_backtest_with_costs_changes_no_bit(tmp_path_factory, seed, costs, cuts):
    plan = plan_of(seed, costs)
    whole, _, samples = run_whole(plan)
    windows = [w for w in windows_at(cuts) if w.end > plan.start]
    windows[0] = replace(windows[0], start=plan.start)
    folder = tmp_path_factory.mktemp("cut")
    for window in windows:
        list(PartitionedBacktest(plan_of(seed, costs), folder, windows).run([window.key]))
    parts = PartitionedBacktest(plan, folder, windows)
    result = parts.load_result()
    pd.testing.assert_frame_equal(result.samples, samples.frame, check_exact=True)
    assert describe(result.state) == describe(whole.state)
    stored = parts.read_table("trades", [w.key for w in windows]).frame
    if len(result.trades):
        pd.testing.assert_frame_equal(stored, result.trades, check_exact=True)
    assert (set(CHARGE_COLUMNS) <= set(stored.columns)) == parts.has_charges


@pytest.mark.parametrize(
    "make",
    [
        lambda x: td.Slippage(bps=100 * x),
        lambda x: td.GasPerTrade(usd=5 * x),
        lambda x: td.PairFee(0.02 * x),
        lambda x: td.TokenTax(buy=0.02 * x, sell=0.02 * x),
        lambda x: td.ConstantProductImpact(missing_tvl_usd=1e5 / (x + 1e-6)),
        lambda x: td.SquareRootImpact(coefficient=x + 1e-6, missing_volume_usd=1e6),
    ],
    ids=["slippage", "gas", "fee", "tax", "constant product", "square root"],
)
@settings(max_examples=5, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_more_of_a_cost_never_leaves_more_money(make, one, other):
    less, more = sorted((one, other))

    def late(input):
        pm = input.get_position_manager()
        if input.cycle == 5:
            return pm.open_spot(input.get_default_pair(), value=1000)
        return pm.close_all() if input.cycle == 8 else []

    universe = daily_universe()
    results = [
        run(late, universe, costs=[make(x)], end=START + timedelta(days=10)).equity_curve.iloc[-1] for x in (less, more)
    ]
    assert results[0] >= results[1]


def test_a_delayed_trade_is_filled_at_the_open_of_a_later_candle():
    """Decided at 00:00 at 100, filled at the open of 00:30, at 110; sold at 04:00 at 140, filled at 04:30, at 130.

    | feed   | 00:00 | 00:30 | 01:00 | ... | 04:00 | 04:30 |
    | open   | 100   | 110   | 120   |     | 140   | 130   |
    """
    feed = [100.0, 110.0, 120.0, 120.0, 120.0, 120.0, 120.0, 120.0, 140.0, 130.0, 130.0, 130.0]
    universe = universe_of({PAIR: feed[::2]}, feed={PAIR: feed}, feed_bucket=TimeBucket.m30)

    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            return pm.open_spot(PAIR, value=1000)
        return pm.close_all() if input.cycle == 5 else []

    result = run_on(universe, decide, cycles=6, costs=[td.ExecutionDelay(by=20 * MINUTES)])
    buy, sell = result.state.portfolio.get_all_trades()

    fee = PAIR.fee or 0.0
    assert buy.executed_at == TAPE_START + timedelta(minutes=30)
    assert buy.executed_price == pytest.approx(110 * (1 + fee))
    assert buy.charges.delay == pytest.approx(10 * float(buy.executed_quantity))
    assert sell.executed_at == TAPE_START + timedelta(hours=4, minutes=30)
    assert sell.executed_price == pytest.approx(130 * (1 - fee))
    assert sell.charges.delay == pytest.approx(10 * float(buy.executed_quantity))
    at_decision = result.samples.set_index("timestamp").loc[TAPE_START]
    assert at_decision["equity"] == 10_000
    assert at_decision["open_positions"] == 0


def test_a_position_is_not_watched_before_its_delayed_buy():
    """The price falls below the stop before the buy is filled: there is nothing to sell until then."""
    feed = [100.0, 80.0, 120.0, 120.0, 90.0, 90.0]
    universe = universe_of({PAIR: feed[::2]}, feed={PAIR: feed}, feed_bucket=TimeBucket.m30)

    def decide(input):
        pm = input.get_position_manager()
        return pm.open_spot(PAIR, value=1000, stop_loss_pct=0.95) if input.cycle == 1 else []

    result = run_on(universe, decide, cycles=3, costs=[td.ExecutionDelay(by=timedelta(hours=1))])
    buy, stop = result.state.portfolio.get_all_trades()
    assert buy.executed_at == TAPE_START + timedelta(hours=1)
    assert stop.is_stop_loss()
    assert stop.executed_at == TAPE_START + timedelta(hours=2)


def test_a_delay_longer_than_a_cycle_is_refused():
    universe = universe_of({PAIR: [100.0] * 5})
    with pytest.raises(BadInput, match=r"after the next decision.*load finer candles"):
        run_on(universe, lambda _input: [], cycles=3, costs=[td.ExecutionDelay(by=timedelta(minutes=61))])


def test_a_delayed_trade_without_a_candle_is_dropped():
    """The pair's last candle is at 01:00; a trade decided then has nothing to be filled at an hour later."""
    opens = {PAIR: [100.0] * 5, AAVE_USDC: [100.0] * 2}
    universe = universe_of(opens, tolerance=timedelta(minutes=30))

    def decide(input):
        return input.get_position_manager().open_spot(AAVE_USDC, value=1000) if input.cycle == 2 else []

    result = run_on(universe, decide, cycles=4, costs=[td.ExecutionDelay(by=timedelta(hours=1))])
    (trade,) = result.state.portfolio.get_all_trades() or [*result.state.portfolio.expired_positions[1].trades.values()]
    assert trade.get_status() is TradeStatus.discarded
    assert "no candle at" in trade.failure
    assert result.equity_curve.iloc[-1] == 10_000


def test_too_much_price_impact_is_refused_before_anything_is_traded():
    def decide(input):
        return input.get_position_manager().open_spot(input.get_default_pair(), value=9000)

    shallow = td.ConstantProductImpact(missing_tvl_usd=100_000)  # 9000 against 50,000: a fill of 15.3 % less
    with pytest.raises(PriceImpactToleranceExceeded, match=r"15\.25%.*Parameters\.max_price_impact"):
        run(decide, flat_universe(), costs=[shallow])

    class Tolerant(SmallParameters):
        maximum_price_impact = 0.2

    td.run_backtest(
        decide_trades=buy_then_sell, universe=daily_universe(), parameters=Tolerant, costs=[shallow], progress=False
    )


def test_trades_that_costs_make_senseless_are_refused():
    def small(input):
        return input.get_position_manager().open_spot(input.get_default_pair(), value=1)

    with pytest.raises(BacktestExecutionFailed, match="gas alone takes 2"):
        run(small, flat_universe(), costs=[td.GasPerTrade(usd=2)])
    with pytest.raises(BacktestExecutionFailed, match=r"tolerates a slippage of 1\.70% but costs have 2\.00%"):
        run(small, flat_universe(), costs=[td.Slippage(bps=200)])
    with pytest.raises(StrategyFailed, match="missing_tvl_usd"):
        run(small, flat_universe(), costs=[td.ConstantProductImpact()])


def test_gas_that_cash_cannot_pay_ends_the_run():
    def all_in(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            return pm.open_spot(input.get_default_pair(), value=pm.get_current_cash())
        position = pm.get_current_position()
        return pm.adjust_position(input.get_default_pair(), -1, -position.get_quantity() / 100_000, 1)

    with pytest.raises(BacktestExecutionFailed, match="keep some cash for gas"):
        run(all_in, flat_universe(), costs=[td.GasPerTrade(usd=5)])


def test_impact_knows_nothing_of_later_candles():
    """Volume and TVL after a time are changed: every trade before it stays, to the bit."""
    universe = make_universe(3)
    panel = universe.candles
    cut = panel.bar_count // 2
    volume = np.full(panel.exists.shape, 1000.0)
    later = volume.copy()
    later[:, cut:] = 1.0
    at = panel.index[cut]

    def trades_with(volume):
        changed = replace(panel, columns={**panel.columns, "volume": volume.copy()})
        result = td.run_backtest(
            decide_trades=decide_by_seed(3),
            universe=replace(universe, candles=changed),
            parameters=PlanParameters,
            costs=[td.SquareRootImpact()],
            progress=False,
        )
        return result.trades

    one, other = trades_with(volume), trades_with(later)
    early = one["opened_at"] < at
    pd.testing.assert_frame_equal(one[early], other[other["opened_at"] < at], check_exact=True)
    assert not one.equals(other)
    assert early.sum() > 10


def test_tvl_candles_decide_the_impact():
    universe = flat_universe()
    tvl = td.synthetic.generate_tvl_candles(
        TimeBucket.d1, datetime(2021, 6, 1), datetime(2022, 1, 1), start_liquidity=2_000_000, pair_id=1
    )
    with_tvl = td.TradingStrategyUniverse.create_from_dataset(
        td.Dataset(
            time_bucket=TimeBucket.d1,
            exchanges=(),
            pairs=(WETH_USDC,),
            candles=universe.candles.frame(1).assign(pair_id=1).reset_index(),
            liquidity=tvl,
            liquidity_time_bucket=TimeBucket.d1,
        ),
        WETH_USDC.quote,
    )
    result = run(buy_then_sell, with_tvl, costs=[td.ConstantProductImpact()])
    buy = result.state.portfolio.get_all_trades()[0]
    assert buy.planned_price == pytest.approx(1800 * 1.003 * (1 + 1000 / 1_000_000), rel=1e-12)


def decide_short(input):
    pm = input.get_position_manager()
    if input.cycle == 1:
        return pm.open_short(input.get_default_pair(), 5000, leverage=2)
    return pm.close_all() if input.cycle == 4 else []


def test_a_short_pays_gas_and_the_impact_of_its_swaps():
    plain = run_with_loans(decide_short)
    costly = run_with_loans(decide_short, costs=[IMPACT, td.GasPerTrade(usd=5)])
    sold, bought = costly.state.portfolio.get_all_trades()
    assert sold.planned_price == pytest.approx(1800 * 0.997 / (1 + 10_000 / 500_000))
    assert sold.charges.impact == pytest.approx(1800 * 0.997 * (1 - 1 / 1.02) * 10_000 / 1800)
    assert bought.charges.impact > 0
    assert list(costly.costs["gas"]) == [5, 5]
    lost = plain.equity_curve.iloc[-1] - costly.equity_curve.iloc[-1]
    assert lost == pytest.approx(costly.costs[["impact", "gas"]].sum().sum(), rel=0.01)
    gas_only = run_with_loans(decide_short, costs=[td.GasPerTrade(usd=5)])
    assert gas_only.state.portfolio.get_cash() == pytest.approx(plain.state.portfolio.get_cash() - 10, rel=1e-6)


def test_credit_supply_is_delayed_and_not_dropped():
    def park(input):
        pm = input.get_position_manager()
        return pm.open_credit_supply_position_for_reserves(5000) if input.cycle == 1 else []

    result = run_with_loans(park, costs=[td.ExecutionDelay(by=timedelta(days=1))])
    (trade,) = result.state.portfolio.get_all_trades()
    assert trade.executed_at == LOAN_START + timedelta(days=1)
    assert result.state.portfolio.get_cash() == 5000


HOURS = [100.0] * 16


def run_delayed(decide, opens, by=timedelta(hours=1), cycles=3):
    universe = universe_of(opens, TimeBucket.h1, feed=opens)
    return run_on(universe, decide, cycle=td.CycleDuration.cycle_4h, cycles=cycles, costs=[td.ExecutionDelay(by=by)])


def test_delayed_buy_is_dropped_when_the_sale_before_it_brought_too_little():
    falling = [*HOURS[:9], *[90.0] * 7]

    def swap(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            return pm.open_spot(PAIR, 10_000)
        if input.cycle == 3:
            return pm.close_position(pm.get_current_position()) + pm.open_spot(AAVE_USDC, 9_900)
        return []

    result = run_delayed(swap, {PAIR: falling, AAVE_USDC: HOURS})

    sale, buy = result.state.portfolio.get_all_trades()[1], result.state.portfolio.expired_positions[2].get_last_trade()
    assert sale.executed_price == pytest.approx(90, rel=0.01)
    assert buy.get_status() is TradeStatus.discarded
    assert "but cash is" in buy.failure


def test_waiting_order_leaves_a_delayed_buy_the_cash_it_was_planned_with():
    rising = [*HOURS[:1], *[102.0] * 15]

    def decide(input):
        pm = input.get_position_manager()
        if input.cycle > 1:
            return []
        pm.open_spot_with_market_limit(PAIR, 4_000, 101.0)
        return pm.open_spot(AAVE_USDC, 8_000)

    result = run_delayed(decide, {PAIR: rising, AAVE_USDC: HOURS}, by=timedelta(hours=2))

    (made,) = result.state.portfolio.get_all_trades()
    assert made.pair == AAVE_USDC
    assert made.executed_reserve == 8_000
    (refused,) = result.state.portfolio.expired_positions.values()
    assert "but cash is 2000" in refused.get_last_trade().failure


def test_equity_of_a_decision_is_not_that_of_triggers_before_it():
    """The stop fires at the time of the second decision, which then spends all cash."""

    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            return pm.open_spot(PAIR, 5_000, stop_loss_pct=0.95)
        return pm.open_spot(AAVE_USDC, 5_000) if input.cycle == 2 else []

    opens = {PAIR: [*HOURS[:4], *[50.0] * 12], AAVE_USDC: HOURS}
    result = run_on(universe_of(opens, feed=opens), decide, cycle=td.CycleDuration.cycle_4h, cycles=3)

    assert result.trades["trade_type"].tolist() == ["rebalance", "stop_loss", "rebalance"]
    assert result.decisions["cash"].tolist()[1] == pytest.approx(result.state.portfolio.get_cash())


def test_a_liquidator_pays_his_own_gas():
    def all_in(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            return pm.open_short(input.get_default_pair(), pm.get_current_cash(), leverage=5.4)
        return []

    universe = lending_universe(LOAN_START + timedelta(days=30), daily_drift=(1.05, 1.06), start_price=1800)
    result = run_with_loans(all_in, universe=universe, costs=[td.GasPerTrade(usd=5)])

    assert result.trades["trade_type"].tolist() == ["rebalance", "liquidation"]
    assert result.costs["gas"].tolist() == [5, 0]
