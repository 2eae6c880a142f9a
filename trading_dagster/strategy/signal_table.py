"""The signals of an alpha model as a table a person can read."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.strategy.alpha_model import AlphaModel
from trading_dagster.strategy.alpha_signal import TradingPairSignal

SignalType = Literal["chosen", "raw"]
ColumnMode = Literal["spot", "leveraged", "all"]


def format_signals(
    alpha_model: AlphaModel, signal_type: SignalType = "chosen", column_mode: ColumnMode = "spot"
) -> pd.DataFrame:
    """Return a row for each signal, the largest weight first.

    Args:
        alpha_model: Whose signals.
        signal_type: "chosen" those that were selected, "raw" all that were set.
        column_mode: "leveraged" adds the leverage and side, "all" also triggers and flags.

    Raises:
        BadInput: There is no such type or mode.
    """
    if signal_type not in ("chosen", "raw"):
        raise BadInput(f"signal_type is {signal_type!r}: give 'chosen' or 'raw'")
    if column_mode not in ("spot", "leveraged", "all"):
        raise BadInput(f"column_mode is {column_mode!r}: give 'spot', 'leveraged' or 'all'")
    signals = alpha_model.signals if signal_type == "chosen" else alpha_model.raw_signals
    ordered = sorted(signals.values(), key=lambda signal: -signal.normalised_weight)
    return pd.DataFrame([_row(signal) for signal in ordered], columns=_columns(column_mode))


def _row(signal: TradingPairSignal) -> dict[str, Any]:
    return {
        "Pair": signal.pair.get_ticker(),
        "Signal": signal.signal,
        "Raw weight": signal.raw_weight,
        "Weight": signal.normalised_weight,
        "Old weight": signal.old_weight,
        "Old value": signal.old_value,
        "Target": signal.position_target,
        "Adjust USD": signal.position_adjust_usd,
        "Side": "short" if signal.is_short() else "long",
        "Leverage": signal.leverage,
        "Stop loss": signal.stop_loss,
        "Take profit": signal.take_profit,
        "Trailing stop loss": signal.trailing_stop_loss,
        "Flags": ", ".join(sorted(flag.value for flag in signal.flags)),
    }


def _columns(mode: ColumnMode) -> list[str]:
    always = ["Pair", "Signal", "Raw weight", "Weight", "Old weight", "Old value", "Target", "Adjust USD"]
    leveraged = ["Side", "Leverage"]
    triggers = ["Stop loss", "Take profit", "Trailing stop loss", "Flags"]
    return {"spot": always, "leveraged": always + leveraged, "all": always + leveraged + triggers}[mode]
