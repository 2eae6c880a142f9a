"""Analyse the positions of a portfolio: a summary of all, of each side, and tables of them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import TimeBucket
from trading_dagster.statistics.position_return import (
    PositionPredicate,
    calculate_compounding_realised_trading_profitability,
)
from trading_dagster.statistics.returns import EquityCurve, Returns
from trading_dagster.statistics.summary_table import tabulate_sides
from trading_dagster.statistics.timeline import create_timeline
from trading_dagster.statistics.trade_summary import TradeSummary
from trading_dagster.statistics.trade_summary_calculation import Selection, summarise_positions


@dataclass(frozen=True, slots=True)
class TradeAnalysis:
    """The positions of a portfolio that traded, in the order of their opening; made by `build_trade_analysis`."""

    portfolio: Portfolio
    positions: tuple[TradingPosition, ...]

    def calculate_summary_statistics(
        self,
        time_bucket: TimeBucket | None = None,
        state: State | None = None,
        equity_curve: EquityCurve | None = None,
        daily_returns: Returns | None = None,
    ) -> TradeSummary:
        """Return the statistics of all positions.

        Args:
            time_bucket: width of a candle; without it durations are not given in bars
            state: source of the strategy's range; without it nothing that depends on time is given
            equity_curve: total equity in USD by naive UTC time; drawdown, run-up and profit factor are of its returns,
                Sharpe and Sortino of its daily returns; without it they are None
            daily_returns: those of the curve until the end of the strategy's range, where they are known already
        """
        return summarise_positions(
            Selection(self.positions),
            portfolio=self.portfolio,
            is_whole=True,
            state=state,
            time_bucket=time_bucket,
            curve=equity_curve,
            compounding_returns=None if state is None else calculate_compounding_realised_trading_profitability(state),
            daily=daily_returns,
        )

    def calculate_long_summary_statistics(
        self, time_bucket: TimeBucket | None = None, state: State | None = None
    ) -> TradeSummary:
        """Return the statistics of long positions; the ratios are of their compounding realised profitability."""
        return self._summarise_side(TradingPosition.is_long, time_bucket, state)

    def calculate_short_summary_statistics(
        self, time_bucket: TimeBucket | None = None, state: State | None = None
    ) -> TradeSummary:
        """Return the statistics of short positions; the ratios are of their compounding realised profitability."""
        return self._summarise_side(TradingPosition.is_short, time_bucket, state)

    def calculate_all_summary_stats_by_side(
        self,
        state: State | None = None,
        time_bucket: TimeBucket | None = None,
        equity_curve: EquityCurve | None = None,
    ) -> pd.DataFrame:
        """Return the statistics as a table with columns All, Long and Short; see `tabulate_sides`."""
        return tabulate_sides(
            self.calculate_summary_statistics(time_bucket, state, equity_curve),
            {
                "Long": self.calculate_long_summary_statistics(time_bucket, state),
                "Short": self.calculate_short_summary_statistics(time_bucket, state),
            },
        )

    def create_timeline(self) -> pd.DataFrame:
        """Return one row a position; `expand_timeline` makes it a table for people."""
        return create_timeline(self.positions)

    def _summarise_side(
        self, predicate: PositionPredicate, time_bucket: TimeBucket | None, state: State | None
    ) -> TradeSummary:
        selection = Selection(tuple(p for p in self.positions if predicate(p)))
        compounding = None
        if state is not None and selection.positions:
            compounding = calculate_compounding_realised_trading_profitability(state, predicate)
        return summarise_positions(
            selection,
            portfolio=self.portfolio,
            is_whole=False,
            state=state,
            time_bucket=time_bucket,
            curve=None if compounding is None else 1.0 + compounding,
            compounding_returns=compounding,
        )


def build_trade_analysis(portfolio: Portfolio) -> TradeAnalysis:
    """Return the analysis of a portfolio's open, frozen and closed positions.

    A position none of whose trades executed is left out: it has neither cost nor profit.
    """
    traded = (p for p in portfolio.get_all_positions() if p.executed_trade_count)
    return TradeAnalysis(portfolio, tuple(sorted(traded, key=lambda p: (p.opened_at, p.position_id))))


def calculate_all_summary_stats_by_side(
    state: State, time_bucket: TimeBucket | None = None, equity_curve: EquityCurve | None = None
) -> pd.DataFrame:
    """Return the trade summary of a state: a row a metric, columns All, Long and Short.

    Args:
        state: source of positions, range and flows
        time_bucket: width of a candle, for durations in bars
        equity_curve: total equity in USD by naive UTC time, for the ratios of column All

    Returns:
        Numbers (0.01 = 1 %), timedeltas, and "-" where there is no value or a row makes no sense for one side.
    """
    analysis = build_trade_analysis(state.portfolio)
    return analysis.calculate_all_summary_stats_by_side(state, time_bucket, equity_curve)
