"""The charts that a strategy registers: what they are called and what their functions are given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from trading_dagster.domain.error import BadInput, ChartNotValid, UnknownChart
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.time import require_naive_utc
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.execution_context import ExecutionContext
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators

Drawing = TypeVar("Drawing", bound=Callable[..., Any])
ChartFunction = Callable[..., Any]
"""Takes a ChartInput and options by keyword; returns a plotly or matplotlib figure, a data frame or styled one, a pair
of figure and frame, a list of these, or an object with HTML."""


class ChartKind(Enum):
    """What the function of a chart needs: indicators alone or the state too, and how many pairs."""

    indicator_single_pair = "indicator_single_pair"
    indicator_multi_pair = "indicator_multi_pair"
    indicator_all_pairs = "indicator_all_pairs"
    state_single_pair = "state_single_pair"
    state_single_vault_pair = "state_single_vault_pair"
    state_all_pairs = "state_all_pairs"

    def needs_state(self) -> bool:
        """Tell whether there must have been a run."""
        return self.value.startswith("state")

    def is_single_pair(self) -> bool:
        """Tell whether the chart is of one pair at a time."""
        return "single" in self.value

    def is_all_pairs(self) -> bool:
        """Tell whether the chart is of the whole universe."""
        return self.value.endswith("all_pairs")


@dataclass(slots=True)
class ChartInput:
    """What the function of a chart is given.

    Attributes:
        execution_context: In which world the strategy runs.
        state: The state to draw, with its equity samples; None before a run.
        strategy_input_indicators: The indicators, to their end; None where there are none.
        pairs: The pairs to draw.
        backtest_start_at: Where a backtest begins, naive UTC.
        backtest_end_at: Where it ends.
        cache: What functions keep for others that draw the same input.
    """

    execution_context: ExecutionContext
    state: State | None = None
    strategy_input_indicators: StrategyInputIndicators | None = None
    pairs: Collection[TradingPairIdentifier] | None = None
    backtest_start_at: datetime | None = None
    backtest_end_at: datetime | None = None
    cache: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what chart functions would stumble over later."""
        for name, value, kind in (
            ("state", self.state, State),
            ("strategy_input_indicators", self.strategy_input_indicators, StrategyInputIndicators),
        ):
            if value is not None and not isinstance(value, kind):
                raise BadInput(f"ChartInput: {name} is a {type(value).__name__}, give a {kind.__name__} or None")
        for pair in self.pairs or ():
            if not isinstance(pair, TradingPairIdentifier):
                raise BadInput(f"ChartInput: pairs holds {pair!r}: give pairs of the universe")
        for moment in (self.backtest_start_at, self.backtest_end_at):
            if moment is not None:
                require_naive_utc(moment)

    @property
    def strategy_universe(self) -> TradingStrategyUniverse:
        """Return the universe of the indicators; raises BadInput without indicators."""
        if self.strategy_input_indicators is None:
            raise BadInput("This chart needs the universe: give strategy_input_indicators")
        universe = self.strategy_input_indicators.strategy_universe
        assert isinstance(universe, TradingStrategyUniverse)
        return universe

    @property
    def live(self) -> bool:
        """Tell whether the state is of live trading."""
        return self.execution_context.live_trading

    @property
    def backtest(self) -> bool:
        """Tell whether the state is of a backtest."""
        return not self.live

    @property
    def start_at(self) -> datetime | None:
        """Return where the strategy starts, naive UTC: what the backtest was told, else what the state knows."""
        return self._range_of_state()[0] if self.live or self.backtest_start_at is None else self.backtest_start_at

    @property
    def end_at(self) -> datetime | None:
        """Return where the strategy ends, naive UTC; live that is the newest cycle."""
        return self._range_of_state()[1] if self.live or self.backtest_end_at is None else self.backtest_end_at

    def require_state(self) -> State:
        """Return the state; raises BadInput when there is none."""
        if self.state is None:
            raise BadInput("This chart needs a state: run a backtest first and give its state")
        return self.state

    def require_indicators(self) -> StrategyInputIndicators:
        """Return the indicators; raises BadInput when there are none."""
        if self.strategy_input_indicators is None:
            raise BadInput("This chart needs indicators: give strategy_input_indicators")
        return self.strategy_input_indicators

    def require_pairs(self) -> list[TradingPairIdentifier]:
        """Return the pairs; raises BadInput when there are none."""
        if not self.pairs:
            raise BadInput("This chart needs pairs: give pairs=, or default_benchmark_pairs to ChartRegistry")
        return list(self.pairs)

    def with_pairs(self, pairs: Collection[TradingPairIdentifier] | None) -> ChartInput:
        """Return the same input for other pairs; both share one cache."""
        return replace(self, pairs=pairs)

    def _range_of_state(self) -> tuple[datetime | None, datetime | None]:
        return (None, None) if self.state is None else self.state.get_strategy_time_range()


@dataclass(frozen=True, slots=True)
class ChartCallback:
    """A registered chart."""

    id: str
    name: str
    func: ChartFunction
    kind: ChartKind
    description: str

    def export(self) -> dict[str, str]:
        """Return what a page that offers charts must know of it."""
        return {"id": self.id, "name": self.name, "kind": self.kind.value, "description": self.description}


class ChartRegistry:
    """Collects the charts of a strategy, in the order in which they are shown.

    Example::

        def create_charts(timestamp, parameters, strategy_universe, execution_context):
            charts = ChartRegistry(default_benchmark_pairs=[parameters.benchmark])
            charts.register(equity_curve, ChartKind.state_all_pairs)

            @charts.define(ChartKind.indicator_single_pair)
            def signal(input: ChartInput) -> pd.DataFrame:
                \"\"\"The signal of a pair.\"\"\"
                return input.strategy_input_indicators.get_indicator_series("signal", pair=input.pairs[0]).to_frame()

            return charts
    """

    def __init__(
        self,
        default_benchmark_pairs: Collection[HumanReadableTradingPairDescription | TradingPairIdentifier] | None = None,
    ) -> None:
        """Begin empty; charts of one pair or several show the benchmark pairs when no others are asked for."""
        self.registry: dict[str, ChartCallback] = {}
        self.default_benchmark_pairs = default_benchmark_pairs

    @property
    def by_function(self) -> Mapping[ChartFunction, ChartCallback]:
        """Return the charts by the function that draws them."""
        return {chart.func: chart for chart in self.registry.values()}

    def register(self, func: ChartFunction, kind: ChartKind, name: str | None = None) -> None:
        """Register a function as a chart under its own name; one of the same name is replaced.

        Args:
            func: Takes a ChartInput; its docstring's first line becomes the description.
            kind: What it needs.
            name: What people see; the function's name in words by default.

        Raises:
            ChartNotValid: The function has no docstring or no name, or the kind is none.
        """
        chart_id = str(getattr(func, "__name__", ""))
        if not callable(func) or not chart_id.isidentifier():
            raise ChartNotValid(f"{func!r} cannot be a chart: register a function made with def")
        if not isinstance(kind, ChartKind):
            raise ChartNotValid(f"Chart {chart_id!r} has the kind {kind!r}: give a ChartKind")
        description = (func.__doc__ or "").strip().split("\n", 1)[0].strip()
        if not description:
            raise ChartNotValid(f"Chart {chart_id!r} needs a docstring: its first line is shown as the description")
        self.registry[chart_id] = ChartCallback(chart_id, name or _in_words(chart_id), func, kind, description)

    def define(self, kind: ChartKind, name: str | None = None) -> Callable[[Drawing], Drawing]:
        """Return a decorator that registers a function and returns it unchanged; raises as `register`."""

        def decorate(func: Drawing) -> Drawing:
            self.register(func, kind, name)
            return func

        return decorate

    def get_chart_function(self, name: str) -> ChartCallback | None:
        """Return the chart of an id, None when there is none."""
        return self.registry.get(name)

    def get_chart_count(self) -> int:
        """Return how many charts there are."""
        return len(self.registry)

    def find(self, chart: str | ChartFunction) -> ChartCallback:
        """Return the chart of an id or a function; raises UnknownChart naming those there are."""
        found = self.registry.get(chart) if isinstance(chart, str) else self.by_function.get(chart)
        if found is None:
            wanted = chart if isinstance(chart, str) else getattr(chart, "__name__", repr(chart))
            known = ", ".join(self.registry) or "none"
            raise UnknownChart(f"No chart {wanted!r} is registered: register it in create_charts; there are {known}")
        return found


def _in_words(name: str) -> str:
    words = name.strip("_").replace("_", " ")
    return words[:1].upper() + words[1:]
