"""A search as people ask for it in text: ranges of parameters and the name of an objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from trading_dagster.domain.error import BadInput
from trading_dagster.research.objective import OBJECTIVES, MinTradeCountFilter, SearchFunction
from trading_dagster.research.optimiser import OptimiserOptions
from trading_dagster.research.search_space import SearchSpace, prepare_optimiser_parameters
from trading_dagster.strategy.parameter_text import (
    is_choice,
    is_dimension,
    parse_choices,
    parse_dimensions,
    parse_settings,
)
from trading_dagster.strategy.parameters import StrategyParameters

OF_THE_UNIVERSE = ("candle_time_bucket", "stop_loss_time_bucket", "pairs", "required_history_period")
"""Parameters that universes are made of: one search has one universe."""

FIXED = (*OF_THE_UNIVERSE, "backtest_start", "backtest_end")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSetting:
    """How to search, as people say it; see OptimiserOptions for each.

    Attributes:
        objective: Name of what to look for.
        min_trades: Only points with more trades than this may be chosen.
        rounding: What real numbers are multiples of.
        timeout_s: What a backtest may take; 0 is as long as it likes.
    """

    objective: str
    iterations: int
    min_trades: int
    batch_size: int | None
    seed: int
    rounding: str
    timeout_s: float
    max_workers: int | None
    result_path: Path | None

    def read(
        self, parameters: StrategyParameters, settings: Sequence[str]
    ) -> tuple[StrategyParameters, OptimiserOptions]:
        """Return prepared parameters and options; errors as `read_search`, and BadInput for what makes no sense."""
        search_func, step = find_objective(self.objective), read_rounding(self.rounding)
        options = OptimiserOptions(
            iterations=self.iterations,
            search_func=search_func,
            result_filter=MinTradeCountFilter(self.min_trades),
            batch_size=self.batch_size,
            rounding=step,
            timeout_s=self.timeout_s or None,
            seed=self.seed,
            max_workers=self.max_workers,
            result_path=self.result_path,
        )
        return read_search(parameters, settings, step), options


def read_search(parameters: StrategyParameters, settings: Sequence[str], rounding: Decimal) -> StrategyParameters:
    """Return parameters that are ready to be searched, as texts like ``fast=Integer(5,50)`` change them.

    Args:
        parameters: The strategy's.
        settings: ``name=range``, ``name=[values]`` or ``name=value``.
        rounding: What real numbers are multiples of.

    Raises:
        BadInput: There is nothing to search, or something that cannot be searched.
        ParameterMissing: The strategy has no parameter of a name.
        ParameterTypeInvalid: A value or range cannot be read, or the engine refuses it.
    """
    single = [setting for setting in settings if not is_choice(setting) and not is_dimension(setting)]
    prepared = prepare_optimiser_parameters(
        parameters.replace(
            **parse_settings(single, parameters),
            **parse_choices(filter(is_choice, settings), parameters),
            **parse_dimensions(filter(is_dimension, settings), parameters),
        )
    )
    searched = SearchSpace(prepared, rounding).names
    if refused := [name for name in FIXED if name in searched]:
        raise BadInput(f"{refused[0]} cannot be searched: a search has one universe and range; run one for each value")
    return prepared


def find_objective(name: str) -> SearchFunction:
    """Return the search function of a name; raises BadInput with the names there are."""
    if name not in OBJECTIVES:
        raise BadInput(f"The objective is {name!r}: use one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def read_rounding(text: str) -> Decimal:
    """Return what real numbers are multiples of; raises BadInput when it is no number."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise BadInput(f"The rounding is {text!r}: give a number such as 0.01") from None
