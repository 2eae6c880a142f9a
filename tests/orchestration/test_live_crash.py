"""Runs, daemons and re-executions die at every point: each trade is on the chain once, and in ledger and journal.

``TRADING_DAGSTER_CRASH_SEED`` repeats what a run of this test drew, ``TRADING_DAGSTER_CRASH_ROUNDS`` lengthens it.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from evm.node import install_packages
from orchestration import crash_location
from orchestration.live_daemon import Daemon, Ui, find_pid, find_unfinished, open_ui, write_workspace
from orchestration.live_deployment import STRATEGY

from trading_dagster.demo.report import read_accounts
from trading_dagster.demo.stage import DemoSetting, Stage, open_stage
from trading_dagster.domain.event import CycleCompleted, CycleDecided, CycleSkipped, TradeExecuted
from trading_dagster.domain.transaction import Account, Finished, OutcomeStatus
from trading_dagster.evm.token_flow import TRANSFER_TOPIC
from trading_dagster.live.opening import open_observer
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.orchestration.home import prepare_home
from trading_dagster.storage.event_codec import EventDecoder
from trading_dagster.storage.strategy_ledger import StrategyLedger
from trading_dagster.storage.transaction_journal import SqliteTransactionJournal

pytestmark = [pytest.mark.dagster, pytest.mark.slow]
HOUR_S = 45.0
JOB = "live_live_demo"
FIRST = "persisted approve"
BOUNDARIES = ("before universe", *(f"after {step}" for step in crash_location.STEPS))
FAILURES = ("fail before decisions", "fail after trades")
PROTOCOL = (
    *(f"{step} swap" for step in ("planned", "signing_began", "signed", "persisted", "sent", "receipt_seen")),
    *(f"{step} swap" for step in ("finish_decided", "finished")),
    *(f"{when} save:{count}" for when in ("before", "after") for count in (1, 2, 3, 4)),
    *(f"before {step}" for step in crash_location.STEPS),
)
PROTOCOL_SHARE = 4
"""How many points within steps a round draws; a long run draws all of them in each round."""
SEED = int(os.environ.get("TRADING_DAGSTER_CRASH_SEED") or random.randrange(10**6))
ROUNDS = int(os.environ.get("TRADING_DAGSTER_CRASH_ROUNDS") or 1)


@dataclass
class Theatre:
    """A live deployment on its stage, a daemon that may be killed, and what was done to both."""

    stage: Stage
    live: LiveStrategy
    instance: dg.DagsterInstance
    ui: Ui
    workspace: Path
    random: random.Random
    daemons: list[Daemon] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)

    @property
    def trap(self) -> Path:
        return Path(os.environ[crash_location.VARIABLE])

    @property
    def log(self) -> Path:
        return self.workspace.with_name("daemon.log")

    def start_daemon(self) -> Daemon:
        self.daemons.append(Daemon(self.workspace, self.log))
        return self.daemons[-1]

    def restart_daemon(self, *, all_of_it: bool) -> None:
        daemon = self.daemons.pop()
        (daemon.kill_all if all_of_it else daemon.kill)()
        self.start_daemon()
        self.note("daemon killed with its runs" if all_of_it else "daemon killed")

    def close(self) -> None:
        for daemon in self.daemons:
            daemon.kill_all()

    def events(self, *kinds: type) -> list[Any]:
        rows = self.live.store.read(self.live.id)
        return [event for event in EventDecoder(()).decode_all(row.body for row in rows) if isinstance(event, kinds)]

    def wait_for(self, what: str, found: Callable[[], Any]) -> Any:
        for _ in range(3000):
            result = found()
            if result:
                return result
            self.stage.check()
            time.sleep(0.1)
        pytest.fail(f"{what} did not happen (seed {SEED}):\n{self.log.read_text(encoding='utf-8')[-6000:]}")

    # -- what goes wrong ------------------------------------------------------------------------------------------

    def die_at(self, point: str) -> None:
        """Wait until a run has died, or failed, at a point; then somebody re-executes it, or nobody does."""
        reached = self.trap.with_name("reached")
        reached.unlink(missing_ok=True)
        self.trap.with_suffix(".new").write_text(point, encoding="utf-8")
        self.trap.with_suffix(".new").rename(self.trap)
        self.wait_for(f"a run at {point}", reached.exists)
        self.note(point)
        self.reexecute_failed()

    def die_at_random(self) -> None:
        """Kill the process of a run some time after it began."""

        def find() -> tuple[dg.DagsterRun, int] | None:
            for run in find_unfinished(self.instance, JOB):
                pid = find_pid(self.instance, run.run_id)
                if pid is not None:
                    return run, pid
            return None

        run, pid = self.wait_for("a run with a process", find)
        time.sleep(self.random.uniform(0, 6))
        stored = self.instance.get_run_by_id(run.run_id)
        if stored is None or stored.is_finished:
            self.reexecute(run.run_id, "ALL_STEPS")
            return
        os.kill(pid, signal.SIGKILL)
        self.note("killed at random")
        self.reexecute_failed()

    def note(self, what: str) -> None:
        self.done[what] += 1
        print(f"{time.monotonic() - self.began:6.1f} s: {what}", flush=True)  # noqa: T201

    def reexecute_failed(self) -> None:
        """Re-execute the newest failed run from its failure or whole, or leave that to others."""
        strategy = self.random.choice(["FROM_FAILURE", "FROM_FAILURE", "ALL_STEPS", "ALL_STEPS", ""])
        failed = self.wait_for("the end of the run", self.find_failed)
        if strategy:
            self.reexecute(failed.run_id, strategy)

    def find_failed(self) -> dg.DagsterRun | None:
        runs = self.instance.get_runs(dg.RunsFilter(job_name=JOB, statuses=[dg.DagsterRunStatus.FAILURE]), limit=1)
        return runs[0] if runs else None

    def reexecute(self, run_id: str, strategy: str) -> None:
        made = self.ui.reexecute(run_id, strategy)
        self.done[f"{strategy} refused" if made is None else strategy] += 1

    def reexecute_finished(self) -> None:
        """Re-execute whole what ended well, the newest and a random one, both at once."""
        runs = self.instance.get_runs(dg.RunsFilter(job_name=JOB, statuses=[dg.DagsterRunStatus.SUCCESS]))
        for run in [runs[0], self.random.choice(runs)] if runs else []:
            self.reexecute(run.run_id, "ALL_STEPS")
            self.done["finished run re-executed"] += 1

    # -- how it ends ----------------------------------------------------------------------------------------------

    def cycles(self) -> int:
        return len(self.events(CycleCompleted))

    def calm_down(self) -> None:
        """Let a cycle run undisturbed, until no run is left."""
        self.trap.unlink(missing_ok=True)
        target = self.cycles() + 1

        def is_calm() -> bool:
            state = StrategyLedger(self.live.store, self.live.id).load()
            is_idle = state is not None and state.decision is None
            return is_idle and self.cycles() >= target and not find_unfinished(self.instance, JOB)

        self.wait_for("an undisturbed cycle", is_calm)
        self.close()


@pytest.fixture
def theatre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Theatre]:
    strategy = tmp_path / "flip.py"
    text = STRATEGY.replace("        trading_fee=0.001,\n", "")
    strategy.write_text(
        text.replace("    bars = 5\n", "    bars = 5\n    required_history_period = pd.Timedelta(days=2)\n")
    )
    nothing = tmp_path / "strategies"
    nothing.mkdir()
    monkeypatch.setenv("TRADING_DAGSTER_STRATEGIES", str(nothing))
    monkeypatch.setenv(crash_location.VARIABLE, str(tmp_path / "trap"))
    print(f"seed {SEED}")  # noqa: T201
    with open_stage(DemoSetting(tmp_path / "demo", strategy, hour_s=HOUR_S), install_packages()) as stage:
        home = prepare_home(stage.home.root.parent)
        workspace = write_workspace(tmp_path, Path(crash_location.__file__))
        live = open_observer(stage.deployment, stage.home)
        with dg.DagsterInstance.get() as instance, open_ui(instance, workspace) as ui:
            made = Theatre(stage, live, instance, ui, workspace, random.Random(SEED))
            try:
                yield made
            finally:
                made.close()
        live.store.close()
        assert home.is_dir()


def test_trades_of_killed_runs_and_daemons_are_on_chain_once(theatre: Theatre) -> None:
    draw = theatre.random
    theatre.start_daemon()
    theatre.die_at(FIRST)
    for _ in range(ROUNDS):
        points = [*BOUNDARIES, *FAILURES]
        draw.shuffle(points)
        share = PROTOCOL_SHARE if ROUNDS == 1 else len(PROTOCOL)
        points += sorted(draw.sample(PROTOCOL, share), key=PROTOCOL.index)  # in order, so that one trade passes many
        for number, point in enumerate(points):
            theatre.die_at(point)
            if number % 6 == 5:
                theatre.die_at_random()
                theatre.reexecute_finished()
        theatre.restart_daemon(all_of_it=False)
        theatre.die_at_random()
        theatre.restart_daemon(all_of_it=True)
        second = theatre.start_daemon()
        theatre.note("two daemons")
        theatre.die_at_random()
        theatre.reexecute_finished()
        if ROUNDS > 1:
            theatre.daemons.remove(second)
            second.kill_all()
    theatre.calm_down()
    print(dict(theatre.done))  # noqa: T201
    require_once(theatre)


def require_once(theatre: Theatre) -> None:
    """Check chain, ledger and journal against each other."""
    decided = [event.decision_at for event in theatre.events(CycleDecided)]
    skipped = [event.decision_at for event in theatre.events(CycleSkipped)]
    assert decided == sorted(set(decided)), "a decision time was decided twice"
    assert not set(decided) & set(skipped)
    executed = theatre.events(TradeExecuted)
    assert len({event.trade_id for event in executed}) == len(executed)
    state = StrategyLedger(theatre.live.store, theatre.live.id).load()
    assert state is not None
    booked = [trade for trade in state.portfolio.get_all_trades() if trade.is_success()]
    assert len(booked) == len(executed) >= 1
    in_ledger = sorted(str(trade.fill.tx_hash) for trade in booked if trade.fill is not None)
    assert sorted(find_swaps(theatre.stage)) == in_ledger
    assert sorted(finished_swaps(theatre.stage)) == in_ledger
    table = read_accounts(theatre.stage, state)
    assert [row.difference for row in table.rows] == [0] * len(table.rows), str(table)
    state.perform_integrity_check()
    print(f"{len(decided)} decided, {len(skipped)} skipped, {len(booked)} trades")  # noqa: T201


def find_swaps(stage: Stage) -> list[str]:
    """Return the transactions in which the wallet gave tokens, one entry a transfer."""
    found = []
    for token in (stage.pool.pair.quote, stage.pool.pair.base):
        query = {
            "fromBlock": "0x0",
            "toBlock": "latest",
            "address": token.address,
            "topics": [TRANSFER_TOPIC, "0x" + stage.wallet[2:].rjust(64, "0")],
        }
        found += [str(log["transactionHash"]) for log in stage.node.rpc("eth_getLogs", query)]
    return found


def finished_swaps(stage: Stage) -> list[str]:
    """Return the transactions of the journal's confirmed swaps; nothing may be unfinished."""
    journal = SqliteTransactionJournal(stage.home.journal)
    try:
        account = Account(stage.pool.pair.chain_id, stage.wallet)
        assert journal.list_unfinished(account) == []
        finished: list[Finished] = list(journal.list_finished(account, 0))
    finally:
        journal.close()
    return [
        record.outcome.tx_hash
        for record in finished
        if record.intent.intent_id.count("/") == 3 and record.outcome.status is OutcomeStatus.confirmed
    ]
