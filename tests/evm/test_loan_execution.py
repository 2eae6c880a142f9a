"""Shorts and credit supply of a ledger on Aave's own contracts: fills are the chain's to the unit, failures too."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from evm.deployment import Rig
from evm.deployment_aave import Aave
from evm.loan_trader import LoanTrader

from trading_dagster.domain.trade import TradeExecution, TradeStatus, TradeType
from trading_dagster.evm.alarm import AlarmKind, Step
from trading_dagster.evm.execution import TradeExecutionSetting
from trading_dagster.evm.swap_intent import SwapLimits


@pytest.fixture
def trader(deployed_aave: Aave, rig: Rig) -> LoanTrader:
    trader = LoanTrader(rig, aave=deployed_aave)
    trader.fund()
    return trader


def test_credit_supply_comes_back_with_its_interest_as_the_chain_gave_it(trader: LoanTrader):
    trade = trader.supply(1_000.1)
    trader.execute(trade)
    position = trader.state.portfolio.open_positions[1]
    assert trade.get_status() is TradeStatus.success
    assert position.loan.collateral.total == Decimal("1000.1")
    assert abs(trader.units_apart(trader.ausd)) <= 1
    trader.require_wallet_equals_ledger()

    back = trader.withdraw(position)
    trader.execute(back)

    assert back.get_status() is TradeStatus.success
    assert position.is_closed()
    assert trader.units_apart(trader.ausd) == 0
    assert trader.balance(trader.ausd) == 0
    trader.require_wallet_equals_ledger()
    assert back.fill.gas_cost > 0


def test_short_is_opened_and_closed_and_the_ledger_is_the_chain(trader: LoanTrader):
    opened = trader.open_short(8_000)
    trader.execute(opened)
    position = trader.state.portfolio.open_positions[1]
    fill = opened.fill
    assert opened.get_status() is TradeStatus.success
    assert fill.quantity == opened.planned_quantity.quantize(Decimal("1e-18"), rounding="ROUND_UP")
    assert fill.loan.collateral_allocation == 8_000
    assert fill.loan.collateral_consumption == pytest.approx(Decimal(8_000 * 0.997), rel=Decimal("0.005"))
    assert fill.price == pytest.approx(float(fill.loan.collateral_consumption) / 2, rel=1e-4)
    assert position.liquidation_price == pytest.approx(0.85 * 15_976 / 2, rel=0.005)
    assert abs(trader.units_apart(trader.ausd)) <= 2
    assert abs(trader.units_apart(trader.veth)) < 10**12
    trader.require_wallet_equals_ledger()

    closed = trader.close_short(position)
    trader.execute(closed)

    assert closed.get_status() is TradeStatus.success
    assert position.is_closed()
    assert position.loan.collateral.total == position.loan.borrowed.total == 0
    assert (trader.balance(trader.ausd), trader.balance(trader.veth)) == (0, 0)
    trader.require_wallet_equals_ledger()
    assert trader.state.portfolio.dust[trader.pairs.eth_usd.base] > 0
    assert trader.rig.alarms == []


def test_short_and_credit_supply_share_a_token_and_each_gets_its_own_back(trader: LoanTrader):
    trader.execute(trader.supply(5_000))
    trader.execute(trader.open_short(8_000))
    credit, short = trader.state.portfolio.open_positions.values()
    trader.execute(trader.close_short(short))
    assert short.is_closed()
    assert trader.balance(trader.veth) == 0
    assert trader.balance(trader.ausd) == pytest.approx(Decimal(5_000), abs=Decimal("0.01"))
    trader.require_wallet_equals_ledger()
    trader.execute(trader.withdraw(credit))
    assert trader.balance(trader.ausd) == 0
    assert credit.is_closed()
    trader.require_wallet_equals_ledger()


def test_part_of_a_short_is_paid_back_and_released(trader: LoanTrader):
    trader.execute(trader.open_short(8_000))
    position = trader.state.portfolio.open_positions[1]
    trade = trader.reduce_short(position, "0.5", "1000")
    trader.execute(trade)
    assert trade.get_status() is TradeStatus.success
    assert trade.fill.quantity == Decimal("0.5")
    assert trade.fill.loan.collateral_allocation == pytest.approx(Decimal(-1000), abs=20)
    assert position.is_open()
    assert abs(trader.units_apart(trader.ausd)) <= 3
    trader.require_wallet_equals_ledger()


def test_refused_before_it_begins_it_is_dropped_and_nothing_is_sent(trader: LoanTrader):
    trader.aave.pause(trader.rig.market.eth)
    trade = trader.open_short(8_000)
    trader.execute(trade)
    assert trade.get_status() is TradeStatus.discarded
    assert "ETH cannot be borrowed: the reserve is paused" in trade.failure
    assert trader.rig.journal.list_finished(trader.rig.account, 0) == []
    trader.require_wallet_equals_ledger()


def test_short_whose_sale_is_refused_is_booked_as_it_is_and_frozen(trader: LoanTrader):
    """The price falls after everything was checked: the borrowed tokens pay back, dust is owed, collateral stays."""
    trade = trader.open_short(8_000)
    moved = []

    def move_price_once(step, intent_id: str) -> None:
        if not moved and step.value == "planned" and intent_id.endswith("step-2"):
            moved.append(intent_id)
            trader.sell_eth_of_others(40)

    trader.execute(trade, observe=move_price_once)

    position = trader.state.portfolio.frozen_positions[1]
    assert moved
    assert trade.get_status() is TradeStatus.success
    assert trade.fill.loan.collateral_allocation == 8_000
    assert 0 <= -trade.fill.quantity < Decimal("1e-5")
    assert "INSUFFICIENT_OUTPUT_AMOUNT" in position.notes
    assert [alarm.kind for alarm in trader.rig.alarms] == [AlarmKind.loan_incomplete]
    trader.require_wallet_equals_ledger()
    assert abs(trader.units_apart(trader.ausd)) <= 1
    assert abs(trader.units_apart(trader.veth)) < 10**12


@pytest.mark.parametrize("trade_type", [TradeType.stop_loss, TradeType.rebalance])
def test_exit_of_a_short_that_was_taken_back_is_tried_again_if_a_stop_loss_made_it(
    trader: LoanTrader, trade_type: TradeType
):
    """The price rises whenever the debt is to be bought back: the trade turns round, and the short is as it was."""
    trader.execute(trader.open_short(8_000))
    position = trader.state.portfolio.open_positions[1]
    debt = trader.balance(trader.veth)

    def move_price(step, intent_id: str) -> None:
        if step.value == "planned":
            trader.buy_eth_of_others(40_000)

    closed = trader.close_short(position, slippage=0.001, trade_type=trade_type)
    trader.execute(closed, observe=move_price)

    is_fired = trade_type is TradeType.stop_loss
    assert closed.get_status() is (TradeStatus.discarded if is_fired else TradeStatus.failed)
    assert "the price moved beyond the slippage tolerance" in closed.failure
    assert trader.balance(trader.veth) >= debt
    assert list(trader.state.portfolio.open_positions) == [1] * is_fired
    if is_fired:
        again = trader.close_short(position, trade_type=trade_type)
        trader.execute(again)
        assert again.get_status() is TradeStatus.success
        assert position.is_closed()
    trader.require_wallet_equals_ledger()


def test_short_that_cannot_borrow_is_taken_back_and_failed(trader: LoanTrader):
    trade = trader.open_short(8_000)

    def forbid_once(step, intent_id: str) -> None:
        if step.value == "finished" and intent_id.endswith("step-1"):
            trader.aave.pause(trader.rig.market.eth)

    trader.execute(trade, observe=forbid_once)

    assert trade.get_status() is TradeStatus.failed
    assert "the reserve is paused" in trade.failure or "29" in trade.failure
    assert list(trader.state.portfolio.frozen_positions) == [1]
    assert trader.balance(trader.ausd) == 0
    trader.require_wallet_equals_ledger()


def test_time_that_is_up_leaves_a_trade_to_be_gone_on_with(trader: LoanTrader):
    trade = trader.open_short(4_000)
    now = TradeExecutionSetting(timeout_s=0, lookback_blocks=200)
    trader.execute(trade, setting=now)
    count = 0
    while trade.get_status() is TradeStatus.broadcasted:
        assert trader.state.portfolio.reserve.quantity == 1_000_000 - 4_000
        trader.mine(1)
        trader.resume(setting=now)
        count += 1
        assert count < 100
    assert count > 5
    assert trade.get_status() is TradeStatus.success
    trader.require_wallet_equals_ledger()


def execute_with_snapshot(trader: LoanTrader, trade: TradeExecution) -> str:
    """Execute a trade; return the snapshot of the chain at which its last sale was about to be signed."""
    snapshots: list[str] = []

    def observe(step: Step, intent_id: str) -> None:
        if step is Step.signing_began and trader.rig.journal.find(intent_id).intent.function.startswith("swap"):
            snapshots.append(trader.rig.market.node.rpc("evm_snapshot"))

    trader.execute(trade, observe=observe)
    assert trade.get_status() is TradeStatus.success
    return snapshots[-1]


def reorganise(trader: LoanTrader, snapshot: str, *, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Take back every block since a snapshot, and mine others of the same number, with what happened in their place."""
    node = trader.rig.market.node
    height = node.head()
    assert node.rpc("evm_revert", snapshot)
    meanwhile()
    node.mine(height - node.head())


def test_after_a_reorg_that_changes_nothing_nothing_is_booked(trader: LoanTrader):
    snapshot = execute_with_snapshot(trader, trader.open_short(8_000))
    events = len(trader.state.new_events)
    reorganise(trader, snapshot)
    assert trader.resume() == []
    assert AlarmKind.reorganised in [alarm.kind for alarm in trader.rig.alarms]
    trader.require_wallet_equals_ledger()
    assert len(trader.state.new_events) == events


def test_reorg_that_changes_the_sale_of_a_short_is_booked_as_a_correction(trader: LoanTrader):
    opened = trader.open_short(8_000)
    snapshot = execute_with_snapshot(trader, opened)
    before = net_asset_value(trader, opened.position_id)
    reorganise(trader, snapshot, meanwhile=lambda: trader.sell_eth_of_others(5))

    require_correction_once(trader)

    assert net_asset_value(trader, opened.position_id) < before, "it was sold for less"
    trader.require_wallet_equals_ledger()


def test_reorg_of_long_ago_that_undid_the_sale_of_a_short_is_booked_and_leaves_what_was_borrowed(trader: LoanTrader):
    opened = trader.open_short(8_000)
    snapshot = execute_with_snapshot(trader, opened)
    cash = trader.state.portfolio.reserve.quantity
    reorganise(trader, snapshot)
    trader.rig.market.node.mine(SwapLimits().deadline_s + 1)  # the sale may not be sent again

    require_correction_once(trader)

    assert trader.state.portfolio.reserve.quantity == trader.balance(trader.pairs.usd)
    assert trader.state.portfolio.reserve.quantity < cash, "what the sale should have brought was supplied from cash"
    assert 0 < trader.balance(trader.pairs.eth_usd.base) < -opened.fill.quantity, "the check of accounts tells of it"


def require_correction_once(trader: LoanTrader) -> None:
    """Fail unless going on books a correction, after which the loan is the chain's, and nothing the second time."""
    assert trader.resume() == []
    assert AlarmKind.settlement_changed in [alarm.kind for alarm in trader.rig.alarms]
    assert abs(trader.units_apart(trader.ausd)) <= 2
    assert abs(trader.units_apart(trader.veth)) < 10**12
    events = len(trader.state.new_events)
    assert trader.resume() == []
    assert len(trader.state.new_events) == events


def net_asset_value(trader: LoanTrader, position_id: int) -> Decimal:
    """Return cash and collateral, for a debt that stays the same."""
    portfolio = trader.state.portfolio
    return portfolio.reserve.quantity + portfolio.open_positions[position_id].loan.collateral.total
