"""Whole live cycles that trade shares of a vault: decided on candles, priced, filled and checked on the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from evm.conftest import deployed, evm_packages, market, rig, share_vault, share_vault_code  # noqa: F401 - fixtures
from evm.deployment import FAST, Rig
from evm.share_trader import LOSE, OPEN, SET_ASYNC, SET_CAPS, SET_CLOSED, SHARE, USD, ShareVault
from live.evm_wallet import live_on, next_day
from live.world import Steps, load

import trading_dagster as td
from trading_dagster.domain.error import BadConfiguration, UnexpectedAccountingCorrectionIssue
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.evm.alarm import Step
from trading_dagster.evm.erc20 import transfer
from trading_dagster.evm.vault_dex import TradedVault
from trading_dagster.live.closing import close_all
from trading_dagster.live.correction import CorrectionKind, correct_accounts
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.repair import repair, retry
from trading_dagster.live.revaluation import check_live_accounts, revalue
from trading_dagster.live.test_trade import perform_test_trade
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.wallet_check import check_wallet


def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
    """Buy in the first cycle with a stop loss, add in the second, get out in the third, as the vault allows."""
    manager, pair = input.get_position_manager(), input.get_default_pair()
    position = manager.get_current_position_for_pair(pair)
    if position is None and input.cycle == 1:
        limit = manager.get_max_deposit(pair)
        value = 2_000.0 if limit is None else min(2_000.0, limit)
        return manager.open_spot(pair, value=value, stop_loss_pct=0.9) if manager.check_enter_position(pair) else []
    if position is not None and input.cycle == 2:
        return manager.adjust_position(pair, 500.0, None, 1.0)
    return manager.close_all() if position is not None and manager.can_redeem(position) else []


@pytest.fixture
def life(rig: Rig, share_vault: ShareVault, tmp_path: Path) -> Iterator[SimpleNamespace]:  # noqa: F811
    vaults = (TradedVault(share_vault.address),)
    traded = {"pair": share_vault.pair, "price": 1.0, "factory": share_vault.address}
    with live_on(rig.market, tmp_path, decide, **traded, vaults=vaults) as life:
        yield SimpleNamespace(**vars(life), vault=share_vault)


def require_exact(life: SimpleNamespace) -> None:
    """Fail unless the wallet has what the ledger says, to the unit."""
    rows = check_live_accounts(life.live).rows
    assert [row.difference for row in rows] == [Decimal(0)] * len(rows)


def test_three_cycles_buy_add_and_close_at_the_vaults_price(life: SimpleNamespace):
    check_wallet(life.live)
    first = run_cycle(life.live)
    assert first.status is CycleStatus.done
    assert first.sample.equity == pytest.approx(1_000_000, abs=0.01)
    life.vault.earn(100_200 * USD)
    next_day(life)
    assert revalue(life.live).position_equity == pytest.approx(2_200, abs=0.01)
    run_cycle(life.live)
    require_exact(life)
    assert revalue(life.live).position_equity == pytest.approx(2_700, abs=0.01)
    next_day(life)
    last = run_cycle(life.live)
    assert last.sample.open_positions == 0
    assert last.sample.equity == pytest.approx(1_000_200, abs=0.01)
    trades = load(life.live).portfolio.get_all_trades()
    assert [t.get_status() for t in trades] == [TradeStatus.success] * 3
    assert [t.fill.gas_cost > 0 for t in trades] == [True] * 3
    require_exact(life)
    assert life.alarms == []


def test_stop_loss_redeems_after_a_loss(life: SimpleNamespace):
    run_cycle(life.live)
    assert check_triggers(life.live).trades == ()
    life.vault.do(LOSE, 200_000 * USD)
    life.clock.moment += timedelta(minutes=3)
    (trade,) = check_triggers(life.live).trades
    assert trade.is_stop_loss()
    assert trade.get_status() is TradeStatus.success
    assert trade.executed_price == pytest.approx(0.8, rel=1e-3)
    require_exact(life)


def test_stop_loss_waits_while_the_vault_gives_nothing(life: SimpleNamespace):
    run_cycle(life.live)
    life.vault.do(LOSE, 200_000 * USD)
    life.vault.do(SET_CAPS, OPEN, 0)
    life.clock.moment += timedelta(minutes=3)
    assert check_triggers(life.live).trades == ()
    life.vault.do(SET_CAPS, OPEN, OPEN)
    life.clock.moment += timedelta(minutes=3)
    (trade,) = check_triggers(life.live).trades
    assert trade.get_status() is TradeStatus.success
    require_exact(life)


def test_strategy_sees_what_the_vault_takes_and_gives(life: SimpleNamespace):
    life.vault.do(SET_CAPS, 700 * USD, OPEN)
    run_cycle(life.live)
    (trade,) = load(life.live).portfolio.get_all_trades()
    assert (trade.get_status(), trade.executed_reserve) == (TradeStatus.success, 700)
    life.vault.do(SET_CAPS, OPEN, 0)
    next_day(life)
    run_cycle(life.live)
    next_day(life)
    assert run_cycle(life.live).sample.open_positions == 1, "nothing can be redeemed, so nothing is planned"
    assert load(life.live).portfolio.frozen_positions == {}
    require_exact(life)


def test_test_trade_buys_and_redeems(life: SimpleNamespace):
    report = perform_test_trade(life.live, value=50.0)
    assert report.is_complete
    assert report.cost == pytest.approx(0, abs=0.001)
    assert report.accounts.is_clean


def fail_when(life: SimpleNamespace, when: Step, do: Callable[[], None], why: str) -> Any:
    """Do something at a step of the first deposit's transaction; return its frozen position's journal record."""
    done = []

    def observe(step: Step, intent_id: str) -> None:
        if step is when and not done and not intent_id.endswith("approve"):
            done.append(intent_id)
            do()

    venue = replace(life.venue, observe=observe)
    steps = Steps(replace(life.live, venue=venue))
    steps.decide()
    steps.execute()
    steps.complete()
    venue.journal.close()
    (position,) = load(life.live).portfolio.frozen_positions.values()
    (failed,) = position.trades.values()
    assert failed.get_status() is TradeStatus.failed
    assert why in failed.failure
    assert load(life.live).portfolio.get_cash() == 1_000_000
    return life.venue.journal.find(f"trade/wallet/{failed.trade_id}/1")


def test_deposit_that_a_closed_vault_refused_is_tried_again_when_it_opens(life: SimpleNamespace):
    record = fail_when(life, Step.planned, lambda: life.vault.do(SET_CLOSED, True), "closed")
    assert not record.attempts
    require_exact(life)
    life.vault.do(SET_CLOSED, False)
    result = retry(life.live)
    assert result.is_complete, result.notes
    assert result.accounts.is_clean
    assert load(life.live).portfolio.get_cash() == pytest.approx(998_000)
    assert not load(life.live).portfolio.frozen_positions


def test_deposit_that_became_dear_while_it_waited_in_the_journal_is_not_signed(life: SimpleNamespace):
    record = fail_when(life, Step.planned, lambda: life.vault.earn(20_000 * USD), "it would bring")
    assert not record.attempts
    require_exact(life)


def test_closing_all_names_the_vault_that_gives_nothing_and_closes_it_later(life: SimpleNamespace):
    run_cycle(life.live)
    life.vault.do(SET_CAPS, OPEN, 0)
    (note,) = close_all(life.live).notes
    assert "stays open" in note
    assert "gives redemptions of at most 0.0 USD" in note
    life.vault.do(SET_CAPS, OPEN, OPEN)
    assert close_all(life.live).is_complete
    assert not load(life.live).portfolio.open_positions
    require_exact(life)


def test_reverted_deposit_is_tried_again_once_no_reorg_reaches_it(life: SimpleNamespace):
    record = fail_when(life, Step.signed, lambda: life.vault.do(SET_CLOSED, True), "closed")
    assert record.attempts
    life.vault.do(SET_CLOSED, False)
    assert "a reorg could still replace" in retry(life.live).notes[0]
    assert "a reorg could still replace" in repair(life.live).refused[0]
    life.market.node.mine(FAST.replan_depth)
    result = retry(life.live)
    assert result.is_complete, result.notes
    assert load(life.live).portfolio.get_cash() == pytest.approx(998_000)
    require_exact(life)


def test_shares_that_came_from_elsewhere_stop_trading_until_they_are_corrected(life: SimpleNamespace):
    run_cycle(life.live)
    next_day(life)
    node, owner = life.market.node, life.market.owner
    node.do(owner, life.vault.address, transfer(life.vault.address, life.venue.wallet.address, 30 * SHARE).data)
    node.mine(FAST.confirmations)
    with pytest.raises(UnexpectedAccountingCorrectionIssue, match="SHARE"):
        run_cycle(life.live)
    (correction,) = correct_accounts(life.live, lambda _: True).corrections
    assert (correction.kind, correction.quantity) == (CorrectionKind.position, 30)
    require_exact(life)


def test_wallet_check_refuses_vaults_that_cannot_be_traded(life: SimpleNamespace):
    unnamed = replace(life.live, venue=replace(life.venue, vaults=()))
    with pytest.raises(BadConfiguration, match="does not name"):
        check_wallet(unnamed)
    life.vault.do(SET_ASYNC, True)
    with pytest.raises(
        BadConfiguration, match=r"settles at once by its terms .* settles deposits and redemptions later"
    ):
        check_wallet(life.live)
    with pytest.raises(BadConfiguration, match="shares of other vaults"):
        replace(life.venue, vault=SimpleNamespace(vault="0x" + "12" * 20))
