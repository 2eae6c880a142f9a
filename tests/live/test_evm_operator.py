"""What operators do about trades on a chain: retry only what is dead, correct what tokens really did, get out."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from evm.conftest import deployed, evm_packages, market, rig  # noqa: F401 - fixtures
from evm.deployment import FAST
from live.evm_wallet import life, next_day  # noqa: F401 - fixture
from live.world import Steps

from trading_dagster.domain.error import BadInput, UnexpectedAccountingCorrectionIssue
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.evm.alarm import Step
from trading_dagster.evm.erc20 import transfer
from trading_dagster.evm.transaction_journal import MemoryTransactionJournal
from trading_dagster.evm.uniswap_v2 import SWAP
from trading_dagster.live.closing import close_all
from trading_dagster.live.correction import CorrectionKind, correct_accounts
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.repair import repair, retry
from trading_dagster.live.retry_gate import release_wallet
from trading_dagster.live.revaluation import check_live_accounts
from trading_dagster.live.test_trade import perform_test_trade
from trading_dagster.live.wallet_check import check_wallet
from trading_dagster.storage.strategy_ledger import StrategyLedger


def load(life):  # noqa: F811
    state = StrategyLedger(life.store, life.live.id).load()
    assert state is not None
    return state


def swap(life, path, amount):  # noqa: F811
    """Somebody else trades in the pool."""
    deadline = life.market.node.timestamp() + 100_000
    data = SWAP.encode(amount, 0, path, life.market.owner, deadline)
    life.market.node.do(life.market.owner, life.market.uniswap.router, data)


def fail_to_buy(life, when: Step | None = None):  # noqa: F811
    """Let the price run away between the decision and its execution, or at a step of the transaction protocol."""
    done = []

    def run_away(step: Step | None, intent_id: str) -> None:
        if step is when and not done and not intent_id.endswith("approve"):
            done.append(intent_id)
            swap(life, [life.market.usd, life.market.eth], 400_000 * 10**6)

    venue = replace(life.venue, observe=run_away)
    steps = Steps(replace(life.live, venue=venue))
    steps.decide()
    if when is None:
        run_away(None, "")
    steps.execute()
    steps.complete()
    venue.journal.close()
    (position,) = load(life).portfolio.frozen_positions.values()
    (failed,) = position.trades.values()
    assert failed.get_status() is TradeStatus.failed
    return failed, life.venue.journal.find(f"trade/wallet/{failed.trade_id}/1")


def test_swap_that_was_never_signed_is_tried_again_at_once(life):  # noqa: F811
    _, record = fail_to_buy(life)
    assert not record.attempts
    cash = load(life).portfolio.get_cash()
    result = retry(life.live)
    assert result.is_complete, result.notes
    assert result.accounts.is_clean
    assert load(life).portfolio.get_cash() == pytest.approx(cash - 2_000)
    assert not load(life).portfolio.frozen_positions


def test_retry_waits_until_the_failed_swap_is_dead(life):  # noqa: F811
    failed, record = fail_to_buy(life, Step.signed)
    assert record.attempts
    assert "revert" in failed.failure
    cash = load(life).portfolio.get_cash()
    assert cash == 1_000_000
    assert "could still be mined" in retry(life.live).notes[0]
    assert "could still be mined" in repair(life.live).refused[0]
    life.market.node.rpc("evm_increaseTime", 100_000)
    life.market.node.mine(200)
    result = retry(life.live)
    assert result.is_complete, result.notes
    assert result.accounts.is_clean
    assert load(life).portfolio.get_cash() == pytest.approx(cash - 2_000)
    assert not load(life).portfolio.frozen_positions


def test_tokens_that_left_and_came_are_corrected_to_the_unit(life):  # noqa: F811
    run_cycle(life.live)
    next_day(life)
    market = life.market  # noqa: F811
    eth = next(iter(load(life).portfolio.open_positions.values())).pair.base
    market.node.do(market.owner, market.eth, transfer(market.eth, life.venue.wallet.address, 3 * 10**17).data)
    market.node.mine(FAST.confirmations)
    with pytest.raises(UnexpectedAccountingCorrectionIssue, match="before the decision"):
        run_cycle(life.live)
    report = correct_accounts(life.live, lambda _: True)
    (correction,) = report.corrections
    assert (correction.kind, correction.asset, correction.quantity) == (CorrectionKind.position, eth, Decimal("0.3"))
    assert [row.difference for row in check_live_accounts(life.live).rows] == [0, 0]
    result = close_all(life.live)
    assert result.is_complete
    assert result.accounts.is_clean


def test_test_trade_buys_and_sells_in_the_pool(life):  # noqa: F811
    report = perform_test_trade(life.live, value=50.0)
    assert report.is_complete
    assert report.cost == pytest.approx(50 * 0.006, rel=0.01)
    assert report.accounts.is_clean
    assert [trade.fill.tx_hash is not None for trade in report.trades] == [True, True]


def test_wallet_is_shown_with_its_gas(life):  # noqa: F811
    report = check_wallet(life.live)
    assert report.address == life.venue.wallet.address
    assert report.gas > 0
    assert [balance.quantity for balance in report.balances] == [Decimal(1_000_000), Decimal(0)]


def test_unexplained_cash_needs_a_cause(life):  # noqa: F811
    run_cycle(life.live)
    market = life.market  # noqa: F811
    market.fund(life.venue.wallet.address, 7 * 10**6)
    market.node.mine(FAST.confirmations)
    before = load(life).portfolio.reserve.quantity
    assert correct_accounts(life.live, lambda _: True).corrections == ()  # it is less than the tolerance
    market.fund(life.venue.wallet.address, 7_000 * 10**6)
    market.node.mine(FAST.confirmations)
    with pytest.raises(BadInput, match=r"Cash differs by \+7007"):
        correct_accounts(life.live, lambda _: True)
    correct_accounts(life.live, lambda _: True, reserve_cause=BalanceUpdateCause.deposit)
    assert load(life).portfolio.reserve.quantity == before + 7_007
    next_day(life)
    run_cycle(life.live)
    assert load(life).portfolio.get_initial_cash() == 1_000_000


def test_halted_wallet_signs_again_when_an_operator_says_so(life):  # noqa: F811
    run_cycle(life.live)
    venue = life.venue
    fence = venue.journal.find_wallet(venue.account).fence
    venue.journal.halt(venue.account, "somebody else signed", fence)
    with pytest.raises(BadInput, match="Say why"):
        release_wallet(life.live, " ")
    release_wallet(life.live, "it was me")
    assert venue.journal.find_wallet(venue.account).halt_reason == ""
    next_day(life)
    assert [trade.get_status() for trade in run_cycle(life.live).trades] == [TradeStatus.success]


def test_trade_of_a_lost_journal_is_not_tried_again(life):  # noqa: F811
    steps = Steps(replace(life.live, venue=replace(life.venue, swap_timeout_s=0.0, sleep=lambda _: None)))
    steps.decide()
    steps.execute()
    (running,) = next(iter(load(life).portfolio.open_positions.values())).trades.values()
    assert running.get_status() is TradeStatus.broadcasted
    lost = replace(life.live, venue=replace(life.venue, open_journal=MemoryTransactionJournal))
    cash = load(life).portfolio.get_cash()

    result = retry(lost)

    assert "it may have been sent" in result.notes[0]
    assert result.trades == ()
    assert "it may have been sent" in repair(lost).refused[0]
    assert load(life).portfolio.get_cash() == cash + 2_000
    assert [position.position_id for position in load(life).portfolio.frozen_positions.values()] == [1]
