"""Charts that strategies register by name: each takes a ChartInput and returns a figure, a table or several.

::

    from trading_dagster.charts.standard_chart import equity_curve, trading_metrics
    charts.register(equity_curve, ChartKind.state_all_pairs)
"""

from trading_dagster.charts.standard_chart.credit import lending_pool_interest_accrued
from trading_dagster.charts.standard_chart.cycle import last_messages, latest_cycle_snapshot
from trading_dagster.charts.standard_chart.equity import (
    equity_curve,
    equity_curve_by_asset,
    equity_curve_by_asset_with_legend,
    equity_curve_by_chain,
    equity_curve_with_drawdown,
)
from trading_dagster.charts.standard_chart.metric import (
    extended_performance_metrics,
    performance_metrics,
    trading_metrics,
    trading_pair_breakdown,
    weight_allocation_statistics,
)
from trading_dagster.charts.standard_chart.position import (
    positions_at_end,
    trading_pair_positions,
    trading_pair_price_and_trades,
)
from trading_dagster.charts.standard_chart.signal import (
    alpha_model_diagnostics,
    price_vs_signal,
    signal_comparison,
    skipped_signals,
    volatility_benchmark,
)
from trading_dagster.charts.standard_chart.universe import available_trading_pairs, inclusion_criteria_check
from trading_dagster.charts.standard_chart.vault import (
    all_vault_daily_gains_losses,
    all_vault_positions,
    all_vault_positions_by_profit,
    all_vaults_share_price_and_tvl,
    pending_vault_settlements,
    vault_position_timeline,
    vault_statistics,
)
from trading_dagster.charts.standard_chart.vault_data import ignored_vault_data, vault_data_freshness
from trading_dagster.charts.standard_chart.vault_miss import (
    missed_vault_deposit_redemption_events,
    missed_vault_deposit_redemption_timeline,
)
from trading_dagster.charts.standard_chart.weight import (
    volatile_and_non_volatile_percent,
    volatile_weights_by_percent,
)

__all__ = [
    "all_vault_daily_gains_losses",
    "all_vault_positions",
    "all_vault_positions_by_profit",
    "all_vaults_share_price_and_tvl",
    "alpha_model_diagnostics",
    "available_trading_pairs",
    "equity_curve",
    "equity_curve_by_asset",
    "equity_curve_by_asset_with_legend",
    "equity_curve_by_chain",
    "equity_curve_with_drawdown",
    "extended_performance_metrics",
    "ignored_vault_data",
    "inclusion_criteria_check",
    "last_messages",
    "latest_cycle_snapshot",
    "lending_pool_interest_accrued",
    "missed_vault_deposit_redemption_events",
    "missed_vault_deposit_redemption_timeline",
    "pending_vault_settlements",
    "performance_metrics",
    "positions_at_end",
    "price_vs_signal",
    "signal_comparison",
    "skipped_signals",
    "trading_metrics",
    "trading_pair_breakdown",
    "trading_pair_positions",
    "trading_pair_price_and_trades",
    "vault_data_freshness",
    "vault_position_timeline",
    "vault_statistics",
    "volatile_and_non_volatile_percent",
    "volatile_weights_by_percent",
    "volatility_benchmark",
    "weight_allocation_statistics",
]
