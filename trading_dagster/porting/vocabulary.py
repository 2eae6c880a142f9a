"""What a name of trade-executor or trading-strategy is here: where to import it from, or why it is missing."""

from __future__ import annotations

import functools
import importlib
import inspect
from dataclasses import dataclass
from typing import Any

import trading_dagster
from trading_dagster.porting.vocabulary_table import (
    HOMES,
    LENDING_WORDS,
    METHOD_REASONS,
    METHODS,
    MODULE_REASONS,
    NO_LENDING,
    OTHER_NAMES,
    REASONS,
)

PACKAGES = ("tradeexecutor", "tradingstrategy")

_HERE = "trading_dagster"
_NOT_IMPORTED = frozenset(("__version__", "inclusion", "standard_chart", "synthetic", "technical"))

_OWN_CLASSES = {"Visualisation": "trading_dagster.domain.visualisation"}


@dataclass(frozen=True, slots=True)
class Home:
    """Where a name is found here."""

    module: str
    name: str


@functools.cache
def find_home(name: str) -> Home | None:
    """Return where a name of the other vocabulary is found here; None when it is missing."""
    if name in trading_dagster.__all__ and name not in _NOT_IMPORTED:
        return Home(_HERE, name)
    if name in OTHER_NAMES:
        module, own = OTHER_NAMES[name]
        return Home(f"{_HERE}.{module}", own)
    for module, names in HOMES.items():
        if name in names:
            return Home(f"{_HERE}.{module}", name)
    error = getattr(importlib.import_module(f"{_HERE}.domain.error"), name, None)
    return Home(_HERE, name) if isinstance(error, type) and issubclass(error, Exception) else None


def explain_missing(name: str, module: str = "") -> str:
    """Return why a name that is imported from a module is missing."""
    if name in REASONS:
        return REASONS[name]
    known = (reason for part, reason in MODULE_REASONS.items() if part in module)
    return next(known, f"{name} has no counterpart here: remove what uses it")


def explain_missing_method(name: str) -> str:
    """Return why a method is missing."""
    known = METHOD_REASONS.get(name)
    if known is None and any(word in name for word in LENDING_WORDS):
        known = NO_LENDING
    return known or "not there yet"


@functools.cache
def load_object(name: str) -> Any:
    """Return the class or function that a name stands for, None when it is missing."""
    home = find_home(name)
    module = home.module if home is not None else _OWN_CLASSES.get(name)
    return None if module is None else getattr(importlib.import_module(module), home.name if home else name)


@functools.cache
def owners_of(method: str) -> tuple[Any, ...]:
    """Return the classes of `METHODS` that have a method here."""
    classes = (load_object(owner) for owner, names in METHODS.items() if method in names)
    return tuple(cls for cls in classes if cls is not None and hasattr(cls, method))


@functools.cache
def missing_methods() -> frozenset[str]:
    """Return the methods that strategies call and no class has here."""
    return frozenset(name for names in METHODS.values() for name in names if not owners_of(name))


@functools.cache
def signature_of(target: Any) -> inspect.Signature | None:
    """Return the signature of a function or class, None when it takes anything or has none to show."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return None
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    return None if inspect.Parameter.VAR_KEYWORD in kinds else signature
