"""Orders of a vault that settles later: asked for, claimed and booked exactly once, on a real node, to the unit."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from evm.request_trader import (
    GIVE_BACK,
    LOSE,
    PAY,
    SET_CLOSED,
    SET_LATER,
    SET_NUMBERED,
    SET_PAUSED,
    SET_ROUNDING,
    SETTLE,
    SHARE,
    USD,
    RequestTrader,
)
from evm.test_execution import SHORT, trade_id_of
from evm.test_transaction import kinds

from trading_dagster.domain.event import PairIntroduced
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.domain.transaction import Finished, InFlight, OutcomeStatus
from trading_dagster.evm.alarm import AlarmKind, Step
from trading_dagster.evm.erc20 import transfer
from trading_dagster.evm.past_price import PastPrices
from trading_dagster.evm.request_fill import is_given_back
from trading_dagster.evm.request_settlement import REVERTED_BLOCKS
from trading_dagster.evm.vault_dex import CONVERT_TO_ASSETS as CONVERT
from trading_dagster.evm.vault_dex import VaultDex
from trading_dagster.storage.event_codec import EventDecoder, encode_event

PENDING = TradeStatus.vault_settlement_pending


def asked_for(trader: RequestTrader, reserve: int = 1_000) -> TradeExecution:
    """Return a deposit that the vault took and did not settle."""
    buy = trader.buy(trader.shares, reserve)
    trader.execute(buy)
    assert buy.get_status() is PENDING, buy.failure
    return buy


def held_shares(trader: RequestTrader) -> TradeExecution:
    """Return a deposit that was settled and claimed."""
    buy = asked_for(trader)
    trader.settle(SETTLE, True, 1_000 * USD)
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.success
    return buy


def asked_back(trader: RequestTrader) -> TradeExecution:
    """Return a redemption of all shares that the vault took and did not settle."""
    position = trader.state.portfolio.open_positions[held_shares(trader).position_id]
    sell = trader.sell(position)
    trader.execute(sell)
    assert sell.get_status() is PENDING, sell.failure
    return sell


@pytest.mark.parametrize("is_numbered", [True, False])
def test_deposit_and_redemption_wait_are_claimed_and_end_at_the_settlements_price(
    request_trader: RequestTrader, is_numbered: bool
):
    trader, vault = request_trader, request_trader.vault
    vault.do(SET_NUMBERED, is_numbered)
    cash = trader.state.portfolio.reserve.quantity
    buy = trader.buy(trader.shares, Decimal("5000.1234567"))
    trader.execute(buy)
    assert buy.get_status() is PENDING
    assert buy.settles_at == to_naive(trader.now) + timedelta(days=1)
    assert trader.state.portfolio.get_pending_settlement_value() == pytest.approx(5000.123456)
    assert trader.state.portfolio.calculate_total_equity() == pytest.approx(float(cash))
    trader.require_books_equal_chain()
    assert trader.resume() == []
    assert buy.get_status() is PENDING, "nothing is settled yet"
    assert trader.treasury().sync_treasury(to_naive(trader.now), trader.state) == []

    vault.earn(250_000 * USD)
    trader.settle(SETTLE, True, 5_000_123_456)
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.success
    assert (buy.executed_quantity, buy.executed_reserve) == (Decimal("4000.0987648"), Decimal("5000.123456"))
    request, claim = (trader.rig.journal.find(f"{trade_id_of(buy)}{step}") for step in ("", "/claim-1"))
    assert request.intent.function == "requestDeposit(uint256,address,address)"
    assert claim.intent.function == "deposit(uint256,address,address)"
    assert buy.fill.tx_hash == claim.outcome.tx_hash
    assert buy.fill.gas_cost * 10**18 > request.outcome.gas_cost + claim.outcome.gas_cost, "and the approval's"
    trader.require_books_equal_chain()
    past = PastPrices(trader.client, trader.dex, {vault.address: VaultDex(vault.address, vault.address)})
    assert past.mid_before_fill(buy) == pytest.approx(1.25, rel=1e-9)

    position = trader.state.portfolio.open_positions[buy.position_id]
    sell = trader.sell(position)
    trader.execute(sell)
    assert (sell.get_status(), position.is_settling()) == (PENDING, True)
    assert trader.balance(trader.shares.base) == 0, "shares leave with the request"
    assert position.get_value() == pytest.approx(5_000.123456)
    trader.require_books_equal_chain()
    vault.earn(125_000 * USD)
    units = vault.market.node.call(vault.address, CONVERT, position.quantity.scaleb(18).to_integral_value().__int__())
    trader.settle(SETTLE, False, int(position.quantity * SHARE))
    assert trader.resume() == []
    assert sell.get_status() is TradeStatus.success
    assert sell.executed_reserve == Decimal(units[0]) / USD
    assert position.is_closed()
    trader.require_books_equal_chain()
    assert trader.rig.alarms == []


def test_order_in_two_parts_is_claimed_as_it_comes_and_ends_with_the_last(request_trader: RequestTrader):
    trader = request_trader
    sell = asked_back(trader)
    cash = trader.state.portfolio.reserve.quantity
    trader.settle(SETTLE, False, 400 * SHARE)
    assert trader.resume() == []
    assert sell.get_status() is PENDING
    assert sell.settlement_move.reserve == 400
    assert trader.state.portfolio.reserve.quantity == cash, "it is cash when the trade ends"
    trader.require_books_equal_chain()
    assert trader.treasury().sync_treasury(to_naive(trader.now), trader.state) == [], "what came is no deposit"
    trader.settle(SETTLE, False, 1 * SHARE)
    trader.resume()
    assert trader.rig.journal.find(f"{trade_id_of(sell)}/claim-2") is None, "it is not worth the gas"
    trader.settle(SETTLE, False, 599 * SHARE)
    assert trader.resume() == []
    assert (sell.get_status(), sell.executed_reserve) == (TradeStatus.success, 1_000)
    trader.require_books_equal_chain()


def test_state_is_the_same_when_its_events_are_read_again(request_trader: RequestTrader):
    trader = request_trader
    sell = asked_back(trader)
    trader.settle(SETTLE, False, 400 * SHARE)
    trader.resume()
    decoder = EventDecoder(trader.pairs.all)
    again = State.replay([decoder.decode(encode_event(event)) for event in known_pairs_first(trader)])
    trade = again.portfolio.get_settling_trades()[0]
    assert (trade.settles_at, trade.settlement_move) == (sell.settles_at, sell.settlement_move)
    assert again.portfolio.get_reserve_settling() == 400


def known_pairs_first(trader: RequestTrader):
    first, *others = trader.state.new_events
    return [first, *(PairIntroduced(trader.now, pair) for pair in trader.pairs.all), *others]


@pytest.mark.parametrize("is_deposit", [True, False])
def test_order_that_the_vault_gives_back_ends_without_effect_and_can_be_made_again(
    request_trader: RequestTrader, is_deposit: bool
):
    trader, node = request_trader, request_trader.rig.market.node
    trade = asked_for(trader) if is_deposit else asked_back(trader)
    before = trader.state.portfolio.calculate_total_equity()
    trader.settle(GIVE_BACK, is_deposit, 1_000 * (USD if is_deposit else SHARE))
    assert trader.treasury().sync_treasury(to_naive(trader.now), trader.state) == [], "what came back is no deposit"
    assert trader.resume() == [trade], "a reorg could still bring the request back"
    node.mine(10)
    assert trader.resume() == []
    assert trade.get_status() is TradeStatus.failed
    assert "the vault gave back what it was given" in trade.failure
    assert is_given_back(trade)
    assert trade.position_id in trader.state.portfolio.frozen_positions
    assert trader.state.portfolio.get_net_asset_value() == pytest.approx(before)
    trader.require_books_equal_chain()
    assert trader.resume() == []
    assert AlarmKind.settlement_changed not in kinds(trader.rig)


def test_order_that_is_settled_in_part_and_given_back_for_the_rest_ends_with_the_part(request_trader: RequestTrader):
    trader = request_trader
    sell = asked_back(trader)
    trader.settle(SETTLE, False, 400 * SHARE)
    trader.settle(GIVE_BACK, False, 600 * SHARE)
    trader.rig.market.node.mine(10)
    assert trader.resume() == [sell], "its claim is not final yet"
    trader.rig.market.node.mine(10)
    assert trader.resume() == []
    assert (sell.get_status(), sell.executed_quantity, sell.executed_reserve) == (TradeStatus.success, -400, 400)
    assert trader.state.portfolio.open_positions[sell.position_id].quantity == 600
    trader.require_books_equal_chain()
    assert trader.rig.alarms == []


def test_rest_that_is_rounding_does_not_keep_an_order_waiting(request_trader: RequestTrader):
    trader = request_trader
    trader.vault.do(SET_ROUNDING, 1)
    buy = held_shares(trader)
    assert buy.executed_quantity == pytest.approx(Decimal(1_000), rel=Decimal("1e-8"))
    assert buy.executed_reserve == 1_000
    trader.require_books_equal_chain()
    assert trader.rig.alarms == []


@pytest.mark.parametrize("is_deposit", [True, False])
def test_vault_that_pays_without_a_claim_is_booked_by_what_came(request_trader: RequestTrader, is_deposit: bool):
    trader = request_trader
    trade = asked_for(trader) if is_deposit else asked_back(trader)
    trader.settle(PAY, is_deposit)
    trader.rig.market.node.mine(10)
    assert trader.resume() == []
    assert trade.get_status() is TradeStatus.success
    assert (abs(trade.executed_quantity), trade.executed_reserve) == (1_000, 1_000)
    trader.require_books_equal_chain()
    assert trader.resume() == []
    assert trader.rig.alarms == []


def test_request_that_the_vault_loses_freezes_the_position_and_is_told(request_trader: RequestTrader):
    trader = request_trader
    buy = asked_for(trader)
    trader.settle(LOSE, True, 1_000 * USD)
    trader.rig.market.node.mine(10)
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.failed
    assert "1000 that were given are missing" in buy.failure
    assert not is_given_back(buy)
    assert AlarmKind.request_lost in kinds(trader.rig)
    with pytest.raises(AssertionError):
        trader.require_books_equal_chain()


def test_vault_that_never_settles_is_told_once_a_day_and_the_order_waits(request_trader: RequestTrader):
    trader = request_trader
    buy = asked_for(trader)
    trader.wait(timedelta(hours=47))
    trader.resume()
    assert trader.rig.alarms == []
    for _ in range(3):
        trader.wait(timedelta(hours=9))
        trader.resume()
    overdue = [alarm.text for alarm in trader.rig.alarms if alarm.kind is AlarmKind.settlement_overdue]
    assert len(overdue) == 1
    assert "1000000000 units are pending and 0 can be claimed of 1000000000" in overdue[0]
    assert buy.get_status() is PENDING


def test_claim_that_fails_is_told_and_tried_again(request_trader: RequestTrader):
    trader = request_trader
    buy = asked_for(trader)
    trader.settle(SETTLE, True, 1_000 * USD)
    trader.vault.do(SET_PAUSED, True)
    assert trader.resume() == []
    assert (buy.get_status(), kinds(trader.rig)) == (PENDING, [AlarmKind.claim_failed])
    trader.vault.do(SET_PAUSED, False)
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.success
    assert isinstance(trader.rig.journal.find(f"{trade_id_of(buy)}/claim-2"), Finished)
    trader.require_books_equal_chain()


def test_claim_that_reverts_is_not_paid_for_again_at_once(request_trader: RequestTrader):
    trader = request_trader
    buy = asked_for(trader)
    trader.settle(SETTLE, True, 1_000 * USD)

    def observe(step: Step, intent_id: str) -> None:
        if step is Step.signed and intent_id.endswith("claim-1"):
            trader.vault.do(SET_PAUSED, True)

    assert trader.resume(observe=observe) == []
    assert trader.rig.journal.find(f"{trade_id_of(buy)}/claim-1").outcome.status is OutcomeStatus.reverted
    trader.vault.do(SET_PAUSED, False)
    assert trader.resume() == []
    assert (buy.get_status(), kinds(trader.rig)) == (PENDING, [AlarmKind.claim_failed])
    trader.rig.market.node.mine(REVERTED_BLOCKS)
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.success
    trader.require_books_equal_chain()


def test_nothing_is_claimed_while_the_kill_switch_is_on(request_trader: RequestTrader):
    trader = request_trader
    buy = asked_for(trader)
    trader.settle(SETTLE, True, 1_000 * USD)
    trader.forbidden = "the switch is on"
    assert trader.resume() == []
    assert trader.rig.journal.find(f"{trade_id_of(buy)}/claim-1") is None
    trader.forbidden = ""
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.success


def test_second_order_of_a_vault_is_dropped_while_one_waits(request_trader: RequestTrader):
    trader = request_trader
    asked_for(trader)
    again = trader.buy(trader.shares, 500)
    trader.execute(again)
    assert again.get_status() is TradeStatus.discarded
    assert "one order at a time" in again.failure


def test_other_trades_go_on_and_deposits_are_booked_while_an_order_waits(request_trader: RequestTrader):
    trader, market = request_trader, request_trader.rig.market
    asked_for(trader)
    spot = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(spot)
    assert spot.get_status() is TradeStatus.success
    market.node.do(market.owner, market.usd, transfer(market.usd, trader.wallet, 77 * USD).data)
    market.node.mine(5)
    (deposit,) = trader.treasury().sync_treasury(to_naive(trader.now), trader.state)
    assert deposit.quantity == 77
    trader.require_books_equal_chain()


def test_vault_that_is_closed_refuses_the_request_unsigned(request_trader: RequestTrader):
    trader = request_trader
    trader.vault.do(SET_CLOSED, True)
    buy = trader.buy(trader.shares, 1_000)
    trader.execute(buy)
    assert (buy.get_status(), buy.failure) == (TradeStatus.failed, "refused: the simulation reverted: closed")
    trader.require_books_equal_chain()


def test_request_is_not_signed_when_shares_became_dearer_than_decided(request_trader: RequestTrader):
    trader = request_trader
    buy = trader.buy(trader.shares, 1_000, slippage=0.01)
    trader.vault.earn(20_000 * USD)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.failed
    assert "it would bring" in buy.failure
    assert trader.rig.journal.find(trade_id_of(buy)).attempts == ()


@pytest.mark.parametrize(("deposits", "redemptions"), [(True, False), (False, True)])
def test_side_that_a_mixed_vault_does_at_once_is_done_at_once(
    request_trader: RequestTrader, deposits: bool, redemptions: bool
):
    trader = request_trader
    trader.vault.do(SET_LATER, deposits, redemptions)
    trader.use_vault()
    buy = trader.buy(trader.shares, 1_000)
    trader.execute(buy)
    assert buy.get_status() is (PENDING if deposits else TradeStatus.success)
    if deposits:
        trader.settle(SETTLE, True, 1_000 * USD)
        trader.resume()
    sell = trader.sell(trader.state.portfolio.open_positions[buy.position_id])
    trader.execute(sell)
    assert sell.get_status() is (PENDING if redemptions else TradeStatus.success)
    if redemptions:
        trader.settle(SETTLE, False, 1_000 * SHARE)
        trader.resume()
    assert (sell.get_status(), sell.executed_reserve) == (TradeStatus.success, 1_000)
    trader.require_books_equal_chain()
    assert trader.rig.alarms == []


def test_reorg_that_undoes_a_request_for_good_gives_its_money_back(request_trader: RequestTrader):
    trader, node = request_trader, request_trader.rig.market.node
    node.mine(10)
    cash = trader.state.portfolio.reserve.quantity
    buy = asked_for(trader)
    node.rpc("anvil_reorg", 8, [])
    assert trader.resume(setting=SHORT) == [buy]
    node.rpc("anvil_dropTransaction", trader.rig.journal.find(trade_id_of(buy)).newest.tx_hash)
    trader.vault.do(SET_CLOSED, True)
    node.mine(121)
    assert trader.resume() == []
    assert trader.resume() == []
    assert trader.rig.journal.find(trade_id_of(buy)).outcome.status is not OutcomeStatus.confirmed
    assert buy.get_status() is TradeStatus.failed
    assert trader.state.portfolio.reserve.quantity == cash
    trader.require_books_equal_chain()
    assert AlarmKind.settlement_changed not in kinds(trader.rig)


def test_claim_that_a_reorg_undid_is_made_again_when_the_vault_settles_again(request_trader: RequestTrader):
    trader, node = request_trader, request_trader.rig.market.node
    buy = asked_for(trader)
    node.mine(12)
    trader.settle(SETTLE, True, 1_000 * USD)
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.success
    depth = node.head() - trader.rig.journal.find(f"{trade_id_of(buy)}/claim-1").outcome.block_number + 6
    node.rpc("anvil_reorg", depth, [])
    assert isinstance(reopened(trader, buy), InFlight)
    node.mine(6)
    trader.resume()
    position = trader.state.portfolio.open_positions[buy.position_id]
    assert position.quantity == 0
    assert AlarmKind.settlement_changed in kinds(trader.rig)
    trader.require_books_equal_chain()
    trader.settle(SETTLE, True, 1_000 * USD)
    node.mine(REVERTED_BLOCKS)
    trader.resume()
    trader.resume()
    assert position.quantity == 1_000
    trader.require_books_equal_chain()


def reopened(trader: RequestTrader, trade: TradeExecution):
    trader.rig.executor(client=trader.client).audit(trader.client.read_head())
    return trader.rig.journal.find(f"{trade_id_of(trade)}/claim-1")
