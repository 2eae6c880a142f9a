"""Acceptance scenarios of shorts and credit supply: the engine must reproduce every number to the digits given."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from tests.loan_scenario import (
    LoanParameters,
    lending_universe,
    open_short_and_close,
    open_short_and_hold,
    open_short_with_stop_loss,
    run_credit_flow,
    run_with_loans,
)
from tests.test_scenarios import near, positions
from trading_dagster.backtest import BacktestRun, plan_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.trade import TradeType

# -- S8: shorts -------------------------------------------------------------------------------------------------------


def test_s8a_short_that_is_held():
    result = run_with_loans(open_short_and_hold)
    (position,) = positions(result)
    loan = position.loan
    assert loan is not None
    assert loan.borrowed is not None
    assert position.get_value_at_open() == near(19_940)
    assert float(loan.collateral.quantity) == near(29_940)
    assert loan.borrowed.last_usd_price == near(1712.203057206142)
    assert loan.get_borrow_value() == near(19024.478413401575)
    assert loan.get_collateral_interest() == near(4.921913519656365)
    assert loan.get_borrow_interest() == near(7.819349846027916)
    assert position.get_unrealised_profit_usd() == near(913.0004435622891)
    assert loan.get_net_asset_value() == near(10912.624150272055)
    assert position.get_value() == near(10912.624150272055)
    assert result.state.portfolio.get_cash() == 0
    assert float(result.equity_curve.iloc[-1]) == near(10912.624150272055)


def test_s8a_wallet_holds_collateral_and_debt_tokens():
    run = BacktestRun(
        plan_backtest(
            decide_trades=open_short_and_hold,
            universe=lending_universe(datetime(2023, 1, 30)),
            parameters=LoanParameters,
        )
    )
    run.advance(run.plan.cycle_count)
    balances = {asset.token_symbol: float(quantity) for asset, quantity in run.wallet.balances.items()}
    assert balances["aUSDC"] == pytest.approx(29944.9219135, abs=5e-8)
    assert balances["vWETH"] == near(11.11567794669356)
    assert balances["USDC"] == 0


def test_s8b_short_that_is_closed():
    result = run_with_loans(open_short_and_close)
    (position,) = positions(result)
    assert position.is_closed()
    assert position.get_closing_price() == near(1722.507187941585)
    assert position.get_realised_profit_usd() == near(798.4159875155882)
    assert result.state.portfolio.get_cash() == near(10797.914428428872)


def test_s8c_short_that_its_stop_loss_closes():
    result = run_with_loans(open_short_with_stop_loss)
    (position,) = positions(result)
    opening, closing = position.trades.values()
    assert opening.executed_price == pytest.approx(1686.634, abs=1e-3)
    assert opening.executed_quantity == pytest.approx(Decimal("-18.9157717502"), abs=Decimal("5e-11"))
    assert position.get_original_stop_loss() == near(1708.6270878474588)
    assert opening.plan.loan.liquidation_price == pytest.approx(1797.4418622, abs=5e-8)
    assert closing.trade_type is TradeType.stop_loss
    assert closing.executed_at == datetime(2023, 1, 4)
    assert closing.executed_price == near(1722.507187941585)
    assert position.get_realised_profit_usd() == near(-678.5528052509759)
    assert result.state.portfolio.get_cash() == near(9321.153949134561)


# -- S15 (a): credit flow ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s15a() -> BacktestResult:
    return run_credit_flow()


def test_s15a_credit_flow(s15a):
    credit = [position for position in positions(s15a) if position.is_credit_supply()]
    assert len(s15a.state.portfolio.get_all_trades()) == 87
    assert len(credit) == 10
    assert float(s15a.equity_curve.iloc[-1]) == near(10106.00195648053)
    assert s15a.state.portfolio.get_cash() == near(504.74636933616534)
    assert sum(p.get_total_profit_usd() for p in credit) == pytest.approx(76.8234503286251, rel=0.01)
