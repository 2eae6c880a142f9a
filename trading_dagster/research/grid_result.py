"""The result of one combination of a grid search, as users read it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.state import State
from trading_dagster.research.grid_combination import GridCombination
from trading_dagster.research.grid_outcome import CashUse, GridOutcome
from trading_dagster.statistics.metrics_table import get_metric
from trading_dagster.statistics.trade_summary import TradeSummary
from trading_dagster.storage.event_codec import EventDecoder


@dataclass(frozen=True, eq=False)
class GridSearchResult:
    """What a combination came to.

    Attributes:
        combination: Which one.
        outcome: Its numbers.
        cached: Whether an earlier search ran it.
        optimiser_search_value: What an optimiser made of it.
    """

    combination: GridCombination
    outcome: GridOutcome
    cached: bool = False
    optimiser_search_value: float | None = None

    def __repr__(self) -> str:
        """Return a line a person can read."""
        if self.exception is not None:
            return f"<GridSearchResult {self.get_label()}: {type(self.exception).__name__}: {self.exception}>"
        return f"<GridSearchResult {self.get_label()}: CAGR {self.get_cagr():.2%}, Sharpe {self.get_sharpe():.2f}>"

    @property
    def initial_cash(self) -> float:
        """Return the initial cash, USD."""
        return self.outcome.initial_cash

    @property
    def summary(self) -> TradeSummary | None:
        """Return the statistics of the positions; None when the combination failed."""
        return self.outcome.summary

    @property
    def metrics(self) -> pd.DataFrame | None:
        """Return every measure of the daily returns; None when the combination failed."""
        return self.outcome.metrics

    @property
    def equity_curve(self) -> pd.Series[float] | None:
        """Return the equity at the end of each day, USD by naive UTC time; None when the combination failed."""
        return self.outcome.equity_curve

    @property
    def returns(self) -> pd.Series[float] | None:
        """Return the daily returns; None when the combination failed."""
        return self.outcome.returns

    @property
    def cash_use(self) -> CashUse | None:
        """Return how much of the equity was at work; None when the combination failed."""
        return self.outcome.cash_use

    @property
    def exception(self) -> Exception | None:
        """Return why the combination failed; None when it did not."""
        return self.outcome.exception

    @property
    def started_at(self) -> datetime:
        """Return when the backtest began, UTC."""
        return self.outcome.started_at

    @property
    def finished_at(self) -> datetime:
        """Return when the backtest was done, UTC."""
        return self.outcome.finished_at

    @property
    def run_time(self) -> timedelta:
        """Return how long the backtest took."""
        return self.finished_at - self.started_at

    @property
    def state(self) -> State | None:
        """Return the final state, folded from the retained ledger; None unless the search retained everything."""
        if self.outcome.ledger is None:
            return None
        return State.replay(EventDecoder().decode_all(self.outcome.ledger))

    def hydrate_state(self) -> State:
        """Return the final state; raises BadInput when the search did not retain it."""
        state = self.state
        if state is None:
            raise BadInput(f"{self.get_label()} has no state: search with data_retention='all'")
        return state

    def has_result(self) -> bool:
        """Tell whether the backtest came to its end."""
        return self.exception is None

    def get_label(self) -> str:
        """Return number and searched values."""
        return self.combination.get_label()

    def get_parameter(self, name: str) -> Any:
        """Return a parameter of the combination; raises ParameterMissing with the names there are."""
        return self.combination.get_parameter(name)

    def get_metric(self, name: str) -> float | pd.Timestamp:
        """Return a measure by the name of its row, or by quantstats' name.

        Raises:
            BadInput: There is no such measure, or the combination failed.
        """
        if self.metrics is None:
            raise BadInput(f"Combination {self.get_label()} has no metrics, it failed: {self.exception}")
        return get_metric(self.metrics, name)

    def get_number(self, name: str) -> float:
        """Return a measure that is a number, NaN when the combination failed."""
        return math.nan if self.metrics is None else float(self.get_metric(name))

    def get_cagr(self) -> float:
        """Return the compound annual growth rate; NaN when the combination failed."""
        return self.get_number("CAGR%")

    def get_sharpe(self) -> float:
        """Return the Sharpe ratio of the daily returns; NaN when the combination failed."""
        return self.get_number("Sharpe")

    def get_sortino(self) -> float:
        """Return the Sortino ratio of the daily returns; NaN when the combination failed."""
        return self.get_number("Sortino")

    def get_max_drawdown(self) -> float:
        """Return the deepest drawdown of the daily returns, negative; NaN when the combination failed."""
        return self.get_number("Max DD")

    def get_win_rate(self) -> float:
        """Return the share of closed positions that won; NaN without one."""
        won = None if self.summary is None else self.summary.win_percent
        return math.nan if won is None else won

    def get_trade_count(self) -> int:
        """Return how many trades executed; 0 when the combination failed."""
        return 0 if self.summary is None else self.summary.total_trades

    def get_position_count(self) -> int:
        """Return how many positions there were, open ones included; 0 when the combination failed."""
        return 0 if self.summary is None else self.summary.total_positions + self.summary.undecided
