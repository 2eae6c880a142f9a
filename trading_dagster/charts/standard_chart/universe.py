"""Standard charts of the universe: how many pairs could be traded when, and since when each was included."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.curve import draw_curves
from trading_dagster.charts.sampling import Curve
from trading_dagster.domain.error import BadInput, IndicatorNotFound
from trading_dagster.domain.identifier import ChainId, TradingPairIdentifier
from trading_dagster.strategy.chart import ChartInput


def available_trading_pairs(
    input: ChartInput,
    all_criteria_included_pair_count: str = "all_criteria_included_pair_count",
    volume_included_pair_count: str = "volume_included_pair_count",
    tvl_included_pair_count: str = "tvl_included_pair_count",
    trading_pair_count: str = "trading_pair_count",
    with_dataframe: bool = False,
) -> go.Figure | tuple[go.Figure, pd.DataFrame]:
    """How many pairs could be traded over time: with candles, and by each inclusion criterion the strategy counts.

    Args:
        input: The indicators.
        all_criteria_included_pair_count: Name of the indicator that counts the pairs that meet all criteria.
        volume_included_pair_count: The same for volume.
        tvl_included_pair_count: The same for TVL.
        trading_pair_count: The same for pairs that had a candle so far.
        with_dataframe: Return the numbers, too.
    """
    table = count_pairs(
        input,
        {
            "All criteria": all_criteria_included_pair_count,
            "Volume": volume_included_pair_count,
            "TVL": tvl_included_pair_count,
            "Ever traded": trading_pair_count,
        },
    )
    curves = {str(name): table[name].dropna() for name in table.columns}
    figure = draw_curves(curves, y_title="Pairs", hover="%{y:,.0f}", nothing="No candles")
    return (figure, table) if with_dataframe else figure


def count_pairs(input: ChartInput, names: dict[str, str]) -> pd.DataFrame:
    """Return the counts that the strategy's indicators give, and the number of pairs with a candle, over time."""
    indicators, universe = input.require_indicators(), input.strategy_universe
    counts: dict[str, Curve] = {}
    for label, name in names.items():
        if indicators.has_indicator(name):
            series = indicators.get_indicator_series(name)
            if series is not None:
                counts[label] = series.astype("float64")
    panel = universe.candles
    with_candle = np.asarray((panel.exists & ~panel.forward_filled).sum(axis=0), dtype=np.float64)
    counts["With a candle"] = pd.Series(with_candle, index=panel.index)
    return pd.DataFrame(counts).loc[input.start_at : input.end_at]


def inclusion_criteria_check(
    input: ChartInput,
    inclusion_criteria: str = "inclusion_criteria",
    rolling_cumulative_volume: str = "rolling_cumulative_volume",
    show_chain: bool = False,
) -> pd.DataFrame:
    """Since when each pair was included, and with what volume then; those never included last.

    Args:
        input: The indicators.
        inclusion_criteria: Name of the indicator that lists the included pairs.
        rolling_cumulative_volume: Name of the indicator of volume; left out where the strategy has none.
        show_chain: Say the chain, too.

    Raises:
        IndicatorNotFound: the strategy does not define the criteria
    """
    indicators, universe = input.require_indicators(), input.strategy_universe
    if not indicators.has_indicator(inclusion_criteria):
        raise IndicatorNotFound(
            f"The strategy has no indicator {inclusion_criteria!r}: define it, for example with "
            "trading_dagster.inclusion.define_on, or say inclusion_criteria="
        )
    series = indicators.get_indicator_series(inclusion_criteria)
    if series is None:
        raise BadInput(f"Indicator {inclusion_criteria!r} has no values: are there candles?")
    first: dict[int, pd.Timestamp] = {}
    bars: dict[int, int] = {}
    for time, ids in series.items():
        for pair_id in ids:
            first.setdefault(pair_id, time)  # type: ignore[arg-type]
            bars[pair_id] = bars.get(pair_id, 0) + 1
    rows = [
        {
            "Ticker": pair.get_ticker(),
            "Exchange": pair.exchange_name or "",
            **({"Chain": ChainId(pair.chain_id).name} if show_chain else {}),
            "Included at": first.get(pair.internal_id or 0, pd.NaT),
            "Time included": bars.get(pair.internal_id or 0, 0) / max(len(series), 1),
            **_volume_at(input, rolling_cumulative_volume, pair, first.get(pair.internal_id or 0)),
        }
        for pair in universe.pairs
    ]
    return pd.DataFrame(rows).sort_values("Included at", kind="stable", ignore_index=True)


def _volume_at(
    input: ChartInput,
    name: str,
    pair: TradingPairIdentifier,
    at: pd.Timestamp | None,
) -> dict[str, float]:
    indicators = input.require_indicators()
    if not indicators.has_indicator(name):
        return {}
    series = None if at is None else indicators.get_indicator_series(name, pair=pair)
    if series is None or at is None:
        return {"Volume at inclusion USD": np.nan}
    row = int(series.index.searchsorted(at, side="right")) - 1
    return {"Volume at inclusion USD": float(series.iloc[row]) if row >= 0 else np.nan}
