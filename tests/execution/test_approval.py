"""An approval counts for exactly the trades it was asked for, once, in time, and whatever is run again."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest
from tape import AAVE_USDC, START, WETH_USDC, Desk

from trading_dagster.domain.error import ApprovalMissing, BadConfiguration, BadInput, LedgerConflict
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradeStatus
from trading_dagster.execution.approval import (
    Answer,
    Decided,
    ManualApproval,
    UncheckedApproval,
    Verdict,
    Waiting,
)
from trading_dagster.execution.limit import discard_refused
from trading_dagster.execution.memory_approval import MemoryApprovalStore

NOW = to_aware(START)
MINUTE = timedelta(minutes=1)


class Asking:
    """A decision of two trades, an operator and a clock."""

    def __init__(self, **options):
        self.desk = Desk({WETH_USDC: [100.0, 110.0], AAVE_USDC: [50.0, 50.0]})
        self.trades = self.desk.manager.open_spot(WETH_USDC, 1000) + self.desk.manager.open_spot(AAVE_USDC, 500)
        self.store = MemoryApprovalStore()
        self.now = NOW
        self.options = options

    def decide(self, trades=None):
        """Ask as a new process would."""
        model = ManualApproval(self.store, "s", lambda: self.now, 30 * MINUTE, **self.options)
        return model.decide(self.desk.state, self.trades if trades is None else trades, 7, START)

    def digest(self) -> str:
        return self.decide().approval.request.digest

    def answer(self, digest=None, **fields):
        given = {"by": "ann", "at": self.now} | fields
        return self.store.answer("s", Answer(digest or self.digest(), **given))


@pytest.fixture
def asking() -> Asking:
    return Asking()


def test_unchecked_passes_all(asking):
    assert UncheckedApproval().decide(asking.desk.state, asking.trades, 1, START) == Decided((1, 2))


def test_decision_waits_and_says_what_is_asked(asking):
    outcome = asking.decide()
    assert isinstance(outcome, Waiting)
    request = outcome.approval.request
    assert (request.strategy_id, request.cycle, request.decision_at) == ("s", 7, NOW)
    assert (request.requested_at, request.deadline) == (NOW, NOW + 30 * MINUTE)
    first, second = request.trades
    assert (first.trade_id, first.side, first.ticker, first.quantity, first.price) == (1, "buy", "WETH-USDC", "10", 100)
    assert (second.quantity[:10], second.price) == ("9.97008973", pytest.approx(50.15))
    assert request.trades[1].value == pytest.approx(500)


def test_asking_again_keeps_the_request_and_its_deadline(asking):
    first = asking.decide()
    asking.now += 10 * MINUTE
    assert asking.decide() == first
    assert [a.request for a in asking.store.list_waiting("s")] == [first.approval.request]


def test_approval_of_all_trades(asking):
    approval = asking.answer(comment="fine")
    assert (approval.verdict, approval.approved_ids, approval.answered_by) == (Verdict.approved, (1, 2), "ann")
    assert asking.decide() == asking.decide() == Decided((1, 2))
    assert asking.store.list_waiting("s") == []


def test_chosen_trades_run_and_the_others_are_discarded(asking):
    asking.answer(trade_ids=(2,), comment="too much WETH")
    outcome = asking.decide()
    assert outcome.approved == (2,)
    ((trade, reason),) = outcome.refused
    assert (trade.trade_id, reason) == (1, "not approved by ann: too much WETH")
    discard_refused(asking.desk.state, outcome.refused, NOW)
    assert [t.get_status() for t in asking.trades] == [TradeStatus.discarded, TradeStatus.planned]
    assert list(asking.desk.portfolio.open_positions) == [2]


def test_rejection_refuses_all(asking):
    asking.answer(trade_ids=())
    outcome = asking.decide()
    assert outcome.approved == ()
    assert [t.trade_id for t, _ in outcome.refused] == [1, 2]


def test_beginning_of_the_digest_is_enough_but_not_less_than_eight_characters(asking):
    digest = asking.digest()
    with pytest.raises(BadInput, match="too short: give at least its first 8 characters"):
        asking.answer(digest[:7])
    assert asking.answer(digest[:8]).verdict is Verdict.approved


# -- what an approval does not count for ------------------------------------------------------------------------------


def changed(trade: TradeExecution, **fields) -> TradeExecution:
    return TradeExecution(dataclasses.replace(trade.plan, **fields), trade.opened_at)


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": Decimal("10.000000001")}, {"quantity": Decimal(-10)}, {"reserve": Decimal(1001)},
        {"trade_id": 3}, {"position_id": 9}, {"pair": AAVE_USDC}, {"slippage_tolerance": 0.3}, {"closing": True},
        {"pricing": None},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_approval_does_not_count_for_another_trade(asking, change):
    asking.answer()
    trade = asking.trades[0]
    if "pricing" in change:
        change = {"pricing": dataclasses.replace(trade.plan.pricing, price=100.1)}
    assert isinstance(asking.decide([changed(trade, **change), asking.trades[1]]), Waiting)
    assert isinstance(asking.decide([changed(trade, **change)]), Waiting)


def test_equal_numbers_are_the_same_trade_however_they_are_written(asking):
    asking.answer()
    same = changed(asking.trades[0], quantity=Decimal("10.000"), reserve=Decimal("1E+3"))
    assert asking.decide([same, asking.trades[1]]) == Decided((1, 2))


def test_trade_added_to_approved_ones_needs_another_approval(asking):
    asking.answer()
    more = asking.desk.manager.open_spot(WETH_USDC, 1, flags={TradeFlag.ignore_open})
    assert isinstance(asking.decide(asking.trades + more), Waiting)


def test_rest_of_the_trades_keeps_its_answer_after_some_ran(asking):
    asking.answer(trade_ids=(1,))
    asking.desk.execute(asking.trades[:1])
    assert asking.decide(asking.trades[1:]).approved == ()
    assert asking.decide(asking.trades[:1]) == Decided((1,))


def test_answer_for_trades_that_were_not_asked_about_is_refused(asking):
    with pytest.raises(BadInput, match=r"is for trades \[1, 2\], not \[5\]: choose among them"):
        asking.answer(trade_ids=(1, 5))
    with pytest.raises(BadInput, match=r"has 0 requests that begin with 'deadbeef00'"):
        asking.answer("deadbeef00")
    with pytest.raises(BadInput, match="give a name"):
        asking.answer(by=" ")
    assert isinstance(asking.decide(), Waiting)


# -- twice and late ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [None, (), (1,)])
def test_second_answer_is_refused_and_the_first_stays(asking, first):
    digest = asking.digest()
    given = asking.answer(digest, trade_ids=first)
    said = "rejected" if first == () else "approved"
    with pytest.raises(LedgerConflict, match=f"was {said} by ann at 2022-01-03 00:00:00 UTC already: that stays"):
        asking.answer(digest, by="bob")
    assert asking.decide().approved == given.approved_ids


def test_late_answer_is_refused_even_before_the_strategy_noticed(asking):
    digest = asking.digest()
    asking.now += 30 * MINUTE
    with pytest.raises(
        ApprovalMissing, match="could be answered until 2022-01-03 00:30:00 UTC, it is 2022-01-03 00:30"
    ):
        asking.answer(digest)


def test_nobody_answers_in_time_and_nobody_is_heard_later(asking):
    digest = asking.digest()
    asking.now += 30 * MINUTE
    for _ in range(2):
        with pytest.raises(ApprovalMissing, match=r"Nobody approved the trades of s at cycle 7 .* they are dropped"):
            asking.decide()
    with pytest.raises(ApprovalMissing, match="the trades are dropped, approve those of the next cycle"):
        asking.answer(digest, at=NOW)


def test_answer_in_time_counts_when_it_is_read_late(asking):
    asking.answer()
    asking.now += 300 * MINUTE
    assert asking.decide() == Decided((1, 2))


# -- stop losses ------------------------------------------------------------------------------------------------------


def test_triggered_trades_run_unasked_unless_they_are_to_be_asked_for():
    for asks in (False, True):
        asking = Asking(asks_for_triggered=asks)
        trades = [changed(t, flags=frozenset({TradeFlag.triggered})) for t in asking.trades]
        outcome = asking.decide(trades)
        assert isinstance(outcome, Waiting) if asks else outcome == Decided((1, 2))
        assert len(asking.store.list_waiting("s")) == asks


def test_no_trades_need_no_approval(asking):
    assert asking.decide([]) == Decided(())
    assert asking.store.list_waiting("s") == []


def test_no_patience_is_refused():
    with pytest.raises(BadConfiguration, match="give a time above 0"):
        ManualApproval(MemoryApprovalStore(), "s", lambda: NOW, timedelta(0))
