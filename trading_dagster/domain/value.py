"""Frozen values that are cheap to make: a dataclass whose constructor fills its slots directly."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a frozen, slotted dataclass.

    What differs from ``dataclass(frozen=True, slots=True)`` is speed only: while its slots are filled a new value is of
    a twin class that is not frozen, so that a field costs a tenth of ``object.__setattr__``. A backtest makes half a
    dozen values a trade.
    """
    made: Any = dataclass(frozen=True, slots=True)(cls)
    scope: dict[str, Any] = {"_missing": MISSING, "_set": object.__setattr__, "_made": made, "_twin": _thaw(made)}
    arguments, defaults, stores = ["self"], [], []
    for field in fields(made):
        name = field.name
        if field.default is not MISSING:
            scope[f"_default_{name}"] = field.default
            arguments.append(f"{name}=_default_{name}")
        elif field.default_factory is not MISSING:
            scope[f"_make_{name}"] = field.default_factory
            arguments.append(f"{name}=_missing")
            defaults.append(f"if {name} is _missing: {name} = _make_{name}()")
        else:
            arguments.append(name)
        stores.append(f"self.{name} = {name}")
    body = [*defaults, "_set(self, '__class__', _twin)", *stores, "self.__class__ = _made"]
    code = f"def __init__({', '.join(arguments)}):\n " + "\n ".join(body)
    exec(code, scope)  # noqa: S102 - the text is made of the field names above, as dataclasses itself does
    constructor = scope["__init__"]
    constructor.__qualname__ = f"{cls.__qualname__}.__init__"
    constructor.__doc__ = made.__init__.__doc__
    made.__init__ = constructor
    return made  # type: ignore[no-any-return]


def _thaw(frozen: type) -> type:
    """Return a class whose instances are laid out like those of another, and whose attributes can be set."""
    body = {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    return type(frozen.__name__, (frozen,), body)
