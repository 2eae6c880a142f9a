"""calculate_and_load_indicators_inline: the call with which ported notebooks look at indicators before a run."""

from __future__ import annotations

from typing import Any

from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.execution_context import ExecutionContext
from trading_dagster.strategy.indicator_calculation import calculate_indicators
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters


def calculate_and_load_indicators_inline(
    strategy_universe: TradingStrategyUniverse,
    parameters: StrategyParameters | type,
    create_indicators: Any = None,
    execution_context: ExecutionContext | None = None,
    max_workers: int | None = None,
    verbose: bool = False,
    **settings: Any,
) -> StrategyInputIndicators:
    """Calculate a strategy's indicators and return them for charts, to their end.

    Args:
        strategy_universe: What they are calculated on.
        parameters: The strategy's parameters, or their class.
        create_indicators: A registry, its ``create_indicators``, or the strategy's function.
        execution_context: Handed to functions that name it.
        max_workers: Of no effect.
        verbose: Of no effect.
        settings: Of no effect.

    Raises:
        StrategyModuleNotValid: create_indicators returned something else than indicators.
        IndicatorError: An indicator cannot be calculated.
    """
    del max_workers, verbose, settings
    values = StrategyParameters.from_class(parameters) if isinstance(parameters, type) else parameters
    context = execution_context or ExecutionContext(jupyter=True, parameters=values)
    strategy = StrategyModule(
        "notebook", decide_trades=_no_decision, parameters=values, create_indicators=create_indicators
    )
    made = strategy.build_indicators(strategy_universe, values, context)
    return StrategyInputIndicators(strategy_universe, calculate_indicators(made, strategy_universe))


def _no_decision(_: Any) -> list[Any]:
    return []
