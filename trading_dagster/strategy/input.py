"""What the functions of a strategy file are called with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.other_data import OtherData
from trading_dagster.domain.state import State
from trading_dagster.market.dataset import UniverseOptions
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.execution_context import ExecutionContext
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators
from trading_dagster.strategy.parameters import StrategyParameters
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.position_query import PricingModel


@dataclass(frozen=True, slots=True)
class CreateTradingUniverseInput:
    """What create_trading_universe is called with; ``client`` is a market data source, None for the embedded sample."""

    client: Any
    timestamp: datetime
    parameters: StrategyParameters
    execution_context: ExecutionContext
    universe_options: UniverseOptions
    execution_model: Any = None


class StrategyInput:
    """What decide_trades is called with: one object whose views end at the decision time."""

    __slots__ = (
        "_clock", "_position_manager", "execution_context", "indicators", "other_data", "parameters", "pricing_model",
        "routing_model", "routing_state", "state", "strategy_universe", "web3",
    )  # fmt: skip

    def __init__(
        self,
        *,
        clock: DecisionClock,
        state: State,
        strategy_universe: TradingStrategyUniverse,
        parameters: StrategyParameters,
        indicators: StrategyInputIndicators,
        pricing_model: PricingModel,
        position_manager: PositionManager,
        execution_context: ExecutionContext,
        web3: Any = None,
    ) -> None:
        """Bring together the views of one run."""
        self._clock = clock
        self._position_manager = position_manager
        self.state = state
        self.strategy_universe = strategy_universe
        self.parameters = parameters
        self.indicators = indicators
        self.pricing_model = pricing_model
        self.execution_context = execution_context
        self.other_data: OtherData = state.other_data
        self.web3 = web3
        self.routing_model = position_manager.routing_model
        self.routing_state = position_manager.routing_state

    @property
    def cycle(self) -> int:
        """Return the number of the decision cycle, from 1."""
        return self._clock.cycle

    @property
    def timestamp(self) -> datetime:
        """Return the decision time, naive UTC."""
        return self._clock.timestamp

    def get_position_manager(self) -> PositionManager:
        """Return what plans the trades of this decision."""
        return self._position_manager

    def get_default_pair(self) -> TradingPairIdentifier:
        """Return the pair of a universe that has only one; raises BadInput otherwise."""
        if not self.strategy_universe.is_single_pair_universe():
            raise BadInput(
                f"get_default_pair() needs a universe of one pair, this one has "
                f"{self.strategy_universe.get_pair_count()}: use strategy_universe.get_pair_by_human_description()"
            )
        return self.strategy_universe.get_single_pair()

    def is_visualisation_enabled(self) -> bool:
        """Tell whether plots and messages should be made."""
        return self.execution_context.is_visualisation_enabled()


@dataclass(frozen=True, slots=True)
class StrategyTickHookInput:
    """What before_strategy_tick and after_strategy_tick are called with."""

    cycle: int
    timestamp: datetime
    state: State
    universe: TradingStrategyUniverse
    pricing_model: PricingModel
    execution_context: ExecutionContext
