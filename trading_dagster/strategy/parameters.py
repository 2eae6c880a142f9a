"""Strategy parameters: a plain class in the strategy file, read by attribute or item."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from trading_dagster.domain.error import ParameterMissing, ParameterTypeInvalid
from trading_dagster.domain.fund_fee import FundFees
from trading_dagster.domain.time import CycleDuration, TimeBucket, require_naive_utc
from trading_dagster.domain.trigger import TriggerModel
from trading_dagster.pricing.cost_model import collect_costs
from trading_dagster.strategy.dimension import Categorical, Integer, Real

_NO_VALUES = (property, staticmethod, classmethod)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

REQUIRED_FOR_BACKTEST = ("cycle_duration", "routing", "initial_cash", "backtest_start", "backtest_end")


class StrategyParameters(Mapping[str, Any]):
    """Named values of a strategy, by attribute or item; read-only.

    >>> StrategyParameters({"fast": 10}).fast
    10
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Take the values and check the types of those the engine reads."""
        checked = {name: _checked(name, value) for name, value in values.items()}
        object.__setattr__(self, "_values", checked)
        # Decisions read parameters at every cycle: as plain attributes they cost nothing; methods keep their names.
        self.__dict__.update({name: value for name, value in checked.items() if not hasattr(type(self), name)})

    _values: dict[str, Any]

    @classmethod
    def from_class(cls, parameters: type, **overrides: Any) -> StrategyParameters:
        """Copy the non-callable, non-dunder attributes of a class, inherited ones included."""
        values: dict[str, Any] = {}
        for owner in reversed(parameters.__mro__[:-1]):
            for name, value in vars(owner).items():
                is_function = callable(value) and not isinstance(value, type)
                if not name.startswith("__") and not is_function and not isinstance(value, _NO_VALUES):
                    values[name] = value
        return cls({**values, **overrides})

    def replace(self, **changes: Any) -> StrategyParameters:
        """Return a copy with some values changed or added."""
        return StrategyParameters({**self._values, **changes})

    def describe(self) -> dict[str, str]:
        """Return each value as text that is the same in every process; raises ParameterTypeInvalid where it is not."""
        described = {name: repr(value) for name, value in sorted(self._values.items())}
        for name, text in described.items():
            if _ADDRESS.search(text):
                raise ParameterTypeInvalid(
                    f"Parameters.{name} is {text}, which is another text in every process, so that results could not "
                    "be told apart: use plain values, or give its class a __repr__"
                )
        return described

    def __getattr__(self, name: str) -> Any:
        """Return a parameter; raises ParameterMissing with the names there are."""
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise self._missing(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse: parameters do not change during a run."""
        raise ParameterTypeInvalid(f"Parameters are read-only: use parameters.replace({name}={value!r})")

    def __getitem__(self, name: str) -> Any:
        """Return a parameter; raises ParameterMissing, which is a KeyError too."""
        try:
            return self._values[name]
        except KeyError:
            raise self._missing(name) from None

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a parameter of a name."""
        return name in self._values

    def get(self, name: str, default: Any = None) -> Any:
        """Return a parameter, or the default when there is none."""
        return self._values.get(name, default)

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return how many parameters there are."""
        return len(self._values)

    def __repr__(self) -> str:
        """Return names and values."""
        return f"StrategyParameters({self._values!r})"

    def __reduce__(self) -> tuple[type[StrategyParameters], tuple[dict[str, Any]]]:
        """Support pickling into worker processes."""
        return (StrategyParameters, (self._values,))

    def _missing(self, name: str) -> ParameterMissing:
        close = difflib.get_close_matches(name, self._values, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return ParameterMissing(f"Parameters has no {name!r}.{hint} It has: {', '.join(sorted(self._values))}")


def require_for_backtest(parameters: StrategyParameters) -> None:
    """Raise ParameterMissing naming every parameter a backtest needs and does not find.

    Raises:
        ParameterTypeInvalid: A parameter is a range or choice, which only an optimiser can choose from.
    """
    for name, value in parameters.items():
        if isinstance(value, Real | Integer | Categorical):
            raise ParameterTypeInvalid(
                f"Parameters.{name} is {value!r}: a backtest needs one value; an optimiser searches this range"
            )
    missing = [name for name in REQUIRED_FOR_BACKTEST if parameters.get(name) is None]
    if missing:
        raise ParameterMissing(f"Parameters lacks {', '.join(missing)}: a backtest needs {REQUIRED_FOR_BACKTEST}")


DEFAULT_MAX_PRICE_IMPACT = 0.1


def max_price_impact(parameters: StrategyParameters) -> float:
    """Return what a trade's own size may cost at most, a fraction: ``max_price_impact``, also ``maximum_...``."""
    given = parameters.get("max_price_impact")
    if given is None:
        given = parameters.get("maximum_price_impact")
    return DEFAULT_MAX_PRICE_IMPACT if given is None else float(given)


def _checked(name: str, value: Any) -> Any:
    if isinstance(value, Real | Integer | Categorical):  # the optimiser checks each value that it tries
        return value
    if name == "costs":
        return _checked_costs(value)
    if name == "fund_fees" and isinstance(value, bool):
        return value
    if isinstance(value, list):  # a grid dimension: the grid search checks each value
        return value
    if name == "cycle_duration" and isinstance(value, TimeBucket):
        return CycleDuration.from_timebucket(value)
    expected: type | tuple[type, ...] | None = _ENGINE_TYPES.get(name)
    if expected is None or value is None:
        return value
    if name == "close_delisted" and isinstance(value, bool):
        return value
    if isinstance(value, bool) or not isinstance(value, expected):
        raise ParameterTypeInvalid(
            f"Parameters.{name} is {value!r} of type {type(value).__name__}: expected {_REMEDIES[name]}"
        )
    if isinstance(value, datetime):
        require_naive_utc(value, f"Parameters.{name} is")
    if name == "initial_cash" and isinstance(value, int | float) and not 0 < value < math.inf:
        raise ParameterTypeInvalid(f"Parameters.initial_cash is {value!r}: expected an amount above 0, in USD")
    return value


def _checked_costs(value: Any) -> Any:
    if isinstance(value, list) and any(isinstance(item, list | tuple) for item in value):  # a grid of costs
        return [collect_costs(item) for item in value]
    return collect_costs(value)


_ENGINE_TYPES: dict[str, type | tuple[type, ...]] = {
    "cycle_duration": CycleDuration,
    "candle_time_bucket": TimeBucket,
    "stop_loss_time_bucket": TimeBucket,
    "initial_cash": (int, float),
    "backtest_start": datetime,
    "backtest_end": datetime,
    "required_history_period": timedelta,
    "slippage_tolerance": (int, float),
    "max_price_impact": (int, float),
    "trigger_model": TriggerModel,
    "maximum_price_impact": (int, float),
    "close_delisted": bool,
    "fund_fees": FundFees,
}

_REMEDIES = {
    "cycle_duration": "a CycleDuration such as CycleDuration.cycle_1h",
    "candle_time_bucket": "a TimeBucket such as TimeBucket.h1",
    "stop_loss_time_bucket": "a TimeBucket such as TimeBucket.m15",
    "initial_cash": "a number of USD such as 10_000",
    "backtest_start": "a naive datetime (UTC) such as datetime(2021, 1, 1)",
    "backtest_end": "a naive datetime (UTC) such as datetime(2022, 1, 1)",
    "required_history_period": "a timedelta such as timedelta(days=30)",
    "slippage_tolerance": "a fraction such as 0.02",
    "max_price_impact": "a fraction such as 0.05",
    "trigger_model": "TriggerModel.sampled or TriggerModel.intrabar",
    "close_delisted": "True or False",
    "fund_fees": "FundFees(management=0.02, performance=0.2), or True for the fees that the module names",
    "maximum_price_impact": "a fraction such as 0.05",
}
