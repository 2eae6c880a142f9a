"""Standard charts of the data of vaults: how old it is, and which vaults cannot be entered for it."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from trading_dagster.charts.standard_chart.vault import list_vaults, name_of
from trading_dagster.domain.identifier import ChainId, TradingPairIdentifier
from trading_dagster.domain.time import from_unix_us, to_unix_us
from trading_dagster.market.panel import CandlePanel
from trading_dagster.strategy.chart import ChartInput

FRESHNESS_COLUMNS: dict[str, str] = {
    "Vault": "str",
    "Chain": "str",
    "Candles": "int64",
    "Filled": "int64",
    "First candle": "datetime64[us]",
    "Last candle": "datetime64[us]",
    "Age": "timedelta64[us]",
    "Last TVL": "datetime64[us]",
    "Age of TVL": "timedelta64[us]",
}
IGNORED_COLUMNS = ("Vault", "Chain", "Reason")


def vault_data_freshness(input: ChartInput) -> pd.DataFrame:
    """The last candle and TVL of each vault that its source had, and their age at the end; the oldest first.

    Candles that were filled from the close before do not count as data. A vault without data comes first. The age is
    that of a candle's close.
    """
    universe, end = input.strategy_universe, _end_of(input)
    rows = []
    for pair in list_vaults(input):
        candles, tvl = _Observed(universe.candles, pair, end), _Observed(universe.liquidity, pair, end)
        rows.append(
            (
                name_of(pair), ChainId(pair.chain_id).name, candles.count, candles.filled, candles.first_at,
                candles.last_at, candles.age, tvl.last_at, tvl.age,
            )
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(FRESHNESS_COLUMNS)).astype(FRESHNESS_COLUMNS)
    return table.sort_values("Last candle", na_position="first", kind="stable", ignore_index=True)


def ignored_vault_data(input: ChartInput) -> pd.DataFrame:
    """The vaults that should not be entered at the end for what their data is or lacks, and why."""
    rows = [
        (name_of(pair), ChainId(pair.chain_id).name, reason)
        for pair in list_vaults(input)
        if (reason := _why_ignored(input, pair))
    ]
    return pd.DataFrame(rows, columns=list(IGNORED_COLUMNS), dtype="str")


def _why_ignored(input: ChartInput, pair: TradingPairIdentifier) -> str:
    universe, end = input.strategy_universe, _end_of(input)
    candles = _Observed(universe.candles, pair, end)
    if candles.last_at is None:
        return "no candle closed yet"
    reasons = []
    tolerance = universe.price_data_delay_tolerance
    if tolerance is not None and not universe.can_open_spot(end, pair):
        reasons.append(f"last candle is of {candles.last_at:%Y-%m-%d %H:%M}, older than {tolerance}")
    broken = universe.get_trading_broken_reason(pair, 1, timestamp=end)
    if broken is not None:
        reasons.append(broken)
    if universe.liquidity is not None and _Observed(universe.liquidity, pair, end).last_at is None:
        reasons.append("no TVL")
    return "; ".join(reasons)


def _end_of(input: ChartInput) -> datetime:
    return input.end_at or input.strategy_universe.candles.end_at


class _Observed:
    """What a source had of a pair in candles that closed at or before a time."""

    def __init__(self, panel: CandlePanel | None, pair: TradingPairIdentifier, end: datetime) -> None:
        self.count = self.filled = 0
        self.first_at = self.last_at = self.age = None
        if panel is None or not panel.has_pair(pair.internal_id or 0):
            return
        closed = panel.until(to_unix_us(end))
        row = closed.row_of(pair.internal_id or 0)
        real = closed.times_us[closed.exists[row] & ~closed.forward_filled[row]]
        self.count, self.filled = len(real), int(closed.forward_filled[row].sum())
        if len(real):
            self.first_at, self.last_at = from_unix_us(int(real[0])), from_unix_us(int(real[-1]))
            self.age = end - self.last_at - panel.bucket.to_timedelta()
