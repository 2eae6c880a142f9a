"""The same market with another future: what a decision at an instant may know stays, all the rest is changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum

import numpy as np
import pandas as pd

from trading_dagster.domain.time import to_unix_us
from trading_dagster.domain.vault import VaultLimit
from trading_dagster.domain.vault_history import VaultHistory
from trading_dagster.market.lending import LendingUniverse
from trading_dagster.market.panel import PRICE_COLUMNS, CandlePanel, Flags, Floats
from trading_dagster.market.universe import TradingStrategyUniverse

NOISE = 0.05
OPENED_USD = 1_000.0


class OtherFuture(Enum):
    """What the candles after an instant become."""

    rise = "ten times as high"
    fall = "a tenth as high"
    nothing = "missing"


FACTORS = {OtherFuture.rise: 10.0, OtherFuture.fall: 0.1}


def change_future(
    universe: TradingStrategyUniverse, at: datetime, future: OtherFuture, seed: int = 0
) -> TradingStrategyUniverse:
    """Return a universe in which everything that is not known at ``at`` is different.

    Known are the candles that closed by then, and the open of the candle in progress, at which trades are filled. Price
    candles, stop-loss candles, TVL, lending rates and the limits of vaults are changed; of the rates those whose
    candles open later, because interest up to now counts the candle in progress.

    Args:
        universe: The market as it was; not touched.
        at: Decision time, naive UTC.
        future: What to put in the place of what came.
        seed: Of the noise that makes each changed bar different from its neighbours.
    """
    changed = {
        id(panel): change_panel(panel, to_unix_us(at), future, seed)
        for panel in (universe.candles, universe.stop_loss_candles, universe.liquidity)
        if panel is not None
    }
    feed, liquidity = universe.stop_loss_candles, universe.liquidity
    return replace(
        universe,
        candles=changed[id(universe.candles)],
        stop_loss_candles=None if feed is None else changed[id(feed)],
        liquidity=None if liquidity is None else changed[id(liquidity)],
        lending=None if universe.lending is None else change_rates(universe.lending, at, future),
        vault_limits=change_limits(universe.vault_limits, at, future),
    )


def change_limits(history: VaultHistory, at: datetime, future: OtherFuture) -> VaultHistory:
    """Return limits that are different after a naive UTC time, from the first moment on."""
    changed = {}
    for key, limits in history.limits.items():
        later = [limit for limit in limits if limit.at > at]
        first = VaultLimit(at + timedelta(microseconds=1))
        if not later or later[0].at > first.at:
            later.insert(0, first)
        if future is OtherFuture.nothing:
            later = []
        known = [limit for limit in limits if limit.at <= at]
        changed[key] = (*known, *(_change_limit(limit, FACTORS[future]) for limit in later))
    return VaultHistory(changed)


def _change_limit(limit: VaultLimit, factor: float) -> VaultLimit:
    """Return a limit times a factor; above 1 what was closed or not known is open for some USD, below it is closed."""

    def change(usd: float | None) -> float:
        return usd * factor if usd else OPENED_USD * (factor > 1)

    return replace(limit, max_deposit=change(limit.max_deposit), max_redemption=change(limit.max_redemption))


def change_rates(lending: LendingUniverse, at: datetime, future: OtherFuture) -> LendingUniverse:
    """Return lending markets whose rates are different in every candle that opens after a naive UTC time."""
    factor = FACTORS.get(future)
    rates = {}
    for key, rate in lending.rates.items():
        is_later = rate.index > pd.Timestamp(at)
        if factor is None:
            rates[key] = rate[~is_later]
        else:
            rates[key] = rate.mul(np.where(is_later, factor, 1.0), axis=0)
    return replace(lending, rates=rates)


def change_panel(panel: CandlePanel, at_us: int, future: OtherFuture, seed: int) -> CandlePanel:
    """Return a panel with another future; the instant is in microseconds since 1970."""
    opens_us = panel.times_us
    after = opens_us > at_us
    in_progress = (opens_us <= at_us) & (opens_us + panel.width_us > at_us)
    columns = {name: values.copy() for name, values in panel.columns.items()}
    exists, filled = panel.exists.copy(), panel.forward_filled.copy()
    if future is OtherFuture.nothing:
        for name, values in columns.items():
            values[:, after] = np.nan
            if name != "open":
                values[:, in_progress] = panel.columns["open"][:, in_progress] if name in PRICE_COLUMNS else 0.0
        exists[:, after] = filled[:, after] = False
        for values in columns.values():
            values[~exists] = np.nan
        return CandlePanel(panel.bucket, panel.start_us, panel.pair_ids, columns, exists, filled)
    noise = np.exp(np.random.default_rng(seed).normal(0.0, NOISE, exists.shape)) * FACTORS[future]
    for name, values in columns.items():
        if name in PRICE_COLUMNS:
            values[:, after] *= noise[:, after]
        else:
            unknown = after | in_progress
            values[:, unknown] = (values[:, unknown] + 1) * noise[:, unknown]  # no volume becomes some
    _change_bar(columns, panel.columns["open"], noise, in_progress)
    return CandlePanel(panel.bucket, panel.start_us, panel.pair_ids, columns, exists, filled)


def _change_bar(columns: dict[str, Floats], opens: Floats, noise: Floats, bars: Flags) -> None:
    """Move the close of bars to open times noise, with high and low 1 % beyond both."""
    close = opens[:, bars] * noise[:, bars]
    columns["close"][:, bars] = close
    columns["high"][:, bars] = np.maximum(opens[:, bars], close) * 1.01
    columns["low"][:, bars] = np.minimum(opens[:, bars], close) * 0.99
