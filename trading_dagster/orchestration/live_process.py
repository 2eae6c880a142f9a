"""Which process runs a live run: noted by its first step, so that the watchdog can end one that hangs or is gone."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

PROCESS_TAG = "live_process"


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """A process of a host. ``began`` tells it from a later one with the same number; empty where that is not known."""

    host: str
    number: int
    began: str

    @classmethod
    def current(cls) -> ProcessMark:
        """Return this process."""
        return cls(socket.gethostname(), os.getpid(), _began(os.getpid()))

    @classmethod
    def parse(cls, text: str) -> ProcessMark | None:
        """Return the mark of a tag, None when it is none."""
        host, _, rest = text.rpartition("/")
        number, _, began = rest.partition("-")
        return cls(host, int(number), began) if host and number.isdigit() else None

    def __str__(self) -> str:
        """Return the text of a tag."""
        return f"{self.host}/{self.number}-{self.began}"

    def is_alive(self) -> bool | None:
        """Tell whether the process runs; None when it is on another host."""
        if self.host != socket.gethostname():
            return None
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return None
        return _began(self.number) == self.began

    def kill(self) -> bool:
        """End the process at once; False when it is gone already, or on another host."""
        if not self.is_alive() or self.number == os.getpid():
            return False
        os.kill(self.number, signal.SIGKILL)
        return True


def mark_process(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> None:
    """Note in a run's tags which process runs it."""
    run_id = context.run.run_id
    context.instance.add_run_tags(run_id, {PROCESS_TAG: f"{run_id} {ProcessMark.current()}"})


def find_process(run: dg.DagsterRun) -> ProcessMark | None:
    """Return which process runs a run; None before its first step, when the tag is that of the run it repeats."""
    run_id, _, mark = run.tags.get(PROCESS_TAG, "").partition(" ")
    return ProcessMark.parse(mark) if run_id == run.run_id else None


def _began(number: int) -> str:
    """Return when a process began, in the system's own unit; empty where the system does not say."""
    try:
        text = Path(f"/proc/{number}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]
