"""Acceptance scenarios of shorts and credit supply: the engine must reproduce every number to the digits given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.loan_scenario import (
    APRS,
    LoanParameters,
    lending_universe,
    open_short_and_close,
    open_short_and_hold,
    open_short_with_stop_loss,
    run_credit_flow,
    run_with_loans,
)
from tests.scenario import DEX, USDC, WETH_USDC
from tests.test_scenarios import near, positions
from trading_dagster.accounting.simulated_treasury import SimulatedTreasury
from trading_dagster.backtest import BacktestRun, plan_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.event import InterestAccrued, StateCreated
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.loan import Loan, LoanSide, estimate_interest
from trading_dagster.domain.portfolio import StoredMarks
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import TimeBucket, to_aware, to_unix_us
from trading_dagster.domain.trade import TradeExecution, TradeType
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.execution.simulated import SimulatedExecution
from trading_dagster.execution.wallet import SimulatedWallet
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.lending import LendingUniverse
from trading_dagster.market.lending_market import LendingMarkets
from trading_dagster.market.synthetic import (
    generate_fixed_price_candles,
    generate_lending_reserve,
    generate_lending_universe,
)
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.pricing.candle_pricing import CandleMarks, CandlePricing, FeeSchedule
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.position_manager import PositionManager

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


# -- S10: short accounting at fixed prices, no interest ---------------------------------------------------------------


class Desk:
    """A position manager and a simulated venue at fixed prices, without a loop."""

    def __init__(self, prices: dict[TradingPairIdentifier, float]) -> None:
        pairs = tuple(prices)
        reserves = [generate_lending_reserve(USDC, 1)]
        reserves += [generate_lending_reserve(pair.base, number) for number, pair in enumerate(pairs, 2)]
        rates = generate_lending_universe(TimeBucket.d1, S10_START, S10_END, reserves, APRS)
        self.universe = TradingStrategyUniverse.create_from_dataset(
            Dataset(
                time_bucket=TimeBucket.d1,
                exchanges=(DEX,),
                pairs=pairs,
                candles=generate_fixed_price_candles(TimeBucket.d1, S10_START, S10_END, prices),
                lending_candles=rates,
            ),
            USDC,
        )
        self.clock = DecisionClock([to_unix_us(S10_START)])
        fees = FeeSchedule(USDC, pairs)
        self.pricing = CandlePricing(self.universe.candles, fees, self.clock)
        self.state = State(
            StateCreated(to_aware(S10_START), "desk", USDC), CandleMarks(self.universe.candles, None, fees, self.clock)
        )
        self.wallet = SimulatedWallet()
        self.execution = SimulatedExecution(self.wallet, lambda _pair: True)
        treasury = SimulatedTreasury(self.wallet.add)
        treasury.simulate_funding(S10_START, 10_000)
        treasury.sync_treasury(S10_START, self.state)

    @contextmanager
    def day(self, number: int) -> Iterator[PositionManager]:
        self.clock.stand_at(to_unix_us(S10_START + timedelta(days=number)))
        yield PositionManager(self.clock, self.universe, self.state, self.pricing)

    def execute(self, trades: list[TradeExecution]) -> None:
        self.execution.execute_trades(self.clock.timestamp, self.state, trades)


S10_START, S10_END = datetime(2022, 1, 1), datetime(2022, 1, 10)
AAVE_USDC = TradingPairIdentifier(
    AssetIdentifier(ChainId.ethereum, "0x03", "AAVE", 18), USDC, "0x12", DEX.address, internal_id=2, fee=0.003
)


def short_and_close(shorts: dict[TradingPairIdentifier, float]) -> Desk:
    desk = Desk({WETH_USDC: 1670.0, AAVE_USDC: 100.0})
    with desk.day(1) as manager:
        desk.execute([trade for pair, value in shorts.items() for trade in manager.open_short(pair, value)])
    with desk.day(2) as manager:
        desk.execute(manager.close_all())
    return desk


@pytest.mark.parametrize(
    ("shorts", "cash"),
    [({WETH_USDC: 500.0}, 9996.995486459378), ({WETH_USDC: 500.0, AAVE_USDC: 300.0}, 9995.192778335006)],
)
def test_s10_shorts_at_fixed_prices(shorts, cash):
    desk = short_and_close(shorts)
    assert desk.state.portfolio.get_cash() == near(cash)
    assert desk.state.portfolio.calculate_total_equity() == near(cash)
    held = {asset.token_symbol: quantity for asset, quantity in desk.wallet.balances.items() if asset != USDC}
    assert {round(quantity, 12) for quantity in held.values()} == {0}
    assert set(held) >= {"aUSDC", "vWETH"}


# -- S11: loan arithmetic ---------------------------------------------------------------------------------------------

S11_AT = datetime(2020, 1, 1)


class Loans:
    """A state with one short at prices of the test's choice."""

    def __init__(self) -> None:
        self.marks = StoredMarks()
        self.state = State(StateCreated(to_aware(S11_AT), "loans", USDC), self.marks)
        self.wallet = SimulatedWallet()
        treasury = SimulatedTreasury(self.wallet.add)
        treasury.simulate_funding(S11_AT, 10_000)
        treasury.sync_treasury(S11_AT, self.state)
        lent, owed = generate_lending_reserve(USDC, 1), generate_lending_reserve(WETH_USDC.base, 2)
        universe = LendingUniverse(TimeBucket.d1, (lent, owed), {})
        self.pair = LendingMarkets(universe, USDC).get_shorting_pair(WETH_USDC)

    def trade(self, quantity: Decimal, allocation: Decimal | None, price: float, **options: Any) -> TradingPosition:
        position, trade, _ = self.state.trade_short(S11_AT, self.pair, quantity, allocation, price, **options)
        SimulatedExecution(self.wallet, lambda _pair: True).execute_trades(S11_AT, self.state, [trade])
        self.price(price)
        return position

    def price(self, price: float) -> None:
        self.marks.prices[self.pair] = price

    @property
    def cash(self) -> float:
        return self.state.portfolio.get_cash()

    @property
    def equity(self) -> float:
        return self.state.portfolio.calculate_total_equity()


def digits(value: float) -> object:
    return pytest.approx(value, abs=5e-7)


def short_at(leverage: Decimal) -> tuple[Loans, TradingPosition]:
    loans = Loans()
    return loans, loans.trade(-1000 * leverage / 1500, Decimal(1000), 1500.0)


def loan_of(position: TradingPosition) -> tuple[Loan, LoanSide]:
    loan = position.loan
    assert loan is not None
    assert loan.borrowed is not None
    return loan, loan.borrowed


def test_s11_loan_at_a_loan_to_value_of_its_reserve():
    loans, position = short_at(Decimal("0.8"))
    loan, borrowed = loan_of(position)
    assert float(loan.collateral.quantity) == digits(1800)
    assert float(borrowed.quantity) == digits(0.533333)
    assert loan.get_loan_to_value() == digits(0.444444)
    assert loan.get_health_factor() == digits(1.9125)
    assert loan.get_leverage() == digits(0.8)
    assert (loans.cash, loans.equity) == (9000, near(10_000))
    loans.price(1400)
    assert position.get_unrealised_profit_usd() == digits(53.333333)
    assert loan_of(position)[0].get_loan_to_value() == near(0.4148148148148148)
    assert loans.equity == near(10053.333333333334)


def test_s11_repaying_half_and_keeping_the_rest_as_collateral():
    loans, position = short_at(Decimal(1))
    loans.trade(-position.get_quantity() / 2, None, 1400.0)
    loan, _ = loan_of(position)
    assert position.get_realised_profit_usd() == digits(33.333333)
    assert position.get_unrealised_profit_usd() == digits(33.333333)
    assert float(loan.collateral.quantity) == digits(1533.333333)
    assert loan.get_loan_to_value() == near(0.3043478260869565)
    assert loan.get_leverage() == near(0.4375)
    assert loans.equity == digits(10066.666667)
    assert loans.cash == 9000


@pytest.mark.parametrize(
    ("price", "cash", "profit"), [(1400.0, 10066.666667, 66.666667), (1600.0, 9933.333333, -66.666667)]
)
def test_s11_closing_everything(price, cash, profit):
    loans, position = short_at(Decimal(1))
    loans.trade(-position.get_quantity(), None, price, closing=True)
    assert position.is_closed()
    assert loans.cash == digits(cash)
    assert position.get_realised_profit_usd() == digits(profit)


def test_s11_releasing_collateral_raises_the_leverage():
    loans, position = short_at(Decimal(1))
    loans.price(1600)
    loan, borrowed = loan_of(position)
    target = loan.calculate_collateral_for_target_leverage(3, borrowed.quantity)
    loans.trade(Decimal(0), target - loan.collateral.quantity, 1600.0)
    loan, borrowed = loan_of(position)
    assert float(loan.collateral.quantity) == digits(1422.222222)
    assert float(borrowed.quantity) == digits(0.666667)
    assert loan.get_health_factor() == digits(1.133333)
    loans.price(1700)
    loan, _ = loan_of(position)
    assert loan.get_leverage() == near(3.923076923076926)
    assert loan.get_health_factor() == digits(1.066667)
    assert loans.equity == digits(9866.666667)


def test_s11_three_times_leverage():
    loans, position = short_at(Decimal(3))
    loan, borrowed = loan_of(position)
    assert (loan.collateral.quantity, borrowed.quantity) == (4000, 2)
    assert position.liquidation_price == near(1700)
    assert loan.get_liquidation_price() == near(1700)
    loans.price(1400)
    assert position.get_unrealised_profit_usd() == near(200)


@pytest.mark.parametrize(
    ("end", "borrow_rate", "price", "interest", "value"),
    [
        (datetime(2020, 6, 1), 1.10, 1400.0, (14.905206376357327, 30.23180193135126), 1038.0067377783394),
        (datetime(2020, 12, 31), 1.50, 1600.0, (36.0, 426.666667), 556.0),
    ],
)
def test_s11_interest(end, borrow_rate, price, interest, value):
    loans, position = short_at(Decimal("0.8"))
    loan, borrowed = loan_of(position)
    for side, rate in ((loan.collateral, 1.02), (borrowed, borrow_rate)):
        grown = estimate_interest(S11_AT, end, side.quantity, rate)
        update = BalanceUpdate(
            balance_update_id=loans.state.portfolio.next_balance_update_id,
            cause=BalanceUpdateCause.interest,
            position_type=BalanceUpdatePositionType.open_position,
            asset=side.asset,
            quantity=grown - side.quantity,
            old_balance=side.quantity,
            usd_value=0.0,
            block_mined_at=end,
            strategy_cycle_included_at=end,
            position_id=position.position_id,
        )
        loans.state.record(InterestAccrued(to_aware(end), update))
    loans.price(price)
    loan, borrowed = loan_of(position)
    assert (loan.get_collateral_interest(), loan.get_borrow_interest()) == pytest.approx(interest, abs=5e-7)
    assert loan.get_net_asset_value() == near(value)
    assert loans.equity == near(9000 + value)
    if end == datetime(2020, 6, 1):
        assert float(loan.collateral.total) == near(1814.905206376357)
        assert float(borrowed.total) == near(0.5549274775700128)
