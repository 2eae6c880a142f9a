"""Limits refuse entries that are too large, too many or come after too great a loss, and never keep an exit back."""

from __future__ import annotations

import dataclasses
import math
from datetime import timedelta
from decimal import Decimal

import pytest
from tape import AAVE_USDC, START, WETH_USDC, Desk

from trading_dagster.domain.error import BadConfiguration, PriceImpactToleranceExceeded, TradeLimitExceeded
from trading_dagster.domain.event import CycleCompleted, FundFeesTaken, TradeDiscarded, TradeStarted
from trading_dagster.domain.fund_fee import FundFeeTake
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradeStatus
from trading_dagster.execution.limit import AllowAll, EquityMark, Review, TradeLimits, discard_refused
from trading_dagster.execution.limit_guard import LimitGuard, Past, is_dollar, is_exit, price_impact, review_trades

NOW = to_aware(START) + timedelta(hours=5)
NONE = TradeLimits(max_price_impact=None)


@pytest.fixture
def desk() -> Desk:
    return Desk({WETH_USDC: [100.0, 110.0], AAVE_USDC: [50.0, 50.0]})


class FakeHistory:
    """Answers with what it was given and remembers what it was asked."""

    def __init__(self, turnover=0.0, day=None, cycle=None):
        self.turnover, self.day, self.cycle = turnover, day, cycle
        self.asked: list[str] = []

    def find_day_start(self, now):
        self.asked.append("day")
        return self.day

    def find_cycle_end(self, last_cycle_at):
        self.asked.append("cycle")
        return self.cycle

    def sum_turnover(self, state, now):
        self.asked.append("turnover")
        return self.turnover


def changed(trade: TradeExecution, **fields) -> TradeExecution:
    """The same trade with another plan."""
    return TradeExecution(dataclasses.replace(trade.plan, **fields), trade.opened_at)


def priced(trade: TradeExecution, price: float, mid: float = 100.0) -> TradeExecution:
    return changed(trade, pricing=dataclasses.replace(trade.plan.pricing, price=price, mid_price=mid))


def ids(review: Review) -> tuple[list[int], list[int]]:
    return [t.trade_id for t in review.allowed], [t.trade_id for t, _ in review.refused]


def mark(equity: float, **share) -> EquityMark:
    return EquityMark(NOW - timedelta(hours=24), equity, **share)


@pytest.mark.parametrize("symbol", ["WETH", "WBTC", "EURC", "PAXG"])
def test_limits_in_dollars_let_no_entry_pass_when_the_ledger_counts_in_another_token(desk, symbol):
    """500 USD would be 500 WETH."""
    reserve = desk.state.portfolio.reserve
    (entry,) = desk.manager.open_spot(WETH_USDC, 400)
    limits = TradeLimits(max_trade_usd=500, max_day_turnover_usd=5_000)
    assert review_trades(desk.state, [entry], limits).allowed == (entry,)
    reserve.asset = dataclasses.replace(reserve.asset, token_symbol=symbol)

    review = review_trades(desk.state, [entry], limits)

    assert review.allowed == ()
    assert str(review.problem).startswith(f"max_trade_usd, max_day_turnover_usd: the ledger counts in {symbol}")
    assert review_trades(desk.state, [entry], TradeLimits(max_trade_share=0.9)).allowed == (entry,)
    exit_ = changed(entry, quantity=-entry.plan.quantity)
    assert review_trades(desk.state, [exit_], limits).allowed == (exit_,)


@pytest.mark.parametrize("symbol", ["USD", "USDC", "USDC.e", "USDT", "axlUSDC", "DAI", "xDAI", "LUSD"])
def test_dollar_tokens_are_known_by_their_symbol(symbol):
    assert is_dollar(dataclasses.replace(WETH_USDC.quote, token_symbol=symbol))


# -- single entries ---------------------------------------------------------------------------------------------------


def test_without_limits_everything_passes_in_order(desk):
    trades = desk.manager.open_spot(WETH_USDC, 4000) + desk.manager.open_spot(AAVE_USDC, 6000)
    assert review_trades(desk.state, trades, NONE) == Review(tuple(trades))
    assert AllowAll().review(desk.state, trades, NOW) == Review(tuple(trades))


@pytest.mark.parametrize(("value", "is_allowed"), [(1000, True), (1000.01, False)])
def test_entry_above_the_value_allowed_is_refused_alone(desk, value, is_allowed):
    (large,) = desk.manager.open_spot(WETH_USDC, value)
    (small,) = desk.manager.open_spot(AAVE_USDC, 10)
    review = review_trades(desk.state, [large, small], TradeLimits(max_trade_usd=1000))
    assert ids(review) == (([1, 2], []) if is_allowed else ([2], [1]))
    assert review.problem is None
    if not is_allowed:
        assert review.refused[0].reason == "max_trade_usd: 1,000.01 USD is above the 1,000.00 USD allowed"


def test_plan_whose_reserve_says_more_than_its_quantity_is_held_to_the_reserve(desk):
    (trade,) = desk.manager.open_spot(WETH_USDC, 100)
    review = review_trades(desk.state, [changed(trade, reserve=Decimal(5000))], TradeLimits(max_trade_usd=1000))
    assert ids(review) == ([], [1])


@pytest.mark.parametrize("price", [math.nan, math.inf])
def test_entry_without_a_price_is_above_every_limit(desk, price):
    trade = priced(desk.manager.open_spot(WETH_USDC, 100)[0], price)
    assert ids(review_trades(desk.state, [trade], TradeLimits(max_trade_usd=1e9, max_price_impact=None))) == ([], [1])
    review = review_trades(desk.state, [trade], TradeLimits())
    assert isinstance(review.problem, PriceImpactToleranceExceeded)


def test_share_of_equity_counts_open_positions(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 5000))
    (trade,) = desk.manager.open_spot(AAVE_USDC, 2000)
    assert ids(review_trades(desk.state, [trade], TradeLimits(max_trade_share=0.2))) == ([2], [])
    review = review_trades(desk.state, [trade], TradeLimits(max_trade_share=0.19))
    assert review.refused[0].reason == "max_trade_share: 20.00% is above the 19.00% allowed"


def test_share_of_no_equity_is_refused():
    desk = Desk({WETH_USDC: [100.0, 110.0]}, cash=0)
    (trade,) = desk.manager.open_spot(WETH_USDC, 1)
    assert ids(review_trades(desk.state, [trade], TradeLimits(max_trade_share=1))) == ([], [1])


def test_blacklisted_token_cannot_be_bought_but_sold(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    desk.state.blacklist_asset(WETH_USDC.base, "honeypot")
    (close,) = desk.manager.close_all()
    opening = changed(close, trade_id=9, quantity=Decimal(1), closing=False)
    review = review_trades(desk.state, [close, opening], NONE)
    assert ids(review) == ([2], [9])
    assert review.refused[0].reason == "blacklist: WETH-USDC has a blacklisted token (WETH: honeypot)"


def test_slippage_tolerance_of_entries_and_exits_is_limited_apart(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    trades = [*desk.manager.close_all(), *desk.manager.open_spot(AAVE_USDC, 100)]
    trades = [changed(trade, slippage_tolerance=0.05) for trade in trades]
    assert ids(review_trades(desk.state, trades, TradeLimits(max_slippage_tolerance=0.02))) == ([2], [3])
    assert ids(review_trades(desk.state, trades, TradeLimits(max_exit_slippage_tolerance=0.02))) == ([3], [2])
    assert ids(review_trades(desk.state, trades, TradeLimits(max_slippage_tolerance=0.05))) == ([2, 3], [])


# -- turnover and cash ------------------------------------------------------------------------------------------------


def test_turnover_of_a_decision_counts_exits_and_refuses_entries_beyond_it(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 5000))
    close = desk.manager.close_all()
    first, second = desk.manager.open_spot(AAVE_USDC, 2000), desk.manager.open_spot(WETH_USDC, 2000)
    review = review_trades(desk.state, [*close, *first, *second], TradeLimits(max_cycle_turnover_usd=7500))
    assert ids(review) == ([2, 3], [4])
    assert "max_cycle_turnover_usd: 9,000.00 USD is above" in review.refused[0].reason


def test_turnover_of_the_day_adds_what_was_traded_and_what_is_running(desk):
    (running,) = desk.manager.open_spot(WETH_USDC, 1000)
    desk.state.record(TradeStarted(NOW, running.trade_id, running.position_id))
    (trade,) = desk.manager.open_spot(AAVE_USDC, 1000)
    for traded, expected in ((3000, ([2], [])), (3001, ([], [2]))):
        guard = LimitGuard(TradeLimits(max_day_turnover_usd=5000), FakeHistory(turnover=traded))
        assert ids(guard.review(desk.state, [trade], NOW)) == expected


def test_buys_need_cash_and_what_the_sells_of_the_batch_bring(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 9000))
    close = desk.manager.close_all()
    first, second = desk.manager.open_spot(AAVE_USDC, 9500), desk.manager.open_spot(WETH_USDC, 501)
    review = review_trades(desk.state, [*close, *first, *second], NONE)
    assert ids(review) == ([2, 3], [4])
    assert review.refused[0].reason.startswith("cash: it needs 501")
    assert ids(review_trades(desk.state, [*first, *second], NONE)) == ([4], [3])


def test_cash_of_a_refused_sell_is_not_counted(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 9000))
    close = [changed(trade, slippage_tolerance=0.3) for trade in desk.manager.close_all()]
    buy = desk.manager.open_spot(AAVE_USDC, 1500)
    assert ids(review_trades(desk.state, close + buy, TradeLimits(max_exit_slippage_tolerance=0.1))) == ([], [2, 3])


# -- the decision as a whole ------------------------------------------------------------------------------------------


def test_price_impact_is_what_price_differs_from_mid_beside_the_fee(desk):
    (buy,) = desk.manager.open_spot(WETH_USDC, 100)
    assert price_impact(buy) == 0
    assert price_impact(priced(buy, 110.0)) == pytest.approx(1 - 100 / 110)
    assert price_impact(priced(buy, 90.0)) == 0
    (taxed,) = desk.manager.open_spot(AAVE_USDC, 100)
    assert price_impact(taxed) == pytest.approx(0, abs=1e-5)
    sell = changed(buy, quantity=Decimal(-1))
    assert price_impact(priced(sell, 80.0)) == pytest.approx(0.20)
    assert price_impact(priced(sell, 120.0)) == 0
    tax = dataclasses.replace(buy.plan.pricing, price=100 / 0.95, pair_fee=0.0, token_tax_percent=0.05)
    assert price_impact(changed(buy, pricing=tax)) == pytest.approx(0)
    assert math.isnan(price_impact(priced(buy, 100.0, mid=0.0)))
    assert math.isnan(price_impact(priced(buy, math.nan)))


def test_price_impact_refuses_all_entries_and_lets_exits_run(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    close = [priced(trade, 50.0) for trade in desk.manager.close_all()]
    (good,) = desk.manager.open_spot(AAVE_USDC, 10)
    bad = priced(changed(good, trade_id=4), 60.5, mid=50.0)
    review = review_trades(desk.state, [*close, good, bad], TradeLimits())
    assert ids(review) == ([2], [3, 4])
    assert isinstance(review.problem, PriceImpactToleranceExceeded)
    assert "17.11% is above the 10.00% allowed by <Trade #4 buy" in str(review.problem)
    limited = review_trades(desk.state, close, TradeLimits(max_exit_price_impact=0.3))
    assert ids(limited) == ([], [2])
    assert limited.problem is None


def test_too_many_trades_refuse_all_entries(desk):
    trades = [t for _ in range(3) for t in desk.manager.open_spot(WETH_USDC, 10, flags={TradeFlag.ignore_open})]
    assert ids(review_trades(desk.state, trades, TradeLimits(max_cycle_trades=3))) == ([1, 2, 3], [])
    review = review_trades(desk.state, trades, TradeLimits(max_cycle_trades=2))
    assert ids(review) == ([], [1, 2, 3])
    assert isinstance(review.problem, TradeLimitExceeded)
    assert "the decision has 3 trades, 2 are allowed" in str(review.problem)


def test_loss_of_the_day_at_the_limit_stops_entries_and_no_exits(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 5000))
    trades = desk.manager.close_all() + desk.manager.open_spot(AAVE_USDC, 10)
    for limits in (TradeLimits(max_day_loss_usd=500), TradeLimits(max_day_loss_share=500 / 10_500)):
        review = review_trades(desk.state, trades, limits, Past(day_start=mark(10_500)))
        assert ids(review) == ([2], [3])
        assert isinstance(review.problem, TradeLimitExceeded)
        assert str(review.problem).startswith("max_day_loss: 500.00 USD (4.76%) were lost since 2022-01-02 05:00:00")
        assert review.refused[0].reason == str(review.problem)
        assert ids(review_trades(desk.state, trades, limits, Past(day_start=mark(10_499)))) == ([2, 3], [])
        assert ids(review_trades(desk.state, trades, limits)) == ([2, 3], [])


def test_unrealised_loss_since_the_last_cycle_stops_entries(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 5000))
    desk.at(1)
    trades = desk.manager.open_spot(AAVE_USDC, 10)
    limits = TradeLimits(max_cycle_loss_usd=100)
    assert desk.portfolio.calculate_total_equity() == 10_500
    assert ids(review_trades(desk.state, trades, limits, Past(cycle_end=mark(10_600)))) == ([], [2])
    assert ids(review_trades(desk.state, trades, limits, Past(cycle_end=mark(10_500)))) == ([2], [])


def test_loss_that_is_no_number_stops_entries(desk):
    trades = desk.manager.open_spot(WETH_USDC, 10)
    assert ids(review_trades(desk.state, trades, TradeLimits(max_day_loss_usd=1), Past(day_start=mark(math.nan)))) == (
        [],
        [1],
    )


def test_deposit_hides_no_loss_when_shares_are_known(desk):
    """10,000 shares now; before, 5,000 shares of 1.25 were worth 6,250: the rest came in as a deposit."""
    trades = desk.manager.open_spot(WETH_USDC, 10)
    assert float(desk.state.sync.treasury.share_count) == 10_000
    before = mark(6250, share_count=5000.0, share_price=1.25)
    review = review_trades(desk.state, trades, TradeLimits(max_day_loss_share=0.19), Past(day_start=before))
    assert "1,250.00 USD (20.00%)" in str(review.problem)
    gained = mark(20_000, share_count=20_000.0, share_price=1.0)
    assert ids(review_trades(desk.state, trades, TradeLimits(max_day_loss_share=0.2), Past(day_start=gained))) == (
        [1],
        [],
    )


def test_fees_of_a_fund_are_no_loss(desk):
    """Ten percent more shares were made as fees since the mark, and before it as many: only the former are left out."""
    trades = desk.manager.open_spot(WETH_USDC, 10)
    before = mark(10_000, share_count=10_000.0, share_price=1.0)
    limits = TradeLimits(max_day_loss_share=0.05)
    take = FundFeeTake(Decimal(0), Decimal(1_000), 0.0, 909.09, 10_000 / 11_000, 1.0)
    desk.state.record(FundFeesTaken(NOW - timedelta(hours=1), take))
    assert ids(review_trades(desk.state, trades, limits, Past(day_start=before))) == ([1], [])
    older = mark(10_000, share_count=10_000.0, share_price=1.1)
    review = review_trades(desk.state, trades, limits, Past(day_start=older))
    assert "(9.09%)" in str(review.problem), "a loss is one"
    desk.state.record(FundFeesTaken(NOW, FundFeeTake(Decimal(20_000), Decimal(0), 0.0, 0.0, 0.3, 1.0)))
    assert review_trades(desk.state, trades, limits, Past(day_start=before)).problem is not None


def test_stop_loss_gets_out_whatever_the_limits(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 9000))
    desk.state.blacklist_asset(WETH_USDC.base, "rug")
    close = [priced(changed(t, slippage_tolerance=0.3), 20.0) for t in desk.manager.close_all()]
    strict = TradeLimits(
        max_trade_usd=0, max_trade_share=0, max_cycle_trades=0, max_cycle_turnover_usd=0, max_day_turnover_usd=0,
        max_cycle_loss_usd=1, max_day_loss_usd=1, max_day_loss_share=0.01, max_price_impact=0, max_slippage_tolerance=0,
    )  # fmt: skip
    review = review_trades(desk.state, close, strict, Past(1e9, mark(1e9), mark(1e9)))
    assert review == Review(tuple(close))


def test_history_is_asked_only_for_limits_that_are_set_and_only_when_there_are_entries(desk):
    desk.state.record(CycleCompleted(NOW, 1))
    opening = desk.manager.open_spot(WETH_USDC, 10)
    history = FakeHistory()
    LimitGuard(TradeLimits(max_trade_usd=1), history).review(desk.state, opening, NOW)
    assert history.asked == []
    every = TradeLimits(max_day_turnover_usd=1e9, max_day_loss_usd=1, max_cycle_loss_share=0.1)
    LimitGuard(every, history).review(desk.state, opening, NOW)
    assert history.asked == ["turnover", "day", "cycle"]
    history.asked.clear()
    desk.execute(opening)
    LimitGuard(every, history).review(desk.state, desk.manager.close_all(), NOW)
    assert history.asked == []


# -- what becomes of it -----------------------------------------------------------------------------------------------


def test_refused_trades_are_discarded_once_and_their_new_positions_go_with_them(desk):
    kept, refused = desk.manager.open_spot(WETH_USDC, 10), desk.manager.open_spot(AAVE_USDC, 2000)
    review = review_trades(desk.state, kept + refused, TradeLimits(max_trade_usd=100))
    desk.state.take_events()
    discard_refused(desk.state, review.refused, NOW)
    discard_refused(desk.state, review.refused, NOW)
    (event,) = desk.state.take_events()
    assert isinstance(event, TradeDiscarded)
    assert (event.at, event.trade_id, event.reason) == (NOW, 2, review.refused[0].reason)
    assert refused[0].get_status() is TradeStatus.discarded
    assert list(desk.portfolio.open_positions) == [1]
    desk.execute(kept)
    desk.state.perform_integrity_check()


def test_exits_are_sells_and_of_shorts_buys(desk):
    (buy,) = desk.manager.open_spot(WETH_USDC, 10)
    assert not is_exit(buy)
    assert is_exit(changed(buy, quantity=Decimal(-1)))
    assert is_exit(changed(buy, quantity=Decimal(0), closing=True))
    assert not is_exit(changed(buy, closing=True))


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("max_trade_usd", -1), ("max_trade_usd", math.nan), ("max_trade_usd", "1000"), ("max_trade_share", 1.5),
        ("max_cycle_trades", 2.5), ("max_day_loss_usd", 0), ("max_price_impact", 10), ("max_day_loss_share", True),
    ],
)  # fmt: skip
def test_limit_that_makes_no_sense_is_refused_by_name(name, limit):
    with pytest.raises(BadConfiguration, match=name):
        TradeLimits(**{name: limit})
