"""Says of a call whether the function here takes its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import libcst as cst

from trading_dagster.porting.vocabulary import owners_of, signature_of
from trading_dagster.porting.vocabulary_table import KEYWORD_REASONS, METHODS

_CHECKED_CLASSES = (
    "PositionManager",
    "AlphaModel",
    "TradingStrategyUniverse",
    "StrategyInputIndicators",
    "Visualisation",
)
_GENERIC = frozenset(("log", "to_dict", "get_price"))
CHECKED_METHODS = frozenset(name for owner in _CHECKED_CLASSES for name in METHODS[owner]) - _GENERIC
"""Methods whose names are used for nothing else, so that a call of one can be judged by its name."""


def check_function(name: str, target: Any, arguments: Sequence[cst.Arg]) -> tuple[str, str] | None:
    """Return what a call of a function or class gives wrongly and why, None when it fits."""
    signature = signature_of(target) if callable(target) and not _is_enum(target) else None
    return None if signature is None else _compare(name, list(signature.parameters.values()), arguments, is_whole=True)


def check_method(name: str, arguments: Sequence[cst.Arg]) -> tuple[str, str] | None:
    """Return what a call of a method gives wrongly and why, None when it fits a class that has the method."""
    if name not in CHECKED_METHODS:
        return None
    problem = None
    for owner in owners_of(name):
        method = getattr(owner, name)
        signature = signature_of(method)
        if signature is None:
            return None
        accepted = list(signature.parameters.values())
        if not inspect.ismethod(method):  # a class method is bound, another one still has self
            accepted = accepted[1:]
        problem = _compare(name, accepted, arguments, is_whole=False)
        if problem is None:
            return None
    return problem


def _is_enum(target: Any) -> bool:
    return isinstance(target, type) and hasattr(target, "__members__")


def _compare(
    name: str, accepted: Sequence[inspect.Parameter], arguments: Sequence[cst.Arg], *, is_whole: bool
) -> tuple[str, str] | None:
    if any(argument.star for argument in arguments) or any(p.kind is p.VAR_POSITIONAL for p in accepted):
        return None
    names = [parameter.name for parameter in accepted]
    keywords = [argument.keyword.value for argument in arguments if argument.keyword is not None]
    for keyword in keywords:
        if keyword not in names:
            return f"{name}({keyword}=)", KEYWORD_REASONS.get(keyword, f"it takes {', '.join(names) or 'nothing'}")
    given = len(arguments) - len(keywords)
    places = [parameter.name for parameter in accepted if parameter.kind is not parameter.KEYWORD_ONLY]
    if given > len(places):
        return f"{name}() with {given} arguments", f"it takes {', '.join(names)}"
    bound = {*places[:given], *keywords}
    missing = [p.name for p in accepted if p.default is p.empty and p.name not in bound]
    if is_whole and missing:
        return f"{name}()", f"it needs {', '.join(missing)} too"
    return None
