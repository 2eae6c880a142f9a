"""The list of what can be measured: our engine, four libraries and two floors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module, metadata
from pathlib import Path

from benchmarks.rule import Outcome
from benchmarks.workload import Workload

Run = Callable[[], Outcome]
Prepare = Callable[[Workload, Path], Run]


class Kind(Enum):
    """How the strategy's decision is run."""

    callback = "callback"
    compiled = "compiled"
    floor = "floor"


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to run the workloads.

    Attributes:
        name: Name on the command line and in tables.
        module: Module with the adapter.
        kind: How decisions run.
        distribution: Installed distribution whose version is shown; None for the floors.
        warm_up: Whether an untimed run comes first, as just-in-time compilation would otherwise be timed.
        function: Function of the module, `f(workload, folder)`, that loads data and returns the timed call.
        unsupported: Workload name to the reason why the engine cannot express it.
        deviations: What differs from the rule or from the library's usual way; printed below the table.
    """

    name: str
    module: str
    kind: Kind
    distribution: str | None = None
    warm_up: bool = False
    function: str = "prepare"
    unsupported: dict[str, str] = field(default_factory=dict)
    deviations: str = ""

    @property
    def version(self) -> str:
        """Return the installed version, or "" for a floor."""
        return metadata.version(self.distribution) if self.distribution else ""

    def load(self) -> Prepare:
        """Import the adapter; raises ModuleNotFoundError when the library is not installed."""
        prepare: Prepare = getattr(import_module(self.module), self.function)
        return prepare


OURS = "trading-dagster"
OURS_MEASURED = "trading-dagster-measured"
OUR_MODULE = "benchmarks.trading_dagster_engine"
ONE_INSTRUMENT = "holds one instrument an account"
NOT_WRITTEN = "the alpha rule is not written for it"
NO_GRID = {"w5": "the grid search is not written for it"}
NO_ALPHA_NO_GRID = {"alpha": NOT_WRITTEN, **NO_GRID}

ENGINES = {
    engine.name: engine
    for engine in (
        Engine(OURS, OUR_MODULE, Kind.callback, "trading-dagster", warm_up=True),
        Engine(
            OURS_MEASURED,
            OUR_MODULE,
            Kind.callback,
            "trading-dagster",
            warm_up=True,
            function="prepare_measured",
            unsupported={"w5": "a grid search measures every combination anyway"},
            deviations="with result.metrics, as bt.run and backtesting.py calculate statistics in every run",
        ),
        Engine(
            "trading-dagster-hourly",
            OUR_MODULE,
            Kind.callback,
            "trading-dagster",
            warm_up=True,
            function="prepare_hourly",
            unsupported=dict.fromkeys(("w1", "w2", "w4", "w5", "alpha"), "differs from trading-dagster in w3 only"),
            deviations="decides every hour, where trading-dagster has one decision a day and hourly stop checks",
        ),
        Engine(
            "backtesting.py",
            "benchmarks.peers.backtesting",
            Kind.callback,
            "backtesting",
            unsupported=dict.fromkeys(("w3", "w4", "alpha"), ONE_INSTRUMENT),
            deviations="quantities are multiples of 1e-12",
        ),
        Engine(
            "bt",
            "benchmarks.peers.bt",
            Kind.callback,
            "bt",
            unsupported=NO_GRID,
            deviations="opens passed as prices; its algos choose, exact quantities go through transact; bt.run",
        ),
        Engine(
            "bt-rebalance",
            "benchmarks.peers.bt",
            Kind.callback,
            "bt",
            function="prepare_rebalance",
            unsupported={
                **dict.fromkeys(
                    ("w1", "w2", "w5", "growth-20k", "growth-320k", "memory"),
                    "a cross of one pair has nothing to rebalance",
                ),
                "alpha": NOT_WRITTEN,
            },
            deviations="its own algos throughout; Rebalance sizes sells otherwise, so equity differs",
        ),
        Engine(
            "bt-bare",
            "benchmarks.peers.bt",
            Kind.callback,
            "bt",
            function="prepare_bare",
            unsupported=NO_GRID,
            deviations="as bt, without the result of bt.run: fills are counted, not listed",
        ),
        Engine(
            "bt-lean",
            "benchmarks.peers.bt_lean",
            Kind.callback,
            "bt",
            unsupported=NO_ALPHA_NO_GRID,
            deviations="as bt-bare, but driven by plain lists instead of frames: what of the time is bt's own",
        ),
        Engine(
            "backtrader",
            "benchmarks.peers.backtrader",
            Kind.callback,
            "backtrader",
            unsupported=NO_GRID,
            deviations="cheat-on-open to size buys at the fill price, EMA from pandas (faster)",
        ),
        Engine(
            "vectorbt",
            "benchmarks.peers.vectorbt",
            Kind.compiled,
            "vectorbt",
            warm_up=True,
            unsupported=NO_ALPHA_NO_GRID,
        ),
        Engine("python-floor", "benchmarks.peers.floor", Kind.floor),
        Engine(
            "numba-floor",
            "benchmarks.peers.floor_numba",
            Kind.floor,
            "numba",
            warm_up=True,
            unsupported=NO_ALPHA_NO_GRID,
        ),
    )
}
