"""Trading on paper pays what a backtest of the same costs pays."""

from dataclasses import replace
from datetime import timedelta

import pytest
from live import test_loan_cycle, test_vault_cycle
from live.world import START, STRATEGY, fills, load, make_live, run_days

import trading_dagster as td
from trading_dagster.research.divergence import compare_with_backtest
from trading_dagster.research.divergence_table import matched_table

COSTS = (
    td.TokenTax(buy=0.001, tokens=("BTC",)),
    td.SquareRootImpact(window=timedelta(days=5), missing_volume_usd=1e6),
    td.Slippage(bps=7),
    td.GasPerTrade(usd=0.3),
)
DAYS = 4


def test_paper_pays_what_the_backtest_pays():
    live = make_live(parameters={"costs": COSTS})
    run_days(live, DAYS)
    backtest = td.run_backtest(STRATEGY, costs=COSTS, start=START, end=START + timedelta(days=DAYS), progress=False)

    mine = [(t.trade_id, t.charges, t.executed_quantity) for t in load(live).portfolio.get_all_trades()]
    theirs = [(t.trade_id, t.charges, t.executed_quantity) for t in backtest.state.portfolio.get_all_trades()]
    assert mine == theirs
    assert len(mine) == len(fills(live)) == 12
    assert all(charges.gas > 0 and charges.impact > 0 and charges.slippage > 0 for _, charges, _ in mine)
    report = compare_with_backtest(live)
    assert report.is_identical
    assert matched_table(report)[["live_gas_usd", "backtest_gas_usd"]].eq(0.3).all(axis=None)
    assert load(live).portfolio.reserve.quantity == backtest.state.portfolio.reserve.quantity


def test_a_trade_with_too_much_impact_fails_alone_on_paper():
    costs = (td.ConstantProductImpact(missing_tvl_usd=10_000),)
    live = make_live(parameters={"costs": costs, "max_price_impact": 0.15})
    run_days(live, 1)
    assert not fills(live)
    assert not load(live).portfolio.open_positions
    assert load(live).portfolio.get_cash() == 10_000


@pytest.mark.parametrize("world", [test_vault_cycle, test_loan_cycle])
def test_vaults_and_loans_pay_the_same_costs_on_paper(world):
    costs = (td.GasPerTrade(usd=3), td.Slippage(bps=7), td.SquareRootImpact(window=timedelta(days=5)))
    end = START + timedelta(days=world.DAYS)
    live = world.make_live()
    live = replace(live, strategy=live.strategy.with_parameters({"costs": costs}))
    run_days(live, world.DAYS)
    backtest = td.run_backtest(world.STRATEGY, costs=costs, end=end, progress=False)

    mine, theirs = (
        [(t.trade_id, t.charges, t.executed_quantity) for t in portfolio.get_all_trades() if t.is_success()]
        for portfolio in (load(live).portfolio, backtest.state.portfolio)
    )
    assert mine == theirs
    assert len(mine) >= 12
    assert all(charges.gas == 3 for _, charges, _ in mine)
    assert load(live).portfolio.reserve.quantity == backtest.state.portfolio.reserve.quantity
    assert not load(live).portfolio.frozen_positions
