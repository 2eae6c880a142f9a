"""Shorts that open when a price is reached: small candle tables and the trades expected of them, in both models.

A table begins at START; the strategy decides every four hours and does all it does in its first decision.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_tape import HOUR, trades_of, universe_of_candles
from tape import AAVE_USDC, START, USDC, WETH_USDC, run_on

from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.domain.trigger import TriggerCondition, TriggerModel
from trading_dagster.market.synthetic import generate_lending_reserve, generate_lending_universe
from trading_dagster.statistics.exit_table import analyse_waiting_trades

SAMPLED, INTRABAR = TriggerModel.sampled, TriggerModel.intrabar
ABOVE = TriggerCondition.cross_above
SL, TP, ML, LIQ, RB = "stop_loss", "take_profit", "market_limit", "liquidation", "rebalance"


APRS = {"supply": 2, "variable": 5}


def play(candles, decide, *, model=SAMPLED, pair=WETH_USDC, cash=10_000, aprs=APRS, **options):
    """Run a strategy over hourly candles in a market with loans; it decides every four hours."""
    universe = universe_of_candles({pair: candles}, 4)
    reserves = [generate_lending_reserve(asset, n) for n, asset in enumerate((USDC, pair.base), 1)]
    end = START + len(candles) * HOUR
    rates = generate_lending_universe(TimeBucket.h1, START, end, reserves, aprs)
    return run_on(
        replace(universe, lending=rates),
        decide,
        cycle=CycleDuration.cycle_4h,
        cycles=(len(candles) - 1) // 4,
        cash=cash,
        trigger_model=model,
        **options,
    )


def enter(price, pair=WETH_USDC, value=1000, **arguments):
    """Return a strategy that waits for a price to short 1000 USD at."""

    def decide(input):
        if input.cycle == 1:
            input.get_position_manager().open_short_with_market_limit(pair, value, price, **arguments)
        return []

    return decide


# hours:                    0    1    2     3    4
@pytest.mark.parametrize(
    ("opens", "order", "expected"),
    [
        pytest.param([100, 96, 95.1, 96, 96], {}, [], id="not reached"),
        pytest.param([100, 96, 95, 96, 96], {}, [(2, 95)], id="touching fires"),
        pytest.param([100, 96, 80, 96, 96], {}, [(2, 80)], id="filled at the open, not at the level"),
        pytest.param([94, 96, 96, 96, 96], {}, [(0, 94)], id="checked right after the decision"),
        pytest.param([100, 100, 100, 100, 94], {}, [(4, 94)], id="checked at the end"),
        pytest.param([100, 90, 90, 90, 90], {}, [(1, 90)], id="fired once"),
        pytest.param([100, None, None, 94, 94], {}, [(3, 94)], id="after a gap"),
        pytest.param([100, 100, 94, 100, 100], {"expires_at": 2}, [(2, 94)], id="at its last instant"),
        pytest.param([100, 100, 100, 94, 94], {"expires_at": 2}, [], id="expiry comes before the condition"),
        pytest.param([100, 104, 105, 110, 110], {"price": 105, "condition": ABOVE}, [(2, 105)], id="sells a rise"),
        pytest.param([100, 104, 120, 110, 110], {"price": 105, "condition": ABOVE}, [(2, 120)], id="rise at the open"),
    ],
)
def test_short_waits_for_a_price(opens, order, expected):
    order = {"price": 95, **order}
    if "expires_at" in order:
        order["expires_at"] = START + order["expires_at"] * HOUR
    result = play(opens, enter(**order))
    assert trades_of(result) == [(at, "sell", ML, price, round(1000 / price, 9)) for at, price in expected]
    portfolio = result.state.portfolio
    assert len(portfolio.expired_positions) == (not expected and "expires_at" in order)
    assert len(portfolio.open_positions) == len(portfolio.loan_positions) == bool(expected)
    if not expected:
        assert portfolio.get_cash() == 10_000


@pytest.mark.parametrize(
    ("candles", "order", "expected"),
    [
        pytest.param([100, (100, 94, 101), 99, 99, 99], {}, [(1, 95)], id="at the level"),
        pytest.param([100, (93, 92, 101), 99, 99, 99], {}, [(1, 93)], id="gap below: the open is worse"),
        pytest.param([100, (100, 95.1, 101), 99, 99, 99], {}, [], id="not reached"),
        pytest.param([100, (100, 99, 106), 99, 99, 99], {"price": 105, "condition": ABOVE}, [(1, 105)], id="rise"),
        pytest.param(
            [100, (107, 99, 108), 99, 99, 99], {"price": 105, "condition": ABOVE}, [(1, 107)], id="the open is better"
        ),
        pytest.param([100, 100, (100, 94, 101), 99, 99], {"expires_at": 2}, [(2, 95)], id="candle of its last instant"),
        pytest.param([100, 100, 100, (100, 94, 101), 99], {"expires_at": 2}, [], id="candle after it does not count"),
    ],
)
def test_short_entered_inside_a_candle(candles, order, expected):
    order = {"price": 95, **order}
    if "expires_at" in order:
        order["expires_at"] = START + order["expires_at"] * HOUR
    result = play(candles, enter(**order), model=INTRABAR)
    assert trades_of(result) == [(at, "sell", ML, price, round(1000 / price, 9)) for at, price in expected]


@pytest.mark.parametrize(
    ("candles", "model", "expected"),
    [
        pytest.param([100, 95, 99.5, 99.5, 99], SAMPLED, [(1, ML, 95)], id="between its levels"),
        pytest.param([100, 95, 99.8, 99, 99], SAMPLED, [(1, ML, 95), (2, SL, 99.8)], id="stop 5 % above the level"),
        pytest.param([100, 80, 85.4, 95, 95], SAMPLED, [(1, ML, 80), (2, TP, 85.4)], id="beyond its profit by a gap"),
        pytest.param([100, 95, 85.4, 95, 95], SAMPLED, [(1, ML, 95), (2, TP, 85.4)], id="profit 10 % below the level"),
        pytest.param(
            [100, (100, 90, 120), (96, 90, 99), (99, 90, 99.8), 99], INTRABAR, [(1, ML, 95), (3, SL, 99.75)],
            id="not stopped in the candle it entered in",
        ),
        pytest.param(
            [100, (100, 80, 101), (96, 85.5, 99.8), 99, 99], INTRABAR, [(1, ML, 95), (2, SL, 99.75)],
            id="stop and profit in one candle: the stop",
        ),
    ],
)  # fmt: skip
def test_levels_are_mirrored_fractions_of_the_trigger_price(candles, model, expected):
    result = play(candles, enter(95, stop_loss_pct=0.95, take_profit_pct=1.1), model=model)
    assert [(at, kind, price) for at, _, kind, price, _ in trades_of(result)] == [
        (at, kind, pytest.approx(price)) for at, kind, price in expected
    ]


def test_trailing_stop_of_a_short_that_waited_follows_the_price_from_its_opening_on():
    result = play([100, 95, 80, 85, 88.1, 88, 88, 88, 88], enter(95, trailing_stop_loss_pct=0.9))
    (position,) = result.state.portfolio.closed_positions.values()
    assert [(at, kind, price) for at, _, kind, price, _ in trades_of(result)] == [(1, ML, 95), (4, SL, 88.1)]
    assert [u.stop_loss_after for u in position.trigger_updates] == pytest.approx([95 * 1.1, 80 * 1.1])


def test_size_and_loan_are_those_of_the_price_it_fires_at():
    """1000 USD at leverage 2 at 80, fee 0.3 %: 25 tokens sold at 79.76, collateral 1000 + 1994."""
    result = play([100, 80, 80, 80, 80], enter(95, AAVE_USDC, leverage=2), pair=AAVE_USDC)
    (position,) = result.state.portfolio.open_positions.values()
    (trade,) = position.trades.values()
    assert float(trade.executed_quantity) == pytest.approx(-25)
    assert trade.executed_price == pytest.approx(79.76)
    assert float(position.loan.collateral.quantity) == pytest.approx(2994)
    assert position.liquidation_price == pytest.approx(0.85 * 3000 / 25)
    assert trade.lp_fees_paid == pytest.approx(6)
    assert trade.opened_at == START
    assert (position.opened_at, position.pending_since_at) == (START + HOUR, START)
    assert trade.notes == "market_limit cross_below 95.0 at mid 80.0"
    assert result.state.portfolio.get_cash() == 9000


def test_interest_accrues_from_the_opening_on():
    result = play([100] * 9 + [94, *[94] * 7], enter(95))
    (position,) = result.state.portfolio.open_positions.values()
    (first, *_) = position.balance_updates.values()
    assert first.previous_update_at == START + 9 * HOUR
    assert first.strategy_cycle_included_at == START + 12 * HOUR


def refuse(candles, **arguments):
    """Return why an entry at 95 was given up when it fired."""
    more = arguments.pop("more", None)
    cash = arguments.pop("cash", 10_000)

    def decide(input):
        pm = input.get_position_manager()
        trades = enter(95, **arguments)(input)
        if more is not None:
            trades += more(input, pm) or []
        return trades

    result = play(candles, decide, cash=cash)
    (position,) = result.state.portfolio.expired_positions.values()
    (trade,) = position.expired_trades.values()
    assert trade.get_status() is TradeStatus.expired
    return trade.failure


def test_entry_that_cannot_be_made_when_it_fires_expires_and_the_run_goes_on():
    table = [100, 100, 94, 94, 94]
    assert "it is secured with 1000 USDC but cash is 500" in refuse(table, cash=500)

    def blacklist(input, _):
        if input.cycle == 1:
            input.state.blacklist_asset(WETH_USDC.base, "hacked")

    assert refuse(table, more=blacklist) == "fired and was refused: WETH-USDC is blacklisted"

    def open_another(input, pm):
        return pm.open_short(WETH_USDC, 100) if input.cycle == 1 else []

    assert refuse(table, more=open_another) == "fired and was refused: vWETH-aUSDC has another open position"


def test_entry_whose_stop_would_come_after_liquidation_at_the_price_of_its_gap_is_given_up():
    """Shorted 4 x at 70 a loan is liquidated at 74.4; its stop, 5 % above 95, would come later."""
    reason = refuse([100, 100, 70, 70, 70], leverage=4, stop_loss_pct=0.95)
    assert "it would be liquidated at 74.37" in reason
    assert "before its stop loss at 99.75" in reason
    result = play([100, 100, 95, 95, 95], enter(95, leverage=4, stop_loss_pct=0.95))
    assert [t[2] for t in trades_of(result)] == [ML]


def test_loan_that_would_be_liquidated_at_once_by_its_fee_is_refused_when_it_is_planned_and_when_it_fires():
    costly = replace(AAVE_USDC, fee=0.003)
    result = play([100, 94, 94, 94, 94], enter(95, costly, leverage=5.5), pair=costly)
    assert [t[2] for t in trades_of(result)] == [ML]
    with pytest.raises(Exception, match="liquidated at once"):
        play([100, 94, 94, 94, 94], enter(95, costly, leverage=5.65), pair=costly)


def test_short_that_entered_is_liquidated_when_its_health_is_gone():
    result = play([100, 95, 122, 121, 121], enter(95, leverage=2))
    assert [(at, kind) for at, _, kind, _, _ in trades_of(result)] == [(1, ML), (2, LIQ)]


def test_open_short_can_be_made_to_wait_and_waits_for_a_fall_by_default():
    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            pm.set_market_limit_trigger(pm.open_short(WETH_USDC, 1000, stop_loss_pct=0.95), 95)
        return []

    result = play([100, 101, 94, 94, 94], decide)
    (position,) = result.state.portfolio.open_positions.values()
    assert trades_of(result) == [(2, "sell", ML, 94, round(1000 / 94, 9))]
    assert position.stop_loss == pytest.approx(105)
    table = analyse_waiting_trades(result.state)
    assert table["trading_pair"].tolist() == ["vWETH-aUSDC"]
    assert table[["side", "outcome"]].iloc[0].tolist() == ["sell", "success"]
    assert table["ended_at"].iloc[0] == pd.Timestamp(START + 2 * HOUR)


def test_short_given_up_while_it_waits_was_never_open():
    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            pm.open_short_with_market_limit(WETH_USDC, 1000, 95)
        else:
            (position,) = pm.get_current_portfolio().pending_positions.values()
            assert pm.close_position(position, pending=True) == []
        return []

    result = play([100, 100, 100, 100, 100, 94, 94, 94, 94], decide)
    (position,) = result.state.portfolio.expired_positions.values()
    assert position.is_short()
    assert not trades_of(result)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(min_value=80, max_value=120), min_size=9, max_size=9),
    st.sampled_from([TriggerCondition.cross_below, ABOVE]),
    st.floats(min_value=0.5, max_value=4),
    st.integers(min_value=85, max_value=115),
)
def test_candles_that_do_not_move_give_the_same_in_both_models_and_no_money_appears(opens, condition, leverage, level):
    """Without fees the loan's value at the instant it opens is the cash it took."""
    played = [
        play(opens, enter(level, condition=condition, leverage=leverage), model=model) for model in (SAMPLED, INTRABAR)
    ]
    assert trades_of(played[0]) == trades_of(played[1])
    hit = [n for n, mid in enumerate(opens) if (mid <= level if condition is not ABOVE else mid >= level)]
    entries = [t for t in trades_of(played[0]) if t[2] == ML]
    assert (
        entries == [(hit[0], "sell", ML, opens[hit[0]], round(1000 * leverage / opens[hit[0]], 9))]
        if hit
        else not entries
    )
    for position in played[0].state.portfolio.get_all_positions():
        opened = position.get_first_trade().executed_loan_update
        debt = -position.get_first_trade().executed_quantity
        value = float(opened.collateral_change) - float(debt) * position.get_first_trade().executed_price
        assert value == pytest.approx(1000)
