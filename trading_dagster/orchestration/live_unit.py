"""A deployment as its Dagster definitions see it: names, tags, and its strategy opened once a process."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace

import dagster as dg

from trading_dagster.live.clock import WorldClock
from trading_dagster.live.deployment import Deployment
from trading_dagster.live.deployment_data import FileData, LakeData
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_live, open_observer, open_source, open_strategy
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.strategy.module import StrategyModule

STRATEGY_TAG = "live_strategy"
"""Runs with one value of this tag run one after the other: the home's dagster.yaml limits them."""
WALLET_TAG = "live_wallet"
DECISION_TAG = "live_decision_at"
SKIP_TAG = "live_skip"
"""Why a run is to record its decision time as skipped."""
PREFIX = "live"


class LiveUnit:
    """A deployment and how its parts are named in Dagster; what it opens is opened when it is first needed.

    Args:
        deployment: The deployment.
        home: Where live trading keeps its files; None is the Dagster home at the time it is needed.
        clock: Replaces the deployment's clock.
    """

    def __init__(self, deployment: Deployment, home: LiveHome | None = None, clock: WorldClock | None = None) -> None:
        self.deployment = deployment
        self.module: StrategyModule = open_strategy(deployment)
        self._home = home
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: dict[str, LiveStrategy] = {}

    @property
    def id(self) -> str:
        """Return the id of the deployment."""
        return self.deployment.id

    @property
    def home(self) -> LiveHome:
        """Return where live trading keeps its files."""
        return self._home or LiveHome.from_environment()

    @property
    def has_own_clock(self) -> bool:
        """Tell whether it goes by the deployment's clock: another one may be set by hand, and not go on by waiting."""
        return self._clock is None

    @property
    def edition(self) -> str:
        """Return what changes when the deployment or its strategy is edited: a universe made before may be another."""
        return hashlib.blake2b(f"{self.deployment!r} {self.module.source_hash()}".encode(), digest_size=16).hexdigest()

    @property
    def group(self) -> str:
        """Return the name of the asset group; names of jobs, schedules and sensors begin with it."""
        return f"{PREFIX}_{self.id}"

    def name(self, what: str) -> str:
        """Return the name of a job, schedule or sensor."""
        return f"{self.group}_{what}"

    def key(self, asset: str) -> dg.AssetKey:
        """Return the key of one of its assets."""
        return dg.AssetKey([PREFIX, self.id, asset])

    @property
    def tags(self) -> dict[str, str]:
        """Return the tags by which its runs, and those of its wallet, are serialised."""
        wallet = self.deployment.wallet
        return {STRATEGY_TAG: self.id, **({} if wallet is None else {WALLET_TAG: wallet.label})}

    def open(self) -> LiveStrategy:
        """Return the strategy ready to trade; raises BadConfiguration, SigningKeyUnusable."""
        return self._open("trading", open_live)

    def observe(self) -> LiveStrategy:
        """Return the strategy to look at, with candles as they are now; needs no keys."""
        live = self._open("observing", open_observer)
        if isinstance(self.deployment.data, FileData | LakeData):
            return replace(live, source=open_source(self.deployment, live.clock))
        return live

    def _open(
        self, what: str, opener: Callable[[Deployment, LiveHome, WorldClock | None], LiveStrategy]
    ) -> LiveStrategy:
        with self._lock:
            if what not in self._opened:
                self._opened[what] = opener(self.deployment, self.home, self._clock)
            return self._opened[what]

    def close(self) -> None:
        """Close the ledgers it opened; what is asked for later is opened again."""
        with self._lock:
            for live in self._opened.values():
                live.store.close()
            self._opened.clear()
