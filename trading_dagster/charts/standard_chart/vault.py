"""Standard charts of vaults: what was put into them, what it earned, and what their shares were worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_dagster.charts.palette import NEUTRAL, STRATEGY
from trading_dagster.charts.sampling import Curve, plot_times, thin_curve
from trading_dagster.charts.theme import say_nothing_to_show, style_figure
from trading_dagster.domain.identifier import ChainId, TradingPairIdentifier
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.statistics.asset_weight import value_positions
from trading_dagster.statistics.timeline import create_timeline, expand_timeline
from trading_dagster.strategy.chart import ChartInput

SHOWN_DAYS = 10


def vault_statistics(input: ChartInput) -> pd.DataFrame:
    """What was put into each vault of the universe and what it earned, beside its own return."""
    rows = []
    for pair in list_vaults(input):
        positions = _positions_of(input, pair)
        bought, profit = sum(p.get_buy_value() for p in positions), sum(p.get_total_profit_usd() for p in positions)
        price = _share_price(input, pair)
        rows.append(
            {
                "Vault": name_of(pair),
                "Chain": ChainId(pair.chain_id).name,
                "Positions": len(positions),
                "Deposited USD": bought,
                "Profit USD": profit,
                "Profit": profit / bought if bought else np.nan,
                "Value at end USD": sum(p.get_value() for p in positions),
                "Share price at end": float(price.iloc[-1]) if len(price) else np.nan,
                "Return of the vault": float(price.iloc[-1] / price.iloc[0] - 1) if len(price) else np.nan,
                "TVL at end USD": _last(_tvl(input, pair)),
            }
        )
    return pd.DataFrame(rows)


def all_vault_positions(input: ChartInput) -> pd.DataFrame:
    """All positions in vaults, in order of opening."""
    positions = [p for p in input.require_state().portfolio.get_all_positions() if p.is_vault()]
    return expand_timeline(create_timeline(sorted(positions, key=lambda p: (p.opened_at, p.position_id))))


def all_vault_positions_by_profit(input: ChartInput) -> pd.DataFrame:
    """All positions in vaults, the most profitable first."""
    positions = [p for p in input.require_state().portfolio.get_all_positions() if p.is_vault()]
    ranked = sorted(positions, key=lambda p: (-p.get_total_profit_usd(), p.position_id))
    return expand_timeline(create_timeline(ranked))


def vault_position_timeline(input: ChartInput) -> list[go.Figure | pd.DataFrame]:
    """What was held in a vault over time beside its share price, and the deposits and redemptions."""
    parts: list[go.Figure | pd.DataFrame] = []
    values = value_positions(input.require_state())
    by_pair = values.by_pair()
    for pair in input.require_pairs():
        held = pd.Series(by_pair.get(pair, np.zeros(len(values.times))), index=values.times)
        parts.append(_draw_two(name_of(pair), "Value", held, "Share price", _share_price(input, pair)))
        fills = [(t, t.fill) for p in _positions_of(input, pair) for t in p.trades.values()]
        rows = [
            (
                fill.executed_at,
                "deposit" if t.is_buy() else "redemption",
                abs(float(fill.quantity)),
                fill.price,
                t.get_value(),
            )
            for t, fill in sorted(fills, key=lambda each: each[0].trade_id)
            if fill is not None
        ]
        parts.append(pd.DataFrame(rows, columns=["Time", "What", "Shares", "Share price", "Value USD"]))
    return parts


def all_vaults_share_price_and_tvl(
    input: ChartInput, max_count: int = 3, printer: Callable[..., Any] | None = None
) -> list[go.Figure]:
    """The share price of vaults, and their TVL where it is known, the most used first.

    Args:
        input: The universe.
        max_count: At most so many vaults.
        printer: Accepted for ported strategies; nothing is printed.
    """
    del printer
    vaults = sorted(list_vaults(input), key=lambda pair: -len(_positions_of(input, pair)))[:max_count]
    return [
        _draw_two(name_of(pair), "TVL", _tvl(input, pair), "Share price", _share_price(input, pair)) for pair in vaults
    ]


def all_vault_daily_gains_losses(input: ChartInput, count: int = SHOWN_DAYS) -> pd.DataFrame:
    """The days on which vaults gained or lost most for the portfolio, by the change of the share price.

    Args:
        input: The state and the universe.
        count: How many gains and how many losses.
    """
    values = value_positions(input.require_state())
    frames = []
    for pair, part in values.by_pair().items():
        if pair.is_vault():
            daily = pd.Series(part, index=values.times).resample("D").last().shift(1)
            change = _share_price(input, pair).resample("D").last().pct_change(fill_method=None)
            gains = (daily * change).dropna()
            gains = gains[gains != 0]
            frames.append(
                pd.DataFrame(
                    {"Day": gains.index, "Vault": name_of(pair), "Gain USD": gains.to_numpy(),
                     "Change of share price": change.loc[gains.index].to_numpy()}
                )
            )  # fmt: skip
    if not frames:
        return pd.DataFrame(columns=["Day", "Vault", "Profit USD", "Change of share price"])
    table = pd.concat(frames, ignore_index=True).rename(columns={"Gain USD": "Profit USD"})
    ordered = table.sort_values("Profit USD", ascending=False, ignore_index=True)
    return ordered if len(ordered) <= 2 * count else pd.concat([ordered.head(count), ordered.tail(count)])


def pending_vault_settlements(input: ChartInput) -> pd.DataFrame:
    """Orders that vaults took and did not settle yet."""
    portfolio = input.require_state().portfolio
    rows = []
    for trade_id, position_id in sorted(portfolio.settlements.items()):
        trade = portfolio.get_position_by_id(position_id).trades[trade_id]
        what = "deposit" if trade.is_buy() else "redemption"
        rows.append((name_of(trade.pair), what, trade.started_at, float(trade.planned_reserve)))
    return pd.DataFrame(rows, columns=["Vault", "What", "Ordered at", "Value USD"])


def list_vaults(input: ChartInput) -> list[TradingPairIdentifier]:
    """Return the vaults of the universe."""
    return [pair for pair in input.strategy_universe.pairs if pair.is_vault()]


def name_of(pair: TradingPairIdentifier) -> str:
    """Return what people call a vault."""
    return VaultTerms.of_pair(pair).name or pair.get_ticker()


def _positions_of(input: ChartInput, pair: TradingPairIdentifier) -> list[TradingPosition]:
    return [] if input.state is None else [p for p in input.state.portfolio.get_all_positions() if p.pair == pair]


def _share_price(input: ChartInput, pair: TradingPairIdentifier) -> Curve:
    candles = input.strategy_universe.candles.clip(input.start_at, input.end_at)
    return candles.series(pair.internal_id or 0, "close").astype("float64")


def _tvl(input: ChartInput, pair: TradingPairIdentifier) -> Curve:
    liquidity = input.strategy_universe.liquidity
    if liquidity is None:
        return pd.Series(dtype="float64", index=pd.DatetimeIndex([]))
    return liquidity.clip(input.start_at, input.end_at).series(pair.internal_id or 0, "close").astype("float64")


def _last(curve: Curve) -> float:
    return float(curve.iloc[-1]) if len(curve) else np.nan


def _draw_two(title: str, left_name: str, left: Curve, right_name: str, right: Curve) -> go.Figure:
    """Draw USD on the left axis and a share price on the right one."""
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    for name, curve, colour, is_right in ((left_name, left, STRATEGY, False), (right_name, right, NEUTRAL, True)):
        drawn = thin_curve(curve)
        if drawn.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=plot_times(drawn.index), y=drawn.to_numpy(), name=name, mode="lines",
                line={"color": colour, "width": 1.4}, hovertemplate="%{y:,.6~g}",
            ),
            secondary_y=is_right,
        )  # fmt: skip
    if not figure.data:
        say_nothing_to_show(figure, "No prices in this range")
    figure.update_yaxes(title_text=left_name, tickformat="$,", secondary_y=False)
    figure.update_yaxes(title_text=right_name, showgrid=False, secondary_y=True)
    figure.update_layout(hovermode="x unified", xaxis={"type": "date"}, showlegend=True)
    return style_figure(figure, title=title, height=400).update_layout(margin={"r": 64})
