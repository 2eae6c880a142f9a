"""Repair rules for candles: each explicit, asked for by name, and recorded with the row as it was.

Nothing is repaired unless a rule is named. What a rule touched is kept beside the repaired candles, so that the raw
data can be had back exactly (`restore_raw`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import (
    Candles,
    duplicated_rows,
    numeric_columns,
    pair_codes,
    timestamps_us,
)
from trading_dagster.market.panel import OHLCV, PRICE_COLUMNS, Flags, Floats, Integers
from trading_dagster.market.row_check import CONTRACT_RULES, broken_rows, outlying_rows


class RepairRule(StrEnum):
    """What may be done to candles. Rules that change rows run before those that drop them, in this order."""

    widen_range = "widen_range"
    clip_spikes = "clip_spikes"
    drop_not_finite = "drop_not_finite"
    drop_impossible = "drop_impossible"
    drop_non_positive = "drop_non_positive"
    drop_negative_volume = "drop_negative_volume"
    drop_off_grid = "drop_off_grid"
    drop_duplicates = "drop_duplicates"

    @property
    def meaning(self) -> str:
        """Return what the rule does."""
        return MEANINGS[self]


MEANINGS: Mapping[RepairRule, str] = {
    RepairRule.widen_range: "raise high and lower low to hold open and close",
    RepairRule.clip_spikes: "cut wicks that count as spikes back to open and close",
    RepairRule.drop_not_finite: "drop candles with a missing or infinite value",
    RepairRule.drop_impossible: "drop candles with high below low, or open or close outside of them",
    RepairRule.drop_non_positive: "drop candles with a price of zero or below",
    RepairRule.drop_negative_volume: "drop candles with a volume below zero",
    RepairRule.drop_off_grid: "drop candles whose time is not one at which a candle of the bucket opens",
    RepairRule.drop_duplicates: "keep the first good candle of each pair and time",
}

DROP_BROKEN = tuple(RepairRule(f"drop_{name}") for name in CONTRACT_RULES)
"""Every rule that drops what breaks the candle contract."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """Candles after repair.

    Args:
        frame: The candles, in the order they had.
        touched: The rows that a rule changed or dropped, as the source had them, with ``rule`` and ``action``
            ("changed" or "dropped"). A row that was changed and then dropped counts as dropped.
    """

    frame: Candles
    touched: Candles

    @property
    def dropped_count(self) -> int:
        """Return how many rows were dropped."""
        return int((self.touched["action"] == "dropped").sum())

    @property
    def changed_count(self) -> int:
        """Return how many changes were made to rows."""
        return int((self.touched["action"] == "changed").sum())


def parse_rules(names: Sequence[str]) -> tuple[RepairRule, ...]:
    """Return rules by name, in the order in which they run; raises BadInput."""
    known = {rule.value: rule for rule in RepairRule}
    for name in names:
        if name not in known:
            choices = "; ".join(f"{rule.value}: {rule.meaning}" for rule in RepairRule)
            raise BadInput(f"repair {name!r} is no rule. There are {choices}")
    return tuple(rule for rule in RepairRule if rule.value in names)


def repair_candles(
    frame: Candles, bucket: TimeBucket, rules: Sequence[RepairRule], source_name: str = "candles"
) -> Repaired:
    """Apply rules to candles of any order.

    Args:
        frame: Candles of one pair or of several.
        bucket: Their width.
        rules: What may be done; none leaves the candles as they are.
        source_name: For messages.

    Raises:
        CandleContractBroken: Columns or times cannot be read.
    """
    if not rules:
        return Repaired(frame, frame[:0].assign(rule="", action=""))
    times = timestamps_us(frame, source_name)
    codes, _ = pair_codes(frame)
    columns = {name: values.copy() for name, values in numeric_columns(frame, OHLCV, source_name).items()}
    kept: Flags = np.ones(len(frame), dtype=np.bool_)
    notes: list[tuple[RepairRule, str, Integers]] = []
    for rule in (each for each in RepairRule if each in rules):
        if rule in CHANGES:
            changed = CHANGES[rule](columns, times, codes)
            differs = [~_same(values, columns[name]) for name, values in changed.items()]
            notes.append((rule, "changed", np.flatnonzero(np.logical_or.reduce(differs))))
            columns |= changed
            continue
        if rule is RepairRule.drop_duplicates:
            rows = np.flatnonzero(kept)
            bad = rows[duplicated_rows(codes[rows], times[rows])]
        else:
            bad = np.flatnonzero(broken_rows(columns, times, codes, bucket)[rule.value.removeprefix("drop_")] & kept)
        notes.append((rule, "dropped", bad))
        kept[bad] = False
    touched = []
    for rule, action, rows in notes:
        own = rows[kept[rows]] if action == "changed" else rows
        touched.append(frame.iloc[own].assign(rule=rule.value, action=action))
    log = pd.concat(touched, ignore_index=True) if touched else frame[:0].assign(rule="", action="")
    if not len(log):
        return Repaired(frame, log)
    return Repaired(frame.assign(**columns)[kept].reset_index(drop=True), log)


def restore_raw(frame: Candles, touched: Candles, key: str = "pair") -> Candles:
    """Return candles as they were before repair, sorted by pair and time.

    Args:
        frame: The repaired candles.
        touched: What `Repaired` tells of the repair.
        key: The column that tells pairs apart.
    """
    marks = [key, "timestamp"]
    changed = touched[touched["action"] == "changed"].drop_duplicates(marks).set_index(marks)
    dropped = touched[touched["action"] == "dropped"].drop(columns=["rule", "action"])
    kept = frame.copy()
    places = pd.MultiIndex.from_frame(kept[marks])
    rows = changed.index.get_indexer(places) if len(changed) else np.full(len(kept), -1)
    for name in OHLCV:
        values = kept[name].to_numpy(dtype=np.float64).copy()
        values[rows >= 0] = changed[name].to_numpy(dtype=np.float64)[rows[rows >= 0]]
        kept[name] = values
    raw = pd.concat([kept, dropped], ignore_index=True)
    return raw.sort_values([*marks, *OHLCV], kind="stable", ignore_index=True)


def _widen_range(columns: Mapping[str, Floats], times: Integers, codes: Integers) -> dict[str, Floats]:
    del times, codes
    positive = np.logical_and.reduce([columns[name] > 0 for name in PRICE_COLUMNS])
    prices = [columns[name] for name in PRICE_COLUMNS]
    return {
        "high": np.where(positive, np.maximum.reduce(prices), columns["high"]),
        "low": np.where(positive, np.minimum.reduce(prices), columns["low"]),
    }


def _clip_spikes(columns: Mapping[str, Floats], times: Integers, codes: Integers) -> dict[str, Floats]:
    order = np.lexsort((times, codes))
    spikes: Flags = np.zeros(len(times), dtype=np.bool_)
    spikes[order] = outlying_rows({name: values[order] for name, values in columns.items()}, codes[order])["spikes"]
    opening, close = columns["open"], columns["close"]
    return {
        "high": np.where(spikes, np.maximum(opening, close), columns["high"]),
        "low": np.where(spikes, np.minimum(opening, close), columns["low"]),
    }


def _same(left: Floats, right: Floats) -> Flags:
    same: Flags = (left == right) | (np.isnan(left) & np.isnan(right))
    return same


CHANGES: Mapping[RepairRule, Callable[[Mapping[str, Floats], Integers, Integers], dict[str, Floats]]] = {
    RepairRule.widen_range: _widen_range,
    RepairRule.clip_spikes: _clip_spikes,
}
