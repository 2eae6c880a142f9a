"""The floor is what all engines are compared to, so it is itself compared to results worked out by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import trading_dagster_engine, workload
from benchmarks.peers import floor
from benchmarks.peers.floor import (
    prepare,
    rank_momentum,
    rebalance,
    run_ema_cross,
    run_momentum,
    trade_towards,
    weigh_alpha,
)
from benchmarks.rule import MOMENTUM, Momentum, is_rebalance_time, rebalance_mask
from benchmarks.workload import WORKLOADS, load_candles

W1_SHORT = replace(WORKLOADS["w1"], bars=500)
FEE = 0.01


def test_ema_cross_buys_at_ask_and_sells_at_bid_of_the_next_open() -> None:
    closes = [100.0, 110.0, 110.0, 50.0, 50.0]
    opens = [1.0, 1.0, 200.0, 300.0, 400.0]
    outcome = run_ema_cross(opens, closes, FEE)
    quantity = 98_000 / (200 * 1.01)
    assert outcome.fills == 2
    assert outcome.equity == pytest.approx(2_000 + quantity * 400 * 0.99, rel=1e-12)


def test_ema_cross_values_an_open_position_at_the_last_close() -> None:
    outcome = run_ema_cross([1.0, 1.0, 200.0], [100.0, 110.0, 120.0], FEE)
    assert outcome.fills == 1
    assert outcome.equity == pytest.approx(2_000 + 98_000 / 202 * 120, rel=1e-12)


def test_floor_on_500_bars_equals_a_walk_over_signals(tmp_path: Path) -> None:
    candles = load_candles(W1_SHORT, tmp_path)
    fast, slow = (candles["close"].ewm(span=span, adjust=False).mean() for span in (10, 40))
    signals = (fast > slow).shift(fill_value=False)
    changes = candles["open"][signals.ne(signals.shift(fill_value=False))].tolist()
    equity = 100_000.0
    for bought, sold in zip(changes[::2], changes[1::2], strict=False):
        equity *= 0.02 + 0.98 * sold * (1 - 0.003) / (bought * 1.003)
    if len(changes) % 2:
        equity *= 0.02 + 0.98 * candles["close"].iloc[-1] / (changes[-1] * 1.003)
    outcome = prepare(W1_SHORT, tmp_path)()
    assert outcome.fills == len(changes) > 4
    assert outcome.equity == pytest.approx(equity, rel=1e-12)


def test_rebalance_sells_strangers_and_excess_before_buying() -> None:
    quantities = {0: 10.0, 1: 400.0}
    cash, fills = rebalance([100.0, 100.0, 100.0], [1, 2], quantities, 1_000.0, FEE)
    target = 0.49 * (1_000 + 410 * 99)
    excess, missing = 400 * 99 - target, target
    assert fills == 3
    assert quantities == pytest.approx({1: 400 - excess / 100, 2: missing / 101})
    assert cash == pytest.approx(1_000 + 10 * 99 + excess * 0.99 - missing)


def test_stop_sells_at_the_open_that_reaches_the_level_and_allows_a_new_entry() -> None:
    rule = Momentum(lookback=1, top=1, stop=0.9)
    opens = [[100.0], [100.0], [100.0], [91.0], [90.0], [80.0]]
    mask = [False, False, True, False, False, True]
    outcome = run_momentum(opens, opens, mask, rule, 0.0)
    after_stop = 2_000 + 980 * 90
    assert outcome.fills == 3
    assert outcome.equity == pytest.approx(after_stop)


def test_ranking_breaks_ties_by_column() -> None:
    assert rank_momentum([2.0, 3.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0], 3) == [1, 0, 2]


@pytest.mark.parametrize(("name", "first"), [("w3", "2022-01-09 00:00"), ("w4", "2021-02-01")])
def test_first_rebalance_waits_for_the_lookback(name: str, first: str) -> None:
    workload = WORKLOADS[name]
    mask = rebalance_mask(workload)
    traded = workload.timestamps[mask]
    assert traded[0] == pd.Timestamp(first)
    assert is_rebalance_time(workload, traded).all()
    assert mask.argmax() > MOMENTUM[name].lookback


def test_alpha_weights_are_shares_of_one_over_rank_and_capped() -> None:
    weights = weigh_alpha([2.0, 4.0, 1.0, 3.0], [1.0, 1.0, 1.0, 1.0])
    assert weights == pytest.approx({1: 0.2, 3: 0.2, 0: (1 / 3) / (1 + 1 / 2 + 1 / 3)})  # no momentum, no weight


def test_alpha_sells_before_it_buys_and_leaves_small_differences() -> None:
    quantities = {0: 10.0, 1: 400.0}
    cash, fills = trade_towards([100.0, 100.0, 100.0], {1: 0.5, 2: 0.2}, quantities, 1_000.0, FEE)
    equity = 1_000 + 410 * 99
    excess, missing = 400 * 99 - 0.5 * 0.98 * equity, 0.2 * 0.98 * equity
    assert fills == 3
    assert quantities == pytest.approx({1: 400 - excess / 100, 2: missing / 101})
    assert cash == pytest.approx(1_000 + 10 * 99 + excess * 0.99 - missing)
    assert trade_towards([1.0], {0: 0.5}, {}, 10.0, FEE) == (10.0, 0)


def test_engine_on_the_alpha_rule_has_the_fills_of_the_floor_on_136_real_pairs(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload, "SHARED_DATA", shared_data)
    month = replace(WORKLOADS["alpha"], bars=24 * 31)
    floor = prepare(month, tmp_path)()
    ours = trading_dagster_engine.prepare(month, tmp_path)()
    assert ours.fills == floor.fills > 400
    assert ours.equity == pytest.approx(floor.equity, rel=1e-12)


def test_grid_of_our_engine_adds_up_to_that_of_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (floor, trading_dagster_engine):
        monkeypatch.setattr(module, "FASTS", (3, 5))
        monkeypatch.setattr(module, "SLOWS", (20, 40))
    short = replace(WORKLOADS["w5"], bars=500)
    expected, found = floor.prepare(short, tmp_path)(), trading_dagster_engine.prepare(short, tmp_path)()
    assert found.fills == expected.fills > 4
    assert found.equity == pytest.approx(expected.equity, rel=1e-12)
