"""Algorithmic trading on decentralised markets: one strategy file, backtested and traded live, on Dagster.

Every public name is loaded when it is first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("trading-dagster")
except PackageNotFoundError:  # running from a source tree that is not installed
    __version__ = "0.0.0"

_MODULES: dict[str, tuple[str, ...]] = {
    "backtest": ("BacktestOptions", "BacktestPlan", "BacktestResult", "BacktestRun", "plan_backtest", "run_backtest"),
    "domain.fund_fee": ("FundFees",),
    "domain.identifier": (
        "AssetIdentifier",
        "AssetType",
        "ChainId",
        "HumanReadableTradingPairDescription",
        "TradingPairIdentifier",
        "TradingPairKind",
    ),
    "domain.loan": ("Loan", "estimate_interest"),
    "domain.portfolio": ("Portfolio",),
    "domain.position": ("TradingPosition",),
    "domain.position_profit": ("TriggerPriceUpdate",),
    "domain.state": ("State",),
    "domain.time": ("CycleDuration", "TimeBucket"),
    "domain.trade": ("TradeExecution", "TradeFlag", "TradePricing", "TradeStatus", "TradeType"),
    "domain.treasury": ("BalanceUpdate", "BalanceUpdateCause"),
    "domain.vault": ("VaultLimit", "VaultTerms", "VaultWindow"),
    "domain.trigger": ("Trigger", "TriggerCondition", "TriggerModel", "TriggerType"),
    "domain.visualisation": ("PlotKind", "PlotShape", "RecordingTime"),
    "market.dataset": ("Dataset", "UniverseOptions"),
    "market.lending": ("LendingCandleType", "LendingProtocolType", "LendingReserve", "LendingUniverse"),
    "market.lending_file": ("read_lending_rates",),
    "market.lending_loader": ("load_trading_and_lending_data",),
    "market.loader": ("load_partial_data",),
    "market.membership": ("Membership", "MembershipPeriod", "select_by_volume", "select_members"),
    "market.pair_file": ("read_pair_table", "write_pair_table"),
    "market.pair_table": ("PairTable", "join_tables"),
    "market.memory_source": ("MemorySource",),
    "market.panel": ("CandlePanel",),
    "market.universe": ("TradingStrategyUniverse",),
    "market.vault": ("Vault",),
    "pricing.candle_pricing": ("CandlePricing",),
    "charts.grid_curve": ("visualise_grid_search_equity_curves", "visualise_single_grid_search_result_benchmark"),
    "charts.heat_map": ("visualise_heatmap_2d",),
    "charts.optimisation": (
        "visualise_optimisation",
        "visualise_parameter_importance",
        "visualise_parameter_slices",
        "visualise_walk_forward",
    ),
    "charts.rendering": ("ChartBacktestRenderingSetup",),
    "pricing.cost": (
        "ConstantProductImpact",
        "ExecutionDelay",
        "GasPerTrade",
        "PairFee",
        "PriceImpact",
        "Slippage",
        "SquareRootImpact",
        "TokenTax",
    ),
    "research.grid_combination": (
        "GridCombination",
        "prepare_grid_combinations",
    ),
    "research.grid_result": ("GridSearchResult",),
    "research.grid_search": ("perform_grid_search",),
    "research.grid_table": (
        "GridSearchBest",
        "analyse_combination_grid_search",
        "analyse_grid_search_result",
        "find_best_grid_search_results",
        "order_grid_search_results_by_metric",
        "pick_best_grid_search_result",
        "pick_grid_search_result",
        "render_grid_search_result_table",
    ),
    "research.objective": (
        "BalancedCAGRAndSharpeOptimisationFunction",
        "BalancedSharpeAndMaxDrawdownOptimisationFunction",
        "MinTradeCountFilter",
        "OptimiserSearchResult",
        "RollingSharpeOptimisationFunction",
        "optimise_calmar",
        "optimise_cvar",
        "optimise_gain_to_pain",
        "optimise_max_drawdown",
        "optimise_probabilistic_sharpe",
        "optimise_profit",
        "optimise_recovery_factor",
        "optimise_sharpe",
        "optimise_sharpe_and_max_drawdown_ratio",
        "optimise_sortino",
        "optimise_ulcer_index",
        "optimise_ulcer_performance",
        "optimise_win_rate",
    ),
    "research.optimiser": ("perform_optimisation",),
    "research.optimiser_result": ("OptimiserResult", "analyse_optimiser_result"),
    "research.search_space": ("prepare_optimiser_parameters",),
    "research.walk_forward": ("perform_walk_forward",),
    "research.walk_forward_result": ("WalkForwardResult",),
    "strategy.alpha_model": ("AlphaModel",),
    "strategy.alpha_signal": ("TradingPairSignal", "TradingPairSignalFlags"),
    "strategy.chart": ("ChartInput", "ChartKind", "ChartRegistry"),
    "strategy.dimension": ("Categorical", "Integer", "Real"),
    "strategy.execution_context": ("ExecutionContext", "ExecutionMode"),
    "strategy.indicator_binding": ("IndicatorSource",),
    "strategy.indicator_definition": ("IndicatorSet",),
    "strategy.indicator_registry": ("IndicatorRegistry",),
    "strategy.indicator_resolver": ("IndicatorDependencyResolver",),
    "strategy.input": ("CreateTradingUniverseInput", "StrategyInput", "StrategyTickHookInput"),
    "strategy.module": ("StrategyModule", "load_strategy_file", "load_strategy_module"),
    "strategy.parameters": ("StrategyParameters",),
    "strategy.position_manager": ("PositionManager",),
    "strategy.routing": ("ReserveCurrency", "TradeRouting"),
    "strategy.signal_table": ("format_signals",),
    "strategy.size_risk": ("FixedSizeRiskModel", "QuoteTokenTVLSizeRiskModel", "SizeRisk", "USDTVLSizeRiskModel"),
    "strategy.weight_difference": ("calculate_weight_diffs", "rebalance_portfolio_old"),
    "strategy.weighting": (
        "weight_by_1_slash_n",
        "weight_by_1_slash_signal",
        "weight_by_blend",
        "weight_by_inverse_volatility",
        "weight_by_log",
        "weight_by_softmax",
        "weight_equal",
        "weight_passthrough",
    ),
    "strategy.yield_manager": (
        "YieldDecisionInput",
        "YieldManager",
        "YieldResult",
        "YieldRuleset",
        "YieldWeightingRule",
    ),
}

_SUBMODULES = {
    "inclusion": "strategy.inclusion",
    "standard_chart": "charts.standard_chart",
    "synthetic": "market.synthetic",
    "technical": "strategy.technical",
}

_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_HOMES), *sorted(_SUBMODULES)]  # noqa: PLE0604 - strings, made above


def __getattr__(name: str) -> Any:
    """Load a public name on first use; errors of the tree are found here too."""
    if name in _SUBMODULES:
        value: Any = importlib.import_module(f"{__name__}.{_SUBMODULES[name]}")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        errors = importlib.import_module(f"{__name__}.domain.error")
        value = getattr(errors, name, None)
        if not (isinstance(value, type) and issubclass(value, errors.TradingDagsterError)):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
