"""What one combination of a grid search came to, small enough to send between processes and to keep."""

from __future__ import annotations

import hashlib
import logging
import pickle
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.error import GridRunFailed
from trading_dagster.market.atomic_file import temporary_beside
from trading_dagster.statistics.metrics_table import STRATEGY_COLUMN
from trading_dagster.statistics.trade_analysis import build_trade_analysis
from trading_dagster.statistics.trade_summary import TradeSummary
from trading_dagster.storage.event_codec import encode_event

logger = logging.getLogger(__name__)

DataRetention: TypeAlias = Literal["metrics_only", "all"]
DIGEST_SIZE = 16


@dataclass(frozen=True, slots=True)
class CashUse:
    """How much of the equity was at work: shares of 1, over all samples of equity.

    Attributes:
        utilisation: 1 - mean cash ÷ equity.
        max_cash: Largest cash ÷ equity from the first position on; NaN without one.
    """

    utilisation: float
    max_cash: float


@dataclass(frozen=True, eq=False)
class GridOutcome:
    """What one combination came to.

    Attributes:
        initial_cash: USD.
        started_at: When its backtest began, UTC.
        finished_at: When it was done, UTC.
        summary: Statistics of its positions; None when it failed.
        metrics: Every measure of its daily returns, one column.
        equity_curve: Equity in USD at the end of each day, by naive UTC time.
        returns: Daily returns.
        cash_use: How much of the equity was at work.
        exception: Why it failed.
        ledger: Its events as text, where everything is retained.
    """

    initial_cash: float
    started_at: datetime
    finished_at: datetime
    summary: TradeSummary | None = None
    metrics: pd.DataFrame | None = None
    equity_curve: pd.Series[float] | None = None
    returns: pd.Series[float] | None = None
    cash_use: CashUse | None = None
    exception: Exception | None = None
    ledger: tuple[str, ...] | None = None

    @classmethod
    def measure(cls, result: BacktestResult, started_at: datetime, retention: DataRetention) -> GridOutcome:
        """Return the outcome of a finished backtest."""
        analysis = build_trade_analysis(result.state.portfolio)
        curve = result.equity_curve
        days = pd.DatetimeIndex(curve.index).normalize().asi8
        last_of_day = curve[np.append(days[1:] != days[:-1], np.ones(min(len(days), 1), dtype=np.bool_))]
        return cls(
            initial_cash=float(result.plan.initial_cash),
            started_at=started_at,
            summary=analysis.calculate_summary_statistics(
                result.universe.time_bucket, result.state, curve, result.daily_returns
            ),
            metrics=pd.DataFrame({STRATEGY_COLUMN: result.metrics}, dtype="object"),
            equity_curve=last_of_day,
            returns=result.daily_returns,
            cash_use=measure_cash(result.samples),
            ledger=tuple(map(encode_event, result.events)) if retention == "all" else None,
            finished_at=datetime.now(UTC),
        )

    @classmethod
    def fail(cls, error: Exception, initial_cash: float, started_at: datetime) -> GridOutcome:
        """Return the outcome of a backtest that raised."""
        return cls(initial_cash, started_at, datetime.now(UTC), exception=make_portable(error))


def measure_cash(samples: pd.DataFrame) -> CashUse:
    """Return how much of the equity was at work."""
    share = samples["cash"].to_numpy() / samples["equity"].to_numpy()
    traded = np.flatnonzero(samples["open_positions"].to_numpy())
    most = float(share[traded[0] :].max()) if len(traded) else float("nan")
    return CashUse(1 - float(share.mean()) if len(share) else float("nan"), most)


def make_portable(error: Exception) -> Exception:
    """Return an error that other processes can read: itself, or its text where its class cannot be sent."""
    try:
        read = pickle.loads(pickle.dumps(error))  # noqa: S301 - made the line before
    except Exception:  # noqa: BLE001 - whatever a foreign class raises when it is copied
        read = None
    if type(read) is type(error) and str(read) == str(error):
        return error
    return GridRunFailed(f"{type(error).__name__}: {error}")


def keep_outcome(path: Path, outcome: GridOutcome) -> None:
    """Write an outcome, whole or not at all."""
    content = pickle.dumps(outcome, protocol=5)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(_digest(content) + content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def recall_outcome(path: Path) -> GridOutcome | None:
    """Return a kept outcome; None when there is none, it is damaged, or of another version.

    The file is a pickle: read only those of a folder that nobody else writes to.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    body = content[DIGEST_SIZE:]
    if content[:DIGEST_SIZE] == _digest(body):
        try:
            outcome = pickle.loads(body)  # noqa: S301 - our own file, which the checksum proves whole
        except (AttributeError, ImportError, TypeError, ValueError, pickle.UnpicklingError):
            outcome = None
        if isinstance(outcome, GridOutcome):
            return outcome
    logger.warning("Kept result %s cannot be read: running its combination again", path)
    return None


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_SIZE).digest()
