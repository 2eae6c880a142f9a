"""The floor is what all engines are compared to, so it is itself compared to results worked out by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.peers.floor import prepare, rank_momentum, rebalance, run_ema_cross, run_momentum
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
