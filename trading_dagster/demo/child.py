"""A command with children of its own that runs beside this process, and ends with it however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 20
WATCH = f'read -r _; kill -INT "$1"; sleep {PATIENCE_S}; kill -9 "-$1"'
"""Interrupt a process group's leader, and a little later end the group, once standard input is closed."""


@contextmanager
def run_child(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own while the block runs; its output is added to a log file.

    At the end of the block it is interrupted, and after a while killed with all that it started. If this process is
    killed, the same happens.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - the caller's own command
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        watcher = subprocess.Popen(  # noqa: S603 - our own script
            ["/bin/sh", "-c", WATCH, "sh", str(child.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        _end(child)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(watcher.pid, signal.SIGKILL)
        assert watcher.stdin is not None
        watcher.stdin.close()
        watcher.wait()


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
