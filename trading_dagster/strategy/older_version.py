"""Strategies of engine versions 0.1 to 0.4, called with the arguments of their time."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pandas as pd

from trading_dagster.domain.error import CandleSampleUnavailable, StrategyModuleNotValid
from trading_dagster.market.contract import Candles
from trading_dagster.market.data_universe import CandleUniverse, DataUniverse
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.input import StrategyInput

OLDER_VERSIONS = ("0.1", "0.2", "0.3", "0.4")

_OF_DATA = frozenset(("chains", "candles", "exchanges", "lending_candles", "liquidity", "pairs"))
_BEFORE_PARAMETERS = ("timestamp", "state", "pricing_model", "cycle_debug_data")

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "0.1": (*_BEFORE_PARAMETERS, "universe"),
    "0.2": (*_BEFORE_PARAMETERS, "universe"),
    "0.3": (*_BEFORE_PARAMETERS, "strategy_universe"),
    "0.4": ("timestamp", "parameters", "strategy_universe", "state", "pricing_model"),
}
"""What decide_trades may ask for by name, by version."""


class OlderCandles(CandleUniverse):
    """Candles with the call by which strategies before indicators read them."""

    def get_single_pair_data(
        self,
        timestamp: datetime | None = None,
        sample_count: int | None = None,
        allow_current: bool = False,
        raise_on_not_enough_data: bool = True,
    ) -> Candles:
        """Return the candles of the only pair, indexed by open time: the last ones that closed by the decision time.

        Args:
            timestamp: Only candles that open before this naive UTC time; None takes all that closed.
            sample_count: At most so many, the latest; None takes all.
            allow_current: Also the candle that opens at ``timestamp``, where it has closed.
            raise_on_not_enough_data: Refuse to return none at all.

        Raises:
            CandleSampleUnavailable: There is no such candle, or the universe has several pairs.
        """
        if len(self.panel.pair_ids) != 1:
            raise CandleSampleUnavailable(
                f"get_single_pair_data() needs a universe of one pair, this one has {len(self.panel.pair_ids)}: "
                "use get_candles_by_pair(pair)"
            )
        frame = self.get_candles_by_pair(self.panel.pair_ids[0])
        if timestamp is not None:
            frame = frame[frame.index <= timestamp] if allow_current else frame[frame.index < timestamp]
        if sample_count is not None:
            frame = frame.iloc[-sample_count:]
        if raise_on_not_enough_data and frame.empty:
            raise CandleSampleUnavailable(f"No candle has closed before {timestamp}: load more history")
        return frame


class OlderUniverse:
    """A universe whose pairs and candles are reached as in versions 0.1 to 0.4; all else is the universe's own.

    ``universe.pairs`` and ``universe.candles`` are the data universe's, and so are ``strategy_universe.universe.pairs``
    and ``strategy_universe.data_universe.pairs``.
    """

    def __init__(self, universe: TradingStrategyUniverse) -> None:
        """Show a universe, which may be a decision's view of it."""
        self._universe = universe

    @property
    def data_universe(self) -> DataUniverse:
        """Return pairs, and the candles that the decision may know."""
        data = self._universe.data_universe
        return dataclasses.replace(data, candles=OlderCandles(data.candles.panel))

    @property
    def universe(self) -> DataUniverse:
        """Return the same as ``data_universe``."""
        return self.data_universe

    def __getattr__(self, name: str) -> Any:
        """Return what the data universe has of the older names, else what the universe has."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.data_universe if name in _OF_DATA else self._universe, name)


def adapt_decide_trades(function: Callable[..., Any], version: str, where: str) -> Callable[[StrategyInput], Any]:
    """Return a function of StrategyInput that calls decide_trades of an older version by the names it takes.

    Raises:
        StrategyModuleNotValid: It needs an argument that its version has not.
    """
    offered = ARGUMENTS[version]
    accepted = inspect.signature(function).parameters
    gathers = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    strange = [n for n, p in accepted.items() if n not in offered and p.default is p.empty and p.kind not in gathers]
    if strange:
        raise StrategyModuleNotValid(
            f"decide_trades({', '.join(accepted)}) of {where} needs {', '.join(strange)}: engine {version} gives "
            f"{', '.join(offered)}; rename the arguments, or say another trading_strategy_engine_version"
        )
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    wanted = [name for name in offered if takes_all or name in accepted]

    def decide_trades(input: StrategyInput) -> Any:  # noqa: A002 - vocabulary
        values = _older_arguments(input)
        return function(**{name: values[name] for name in wanted})

    return decide_trades


def _older_arguments(input: StrategyInput) -> dict[str, Any]:  # noqa: A002 - vocabulary
    universe = OlderUniverse(input.strategy_universe)
    return {
        "timestamp": pd.Timestamp(input.timestamp),
        "universe": universe,
        "strategy_universe": universe,
        "state": input.state,
        "pricing_model": input.pricing_model,
        "parameters": input.parameters.replace(cycle=input.cycle),
        "cycle_debug_data": {"cycle": input.cycle, "timestamp": input.timestamp},
    }
