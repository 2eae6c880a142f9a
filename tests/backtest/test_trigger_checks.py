"""Orders that wait for a trigger, and both trigger models: small candle tables and the trades expected of them.

A table begins at START; the strategy decides every four hours and does all it does in its first decision.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from order_tape import HOUR, play, trades_of, universe_of_candles
from tape import AAVE_USDC, START, WETH_USDC, run_on

from trading_dagster.domain.error import AutoClosingOrderUnsupported, BadInput, ParameterTypeInvalid
from trading_dagster.domain.time import CycleDuration
from trading_dagster.domain.trade import TradeFlag, TradeStatus
from trading_dagster.domain.trigger import TriggerCondition, TriggerModel

SAMPLED, INTRABAR = TriggerModel.sampled, TriggerModel.intrabar
BELOW = TriggerCondition.cross_below
SL, TP, ML, FT, RB = "stop_loss", "take_profit", "market_limit", "flexible_trigger", "rebalance"


def enter(price, pair=WETH_USDC, value=1000, levels=(), **arguments):
    """Return a strategy that waits for a price to buy 1000 USD at, with take profits as (level, part, close)."""

    def decide(input):
        if input.cycle > 1:
            return []
        pm = input.get_position_manager()
        position, _ = pm.open_spot_with_market_limit(pair, value, price, **arguments)
        take_profits(pm, position, levels)
        return []

    return decide


def hold(levels=(), pair=WETH_USDC, value=1000, **arguments):
    """Return a strategy that buys 1000 USD at once, with take profits as (level, part, close)."""

    def decide(input):
        if input.cycle > 1:
            return []
        pm = input.get_position_manager()
        trades = pm.open_spot(pair, value, **arguments)
        take_profits(pm, pm.get_current_position_for_pair(pair), levels)
        return trades

    return decide


def take_profits(pm, position, levels):
    total = position.get_quantity(planned=True) + position.get_pending_quantity()
    if levels:
        pm.prepare_take_profit_trades(position, [(at, -total * Decimal(str(part)), last) for at, part, last in levels])


# -- sampled ----------------------------------------------------------------------------------------------------------
# hours:                                             0    1    2    3    4    5    6    7    8


@pytest.mark.parametrize(
    ("opens", "order", "expected"),
    [
        pytest.param([100, 104, 104.9, 104, 104], {}, [], id="not reached"),
        pytest.param([100, 104, 105, 104, 104], {}, [(2, 105)], id="touching fires"),
        pytest.param([100, 104, 120, 104, 104], {}, [(2, 120)], id="filled at the open, not at the level"),
        pytest.param([106, 104, 104, 104, 104], {}, [(0, 106)], id="checked right after the decision"),
        pytest.param([100, 100, 100, 100, 106], {}, [(4, 106)], id="checked at the end"),
        pytest.param([100, 110, 110, 110, 110], {}, [(1, 110)], id="fired once"),
        pytest.param([100, None, None, 106, 106], {}, [(3, 106)], id="after a gap"),
        pytest.param([100, 100, 106, 100, 100], {"expires_at": 2}, [(2, 106)], id="at its last instant"),
        pytest.param([100, 100, 100, 106, 106], {"expires_at": 2}, [], id="expiry comes before the condition"),
        pytest.param([100, 96, 95, 90, 90], {"price": 95, "condition": BELOW}, [(2, 95)], id="buys a dip"),
        pytest.param([100, 96, 80, 90, 90], {"price": 95, "condition": BELOW}, [(2, 80)], id="dip at the open"),
    ],
)
def test_market_limit_entry(opens, order, expected):
    order = {"price": 105, **order}
    if "expires_at" in order:
        order["expires_at"] = START + order["expires_at"] * HOUR
    result = play(opens, enter(**order))
    assert trades_of(result) == [(at, "buy", ML, price, round(1000 / price, 9)) for at, price in expected]
    portfolio = result.state.portfolio
    assert len(portfolio.open_positions) == len(expected)
    is_late = "expires_at" in order and not expected
    assert (len(portfolio.pending_positions), len(portfolio.expired_positions)) == (
        (0, 1) if is_late else (1 - len(expected), 0)
    )


@pytest.mark.parametrize(
    ("opens", "levels", "arguments", "expected"),
    [
        pytest.param(
            [100, 109, 110, 112, 125, 100, 100, 100, 100],
            [(110, 0.5, False), (120, 0.5, True)],
            {},
            [(2, FT, 110, 5), (4, FT, 125, 5)],
            id="two levels",
        ),
        pytest.param(
            [100, 130, 129, 90, 90, 90, 90, 90, 90],
            [(110, 0.5, False), (120, 0.5, True)],
            {},
            [(1, FT, 130, 5), (2, FT, 129, 5)],
            id="one trade an instant though both are hit",
        ),
        pytest.param(
            [100, 130, 115, 90, 90, 90, 90, 90, 90],
            [(110, 0.5, False), (120, 0.5, True)],
            {},
            [(1, FT, 130, 5)],
            id="the second waits for its own price",
        ),
        pytest.param(
            [100, 121, 121, 121, 90, 90, 90, 90, 90],
            [(120, 0.25, False), (110, 0.25, False)],
            {},
            [(1, FT, 121, 2.5), (2, FT, 121, 2.5)],
            id="by trade id, not by price",
        ),
        pytest.param(
            [100, 110, 94, 99, 99, 99, 99, 99, 130],
            [(110, 0.5, False), (120, 0.5, True)],
            {"stop_loss_pct": 0.95},
            [(1, FT, 110, 5), (2, SL, 94, 5)],
            id="the stop closes the rest and expires the other level",
        ),
        pytest.param(
            [100, 125, 100, 100, 100, 100, 100, 100, 100],
            [(110, 0.5, False)],
            {"take_profit_pct": 1.2},
            [(1, TP, 125, 10)],
            id="take profit comes before flexible triggers",
        ),
        pytest.param(
            [100, 110, 120, 130, 100, 100, 100, 100, 100],
            [(110, 0.6, False), (120, 0.6, False)],
            {},
            [(1, FT, 110, 6), (2, FT, 120, 4)],
            id="sells no more than there is",
        ),
        pytest.param(
            [100, 110, 99, 99, 99, 99, 99, 99, 99],
            [(110, 0.1, True)],
            {},
            [(1, FT, 110, 10)],
            id="close sells all that is left, whatever its quantity",
        ),
        pytest.param(
            [100, 101, 102, 103, 104, 105, 106, 107, 108],
            [(2 * HOUR, 0.5, False), (START + 5 * HOUR, 0.5, True)],
            {},
            [(3, FT, 103, 5), (6, FT, 106, 5)],
            id="timed exits fire after their time",
        ),
    ],
)
def test_partial_take_profits(opens, levels, arguments, expected):
    result = play(opens, hold(levels, **arguments))
    assert trades_of(result) == [(0, "buy", RB, 100, 10), *((at, "sell", *rest) for at, *rest in expected)]
    sold = sum(quantity for *_, quantity in expected)
    assert len(result.state.portfolio.closed_positions) == (sold == 10)
    for position in result.state.portfolio.closed_positions.values():
        assert not position.pending_trades
        assert all(t.get_status() is TradeStatus.expired for t in position.expired_trades.values())


def test_take_profits_of_a_pending_position_wait_for_its_opening():
    result = play(
        [100, 98, 99, 105, 112, 100, 121, 100, 100],
        enter(105, levels=[(97, 0.5, False), (2 * HOUR, 0.5, True)]),
    )
    quantity = round(1000 / 105, 9)
    assert trades_of(result) == [
        (3, "buy", ML, 105, quantity),
        (4, "sell", FT, 112, round(500 / 100, 9)),  # planned at 100, where 1000 USD bought 10 tokens
        (6, "sell", FT, 121, round(1000 / 105 - 5, 9)),
    ]


def test_entry_brings_its_own_levels_and_the_stop_is_checked_from_the_next_instant_on():
    result = play([100, 105, 94, 99, 99], enter(105, stop_loss_pct=0.9, take_profit_pct=1.2))
    (position,) = result.state.portfolio.closed_positions.values()
    (update,) = position.trigger_updates
    assert (update.stop_loss_after, update.take_profit_after) == (105 * 0.9, 105 * 1.2)
    assert [(at, kind) for at, _, kind, *_ in trades_of(result)] == [(1, ML), (2, SL)]
    assert position.opened_at == START + HOUR
    assert position.pending_since_at == START


def test_levels_of_a_pending_position_are_not_looked_at():
    result = play([100, 50, 60, 70, 70], enter(105, stop_loss_pct=0.9, trailing_stop_loss_pct=None))
    assert trades_of(result) == []
    assert len(result.state.portfolio.pending_positions) == 1


def test_triggered_trade_pays_fees_on_the_price_of_its_instant_and_says_why():
    result = play([100, 120, 100, 100, 100], hold([(110, 0.5, False)], pair=AAVE_USDC), pair=AAVE_USDC)
    _, sell = result.state.portfolio.get_all_trades()
    assert (sell.planned_mid_price, sell.executed_price) == (120, pytest.approx(120 * 0.997))
    assert sell.lp_fees_paid == pytest.approx(abs(float(sell.executed_quantity)) * 120 * 0.003)
    assert sell.flags == {TradeFlag.reduce, TradeFlag.partial_take_profit, TradeFlag.triggered}
    assert sell.notes == "take_profit_partial cross_above 110.0 at mid 120.0"
    assert sell.activated_trigger.triggered_at == START + HOUR


def test_last_take_profit_is_a_close():
    result = play([100, 120, 100, 100, 100], hold([(110, 1, True)]))
    _, sell = result.state.portfolio.get_all_trades()
    assert sell.closing
    assert sell.flags == {TradeFlag.close, TradeFlag.partial_take_profit, TradeFlag.triggered}


def test_entry_that_fires_without_enough_cash_expires_and_the_run_goes_on():
    def decide(input):
        pm = input.get_position_manager()
        if input.cycle > 1:
            return []
        pm.open_spot_with_market_limit(WETH_USDC, 6_000, 105, notes="first")
        pm.open_spot_with_market_limit(WETH_USDC, 6_000, 106, flags={TradeFlag.ignore_open})
        return []

    result = play([100, 105, 106, 106, 106], decide)
    portfolio = result.state.portfolio
    assert [(at, price) for at, _, _, price, _ in trades_of(result)] == [(1, 105)]
    (expired,) = portfolio.expired_positions.values()
    (trade,) = expired.expired_trades.values()
    assert trade.get_status() is TradeStatus.expired
    assert trade.failure == "fired and was refused: it buys for 6000 USDC but cash is 4000"
    assert expired.expired_at == START + 2 * HOUR
    assert portfolio.get_cash() == 4_000


def test_second_position_on_a_pair_is_not_opened_by_an_entry():
    def decide(input):
        pm = input.get_position_manager()
        if input.cycle > 1:
            return []
        pm.open_spot_with_market_limit(WETH_USDC, 1_000, 105)
        return pm.open_spot(WETH_USDC, 1_000)

    result = play([100, 105, 106, 106, 106], decide)
    (expired,) = result.state.portfolio.expired_positions.values()
    assert "another open position" in expired.expired_trades[1].failure


def test_entry_of_a_token_that_was_blacklisted_meanwhile_expires():
    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            pm.open_spot_with_market_limit(WETH_USDC, 1_000, 105)
        if input.cycle == 2:
            input.state.blacklist_asset(WETH_USDC.base, "hacked")
        return []

    result = play([100, 100, 100, 100, 100, 105, 106, 106, 106], decide)
    (expired,) = result.state.portfolio.expired_positions.values()
    assert "WETH-USDC is blacklisted" in expired.expired_trades[1].failure


def test_instant_with_several_trades_of_several_positions_is_one_sample():
    def decide(input):
        pm = input.get_position_manager()
        if input.cycle > 1:
            return []
        pm.open_spot_with_market_limit(WETH_USDC, 1_000, 105)
        pm.open_spot_with_market_limit(AAVE_USDC, 1_000, 105)
        return []

    table = [100, 105, 106, 106, 106]
    universe = universe_of_candles({WETH_USDC: table, AAVE_USDC: table}, 4)
    result = run_on(universe, decide, cycle=CycleDuration.cycle_4h, cycles=1)
    assert [t.executed_at for t in result.state.portfolio.get_all_trades()] == [START + HOUR] * 2
    assert list(result.samples["timestamp"]) == [START, START + HOUR]


def test_order_that_nothing_can_check_is_refused():
    universe = universe_of_candles({WETH_USDC: [100] * 9}, 4, has_feed=False)
    for decide in (enter(105), hold([(110, 1, True)])):
        with pytest.raises(AutoClosingOrderUnsupported, match="stop_loss_time_bucket"):
            run_on(universe, decide, cycle=CycleDuration.cycle_4h, cycles=2)


# -- intrabar ---------------------------------------------------------------------------------------------------------
# candles: (open, low, high), one an hour


@pytest.mark.parametrize(
    ("candles", "triggers", "expected"),
    [
        pytest.param(
            [100, (100, 96, 101), (99, 94, 99), 99, 99], {"stop_loss_pct": 0.95}, [(2, SL, 95)], id="stop at its level"
        ),
        pytest.param([100, (100, 95, 101), 99, 99, 99], {"stop_loss_pct": 0.95}, [(1, SL, 95)], id="touching the stop"),
        pytest.param([100, (100, 95.1, 101), 99, 99, 99], {"stop_loss_pct": 0.95}, [], id="low just above the stop"),
        pytest.param(
            [100, (90, 80, 91), 99, 99, 99], {"stop_loss_pct": 0.95}, [(1, SL, 90)], id="gap below: the open is worse"
        ),
        pytest.param(
            [(100, 94, 101), 99, 99, 99, 99], {"stop_loss_pct": 0.95}, [(0, SL, 95)], id="in the decision's own candle"
        ),
        pytest.param(
            [100, 99, 99, 99, (99, 90, 99)],
            {"stop_loss_pct": 0.95},
            [],
            id="candle after the end",
        ),
        pytest.param(
            [100, (100, 99, 111), 99, 99, 99], {"take_profit_pct": 1.1}, [(1, TP, 110)], id="profit at its level"
        ),
        pytest.param(
            [100, (115, 99, 120), 99, 99, 99],
            {"take_profit_pct": 1.1},
            [(1, TP, 115)],
            id="gap above: the better open",
        ),
        pytest.param(
            [100, (100, 94, 111), 99, 99, 99],
            {"stop_loss_pct": 0.95, "take_profit_pct": 1.1},
            [(1, SL, 95)],
            id="both in one candle: the stop is assumed",
        ),
        pytest.param(
            [100, (112, 94, 113), 99, 99, 99],
            {"stop_loss_pct": 0.95, "take_profit_pct": 1.1},
            [(1, TP, 112)],
            id="profit at the open comes before the stop inside",
        ),
        pytest.param(
            [100, (100, 99, 120), (115, 109, 116), 107, 107],
            {"trailing_stop_loss_pct": 0.9},
            [(3, SL, 107)],
            id="trailed by the high from the next candle on: 108 is not reached by 109",
        ),
        pytest.param(
            [100, (100, 91, 120), (115, 107, 116), 107, 107],
            {"trailing_stop_loss_pct": 0.9},
            [(2, SL, 108)],
            id="the low of a candle meets the stop from before its high",
        ),
        pytest.param(
            [100, (120, 107, 120), 99, 99, 99],
            {"trailing_stop_loss_pct": 0.9},
            [(1, SL, 108)],
            id="trailed by the open before the low is looked at",
        ),
        pytest.param([100, None, (99, 94, 99), 99, 99], {"stop_loss_pct": 0.95}, [(2, SL, 95)], id="after a gap"),
        pytest.param([(100, 96, 100), None, None, None, 99], {"stop_loss_pct": 0.95}, [], id="a filled bar has no low"),
    ],
)
def test_levels_inside_a_candle(candles, triggers, expected):
    result = play(candles, hold(**triggers), model=INTRABAR)
    assert trades_of(result)[1:] == [(at, "sell", kind, pytest.approx(price), 10) for at, kind, price in expected]


@pytest.mark.parametrize(
    ("candles", "order", "expected"),
    [
        pytest.param([100, (100, 99, 106), 99, 99, 99], {}, [(1, 105)], id="at the level"),
        pytest.param([100, (107, 99, 108), 99, 99, 99], {}, [(1, 107)], id="gap above: the open is worse"),
        pytest.param([100, (100, 99, 104.9), 99, 99, 99], {}, [], id="not reached"),
        pytest.param([100, (100, 94, 101), 99, 99, 99], {"price": 95, "condition": BELOW}, [(1, 95)], id="dip"),
        pytest.param(
            [100, (90, 89, 101), 99, 99, 99], {"price": 95, "condition": BELOW}, [(1, 90)], id="dip: the open is better"
        ),
        pytest.param(
            [100, 100, (100, 99, 106), 99, 99], {"expires_at": 2}, [(2, 105)], id="candle of its last instant counts"
        ),
        pytest.param([100, 100, 100, (100, 99, 106), 99], {"expires_at": 2}, [], id="candle after it does not"),
    ],
)
def test_entry_inside_a_candle(candles, order, expected):
    order = {"price": 105, **order}
    if "expires_at" in order:
        order["expires_at"] = START + order["expires_at"] * HOUR
    result = play(candles, enter(**order), model=INTRABAR)
    assert trades_of(result) == [(at, "buy", ML, price, round(1000 / price, 9)) for at, price in expected]


@pytest.mark.parametrize(
    ("candles", "levels", "arguments", "expected"),
    [
        pytest.param(
            [100, (100, 99, 125), (100, 99, 125), 99, 99],
            [(110, 0.5, False), (120, 0.5, True)],
            {},
            [(1, FT, 110, 5), (2, FT, 120, 5)],
            id="one trade a candle inside",
        ),
        pytest.param(
            [100, (112, 99, 125), 99, 99, 99],
            [(110, 0.5, False), (120, 0.5, True)],
            {},
            [(1, FT, 112, 5), (1, FT, 120, 5)],
            id="one at the open and one inside",
        ),
        pytest.param(
            [100, (100, 94, 125), 99, 99, 99],
            [(110, 0.5, False)],
            {"stop_loss_pct": 0.95},
            [(1, SL, 95, 10)],
            id="the stop is assumed before a partial profit",
        ),
        pytest.param(
            [100, (112, 94, 113), 99, 99, 99],
            [(110, 0.5, False)],
            {"stop_loss_pct": 0.95},
            [(1, FT, 112, 5), (1, SL, 95, 5)],
            id="partial profit at the open, then the stop inside",
        ),
        pytest.param(
            [100, (100, 90, 110), (101, 90, 110), 102, 103],
            [(HOUR, 1, True)],
            {},
            [(2, FT, 101, 10)],
            id="timed exits fire at opens",
        ),
    ],
)
def test_take_profits_inside_a_candle(candles, levels, arguments, expected):
    result = play(candles, hold(levels, **arguments), model=INTRABAR)
    assert trades_of(result)[1:] == [
        (at, "sell", kind, pytest.approx(price), quantity) for at, kind, price, quantity in expected
    ]


def test_entry_inside_a_candle_is_not_stopped_in_it_and_does_not_trail_by_its_high():
    result = play(
        [100, (100, 90, 130), (110, 96, 112), 94, 94],
        enter(105, stop_loss_pct=None, trailing_stop_loss_pct=0.9),
        model=INTRABAR,
    )
    (position,) = result.state.portfolio.closed_positions.values()
    assert [(at, kind, price) for at, _, kind, price, _ in trades_of(result)] == [(1, ML, 105), (2, SL, 110 * 0.9)]
    assert [u.stop_loss_after for u in position.trigger_updates] == [105 * 0.9, 110 * 0.9]


def test_stop_trailed_by_a_high_is_dated_when_the_candle_is_over():
    result = play([100, (100, 99, 120), 115, 115, 115], hold(trailing_stop_loss_pct=0.9), model=INTRABAR)
    (position,) = result.state.portfolio.open_positions.values()
    assert [(u.timestamp, u.mid_price, u.stop_loss_after) for u in position.trigger_updates] == [
        (START, 100, 90),
        (START + 2 * HOUR, 120, 108),
    ]


def test_fill_inside_a_candle_pays_the_fee_from_its_level():
    result = play(
        [100, (100, 94, 101), 99, 99, 99], hold(pair=AAVE_USDC, stop_loss_pct=0.95), model=INTRABAR, pair=AAVE_USDC
    )
    sell = result.state.portfolio.get_all_trades()[1]
    assert (sell.planned_mid_price, sell.executed_price) == (95, pytest.approx(95 * 0.997))


def test_candles_that_do_not_move_give_the_same_in_both_models():
    table = [100, 104, 109, 112, 103, 96, 94, 99, 99]
    for decide in (
        hold([(110, 0.5, False)], trailing_stop_loss_pct=0.9),
        enter(105, levels=[(111, 0.5, False)], stop_loss_pct=0.9),
    ):
        assert trades_of(play(table, decide)) == trades_of(play(table, decide, model=INTRABAR))


def test_candle_that_lies_over_decisions_is_not_looked_into():
    universe = universe_of_candles({WETH_USDC: [100] * 9}, 4)
    with pytest.raises(BadInput, match="lie over decisions"):
        run_on(universe, hold(), cycle=CycleDuration.cycle_30m, cycles=2, trigger_model=INTRABAR)


def test_trigger_model_is_a_parameter_of_the_strategy_too():
    universe = universe_of_candles({WETH_USDC: [100, (100, 94, 101), 99, 99, 99]}, 4)

    def run(**parameters):
        return run_on(universe, hold(stop_loss_pct=0.95), cycle=CycleDuration.cycle_4h, cycles=1, **parameters)

    assert [t.executed_price for t in run(trigger_model=INTRABAR).state.portfolio.get_all_trades()] == [100, 95]
    assert len(run().state.portfolio.get_all_trades()) == 1
    with pytest.raises(ParameterTypeInvalid, match=r"TriggerModel\.sampled or TriggerModel\.intrabar"):
        run(trigger_model="intrabar")


def test_long_window_is_scanned_for_waiting_orders():
    """A window of 48 bars: nothing fires, an expiry, a timed exit, a price that only one bar reaches."""
    quiet = [100.0] * 49
    spike = [*quiet[:30], 111.0, *quiet[31:]]

    def run(opens, decide, model=SAMPLED):
        return trades_of(play(opens, decide, hours_a_cycle=12, model=model))

    assert run(quiet, enter(105)) == []
    assert run(spike, enter(105)) == [(30, "buy", ML, 111, round(1000 / 111, 9))]
    assert run(quiet, hold([(timedelta(hours=40), 1, True)]))[1] == (41, "sell", FT, 100, 10)
    inside = [*quiet[:30], (100.0, 99.0, 111.0), *quiet[31:]]
    assert run(inside, hold([(110, 1, True)])) == [(0, "buy", RB, 100, 10)]
    assert run(inside, hold([(110, 1, True)]), INTRABAR)[1] == (30, "sell", FT, 110, 10)
    late = play(quiet, enter(105, expires_at=START + 20 * HOUR), hours_a_cycle=12)
    (expired,) = late.state.portfolio.expired_positions.values()
    assert expired.expired_at == START + 21 * HOUR
