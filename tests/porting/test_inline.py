"""run_backtest_inline: the engine versions it takes, and what it refuses."""

from __future__ import annotations

from datetime import datetime

import pytest

from trading_dagster.domain.error import BadInput, StrategyFailed, StrategyModuleNotValid
from trading_dagster.domain.state import State
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.porting.inline import run_backtest_inline
from trading_dagster.porting.loader import create_binance_universe
from trading_dagster.statistics.equity_curve import calculate_equity_curve
from trading_dagster.strategy.position_manager import PositionManager


def run(client, decide, **more):
    return run_backtest_inline(
        decide_trades=decide,
        universe=create_binance_universe(["BTCUSDT"], TimeBucket.d1, client=client),
        start_at=datetime(2022, 2, 1),
        end_at=datetime(2022, 2, 11),
        cycle_duration=CycleDuration.cycle_1d,
        initial_deposit=1_000,
        **more,
    )


def test_functions_of_an_older_version_get_their_arguments(client):
    cycles = []

    def decide_trades(timestamp, universe, state, pricing_model, cycle_debug_data):
        cycles.append(cycle_debug_data["cycle"])
        candles = universe.candles.get_single_pair_data(timestamp, sample_count=3)
        assert list(candles.index) == [candles.index[-1] - i * (candles.index[1] - candles.index[0]) for i in (2, 1, 0)]
        assert candles.index[-1] < timestamp
        assert len(universe.candles.get_single_pair_data(timestamp, 3, allow_current=True)) == 3
        manager = PositionManager(timestamp, universe, state, pricing_model)
        return manager.open_spot(universe.pairs.get_single(), 100) if not manager.is_any_open() else []

    state, universe, diagnostics = run(client, decide_trades, engine_version="0.1")

    assert cycles == list(range(1, 11))
    assert len(list(state.portfolio.get_all_trades())) == 1
    assert universe.is_single_pair_universe()
    assert diagnostics["result"].state is state


def test_parameters_of_version_0_4_know_the_cycle(client):
    def decide_trades(timestamp, parameters, strategy_universe, state, pricing_model):
        assert parameters["cycle"] == (timestamp - datetime(2022, 1, 31)).days
        assert strategy_universe.universe.candles.get_candle_count() > 20
        assert strategy_universe.get_pair_count() == 1
        return []

    assert run(client, decide_trades, engine_version="0.4").equity_curve.iloc[-1] == 1_000


def test_older_candles_show_nothing_of_the_future(client):
    def decide_trades(timestamp, strategy_universe, state, pricing_model, cycle_debug_data):
        seen = strategy_universe.data_universe.candles.get_single_pair_data()
        raise ValueError(f"saw {seen.index[-1]} at {timestamp}")

    with pytest.raises(StrategyFailed, match="saw 2022-01-31 00:00:00 at 2022-02-01"):
        run(client, decide_trades, engine_version="0.3")


def test_unknown_version_is_refused(client):
    with pytest.raises(StrategyModuleNotValid, match=r"0\.9"):
        run(client, lambda _: [], engine_version="0.9")


def test_curve_of_another_state_is_refused(client):
    state = run(client, lambda _: []).state
    other = State.replay(run(client, lambda _: []).result.events)

    assert calculate_equity_curve(state).iloc[-1] == 1_000
    with pytest.raises(BadInput, match="equity_curve of run_backtest"):
        calculate_equity_curve(other)
