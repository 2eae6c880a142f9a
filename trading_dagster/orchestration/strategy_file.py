"""Find and load the strategy files that become assets."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from trading_dagster.domain.error import BadInput
from trading_dagster.strategy.module import StrategyModule, load_strategy_file

FOLDERS_VARIABLE = "TRADING_DAGSTER_STRATEGIES"
SHIPPED_FOLDER = Path(__file__).parents[2] / "strategies"
DEMO_STRATEGY = "ema_cross.py"

logger = logging.getLogger(__name__)


def strategy_folders() -> list[Path]:
    """Return where strategies are looked for: TRADING_DAGSTER_STRATEGIES, else ./strategies, else the examples."""
    named = os.environ.get(FOLDERS_VARIABLE)
    if named:
        return [Path(part) for part in named.split(os.pathsep) if part]
    own = Path("strategies")
    return [own if own.is_dir() else SHIPPED_FOLDER]


def find_strategy_files(folders: Iterable[Path] | None = None) -> list[Path]:
    """Return the Python files of the folders, sorted; those that begin with an underscore are left out."""
    found = []
    for folder in strategy_folders() if folders is None else folders:
        if not folder.is_dir():
            logger.error("Strategy folder %s does not exist: correct %s", folder, FOLDERS_VARIABLE)
        found += sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    return found


def load_strategies(files: Iterable[Path]) -> Iterator[StrategyModule]:
    """Yield the strategies of files; one that cannot be used is logged as an error and left out."""
    seen: dict[str, Path] = {}
    for file in files:
        try:
            strategy = load_strategy_file(file)
        except BadInput as error:
            logger.error("Strategy left out: %s", error)  # noqa: TRY400 - the message says it all
            continue
        if strategy.id in seen:
            logger.error("Strategy left out: %s has the same name as %s: rename one", file, seen[strategy.id])
            continue
        seen[strategy.id] = file
        yield strategy


def find_demo_strategy() -> Path:
    """Return the file of the demo strategy: the one in ./strategies if there, else the shipped one."""
    own = Path("strategies") / DEMO_STRATEGY
    return own if own.is_file() else SHIPPED_FOLDER / DEMO_STRATEGY
