"""Whole live cycles with shorts and credit supply on Aave's own contracts: interest, accounts, liquidation, closing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from evm.conftest import deployed, deployed_aave, evm_packages, market, rig  # noqa: F401 - fixtures
from evm.deployment import FAST, Rig
from evm.deployment_aave import Aave
from live.evm_loans import LoanWorld
from live.world import Steps

import trading_dagster as td
from trading_dagster.domain.error import BadConfiguration, ContractMissing, UnexpectedAccountingCorrectionIssue
from trading_dagster.domain.trade import TradeFlag, TradeStatus, TradeType
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.evm.aave_v3 import ALL, WITHDRAW, AaveV3Deployment
from trading_dagster.evm.abi import Function
from trading_dagster.evm.alarm import AlarmKind
from trading_dagster.evm.balance import read_confirmed_block
from trading_dagster.evm.erc20 import approve, read_balance, transfer
from trading_dagster.evm.erc4626 import VaultDeployment
from trading_dagster.evm.lending_desk import LendingPool
from trading_dagster.evm.uniswap_v2 import SWAP
from trading_dagster.live.closing import close_all
from trading_dagster.live.correction import correct_accounts
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.repair import repair, retry
from trading_dagster.live.retry_gate import release_wallet
from trading_dagster.live.revaluation import check_live_accounts, revalue
from trading_dagster.live.test_trade import TrialKind, perform_test_trade
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.wallet_check import check_wallet

LIQUIDATE = Function("liquidationCall", ("address", "address", "address", "uint256", "bool"))


@pytest.fixture
def open_world(deployed_aave: Aave, rig: Rig, tmp_path: Path) -> Iterator[Callable[..., LoanWorld]]:  # noqa: F811
    worlds: list[LoanWorld] = []

    def make(decide: Any) -> LoanWorld:
        worlds.append(LoanWorld(rig, deployed_aave, tmp_path, decide))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def short_and_park(input: td.StrategyInput) -> list[td.TradeExecution]:
    """Short with a part of the cash and lend out the rest; get out of everything in the third cycle."""
    manager, pair = input.get_position_manager(), input.get_default_pair()
    if input.cycle == 1:
        return manager.open_short(pair, 8_000.0, leverage=1.5)
    if input.cycle == 2:
        return manager.open_credit_supply_position_for_reserves(100_000.0)
    return manager.close_all() if manager.is_any_open() else []


def balances_of(world: LoanWorld) -> dict[str, Decimal]:
    """Return by how many units the chain is beyond the ledger, of each token of a loan, at the block that counts."""
    client = world.rig.market.client()
    state, block = world.state(), read_confirmed_block(client, FAST.confirmations)
    expected: dict[Any, Decimal] = {}
    for position in state.portfolio.get_open_and_frozen_positions():
        for asset, quantity in position.get_token_balances():
            expected[asset] = expected.get(asset, Decimal(0)) + quantity
    return {
        asset.token_symbol: Decimal(read_balance(client, asset.address, world.rig.wallet.address, block))
        - quantity * 10**asset.decimals
        for asset, quantity in expected.items()
    }


def test_cycles_short_lend_and_get_out_with_the_chains_interest(open_world):
    world = open_world(short_and_park)
    world.aave.lend_out(world.rig.market.usd, 50_000 * 10**6)
    first = run_cycle(world.live)
    assert first.status is CycleStatus.done
    assert first.sample.equity == pytest.approx(1_000_000, abs=60)
    world.next_day()
    second = run_cycle(world.live)
    short = next(iter(world.state().portfolio.open_positions.values()))
    assert short.loan.borrowed.interest.accrued > 0
    assert [row.type for row in world.store.read(world.live.id)].count("InterestAccrued") >= 2
    assert second.trades[0].get_status() is TradeStatus.success
    world.next_day()
    assert check_live_accounts(world.live).is_clean
    revalued = revalue(world.live)
    assert balances_of(world) == {"aUSD": 0, "vETH": 0}, "booked to the unit"
    assert check_live_accounts(world.live).is_clean
    state = world.state()
    kept = [position.loan.collateral.interest.accrued for position in state.portfolio.open_positions.values()]
    assert kept[1] > 0
    assert kept[0] / kept[1] < 1

    last = run_cycle(world.live)

    assert last.sample.open_positions == 0
    assert last.sample.equity == pytest.approx(revalued.equity, abs=130)
    trades = world.state().portfolio.get_all_trades()
    assert [t.get_status() for t in trades] == [TradeStatus.success] * 4
    assert all(t.fill.gas_cost > 0 for t in trades)
    table = check_live_accounts(world.live)
    assert [row.difference for row in table.rows] == [Decimal(0)] * len(table.rows)
    assert world.alarms == []


def test_interest_is_read_once_and_reading_again_changes_nothing(open_world):
    world = open_world(short_and_park)
    run_cycle(world.live)
    world.next_day()
    revalue(world.live)
    known = len(list(world.store.read(world.live.id)))
    revalue(world.live)
    assert len(list(world.store.read(world.live.id))) == known


def test_short_that_waits_is_opened_on_the_chain_by_a_trigger_check(open_world):
    def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
        if input.cycle == 1:
            manager, pair = input.get_position_manager(), input.get_default_pair()
            above = td.TriggerCondition.cross_above
            manager.open_short_with_market_limit(pair, 8_000.0, 4_200.0, leverage=1.5, condition=above)
        return []

    world = open_world(decide)
    run_cycle(world.live)
    assert check_triggers(world.live).trades == ()
    assert [p.is_short() for p in world.state().portfolio.pending_positions.values()] == [True]
    assert check_live_accounts(world.live).is_clean
    buy_eth_of_others(world, 200_000)
    world.aave.set_price(world.rig.market.eth, 4_400)

    (trade,) = check_triggers(world.live).trades

    assert (trade.trade_type, trade.get_status()) == (TradeType.market_limit, TradeStatus.success)
    (short,) = world.state().portfolio.open_positions.values()
    assert trade.executed_price > 4_200
    assert short.loan.get_leverage() == pytest.approx(1.5, rel=0.02)
    assert check_triggers(world.live).trades == ()
    assert check_live_accounts(world.live).is_clean
    assert world.alarms == []


def test_second_short_of_a_token_is_refused_before_anything_is_sent_and_says_what_to_do(open_world):
    def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
        manager, pair = input.get_position_manager(), input.get_default_pair()
        return manager.open_short(pair, 4_000.0, flags={TradeFlag.ignore_open}) if input.cycle < 3 else []

    world = open_world(decide)
    run_cycle(world.live)
    world.next_day()
    (refused,) = run_cycle(world.live).trades
    assert refused.get_status() is TradeStatus.discarded
    assert "which <Position #1" in refused.failure
    assert "there is one short of a token at a time; close that position, or change it" in refused.failure
    assert len(world.state().portfolio.open_positions) == 1
    assert check_live_accounts(world.live).is_clean


def test_stop_loss_pays_a_short_back(open_world):
    def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
        manager = input.get_position_manager()
        if input.cycle > 1:
            return []
        return manager.open_short(input.get_default_pair(), 8_000.0, leverage=1.0, stop_loss_pct=0.95)

    world = open_world(decide)
    run_cycle(world.live)
    assert check_triggers(world.live).trades == ()
    buy_eth_of_others(world, 200_000)
    world.aave.set_price(world.rig.market.eth, 4_400)

    (trade,) = check_triggers(world.live).trades

    assert trade.is_stop_loss()
    assert trade.get_status() is TradeStatus.success
    assert trade.executed_price > 4_250
    assert check_live_accounts(world.live).is_clean


def test_liquidation_by_others_is_booked_and_told(open_world):
    world = open_world(short_and_park)
    run_cycle(world.live)
    liquidate(world)
    world.rig.market.node.mine(5)

    revalue(world.live)

    assert [alarm.kind for alarm in world.alarms] == [AlarmKind.liquidated]
    (position,) = world.state().portfolio.open_positions.values()
    trade = list(position.trades.values())[-1]
    assert trade.trade_type is TradeType.liquidation
    assert trade.executed_quantity == 1
    assert trade.executed_price == pytest.approx(5_800 * 1.05)
    assert balances_of(world) == {"aUSD": 0, "vETH": 0}
    revalue(world.live)
    assert len(world.alarms) == 1
    assert check_live_accounts(world.live).is_clean


def liquidate(world: LoanWorld, debt: int = 10**18) -> None:
    """Let somebody else pay back a part of the strategy's debt for its collateral."""
    rig, aave = world.rig, world.aave  # noqa: F811
    market, node, owner = rig.market, rig.market.node, rig.market.owner  # noqa: F811
    aave.set_price(market.eth, 5_800)
    node.do(owner, market.eth, approve(market.eth, aave.deployment.pool, 10**24).data)
    data = LIQUIDATE.encode(market.usd, market.eth, rig.wallet.address, debt, False)
    node.do(owner, aave.deployment.pool, data)
    aave.set_price(market.eth, 4_000)


def test_liquidation_after_a_crash_and_long_before_the_restart_is_found(open_world):
    world = open_world(short_and_park)
    steps = Steps(world.live)
    steps.decide()
    steps.execute()  # and the process ends here, before it ever read interest
    liquidate(world)
    lookback = 10 * FAST.audit_blocks
    world.rig.market.node.mine(2 * lookback)
    world.clock.moment += timedelta(days=3)

    run_cycle(world.live)

    assert [alarm.kind for alarm in world.alarms] == [AlarmKind.liquidated]
    position = world.state().portfolio.open_positions[1]
    assert [t.trade_type for t in position.trades.values()][-1] is TradeType.liquidation
    assert check_live_accounts(world.live).is_clean


def send_collateral_away(world: LoanWorld, usd: int) -> None:
    rig = world.rig  # noqa: F811
    node, wallet = rig.market.node, rig.wallet.address
    (short,) = world.state().portfolio.open_positions.values()
    ausd = short.loan.collateral.asset.address
    node.rpc("anvil_impersonateAccount", wallet)
    node.do(wallet, ausd, transfer(ausd, rig.market.owner, usd * 10**6).data)
    node.rpc("anvil_stopImpersonatingAccount", wallet)
    world.next_day()


def test_collateral_sent_away_stops_trading_with_the_table(open_world):
    world = open_world(short_and_park)
    run_cycle(world.live)
    send_collateral_away(world, 500)

    with pytest.raises(UnexpectedAccountingCorrectionIssue, match=r"aUSD.*#1.*MISMATCH"):
        run_cycle(world.live)
    assert AlarmKind.settlement_changed in [alarm.kind for alarm in world.alarms]


def test_operator_closes_everything(open_world):
    world = open_world(short_and_park)
    run_cycle(world.live)
    world.next_day()
    run_cycle(world.live)
    result = close_all(world.live)
    assert result.is_complete
    assert result.accounts.is_clean
    assert list(world.state().portfolio.open_positions) == []


def test_check_of_the_wallet_looks_at_the_lending_pool(open_world):
    world = open_world(short_and_park)
    assert check_wallet(world.live).gas > 0
    nobody = "0x" + "12" * 20
    wrong = replace(world.venue, lending=LendingPool(AaveV3Deployment(nobody)))
    with pytest.raises(ContractMissing, match=f"no code at {nobody}"):
        wrong.preflight([])
    reserve = world.reserves[0]
    other = replace(reserve, vtoken=reserve.atoken)
    with pytest.raises(BadConfiguration, match="correct the lending reserve, or the pool"):
        world.venue.preflight([], [other])
    lower = replace(reserve, atoken=replace(reserve.atoken, liquidation_threshold=0.9))
    with pytest.raises(BadConfiguration, match=r"liquidation threshold of aUSD.* is 0.9, the pool's is 0.85"):
        world.venue.preflight([], [lower])
    with pytest.raises(BadConfiguration, match="cannot trade loans"):
        replace(world.venue, vault=VaultDeployment(nobody, 0))


def buy_eth_of_others(world: LoanWorld, usd: int) -> None:
    market = world.rig.market  # noqa: F811
    path, deadline = [market.usd, market.eth], market.node.timestamp() + 1_000
    data = SWAP.encode(usd * 10**6, 0, path, market.owner, deadline)
    market.node.do(market.owner, market.uniswap.router, data)


def test_short_that_failed_is_tried_again_or_released(open_world):
    world = open_world(short_and_park)
    market, aave = world.rig.market, world.aave  # noqa: F811

    def pause_once(step: Any, intent_id: str) -> None:
        if step.value == "finished" and intent_id.endswith("/1/1/step-1"):
            aave.pause(market.eth)

    world.live = replace(world.live, venue=replace(world.venue, observe=pause_once))
    run_cycle(world.live)
    (position,) = world.state().portfolio.frozen_positions.values()
    assert "the reserve is paused (Aave error 29)" in position.notes
    assert check_live_accounts(world.live).is_clean
    aave.pause(market.eth, is_paused=False)
    (refused,) = repair(world.live).refused
    assert "a reorg could still replace" in refused
    market.node.mine(FAST.replan_depth)

    result = retry(world.live)

    assert [trade.get_status() for trade in result.trades] == [TradeStatus.success]
    assert result.accounts.is_clean
    assert list(world.state().portfolio.open_positions) == [1]
    market.node.mine(FAST.replan_depth)
    assert close_all(world.live).is_complete


def test_short_that_was_done_in_part_is_released_and_closed(open_world):
    world = open_world(short_and_park)
    market = world.rig.market  # noqa: F811

    def move_price_once(step: Any, intent_id: str) -> None:
        if step.value == "planned" and intent_id.endswith("/1/1/step-2"):
            sell_eth_of_others(world, 40)

    world.live = replace(world.live, venue=replace(world.venue, observe=move_price_once))
    run_cycle(world.live)
    (position,) = world.state().portfolio.frozen_positions.values()
    assert position.loan.collateral.total == 8_000
    assert [alarm.kind for alarm in world.alarms] == [AlarmKind.loan_incomplete]
    market.node.mine(FAST.replan_depth)
    assert repair(world.live).opened == (1,)

    result = close_all(world.live)

    assert result.is_complete, result.notes
    assert result.accounts.is_clean
    assert list(world.state().portfolio.open_positions) == []


def sell_eth_of_others(world: LoanWorld, eth: int) -> None:
    market = world.rig.market  # noqa: F811
    path, deadline = [market.eth, market.usd], market.node.timestamp() + 1_000
    data = SWAP.encode(eth * 10**18, 0, path, market.owner, deadline)
    market.node.do(market.owner, market.uniswap.router, data)


def test_collateral_that_could_not_be_taken_out_when_the_debt_was_paid_is_released_later(open_world):
    def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
        return input.get_position_manager().open_short(input.get_default_pair(), 8_000.0, leverage=0.5)

    world = open_world(decide)
    market, aave = world.rig.market, world.aave  # noqa: F811
    run_cycle(world.live)

    def pause_once(step: Any, intent_id: str) -> None:
        if step.value == "finished" and intent_id.endswith("/2/1/step-3"):
            aave.pause(market.usd)

    live = replace(world.live, venue=replace(world.venue, observe=pause_once))
    close_all(live)
    (position,) = world.state().portfolio.frozen_positions.values()
    assert position.loan.borrowed.total == 0
    assert position.loan.collateral.total > 7_000
    assert check_live_accounts(world.live).is_clean
    aave.pause(market.usd, is_paused=False)
    market.node.mine(FAST.replan_depth)
    assert repair(world.live).opened == (1,)

    result = close_all(world.live)

    assert result.is_complete, result.notes
    assert result.accounts.is_clean
    assert list(world.state().portfolio.open_positions) == []


@pytest.mark.parametrize("kind", [TrialKind.short, TrialKind.credit])
def test_test_trade_opens_and_closes_a_loan(open_world, kind: TrialKind):
    world = open_world(short_and_park)
    report = perform_test_trade(world.live, None, 100.0, kind)
    assert report.is_complete, report.notes
    assert -0.01 <= report.cost < 1
    assert report.accounts.is_clean
    assert all(trade.is_test() for trade in report.trades)
    assert list(world.state().portfolio.open_positions) == []


def test_collateral_that_was_sent_away_is_corrected_and_the_short_goes_on(open_world):
    world = open_world(short_and_park)
    run_cycle(world.live)
    send_collateral_away(world, 500)

    table = check_live_accounts(world.live)

    row = next(row for row in table.rows if row.asset.token_symbol == "aUSD")
    assert row.usd_value == pytest.approx(-500, abs=1)
    report = correct_accounts(world.live, lambda _: True)
    assert report.after.is_clean, str(report)
    (short,) = world.state().portfolio.open_positions.values()
    assert short.loan.borrowed.total == pytest.approx(3, rel=Decimal("0.01"))
    release_wallet(world.live, "it was me")
    assert close_all(world.live).is_complete
    assert check_live_accounts(world.live).is_clean


def test_credit_that_somebody_took_out_is_closed(open_world):
    def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
        return (
            input.get_position_manager().open_credit_supply_position_for_reserves(1_000.0) if input.cycle == 1 else []
        )

    world = open_world(decide)
    run_cycle(world.live)
    world.next_day()
    node, wallet = world.rig.market.node, world.rig.wallet.address
    node.rpc("anvil_impersonateAccount", wallet)
    node.do(wallet, world.aave.deployment.pool, WITHDRAW.encode(world.rig.market.usd, ALL, wallet))
    node.rpc("anvil_stopImpersonatingAccount", wallet)
    node.mine(FAST.confirmations)

    report = correct_accounts(world.live, lambda _: True, reserve_cause=BalanceUpdateCause.correction)

    assert report.after.is_clean, str(report)
    assert list(world.state().portfolio.closed_positions) == [1]
    assert world.state().portfolio.get_net_asset_value() == pytest.approx(1_000_000, abs=1)
