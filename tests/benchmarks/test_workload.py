"""The benchmark candles must be the same on every machine and in every run."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.workload import WORKLOADS, iterate_pairs, load_candles, pivot_candles

SMALL = replace(WORKLOADS["w3"], pairs=2, bars=500)


def test_generator_gives_the_published_values() -> None:
    frame = pd.concat(iterate_pairs(SMALL), ignore_index=True)
    prices = np.ascontiguousarray(frame[["open", "high", "low", "close", "volume"]].to_numpy())
    assert (
        hashlib.sha256(prices.tobytes()).hexdigest()
        == "feacb1c7e52c727d55e2b8ee2b7c93ce4b3eb37250a571ad01146bd735c9b1a5"
    )


def test_candles_are_possible_and_in_order() -> None:
    frame = pd.concat(iterate_pairs(SMALL), ignore_index=True)
    assert (frame["high"] >= frame[["open", "close"]].max(axis=1)).all()
    assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
    assert frame["timestamp"].iloc[0] == pd.Timestamp("2022-01-01")
    assert frame.groupby("pair_id")["timestamp"].is_monotonic_increasing.all()


def test_cached_candles_equal_generated_ones(tmp_path: Path) -> None:
    generated = pd.concat(iterate_pairs(SMALL), ignore_index=True)
    first, second = load_candles(SMALL, tmp_path), load_candles(SMALL, tmp_path)
    pd.testing.assert_frame_equal(first, generated, check_exact=True)
    pd.testing.assert_frame_equal(second, generated, check_exact=True)


def test_pivot_puts_pairs_into_columns(tmp_path: Path) -> None:
    candles = load_candles(SMALL, tmp_path)
    closes = pivot_candles(candles, "close", SMALL.pairs)
    assert closes.shape == (500, 2)
    assert closes[:, 1] == pytest.approx(candles.loc[candles["pair_id"] == 2, "close"].to_numpy(), abs=0)


def test_repeated_walk_has_the_same_returns() -> None:
    once, thrice = (next(iterate_pairs(replace(SMALL, repeats=repeats)))["close"] for repeats in (1, 3))
    returns = once.pct_change().to_numpy()[1:]
    assert len(thrice) == 1500
    assert thrice.pct_change().to_numpy()[501:1000] == pytest.approx(returns, rel=1e-9)


def test_workload_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        load_candles(replace(SMALL, pairs=0), tmp_path)
