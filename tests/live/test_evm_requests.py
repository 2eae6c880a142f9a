"""Whole live cycles that trade shares of a vault which settles later: cycles go on while it has an order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from evm.conftest import (  # noqa: F401 - fixtures
    deployed,
    evm_packages,
    market,
    request_vault,
    request_vault_code,
    rig,
)
from evm.deployment import FAST, Rig
from evm.request_trader import GIVE_BACK, LOSE, SET_LATER, SETTLE, SHARE, USD, RequestVault
from live.evm_wallet import live_on, next_day
from live.test_evm_shares_deployment import write_deployment
from live.world import load

import trading_dagster as td
from trading_dagster.domain.error import BadConfiguration, UncleanState, UnexpectedAccountingCorrectionIssue
from trading_dagster.domain.message import Message
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.evm.alarm import AlarmKind
from trading_dagster.evm.erc20 import transfer
from trading_dagster.evm.vault_dex import TradedVault
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.closing import close_all
from trading_dagster.live.correction import correct_accounts
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_live
from trading_dagster.live.operation import open_operation
from trading_dagster.live.repair import repair, retry
from trading_dagster.live.revaluation import check_live_accounts, revalue
from trading_dagster.live.test_trade import perform_test_trade
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.wallet_check import begin_ledger, check_wallet

PENDING = TradeStatus.vault_settlement_pending


def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
    """Buy once with a stop loss; from the third cycle on get out when the vault has no order."""
    manager, pair = input.get_position_manager(), input.get_default_pair()
    position = manager.get_current_position_for_pair(pair)
    if position is None:
        return manager.open_spot(pair, value=2_000.0, stop_loss_pct=0.9) if input.cycle == 1 else []
    return manager.close_all() if input.cycle >= 3 and manager.can_redeem(position) else []


@pytest.fixture
def life(rig: Rig, request_vault: RequestVault, tmp_path: Path) -> Iterator[SimpleNamespace]:  # noqa: F811
    wallet = live_on(
        rig.market,
        tmp_path,
        decide,
        pair=request_vault.pair,
        price=1.0,
        factory=request_vault.address,
        vaults=(TradedVault(request_vault.address),),
    )
    with wallet as life:
        life.vault = request_vault
        yield life


def keep(life: SimpleNamespace, function, is_deposit: bool, *arguments: int) -> None:
    """Let the keeper do something about the wallet's newest request."""
    life.vault.do(function, is_deposit, life.venue.wallet.address, *arguments)
    life.market.node.mine(FAST.confirmations)


def trade_statuses(life: SimpleNamespace) -> list[TradeStatus]:
    return [trade.get_status() for trade in load(life.live).portfolio.get_all_trades()]


def require_exact(life: SimpleNamespace) -> None:
    """Fail unless the wallet has what the ledger says, to the unit."""
    rows = check_live_accounts(life.live).rows
    assert [row.difference for row in rows] == [Decimal(0)] * len(rows)


def test_cycles_go_on_while_the_vault_has_an_order_and_claim_it_when_it_settled(life: SimpleNamespace):
    told: list[Message] = []
    life.live = replace(life.live, reporter=SimpleNamespace(report=told.append))
    check_wallet(life.live)
    first = run_cycle(life.live)
    assert (first.status, trade_statuses(life)) == (CycleStatus.done, [PENDING])
    assert first.sample.equity == pytest.approx(1_000_000)
    require_exact(life)
    next_day(life)
    assert run_cycle(life.live).sample.equity == pytest.approx(1_000_000)
    assert trade_statuses(life) == [PENDING]
    (note,) = close_all(life.live).notes
    assert "stays open" in note

    keep(life, SETTLE, True, 2_000 * USD)
    life.vault.earn(100_200 * USD)
    next_day(life)
    third = run_cycle(life.live)
    assert trade_statuses(life) == [TradeStatus.success, PENDING], "claimed before the decision, which got out"
    assert third.sample.equity == pytest.approx(1_000_200, abs=0.01)
    require_exact(life)
    next_day(life)
    run_cycle(life.live)
    assert trade_statuses(life) == [TradeStatus.success, PENDING], "nothing else trades the position"

    keep(life, SETTLE, False, 2_000 * SHARE)
    next_day(life)
    last = run_cycle(life.live)
    assert trade_statuses(life) == [TradeStatus.success] * 2
    subjects = [message.subject for message in told if "settled" in message.subject]
    assert subjects == [f"wallet: trade #{number} was settled by its vault" for number in (1, 2)]
    assert (last.sample.open_positions, last.sample.equity) == (0, pytest.approx(1_000_200, abs=0.01))
    require_exact(life)
    assert life.alarms == []


def test_trigger_check_claims_too_and_a_stop_loss_asks_for_the_redemption(life: SimpleNamespace):
    run_cycle(life.live)
    keep(life, SETTLE, True, 2_000 * USD)
    life.clock.moment += timedelta(minutes=3)
    assert check_triggers(life.live).trades == ()
    assert trade_statuses(life) == [TradeStatus.success]
    vault, owner = life.vault, life.market.owner
    life.market.node.rpc("anvil_impersonateAccount", vault.address)
    life.market.node.rpc("anvil_setBalance", vault.address, hex(10**18))
    gone = transfer(life.market.usd, owner, 200_400 * USD).data
    life.market.node.do(vault.address, life.market.usd, gone)
    life.clock.moment += timedelta(minutes=3)
    (stop,) = check_triggers(life.live).trades
    assert (stop.is_stop_loss(), stop.get_status()) == (True, PENDING)
    life.clock.moment += timedelta(minutes=3)
    assert check_triggers(life.live).trades == (), "the position waits"
    keep(life, SETTLE, False, 2_000 * SHARE)
    life.clock.moment += timedelta(minutes=3)
    check_triggers(life.live)
    (_, stop) = load(life.live).portfolio.get_all_trades()
    assert stop.executed_price == pytest.approx(0.8, rel=1e-3)
    require_exact(life)


def test_order_that_was_given_back_is_made_again_by_a_retry(life: SimpleNamespace):
    run_cycle(life.live)
    keep(life, GIVE_BACK, True, 2_000 * USD)
    with pytest.raises(UncleanState, match="is not known yet"):
        revalue_finished(life)
    life.market.node.mine(FAST.replan_depth)
    revalue_finished(life)
    assert trade_statuses(life) == [TradeStatus.failed]
    assert load(life.live).portfolio.get_cash() == 1_000_000
    require_exact(life)
    result = retry(life.live)
    assert [trade.get_status() for trade in result.trades] == [PENDING]
    assert result.accounts.is_clean
    keep(life, SETTLE, True, 2_000 * USD)
    revalue_finished(life)
    assert trade_statuses(life) == [TradeStatus.repaired, TradeStatus.success]
    require_exact(life)


def revalue_finished(life: SimpleNamespace) -> None:
    """Run the step of an operation: it begins by looking up what is under way."""
    with open_operation(life.live, "a look"):
        pass
    revalue(life.live)


def test_request_that_is_lost_stops_trading_until_the_accounts_are_corrected(life: SimpleNamespace):
    run_cycle(life.live)
    keep(life, LOSE, True, 2_000 * USD)
    life.market.node.mine(FAST.replan_depth)
    next_day(life)
    with pytest.raises(UnexpectedAccountingCorrectionIssue, match="USD"):
        run_cycle(life.live)
    assert AlarmKind.request_lost in [alarm.kind for alarm in life.alarms]
    assert trade_statuses(life) == [TradeStatus.failed]
    assert "took effect" in retry(life.live).notes[0]
    repair(life.live, force=True)
    correct_accounts(life.live, lambda _: True, reserve_cause=BalanceUpdateCause.correction)
    next_day(life)
    assert run_cycle(life.live).sample.equity == pytest.approx(998_000)


def test_test_trade_asks_for_a_deposit_and_the_next_one_for_its_redemption(life: SimpleNamespace):
    first = perform_test_trade(life.live, value=50.0)
    assert (first.is_complete, [trade.get_status() for trade in first.trades]) == (False, [PENDING])
    assert "its vault settles it later" in first.notes[0]
    again = perform_test_trade(life.live, value=50.0)
    assert again.trades == ()
    assert "waits for its vault" in again.notes[0]
    keep(life, SETTLE, True, 50 * USD)
    second = perform_test_trade(life.live, value=50.0)
    assert [(trade.is_sell(), trade.get_status()) for trade in second.trades] == [(True, PENDING)]
    keep(life, SETTLE, False, 50 * SHARE)
    revalue_finished(life)
    assert trade_statuses(life) == [TradeStatus.success] * 2
    require_exact(life)


def test_wallet_check_refuses_a_vault_that_settles_otherwise(life: SimpleNamespace):
    life.vault.do(SET_LATER, False, False)
    with pytest.raises(BadConfiguration, match="settles nothing later"):
        check_wallet(life.live)
    unnamed = replace(life.live, venue=replace(life.venue, vaults=()))
    with pytest.raises(BadConfiguration, match="does not name"):
        check_wallet(unnamed)


def test_deployment_file_says_nothing_more_of_a_vault_that_settles_later(
    rig: Rig,  # noqa: F811
    request_vault: RequestVault,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Prices, decision, request and claim are of the chain; its terms are the strategy's."""
    node, terms = rig.market.node, ", settlement_delay=timedelta(hours=1)"
    file = write_deployment(rig, request_vault.address, tmp_path, monkeypatch, terms)
    begin = -(-node.timestamp() // 3600) * 3600
    clock = ManualClock(datetime.fromtimestamp(begin, UTC))

    def reach(hour: int) -> None:
        """Let the vault earn within an hour, and go five minutes beyond its end."""
        node.rpc("evm_setNextBlockTimestamp", begin + hour * 3600 - 600)
        request_vault.earn(10_000 * USD)
        node.rpc("evm_setNextBlockTimestamp", begin + hour * 3600 + 300)
        node.mine(5)
        clock.moment = datetime.fromtimestamp(begin, UTC) + timedelta(hours=hour, minutes=5)

    for hour in range(1, 6):
        reach(hour)
    live = open_live(read_deployment(file), LiveHome(tmp_path / "home"), clock)
    live = replace(live, venue=replace(live.venue, sleep=lambda seconds: node.mine()))
    begin_ledger(live)
    run_cycle(live)
    (buy,) = load(live).portfolio.get_all_trades()
    assert (buy.get_status(), buy.settles_at) == (PENDING, clock.moment.replace(tzinfo=None) + timedelta(hours=1))
    request_vault.do(SETTLE, True, live.venue.wallet.address, 5_000 * USD)
    reach(6)
    run_cycle(live)
    (buy,) = load(live).portfolio.get_all_trades()
    assert (buy.get_status(), buy.executed_reserve) == (TradeStatus.success, 5_000)
    assert buy.executed_price == pytest.approx(1.05, rel=1e-9)
    assert check_live_accounts(live).is_clean
    live.venue.journal.close()
    live.store.close()
