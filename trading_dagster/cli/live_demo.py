"""The command ``live demo``: a market on this machine, traded by the example strategy through Dagster."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_CYCLES = 20
DEFAULT_FOLDER = Path(".trading-dagster") / "live-demo"
DEMO_PARAMETERS = {"fast_bars": 2, "slow_bars": 4}
"""Short averages for the example strategy: it shall trade now and then within a day."""


def add_live_demo(app: typer.Typer) -> None:
    """Add the command to the commands of live trading."""

    @app.command("demo")
    def demo(
        cycles: Annotated[int, typer.Option(help="How many decisions to run for.", min=1)] = DEFAULT_CYCLES,
        hour: Annotated[float, typer.Option(help="Seconds in which an hour of the replayed candles passes.")] = 30.0,
        uniswap: Annotated[str, typer.Option(help="v2 or v3.")] = "v2",
        port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
        folder: Annotated[
            Path | None, typer.Option(help="New folder for all files; by default one below .trading-dagster.")
        ] = None,
    ) -> None:
        """Trade the example strategy on a chain of its own, through Dagster, while real candles are replayed."""
        run(cycles, hour, uniswap, port, folder or DEFAULT_FOLDER / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}")


def run(cycles: int, hour_s: float, uniswap: str, port: int, folder: Path) -> None:
    """Run the demo and say how it goes; raises BadConfiguration, and what `run_live_demo` raises."""
    from trading_dagster.demo.show import drive_by_dagster, run_live_demo
    from trading_dagster.demo.stage import DemoSetting
    from trading_dagster.domain.error import BadConfiguration
    from trading_dagster.evm.demo_market import PoolKind
    from trading_dagster.orchestration.strategy_file import find_demo_strategy

    kinds = {kind.name: kind for kind in PoolKind}
    if uniswap not in kinds:
        raise BadConfiguration(f"--uniswap {uniswap}: there are {' and '.join(kinds)}")
    setting = DemoSetting(folder, find_demo_strategy(), DEMO_PARAMETERS, hour_s=hour_s, kind=kinds[uniswap])
    typer.echo(f"Dagster UI: http://127.0.0.1:{port} (the first start installs a local chain with npm)")
    run_live_demo(setting, drive_by_dagster(port), typer.echo, cycles=cycles)
