"""What a backtest gives back: the final state and everything that can be read from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from trading_dagster.accounting.equity_log import SAMPLE_COLUMNS
from trading_dagster.domain.equity_statistics import Statistics
from trading_dagster.statistics.cost_table import analyse_costs, summarise_costs
from trading_dagster.statistics.credit_table import analyse_credit_yield, analyse_loan_interest
from trading_dagster.statistics.equity_curve import calculate_equity_curve, calculate_performance_curve
from trading_dagster.statistics.fee_table import fund_fee_table
from trading_dagster.statistics.metrics_table import calculate_advanced_metrics, calculate_metrics
from trading_dagster.statistics.position_return import (
    calculate_investment_flow,
    calculate_state_deposit_adjusted_returns,
)
from trading_dagster.statistics.position_statistics import (
    calculate_final_position_statistics,
    calculate_position_statistics,
)
from trading_dagster.statistics.returns import (
    calculate_benchmark_curve,
    calculate_daily_returns_from_curve,
    calculate_returns,
    calculate_share_price_returns,
)
from trading_dagster.statistics.table import Table
from trading_dagster.statistics.trade_analysis import calculate_all_summary_stats_by_side
from trading_dagster.statistics.trade_table import decision_rows, positions_table, trades_table
from trading_dagster.storage.event_codec import encode_event
from trading_dagster.storage.file import write_frame, write_text
from trading_dagster.strategy.chart import ChartFunction, ChartInput, ChartRegistry
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators

if TYPE_CHECKING:
    from trading_dagster.backtest.plan import BacktestPlan
    from trading_dagster.charts.rendering import RenderedChart
    from trading_dagster.charts.report import ReportContent
    from trading_dagster.domain.event import Event
    from trading_dagster.domain.state import State
    from trading_dagster.domain.visualisation import Plot
    from trading_dagster.market.universe import TradingStrategyUniverse
    from trading_dagster.strategy.indicator_result import IndicatorResults


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """A finished backtest.

    Args:
        plan: What was run: strategy, parameters, universe, indicators, range.
        state: The final state.
        samples: Equity samples; columns timestamp, equity, cash, position_equity, open_positions, share_count,
            share_price.
        events: The ledger: the state is their fold.
    """

    plan: BacktestPlan
    state: State
    samples: pd.DataFrame
    events: Sequence[Event]

    def __post_init__(self) -> None:
        """Attach the samples to the state, for whoever has only the state left."""
        columns: dict[str, Any] = {name: self.samples[name].to_numpy() for name in SAMPLE_COLUMNS}
        self.state.stats = Statistics(columns)

    def __repr__(self) -> str:
        """Return a line a person can read."""
        return (
            f"<BacktestResult {self.plan.name} {self.plan.start} to {self.plan.end}: "
            f"{len(self.trades)} trades, equity {self.equity_curve.iloc[-1]:,.2f}>"
        )

    @property
    def universe(self) -> TradingStrategyUniverse:
        """Return the universe traded on."""
        return self.plan.universe

    @property
    def indicators(self) -> IndicatorResults:
        """Return the calculated indicators."""
        return self.plan.indicators

    @cached_property
    def equity_curve(self) -> pd.Series:
        """Return total equity in USD by naive UTC time, the last of equal times."""
        return calculate_equity_curve(self.state)

    @cached_property
    def performance_curve(self) -> pd.Series:
        """Return equity with later deposits and redemptions taken out: what all measures of performance are made of."""
        return calculate_performance_curve(self.state)

    @cached_property
    def returns(self) -> pd.Series:
        """Return the fractional change of performance from sample to sample, 0 for the first."""
        return calculate_returns(self.performance_curve)

    @cached_property
    def daily_returns(self) -> pd.Series:
        """Return daily returns over the strategy's range; the undefined first day is dropped."""
        return calculate_daily_returns_from_curve(self.performance_curve, self.plan.end)

    @cached_property
    def trades(self) -> pd.DataFrame:
        """Return one row a trade."""
        return trades_table(self.state)

    @cached_property
    def share_price(self) -> pd.Series:
        """Return what a share was worth in USD by naive UTC time: deposits and redemptions do not move it."""
        series = self.samples.set_index("timestamp")["share_price"].dropna()
        return series[~series.index.duplicated(keep="last")]

    @cached_property
    def share_price_returns(self) -> pd.Series:
        """Return share price / first share price - 1: what an investor gained who was there all along, after fees."""
        return calculate_share_price_returns(self.share_price)

    @cached_property
    def investment_flow(self) -> pd.Series:
        """Return deposits (positive) and redemptions (negative) in USD by cycle."""
        return calculate_investment_flow(self.state)

    def deposit_adjusted_returns(self, freq: str = "ME") -> pd.Series:
        """Return what equity gained in each period less what was deposited in it, USD."""
        return calculate_state_deposit_adjusted_returns(self.state, self.equity_curve, freq)

    @cached_property
    def fund_fees(self) -> pd.DataFrame:
        """Return one row for each time that fees of the fund were taken; see td.FundFees."""
        return fund_fee_table(self.state)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Return what each executed trade cost, USD: fee, tax, price impact, slippage, gas and delay."""
        return analyse_costs(self.state)

    @cached_property
    def cost_summary(self) -> pd.DataFrame:
        """Return what each kind of cost took in all, a trade, and of the volume."""
        return summarise_costs(self.state)

    @cached_property
    def credit_yield(self) -> pd.DataFrame:
        """Return what each credit supply position lent out, for how long, and at what yearly yield."""
        return analyse_credit_yield(self.state)

    @cached_property
    def loan_interest(self) -> pd.DataFrame:
        """Return the interest that each position with a loan earned, claimed, owed and repaid, USD."""
        return analyse_loan_interest(self.state)

    @cached_property
    def positions(self) -> pd.DataFrame:
        """Return one row a position."""
        return positions_table(self.state)

    @cached_property
    def position_statistics(self) -> pd.DataFrame:
        """Return profit, quantity and value of each position at each equity sample at which it was open."""
        return calculate_position_statistics(self.state)

    @cached_property
    def final_position_statistics(self) -> pd.DataFrame:
        """Return a row for each closed position: trades, value at open and at its highest, final profit."""
        return calculate_final_position_statistics(self.state, self.position_statistics)

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """Return one row a decision cycle."""
        samples = Table({name: self.samples[name].to_numpy() for name in SAMPLE_COLUMNS}, SAMPLE_COLUMNS)
        return decision_rows(self.state, samples, self.plan.grid_us, self.state.portfolio.get_all_trades()).frame

    @cached_property
    def buy_and_hold(self) -> pd.Series:
        """Return the equity of holding the universe's first pair instead, over the cycles' times, in USD."""
        pair_id = self.universe.pairs[0].internal_id or 0
        opens = self.universe.candles.series(pair_id, "open")
        known = opens.reindex(self.plan.grid, method="ffill").dropna()
        return calculate_benchmark_curve(known, float(self.plan.initial_cash)).rename("buy and hold")

    @cached_property
    def statistics(self) -> pd.DataFrame:
        """Return the trade summary: a row a metric, columns All, Long and Short."""
        return calculate_all_summary_stats_by_side(self.state, self.plan.universe.time_bucket, self.performance_curve)

    @cached_property
    def metrics_table(self) -> pd.DataFrame:
        """Return the full table of performance metrics beside buy and hold."""
        benchmark = calculate_daily_returns_from_curve(self.buy_and_hold, self.plan.end)
        return calculate_advanced_metrics(self.daily_returns, mode="full", benchmark=benchmark)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Return the performance metrics of the strategy by name: the column "Strategy" of the table."""
        benchmark = calculate_daily_returns_from_curve(self.buy_and_hold, self.plan.end)
        return calculate_metrics(self.daily_returns, benchmark)

    @cached_property
    def charts(self) -> ChartRegistry:
        """Return the charts that the strategy's create_charts registered; none where it has no such function."""
        plan = self.plan
        return plan.strategy.build_charts(plan.universe, plan.parameters, plan.context)

    @cached_property
    def chart_input(self) -> ChartInput:
        """Return what charts of this backtest are given; its cache is shared by all of them."""
        return ChartInput(
            execution_context=self.plan.context,
            state=self.state,
            strategy_input_indicators=StrategyInputIndicators(self.universe, self.indicators),
            backtest_start_at=self.plan.start,
            backtest_end_at=self.plan.end,
        )

    def render_chart(self, chart: str | ChartFunction, pairs: Any = None, **options: Any) -> Any:
        """Return what a chart's function makes: a figure, a table, or several.

        Args:
            chart: Id or function of a registered chart.
            pairs: A pair, its description, or several; by default the registry's benchmark pairs, or those traded most.
            options: Handed to the function.

        Raises:
            UnknownChart: No such chart is registered.
            ChartFailed: The function raised; the message names the chart.
        """
        from trading_dagster.charts.rendering import render_chart  # plotly is loaded only when a chart is wanted

        return render_chart(self.charts, chart, self.chart_input, pairs, **options)

    def save_charts(self, folder: str | Path) -> list[Path]:
        """Write all registered charts into a folder: a page of all, a PNG of each figure, each table as CSV."""
        from trading_dagster.charts.chart_folder import write_charts

        return write_charts(Path(folder), self.plan.name, self.rendered_charts)

    @cached_property
    def rendered_charts(self) -> list[RenderedChart]:
        """Return all registered charts; one that failed has an error, and the others are there."""
        from trading_dagster.charts.rendering import render_charts

        return render_charts(self.charts, self.chart_input)

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML file; returns where."""
        from trading_dagster.charts.report import write_report  # plotly is loaded only when a report is wanted

        return write_report(path, self.report_content())

    def report_content(self) -> ReportContent:
        """Return what a report shows of this backtest."""
        from trading_dagster.charts.report import ReportContent

        shown_pairs = self.state.visualisation.visualised_pairs
        traded = dict.fromkeys(self.trades["pair_id"])
        pairs = shown_pairs or [pair for pair in self.universe.pairs if pair.internal_id in traded]
        pairs = pairs or [self.universe.pairs[0]]
        shown = self.universe.candles.clip(self.plan.start, self.plan.end)
        messages: dict[Any, list[str]] = dict(self.state.visualisation.messages)
        return ReportContent(
            name=self.plan.name,
            equity=self.equity_curve,
            performance=self.performance_curve,
            trades=self.trades,
            positions=self.positions,
            benchmarks={f"Hold {self.universe.pairs[0].get_ticker()}": self.buy_and_hold},
            candles={pair.get_ticker(): shown.frame(pair.internal_id or 0) for pair in pairs},
            plots=self._plots_by_ticker(),
            charts=self.rendered_charts,
            summary=self.statistics,
            metrics=self.metrics_table,
            parameters=dict(self.plan.parameters),
            messages=messages,
            start_at=self.plan.start,
            end_at=self.plan.end,
        )

    def _plots_by_ticker(self) -> dict[str, list[Plot]]:
        """Return the strategy's plots by the ticker they are shown with, "" for those of no pair of several."""
        only = self.universe.pairs[0].get_ticker() if self.universe.is_single_pair_universe() else ""
        plots: dict[str, list[Plot]] = {}
        for plot in self.state.visualisation.plots.values():
            plots.setdefault(only if plot.pair is None else plot.pair.get_ticker(), []).append(plot)
        return plots

    def save(self, folder: str | Path) -> Path:
        """Write tables, metrics, parameters, ledger and report into a folder; returns it."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in ("trades", "positions", "decisions", "samples"):
            write_frame(getattr(self, name), target / f"{name}.parquet")
        metrics = {k: v if isinstance(v, int | float | str) else str(v) for k, v in self.metrics.items()}
        write_text(json.dumps(metrics, indent=2, default=str), target / "metrics.json")
        write_text(
            json.dumps({k: str(v) for k, v in self.plan.parameters.items()}, indent=2), target / "parameters.json"
        )
        write_text("".join(f"{encode_event(event)}\n" for event in self.events), target / "ledger.jsonl")
        self.report(target / "report.html")
        return target
