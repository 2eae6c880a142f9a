"""Simulated execution: perfect fills, a wallet that cannot go negative, and accounts that agree."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tape import AAVE_USDC, START, USDC, WETH_USDC, Desk, run_on, token, universe_of

from trading_dagster.domain.error import (
    AccountingMismatch,
    AutoClosingOrderUnsupported,
    BacktestExecutionFailed,
    NotEnoughMoney,
    OutOfSimulatedBalance,
)
from trading_dagster.domain.event import TradePlanned
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeFlag, TradePlan, TradeStatus, TradeType
from trading_dagster.execution.wallet import SimulatedWallet, check_wallet

WETH = WETH_USDC.base


@pytest.fixture
def desk() -> Desk:
    return Desk({WETH_USDC: [100.0, 110.0], AAVE_USDC: [50.0, 50.0]})


def hold(desk: Desk, value: float = 1000, pair=WETH_USDC, **triggers):
    desk.execute(desk.manager.open_spot(pair, value, **triggers))
    return desk.portfolio.open_positions[max(desk.portfolio.open_positions)]


# -- wallet -----------------------------------------------------------------------------------------------------------


def test_wallet_adds_exactly_and_never_goes_below_zero():
    wallet = SimulatedWallet({USDC: Decimal("0.3")})
    wallet.add(USDC, Decimal("-0.1"))
    assert wallet.get_balance(USDC) == Decimal("0.2")
    assert wallet.get_balance(WETH) == 0
    with pytest.raises(OutOfSimulatedBalance, match=r"has 0\.2 USDC and cannot give 0\.21: 0\.01 are missing"):
        wallet.add(USDC, Decimal("-0.21"))
    assert wallet.get_balance(USDC) == Decimal("0.2")
    wallet.add(USDC, Decimal("-0.2"))
    assert wallet.get_balance(USDC) == 0


def test_wallet_does_not_share_the_balances_it_begins_with():
    balances = {USDC: Decimal(1)}
    SimulatedWallet(balances).add(USDC, Decimal(1))
    assert balances == {USDC: 1}


# -- fills ------------------------------------------------------------------------------------------------------------


def test_buy_spends_its_reserve_and_sell_gives_its_quantity(desk):
    (buy,) = desk.execute(desk.manager.open_spot(AAVE_USDC, 1000))
    assert buy.executed_reserve == 1000
    assert buy.executed_quantity == Decimal(1000) / Decimal(50 * 1.003)
    assert buy.executed_price == pytest.approx(50 * 1.003, rel=1e-15)
    assert buy.lp_fees_paid == buy.lp_fees_estimated == pytest.approx(3)
    assert buy.executed_at == START
    (sell,) = desk.execute(desk.manager.close_all())
    assert sell.executed_quantity == -buy.executed_quantity
    assert sell.executed_reserve == buy.executed_quantity * Decimal(50 * 0.997)
    assert sell.executed_price == pytest.approx(50 * 0.997, rel=1e-15)
    assert sell.lp_fees_paid == pytest.approx(float(buy.executed_quantity) * 50 * 0.003)
    assert desk.wallet.get_balance(AAVE_USDC.base) == 0
    assert desk.wallet.get_balance(USDC) == desk.portfolio.reserve.quantity == 9000 + sell.executed_reserve


def plan_sell(desk: Desk, quantity: Decimal):
    """Plan a sell of position #1 as it is asked for, whatever there is."""
    pricing = desk.pricing.get_sell_price(START, WETH_USDC, float(quantity))
    number = desk.portfolio.next_trade_id
    plan = TradePlan(number, 1, WETH_USDC, TradeType.rebalance, -quantity, quantity * 100, pricing, USDC)
    desk.state.record(TradePlanned(to_aware(START), plan))
    return desk.portfolio.open_positions[1].trades[number]


@pytest.mark.parametrize("excess", ["1e-9", "1e-12", "1e-20"])
def test_sell_that_exceeds_the_wallet_by_rounding_is_cut_to_it(desk, excess):
    position = hold(desk)
    (trade,) = desk.execute([plan_sell(desk, 10 + Decimal(excess))])
    assert (trade.executed_quantity, trade.executed_reserve, trade.executed_price) == (-10, 1000, 100)
    assert (desk.wallet.get_balance(WETH), desk.portfolio.reserve.quantity) == (0, 10_000)
    assert position.is_closed()


def test_sell_that_exceeds_the_wallet_by_more_than_rounding_fails(desk):
    hold(desk)
    with pytest.raises(BacktestExecutionFailed, match=r"cannot give 10\.0000000011"):
        desk.execute([plan_sell(desk, 10 + Decimal("1.1e-9"))])


def test_sell_that_exceeds_the_wallet_by_more_fails_and_lists_the_trades_and_cash(desk):
    position = hold(desk)
    other = hold(desk, pair=AAVE_USDC)
    trades = desk.manager.close_position(other) + desk.manager.close_position(position)
    desk.wallet.balances[WETH] -= Decimal("1.1e-9")
    with pytest.raises(BacktestExecutionFailed) as error:
        desk.execute(trades)
    for part in ("sell 10 WETH", "sell 19.9", "AAVE", "2022-01-03 00:00:00", "Cash 8000", "are missing"):
        assert part in str(error.value)
    assert isinstance(error.value.__cause__, OutOfSimulatedBalance)


def test_buy_beyond_cash_fails_and_lists_the_trades_and_cash(desk):
    trades = desk.manager.open_spot(WETH_USDC, 6000) + desk.manager.open_spot(AAVE_USDC, 5000)
    with pytest.raises(BacktestExecutionFailed) as error:
        desk.execute(trades)
    for part in ("5000", "cash is 4000", "buy for less or sell first", "buy 60 WETH @ 100.0 success", "Cash 4000"):
        assert part in str(error.value)
    assert isinstance(error.value.__cause__, NotEnoughMoney)
    assert trades[1].get_status() is TradeStatus.planned
    assert desk.wallet.get_balance(USDC) == desk.portfolio.reserve.quantity == 4000


def test_overspending_ends_a_backtest_with_its_time():
    def decide(input):
        return input.get_position_manager().open_spot(WETH_USDC, 101) if input.cycle == 2 else []

    with pytest.raises(BacktestExecutionFailed, match="2022-01-03 01:00:00"):
        run_on(universe_of({WETH_USDC: [100.0] * 4}), decide, cycles=4, cash=100)


# -- accounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asset", "drift", "agrees"),
    [
        (WETH, "1e-10", True),
        (WETH, "1.1e-8", False),
        (WETH, "-1.1e-8", False),
        (WETH, "9e-9", True),
        (USDC, "8e-6", True),
        (USDC, "1e-5", False),
        (AAVE_USDC.base, "1e-10", True),
        (AAVE_USDC.base, "1.1e-10", False),
    ],
)
def test_ledger_and_wallet_agree_to_1e_9_or_within_dust(desk, asset, drift, agrees):
    hold(desk)
    desk.wallet.balances[asset] = desk.wallet.get_balance(asset) + Decimal(drift)
    if agrees:
        check_wallet(desk.state, desk.wallet)
        return
    with pytest.raises(AccountingMismatch, match=rf"The ledger has .* {asset.token_symbol} but the wallet has"):
        check_wallet(desk.state, desk.wallet)


def test_drift_is_found_after_the_batch_that_touches_the_asset(desk):
    hold(desk)
    desk.wallet.balances[WETH] += Decimal(1)
    with pytest.raises(AccountingMismatch, match="ledger has 11 WETH but the wallet has 12"):
        desk.execute(desk.manager.adjust_position(WETH_USDC, 100, None, 0.1))


def test_drift_is_never_repaired(desk):
    hold(desk)
    desk.wallet.balances[WETH] += Decimal(1)
    with pytest.raises(AccountingMismatch):
        check_wallet(desk.state, desk.wallet)
    assert desk.wallet.get_balance(WETH) == 11
    assert desk.manager.get_current_position().get_quantity() == 10


def test_token_in_the_wallet_that_the_ledger_does_not_know_is_found(desk):
    desk.wallet.add(token(77, "DROP"), Decimal(5))
    with pytest.raises(AccountingMismatch, match="ledger has 0 DROP but the wallet has 5"):
        check_wallet(desk.state, desk.wallet)


def test_two_positions_on_one_token_are_added_up(desk):
    hold(desk)
    desk.execute(desk.manager.open_spot(WETH_USDC, 500, flags={TradeFlag.ignore_open}))
    check_wallet(desk.state, desk.wallet)
    assert desk.wallet.get_balance(WETH) == 15


# -- triggers without a feed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trigger", [{"stop_loss_pct": 0.9}, {"take_profit_pct": 1.1}, {"trailing_stop_loss_pct": 0.9}], ids=repr
)
def test_trade_with_a_trigger_needs_a_stop_loss_feed(trigger):
    desk = Desk({WETH_USDC: [100.0]}, has_feed=False)
    with pytest.raises(AutoClosingOrderUnsupported) as error:
        desk.execute(desk.manager.open_spot(WETH_USDC, 100, **trigger))
    for part in ("WETH-USDC", "no stop-loss candles", "stop_loss_time_bucket"):
        assert part in str(error.value)


def test_trade_without_trigger_needs_no_feed():
    desk = Desk({WETH_USDC: [100.0]}, has_feed=False)
    desk.execute(desk.manager.open_spot(WETH_USDC, 100))
    assert desk.manager.is_any_open()


def test_any_later_trade_of_a_position_with_a_trigger_needs_a_feed():
    desk = Desk({WETH_USDC: [100.0]}, has_feed=False)
    desk.execute(desk.manager.open_spot(WETH_USDC, 100))
    desk.manager.update_stop_loss(desk.manager.get_current_position(), 90.0)
    with pytest.raises(AutoClosingOrderUnsupported):
        desk.execute(desk.manager.adjust_position(WETH_USDC, 100, None, 0.1))


def test_backtest_without_feed_refuses_triggers_and_with_one_accepts_them():
    opens = {WETH_USDC: [100.0] * 4, AAVE_USDC: [50.0] * 4}

    def decide(input):
        if input.cycle > 1:
            return []
        return input.get_position_manager().open_spot(AAVE_USDC, 100, stop_loss_pct=0.9)

    with pytest.raises(AutoClosingOrderUnsupported):
        run_on(universe_of(opens), decide, cycles=3)
    with pytest.raises(AutoClosingOrderUnsupported, match="AAVE-USDC has no stop-loss candles"):
        run_on(universe_of(opens, feed={WETH_USDC: [100.0] * 4}), decide, cycles=3)
    assert len(run_on(universe_of(opens, feed=opens), decide, cycles=3).trades) == 1


def test_wallet_gives_all_it_has_though_its_last_digit_differs():
    wallet = SimulatedWallet({USDC: Decimal(10)})
    wallet.add(USDC, Decimal("-10.0000000000000000000000001"))
    assert wallet.get_balance(USDC) == 0
    with pytest.raises(OutOfSimulatedBalance, match="are missing"):
        wallet.add(USDC, Decimal("-1e-17"))
