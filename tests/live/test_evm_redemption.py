"""Redemptions from a wallet on a chain: sent once, whatever is killed, and the ledger is the chain."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from evm.conftest import deployed, evm_packages, fund, market, rig, vault_code  # noqa: F401 - fixtures
from live.evm_wallet import life, next_day  # noqa: F401 - fixture
from live.test_evm_fund_fees import charging, move_usd  # noqa: F401 - fixture
from live.test_evm_vault import managed  # noqa: F401 - fixture
from live.world import events, load

from trading_dagster.domain.error import (
    BadConfiguration,
    BadInput,
    UncleanState,
    UnexpectedAccountingCorrectionIssue,
)
from trading_dagster.domain.transaction import OutcomeStatus
from trading_dagster.evm.alarm import Step
from trading_dagster.evm.erc20 import read_balance
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.deposit import deposit
from trading_dagster.live.redemption import cancel_redemption, redeem
from trading_dagster.live.revaluation import check_live_accounts, revalue, sync_treasury

ALICE = "0x" + "a1" * 20
REVERTING = "0x60006000fd"
"""Code of a contract that reverts whatever it is asked."""


class Killed(BaseException):
    """The process ends here."""


def has(life: SimpleNamespace, address: str = ALICE) -> Decimal:  # noqa: F811
    client = life.market.client()
    return Decimal(read_balance(client, life.market.usd, address, client.read_head())) / 10**6


def require_books_equal_chain(life: SimpleNamespace) -> None:  # noqa: F811
    life.market.node.mine(5)
    table = check_live_accounts(life.live)
    assert [row.difference for row in table.rows] == [Decimal(0)] * len(table.rows)


def payments(life: SimpleNamespace) -> list[Any]:  # noqa: F811
    finished = life.venue.journal.list_finished(life.venue.account, 0)
    return [record for record in finished if record.intent.intent_id.startswith("redemption/")]


def test_redemption_is_sent_and_booked_with_its_transaction_after_the_fees(charging: SimpleNamespace):  # noqa: F811
    run_cycle(charging.live)
    next_day(charging)
    run_cycle(charging.live)
    report = redeem(charging.live, Decimal("250000.5"), ALICE)
    assert report.is_paid
    assert report.accounts.is_clean
    assert has(charging) == Decimal("250000.5")
    state = load(charging.live)
    update = list(state.portfolio.reserve.balance_updates.values())[-1]
    (payment,) = payments(charging)
    assert (update.tx_hash, update.quantity, update.owner_address) == (
        payment.outcome.tx_hash, Decimal("-250000.5"), ALICE,
    )  # fmt: skip
    assert state.portfolio.reserve.quantity == Decimal("749999.5")
    price = state.sync.treasury.fund_fees[-1].take.share_price
    assert len(state.sync.treasury.fund_fees) == 2, "what was due until the redemption is taken before it"
    assert revalue(charging.live).share_price == pytest.approx(price, rel=1e-9)
    assert float(state.sync.treasury.share_count) == pytest.approx(749_999.5 / price, rel=1e-9)
    require_books_equal_chain(charging)
    next_day(charging)
    run_cycle(charging.live)
    assert sync_treasury(charging.live) == []
    assert charging.alarms == []


def test_cycle_that_has_the_cash_pays_before_it_decides(life: SimpleNamespace):  # noqa: F811
    """2,000 are in ETH, so all of the million is not there before the third cycle sold it again."""
    run_cycle(life.live)
    report = redeem(life.live, Decimal(999_000), ALICE)
    assert not report.is_paid
    next_day(life)
    run_cycle(life.live)
    assert has(life) == 0
    next_day(life)
    run_cycle(life.live)
    assert has(life) == 0
    next_day(life)
    run_cycle(life.live)
    assert has(life) == 999_000
    require_books_equal_chain(life)
    assert load(life.live).sync.treasury.redemptions == {}


@pytest.mark.parametrize("step", [Step.planned, Step.persisted, Step.sent, Step.receipt_seen, Step.finished])
def test_killed_in_the_protocol_is_paid_once(life: SimpleNamespace, step: Step):  # noqa: F811
    run_cycle(life.live)

    def observe(passed: Step, name: str) -> None:
        if passed is step and name.startswith("redemption/"):
            raise Killed

    with pytest.raises(Killed):
        redeem(replace(life.live, venue=replace(life.venue, observe=observe)), Decimal(5_000), ALICE)
    next_day(life)
    run_cycle(life.live)
    assert has(life) == 5_000
    assert len(payments(life)) == 1
    assert events(life.live, "RedemptionRequested", "RedemptionEnded") == ["RedemptionRequested", "RedemptionEnded"]
    require_books_equal_chain(life)


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_save_is_paid_once_or_was_never_asked_for(
    life: SimpleNamespace,  # noqa: F811
    after: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    run_cycle(life.live)
    append, seen = type(life.store).append, {"saves": 0, "kill_at": 0}

    def killing(store: Any, *arguments: Any, **more: Any) -> Any:
        seen["saves"] += 1
        is_last = seen["saves"] == seen["kill_at"]
        if is_last and not after:
            raise Killed
        result = append(store, *arguments, **more)
        if is_last:
            raise Killed
        return result

    monkeypatch.setattr(type(life.store), "append", killing)
    for kill_at in range(1, 10):
        seen.update(saves=0, kill_at=kill_at)
        try:
            redeem(life.live, Decimal(1_000), ALICE)
        except Killed:
            seen.update(kill_at=0)
            sync_treasury(life.live)
        else:
            break
    seen.update(kill_at=0)
    assert kill_at > 2
    asked = events(life.live, "RedemptionRequested")
    assert has(life) == 1_000 * len(asked)
    assert len(payments(life)) == len(asked) == len(events(life.live, "RedemptionEnded"))
    require_books_equal_chain(life)


def test_payment_that_is_not_mined_stops_new_decisions_until_it_is(life: SimpleNamespace):  # noqa: F811
    run_cycle(life.live)
    patient = replace(life.live, venue=replace(life.venue, swap_timeout_s=0.0, sleep=lambda seconds: None))
    life.market.node.rpc("evm_setAutomine", False)
    with pytest.raises(UncleanState, match=r"the end of redemption 1 of 5000 to 0xa1a1.* is not known yet"):
        redeem(patient, Decimal(5_000), ALICE)
    life.clock.moment += timedelta(days=1)
    with pytest.raises(UncleanState, match="redemption 1"):
        run_cycle(patient)
    with pytest.raises(UncleanState, match="redemption 1"):
        cancel_redemption(patient, 1)
    life.market.node.rpc("evm_setAutomine", True)
    next_day(life)
    run_cycle(life.live)
    assert has(life) == 5_000
    require_books_equal_chain(life)


def test_redemption_waits_while_nothing_may_be_signed_and_can_be_cancelled(life: SimpleNamespace):  # noqa: F811
    run_cycle(life.live)
    stopped = replace(life.live, venue=replace(life.venue, forbid_signing=lambda intent: "stop"))
    report = redeem(stopped, Decimal(5_000), ALICE)
    assert not report.is_paid
    assert payments(life) == []
    assert cancel_redemption(life.live, 1).waiting == ()
    assert has(life) == 0
    require_books_equal_chain(life)


def test_no_payment_of_money_that_is_not_there(life: SimpleNamespace):  # noqa: F811
    run_cycle(life.live)
    move_usd(life, -10_000 * 10**6)
    with pytest.raises(UnexpectedAccountingCorrectionIssue, match="before redemptions"):
        redeem(life.live, Decimal(5_000), ALICE)
    assert has(life) == 0
    assert payments(life) == []


def test_payment_that_can_never_happen_ends_with_an_alarm(life: SimpleNamespace):  # noqa: F811
    """The token begins to refuse everything after the accounts were found right: the transfer is never signed."""
    run_cycle(life.live)
    node, kept = life.market.node, []

    def observe(passed: Step, name: str) -> None:
        if passed is Step.planned and name.startswith("redemption/"):
            kept.append(node.rpc("eth_getCode", life.market.usd, "latest"))
            node.rpc("anvil_setCode", life.market.usd, REVERTING)

    report = redeem(replace(life.live, venue=replace(life.venue, observe=observe)), Decimal(5_000), ALICE)
    assert (report.is_paid, report.waiting) == (False, ())
    node.rpc("anvil_setCode", life.market.usd, kept[0])
    next_day(life)
    run_cycle(life.live)
    assert has(life) == 0
    assert load(life.live).sync.treasury.redemptions == {}
    assert any("failed, and is not tried again" in alarm.text for alarm in life.alarms)
    require_books_equal_chain(life)


def test_what_cannot_be_sent_is_refused_and_leaves_nothing(life: SimpleNamespace, managed: SimpleNamespace):  # noqa: F811
    run_cycle(life.live)
    wallet = life.venue.wallet.address
    typo = "0xcBB7C0000aB88B473b1f5aFd9ef808440eed33Bf"
    for amount, recipient, error, text in (
        ("1", wallet, BadInput, "is the wallet itself"),
        ("1", life.market.usd, BadInput, "is the wallet itself, its token"),
        ("1", typo, BadConfiguration, "checksum"),
        ("0.0000001", ALICE, BadInput, "more than 6 decimals"),
    ):
        with pytest.raises(error, match=text):
            redeem(life.live, Decimal(amount), recipient)
    with pytest.raises(BadInput, match="send reserve tokens to its wallet"):
        deposit(life.live, Decimal(1))
    with pytest.raises(BadInput, match="its investors redeem their shares there"):
        redeem(replace(managed.live, id="managed"), Decimal(1), ALICE)
    assert events(life.live, "RedemptionRequested") == []
    assert OutcomeStatus.confirmed not in [record.outcome.status for record in payments(life)]
