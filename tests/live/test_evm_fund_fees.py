"""A fund's fees on a chain: a wallet's are shares and no transaction, a vault's are its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from evm.conftest import deployed, evm_packages, fund, market, rig, vault_code  # noqa: F401 - fixtures
from evm.fund import SHARE, TAKE_FEE
from live.evm_wallet import life, next_day  # noqa: F401 - fixture
from live.test_evm_vault import managed  # noqa: F401 - fixture
from live.world import load

import trading_dagster as td
from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.evm.alarm import AlarmKind
from trading_dagster.evm.erc20 import transfer
from trading_dagster.live.correction import correct_accounts
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.revaluation import check_live_accounts, revalue, sync_treasury
from trading_dagster.live.wallet_check import check_wallet
from trading_dagster.storage.strategy_ledger import StrategyLedger

FEES = td.FundFees(management=0.5, performance=0.2, every=timedelta(days=1))
DAY = 0.5 ** (1 / 365)
"""What a day of the management fee leaves."""


@pytest.fixture
def charging(life: SimpleNamespace) -> SimpleNamespace:  # noqa: F811
    """Give a strategy that holds a million dollars of cash, and takes fees."""
    strategy = life.live.strategy.with_parameters({"fund_fees": FEES})
    life.live = replace(life.live, strategy=replace(strategy, decide_trades=lambda given: []))
    return life


def move_usd(charging: SimpleNamespace, units: int) -> None:
    """Send the wallet dollars, or take some out."""
    chain, wallet = charging.market, charging.venue.wallet.address
    giver, taker = (chain.owner, wallet) if units > 0 else (wallet, chain.owner)
    chain.node.rpc("anvil_impersonateAccount", giver)
    chain.node.do(giver, chain.usd, transfer(chain.usd, taker, abs(units)).data)
    chain.node.rpc("anvil_stopImpersonatingAccount", giver)
    chain.node.mine(5)


def taken(charging: SimpleNamespace):
    return load(charging.live).sync.treasury.fund_fees


def test_fees_of_a_wallet_are_shares_and_nothing_is_sent(charging: SimpleNamespace):
    for _ in range(3):
        sample = run_cycle(charging.live).sample
        next_day(charging)
    assert sample.equity == 1_000_000
    assert sample.share_price == pytest.approx(DAY**2, rel=1e-12)
    assert len(taken(charging)) == 2
    assert charging.venue.journal.list_finished(charging.venue.account, 0) == []
    assert check_live_accounts(charging.live).is_clean
    assert charging.alarms == []


def test_deposit_pays_the_price_after_what_was_due_before_it(charging: SimpleNamespace):
    """It comes half a day after a cycle, in a step beside it."""
    run_cycle(charging.live)
    charging.clock.moment += timedelta(hours=12)
    move_usd(charging, 500_000 * 10**6)
    (deposit,) = sync_treasury(charging.live)

    state = load(charging.live)
    (entry,) = taken(charging)
    assert entry.at == to_naive(charging.clock.moment) == deposit.strategy_cycle_included_at
    since = next(iter(state.portfolio.reserve.balance_updates.values())).strategy_cycle_included_at
    price = 0.5 ** ((entry.at - since) / timedelta(days=365))
    assert entry.take.share_price == pytest.approx(price, rel=1e-12)
    assert float(state.sync.treasury.share_count) == pytest.approx(1_500_000 / price, rel=1e-12)
    assert revalue(charging.live).share_price == pytest.approx(price, rel=1e-12)
    assert sync_treasury(charging.live) == []
    assert len(taken(charging)) == 1


def test_late_cycle_after_a_deposit_of_a_newer_time_takes_no_negative_time(charging: SimpleNamespace):
    """The deposit of the new period is booked at five past, and the cycle of midnight comes after it."""
    run_cycle(charging.live)
    next_day(charging)
    move_usd(charging, 1_000 * 10**6)
    sync_treasury(charging.live)
    before = load(charging.live).sync.treasury.share_count
    move_usd(charging, 1_000 * 10**6)
    report = run_cycle(charging.live)
    assert [entry.at for entry in taken(charging)] == [to_naive(charging.clock.moment)]
    assert report.sample.share_price == pytest.approx(taken(charging)[0].take.share_price, rel=1e-12)
    assert load(charging.live).sync.treasury.share_count > before


def test_manager_takes_his_fee_out_by_hand_as_a_redemption_that_burns_its_shares(charging: SimpleNamespace):
    run_cycle(charging.live)
    next_day(charging)
    sample = run_cycle(charging.live).sample
    shares = load(charging.live).sync.treasury.fee_shares
    worth = int(float(shares) * sample.share_price * 10**6)
    move_usd(charging, -worth)
    correct_accounts(charging.live, lambda report: True, reserve_cause=BalanceUpdateCause.redemption)

    state = load(charging.live)
    entries = taken(charging)
    assert len(entries) == 2, "what was due until the redemption is taken first"
    assert entries[-1].take.management_usd < 0.01 * entries[0].take.management_usd * 5
    price = revalue(charging.live).share_price
    assert price == pytest.approx(entries[-1].take.share_price, rel=1e-12)
    kept = float(state.sync.treasury.share_count)
    assert kept == pytest.approx((1_000_000 - worth / 1e6) / price, rel=1e-12)
    next_day(charging)
    assert run_cycle(charging.live).sample is not None
    assert {alarm.kind for alarm in charging.alarms} == {AlarmKind.foreign_use}, "who signs by hand is told"


def test_share_price_after_a_restart_is_that_before_it(charging: SimpleNamespace):
    for _ in range(2):
        sample = run_cycle(charging.live).sample
        next_day(charging)
    ledger = StrategyLedger(charging.store, charging.live.id)
    treasuries = [ledger.load(use_snapshot=by_snapshot).sync.treasury for by_snapshot in (True, False)]
    assert treasuries[0].share_count == treasuries[1].share_count
    assert treasuries[0].fund_fees == treasuries[1].fund_fees
    assert revalue(charging.live).share_price == sample.share_price


def test_fees_that_a_vault_takes_in_shares_are_in_the_ledger_after_a_restart(managed: SimpleNamespace):  # noqa: F811
    run_cycle(managed.live)
    before = revalue(managed.live).share_price
    node, manager = managed.market.node, managed.venue.wallet.address
    node.rpc("anvil_impersonateAccount", manager)
    node.do(manager, managed.fund.deployment.vault, TAKE_FEE.encode(1_000 * SHARE))
    node.rpc("anvil_stopImpersonatingAccount", manager)
    node.mine(5)
    assert sync_treasury(managed.live) == [], "no money moved"

    ledger = StrategyLedger(managed.store, managed.live.id)
    shares = [ledger.load(use_snapshot=by_snapshot).sync.treasury.share_count for by_snapshot in (True, False)]
    assert shares == [Decimal(101_000)] * 2
    assert revalue(managed.live).share_price == pytest.approx(before / 1.01, rel=1e-4)


def test_own_fees_on_top_of_a_vaults_are_refused(managed: SimpleNamespace):  # noqa: F811
    strategy = managed.live.strategy.with_parameters({"fund_fees": FEES})
    live = replace(managed.live, strategy=strategy)
    for refused in (run_cycle, check_wallet, sync_treasury):
        with pytest.raises(BadConfiguration, match=r"would be taken twice: vault 0x.* write fund_fees: false"):
            refused(live)
    run_cycle(replace(live, strategy=strategy.with_parameters({"fund_fees": False})))
