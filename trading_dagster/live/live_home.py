"""Where live trading keeps its files: one folder in the Dagster home, shared by all processes of all deployments."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trading_dagster.domain.error import BadConfiguration, MarketDataMissing
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.atomic_file import exclusive, write_json_atomically
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.market.universe_store import read_universe, write_universe

HOME_VARIABLE = "DAGSTER_HOME"
DEFAULT_HOME = Path(".dagster")
TIME_FORMAT = "%Y-%m-%dT%H%M%S"
KEPT_UNIVERSES = 3


@dataclass(frozen=True, slots=True)
class LiveHome:
    """The ledger, the journal of transactions, and for each deployment its clock, pairs and newest universes."""

    root: Path

    @classmethod
    def from_environment(cls) -> LiveHome:
        """Return the folder ``live`` of the Dagster home."""
        return cls(Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME).absolute() / "live")

    @property
    def ledger(self) -> Path:
        """Return the default ledger: one for all deployments, so that a wallet's lease holds between them."""
        return self.root / "ledger.sqlite"

    @property
    def journal(self) -> Path:
        """Return the journal of transactions of all wallets: what was sent is known from it, never lose it."""
        return self.root / "transactions.sqlite"

    def begin_clock(self, deployment_id: str, start: datetime, speed: float, now: datetime) -> datetime:
        """Return when a replay's clock showed its start: ``now`` when it never ran, aware UTC.

        Raises:
            BadConfiguration: It ran with another start or speed.
        """
        path = self._folder(deployment_id) / "clock.json"
        asked = {"start": start.isoformat(), "speed": speed}
        with exclusive(path.with_suffix(".lock")):
            if not path.is_file():
                write_json_atomically(path, {**asked, "began_at": now.isoformat()})
            stored = json.loads(path.read_text(encoding="utf-8"))
        if {name: stored[name] for name in asked} != asked:
            raise BadConfiguration(
                f"clock: {deployment_id} runs since {stored['began_at']} with start {stored['start']} and speed "
                f"{stored['speed']:g}, not {asked['start']} and {speed:g}: give the replay another id, or those values"
            )
        return datetime.fromisoformat(stored["began_at"])

    def write_universe(
        self, deployment_id: str, decision_at: datetime, universe: TradingStrategyUniverse, made_by: str = ""
    ) -> Path:
        """Keep the universe of a decision time, naive UTC; universes of long ago are removed."""
        folder = self.cycle_folder(deployment_id, decision_at)
        write_universe(universe, folder / "universe")
        self.write_pairs(deployment_id, universe, made_by)
        self._prune(deployment_id, folder)
        return folder

    def write_pairs(
        self, deployment_id: str, universe: TradingStrategyUniverse, made_by: str = ""
    ) -> tuple[TimeBucket, list[HumanReadableTradingPairDescription]]:
        """Keep candle width and pairs of a universe, and return them: whose candles are awaited.

        ``made_by`` tells of which edition of strategy and deployment the universe is.
        """
        pairs = {pair.get_pricing_pair().get_identifier(): pair.get_pricing_pair() for pair in universe.pairs}
        listed = [
            [pair.chain_id, pair.exchange_name, pair.base.token_symbol, pair.quote.token_symbol, pair.fee]
            for pair in pairs.values()
        ]
        content = {"bucket": universe.time_bucket.value, "pairs": listed, "made_by": made_by}
        write_json_atomically(self._folder(deployment_id) / "pairs.json", content)
        return _read_pairs(content)

    def read_universe(self, deployment_id: str, decision_at: datetime) -> TradingStrategyUniverse | None:
        """Return the universe of a decision time, naive UTC; None when it was never kept, or removed."""
        try:
            return read_universe(self.cycle_folder(deployment_id, decision_at) / "universe")
        except MarketDataMissing:
            return None

    def find_newest_universe(self, deployment_id: str) -> datetime | None:
        """Return the decision time of the newest universe, naive UTC; None when there is none."""
        found = self._cycle_folders(deployment_id)
        return datetime.strptime(found[-1].name, TIME_FORMAT) if found else None  # noqa: DTZ007 - naive means UTC

    def read_pairs(
        self, deployment_id: str, made_by: str = ""
    ) -> tuple[TimeBucket, list[HumanReadableTradingPairDescription]] | None:
        """Return candle width and pairs of the newest universe; None before the first of this edition."""
        try:
            content = json.loads((self._folder(deployment_id) / "pairs.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return _read_pairs(content) if content.get("made_by", "") == made_by else None

    def cycle_folder(self, deployment_id: str, decision_at: datetime) -> Path:
        """Return the folder of a decision time, naive UTC."""
        return self._folder(deployment_id) / "cycles" / decision_at.strftime(TIME_FORMAT)

    def _folder(self, deployment_id: str) -> Path:
        return self.root / deployment_id

    def _cycle_folders(self, deployment_id: str) -> list[Path]:
        cycles = self._folder(deployment_id) / "cycles"
        return sorted(path for path in cycles.iterdir() if path.is_dir()) if cycles.is_dir() else []

    def _prune(self, deployment_id: str, kept: Path) -> None:
        for folder in self._cycle_folders(deployment_id)[:-KEPT_UNIVERSES]:
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)


def _read_pairs(content: Any) -> tuple[TimeBucket, list[HumanReadableTradingPairDescription]]:
    pairs: list[HumanReadableTradingPairDescription] = []
    for chain, slug, base, quote, fee in content["pairs"]:
        described = (ChainId(chain), slug, base, quote)
        pairs.append(described if fee is None else (*described, fee))
    return TimeBucket(content["bucket"]), pairs
