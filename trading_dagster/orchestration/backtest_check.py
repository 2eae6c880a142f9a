"""Asset checks of a backtest: what the gates hold, shown in the Dagster UI."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import dagster as dg
import numpy as np
import pandas as pd

from trading_dagster.backtest.partition import PartitionedBacktest, PartitionStatus, Replay
from trading_dagster.backtest.segment_table import list_made_trades
from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.market.contract import check_candles as refuse_broken_candles
from trading_dagster.market.quality import quality_report
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.orchestration.key_figure import frame_to_markdown
from trading_dagster.statistics.trade_table import trade_rows
from trading_dagster.strategy.indicator_bias import LookaheadFinding

CHECKS = {
    "universe": {
        "candle_schema": "Candles keep the contract: no duplicates, prices above zero, high and low around them.",
        "candle_quality": "No long gaps, jumps, flash crashes, redenominations or stale ends. A warning: look at them.",
    },
    "indicators": {
        "no_lookahead": "Indicators calculated from the past alone have the same past, bit by bit.",
    },
    "portfolio": {
        "never_negative": "Cash and quantities of positions are never below zero.",
        "ledger_replays": "Replaying the ledger from disk gives the cash and the trades of the stored partitions.",
        "chain_unbroken": "Every partition continues from the present result of the one before it.",
    },
    "charts": {
        "all_drawn": "Every chart that the strategy registered could be drawn. A warning: the others are there.",
    },
}
QUALITY_COLUMNS = ("jumps", "spikes", "redenominations")
MAX_ROWS = 50


def specify_checks(key: dg.AssetKey, name: str) -> list[dg.AssetCheckSpec]:
    """Return the checks of an asset."""
    return [dg.AssetCheckSpec(check, asset=key, description=text) for check, text in CHECKS[name].items()]


def check_candles(universe: TradingStrategyUniverse, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """Check the contract and the quality of a universe's candles, pair by pair to need little memory."""
    bucket, panel, broken, reports = universe.time_bucket, universe.candles, [], []
    for row, pair in enumerate(universe.pairs):
        is_real = ~panel.forward_filled[row][panel.exists[row]]
        frame = panel.frame(pair.internal_id or 0)[is_real].assign(pair=pair.get_ticker())
        if len(frame) == 0:
            continue
        try:
            refuse_broken_candles(frame, bucket, "universe")
        except CandleContractBroken as error:
            broken.append(str(error))
        reports.append(quality_report(frame, bucket, "universe", expected_end=panel.end_at))
    report = pd.concat(reports, ignore_index=True)
    yield dg.AssetCheckResult(
        check_name="candle_schema",
        asset_key=key,
        passed=not broken,
        metadata={"candles": int(report["rows"].sum()), "broken": "; ".join(broken[:MAX_ROWS]) or "nothing"},
    )
    tolerance = universe.price_data_delay_tolerance
    suspicious = report[list(QUALITY_COLUMNS)].sum(axis=1) > 0
    gaps = (report["longest_gap"] > tolerance) | (report["stale"] > tolerance)
    yield dg.AssetCheckResult(
        check_name="candle_quality",
        asset_key=key,
        passed=not bool((suspicious | gaps).any()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "tolerance": str(tolerance),
            "missing_bars": int(report["missing_bars"].sum()),
            "pairs_with_long_gaps": int(gaps.sum()),
            "report": dg.MetadataValue.md(frame_to_markdown(report.head(MAX_ROWS))),
        },
    )


def check_causality(findings: Sequence[LookaheadFinding], key: dg.AssetKey) -> dg.AssetCheckResult:
    """Tell whether indicators looked ahead, and name those that did."""
    text = "\n".join(f"- {finding}" for finding in findings[:MAX_ROWS]) or "none"
    return dg.AssetCheckResult(
        check_name="no_lookahead",
        asset_key=key,
        passed=not findings,
        metadata={"findings": len(findings), "which": dg.MetadataValue.md(text)},
    )


def check_charts(errors: Sequence[str], key: dg.AssetKey) -> dg.AssetCheckResult:
    """Tell whether all charts could be drawn, and which not and why."""
    text = "\n".join(f"- {error.splitlines()[0]}" for error in errors[:MAX_ROWS]) or "none"
    return dg.AssetCheckResult(
        check_name="all_drawn",
        asset_key=key,
        passed=not errors,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"failed": len(errors), "which": dg.MetadataValue.md(text)},
    )


def check_portfolio(partitions: PartitionedBacktest, key: dg.AssetKey) -> list[dg.AssetCheckResult]:
    """Check the stored partitions: never negative, replayable, and one unbroken chain.

    Ledger and snapshots are read from disk, whoever wrote them; of the tables only those of earlier runs.
    """
    status = partitions.status()
    current = [entry.key for entry in status if entry.status == "current"]
    replay = partitions.replay(current) if current else None
    return [_check_amounts(partitions, replay, key), _check_replay(partitions, replay, key), _check_chain(status, key)]


def _check_amounts(partitions: PartitionedBacktest, replay: Replay | None, key: dg.AssetKey) -> dg.AssetCheckResult:
    lowest_cash, lowest_balance, lowest_quantity = 0.0, Decimal(0), Decimal(0)
    if replay is not None:
        balances = (text for snapshot in replay.snapshots for text in (snapshot.cash, *snapshot.wallet.values()))
        lowest_balance = min(map(Decimal, balances))
        cash = partitions.read_table("equity", replay.keys, ["cash"]).columns["cash"]
        lowest_cash = float(np.min(cash, initial=np.inf))
        positions = replay.state.portfolio.get_all_positions()
        lowest_quantity = min((position.quantity for position in positions), default=Decimal(0))
    return dg.AssetCheckResult(
        check_name="never_negative",
        asset_key=key,
        passed=lowest_cash >= 0 and lowest_balance >= 0 and lowest_quantity >= 0,
        metadata={
            "lowest_cash_usd": lowest_cash,
            "lowest_wallet_balance": float(lowest_balance),
            "lowest_position_quantity": float(lowest_quantity),
        },
    )


def _check_replay(partitions: PartitionedBacktest, replay: Replay | None, key: dg.AssetKey) -> dg.AssetCheckResult:
    if replay is None:
        return dg.AssetCheckResult(check_name="ledger_replays", asset_key=key, passed=True, metadata={"partitions": 0})
    portfolio = replay.state.portfolio
    trades = trade_rows(list_made_trades(portfolio, replay.events), partitions.has_charges)
    same_cash = portfolio.reserve.quantity == Decimal(replay.snapshots[-1].cash)
    same_trades = trades.has_same_values(partitions.read_table("trades", replay.keys))
    return dg.AssetCheckResult(
        check_name="ledger_replays",
        asset_key=key,
        passed=same_cash and same_trades,
        metadata={
            "partitions": len(replay.keys),
            "same_cash": same_cash,
            "same_trades": same_trades,
            "trades": len(trades),
        },
    )


def _check_chain(status: Sequence[PartitionStatus], key: dg.AssetKey) -> dg.AssetCheckResult:
    outdated = [entry for entry in status if entry.status == "outdated"]
    missing = sum(entry.status == "missing" for entry in status)
    table = pd.DataFrame([{"partition": entry.key, "why": entry.reason} for entry in outdated[:MAX_ROWS]])
    return dg.AssetCheckResult(
        check_name="chain_unbroken",
        asset_key=key,
        passed=not outdated,
        metadata={
            "current": len(status) - len(outdated) - missing,
            "outdated": len(outdated),
            "missing": missing,
            "outdated_partitions": dg.MetadataValue.md(frame_to_markdown(table) if len(table) else "none"),
        },
    )
