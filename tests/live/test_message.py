"""Messages say in words what was decided, how each trade went against its plan, and what there is now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tape import AAVE_USDC, START, WETH_USDC, Desk

from trading_dagster.domain import error as errors
from trading_dagster.domain.event import (
    PositionFrozen,
    TradeBroadcasted,
    TradeDiscarded,
    TradeExecuted,
    TradeFailed,
    TradeStarted,
)
from trading_dagster.domain.message import MessageKind, MessageLevel
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeFlag, TradeType
from trading_dagster.domain.transaction import Account
from trading_dagster.evm.alarm import Alarm, AlarmKind
from trading_dagster.live.message import (
    alarm_message,
    cycle_message,
    describe_trade,
    failure_message,
    freeze_messages,
    trigger_message,
)

NOW = datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def desk() -> Desk:
    return Desk({WETH_USDC: [100.0, 110.0], AAVE_USDC: [50.0, 50.0]})


def message_of(desk: Desk, trades=(), **fields):
    return cycle_message("s", desk.state, cycle=7, decision_at=START, trades=trades, at=NOW, **fields)


def fail(desk: Desk, trade, reason: str) -> None:
    at, ids = to_aware(START), (trade.trade_id, trade.position_id)
    desk.state.record(TradeStarted(at, *ids))
    desk.state.record(TradeFailed(at, *ids, reason))
    desk.state.record(PositionFrozen(at, trade.position_id, reason))


def test_quiet_cycle_is_information(desk):
    message = message_of(desk, notes=("skipped: nothing to do",))
    assert (message.level, message.kind, message.at) == (MessageLevel.info, MessageKind.cycle, NOW)
    assert message.subject == "s: cycle 7 of 2022-01-03 00:00, no trades"
    assert message.text == ("skipped: nothing to do\nEquity 10,000.00 USD, cash 10,000.00 USD, 0 positions open")


def test_opening_matters_and_is_told_with_price_against_plan(desk):
    (trade,) = desk.manager.open_spot(WETH_USDC, 1000)
    at, ids = to_aware(START), (trade.trade_id, trade.position_id)
    desk.state.record(TradeStarted(at, *ids))
    desk.state.record(TradeExecuted(at, *ids, Decimal("9.9"), Decimal(999), 100.9, 3.0))
    message = message_of(desk, [trade])
    assert message.level is MessageLevel.trade_high
    assert message.subject == "s: cycle 7 of 2022-01-03 00:00, 1 trade"
    assert message.text == (
        "#1 buy 9.9 WETH at 100.9 (planned 100: +0.90%) for 999.00 USDC, fee 3.00 USD, opens position #1\n"
        "Equity 9,991.00 USD, cash 9,001.00 USD, 1 positions open"
    )


def test_close_tells_its_profit(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    desk.at(1)
    trades = desk.execute(desk.manager.close_all())
    assert describe_trade(trades[0]).endswith("for 1,100.00 USDC, fee 0.00 USD, profit +100.00 USD, closes position #1")
    assert message_of(desk, trades).level is MessageLevel.trade_high


def test_increase_is_a_trade_of_the_lower_level(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    trades = desk.execute(desk.manager.adjust_position(WETH_USDC, 100, None, 1.0))
    message = message_of(desk, trades)
    assert TradeFlag.open not in trades[0].flags
    assert message.level is MessageLevel.trade
    assert "position" not in message.text.splitlines()[0]


def test_failed_trade_matters_and_its_frozen_position_has_a_message_of_its_own(desk):
    good, bad = desk.manager.open_spot(AAVE_USDC, 100) + desk.manager.open_spot(WETH_USDC, 1000)
    fail(desk, bad, "reverted: INSUFFICIENT_OUTPUT")
    message = message_of(desk, [bad])
    assert message.level is MessageLevel.trade_high
    assert "#2 buy 10 WETH at 100 failed: reverted: INSUFFICIENT_OUTPUT" in message.text
    assert message.text.endswith("1 positions open, 1 frozen")
    (freeze,) = freeze_messages("s", [good, bad], NOW)
    assert (freeze.level, freeze.kind) == (MessageLevel.trade_high, MessageKind.freeze)
    assert freeze.subject == "s: trade #2 failed, position #2 is frozen"
    assert "INSUFFICIENT_OUTPUT" in freeze.text


def test_trade_that_did_not_run_or_did_not_end_says_so(desk):
    dropped, running = desk.manager.open_spot(AAVE_USDC, 100) + desk.manager.open_spot(WETH_USDC, 1000)
    at = to_aware(START)
    desk.state.record(TradeDiscarded(at, dropped.trade_id, dropped.position_id, "max_trade_usd: too much"))
    desk.state.record(TradeStarted(at, running.trade_id, running.position_id))
    desk.state.record(TradeBroadcasted(at, running.trade_id, running.position_id))
    text = message_of(desk, [dropped, running]).text
    assert "was not run: max_trade_usd: too much" in text
    assert "#2 buy 10 WETH at 100 is broadcasted" in text
    assert message_of(desk, [dropped]).level is MessageLevel.trade


def test_trigger_is_named_and_each_check_counts(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    (position,) = desk.portfolio.get_open_positions()
    trades = desk.execute(desk.manager.close_position(position, trade_type=TradeType.stop_loss))
    first = trigger_message("s", desk.state, trades=trades, at=NOW)
    later = trigger_message("s", desk.state, trades=trades, at=NOW + timedelta(minutes=3))
    assert first.level is MessageLevel.trade_high
    assert first.text.startswith("#2 stop loss: sell 10 WETH at 100")
    assert "position #1" in first.subject
    assert first.subject != later.subject


def test_exits_that_were_not_made_are_not_said_to_be_closed(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000) + desk.manager.open_spot(AAVE_USDC, 100))
    first, second = desk.portfolio.get_open_positions()
    (refused,) = desk.manager.close_position(first, trade_type=TradeType.stop_loss)
    (running,) = desk.manager.close_position(second, trade_type=TradeType.stop_loss)
    at = to_aware(START)
    desk.state.record(TradeDiscarded(at, refused.trade_id, refused.position_id, "refused: the simulation reverted"))
    desk.state.record(TradeStarted(at, running.trade_id, running.position_id))
    message = trigger_message("s", desk.state, trades=[refused, running], at=NOW)
    told = "s: triggers began to trade position #2 and could not trade position #1 at "
    assert message.subject.startswith(told), message.subject
    assert "refused: the simulation reverted" in message.text


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.UncleanState("x"), "unclean_state"),
        (errors.UnexpectedAccountingCorrectionIssue("x"), "accounts"),
        (errors.DataTooOld("x"), "data_lag"),
        (errors.NoNewDataReceived("x"), "data_lag"),
        (errors.ApprovalMissing("x"), "approval"),
        (errors.TradeLimitExceeded("x"), "limit"),
        (errors.PriceImpactToleranceExceeded("x"), "limit"),
        (errors.NodeUnavailable("x"), "node"),
        (errors.StrategyFailed("x"), "failure"),
        (ZeroDivisionError("x"), "failure"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_is_an_alarm_that_repeats_under_one_subject(error, kind):
    message = failure_message("s", "decide", error, NOW)
    assert (message.level, message.kind, message.text) == (MessageLevel.alarm, kind, "x")
    assert message.subject == f"s: decide ended with {type(error).__name__}"


@pytest.mark.parametrize("kind", AlarmKind)
def test_every_alarm_of_a_chain_becomes_a_message(kind):
    account = Account(1, "0x" + "ab" * 20)
    message = alarm_message("s", Alarm(kind, account, "text 12"), NOW)
    assert message.level is (MessageLevel.trade_high if kind is AlarmKind.reorganised else MessageLevel.alarm)
    assert message.subject == f"s: {kind.value.replace('_', ' ')}, wallet {account}"
    assert message.text == "text 12"
