"""Key metrics: the few numbers by which a strategy is judged, from live trading where it has traded long enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from trading_dagster.domain.state import State
from trading_dagster.statistics.drawdown import max_drawdown
from trading_dagster.statistics.equity_curve import calculate_daily_returns, calculate_performance_curve
from trading_dagster.statistics.measure_ratio import cap_sortino, sharpe_ratio, sortino_ratio
from trading_dagster.statistics.measure_return import cagr
from trading_dagster.statistics.position_return import calculate_compounding_realised_trading_profitability
from trading_dagster.statistics.returns import calculate_returns

KEY_METRICS_BACKTEST_CUT_OFF = timedelta(days=90)
MONTH, WEEK = timedelta(days=30), timedelta(days=7)


class KeyMetricKind(Enum):
    """What a key metric tells."""

    sharpe = "sharpe"
    sortino = "sortino"
    max_drawdown = "max_drawdown"
    cagr = "cagr"
    profitability = "profitability"
    all_time_returns = "all_time_returns"
    total_equity = "total_equity"
    started_at = "started_at"
    last_trade = "last_trade"
    trades_last_week = "trades_last_week"
    trades_per_month = "trades_per_month"
    decision_cycle_duration = "decision_cycle_duration"
    share_price_entries = "share_price_entries"


class KeyMetricSource(Enum):
    """Where a key metric is from."""

    live_trading = "live_trading"
    backtesting = "backtesting"
    missing = "missing"


@dataclass(frozen=True, slots=True)
class KeyMetric:
    """One number, date or duration; None with a reason where there is none. Fractions are 0.01 = 1 %."""

    kind: KeyMetricKind
    source: KeyMetricSource
    value: float | int | datetime | timedelta | None
    unavailability_reason: str | None = None
    calculation_window_start_at: datetime | None = None
    calculation_window_end_at: datetime | None = None


def calculate_key_metrics(
    live_state: State | None,
    backtested_state: State | None = None,
    *,
    key_metrics_backtest_cut_off: timedelta = KEY_METRICS_BACKTEST_CUT_OFF,
    as_of: datetime | None = None,
) -> dict[KeyMetricKind, KeyMetric]:
    """Return the key metrics of a strategy.

    What describes performance is from live trading when its history is at least as long as the cut-off, else from the
    backtest, else missing with the reason. Total equity, times and trades of the last week are of live trading where
    there is any. The drawdown is positive.

    Args:
        live_state: with its equity samples attached; None before it went live
        backtested_state: of a backtest's result
        key_metrics_backtest_cut_off: how much live history is enough
        as_of: naive UTC; None for the end of each state's range
    """
    source, state, reason = _choose(live_state, backtested_state, key_metrics_backtest_cut_off)
    found: dict[KeyMetricKind, KeyMetric] = {}
    for kind, calculate in _PERFORMANCE.items():
        found[kind] = _measure(kind, source, state, reason, calculate)
    present = live_state if live_state is not None else backtested_state
    present_source = KeyMetricSource.live_trading if live_state is not None else KeyMetricSource.backtesting
    for kind, calculate in _present_measures(as_of):
        found[kind] = _measure(kind, present_source, present, "there is no state", calculate)
    return found


def measure_history(state: State) -> timedelta:
    """Return how long a state has traded: from its first executed trade to the end of its range."""
    first, end = state.get_trading_time_range()[0], state.get_strategy_time_range()[1]
    return timedelta(0) if first is None or end is None else max(end - first, timedelta(0))


def _choose(
    live: State | None, backtest: State | None, cut_off: timedelta
) -> tuple[KeyMetricSource, State | None, str]:
    history = timedelta(0) if live is None else measure_history(live)
    if live is not None and history >= cut_off:
        return KeyMetricSource.live_trading, live, ""
    if backtest is not None:
        return KeyMetricSource.backtesting, backtest, ""
    reason = f"live trading has {history} of history, {cut_off} are needed, and there is no backtest"
    return KeyMetricSource.missing, None, reason


def _measure(
    kind: KeyMetricKind,
    source: KeyMetricSource,
    state: State | None,
    reason: str,
    calculate: Callable[[State], Any],
) -> KeyMetric:
    if state is None:
        return KeyMetric(kind, KeyMetricSource.missing, None, reason)
    start, end = state.get_strategy_time_range()
    value = calculate(state)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return KeyMetric(kind, source, None, "there is too little history to calculate it from", start, end)
    return KeyMetric(kind, source, value, None, start, end)


def _sharpe(state: State) -> float | None:
    return sharpe_ratio(calculate_daily_returns(state)) if len(state.stats) else None


def _sortino(state: State) -> float | None:
    return cap_sortino(sortino_ratio(calculate_daily_returns(state))) if len(state.stats) else None


def _cagr(state: State) -> float | None:
    return cagr(calculate_daily_returns(state)) if len(state.stats) else None


def _max_drawdown(state: State) -> float | None:
    return abs(max_drawdown(calculate_returns(calculate_performance_curve(state)))) if len(state.stats) else None


def _profitability(state: State) -> float | None:
    series = calculate_compounding_realised_trading_profitability(state)
    return None if series.empty else float(series.iloc[-1])


def _trades_per_month(state: State) -> float | None:
    duration = state.get_strategy_duration()
    count = sum(trade.is_success() for trade in state.portfolio.get_all_trades())
    return count * (MONTH / duration) if duration else None


def _decision_cycle(state: State) -> timedelta | None:
    data = state.backtest_data
    if data is not None:
        return data.decision_cycle_duration.to_timedelta()
    return None


_PERFORMANCE: dict[KeyMetricKind, Callable[[State], Any]] = {
    KeyMetricKind.sharpe: _sharpe,
    KeyMetricKind.sortino: _sortino,
    KeyMetricKind.max_drawdown: _max_drawdown,
    KeyMetricKind.cagr: _cagr,
    KeyMetricKind.profitability: _profitability,
    KeyMetricKind.all_time_returns: _profitability,
    KeyMetricKind.trades_per_month: _trades_per_month,
    KeyMetricKind.decision_cycle_duration: _decision_cycle,
}


def _present_measures(as_of: datetime | None) -> Iterator[tuple[KeyMetricKind, Callable[[State], Any]]]:
    def trades_last_week(state: State) -> int | None:
        end = as_of or state.get_strategy_time_range()[1]
        if end is None:
            return None
        times = (trade.executed_at for trade in state.portfolio.get_all_trades() if trade.is_success())
        return sum(at is not None and end - WEEK < at <= end for at in times)

    yield KeyMetricKind.total_equity, lambda state: state.portfolio.calculate_total_equity()
    yield KeyMetricKind.started_at, lambda state: state.get_strategy_time_range()[0]
    yield KeyMetricKind.last_trade, lambda state: state.get_trading_time_range()[1]
    yield KeyMetricKind.trades_last_week, trades_last_week
    yield KeyMetricKind.share_price_entries, lambda state: len(state.stats)
