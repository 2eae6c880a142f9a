"""What a walk-forward came to, as users read it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trading_dagster.backtest.result import BacktestResult
from trading_dagster.research.optimiser_result import OptimiserResult
from trading_dagster.research.walk_forward_window import WalkForwardWindow
from trading_dagster.statistics.metrics_table import calculate_advanced_metrics, get_metric
from trading_dagster.statistics.returns import calculate_daily_returns_from_curve
from trading_dagster.strategy.parameters import StrategyParameters

MEASURES = {"Return": "Cumulative Return", "CAGR": "CAGR%", "Max DD": "Max DD", "Sharpe": "Sharpe"}


@dataclass(frozen=True, eq=False)
class WalkForwardStep:
    """One window of a walk-forward.

    Attributes:
        window: When.
        found: What was tried on the first part of it.
        searched: Names of the parameters that were searched.
        parameters: What was traded with on the second part.
        is_kept: Whether nothing could be chosen, so that the parameters of the window before were kept.
    """

    window: WalkForwardWindow
    found: OptimiserResult
    searched: tuple[str, ...]
    parameters: StrategyParameters
    is_kept: bool = False

    @property
    def chosen(self) -> dict[str, Any]:
        """Return the searched parameters by name."""
        return {name: self.parameters[name] for name in self.searched}


@dataclass(frozen=True, eq=False)
class WalkForwardResult:
    """What a walk-forward came to.

    Attributes:
        steps: Its windows, in order of time.
        backtest: The trading with parameters that were chosen before, all windows in one piece: positions are carried
            from one into the next, as when somebody changes the parameters of a strategy that trades.
    """

    steps: Sequence[WalkForwardStep]
    backtest: BacktestResult

    def __repr__(self) -> str:
        """Return a line a person can read."""
        return f"<WalkForwardResult {len(self.steps)} windows, {self.backtest}>"

    @property
    def equity_curve(self) -> pd.Series:
        """Return the equity out of sample in USD by naive UTC time."""
        return self.backtest.equity_curve

    @property
    def daily_returns(self) -> pd.Series:
        """Return the daily returns out of sample."""
        return self.backtest.daily_returns

    @property
    def metrics(self) -> dict[str, Any]:
        """Return the measures of the returns out of sample by name."""
        return self.backtest.metrics

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return a row for each window, by its number.

        Columns: train_start, test_start, test_end; the chosen parameters; ``Optim`` (what was looked for); Return,
        CAGR, Max DD, Sharpe and Trades of the chosen point, those in sample with "IS" before them and those out of
        sample with "OOS"; ``Deflated Sharpe``: the probability that the Sharpe ratio in sample is more than the luck of
        so many tries; ``Efficiency``: CAGR out of sample ÷ in sample, NaN where the latter is not above 0; ``Kept``:
        whether the parameters of the window before were kept, because no point could be chosen. A range out of sample
        begins with the equity after the first decision in it.
        """
        rows = [self._row(step) for step in self.steps]
        return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="window"))

    @cached_property
    def efficiency(self) -> float:
        """Return the CAGR of all that was traded out of sample ÷ the mean CAGR in sample; NaN if that is not above 0.

        Source: Pardo, "The Evaluation and Optimization of Trading Strategies" (2008), walk-forward efficiency.
        """
        return _efficiency(float(self.metrics["CAGR"]), float(self.table["IS CAGR"].mean()))

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML file of the trading out of sample; returns where."""
        return self.backtest.report(path)

    def _row(self, step: WalkForwardStep) -> dict[str, Any]:
        window, best = step.window, step.found.best
        row: dict[str, Any] = {
            "train_start": window.train_start,
            "test_start": window.test_start,
            "test_end": window.test_end,
            **step.chosen,
        }
        inside = None if best is None else best.result
        row["Optim"] = math.nan if best is None else best.get_original_value()
        row |= {f"IS {name}": math.nan if inside is None else inside.get_number(of) for name, of in MEASURES.items()}
        row["IS Trades"] = 0 if inside is None else inside.get_trade_count()
        row["Deflated Sharpe"] = step.found.get_deflated_sharpe()
        curve = self.equity_curve.loc[pd.Timestamp(window.test_start) : pd.Timestamp(window.test_end)]
        metrics = calculate_advanced_metrics(calculate_daily_returns_from_curve(curve, window.test_end), "full")
        row |= {f"OOS {name}": float(get_metric(metrics, of)) for name, of in MEASURES.items()}
        row["OOS Trades"] = self._count_trades(window)
        row["Efficiency"] = _efficiency(row["OOS CAGR"], row["IS CAGR"])
        row["Kept"] = step.is_kept
        return row

    def _count_trades(self, window: WalkForwardWindow) -> int:
        times = self.backtest.trades["opened_at"].to_numpy(dtype="datetime64[us]")
        inside = (times >= np.datetime64(window.test_start)) & (times < np.datetime64(window.test_end))
        return int(inside.sum())


def _efficiency(outside: float, inside: float) -> float:
    return outside / inside if inside > 0 else math.nan
