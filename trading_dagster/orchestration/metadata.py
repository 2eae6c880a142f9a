"""What the Dagster UI shows of a materialization: rows, span, key figures, small tables and pictures.

Painting is imported where it is done: a live run trades before it paints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.backtest.segment_writer import PartitionOutcome
from trading_dagster.charts.sketch import sketch_equity
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.orchestration.key_figure import (
    calculate_key_figures,
    frame_to_markdown,
    key_figure_rows,
    to_markdown,
)
from trading_dagster.strategy.indicator_result import IndicatorResult, IndicatorResults

Metadata = Mapping[str, Any]
MAX_ROWS = 50


def picture(image: bytes, alt: str) -> dg.MarkdownMetadataValue:
    """Return a picture (PNG or SVG) to be shown inline."""
    from trading_dagster.charts.picture import to_markdown_image

    return dg.MetadataValue.md(to_markdown_image(image, alt))


def picture_coverage(universe: TradingStrategyUniverse) -> Metadata:
    """Return a picture of which candles there are."""
    from trading_dagster.charts.picture import EXISTING, FILLED, paint_coverage

    candles = universe.candles
    states = np.where(candles.exists, np.where(candles.forward_filled, FILLED, EXISTING), 0).T
    coverage = pd.DataFrame(states, index=candles.index, columns=[pair.get_ticker() for pair in universe.pairs])
    return {"coverage": picture(paint_coverage(coverage), "Which candles exist")}


def picture_indicators(results: IndicatorResults, universe: TradingStrategyUniverse) -> Metadata:
    """Return an overview of indicators over time; nothing when there are none."""
    from trading_dagster.charts.picture import paint_indicators

    columns = dict(_columns(results, universe))
    if not columns:
        return {}
    numeric = {name: each for name, (_, each) in columns.items() if len(each) and pd.api.types.is_numeric_dtype(each)}
    curves = {name: series.astype("float64") for name, series in numeric.items()}
    return {"overview": picture(paint_indicators(curves), "Indicators over time")}


def describe_universe(universe: TradingStrategyUniverse) -> Metadata:
    """Return pairs, rows and span."""
    candles = universe.candles
    rows = candles.exists.sum(axis=1)
    pairs = pd.DataFrame(
        [
            {
                "pair": pair.get_ticker(),
                "exchange": pair.exchange_name or pair.exchange_address,
                "fee": "unknown" if pair.fee is None else f"{pair.fee:.3%}",
                "candles": f"{count:,}",
                "filled": f"{int(candles.forward_filled[row].sum()):,}",
            }
            for row, (pair, count) in enumerate(zip(universe.pairs, rows, strict=True))
        ]
    )
    return {
        "dagster/row_count": int(rows.sum()),
        "pairs": universe.get_pair_count(),
        "candle_width": universe.time_bucket.value,
        "first_candle": _time(candles.start_at),
        "end_of_last_candle": _time(candles.end_at),
        "reserve": universe.get_reserve_asset().token_symbol,
        "content_hash": universe.get_cache_key(),
        "pairs_table": dg.MetadataValue.md(frame_to_markdown(pairs.head(MAX_ROWS))),
    }


def describe_indicators(results: IndicatorResults, universe: TradingStrategyUniverse) -> Metadata:
    """Return rows, missing values and span of each indicator."""
    rows, cells = [], 0
    for name, (result, series) in _columns(results, universe):
        cells += len(series)
        missing = int(series.isna().sum())
        span = f"{series.index[0]} to {series.index[-1]}" if len(series) else result.empty_reason or ""
        rows.append({"indicator": name, "rows": f"{len(series):,}", "NaN": f"{missing:,}", "span": span})
    metadata: dict[str, Any] = {"dagster/row_count": cells, "indicators": len(results.indicators)}
    if rows:
        metadata["indicators_table"] = dg.MetadataValue.md(frame_to_markdown(pd.DataFrame(rows).head(MAX_ROWS)))
    return metadata


def describe_partition(outcome: PartitionOutcome, folder: Path) -> dict[str, dict[str, Any]]:
    """Return by asset what one partition did; the UI plots the numbers over partitions."""
    tables, snapshot = outcome.tables, outcome.snapshot
    trades, samples, decisions = (tables[name].columns for name in ("trades", "equity", "decisions"))
    equity = np.asarray(samples["equity"])
    first = float(equity[0]) if len(equity) else snapshot.equity
    fees = _sum_known(trades["fee"])
    common = {"span": f"{outcome.window.start} to {outcome.window.end}", "folder": dg.MetadataValue.path(folder)}
    return {
        "decisions": {
            "dagster/partition_row_count": outcome.cycles,
            "cycles": outcome.cycles,
            "cycles_with_trades": int(np.count_nonzero(np.add(decisions["buys"], decisions["sells"]))),
            **common,
        },
        "trades": {
            "dagster/partition_row_count": len(tables["trades"]),
            "trades": len(tables["trades"]),
            "fees_usd": fees,
            "volume_usd": _sum_known(map(abs, trades["reserve"])),
            "realised_profit_usd": _sum_known(trades["profit"]),
            **common,
        },
        "portfolio": {
            "dagster/partition_row_count": len(equity),
            "equity_usd": snapshot.equity,
            "return": snapshot.equity / first - 1 if first else 0.0,
            "cash_usd": float(snapshot.cash),
            "open_positions": outcome.open_positions,
            "trades": len(tables["trades"]),
            "fees_usd": fees,
            "snapshot": snapshot.hash(),
            "began_from": snapshot.began_from,
            **common,
        },
    }


def _sum_known(amounts: Iterable[float]) -> float:
    """Add up exactly the amounts that are not NaN."""
    return math.fsum(amount for amount in amounts if not math.isnan(amount))


def picture_equity(partitions: PartitionedBacktest, last_key: str, name: str) -> Metadata:
    """Return the equity over all partitions up to one as a picture."""
    samples = partitions.read_table("equity", partitions.keys_until(last_key), ["timestamp", "equity"]).columns
    curve = pd.Series(samples["equity"], index=pd.DatetimeIndex(np.asarray(samples["timestamp"])))
    return {"equity_curve": picture(sketch_equity(curve, title=f"Equity of {name}"), f"Equity of {name}")}


def describe_result(result: BacktestResult) -> Metadata:
    """Return the key figures as numbers and as a table, with pictures of equity and monthly returns."""
    from trading_dagster.charts.picture import paint_monthly_returns

    figures = calculate_key_figures(result)
    hold = {f"Hold {result.universe.pairs[0].get_ticker()}": result.buy_and_hold}
    numbers = {figure.name.lower().replace(", ", "_").replace(" ", "_"): figure.strategy for figure in figures}
    return {
        "summary": dg.MetadataValue.md(to_markdown(key_figure_rows(result, figures))),
        **{name: value for name, value in numbers.items() if np.isfinite(value)},
        "equity_curve": picture(sketch_equity(result.equity_curve, hold), "Equity and drawdown"),
        "monthly_returns": picture(paint_monthly_returns(result.performance_curve), "Monthly returns"),
    }


def describe_report(result: BacktestResult, path: Path) -> Metadata:
    """Return where the report is, and its equity picture."""
    hold = {f"Hold {result.universe.pairs[0].get_ticker()}": result.buy_and_hold}
    return {
        "path": dg.MetadataValue.path(path),
        "url": dg.MetadataValue.url(path.as_uri()),
        "size_bytes": path.stat().st_size,
        "equity_curve": picture(sketch_equity(result.equity_curve, hold), "Equity and drawdown"),
    }


def _columns(
    results: IndicatorResults, universe: TradingStrategyUniverse
) -> Iterator[tuple[str, tuple[IndicatorResult, pd.Series[Any]]]]:
    """Yield each column of each indicator by a name that says which pair it is of."""
    tickers = {pair.internal_id: pair.get_ticker() for pair in universe.pairs}
    for (label, pair_id), result in results.items():
        for column in result.columns if result.is_frame else (None,):
            name = " ".join(filter(None, (label, column, tickers.get(pair_id))))
            yield name, (result, result.series(column, label))


def _time(moment: datetime) -> dg.TimestampMetadataValue:
    return dg.MetadataValue.timestamp(moment.replace(tzinfo=_UTC))


_UTC = pd.Timestamp(0, tz="UTC").tz
