"""Names that ported strategies import for annotations, labels and default arguments."""

from __future__ import annotations

from enum import Enum, StrEnum

from trading_dagster.domain.identifier import ChainId, TradingPairIdentifier
from trading_dagster.market.dataset import UniverseOptions
from trading_dagster.strategy.execution_context import ExecutionContext, ExecutionMode

USDollarAmount = float
USDollarPrice = float
Percent = float
TokenSymbol = str
TokenAmount = float
PrimaryKey = int
PairInternalId = int
LendingReserveDescription = tuple[ChainId, object, str]

default_universe_options = UniverseOptions()
notebook_execution_context = ExecutionContext(mode=ExecutionMode.backtesting, jupyter=True)
standalone_backtest_execution_context = ExecutionContext(mode=ExecutionMode.backtesting)
python_script_execution_context = ExecutionContext(mode=ExecutionMode.backtesting)
unit_test_execution_context = ExecutionContext(mode=ExecutionMode.unit_testing)


class StrategyType(Enum):
    """How a strategy of versions 0.1 to 0.4 describes itself; of no effect."""

    managed_positions = "managed_positions"
    alpha_model = "alpha_model"
    position_manager = "position_manager"


class StrategyTag(Enum):
    """Tags of a strategy; shown, of no effect on trading."""

    unit_testing = "unit_testing"
    alpha = "alpha"
    beta = "beta"
    live = "live"
    archived = "archived"
    internal_testing = "internal_testing"
    hero = "hero"
    deposits_disabled = "deposits_disabled"
    exchange_account_strategy = "exchange_account_strategy"
    exchange_account_strategy_gmx = "exchange_account_strategy_gmx"
    exchange_account_strategy_derive = "exchange_account_strategy_derive"
    closed_source = "closed_source"


class AdvancedMetricsMode(StrEnum):
    """How many measures a table has."""

    basic = "basic"
    full = "full"


class PlotLabel(StrEnum):
    """Where a plot says its name; kept with the plot as its label."""

    axis = "axis"
    legend = "legend"
    hidden = "hidden"


def translate_trading_pair(pair: TradingPairIdentifier) -> TradingPairIdentifier:
    """Return the pair itself: universes here have no other kind of pair to translate from."""
    return pair
