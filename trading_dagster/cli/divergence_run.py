"""Run what ``live divergence`` asks for: the report of a deployment as text, figure and tables."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import typer

from trading_dagster.backtest.plan import BacktestOptions
from trading_dagster.cli.live_action import find_deployment, find_home
from trading_dagster.live.deployment import Deployment
from trading_dagster.live.opening import open_observer
from trading_dagster.research.divergence import compare_with_backtest
from trading_dagster.research.divergence_table import (
    decision_table,
    describe_report,
    equity_curves,
    matched_table,
    unmatched_table,
)
from trading_dagster.research.trade_match import MidAtFill
from trading_dagster.storage.file import write_text


def run_divergence(
    name: str,
    home: Path | None,
    end: datetime | None,
    html: Path | None,
    save: Path | None,
    *,
    ask_node: bool,
    show_progress: bool,
) -> None:
    """Print the report, and write figure and tables where asked for; reads only, and signs nothing."""
    deployment = find_deployment(name)
    fees = deployment.fees
    report = compare_with_backtest(
        open_observer(deployment, find_home(home)),
        end=end,
        options=BacktestOptions(
            trading_fee_override=fees.override, default_fee=fees.default, allow_missing_fees=fees.allow_missing
        ),
        mid_at_fill=_open_past_prices(deployment) if ask_node else None,
        progress=show_progress,
    )
    typer.echo(describe_report(report))
    if html is not None:
        from trading_dagster.charts.divergence import draw_divergence  # plotly is loaded only when it draws

        figure = draw_divergence(*equity_curves(report), title=f"{report.name}: live and backtest")
        write_text(figure.to_html(include_plotlyjs=True), html)
        typer.echo(f"Figure: {html.absolute()}")
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        tables = {"matched": matched_table, "unmatched": unmatched_table, "decisions": decision_table}
        for table, make in tables.items():
            write_text(make(report).to_csv(index=False), save / f"{table}.csv")
        typer.echo(f"Saved to {save.absolute()}")


def _open_past_prices(deployment: Deployment) -> MidAtFill | None:
    """Return what reads pool prices at past blocks, for which nodes are needed and no key; None on paper."""
    if deployment.mode != "live":
        return None
    from trading_dagster.evm.client import EvmClient  # web3 is loaded only for a chain
    from trading_dagster.evm.endpoint import HttpEndpoint
    from trading_dagster.evm.past_price import PastPrices
    from trading_dagster.evm.vault_dex import VaultDex
    from trading_dagster.live.chain_opening import find_chain, find_exchange, find_vaults

    asked, chain = deployment.chain, find_chain(deployment)
    assert asked is not None
    endpoints = [HttpEndpoint.from_environment(variable) for variable in asked.rpc_envs]
    client = EvmClient(endpoints, chain.chain_id, chain.client)
    vaults = {vault.address: VaultDex.of(vault, vault.address) for vault in find_vaults(deployment)}
    return PastPrices(client, find_exchange(deployment).dex, vaults).mid_before_fill
