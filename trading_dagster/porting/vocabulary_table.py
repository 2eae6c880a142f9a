"""The tables of porting: homes of names, reasons for gaps, methods that strategies call, and aliases."""

from __future__ import annotations

# fmt: off
HOMES: dict[str, tuple[str, ...]] = {
    "charts.asset_comparison": ("compare_strategy_backtest_to_multiple_assets", "get_benchmark_data"),
    "charts.benchmark": (
        "create_benchmark_equity_curves", "visualise_all_cash", "visualise_benchmark",
        "visualise_equity_curve_benchmark", "visualise_equity_curves", "visualise_long_short_benchmark",
        "visualise_portfolio_interest_curve",
    ),
    "charts.standard_chart": (
        "alpha_model_diagnostics", "available_trading_pairs", "equity_curve", "equity_curve_by_asset",
        "equity_curve_by_asset_with_legend", "equity_curve_by_chain", "equity_curve_with_drawdown",
        "extended_performance_metrics", "inclusion_criteria_check", "last_messages", "latest_cycle_snapshot",
        "performance_metrics", "positions_at_end", "price_vs_signal", "signal_comparison", "skipped_signals",
        "trading_metrics", "trading_pair_breakdown", "trading_pair_positions", "trading_pair_price_and_trades",
        "volatile_and_non_volatile_percent", "volatile_weights_by_percent", "volatility_benchmark",
        "weight_allocation_statistics",
    ),
    "charts.visual_market": ("visualise_asset_correlation", "visualise_market_regime_filter"),
    "charts.visual_pair": ("visualise_multiple_pairs", "visualise_single_pair", "visualise_single_position"),
    "charts.visual_portfolio": (
        "ScoringMethod", "visualise_advanced_metrics", "visualise_equity_curve", "visualise_returns_distribution",
        "visualise_returns_over_time", "visualise_weekly_time_heatmap", "visualise_weights",
    ),
    "domain.equity_statistics": ("PortfolioStatistics",),
    "domain.other_data": ("OtherData",),
    "market.data_universe": ("DataUniverse",),
    "market.exchange": ("Exchange",),
    "market.lending": ("LendingCandleType", "LendingProtocolType", "LendingReserve", "LendingUniverse"),
    "market.synthetic": (
        "create_synthetic_single_pair_universe", "generate_exchange", "generate_fixed_price_candles",
        "generate_multi_pair_candles", "generate_ohlcv_candles", "generate_tvl_candles", "load_ohlcv_parquet_file",
    ),
    "porting.inline": ("run_backtest_inline",),
    "porting.label": (
        "AdvancedMetricsMode",
        "LendingReserveDescription", "PairInternalId", "Percent", "PlotLabel", "PrimaryKey", "StrategyTag",
        "StrategyType", "TokenAmount", "TokenSymbol", "USDollarAmount", "USDollarPrice", "default_universe_options",
        "notebook_execution_context", "python_script_execution_context", "standalone_backtest_execution_context",
        "translate_trading_pair", "unit_test_execution_context",
    ),
    "porting.notebook_setup": ("OutputMode", "display_parameters", "setup_charts_and_tables"),
    "porting.loader": ("create_binance_universe", "load_all_data", "load_pair_data_for_single_exchange"),
    "statistics.asset_weight": ("calculate_asset_weights",),
    "statistics.equity_curve": ("calculate_daily_returns", "calculate_equity_curve"),
    "statistics.fee_table": ("analyse_trading_fees",),
    "statistics.execution_table": ("analyse_position_durations", "analyse_slippage"),
    "statistics.key_metric": ("KeyMetric", "KeyMetricKind", "KeyMetricSource", "calculate_key_metrics"),
    "statistics.metrics_table": ("calculate_advanced_metrics",),
    "statistics.pair_table": ("analyse_multipair", "format_multipair_summary"),
    "statistics.position_return": (
        "calculate_compounding_realised_trading_profitability", "calculate_investment_flow",
        "calculate_realised_profitability", "calculate_size_relative_realised_trading_returns",
    ),
    "statistics.returns": (
        "calculate_aggregate_returns", "calculate_daily_returns_from_curve", "calculate_deposit_adjusted_returns",
        "calculate_returns", "calculate_rolling_sharpe", "resample_returns",
    ),
    "statistics.trade_analysis": ("TradeAnalysis", "build_trade_analysis", "calculate_all_summary_stats_by_side"),
    "statistics.trade_summary": ("TradeSummary",),
    "statistics.unrealised_return": (
        "calculate_compounding_unrealised_trading_profitability", "calculate_cumulative_daily_returns",
        "calculate_non_cumulative_daily_returns", "calculate_size_relative_unrealised_trading_returns",
    ),
    "strategy.chart": ("ChartCallback",),
    "strategy.indicator_definition": ("IndicatorDefinition",),
    "strategy.indicator_lookup": ("StrategyInputIndicators",),
    "strategy.position_query": ("PricingModel",),
}
"""Names beyond the public ones, by the module that has them."""

OTHER_NAMES = {
    "BaseClient": ("market.source", "CandleSource"),
    "Client": ("market.source", "CandleSource"),
    "GroupedCandleUniverse": ("market.data_universe", "CandleUniverse"),
    "GroupedLiquidityUniverse": ("market.data_universe", "CandleUniverse"),
    "visualise_single_asset_position": ("charts.visual_pair", "visualise_single_position"),
    "PandasPairUniverse": ("market.pair_universe", "PairUniverse"),
    "Universe": ("market.data_universe", "DataUniverse"),
}
"""Classes that have another name here; the file keeps its own for them."""
# fmt: on

NO_LENDING = "lending rates come from a frame or file here: see docs/loans.md"
NO_VAULT = "vault universes and yield management are not there yet"
NO_CHART = "this chart is not there; see docs/charts.md for those that are"
NO_SEARCH = "the optimiser and figures of grid searches are not there yet; there is a heat map, visualise_heatmap_2d"
NO_TABLE = "this figure or table is not there yet; the result of a backtest has metrics_table, statistics and report()"
NO_CLIENT = "candles come from the client the run is given: `trading-dagster backtest --data`, or client="
NO_FILTER = "ready-made filters of token lists are not there yet: choose pairs by description"

REASONS = {
    "CoingeckoUniverse": NO_FILTER,
    "analyse_combination_grid_search": NO_SEARCH,
    "build_hyperliquid_vault_universe": NO_VAULT,
    "filter_for_selected_pairs": NO_FILTER,
    "load_multivault_candles": NO_VAULT,
    "load_vault_universe_with_metadata": NO_VAULT,
    "perform_optimisation": NO_SEARCH,
    "resample_candles": "use pandas' resample on the frame",
    "visualise_single_grid_search_result_benchmark": NO_SEARCH,
}
"""Why a name that strategies import is missing, where more can be said than that."""

MODULE_REASONS = {
    ".chart": NO_CHART,
    "grid_search": NO_SEARCH,
    "optimiser": NO_SEARCH,
    "vault": NO_VAULT,
    "yield": NO_VAULT,
    "curator": NO_VAULT,
    "exchange_account": NO_VAULT,
    "lending": NO_LENDING,
    "credit": NO_LENDING,
    "interest": NO_LENDING,
    "coingecko": NO_FILTER,
    "token_filter": NO_FILTER,
    ".visual": NO_TABLE,
    ".analysis": NO_TABLE,
}
"""Why what a module has is missing, by a part of the module's name; the first that fits."""

METHODS: dict[str, tuple[str, ...]] = {
    "PositionManager": (
        "get_current_portfolio",
        "get_current_cash",
        "is_any_open",
        "is_any_long_position_open",
        "is_any_short_position_open",
        "is_any_credit_supply_position_open",
        "get_current_position",
        "get_current_long_position",
        "get_current_short_position",
        "get_current_credit_supply_position",
        "get_current_position_for_pair",
        "get_closed_positions_for_pair",
        "get_last_closed_position",
        "get_trading_pair",
        "get_pair_fee",
        "is_problematic_pair",
        "open_spot",
        "adjust_position",
        "close_position",
        "close_spot_position",
        "close_short",
        "close_credit_supply_position",
        "close_all",
        "open_short",
        "adjust_short",
        "open_credit_supply_position_for_reserves",
        "adjust_credit_supply_position",
        "add_cash_to_credit_supply",
        "calculate_credit_flow_needed",
        "manage_credit_flow",
        "update_stop_loss",
        "set_market_limit_trigger",
        "open_spot_with_market_limit",
        "prepare_take_profit_trades",
        "estimate_asset_quantity",
        "get_pending_redemptions",
        "check_enough_cash",
        "check_enter_position",
        "is_async_vault_sell_pair",
        "log",
    ),
    "AlphaModel": (
        "set_signal",
        "select_top_signals",
        "assign_weights",
        "normalise_weights",
        "update_old_weights",
        "calculate_target_positions",
        "generate_rebalance_trades_and_triggers",
        "is_rebalance_triggered",
        "get_allocated_value",
        "get_signals_sorted_by_weight",
        "get_signal_by_pair",
        "get_signal_by_pair_id",
        "iterate_signals",
        "get_signal_count",
        "has_any_signal",
        "has_any_position",
        "get_flag_diagnostics_data",
        "get_debug_print",
        "calculate_weight_diffs",
        "get_missed_vault_events",
        "get_unallocatable_signals",
        "to_dict",
        "carry_forward_non_redeemable_positions",
        "cap_chain_allocation",
    ),
    "TradingStrategyUniverse": (
        "create_from_dataset",
        "create_single_pair_universe",
        "create_multipair_universe",
        "create_limited_pair_universe",
        "create_multichain_universe_by_pair_descriptions",
        "get_pair_by_human_description",
        "get_pair_by_id",
        "get_pair_by_smart_contract",
        "get_pair_by_address",
        "get_pair_by_vault_name",
        "get_single_pair",
        "is_single_pair_universe",
        "get_pair_count",
        "iterate_pairs",
        "get_reserve_asset",
        "get_asset_by_address",
        "get_credit_supply_pair",
        "get_shorting_pair",
        "get_latest_supply_apr",
        "has_stop_loss_data",
        "has_lending_data",
        "has_liquidity_data",
        "is_open_ended_universe",
        "remove_pair",
        "warm_up_data",
        "write_pickle",
        "read_pickle",
        "can_open_spot",
        "can_open_short",
        "can_open_credit_supply",
        "get_trading_broken_reason",
        "get_cache_key",
    ),
    "StrategyInput": ("get_position_manager", "get_default_pair", "is_visualisation_enabled"),
    "StrategyInputIndicators": (
        "get_indicator_value",
        "get_price",
        "get_tvl",
        "get_indicator_series",
        "get_indicator_dataframe",
        "get_price_series",
        "get_ohlcv",
        "get_indicator_data_pairs_combined",
    ),
    "IndicatorDependencyResolver": ("get_indicator_data", "get_indicator_data_pairs_combined"),
    "IndicatorRegistry": ("define", "create_indicators"),
    "IndicatorSet": ("add",),
    "Portfolio": (
        "get_initial_cash",
        "get_current_cash",
        "calculate_total_equity",
        "get_total_equity",
        "get_all_positions",
        "get_all_trades",
        "get_open_positions",
        "get_open_position_for_pair",
        "get_position_by_id",
        "get_net_asset_value",
        "get_position_equity_and_loan_nav",
    ),
    "TradingPosition": (
        "get_opening_price",
        "get_closing_price",
        "get_pending_quantity",
        "get_quantity",
        "get_value",
        "get_original_stop_loss",
        "get_realised_profit_usd",
        "get_unrealised_profit_usd",
        "get_total_profit_usd",
        "get_current_price",
        "is_open",
        "is_closed",
        "is_long",
        "is_short",
        "is_stop_loss",
    ),
    "TradeExecution": ("get_status", "get_value", "is_buy", "is_sell", "is_success", "get_unexecuted_reserve"),
    "State": ("is_good_pair", "blacklist_asset"),
    "Visualisation": (
        "plot_indicator",
        "add_message",
        "add_calculations",
        "get_messages_tail",
        "set_discardable_data",
        "set_visualised_pairs",
    ),
    "ChartRegistry": ("register", "define", "get_chart_function", "get_chart_count"),
    "ChartBacktestRenderingSetup": ("render",),
}
"""What strategies call on objects, by class."""

METHOD_REASONS = {
    "create_multichain_universe_by_pair_descriptions": "not there yet: use load_partial_data(pairs=...)",
    "read_pickle": "pickles are not read: let create_trading_universe load from the client",
    "remove_pair": "not there yet: leave the pair out when loading",
    "warm_up_data": "not needed: delete the call",
    "write_pickle": "pickles are not written: let create_trading_universe load from the client",
}
LENDING_WORDS = ("short", "credit", "supply_apr", "lending")


KEYWORD_REASONS = {
    "indicator_combinations": NO_SEARCH,
    "vault_bundled_price_data": NO_VAULT,
}
"""Why a keyword argument is missing."""

IDENTIFIERS = {
    "NotEnoughCasForBuys": "NotEnoughCashForBuys",
    "assummed_liquidity_when_data_missings": "assumed_liquidity_when_data_missing",
    "assummed_liquidity_when_data_missings_usd": "assumed_liquidity_when_data_missing_usd",
    "average_duration_between_postions": "average_duration_between_positions",
    "bumb_refreshed": "bump_refreshed",
    "get_orignal_stop_loss": "get_original_stop_loss",
    "get_unexeuted_reserve": "get_unexecuted_reserve",
    "invidiual_rebalance_min_threshold": "individual_rebalance_min_threshold",
    "maximum_price_impact": "max_price_impact",
    "tranfer_away": "transfer_away",
    "visualise_table": "render_grid_search_result_table",
    "visulisation": "visualisation",
    "web_visulisation": "visualisation",
    "weight_passthrouh": "weight_passthrough",
}
"""Old spellings that mean one thing wherever they stand: as names, attributes, keywords, parameters and keys."""

ATTRIBUTES = {
    "close_short_position": "close_short",
    "get_cash": "get_current_cash",
    "get_initial_deposit": "get_initial_cash",
    "get_price_at_open": "get_opening_price",
    "open_1x_long": "open_spot",
}
"""Old names of methods."""
