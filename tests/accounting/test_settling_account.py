"""What is expected in the wallet while a vault has an order: what left is not, what came before the end is."""

from datetime import UTC
from decimal import Decimal

import pytest
from ledger import SHARE, VAULT, Ledger, day
from scenario import USDC

from trading_dagster.accounting.account_check import expected_balances
from trading_dagster.domain.error import LedgerError
from trading_dagster.domain.event import (
    PairIntroduced,
    SettlementMoved,
    SettlementRequested,
    TradeDiscarded,
    TradeExecuted,
)
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.storage.event_codec import EventDecoder, encode_event


def expected(ledger: Ledger) -> tuple[Decimal, Decimal]:
    """Return the reserve and the shares that should be in the wallet."""
    found = expected_balances(ledger.state)
    return found[USDC].quantity, found[SHARE].quantity


def request(ledger: Ledger, trade_id: int, position: int, at: float) -> None:
    when = day(at).replace(tzinfo=UTC)
    ledger.state.record(SettlementRequested(when, trade_id, position, day(at + 1).replace(tzinfo=UTC)))


def move(ledger: Ledger, trade_id: int, position: int, quantity: str, reserve: str, at: float = 3) -> None:
    when = day(at).replace(tzinfo=UTC)
    ledger.state.record(SettlementMoved(when, trade_id, position, Decimal(quantity), Decimal(reserve)))


@pytest.fixture
def deposit():
    """A buy of 10 shares for 1000 of 10000 in cash that a vault has."""
    ledger = Ledger()
    position = ledger.buy(1, 1_000, 100, pair=VAULT, outcome="running")
    request(ledger, 1, position, 1)
    return ledger, position


def test_money_that_a_vault_took_is_not_expected_and_parts_that_came_are(deposit):
    ledger, position = deposit
    assert expected(ledger) == (9_000, 0)
    move(ledger, 1, position, "0", "-999.999999")
    assert expected(ledger) == (Decimal("9000.000001"), 0), "what the token cannot count stayed"
    move(ledger, 1, position, "4", "-999.999999")
    assert expected(ledger) == (Decimal("9000.000001"), 4), "the newest counts"
    state = ledger.state
    assert (state.portfolio.get_pending_settlement_value(), state.portfolio.get_cash()) == (1_000, 9_000)
    at = day(4).replace(tzinfo=UTC)
    state.record(TradeExecuted(at, 1, position, Decimal(10), Decimal("999.999999"), 100.0, 0.0))
    assert expected(ledger) == (Decimal("9000.000001"), 10)
    assert state.portfolio.settlements == {}


def test_shares_that_left_with_a_request_are_not_expected_and_stay_in_the_position():
    ledger = Ledger()
    position = ledger.buy(1, 1_000, 100, pair=VAULT)
    ledger.sell(2, position, 100, outcome="running")
    request(ledger, 2, position, 2)
    assert expected(ledger) == (9_000, 10), "in a simulation they are kept in the wallet"
    move(ledger, 2, position, "-10", "0")
    assert expected(ledger) == (9_000, 0)
    assert ledger.state.portfolio.open_positions[position].quantity == 10
    move(ledger, 2, position, "-10", "400")
    assert expected(ledger) == (9_400, 0)
    assert ledger.state.portfolio.get_reserve_settling() == 400
    assert ledger.state.portfolio.get_cash() == 9_000
    ledger.state.record(TradeDiscarded(day(4).replace(tzinfo=UTC), 2, position, "given back"))
    assert expected(ledger) == (9_000, 10)


def test_what_a_vault_moved_is_the_same_after_replay(deposit):
    ledger, position = deposit
    move(ledger, 1, position, "4", "-1000")
    decoder, (first, *others) = EventDecoder([VAULT]), ledger.state.new_events
    events = [first, PairIntroduced(first.at, VAULT), *others]
    state = State.replay([decoder.decode(encode_event(event)) for event in events])
    (trade,) = state.portfolio.get_settling_trades()
    assert (trade.get_status(), trade.settlement_move) == (
        TradeStatus.vault_settlement_pending,
        ledger.state.portfolio.get_settling_trades()[0].settlement_move,
    )


def test_nothing_moves_for_a_trade_that_waits_for_no_vault(deposit):
    ledger, _ = deposit
    other = ledger.buy(2, 500, 100, pair=VAULT, outcome="running")
    with pytest.raises(LedgerError, match="waits for no vault"):
        move(ledger, 2, other, "0", "-500")
