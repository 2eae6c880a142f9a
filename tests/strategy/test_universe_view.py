"""A decision sees the universe only up to its own time."""

import pickle
from datetime import datetime, timedelta

import numpy as np
import pytest
from random_strategy import PAIRS, START, Parameters, make_universe

import trading_dagster as td

H1 = timedelta(hours=1)


def look(at_cycle: int, see):
    """Run a backtest and return what ``see(input)`` gave at a cycle."""
    seen = {}

    def decide_trades(input):
        if input.cycle == at_cycle:
            seen["value"] = see(input)
        return []

    td.run_backtest(decide_trades=decide_trades, universe=make_universe(1), parameters=Parameters, progress=False)
    return seen["value"]


def test_panels_end_with_the_bar_that_just_closed():
    whole = make_universe(1)
    now = START + timedelta(hours=4 * 9)
    candles, feed = look(10, lambda i: (i.strategy_universe.candles, i.strategy_universe.stop_loss_candles))
    assert candles.end_at == feed.end_at == now
    np.testing.assert_array_equal(candles.columns["close"], whole.candles.columns["close"][:, : candles.bar_count])


def test_frames_for_ported_strategies_end_there_too():
    now = START + timedelta(hours=4 * 9)
    frame = look(10, lambda i: i.strategy_universe.data_universe.candles.get_candles_by_pair(PAIRS[0]))
    assert frame.index[-1] == now - H1
    feed = look(10, lambda i: i.strategy_universe.backtest_stop_loss_candles.get_candles_by_pair(PAIRS[0]))
    assert feed.index[-1] == now - H1 / 2


def test_first_decision_sees_no_candle():
    assert look(1, lambda i: i.strategy_universe.candles.bar_count) == 0


def test_questions_about_later_times_are_refused():
    def ask(input):
        with pytest.raises(td.LookaheadRefused, match="cannot know that yet"):
            input.strategy_universe.can_open_spot(input.timestamp + H1, PAIRS[0])
        with pytest.raises(td.LookaheadRefused):
            input.strategy_universe.get_trading_broken_reason(PAIRS[0], 1, timestamp=datetime(2030, 1, 1))
        return input.strategy_universe.can_open_spot(input.timestamp, PAIRS[0])

    assert look(10, ask) is True


def test_broken_reason_counts_only_what_was_seen():
    reason = look(3, lambda i: i.strategy_universe.get_trading_broken_reason(PAIRS[0], 9))
    assert reason == "WETH-USDC has 8 candles, 9 are required"


def test_look_ups_are_those_of_the_universe():
    def ask(input):
        universe = input.strategy_universe
        assert isinstance(universe, td.TradingStrategyUniverse)
        assert universe.get_pair_by_id(2) is not None
        assert universe.get_reserve_asset().token_symbol == "USDC"
        with pytest.raises(td.LookaheadRefused):
            pickle.dumps(universe)
        return [pair.get_ticker() for pair in universe.iterate_pairs()], universe.get_cache_key()

    assert look(2, ask) == (["WETH-USDC", "AAVE-USDC", "LINK-USDC"], make_universe(1).get_cache_key())
