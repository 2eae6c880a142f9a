"""Strategy modules: the one file a trader writes, loaded and checked before any data is."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from trading_dagster.domain.error import StrategyModuleNotValid
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.chart import ChartRegistry
from trading_dagster.strategy.execution_context import ExecutionContext
from trading_dagster.strategy.indicator_definition import IndicatorSet
from trading_dagster.strategy.indicator_registry import IndicatorRegistry
from trading_dagster.strategy.input import CreateTradingUniverseInput
from trading_dagster.strategy.older_version import OLDER_VERSIONS, adapt_decide_trades
from trading_dagster.strategy.parameters import StrategyParameters

SUPPORTED_VERSIONS = ("0.5", "0.6")

DecideTrades = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class StrategyModule:
    """A loaded strategy: its functions, parameters and descriptions."""

    name: str
    decide_trades: DecideTrades
    parameters: StrategyParameters
    engine_version: str = "0.5"
    path: Path | None = None
    source: str = ""
    create_trading_universe: Callable[..., TradingStrategyUniverse] | None = None
    create_indicators: Callable[..., Any] | IndicatorRegistry | None = None
    create_charts: Callable[..., Any] | ChartRegistry | None = None
    before_strategy_tick: Callable[..., None] | None = None
    after_strategy_tick: Callable[..., None] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Return the name as used in file names and asset keys: lower case, words joined by underscores.

        Asset keys are ASCII. A name with other letters ends in a short hash, which tells it from others like it.
        """
        stem = self.path.stem if self.path is not None else self.name
        words = "".join(c if c.isascii() and c.isalnum() else "_" for c in stem.lower()).strip("_") or "strategy"
        return words if stem.isascii() else f"{words}_{hashlib.blake2b(stem.encode(), digest_size=3).hexdigest()}"

    @property
    def description(self) -> str:
        """Return the short description, or the first line of the file's docstring."""
        return str(self.details.get("short_description") or self.details.get("docstring") or self.name)

    def source_hash(self) -> str:
        """Return a hash of the file's text."""
        return hashlib.blake2b(self.source.encode(), digest_size=16).hexdigest()

    def with_parameters(self, changes: Mapping[str, Any]) -> StrategyModule:
        """Return the strategy with some parameters changed."""
        return replace(self, parameters=self.parameters.replace(**changes))

    def build_universe(self, input: CreateTradingUniverseInput) -> TradingStrategyUniverse:  # noqa: A002 - vocabulary
        """Call create_trading_universe in whichever of its two forms the file uses."""
        function = self.create_trading_universe
        if function is None:
            raise StrategyModuleNotValid(
                f"Strategy {self.name} has no create_trading_universe: define it, or pass universe= to the backtest"
            )
        universe = function(**_universe_arguments(function, input, self.name))
        if not isinstance(universe, TradingStrategyUniverse):
            raise StrategyModuleNotValid(
                f"create_trading_universe of {self.name} returned {type(universe).__name__}: "
                "return a TradingStrategyUniverse"
            )
        return universe

    def build_indicators(
        self, universe: TradingStrategyUniverse, parameters: StrategyParameters, context: ExecutionContext
    ) -> IndicatorSet:
        """Call create_indicators in whichever of its forms the file uses; no indicators when it has none."""
        function = self.create_indicators
        if function is None:
            return IndicatorSet()
        if isinstance(function, IndicatorRegistry):
            return function.create_indicators(None, parameters, universe, context)
        names = list(inspect.signature(function).parameters)
        if "indicators" in names:  # the older form fills the set it is given
            filled = IndicatorSet()
            function(parameters, filled, universe, context)
            return filled
        made = function(None, parameters, universe, context)
        if not isinstance(made, IndicatorSet):
            raise StrategyModuleNotValid(
                f"create_indicators of {self.name} returned {type(made).__name__}: return an IndicatorSet"
            )
        return made

    def build_charts(
        self,
        universe: TradingStrategyUniverse,
        parameters: StrategyParameters,
        context: ExecutionContext,
        timestamp: datetime | None = None,
    ) -> ChartRegistry:
        """Call create_charts; no charts when the file has none.

        Raises:
            StrategyModuleNotValid: create_charts raised, or returned something else.
        """
        function = self.create_charts
        if function is None or isinstance(function, ChartRegistry):
            return function or ChartRegistry()
        try:
            made = function(timestamp, parameters, universe, context)
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            raise StrategyModuleNotValid(
                f"create_charts of {self.name} raised {type(error).__name__}: {error}\n{trace}"
            ) from error
        if made is None:
            return ChartRegistry()
        if not isinstance(made, ChartRegistry):
            raise StrategyModuleNotValid(
                f"create_charts of {self.name} returned {type(made).__name__}: return a ChartRegistry"
            )
        return made


def load_strategy_file(path: str | Path) -> StrategyModule:
    """Load a strategy file; raises StrategyModuleNotValid naming file, line and remedy."""
    file = Path(path)
    if file.is_dir():
        raise StrategyModuleNotValid(f"Strategy file {file} is a folder: name a file in it, such as strategy.py")
    if not file.is_file():
        raise StrategyModuleNotValid(f"Strategy file {file} does not exist: check the path (looked in {Path.cwd()})")
    try:
        source = file.read_text(encoding="utf-8")
        code = compile(source, str(file), "exec")
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise StrategyModuleNotValid(f"Strategy file {file}{line} does not parse: {error}") from error
    module_name = (
        f"trading_strategy_{file.stem}_{hashlib.blake2b(str(file.resolve()).encode(), digest_size=4).hexdigest()}"
    )
    spec = importlib.util.spec_from_loader(module_name, loader=None, origin=str(file))
    if spec is None:
        raise StrategyModuleNotValid(f"Strategy file {file} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(file)
    sys.modules[module_name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - running the user's own file is what loading it means
    except (Exception, SystemExit) as error:
        sys.modules.pop(module_name, None)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
        line = f", line {frames[-1].lineno}" if frames else ""
        raise StrategyModuleNotValid(f"Strategy file {file}{line} raised {type(error).__name__}: {error}") from error
    return load_strategy_module(module, source=source)


def load_strategy_module(module: ModuleType | Mapping[str, Any], source: str | None = None) -> StrategyModule:
    """Check a module, or its names, against the strategy protocol; names match without regard to case."""
    namespace = dict(module) if isinstance(module, Mapping) else vars(module)
    names = _names_without_case(namespace)
    file = namespace.get("__file__")
    path = Path(file) if file else None
    where = str(path or namespace.get("__name__", "strategy"))
    version = _checked_version(names.get("trading_strategy_engine_version"), where)
    if source is None:
        source = path.read_text(encoding="utf-8") if path is not None and path.is_file() else ""
    for function in ("decide_trades", "create_trading_universe"):
        if not callable(names.get(function)):
            raise StrategyModuleNotValid(f"Strategy {where} has no function {function}: engine {version} requires it")
    is_older = version in OLDER_VERSIONS
    parameters = names.get("parameters")
    if is_older and version != "0.4" and not isinstance(parameters, type):
        parameters = _NoParameters  # these versions know names of the module only
    if not isinstance(parameters, type):
        raise StrategyModuleNotValid(f"Strategy {where} has no class Parameters: engine {version} requires it")
    indicators = names.get("create_indicators") or next(
        (v for v in names.values() if isinstance(v, IndicatorRegistry)), None
    )
    if is_older:
        indicators = None
    elif not callable(indicators) and not isinstance(indicators, IndicatorRegistry):
        raise StrategyModuleNotValid(
            f"Strategy {where} has no function create_indicators and no IndicatorRegistry: "
            f"engine {version} requires one, it may return an empty IndicatorSet()"
        )
    registered = next((v for v in names.values() if isinstance(v, ChartRegistry)), None)
    charts = names["create_charts"] if callable(names.get("create_charts")) else registered
    if version == "0.6" and charts is None:
        raise StrategyModuleNotValid(
            f"Strategy {where} has no function create_charts and no ChartRegistry: engine 0.6 requires one"
        )
    docstring = (namespace.get("__doc__") or "").strip().split("\n", 1)[0]
    return StrategyModule(
        name=str(names.get("name") or (path.stem if path else "strategy")),
        decide_trades=(
            adapt_decide_trades(names["decide_trades"], version, where) if is_older else names["decide_trades"]
        ),
        parameters=_with_module_names(StrategyParameters.from_class(parameters), names),
        engine_version=version,
        path=path,
        source=source,
        create_trading_universe=names["create_trading_universe"],
        create_indicators=indicators,
        create_charts=charts,
        before_strategy_tick=names.get("before_strategy_tick"),
        after_strategy_tick=names.get("after_strategy_tick"),
        details={"docstring": docstring, **{n: names[n] for n in DETAILS if n in names}},
    )


DETAILS = (
    "trading_strategy_type",
    "trade_routing",
    "reserve_currency",
    "chain_id",
    "short_description",
    "long_description",
    "icon",
    "tags",
    "sort_priority",
    "management_fee",
    "trading_strategy_protocol_fee",
    "strategy_developer_fee",
)


UNIVERSE_FORMS = "(input) or (timestamp, client, execution_context, universe_options)"

FILLED_BY_MODULE = {
    "cycle_duration": "trading_strategy_cycle",
    "routing": "trade_routing",
    "backtest_start": "backtest_start",
    "backtest_end": "backtest_end",
    "initial_cash": "initial_cash",
}
"""Parameters that a name of the module gives when the class has none."""


class _NoParameters:
    """What a file without class Parameters says."""


def _names_without_case(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names in lower case; of names that differ in case only, the one the protocol writes wins."""
    found = {name: value for name, value in namespace.items() if not name.startswith("__")}
    names = {name.lower(): value for name, value in found.items()}
    names.update({name: value for name, value in found.items() if name == name.lower()})
    if "Parameters" in found:
        names["parameters"] = found["Parameters"]
    return names


def _with_module_names(parameters: StrategyParameters, names: Mapping[str, Any]) -> StrategyParameters:
    given = {
        parameter: names[name]
        for parameter, name in FILLED_BY_MODULE.items()
        if parameter not in parameters and names.get(name) is not None
    }
    return parameters.replace(**given) if given else parameters


def _universe_arguments(
    function: Callable[..., Any],
    input: CreateTradingUniverseInput,  # noqa: A002 - vocabulary
    name: str,
) -> dict[str, Any]:
    """Return the arguments of create_trading_universe, whose two forms are told apart by their names."""
    accepted = inspect.signature(function).parameters
    if "input" in accepted:
        return {"input": input}
    values = {
        "timestamp": input.timestamp,
        "ts": input.timestamp,
        "client": input.client,
        "execution_context": input.execution_context,
        "universe_options": input.universe_options,
        "candle_time_frame_override": input.universe_options.candle_time_bucket_override,
    }
    gathers = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = {n for n, p in accepted.items() if p.default is p.empty and p.kind not in gathers}
    if not values.keys() & accepted.keys() or not values.keys() >= needed:
        raise StrategyModuleNotValid(
            f"create_trading_universe({', '.join(accepted)}) of {name} has other arguments than {UNIVERSE_FORMS}: "
            "name them so"
        )
    return {n: values[n] for n in accepted if n in values}


def _checked_version(version: Any, where: str) -> str:
    if version in SUPPORTED_VERSIONS or version in OLDER_VERSIONS:
        return str(version)
    if version is None:
        raise StrategyModuleNotValid(
            f'Strategy {where} does not say its engine version: add trading_strategy_engine_version = "0.5"'
        )
    raise StrategyModuleNotValid(
        f"Strategy {where} asks for engine {version!r}: use one of {', '.join(SUPPORTED_VERSIONS)}"
    )
