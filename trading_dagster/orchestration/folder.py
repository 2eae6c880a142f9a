"""Where the artefacts of a strategy's backtest are, and what they were made from."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trading_dagster.domain.error import SnapshotOutdated
from trading_dagster.market.atomic_file import exclusive, write_json_atomically
from trading_dagster.strategy.module import StrategyModule


@dataclass(frozen=True, slots=True)
class BacktestFolder:
    """The folder of one strategy: ``universe/``, ``indicators/``, ``partitions/<grain>/<key>/`` and the report.

    Args:
        root: Folder of the strategy.
    """

    root: Path

    @property
    def universe(self) -> Path:
        """Return the folder of the stored universe."""
        return self.root / "universe"

    @property
    def indicators(self) -> Path:
        """Return the folder of the indicator cache."""
        return self.root / "indicators"

    @property
    def report(self) -> Path:
        """Return the file of the report."""
        return self.root / "report.html"

    @property
    def charts(self) -> Path:
        """Return the folder of the strategy's own charts."""
        return self.root / "charts"

    @property
    def statistics(self) -> Path:
        """Return the file of the trade statistics."""
        return self.root / "statistics.parquet"

    @property
    def positions(self) -> Path:
        """Return the file of the positions of the whole backtest."""
        return self.root / "positions.parquet"

    @property
    def search(self) -> Path:
        """Return the folder of what searches for parameters came to."""
        return self.root / "search"

    def partitions(self, grain: str) -> Path:
        """Return the folder of the partitions of one length."""
        return self.root / "partitions" / grain

    def writing(self) -> AbstractContextManager[None]:
        """Hold the lock that keeps a second run from writing the same partitions."""
        return exclusive(self.root / ".lock")

    def record_origin(self, step: str, origin: dict[str, Any]) -> None:
        """Remember what a step was made from."""
        write_json_atomically(self.root / f"{step}.json", origin)

    def require_origin(self, step: str, origin: dict[str, Any], strategy: StrategyModule) -> None:
        """Check that a step was made from what there is now.

        Raises:
            SnapshotOutdated: The step has not been run, or the strategy or its universe changed since.
        """
        path = self.root / f"{step}.json"
        remedy = f"materialize {strategy.id}/{step} and then what follows it"
        if not path.is_file():
            raise SnapshotOutdated(f"{strategy.id}/{step} has not been materialized: {remedy}")
        recorded = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in origin if recorded.get(name) != origin[name]]
        if changed:
            raise SnapshotOutdated(
                f"{' and '.join(changed)} changed since {strategy.id}/{step} was materialized "
                f"(strategy file {strategy.path}): {remedy}"
            )
