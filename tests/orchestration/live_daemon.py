"""The Dagster daemon as a process of its own, re-execution as the UI does it, and what runs left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_graphql.test.utils import execute_dagster_graphql

from trading_dagster.orchestration.live_run import UNFINISHED

ROOT = Path(__file__).parents[2]
REEXECUTE = """
mutation($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
PID = re.compile(r"\(pid: (\d+)\)")


def write_workspace(folder: Path, location: Path) -> Path:
    """Write a workspace of one code location."""
    file = folder / "workspace.yaml"
    served = {"relative_path": str(location), "location_name": "trading", "working_directory": str(ROOT)}
    file.write_text(yaml.safe_dump({"load_from": [{"python_file": served}]}), encoding="utf-8")
    return file


class Daemon:
    """A daemon with its code server and runs, in a process group of its own."""

    def __init__(self, workspace: Path, log: Path) -> None:
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)],
                cwd=workspace.parent,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill the daemon alone: its code server and its runs live on for a while."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """Kill the daemon, its code servers and its runs, as a power failure does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def open_ui(instance: dg.DagsterInstance, workspace: Path) -> Iterator[Ui]:
    """Load the workspace as the web server does."""
    with WorkspaceProcessContext(instance, WorkspaceFileTarget([str(workspace)])) as context:
        yield Ui(context)


class Ui:
    """What a person does in the UI, by the same requests."""

    def __init__(self, context: WorkspaceProcessContext) -> None:
        self._context = context

    def reexecute(self, run_id: str, strategy: str) -> str | None:
        """Re-execute a run, ALL_STEPS or FROM_FAILURE; returns the new run's id, None when Dagster refuses."""
        answer = execute_dagster_graphql(
            self._context.create_request_context(),
            REEXECUTE,
            {"params": {"parentRunId": run_id, "strategy": strategy}},
        ).data["launchRunReexecution"]
        return answer["run"]["runId"] if answer["__typename"] == "LaunchRunSuccess" else None


def find_pid(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """Return the process of a run, None before it has one."""
    for entry in instance.all_logs(run_id):
        found = PID.search(entry.message)
        if found and entry.message.startswith("Started process for run"):
            return int(found[1])
    return None


def find_unfinished(instance: dg.DagsterInstance, job: str) -> list[dg.DagsterRun]:
    """Return the runs of a job that have not ended."""
    return list(instance.get_runs(dg.RunsFilter(job_name=job, statuses=list(UNFINISHED))))
