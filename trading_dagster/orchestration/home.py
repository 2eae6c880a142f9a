"""The local Dagster home: made once, opened once before anything else uses it."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.market.atomic_file import exclusive, write_atomically

DEFAULT_HOME = Path(".dagster")
SETTINGS = """\
# Written by trading-dagster; change it as you like, it is not written again.
telemetry:
  enabled: false
nux:
  enabled: false
run_queue:
  max_concurrent_runs: 4
  dequeue_interval_seconds: 1
  tag_concurrency_limits:
    - key: live_strategy
      value:
        applyLimitPerUniqueValue: true
      limit: 1
    - key: live_wallet
      value:
        applyLimitPerUniqueValue: true
      limit: 1
sensors:
  use_threads: true
  num_workers: 8
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
  start_timeout_seconds: 60
  max_runtime_seconds: 86400
  free_slots_after_run_end_seconds: 300
run_retries:
  enabled: true
  max_retries: 0
freshness:
  enabled: true
"""


def prepare_home(home: Path) -> Path:
    """Make a Dagster home ready for any number of processes, and the home of this one; returns its absolute path.

    A fresh home that several processes open at once can break for good, so it is opened here first, under a lock.

    Raises:
        BadConfiguration: The folder cannot be made or written to.
    """
    folder = home.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["DAGSTER_HOME"] = str(folder)
        with exclusive(folder / ".lock"):
            settings = folder / "dagster.yaml"
            if not settings.exists():
                write_atomically(settings, lambda path: _write(path, SETTINGS))
            with dg.DagsterInstance.get() as instance:
                instance.get_runs_count()
                instance.get_asset_keys(limit=1)
    except OSError as error:
        raise BadConfiguration(f"home {folder}: {error}: choose another folder with --home") from error
    return folder


def write_workspace(folder: Path) -> Path:
    """Return the workspace file to serve: the one of a clone in the working directory, else one written to a home."""
    own = Path("workspace.yaml")
    if own.is_file() and (Path("trading_dagster") / "definitions.py").is_file():
        return own
    path = folder / "workspace.yaml"
    text = (
        "load_from:\n  - python_module:\n      module_name: trading_dagster.definitions\n"
        f"      working_directory: {str(Path.cwd())!r}\n      location_name: trading\n"
    )
    write_atomically(path, lambda temporary: _write(temporary, text))
    return path


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
