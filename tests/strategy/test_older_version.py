"""Engine versions 0.1 to 0.4: what their decide_trades is given, and how their candles are read."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd
import pytest
from tape import START, WETH_USDC, universe_of

from trading_dagster.domain.error import CandleSampleUnavailable, StrategyModuleNotValid
from trading_dagster.strategy.module import load_strategy_module
from trading_dagster.strategy.older_version import ARGUMENTS, OlderUniverse, adapt_decide_trades

UNIVERSE = universe_of({WETH_USDC: [100.0, 101.0, 102.0, 103.0]})


def candles():
    return OlderUniverse(UNIVERSE).candles


def test_pairs_and_candles_are_those_of_the_data_universe():
    older = OlderUniverse(UNIVERSE)

    assert older.pairs.get_single() == older.universe.pairs.get_single() == older.data_universe.pairs.get_single()
    assert older.get_single_pair() == older.pairs.get_single()
    assert older.time_bucket is UNIVERSE.time_bucket
    with pytest.raises(AttributeError):
        older.no_such_name  # noqa: B018


def test_single_pair_data_ends_before_the_time_asked_for():
    opens = list(candles().get_single_pair_data().index)

    assert len(opens) == 4
    assert list(candles().get_single_pair_data(opens[2]).index) == opens[:2]
    assert list(candles().get_single_pair_data(opens[2], allow_current=True).index) == opens[:3]
    assert list(candles().get_single_pair_data(opens[3], sample_count=2).index) == opens[1:3]


def test_no_candle_is_refused_unless_the_caller_can_do_without():
    with pytest.raises(CandleSampleUnavailable, match="load more history"):
        candles().get_single_pair_data(pd.Timestamp(START) - timedelta(days=1))
    assert candles().get_single_pair_data(datetime(2000, 1, 1), raise_on_not_enough_data=False).empty


@pytest.mark.parametrize("version", ARGUMENTS)
def test_argument_the_version_does_not_give_is_named(version):
    def decide_trades(timestamp, moon_phase):
        return []

    with pytest.raises(StrategyModuleNotValid, match="needs moon_phase"):
        adapt_decide_trades(decide_trades, version, "file")


@pytest.mark.parametrize("version", ARGUMENTS)
def test_function_may_gather_or_default_its_arguments(version):
    def decide_trades(timestamp, moon_phase=0, **rest):
        return [timestamp, moon_phase, *rest]

    assert callable(adapt_decide_trades(decide_trades, version, "file"))


def test_only_version_0_4_needs_parameters():
    names = {"decide_trades": lambda timestamp: [], "create_trading_universe": lambda ts: UNIVERSE}

    older = load_strategy_module({**names, "TRADING_STRATEGY_ENGINE_VERSION": "0.3", "INITIAL_CASH": 5})
    assert dict(older.parameters) == {"initial_cash": 5}
    with pytest.raises(StrategyModuleNotValid, match=r"Parameters: engine 0\.4"):
        load_strategy_module({**names, "trading_strategy_engine_version": "0.4"})
