"""The calls that real strategies use most, and whether each is here; the page docs/porting.md shows this table.

A call is written ``name`` (something to import), ``Class.method`` or ``Class.method(keyword)``. What is here is looked
up in the code, so that the table cannot claim what is not so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trading_dagster.porting.vocabulary import explain_missing, explain_missing_method, load_object, signature_of
from trading_dagster.porting.vocabulary_table import KEYWORD_REASONS, METHODS, REASONS

_CALL = re.compile(r"(?P<owner>\w+)(?:\.(?P<method>\w+))?(?:\((?P<keyword>\w+)\))?")

# fmt: off
USAGE: dict[int, tuple[str, ...]] = {
    1: ("StrategyInput",),
    2: ("CreateTradingUniverseInput", "UniverseOptions"),
    3: ("CycleDuration", "StrategyParameters"),
    4: ("TimeBucket",),
    6: ("IndicatorSet",),
    7: ("StrategyInput.get_position_manager",),
    8: ("ChainId",),
    9: ("TradeRouting",),
    10: ("StrategyInputIndicators.get_indicator_value",),
    11: ("TradingStrategyUniverse.get_pair_by_human_description",),
    13: ("Visualisation.plot_indicator", "PlotKind", "PlotShape", "PlotLabel"),
    14: ("StrategyInput.is_visualisation_enabled",),
    15: ("AlphaModel.set_signal", "AlphaModel.select_top_signals"),
    16: ("PositionManager.get_current_portfolio",),
    17: (
        "AlphaModel.assign_weights", "AlphaModel.normalise_weights", "AlphaModel.update_old_weights",
        "AlphaModel.calculate_target_positions", "AlphaModel.generate_rebalance_trades_and_triggers",
    ),
    18: ("TradingStrategyUniverse.create_from_dataset",),
    19: ("AlphaModel.generate_rebalance_trades_and_triggers(min_trade_threshold)",),
    20: (
        "load_partial_data", "load_partial_data(liquidity)", "load_partial_data(lending_reserves)",
        "load_partial_data(vaults)",
    ),
    21: ("setup_charts_and_tables", "OutputMode", "ChartBacktestRenderingSetup", "display_parameters"),
    22: ("PositionManager.get_current_cash",),
    24: ("weight_passthrough",),
    25: ("AlphaModel.set_signal(stop_loss)",),
    26: ("create_binance_universe", "IndicatorSource"),
    27: ("IndicatorSet.add",),
    28: (
        "PositionManager.is_any_open", "StrategyInputIndicators.get_price", "Visualisation.add_calculations",
        "TradingStrategyUniverse.get_pair_by_id",
    ),
    29: ("Portfolio.get_all_trades", "TradingPosition.get_opening_price", "AlphaModel.to_dict", "PositionManager.log"),
    30: ("run_backtest_inline", "IndicatorDependencyResolver.get_indicator_data", "PositionManager.close_all"),
    32: ("build_trade_analysis",),
    33: ("PositionManager.get_current_position_for_pair",),
    34: ("weight_by_1_slash_n",),
    36: ("calculate_equity_curve", "calculate_returns"),
    37: ("PositionManager.get_trading_pair",),
    38: ("USDTVLSizeRiskModel", "AlphaModel.normalise_weights(size_risk_model)"),
    39: ("PositionManager.open_spot",),
    40: ("StrategyInputIndicators.get_indicator_data_pairs_combined",),
    41: ("AlphaModel.normalise_weights(max_weight)",),
    42: ("Visualisation.add_message",),
    43: (
        "AlphaModel.is_rebalance_triggered", "AlphaModel.get_allocated_value",
        "AlphaModel.get_signals_sorted_by_weight", "AlphaModel.get_flag_diagnostics_data",
    ),
    44: ("IndicatorRegistry.define",),
    45: ("weight_equal",),
    47: ("StrategyTag", "StrategyType"),
    48: ("TradingStrategyUniverse.create_single_pair_universe",),
    49: ("AlphaModel.generate_rebalance_trades_and_triggers(sell_rebalance_min_threshold)",),
    50: ("State.is_good_pair", "Portfolio.get_initial_cash"),
    51: ("Portfolio.get_total_equity", "visualise_advanced_metrics", "calculate_advanced_metrics"),
    52: (
        "compare_strategy_backtest_to_multiple_assets", "TradingStrategyUniverse.iterate_pairs",
        "TradingStrategyUniverse.get_single_pair", "Portfolio.get_all_positions",
    ),
    53: (
        "perform_grid_search", "prepare_grid_combinations", "render_grid_search_result_table",
        "analyse_grid_search_result", "analyse_multipair",
    ),
    54: ("ChartRegistry", "ChartRegistry.register"),
    55: (
        "ChartInput", "ChartKind", "equity_curve_by_asset", "trading_pair_breakdown", "volatile_weights_by_percent",
        "available_trading_pairs", "vault_statistics",
    ),
    56: (
        "calculate_rolling_sharpe", "get_benchmark_data", "create_benchmark_equity_curves", "visualise_single_pair",
        "visualise_equity_curve_benchmark",
        "StrategyInputIndicators.get_indicator_series",
    ),
    57: (
        "performance_metrics", "equity_curve", "perform_optimisation", "AlphaModel.normalise_weights(waterfall)",
        "AlphaModel.normalise_weights(max_positions)",
    ),
    58: (
        "PositionManager.get_pending_redemptions", "PositionManager.close_position",
        "PositionManager.open_spot(take_profit_pct)", "PositionManager.open_spot(trailing_stop_loss_pct)",
    ),
    59: (
        "PositionManager.open_credit_supply_position_for_reserves", "PositionManager.add_cash_to_credit_supply",
        "PositionManager.manage_credit_flow", "YieldManager", "load_trading_and_lending_data",
        "load_vault_universe_with_metadata",
    ),
    60: (
        "AlphaModel.carry_forward_non_redeemable_positions", "PositionManager.open_short",
        "TradingStrategyUniverse.create_multichain_universe_by_pair_descriptions",
        "PositionManager.open_spot_with_market_limit", "PositionManager.prepare_take_profit_trades",
    ),
}
"""By rank of the usage ranking; ranks that are parameters or functions a file defines need nothing to import."""
# fmt: on


@dataclass(frozen=True, slots=True)
class Gap:
    """A call that is not here, with the rank of its use; 0 where it is used by fewer than ten files."""

    rank: int
    call: str
    why: str


def is_here(call: str) -> bool:
    """Tell whether a call of the table exists here."""
    match = _CALL.fullmatch(call)
    assert match is not None, call
    found = load_object(match["owner"])
    if found is not None and match["method"]:
        found = getattr(found, match["method"], None)
    if found is None or not match["keyword"]:
        return found is not None
    signature = signature_of(found)
    return signature is None or match["keyword"] in signature.parameters


def explain(call: str) -> str:
    """Return why a call is not here."""
    match = _CALL.fullmatch(call)
    assert match is not None, call
    if match["keyword"] in KEYWORD_REASONS:
        return KEYWORD_REASONS[match["keyword"]]
    return explain_missing_method(match["method"]) if match["method"] else explain_missing(match["owner"])


def find_gaps() -> list[Gap]:
    """Return the calls of the ranking that are not here by rank, then the others known to be missing."""
    ranked = [Gap(rank, call, explain(call)) for rank, calls in USAGE.items() for call in calls if not is_here(call)]
    seen = {gap.call for gap in ranked}
    others = [*REASONS, *(f"{owner}.{method}" for owner, methods in METHODS.items() for method in methods)]
    rest = [Gap(0, call, explain(call)) for call in sorted(others) if call not in seen and not needs_no_line(call)]
    return ranked + rest


def needs_no_line(call: str) -> bool:
    """Tell whether a call needs no line of its own: it is here, or is a member of a class that is not."""
    owner = call.split(".", maxsplit=1)[0]
    return is_here(call) or ("." in call and load_object(owner) is None)


def count_calls() -> tuple[int, int]:
    """Return how many calls of the ranking are here, and how many there are."""
    calls = [call for calls in USAGE.values() for call in calls]
    return sum(map(is_here, calls)), len(calls)
