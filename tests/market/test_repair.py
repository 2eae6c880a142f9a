"""Repair rules do what their name says, only when asked, and can be undone."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import find_defects
from trading_dagster.market.quality import drop_broken_candles
from trading_dagster.market.repair import DROP_BROKEN, RepairRule, parse_rules, repair_candles, restore_raw

COLUMNS = ["pair", "timestamp", "open", "high", "low", "close", "volume"]
PRICES = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 3.0, np.nan])
ROWS = st.lists(
    st.tuples(st.sampled_from(["A/USD", "B/USD"]), st.integers(0, 5), PRICES, PRICES, PRICES, PRICES, PRICES),
    min_size=1,
    max_size=12,
)


def make_frame(rows):
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["timestamp"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["timestamp"] * 12, unit="h")
    return frame


def in_order(frame):
    return frame[COLUMNS].sort_values(COLUMNS, kind="stable", ignore_index=True)


@given(ROWS, st.sets(st.sampled_from(list(RepairRule))))
def test_raw_candles_can_be_had_back(rows, rules):
    frame = make_frame(rows)
    if RepairRule.drop_duplicates not in rules:
        frame = frame.drop_duplicates(["pair", "timestamp"], ignore_index=True)
    repaired = repair_candles(frame, TimeBucket.d1, list(rules))
    pd.testing.assert_frame_equal(in_order(restore_raw(repaired.frame, repaired.touched)), in_order(frame))
    assert repaired.dropped_count == len(frame) - len(repaired.frame)


@given(ROWS)
def test_dropping_all_that_is_broken_leaves_good_candles(rows):
    frame = make_frame(rows)
    repaired = repair_candles(frame, TimeBucket.d1, DROP_BROKEN)
    assert find_defects(repaired.frame, TimeBucket.d1, "x", any_order=True) == []
    pd.testing.assert_frame_equal(repaired.frame, drop_broken_candles(frame, TimeBucket.d1))


@given(ROWS)
def test_without_rules_nothing_is_touched(rows):
    frame = make_frame(rows)
    repaired = repair_candles(frame, TimeBucket.d1, [])
    assert repaired.frame is frame
    assert len(repaired.touched) == 0


def test_range_is_widened_to_open_and_close():
    frame = make_frame([("A/USD", 0, 10.0, 9.0, 9.5, 8.0, 1.0), ("A/USD", 2, 10.0, 12.0, 9.0, 11.0, 1.0)])
    repaired = repair_candles(frame, TimeBucket.d1, [RepairRule.widen_range])
    assert repaired.frame[["high", "low"]].to_numpy().tolist() == [[10.0, 8.0], [12.0, 9.0]]
    assert repaired.touched[["high", "low", "rule", "action"]].to_numpy().tolist() == [
        [9.0, 9.5, "widen_range", "changed"]
    ]
    assert find_defects(repaired.frame, TimeBucket.d1, "x") == []


def test_spikes_are_clipped_on_real_flash_crashes(shared_data):
    candles = pd.read_parquet(shared_data / "bitfinex_7pairs_1h.parquet")
    btc = candles[candles["pair"] == "BTC/USD"].reset_index(drop=True)
    assert btc["low"].min() == 0.01
    repaired = repair_candles(btc, TimeBucket.h1, [RepairRule.clip_spikes])
    assert (repaired.changed_count, repaired.dropped_count) == (8, 0)
    assert repaired.frame["low"].min() > 50
    assert repaired.touched["timestamp"].min() == pd.Timestamp("2013-04-10 17:00", tz="UTC")
    untouched = ~btc["timestamp"].isin(repaired.touched["timestamp"])
    pd.testing.assert_frame_equal(repaired.frame[untouched], btc[untouched])


def test_dirty_file_is_repaired_rule_by_rule_with_exact_counts(shared_data):
    candles = pd.read_parquet(shared_data / "dirty_daily_12exchanges.parquet")
    repaired = repair_candles(candles, TimeBucket.d1, DROP_BROKEN)
    counts = repaired.touched["rule"].value_counts().to_dict()
    assert counts["drop_impossible"] == 462
    assert counts["drop_non_positive"] == 214  # one more was impossible as well, and dropped for that
    assert counts["drop_duplicates"] == 25
    assert sum(counts.values()) == len(candles) - len(repaired.frame) == 701


def test_rules_are_named_and_ordered():
    assert parse_rules(["drop_duplicates", "widen_range"]) == (RepairRule.widen_range, RepairRule.drop_duplicates)
    with pytest.raises(BadInput, match=r"'fix' is no rule. There are widen_range: raise high"):
        parse_rules(["fix"])
    assert datetime(2024, 1, 1) == make_frame([("A/USD", 0, 1, 1, 1, 1, 1)])["timestamp"][0]
