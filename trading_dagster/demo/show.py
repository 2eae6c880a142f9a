"""The live demo: the strategy trades on its stage through Dagster for some cycles, and the end is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from trading_dagster.demo.child import run_child
from trading_dagster.demo.report import describe_demo
from trading_dagster.demo.stage import DemoSetting, Stage, open_stage
from trading_dagster.domain.error import NoNewDataReceived
from trading_dagster.domain.state import State
from trading_dagster.live.opening import open_observer
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.orchestration.home import prepare_home, write_workspace
from trading_dagster.storage.strategy_ledger import StrategyLedger

POLL_S = 0.5
START_S = 120.0
PATIENCE_CYCLES = 5

Check = Callable[[], None]
Drive = Callable[[Stage], AbstractContextManager[Check]]
"""Trades on a stage while a block runs; the check raises when it has ended by itself."""


def run_live_demo(
    setting: DemoSetting,
    drive: Drive,
    tell: Callable[[str], None],
    *,
    cycles: int = 20,
    packages: Path | None = None,
    packages_v3: Path | None = None,
    observe: Callable[[Stage], LiveStrategy] | None = None,
) -> State:
    """Run the demo until so many cycles are complete, and return what its ledger adds up to.

    Args:
        setting: What is staged.
        drive: What runs the cycles; `drive_by_dagster` gives the real one.
        tell: Told each line.
        cycles: How many.
        packages: As of `open_stage`.
        packages_v3: As of `open_stage`.
        observe: Opens the deployment for reading; None is `open_observer`.

    Raises:
        NoNewDataReceived: No cycle was completed for long; the message says where the logs are.
        EvmError: The node or the price follower ended.
    """
    with open_stage(setting, packages, packages_v3) as stage:
        live = observe(stage) if observe is not None else open_observer(stage.deployment, stage.home)
        folder = stage.deployment.file.parent.parent
        tell(f"A chain at {stage.node.url}, where {stage.pool.pair} follows the candles from {setting.start:%Y-%m-%d}")
        tell(f"An hour takes {setting.hour_s:g} s; logs and everything else are in {folder}")
        with drive(stage) as check:

            def check_all() -> None:
                stage.check()
                check()

            patience_s = PATIENCE_CYCLES * setting.hour_s
            state = _watch(live, cycles, check_all, tell, patience_s=patience_s, logs=folder / "log")
        tell("")
        tell(describe_demo(stage, live, state))
        return state


def drive_by_dagster(port: int) -> Drive:
    """Return what trades by ``dagster dev``: daemon, sensors, runs, and the UI at a port of the loopback interface."""

    @contextmanager
    def drive(stage: Stage) -> Iterator[Check]:
        home = prepare_home(stage.home.root.parent)
        arguments = ["-m", "dagster", "dev", "-w", str(write_workspace(home)), "-h", "127.0.0.1", "-p", str(port)]
        log = stage.deployment.file.parent.parent / "log" / "dagster.log"
        with run_child([sys.executable, *arguments], log) as child:

            def check() -> None:
                if child.poll() is not None:
                    raise NoNewDataReceived(f"Dagster has ended with code {child.returncode}: see {log}")

            yield check

    return drive


def _watch(
    live: LiveStrategy, cycles: int, check: Check, tell: Callable[[str], None], *, patience_s: float, logs: Path
) -> State:
    """Tell cycles and trades as they come, until there are enough."""
    told_trades: set[int] = set()
    told_at, told_cycle = None, 0
    deadline = time.monotonic() + START_S + patience_s
    while True:
        check()
        state = StrategyLedger(live.store, live.id).load()
        if state is not None and state.decision is None and state.last_decision_at != told_at:
            told_at, deadline = state.last_decision_at, time.monotonic() + patience_s
            trades = sorted(state.portfolio.get_all_trades(), key=lambda trade: trade.trade_id)
            fresh = [trade for trade in trades if trade.trade_id not in told_trades and trade.fill is not None]
            told_trades.update(trade.trade_id for trade in fresh)
            what = ", ".join(
                f"{'bought' if trade.is_buy() else 'sold'} {abs(trade.fill.quantity):.6f} "
                f"{trade.pair.base.token_symbol} at {trade.fill.price:,.2f}"
                for trade in fresh
                if trade.fill is not None
            )
            is_skipped = state.cycle - 1 <= told_cycle
            told_cycle = max(told_cycle, state.cycle - 1)
            tell(f"{told_at} skipped" if is_skipped else f"{told_at} cycle {told_cycle}: {what or 'no trade'}")
            if state.cycle > cycles:
                return state
        if time.monotonic() > deadline:
            raise NoNewDataReceived(f"No cycle was completed for {patience_s:g} s after {told_at}: see {logs}")
        time.sleep(POLL_S)
