"""The command ``up``: the Dagster UI and daemon on the local home."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import typer

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.orchestration.home import prepare_home, write_workspace


def serve(home: Path, host: str, port: int) -> None:
    """Make the home ready, then become ``dagster dev``: signals reach it, and it ends with the terminal."""
    _refuse_used_port(host, port)
    folder = prepare_home(home)
    workspace = write_workspace(folder)
    typer.echo(f"Dagster home {folder}")
    typer.echo(f"Opening the UI at http://{host}:{port} (Ctrl-C stops it)")
    sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it, and so would Dagster
    arguments = ["-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - no shell, our own interpreter


def _refuse_used_port(host: str, port: int) -> None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        raise BadConfiguration(f"--port {port} on {host} cannot be used ({error}): choose another port") from error
