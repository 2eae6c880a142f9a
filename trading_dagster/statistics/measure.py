"""Name every measure once: what it is called, what kind it is, how it is shown and which function computes it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, unique
from functools import partial
from typing import TypeAlias

from trading_dagster.statistics import drawdown as dd
from trading_dagster.statistics import measure_benchmark as relative
from trading_dagster.statistics import measure_gain as gain
from trading_dagster.statistics import measure_ratio as risk_ratio
from trading_dagster.statistics import measure_return as performance
from trading_dagster.statistics import measure_risk as risk
from trading_dagster.statistics.returns import Returns


class Family(Enum):
    """What a measure tells of."""

    performance = "performance"
    risk = "risk"
    ratio = "ratio"
    drawdown = "drawdown"
    gain_and_loss = "gain_and_loss"
    benchmark = "benchmark"


class Unit(Enum):
    """What the number of a measure is; percent signs exist in display only."""

    fraction = "fraction"
    number = "number"
    days = "days"
    count = "count"


MeasureFunction: TypeAlias = Callable[[Returns], float]
RelativeFunction: TypeAlias = Callable[[Returns, Returns], float]


def _shown_sortino(function: MeasureFunction) -> MeasureFunction:
    def shown(returns: Returns) -> float:
        return risk_ratio.cap_sortino(function(returns))

    return shown


@unique
class Measure(Enum):
    """All measures of one series of returns, as users see them: Sortino ratios are capped at 99.

    Example:
        ``Measure.sharpe.calculate(returns)``; ``Measure("Sharpe") is Measure.sharpe``
    """

    label: str
    family: Family
    unit: Unit
    function: MeasureFunction

    def __new__(cls, label: str, family: Family, unit: Unit, function: MeasureFunction) -> Measure:
        """Make the label the value of the member."""
        member = object.__new__(cls)
        member._value_ = label
        member.label, member.family, member.unit, member.function = label, family, unit, function
        return member

    def calculate(self, returns: Returns) -> float:
        """Return the measure of returns (fractions by time); NaN where it has no value."""
        return self.function(returns)

    time_in_market = "Time in Market", Family.performance, Unit.fraction, performance.time_in_market
    cumulative = "Cumulative", Family.performance, Unit.fraction, performance.cumulative_return
    cagr = "CAGR", Family.performance, Unit.fraction, performance.cagr

    sharpe = "Sharpe", Family.ratio, Unit.number, risk_ratio.sharpe_ratio
    probabilistic_sharpe = "Prob. Sharpe", Family.ratio, Unit.fraction, risk_ratio.probabilistic_sharpe_ratio
    smart_sharpe = "Smart Sharpe", Family.ratio, Unit.number, risk_ratio.smart_sharpe_ratio
    sortino = "Sortino", Family.ratio, Unit.number, _shown_sortino(risk_ratio.sortino_ratio)
    smart_sortino = "Smart Sortino", Family.ratio, Unit.number, _shown_sortino(risk_ratio.smart_sortino_ratio)
    adjusted_sortino = "Sortino/√2", Family.ratio, Unit.number, _shown_sortino(risk_ratio.adjusted_sortino_ratio)
    smart_adjusted_sortino = (
        "Smart Sortino/√2",
        Family.ratio,
        Unit.number,
        _shown_sortino(risk_ratio.smart_adjusted_sortino_ratio),
    )
    omega = "Omega", Family.ratio, Unit.number, gain.omega_ratio

    max_drawdown = "Max Drawdown", Family.drawdown, Unit.fraction, dd.max_drawdown
    longest_drawdown_days = "Longest Drawdown Days", Family.drawdown, Unit.days, dd.longest_drawdown_days
    average_drawdown = "Average Drawdown", Family.drawdown, Unit.fraction, dd.average_drawdown
    average_drawdown_days = "Average Drawdown Days", Family.drawdown, Unit.days, dd.average_drawdown_days
    max_runup = "Max Run-up", Family.drawdown, Unit.fraction, dd.max_runup
    calmar = "Calmar", Family.drawdown, Unit.number, dd.calmar_ratio
    recovery = "Recovery", Family.drawdown, Unit.number, dd.recovery_factor
    ulcer = "Ulcer", Family.drawdown, Unit.number, dd.ulcer_index
    ulcer_performance = "UPI", Family.drawdown, Unit.number, dd.ulcer_performance_index
    pitfall = "Pitfall", Family.drawdown, Unit.number, dd.pitfall_indicator
    serenity = "Serenity", Family.drawdown, Unit.number, dd.serenity_index

    volatility = "Volatility (ann.)", Family.risk, Unit.fraction, risk.volatility
    skew = "Skew", Family.risk, Unit.number, risk.skewness
    kurtosis = "Kurtosis", Family.risk, Unit.number, risk.kurtosis
    value_at_risk = "VaR", Family.risk, Unit.fraction, risk.value_at_risk
    conditional_value_at_risk = "cVaR", Family.risk, Unit.fraction, risk.conditional_value_at_risk

    gain_to_pain = "Gain/Pain", Family.gain_and_loss, Unit.number, gain.gain_to_pain_ratio
    monthly_gain_to_pain = "Gain/Pain (1M)", Family.gain_and_loss, Unit.number, gain.monthly_gain_to_pain_ratio
    payoff = "Payoff", Family.gain_and_loss, Unit.number, gain.payoff_ratio
    profit_factor = "Profit Factor", Family.gain_and_loss, Unit.number, gain.profit_factor
    common_sense = "Common Sense", Family.gain_and_loss, Unit.number, gain.common_sense_ratio
    cpc = "CPC", Family.gain_and_loss, Unit.number, gain.cpc_index
    tail = "Tail", Family.gain_and_loss, Unit.number, gain.tail_ratio
    outlier_win = "Outlier Win", Family.gain_and_loss, Unit.number, gain.outlier_win_ratio
    outlier_loss = "Outlier Loss", Family.gain_and_loss, Unit.number, gain.outlier_loss_ratio
    kelly = "Kelly", Family.gain_and_loss, Unit.fraction, gain.kelly_criterion
    risk_of_ruin = "Risk of Ruin", Family.gain_and_loss, Unit.fraction, gain.risk_of_ruin
    win_rate = "Win Rate", Family.gain_and_loss, Unit.fraction, gain.win_rate
    average_win = "Average Win", Family.gain_and_loss, Unit.fraction, gain.average_win
    average_loss = "Average Loss", Family.gain_and_loss, Unit.fraction, gain.average_loss
    max_consecutive_wins = "Max Consecutive Wins", Family.gain_and_loss, Unit.count, gain.max_consecutive_wins
    max_consecutive_losses = "Max Consecutive Losses", Family.gain_and_loss, Unit.count, gain.max_consecutive_losses

    month_to_date = "MTD", Family.performance, Unit.fraction, performance.month_to_date
    three_months = "3M", Family.performance, Unit.fraction, partial(performance.trailing_return, months=3)
    six_months = "6M", Family.performance, Unit.fraction, partial(performance.trailing_return, months=6)
    year_to_date = "YTD", Family.performance, Unit.fraction, performance.year_to_date
    one_year = "1Y", Family.performance, Unit.fraction, partial(performance.trailing_return, months=12)
    three_years = "3Y (ann.)", Family.performance, Unit.fraction, partial(performance.trailing_annual_return, months=36)
    five_years = "5Y (ann.)", Family.performance, Unit.fraction, partial(performance.trailing_annual_return, months=60)
    ten_years = "10Y (ann.)", Family.performance, Unit.fraction, partial(performance.trailing_annual_return, months=120)
    all_time = "All-time (ann.)", Family.performance, Unit.fraction, performance.cagr

    expected_day = "Expected Day", Family.performance, Unit.fraction, partial(performance.expected_return, freq="D")
    expected_month = (
        "Expected Month",
        Family.performance,
        Unit.fraction,
        partial(performance.expected_return, freq="ME"),
    )
    expected_year = "Expected Year", Family.performance, Unit.fraction, partial(performance.expected_return, freq="YE")
    best_day = "Best Day", Family.performance, Unit.fraction, partial(performance.best_return, freq="D")
    worst_day = "Worst Day", Family.performance, Unit.fraction, partial(performance.worst_return, freq="D")
    average_day = "Average Day", Family.performance, Unit.fraction, partial(performance.average_return, freq="D")
    best_month = "Best Month", Family.performance, Unit.fraction, partial(performance.best_return, freq="ME")
    worst_month = "Worst Month", Family.performance, Unit.fraction, partial(performance.worst_return, freq="ME")
    average_month = "Average Month", Family.performance, Unit.fraction, partial(performance.average_return, freq="ME")
    best_year = "Best Year", Family.performance, Unit.fraction, partial(performance.best_return, freq="YE")
    worst_year = "Worst Year", Family.performance, Unit.fraction, partial(performance.worst_return, freq="YE")
    average_year = "Average Year", Family.performance, Unit.fraction, partial(performance.average_return, freq="YE")
    win_days = "Win Days", Family.performance, Unit.fraction, partial(performance.win_rate_of_periods, freq="D")
    win_months = "Win Months", Family.performance, Unit.fraction, partial(performance.win_rate_of_periods, freq="ME")
    win_quarters = (
        "Win Quarters",
        Family.performance,
        Unit.fraction,
        partial(performance.win_rate_of_periods, freq="QE"),
    )
    win_years = "Win Years", Family.performance, Unit.fraction, partial(performance.win_rate_of_periods, freq="YE")

    annualised_return_raw = "Annualised return (raw)", Family.performance, Unit.fraction, performance.cagr


@unique
class RelativeMeasure(Enum):
    """All measures of returns against a benchmark's.

    Example:
        ``RelativeMeasure.beta.calculate(returns, benchmark)``
    """

    label: str
    family: Family
    unit: Unit
    function: RelativeFunction

    def __new__(cls, label: str, unit: Unit, function: RelativeFunction) -> RelativeMeasure:
        """Make the label the value of the member."""
        member = object.__new__(cls)
        member._value_ = label
        member.label, member.family, member.unit, member.function = label, Family.benchmark, unit, function
        return member

    def calculate(self, returns: Returns, benchmark: Returns) -> float:
        """Return the measure of returns against a benchmark's (both fractions by time); NaN where it has no value."""
        return self.function(returns, benchmark)

    beta = "Beta", Unit.number, relative.beta
    alpha = "Alpha", Unit.fraction, relative.alpha
    correlation = "Correlation", Unit.fraction, relative.correlation
    r_squared = "R²", Unit.number, relative.r_squared
    information_ratio = "Information Ratio", Unit.number, relative.information_ratio
    treynor = "Treynor", Unit.fraction, relative.treynor_ratio
