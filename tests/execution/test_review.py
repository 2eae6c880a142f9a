"""What a decision returns is checked before any of it runs."""

from __future__ import annotations

import pytest
from tape import AAVE_USDC, START, WETH_USDC, Desk, run_on, universe_of

from trading_dagster.domain.error import DoubleOpenPosition, DuplicateTrade, StrategyFailed, TradesNotReturned
from trading_dagster.domain.event import TradeDiscarded
from trading_dagster.domain.trade import TradeFlag, TradeStatus
from trading_dagster.execution.review import check_returned, review_decision


@pytest.fixture
def desk() -> Desk:
    return Desk({WETH_USDC: [100.0, 110.0], AAVE_USDC: [50.0, 50.0]})


def review(desk: Desk, trades, first: int = 1) -> None:
    review_decision(desk.state, trades, first, 1)


@pytest.mark.parametrize("returned", [None, "trades", {}, {"a": 1}, 5, iter(())], ids=lambda v: type(v).__name__)
def test_answer_that_is_no_list_is_refused(returned):
    with pytest.raises(StrategyFailed, match=r"at cycle 3: return a list of trades, \[\] for none") as error:
        check_returned(returned, 3)
    assert type(returned).__name__ in str(error.value)


@pytest.mark.parametrize("item", [None, [], "buy", 1], ids=repr)
def test_list_of_something_else_is_refused(desk, item):
    trades = desk.manager.open_spot(WETH_USDC, 10)
    with pytest.raises(StrategyFailed, match="do not append a list to a list") as error:
        check_returned([*trades, item], 3)
    assert repr(item) in str(error.value)


def test_tuple_of_trades_is_taken(desk):
    trades = desk.manager.open_spot(WETH_USDC, 10)
    assert check_returned(tuple(trades), 1) == trades


def test_trade_returned_twice_is_an_assertion_error_that_names_it(desk):
    trades = desk.manager.open_spot(WETH_USDC, 10)
    with pytest.raises(DuplicateTrade, match=r"twice at cycle 1: \[<Trade #1 buy 0\.1 WETH") as error:
        review(desk, trades + trades)
    assert isinstance(error.value, AssertionError)


def test_planned_but_nothing_returned_is_a_runtime_error_that_says_what_to_return(desk):
    desk.manager.open_spot(WETH_USDC, 10)
    with pytest.raises(TradesNotReturned, match="planned 1 trades at cycle 1 but returned none: return the") as error:
        review(desk, [])
    assert isinstance(error.value, RuntimeError)


def test_forgotten_close_is_found_too(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 10))
    desk.manager.close_all()
    with pytest.raises(TradesNotReturned):
        review(desk, [], first=2)


def test_trade_of_an_earlier_cycle_is_refused(desk):
    old = desk.execute(desk.manager.open_spot(WETH_USDC, 10))
    new = desk.manager.open_spot(AAVE_USDC, 10)
    with pytest.raises(StrategyFailed, match=r"trades \[1\] that were not planned at cycle 1"):
        review(desk, old + new, first=2)


def test_dropped_trade_is_discarded_by_an_event_and_its_position_goes_with_it(desk):
    kept = desk.manager.open_spot(WETH_USDC, 10)
    (dropped,) = desk.manager.open_spot(AAVE_USDC, 10)
    desk.state.take_events()
    review(desk, kept)
    (event,) = desk.state.take_events()
    assert isinstance(event, TradeDiscarded)
    assert (event.trade_id, event.reason) == (2, "planned in the cycle but not returned by decide_trades")
    assert dropped.get_status() is TradeStatus.discarded
    assert list(desk.portfolio.open_positions) == [1]
    assert list(desk.portfolio.expired_positions) == [2]
    assert desk.portfolio.get_open_position_for_pair(AAVE_USDC) is None
    desk.execute(kept)
    desk.state.perform_integrity_check()


def test_dropped_close_leaves_its_position_whole(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    position = desk.manager.get_current_position()
    desk.manager.close_position(position)
    review(desk, desk.manager.open_spot(AAVE_USDC, 10), first=2)
    assert position.get_available_trading_quantity() == 10
    assert position.is_open()


def test_opening_beside_an_open_position_is_an_assertion_error_that_names_both(desk):
    """The close was planned, so an opening beside it was allowed; then the close was dropped."""
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    desk.manager.close_all()
    opening = desk.manager.open_spot(WETH_USDC, 10)
    with pytest.raises(
        DoubleOpenPosition, match=r"Trade #3 .* second position on WETH-USDC beside <Position #1"
    ) as error:
        review(desk, opening, first=2)
    assert "ignore_open" in str(error.value)
    assert isinstance(error.value, AssertionError)


def test_close_and_open_returned_together_pass(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    review(desk, desk.manager.close_all() + desk.manager.open_spot(WETH_USDC, 10), first=2)


def test_second_position_passes_when_it_is_asked_for(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    review(desk, desk.manager.open_spot(WETH_USDC, 10, flags={TradeFlag.ignore_open}), first=2)


# -- in a backtest ----------------------------------------------------------------------------------------------------


def run(decide):
    return run_on(universe_of({WETH_USDC: [100.0] * 5, AAVE_USDC: [50.0] * 5}), decide, cycles=4)


@pytest.mark.parametrize("answer", [None, 0, "x", {}])
def test_backtest_refuses_an_answer_that_is_no_list_even_when_nothing_was_planned(answer):
    with pytest.raises(StrategyFailed, match="at cycle 1: return a list"):
        run(lambda _: answer)


def test_backtest_finds_trades_that_were_not_returned():
    def decide(input):
        if input.cycle == 3:
            input.get_position_manager().open_spot(WETH_USDC, 10)
        return []

    with pytest.raises(TradesNotReturned, match="at cycle 3"):
        run(decide)


def test_backtest_goes_on_after_a_dropped_trade():
    def decide(input):
        manager = input.get_position_manager()
        if input.cycle == 1:
            kept = manager.open_spot(WETH_USDC, 10)
            manager.open_spot(AAVE_USDC, 10)
            return kept
        return manager.open_spot(AAVE_USDC, 20) if input.cycle == 2 else []

    portfolio = run(decide).state.portfolio
    assert [t.planned_reserve for t in portfolio.get_all_trades()] == [10, 20]
    assert [p.opened_at for p in portfolio.expired_positions.values()] == [START]
    assert len(portfolio.open_positions) == 2


def test_first_trade_that_was_dropped_does_not_count_as_the_opening(desk):
    first = desk.manager.adjust_position(WETH_USDC, 100, None, 0.1)
    second = desk.manager.adjust_position(WETH_USDC, 300, None, 0.1)
    assert first[0].position_id == second[0].position_id
    review(desk, second)
    desk.execute(second)
    position = desk.manager.get_current_position()
    assert position.get_value_at_open() == 300
    assert position.get_opening_quantity() == 3
