"""run_backtest_inline: the call by which ported notebooks run the functions of their cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.backtest.plan import BacktestOptions
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.error import StrategyModuleNotValid
from trading_dagster.domain.state import State
from trading_dagster.domain.time import CycleDuration
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.module import SUPPORTED_VERSIONS, StrategyModule
from trading_dagster.strategy.older_version import OLDER_VERSIONS, adapt_decide_trades
from trading_dagster.strategy.parameters import StrategyParameters
from trading_dagster.strategy.routing import ReserveCurrency, TradeRouting


@dataclass(frozen=True)
class InlineBacktest:
    """A finished backtest that unpacks as ``state, universe, diagnostics_data``.

    ``result`` has everything else: equity_curve, returns, trades, metrics, report().
    """

    state: State
    strategy_universe: TradingStrategyUniverse
    diagnostics_data: dict[str, Any]
    result: BacktestResult

    @property
    def universe(self) -> TradingStrategyUniverse:
        """Return the universe traded on."""
        return self.strategy_universe

    @property
    def equity_curve(self) -> pd.Series:
        """Return total equity in USD by naive UTC time."""
        return self.result.equity_curve

    def __iter__(self) -> Iterator[Any]:
        """Unpack as notebooks do."""
        return iter((self.state, self.strategy_universe, self.diagnostics_data))


def run_backtest_inline(
    *,
    decide_trades: Callable[..., Any],
    create_trading_universe: Callable[..., TradingStrategyUniverse] | None = None,
    universe: TradingStrategyUniverse | None = None,
    create_indicators: Any = None,
    parameters: type | StrategyParameters | None = None,
    client: Any = None,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    cycle_duration: CycleDuration | None = None,
    initial_deposit: float | None = None,
    trade_routing: TradeRouting | None = None,
    reserve_currency: ReserveCurrency | None = None,
    engine_version: str | None = None,
    data_delay_tolerance: timedelta | None = None,
    allow_missing_fees: bool = False,
    three_leg_resolution: bool = True,
    execution_test_hook: Any = None,
    max_workers: int | None = None,
    name: str = "backtest",
    log_level: Any = None,
    mode: Any = None,
) -> InlineBacktest:
    """Run functions over recorded candles; arguments win over Parameters, and Parameters fill what is not given.

    ``reserve_currency``, ``max_workers``, ``log_level`` and ``mode`` are accepted and of no effect: the universe has
    the reserve, a backtest runs in this process and logs as logging is set up. See `run_backtest` for the rest.

    Raises:
        StrategyModuleNotValid: The engine version is unknown or the functions do not fit it.
        BadInput: Range, parameters or data are unusable.
    """
    del reserve_currency, max_workers, log_level, mode
    version = engine_version or "0.5"
    if version in OLDER_VERSIONS:
        decide_trades = adapt_decide_trades(decide_trades, version, name)
    elif version not in SUPPORTED_VERSIONS:
        known = ", ".join((*OLDER_VERSIONS, *SUPPORTED_VERSIONS))
        raise StrategyModuleNotValid(f"run_backtest_inline: engine_version {version!r}: use one of {known}")
    own = StrategyParameters.from_class(parameters) if isinstance(parameters, type) else parameters
    given = {"cycle_duration": cycle_duration, "routing": trade_routing}
    filled = (own or StrategyParameters({})).replace(**{n: v for n, v in given.items() if v is not None})
    if "routing" not in filled:
        filled = filled.replace(routing=TradeRouting.default)
    strategy = StrategyModule(
        name=name,
        decide_trades=decide_trades,
        parameters=filled,
        engine_version=version,
        create_trading_universe=create_trading_universe,
        create_indicators=create_indicators,
    )
    result = run_backtest(
        strategy,
        universe=universe,
        start=start_at,
        end=end_at,
        initial_cash=initial_deposit,
        name=name,
        client=client,
        options=BacktestOptions(
            allow_missing_fees=allow_missing_fees,
            three_leg_resolution=three_leg_resolution,
            data_delay_tolerance=data_delay_tolerance,
        ),
        execution_test_hook=execution_test_hook,
    )
    return InlineBacktest(result.state, result.universe, {"result": result}, result)
