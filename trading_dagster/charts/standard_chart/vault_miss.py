"""Standard charts of what vaults did not let happen: deposits and redemptions that an alpha model wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.curve import WHEEL
from trading_dagster.charts.sampling import plot_times, thin_positions
from trading_dagster.charts.standard_chart.signal import ALPHA_MODEL
from trading_dagster.charts.theme import plain, say_nothing_to_show, style_figure
from trading_dagster.domain.error import BadInput
from trading_dagster.strategy.alpha_model import AlphaModel
from trading_dagster.strategy.chart import ChartInput

MISSED = "missed_vault_events"
MISSED_COLUMNS = {
    "Time": "datetime64[us]",
    "Vault": "str",
    "What": "str",
    "Missed USD": "float64",
    "Reason": "str",
}
KINDS = {"deposit": "triangle-up", "redemption": "triangle-down"}
"""What can be missed, and the marker that shows it."""


def missed_vault_deposit_redemption_events(input: ChartInput) -> pd.DataFrame:
    """How often and how much each vault did not let in or out, those with most USD first."""
    events = read_missed_vault_events(input)
    rows = []
    for vault, missed in events.groupby("Vault"):
        row: dict[str, object] = {"Vault": vault}
        for kind in KINDS:
            usd = missed.loc[missed["What"] == kind, "Missed USD"]
            row |= {f"Missed {kind}s": len(usd), f"Missed {kind}s USD": float(usd.sum())}
        rows.append(row | {"Reasons": ", ".join(sorted(set(missed["Reason"]))), "Last": missed["Time"].max()})
    names = [name for kind in KINDS for name in (f"Missed {kind}s", f"Missed {kind}s USD")]
    table = pd.DataFrame(rows, columns=["Vault", *names, "Reasons", "Last"])
    most = -(table["Missed deposits USD"] + table["Missed redemptions USD"])
    return table.loc[most.sort_values(kind="stable").index].reset_index(drop=True)


def missed_vault_deposit_redemption_timeline(input: ChartInput) -> go.Figure:
    """When vaults did not let money in or out, and how much: upwards a deposit, downwards a redemption."""
    events = read_missed_vault_events(input)
    figure = go.Figure()
    if events.empty:
        say_nothing_to_show(figure, "No vault refused a deposit or a redemption")
    for number, (vault, of_vault) in enumerate(events.groupby("Vault")):
        for kind, symbol in KINDS.items():
            missed = of_vault[of_vault["What"] == kind]
            usd = missed["Missed USD"].to_numpy(dtype=np.float64)
            kept = thin_positions(usd)
            if not len(usd):
                continue
            figure.add_trace(
                go.Scatter(
                    x=plot_times(pd.DatetimeIndex(missed["Time"])[kept]),
                    y=usd[kept],
                    name=plain(f"{vault}, {kind}"),
                    text=missed["Reason"].to_numpy()[kept],
                    mode="markers",
                    marker={"symbol": symbol, "size": 8, "color": WHEEL[number % len(WHEEL)]},
                    hovertemplate="%{y:$,.2f}, %{text}",
                )
            )
    figure.update_layout(
        xaxis={"type": "date"},
        yaxis={"title": {"text": "Missed, USD"}, "tickformat": "$,", "rangemode": "tozero"},
        showlegend=True,
    )
    return style_figure(figure, height=400)


def read_missed_vault_events(input: ChartInput) -> pd.DataFrame:
    """Return what vaults did not let happen, a row each, in order of time.

    Calculations are read, under "missed_vault_events" or in the "alpha_model" of a cycle; where there are none, the
    alpha model in the data of the running process, which is that of the newest cycle.

    Raises:
        BadInput: the strategy left neither
    """
    shown = input.require_state().visualisation
    by_time: dict[datetime | None, Any] = {
        at: found for at, values in sorted(shown.calculations.items()) if (found := _find_events(values)) is not None
    }
    newest = shown.discardable_data.get(ALPHA_MODEL)
    if not by_time and isinstance(newest, AlphaModel | Mapping):
        model = newest.to_dict() if isinstance(newest, AlphaModel) else newest
        at = model.get("timestamp")
        by_time = {None if at is None else datetime.fromisoformat(at): model.get(MISSED, ())}
    if not by_time:
        raise BadInput(
            "The strategy left no alpha model: after generate_rebalance_trades_and_triggers call "
            'state.visualisation.add_calculations(input.timestamp, {"alpha_model": model.to_dict()})'
        )
    return pd.DataFrame(list(_rows(by_time)), columns=list(MISSED_COLUMNS)).astype(MISSED_COLUMNS)


def _find_events(values: Mapping[str, Any]) -> Any:
    model = values.get(ALPHA_MODEL)
    return model.get(MISSED) if MISSED not in values and isinstance(model, Mapping) else values.get(MISSED)


def _rows(by_time: Mapping[datetime | None, Any]) -> Iterator[tuple[object, ...]]:
    for at, events in by_time.items():
        for event in events:
            yield at, event.get("vault") or event["pair"], event["event"], event["usd"], event["reason"]
