"""In which world a strategy runs, and what it may know about that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from trading_dagster.strategy.parameters import StrategyParameters


class ExecutionMode(Enum):
    """Why the strategy's code is run."""

    real_trading = "real_trading"
    backtesting = "backtesting"
    data_research = "data_research"
    data_preload = "data_preload"
    unit_testing = "unit_testing"
    unit_testing_trading = "unit_testing_trading"
    simulated_trading = "simulated_trading"
    preflight_check = "preflight_check"
    one_off = "one_off"
    web = "web"

    def is_live_trading(self) -> bool:
        """Tell whether decisions follow the wall clock."""
        return self in (
            ExecutionMode.real_trading,
            ExecutionMode.unit_testing_trading,
            ExecutionMode.simulated_trading,
        )

    def is_backtesting(self) -> bool:
        """Tell whether decisions follow recorded data."""
        return self in (ExecutionMode.backtesting, ExecutionMode.unit_testing)


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """The world of a run."""

    mode: ExecutionMode = ExecutionMode.backtesting
    engine_version: str = "0.5"
    grid_search: bool = False
    optimiser: bool = False
    jupyter: bool = False
    progress_bars: bool = False
    force_visualisation: bool = False
    parameters: StrategyParameters | None = None

    @property
    def live_trading(self) -> bool:
        """Tell whether decisions follow the wall clock."""
        return self.mode.is_live_trading()

    def is_visualisation_enabled(self) -> bool:
        """Tell whether plots and messages should be made: always but in grid and optimiser runs."""
        return self.force_visualisation or not (self.grid_search or self.optimiser)
