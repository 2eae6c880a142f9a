"""Trades become swaps, and what the chain did becomes the ledger's events; on a real node, to the unit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from evm.deployment import FAST, GAS, Rig
from evm.test_transaction import kinds, send_foreign
from evm.trader import STRATEGY, Trader

from trading_dagster.domain.error import BadConfiguration, IntentConflict, NodeUnavailable
from trading_dagster.domain.money import from_units
from trading_dagster.domain.trade import TradeExecution, TradeStatus, TradeType
from trading_dagster.domain.transaction import Finished, InFlight, OutcomeStatus, Planned
from trading_dagster.evm.alarm import AlarmKind, Step
from trading_dagster.evm.erc20 import approve, read_allowance
from trading_dagster.evm.execution import TradeExecutionSetting
from trading_dagster.evm.signing import allow_signing
from trading_dagster.evm.swap_intent import SwapLimits, least_amount_out, parse_trade_id, trade_intent_id
from trading_dagster.evm.trade_book import FIRED_TRIES
from trading_dagster.evm.uniswap_v2 import SWAP

SHORT = TradeExecutionSetting(timeout_s=0, lookback_blocks=200)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def trader(rig: Rig) -> Trader:
    trader = Trader(rig)
    trader.fund()
    return trader


def trade_id_of(trade: TradeExecution) -> str:
    return trade_intent_id(STRATEGY, trade.trade_id)


def as_wallet(trader: Trader, to: str, data: str) -> None:
    """Send from the trader's address without its key, below its own nonces: before it trades."""
    node, wallet = trader.rig.market.node, trader.rig.wallet.address
    node.rpc("anvil_impersonateAccount", wallet)
    node.do(wallet, to, data)
    node.rpc("anvil_stopImpersonatingAccount", wallet)


def allow(trader: Trader, amount: int) -> None:
    market = trader.rig.market
    call = trader.account.wrap(approve(market.usd, market.uniswap.router, amount))
    as_wallet(trader, call.to, call.data)


def allow_eth(trader: Trader) -> None:
    """Approve what the trader holds of ETH without its key, and without using one of its nonces."""
    market, wallet = trader.rig.market, trader.rig.wallet.address
    inner = keccak(encode(["address", "uint256"], [wallet, 4]))
    slot = keccak(encode(["address"], [market.uniswap.router]) + inner).hex()
    market.node.rpc("anvil_setStorageAt", market.eth, f"0x{slot}", "0x" + (10**30).to_bytes(32).hex())
    assert read_allowance(trader.client, market.eth, wallet, market.uniswap.router, "latest") == 10**30


def allowance(trader: Trader) -> int:
    market = trader.rig.market
    head = trader.client.read_head()
    return read_allowance(trader.client, market.usd, trader.account.address, market.uniswap.router, head)


def move_price(trader: Trader, *, usd: int) -> None:
    """Let somebody else buy ETH."""
    market = trader.rig.market
    deadline = market.node.timestamp() + 1000
    data = SWAP.encode(usd * 10**6, 0, [market.usd, market.eth], market.owner, deadline)
    market.node.do(market.owner, market.uniswap.router, data)


def test_buy_and_sell_are_filled_as_quoted_to_the_unit(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, Decimal("5000.123456"))
    bought = trader.dex.quote(
        trader.client, trader.routes.route_of(buy.pair, True), 5_000_123_456, trader.client.read_head()
    )

    trader.execute(buy)

    assert buy.get_status() is TradeStatus.success
    assert (buy.executed_quantity, buy.executed_reserve) == (from_units(bought.amount_out, 18), Decimal("5000.123456"))
    assert buy.executed_price == pytest.approx(buy.planned_price, rel=1e-12)
    assert buy.lp_fees_paid == pytest.approx(15.00037)
    record = trader.rig.journal.find(trade_id_of(buy))
    assert (buy.fill.tx_hash, buy.fill.block_number) == (record.outcome.tx_hash, record.outcome.block_number)
    assert buy.fill.gas_cost == from_units(record.outcome.gas_cost, 18) > 0

    position = trader.state.portfolio.open_positions[buy.position_id]
    sell = trader.sell(position)
    units = int(position.quantity * 10**18)
    sold = trader.dex.quote(trader.client, trader.routes.route_of(buy.pair, False), units, trader.client.read_head())
    trader.execute(sell)

    assert sell.executed_reserve == from_units(sold.amount_out, 6)
    assert sell.executed_quantity == -buy.executed_quantity
    assert position.is_closed()
    approval = trader.rig.journal.find(f"{trade_id_of(sell)}/approve")
    swap = trader.rig.journal.find(trade_id_of(sell))
    assert sell.fill.gas_cost == from_units(approval.outcome.gas_cost + swap.outcome.gas_cost, 18)
    trader.require_books_equal_chain()


def test_two_pools_are_one_trade(trader: Trader):
    buy = trader.buy(trader.pairs.btc_eth, 5_000)
    quote = trader.dex.quote(
        trader.client, trader.routes.route_of(buy.pair, True), 5_000 * 10**6, trader.client.read_head()
    )
    trader.execute(buy)
    assert buy.executed_quantity == from_units(quote.amount_out, 8)

    sell = trader.sell(trader.state.portfolio.open_positions[buy.position_id], Decimal("0.02"))
    trader.execute(sell)
    assert sell.executed_quantity == Decimal("-0.02")
    assert trader.balance(trader.pairs.eth_usd.base) == 0, "nothing is left in between"
    trader.require_books_equal_chain()


def test_taxed_token_is_booked_as_it_arrived(trader: Trader):
    buy = trader.buy(trader.pairs.tax_usd, 100)
    trader.execute(buy)
    arrived = trader.balance(trader.pairs.tax_usd.base)
    assert buy.executed_quantity == arrived
    assert buy.executed_price == pytest.approx(buy.planned_price)

    sell = trader.sell(trader.state.portfolio.open_positions[buy.position_id])
    trader.execute(sell)
    assert sell.executed_quantity == -arrived
    assert sell.executed_price == pytest.approx(sell.planned_price, rel=1e-9)
    trader.require_books_equal_chain()


def test_price_that_moved_too_far_fails_the_trade_and_the_others_go_on(trader: Trader):
    cash = trader.state.portfolio.reserve.quantity
    late, other = trader.buy(trader.pairs.eth_usd, 1_000), trader.buy(trader.pairs.tax_usd, 1_000)
    move_price(trader, usd=100_000)

    trader.execute(late, other)

    assert late.get_status() is TradeStatus.failed
    assert "INSUFFICIENT_OUTPUT_AMOUNT" in late.failure
    frozen = trader.state.portfolio.frozen_positions[late.position_id]
    assert "INSUFFICIENT_OUTPUT_AMOUNT" in frozen.notes
    assert other.get_status() is TradeStatus.success
    assert trader.state.portfolio.reserve.quantity == cash - 1_000
    trader.require_books_equal_chain()


def test_price_that_moves_between_signing_and_mining_reverts(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    market = trader.rig.market

    def race(step: Step, intent_id: str) -> None:
        if step is Step.persisted and intent_id == trade_id_of(buy):
            fees = {"maxFeePerGas": hex(150 * 10**9), "maxPriorityFeePerGas": hex(100 * 10**9)}
            deadline = market.node.timestamp() + 1000
            data = SWAP.encode(100_000 * 10**6, 0, [market.usd, market.eth], market.owner, deadline)
            market.node.send(market.owner, market.uniswap.router, data, **fees)

    trader.execute(buy, observe=race)

    assert buy.get_status() is TradeStatus.failed
    assert buy.failure.startswith("reverted: ")
    record = trader.rig.journal.find(trade_id_of(buy))
    assert record.outcome.status is OutcomeStatus.reverted
    assert record.outcome.tx_hash in buy.failure
    trader.require_books_equal_chain()


def test_planned_price_counts_not_that_of_the_moment_of_sending(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000, slippage=0.02)
    move_price(trader, usd=8_000)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.success
    assert buy.executed_price > 1.003 * buy.planned_price
    arguments = trader.rig.journal.find(trade_id_of(buy)).intent.arguments
    assert from_units(arguments["amountOutMin"], 18) == pytest.approx(buy.planned_quantity * Decimal("0.98"))


def test_allowance_is_exact_and_what_is_left_of_another_is_taken_back_first(trader: Trader):
    allow(trader, 7)
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.success
    names = [record.intent.intent_id for record in trader.rig.journal.list_finished(trader.rig.account, 0)]
    assert names == [f"{trade_id_of(buy)}/revoke", f"{trade_id_of(buy)}/approve", trade_id_of(buy)]
    assert allowance(trader) == 0

    limits = SwapLimits(allowance_multiple=3)
    again, more = trader.buy(trader.pairs.eth_usd, 100), trader.buy(trader.pairs.eth_usd, 100)
    trader.execute(again, more, setting=TradeExecutionSetting(limits, timeout_s=20, lookback_blocks=200))
    assert allowance(trader) == 400 * 10**6, "three times what both gave, less that"
    assert trader.rig.journal.find(f"{trade_id_of(more)}/approve") is None
    trader.require_books_equal_chain()


def test_buy_without_cash_is_dropped_and_the_others_go_on(trader: Trader):
    cash = trader.state.portfolio.reserve.quantity
    first = trader.buy(trader.pairs.eth_usd, cash - 500)
    second, third = trader.buy(trader.pairs.tax_usd, 1_000), trader.buy(trader.pairs.tax_usd, 400)
    limits = SwapLimits(max_price_impact=0.5)
    trader.execute(first, second, third, setting=TradeExecutionSetting(limits, timeout_s=20, lookback_blocks=200))

    assert [t.get_status() for t in (first, second, third)] == [
        TradeStatus.success,
        TradeStatus.discarded,
        TradeStatus.success,
    ]
    assert "cash is" in second.failure
    assert second.position_id in trader.state.portfolio.expired_positions
    trader.require_books_equal_chain()


def test_trade_with_a_large_impact_is_dropped_before_anything_is_sent(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 400_000)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.discarded
    assert "price impact of 9." in buy.failure
    assert trader.rig.journal.list_finished(trader.rig.account, 0) == []
    forced = trader.buy(trader.pairs.eth_usd, 400_000)
    trader.execution().execute_trades(trader.now.replace(tzinfo=None), trader.state, [forced], triggered=True)
    assert forced.get_status() is TradeStatus.success, "a stop loss gets out whatever it costs"


def test_trade_of_a_token_with_other_decimals_than_the_chain_says_is_dropped(trader: Trader):
    wrong = replace(trader.pairs.btc_eth, base=replace(trader.pairs.btc_eth.base, decimals=18))
    buy, other = trader.buy(wrong, 1_000), trader.buy(trader.pairs.eth_usd, 1_000)
    wide = TradeExecutionSetting(SwapLimits(max_price_impact=0.9), timeout_s=20, lookback_blocks=200)
    trader.execute(buy, other, setting=wide)
    assert [t.get_status() for t in (buy, other)] == [TradeStatus.discarded, TradeStatus.success]
    assert "has 8 decimals on the chain, the universe says 18" in buy.failure
    assert trader.rig.journal.find(trade_id_of(buy)) is None


def test_later_trade_of_a_position_that_froze_is_dropped(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    position = trader.state.portfolio.open_positions[buy.position_id]
    half = position.quantity / 2
    sells = [trader.sell(position, half, slippage=0.0), trader.sell(position, half, slippage=0.02)]
    crash(trader, 4 * 10**18)
    other = trader.buy(trader.pairs.tax_usd, 100)
    third = trader.sell(position, Decimal("0.001"))
    trader.execute(*sells, other, third)
    assert [t.get_status() for t in (*sells, other, third)] == [
        TradeStatus.failed,
        TradeStatus.success,
        TradeStatus.success,
        TradeStatus.discarded,
    ]
    assert third.failure == "its position was frozen before it began"
    trader.require_books_equal_chain()


@pytest.mark.parametrize("fired", [TradeType.stop_loss, TradeType.take_profit])
def test_fired_exit_that_the_simulation_refuses_is_tried_again_before_its_position_is_put_aside(
    trader: Trader, fired: TradeType
):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    position = trader.state.portfolio.open_positions[buy.position_id]
    for number in range(1, FIRED_TRIES):
        sell = trader.sell(position, slippage=0.0, trade_type=fired)
        crash(trader, 10**17)
        trader.execute(sell)
        assert sell.get_status() is TradeStatus.discarded
        assert sell.failure.startswith(
            f"without effect, try {number} of {FIRED_TRIES}: refused: the simulation reverted"
        )
        assert list(trader.state.portfolio.open_positions) == [position.position_id]
    last = trader.sell(position, slippage=0.0, trade_type=fired)
    crash(trader, 10**17)
    trader.execute(last)
    assert last.get_status() is TradeStatus.failed
    assert list(trader.state.portfolio.frozen_positions) == [position.position_id]
    trader.require_books_equal_chain()


def test_refusals_before_a_trade_that_was_made_do_not_count(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    position = trader.state.portfolio.open_positions[buy.position_id]
    for quantity in (Decimal("0.1"), None):
        for _ in range(FIRED_TRIES - 1):
            sell = trader.sell(position, quantity, slippage=0.0, trade_type=TradeType.stop_loss)
            crash(trader, 10**17)
            trader.execute(sell)
            assert sell.get_status() is TradeStatus.discarded
        sell = trader.sell(position, quantity, slippage=0.02, trade_type=TradeType.stop_loss)
        trader.execute(sell)
        assert sell.get_status() is TradeStatus.success
    trader.require_books_equal_chain()


def crash(trader: Trader, amount: int) -> None:
    """Sell ETH as somebody else: the price falls, though not by much."""
    market = trader.rig.market
    path, deadline = [market.eth, market.usd], market.node.timestamp() + 1000
    market.node.do(market.owner, market.uniswap.router, SWAP.encode(amount, 0, path, market.owner, deadline))


def test_no_gas_waits_alarms_and_ends_when_the_deadline_has_passed(trader: Trader):
    node, wallet = trader.rig.market.node, trader.rig.wallet.address
    held = trader.buy(trader.pairs.tax_usd, 1_000)
    trader.execute(held)
    node.rpc("anvil_setBalance", wallet, hex(10**12))
    first, second = trader.buy(trader.pairs.eth_usd, 1_000), trader.buy(trader.pairs.eth_usd, 1_000)
    other = trader.sell(trader.state.portfolio.open_positions[held.position_id])

    trader.execute(first, second, other, setting=SHORT)

    assert AlarmKind.gas_missing in kinds(trader.rig)
    assert [first.get_status(), second.get_status()] == [TradeStatus.broadcasted] * 2
    assert other.get_status() is TradeStatus.planned, "nothing new is begun while an end is unknown"
    assert trader.resume(setting=SHORT) == [first, second]
    trader.execute(other, setting=SHORT)
    assert other.get_status() is TradeStatus.planned
    node.mine(SwapLimits().deadline_s + 1)
    assert trader.resume() == []
    assert [first.get_status(), second.get_status()] == [TradeStatus.failed] * 2
    assert "expired before it was signed" in first.failure
    node.rpc("anvil_setBalance", wallet, hex(10**19))
    trader.execute(other)
    assert other.get_status() is TradeStatus.success
    trader.require_books_equal_chain()


@pytest.mark.parametrize("obstacle", ["no gas", "dear gas", "kill switch"])
def test_exit_that_was_never_signed_is_dropped_and_its_position_stays_watched(trader: Trader, obstacle: str):
    node, wallet = trader.rig.market.node, trader.rig.wallet.address
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    position = trader.state.portfolio.open_positions[buy.position_id]
    sell, gas, stop = trader.sell(position), GAS, allow_signing
    if obstacle == "no gas":
        node.rpc("anvil_setBalance", wallet, hex(10**12))
    elif obstacle == "dear gas":
        gas = replace(GAS, max_fee_cap=1, priority_fee_cap=1, priority_fee_floor=1)
    else:
        stop = lambda intent: "stop"  # noqa: E731
    allow_eth(trader)
    trader.execute(sell, setting=SHORT, gas=gas, forbid_signing=stop)
    assert sell.get_status() is TradeStatus.broadcasted
    node.mine(SwapLimits().deadline_s + 1)

    assert trader.resume(gas=gas, forbid_signing=stop) == []

    assert sell.get_status() is TradeStatus.discarded
    assert "expired before it was signed" in sell.failure
    assert list(trader.state.portfolio.open_positions) == [position.position_id]
    node.rpc("anvil_setBalance", wallet, hex(10**19))
    again = trader.sell(position)
    trader.execute(again)
    assert again.get_status() is TradeStatus.success
    trader.require_books_equal_chain()


def test_stop_loss_that_waited_for_its_approval_is_priced_anew(trader: Trader):
    node, wallet = trader.rig.market.node, trader.rig.wallet.address
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    position = trader.state.portfolio.open_positions[buy.position_id]
    node.rpc("anvil_setBalance", wallet, hex(10**12))
    sell = trader.sell(position, trade_type=TradeType.stop_loss)
    trader.execute(sell, setting=SHORT)
    assert sell.get_status() is TradeStatus.started
    node.rpc("anvil_setBalance", wallet, hex(10**19))
    trader.wait(timedelta(minutes=3))

    assert trader.resume() == []

    assert sell.get_status() is TradeStatus.discarded
    assert "never sent: the decision is 0:03:00 old" in sell.failure
    again = trader.sell(position, trade_type=TradeType.stop_loss)
    trader.execute(again)
    assert again.get_status() is TradeStatus.success
    trader.require_books_equal_chain()


def test_neighbours_of_one_side_are_sent_together_under_one_approval(trader: Trader):
    allow(trader, 0)
    buys = [trader.buy(trader.pairs.eth_usd, 1_000), trader.buy(trader.pairs.tax_usd, 1_000)]
    trader.execute(*buys)
    assert [t.get_status() for t in buys] == [TradeStatus.success] * 2
    assert buys[0].fill.block_number == buys[1].fill.block_number
    assert trader.rig.journal.find(f"{trade_id_of(buys[1])}/approve") is None
    positions = [trader.state.portfolio.open_positions[t.position_id] for t in buys]
    trades = [*map(trader.sell, positions), trader.buy(trader.pairs.btc_eth, trader.state.portfolio.reserve.quantity)]
    wide = TradeExecutionSetting(SwapLimits(max_price_impact=0.9), timeout_s=20, lookback_blocks=200)
    trader.execute(*trades, setting=wide)
    assert [t.get_status() for t in trades] == [TradeStatus.success] * 3
    assert trades[0].fill.block_number == trades[1].fill.block_number < trades[2].fill.block_number
    trader.require_books_equal_chain()


def test_one_token_that_cannot_be_approved_does_not_stop_the_others(trader: Trader):
    buys = [trader.buy(trader.pairs.eth_usd, 1_000), trader.buy(trader.pairs.tax_usd, 1_000)]
    trader.execute(*buys)
    sells = [trader.sell(trader.state.portfolio.open_positions[t.position_id]) for t in buys]
    trader.rig.market.node.rpc("anvil_setCode", trader.rig.market.eth, "0x")
    trader.execute(*sells)
    assert [t.get_status() for t in sells] == [TradeStatus.failed, TradeStatus.success]
    assert list(trader.state.portfolio.frozen_positions) == [buys[0].position_id]


def test_router_that_reverts_fails_the_trade_with_its_reason(trader: Trader):
    trader.rig.market.node.rpc("anvil_setCode", trader.rig.market.uniswap.router, "0x60006000fd")
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.failed
    assert buy.failure.startswith("refused: the simulation reverted")
    assert trader.state.portfolio.frozen_positions
    trader.require_books_equal_chain()


def test_token_that_lost_its_code_fails_the_trade_before_anything_is_planned(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    trader.rig.market.node.rpc("anvil_setCode", trader.rig.market.eth, "0x")
    position = trader.state.portfolio.open_positions[buy.position_id]
    sell = trader.sell(position)
    trader.execute(sell)
    assert sell.get_status() is TradeStatus.failed
    assert sell.failure.startswith("never sent: ")
    assert trader.rig.journal.find(trade_id_of(sell)) is None


def test_swap_that_is_not_mined_before_its_deadline_is_cancelled(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    node = trader.rig.market.node

    def drop(seconds: float) -> None:
        record = trader.rig.journal.find(trade_id_of(buy))
        if isinstance(record, InFlight) and len(record.attempts) == 1:
            node.rpc("anvil_dropTransaction", record.attempts[0].tx_hash)
            node.mine(SwapLimits().deadline_s + 1)
        else:
            node.mine()

    trader.mine = drop
    trader.execute(buy)

    assert buy.get_status() is TradeStatus.failed
    assert buy.failure.startswith("cancelled: it expired before it was mined (transaction 0x")
    trader.require_books_equal_chain()


def test_nothing_is_planned_signed_or_booked_before_the_ledger_has_what_came_before(trader: Trader):
    allow(trader, 0)
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    seen: list[str] = []
    steps = {Step.planned, Step.signing_began, Step.persisted, Step.sent, Step.finished}

    def observe(step: Step, intent_id: str) -> None:
        if step in steps:
            seen.append(f"{step.value} {intent_id.removeprefix(trade_id_of(buy))}".strip())

    def save() -> None:
        seen.extend(f"saved {type(event).__name__}" for event in trader.state.take_events())

    save()
    seen.clear()
    trader.execute(buy, save=save, observe=observe)

    once = list(dict.fromkeys(seen))  # what waits is sent again with each block
    assert once == [
        "saved TradeStarted",
        "planned /approve",
        "signing_began /approve",
        "persisted /approve",
        "sent /approve",
        "finished /approve",
        "planned",
        "saved TradeBroadcasted",
        "signing_began",
        "persisted",
        "sent",
        "finished",
        "saved TradeExecuted",
    ]


def test_unfinished_trade_is_gone_on_with_once(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy, setting=SHORT)
    assert buy.get_status() is TradeStatus.broadcasted
    assert AlarmKind.trade_unfinished in kinds(trader.rig)
    trader.execute(buy, setting=SHORT)
    assert trader.resume(setting=SHORT) == [buy]
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.success
    assert trader.resume() == []
    trader.execute(buy)
    trader.require_books_equal_chain()


def test_trade_begun_and_never_planned_is_sent_while_its_decision_is_fresh(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        trader.execute(buy, save=die)
    assert buy.get_status() is TradeStatus.started
    trader.wait(timedelta(minutes=59))
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.success
    trader.require_books_equal_chain()


def test_trade_begun_and_never_planned_is_dropped_when_its_decision_is_old(trader: Trader):
    cash = trader.state.portfolio.reserve.quantity
    buy = trader.buy(trader.pairs.eth_usd, 1_000)

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        trader.execute(buy, save=die)
    trader.wait(timedelta(minutes=61))
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.discarded
    assert "never sent: the decision is 1:01:00 old" in buy.failure
    portfolio = trader.state.portfolio
    assert portfolio.reserve.quantity == cash
    assert not portfolio.open_positions
    assert not portfolio.frozen_positions
    assert trader.rig.journal.find(trade_id_of(buy)) is None


def test_dead_node_leaves_trades_planned_or_running(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    execution = trader.execution(setting=SHORT)
    dead = NodeUnavailable("no node")

    def fail(*_: object) -> None:
        raise dead

    trader.client.read_head, alive = fail, trader.client.read_head
    with pytest.raises(NodeUnavailable):
        execution.execute_trades(trader.now.replace(tzinfo=None), trader.state, [buy])
    assert buy.get_status() is TradeStatus.planned
    trader.client.read_head = alive
    trader.save, save = lambda: setattr(trader.client, "read_head", fail), trader.save
    trader.execute(buy, setting=SHORT)
    trader.save = save
    assert buy.get_status() is TradeStatus.started
    assert trader.resume(setting=SHORT) == [buy]
    assert AlarmKind.node_unavailable in kinds(trader.rig)
    trader.client.read_head = alive
    assert trader.resume() == []
    trader.require_books_equal_chain()


def test_foreign_use_of_the_key_halts_and_trades_are_dropped(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    send_foreign(trader.rig)
    trader.rig.market.node.mine()
    assert trader.resume() == []
    assert AlarmKind.foreign_use in kinds(trader.rig)

    other = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(other)

    assert other.get_status() is TradeStatus.discarded
    assert "move the funds if the key is known to others" in other.failure
    assert trader.rig.journal.find(trade_id_of(other)) is None


def test_trade_planned_on_a_wallet_that_is_then_halted_ends_by_its_deadline(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    stop = {"forbid_signing": lambda intent: "stop"}
    trader.execute(buy, setting=SHORT, **stop)
    assert AlarmKind.signing_forbidden in kinds(trader.rig)
    send_foreign(trader.rig)
    trader.rig.market.node.mine()
    assert trader.resume() == [buy]
    assert isinstance(trader.rig.journal.find(trade_id_of(buy)), Planned)
    trader.rig.market.node.mine(SwapLimits().deadline_s + 1)
    assert trader.resume() == []
    assert buy.get_status() is TradeStatus.failed


def settled_then_reorganised(trader: Trader) -> TradeExecution:
    """Return a buy that the ledger booked and a deep reorg took back."""
    trader.rig.market.node.mine(10)
    buy = trader.buy(trader.pairs.eth_usd, 1_000, slippage=0.02)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.success
    trader.rig.market.node.rpc("anvil_reorg", 8, [])
    return buy


def test_reorg_that_changes_nothing_books_nothing(trader: Trader):
    settled_then_reorganised(trader)
    events = len(trader.state.new_events)
    assert trader.resume() == []
    assert len(trader.state.new_events) == events
    assert AlarmKind.reorganised in kinds(trader.rig)
    assert AlarmKind.settlement_changed not in kinds(trader.rig)
    trader.require_books_equal_chain()


def test_reorg_that_changes_a_fill_is_booked_as_a_correction(trader: Trader):
    buy = settled_then_reorganised(trader)
    before = buy.executed_quantity
    assert trader.resume(setting=SHORT) == [buy], "its end is open again"
    node = trader.rig.market.node
    tx_hash = trader.rig.journal.find(trade_id_of(buy)).newest.tx_hash
    node.rpc("anvil_dropTransaction", tx_hash)
    move_price(trader, usd=5_000)

    assert trader.resume() == []

    assert AlarmKind.settlement_changed in kinds(trader.rig)
    position = trader.state.portfolio.open_positions[buy.position_id]
    (update,) = position.balance_updates.values()
    assert position.quantity == before + update.quantity < before
    assert update.notes.startswith(trade_id_of(buy))
    trader.require_books_equal_chain()
    events = len(trader.state.new_events)
    assert trader.resume() == []
    assert len(trader.state.new_events) == events, "it is booked once"


def test_reorg_that_undoes_a_fill_gives_the_cash_back(trader: Trader):
    cash = trader.state.portfolio.reserve.quantity
    buy = settled_then_reorganised(trader)
    node = trader.rig.market.node
    assert trader.treasury().sync_treasury(trader.now.replace(tzinfo=None), trader.state) == []
    assert trader.resume(setting=SHORT) == [buy]
    node.rpc("anvil_dropTransaction", trader.rig.journal.find(trade_id_of(buy)).newest.tx_hash)
    move_price(trader, usd=200_000)

    assert trader.resume() == []

    record = trader.rig.journal.find(trade_id_of(buy))
    assert isinstance(record, Finished)
    assert record.outcome.status is OutcomeStatus.reverted
    assert trader.state.portfolio.reserve.quantity == cash
    assert trader.state.portfolio.open_positions[buy.position_id].get_quantity() == 0
    trader.require_books_equal_chain()


def test_reorg_of_long_ago_that_gave_the_nonce_to_another_is_booked(trader: Trader):
    cash = trader.state.portfolio.reserve.quantity
    buy = settled_then_reorganised(trader)
    node, record = trader.rig.market.node, trader.rig.journal.find(trade_id_of(buy))
    node.rpc("anvil_dropTransaction", record.outcome.tx_hash)
    send_foreign(trader.rig, record.attempts[0].nonce)
    node.mine(1_000)  # far beyond every look back
    assert trader.treasury().sync_treasury(trader.now.replace(tzinfo=None), trader.state) == []

    assert trader.resume() == []

    assert trader.rig.journal.find(trade_id_of(buy)).outcome.status is OutcomeStatus.released
    assert trader.state.portfolio.reserve.quantity == cash
    assert trader.state.portfolio.open_positions[buy.position_id].get_quantity() == 0
    trader.require_books_equal_chain()


def test_reorg_that_makes_a_failed_trade_succeed_is_booked_too(trader: Trader):
    cash = trader.state.portfolio.reserve.quantity
    market = trader.rig.market
    market.node.mine(10)
    buy = trader.buy(trader.pairs.eth_usd, 1_000)

    def race(step: Step, intent_id: str) -> None:
        if step is Step.persisted and buy.broadcasted_at is not None:
            fees = {"maxFeePerGas": hex(150 * 10**9), "maxPriorityFeePerGas": hex(100 * 10**9)}
            deadline = market.node.timestamp() + 1000
            data = SWAP.encode(100_000 * 10**6, 0, [market.usd, market.eth], market.owner, deadline)
            market.node.send(market.owner, market.uniswap.router, data, **fees)

    trader.execute(buy, observe=race)
    assert buy.failure.startswith("reverted: ")
    market.node.rpc("anvil_reorg", 8, [])  # who was faster is gone, ours is sent again

    assert trader.resume() == []

    assert buy.get_status() is TradeStatus.failed, "what was booked stays"
    assert AlarmKind.settlement_changed in kinds(trader.rig)
    position = trader.state.portfolio.frozen_positions[buy.position_id]
    assert position.quantity == pytest.approx(buy.planned_quantity)
    assert trader.state.portfolio.reserve.quantity == cash - 1_000
    trader.require_books_equal_chain()
    events = len(trader.state.new_events)
    assert trader.resume() == []
    assert len(trader.state.new_events) == events


def test_swap_without_transfers_fails_and_what_is_gone_is_booked(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    node, market = trader.rig.market.node, trader.rig.market

    def swallow(step: Step, intent_id: str) -> None:
        if step is Step.persisted:
            node.rpc("anvil_setCode", market.uniswap.router, "0x00")

    trader.execute(buy, observe=swallow)
    assert buy.get_status() is TradeStatus.failed
    assert "check the accounts" in buy.failure
    assert buy.position_id in trader.state.portfolio.frozen_positions
    assert trader.resume() == []
    trader.require_books_equal_chain()


def test_trade_of_a_ledger_that_began_anew_is_not_taken_for_the_old_one(trader: Trader):
    trader.execute(trader.buy(trader.pairs.eth_usd, 1_000))
    anew = Trader(trader.rig, now=trader.now + timedelta(days=1))
    anew.fund()
    buy = anew.buy(anew.pairs.eth_usd, 1_000)
    with pytest.raises(IntentConflict, match="begins anew needs a new strategy id"):
        anew.execute(buy)
    assert len(trader.rig.journal.list_finished(trader.rig.account, 0)) == 1


def test_least_output_follows_from_plan_and_tolerance(trader: Trader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000, slippage=0.01)
    exact_units = Fraction(10**9) / Fraction(buy.planned_price) * 10**12
    assert least_amount_out(buy, 10**9, 0.5) == pytest.approx(exact_units * Fraction(99, 100), rel=1e-11)
    assert least_amount_out(buy, 10**9, 0.001) == pytest.approx(exact_units * Fraction(999, 1000), rel=1e-11)
    free = trader.buy(trader.pairs.eth_usd, 1_000, slippage=0.0)
    quote = trader.dex.quote(trader.client, trader.routes.route_of(free.pair, True), 10**9, trader.client.read_head())
    assert quote.amount_out - 10**7 < least_amount_out(free, 10**9, 0.5) <= quote.amount_out


def test_swap_of_a_token_without_decimals_must_bring_something(trader: Trader):
    whole = replace(trader.pairs.eth_usd, base=replace(trader.pairs.eth_usd.base, decimals=0))
    plan = replace(trader.buy(trader.pairs.eth_usd, 4_020, slippage=0.02).plan, pair=whole)
    buy = TradeExecution(plan, trader.now)
    assert least_amount_out(buy, 4_020 * 10**6, 0.5) == 1


def test_ids_of_intents_name_the_trade():
    assert trade_intent_id("alpha", 7) == "trade/alpha/7/1"
    assert parse_trade_id("alpha", "trade/alpha/7/1") == 7
    assert parse_trade_id("alpha", "trade/alpha/7/1/approve") is None
    assert parse_trade_id("beta", "trade/alpha/7/1") is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_slippage": 0.5}, "max_slippage is 0.5"),
        ({"max_price_impact": 0.0}, "max_price_impact is 0.0"),
        ({"deadline_s": 0}, "deadline_s is 0"),
        ({"allowance_multiple": 0}, "allowance_multiple 0"),
    ],
)
def test_limits_are_checked(wrong: dict, said: str):
    with pytest.raises(BadConfiguration, match=said):
        SwapLimits(**wrong)
    assert FAST.confirmations == 3
