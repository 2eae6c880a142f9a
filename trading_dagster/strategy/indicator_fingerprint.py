"""A hash of a function and of everything its result can depend on besides its arguments.

The compiled code is hashed, not the source text: it is what runs, it exists for functions typed into a prompt, and an
edited file cannot be mistaken for what was loaded before the edit. Followed from there: helper functions, classes,
closures, defaults, values of module constants and imports made inside functions. Of the numeric libraries and the
standard library the version counts.

What cannot be hashed raises Unfingerprintable; so does code that reads files, clocks, networks or random numbers,
because its result depends on more than it shows. The caller then calculates anew instead of trusting a cache.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import importlib
import io
import logging
import pickle
import types
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

from trading_dagster.strategy.indicator_code import (
    IMPURE_ATTRIBUTES,
    IMPURE_BUILTINS,
    Unfingerprintable,
    imported_modules,
    is_library,
    refuse_impure,
    use_of,
    version_of,
)

# fmt: off
_CLASS_NOISE = frozenset((
    "__abstractmethods__", "__annotations__", "__annotations_cache__", "__callable_proto_members_only__",
    "__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__", "__firstlineno__", "__module__",
    "__non_callable_proto_members__", "__orig_bases__", "__parameters__", "__protocol_attrs__", "__slotnames__",
    "__static_attributes__", "__weakref__", "_abc_impl", "_is_protocol", "_is_runtime_protocol",
))
# fmt: on

_PLAIN = (bool, int, str, bytes, type(None), type(...), type(NotImplemented), Decimal, range, slice)
_TIMES = (dt.datetime, dt.date, dt.time, dt.timedelta, dt.timezone)
_NATIVE = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, np.ufunc)


def fingerprint(*values: object, is_strict: bool = True) -> str:
    """Return a hash of values, functions and all they refer to.

    Args:
        values: What to hash.
        is_strict: False for trusted code: what is impure or cannot be hashed is passed over.

    Raises:
        Unfingerprintable: In strict mode, something cannot be hashed.
    """
    writer = _Writer(is_strict)
    for value in values:
        writer.write(value)
    return writer.hexdigest()


class _Writer:
    """Feeds values to a hash; something met again is written as a reference, so cycles end."""

    def __init__(self, is_strict: bool = True) -> None:
        self._is_strict = is_strict
        self._modules: set[tuple[int, tuple[str, ...]]] = set()
        self._digest = hashlib.blake2b(digest_size=16)
        self._met: dict[int, tuple[int, object]] = {}

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def _put(self, tag: str, data: bytes | str = b"") -> None:
        raw = data.encode() if isinstance(data, str) else data
        self._digest.update(f"{tag} {len(raw)}\n".encode())
        self._digest.update(raw)

    def write(self, value: object) -> None:
        """Write any value; raises Unfingerprintable."""
        if self._write_plain(value):
            return
        known = self._met.get(id(value))
        if known is not None:
            self._put("ref", str(known[0]))
            return
        self._met[id(value)] = (len(self._met), value)  # holding the value keeps its id from being used again
        if self._write_container(value) or self._write_callable(value):
            return
        self._write_instance(value)

    def _write_plain(self, value: object) -> bool:
        if isinstance(value, Enum):
            self._put("enum", f"{value.name}={value.value!r}")
            self.write(type(value))
        elif type(value) in _PLAIN or (isinstance(value, _TIMES) and not isinstance(value, pd.Timestamp)):
            self._put(type(value).__name__, repr(value))
        elif type(value) is float:
            self._put("float", value.hex())
        elif isinstance(value, np.generic):
            self._put(f"numpy {value.dtype.str}", value.tobytes())
        elif isinstance(value, pd.Timestamp | pd.Timedelta | complex | np.dtype):
            self._put(type(value).__name__, repr(value))
        else:
            return False
        return True

    def _write_container(self, value: object) -> bool:
        if type(value) in (list, tuple):
            self._write_all(type(value).__name__, value)  # type: ignore[arg-type]
        elif type(value) in (dict, types.MappingProxyType):
            self._write_all("dict", (part for item in value.items() for part in item))  # type: ignore[attr-defined]
        elif type(value) in (set, frozenset):
            members = (fingerprint(member, is_strict=self._is_strict) for member in value)  # type: ignore[attr-defined]
            self._write_all("set", sorted(members))
        elif isinstance(value, np.ndarray):
            self._put(f"array {value.dtype.str} {value.shape}")
            if value.dtype.hasobject:
                self.write(value.tolist())
            else:
                self._put("bytes", np.ascontiguousarray(value).tobytes())
        elif isinstance(value, pd.DataFrame):
            self._write_all("frame", (value.columns, value.index, *(value.iloc[:, i] for i in range(value.shape[1]))))
        elif isinstance(value, pd.Series):
            self._write_all("series", (str(value.dtype), value.name, value.index, value.to_numpy()))
        elif isinstance(value, pd.Index):
            self._write_all("index", (str(value.dtype), list(value.names), value.to_numpy()))
        else:
            return False
        return True

    def _write_all(self, tag: str, values: Iterable[object]) -> None:
        self._put(tag)
        for value in values:
            self.write(value)
        self._put("end")

    def _write_callable(self, value: Any) -> bool:
        if isinstance(value, types.FunctionType):
            self._write_function(value)
        elif isinstance(value, types.CodeType):
            self._write_code(value, {})
        elif isinstance(value, types.MethodType):
            self._write_all("method", (value.__func__, value.__self__))
        elif isinstance(value, functools.partial):
            self._write_all("partial", (value.func, value.args, value.keywords))
        elif isinstance(value, staticmethod | classmethod | property | functools.cached_property):
            self._write_all(type(value).__name__, _parts_of(value))
        elif isinstance(value, type):
            self._write_class(value)
        elif isinstance(value, types.ModuleType):
            self._write_module(value, ())
        elif isinstance(getattr(value, "py_func", None), types.FunctionType):  # compiled by numba
            self._write_all("compiled", (value.py_func, str(type(value)), self._version(type(value).__module__)))
        elif isinstance(getattr(value, "__wrapped__", None), types.FunctionType):  # functools.cache and the like
            self._write_all("wrapper", (value.__wrapped__, str(type(value))))
        elif isinstance(value, _NATIVE) or _is_native_function(value):
            self._write_native(value)
        else:
            return False
        return True

    def _write_native(self, value: Any) -> None:
        owner = getattr(value, "__self__", None)
        name = getattr(value, "__qualname__", getattr(value, "__name__", repr(value)))
        module = getattr(value, "__module__", None) or (type(owner).__module__ if owner is not None else "builtins")
        if (module == "builtins" and name in IMPURE_BUILTINS) or module == "_io":
            self._refuse(f"{module}.{name} reads what no key can cover")
        if self._is_strict:
            refuse_impure(module)
        if owner is not None and not isinstance(owner, types.ModuleType | type):
            self.write(owner)
        if isinstance(value, np.ufunc) and getattr(np, value.__name__, None) is not value:
            self._refuse(f"{value!r} may hide a Python function")
        self._put("native", f"{module}.{name} {self._version(module)}")

    def _write_function(self, function: types.FunctionType) -> None:
        module = function.__module__ or ""
        if is_library(module):
            if self._is_strict:
                refuse_impure(module)
            self._put("library function", f"{module}.{function.__qualname__} {self._version(module)}")
            self._write_all("closure", (cell.cell_contents for cell in function.__closure__ or ()))
            return
        self._put("function")
        self.write(function.__defaults__)
        self.write(function.__kwdefaults__)
        self.write({name: value for name, value in vars(function).items() if name != "__wrapped__"})
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._put("closure", name)
            try:
                content = cell.cell_contents
            except ValueError:
                self._put("empty cell")
            else:
                self._write_used(content, function.__code__)
        self._write_code(function.__code__, function.__globals__)

    def _write_code(self, code: types.CodeType, scope: Mapping[str, Any]) -> None:
        impure = IMPURE_ATTRIBUTES.intersection(code.co_names)
        if impure:
            self._refuse(f"{code.co_qualname} uses {', '.join(sorted(impure))}: not a function of its input")
        if use_of(code).changes_globals:
            self._refuse(f"{code.co_qualname} changes a global variable")
        self._put("code", code.co_code)
        self._put("exceptions", code.co_exceptiontable)
        self.write((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags))
        self.write((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._write_code(constant, scope)
            else:
                self.write(constant)
        for name in use_of(code).globals:
            self._put("global", name)
            if name in scope:
                self._write_used(scope[name], code)
            elif name in IMPURE_BUILTINS:
                self._refuse(f"{code.co_qualname} calls {name}()")
        for name in imported_modules(code, scope):
            if self._is_strict:
                refuse_impure(name)
            try:
                self._write_module(importlib.import_module(name), code.co_names)
            except ImportError:
                self._refuse(f"{code.co_qualname} imports {name}, which is not installed")

    def _write_used(self, value: object, code: types.CodeType) -> None:
        """Write a value that code refers to; of a module what the code takes from it."""
        if isinstance(value, types.ModuleType):
            self._write_module(value, code.co_names)
        else:
            self.write(value)

    def _write_module(self, module: types.ModuleType, names: tuple[str, ...]) -> None:
        name = module.__name__
        if self._is_strict:
            refuse_impure(name)
        self._put("module", name)
        if is_library(name):
            self._put("version", self._version(name))
            return
        if (id(module), names) in self._modules:
            return
        self._modules.add((id(module), names))
        for attribute in names:
            if hasattr(module, attribute):
                self._put("attribute", attribute)
                value = getattr(module, attribute)
                if isinstance(value, types.ModuleType):
                    self._write_module(value, names)
                else:
                    self.write(value)

    def _write_class(self, kind: type) -> None:
        module = kind.__module__
        if is_library(module):
            if self._is_strict:
                refuse_impure(module)
            self._put("library class", f"{module}.{kind.__qualname__} {self._version(module)}")
            return
        self._put("class", f"{module}.{kind.__qualname__}")
        self._write_all("bases", kind.__bases__)
        for name, member in sorted(vars(kind).items()):
            if name in _CLASS_NOISE or isinstance(member, types.GetSetDescriptorType | types.MemberDescriptorType):
                continue
            self._put("member", name)
            self.write(member)

    def _write_instance(self, value: Any) -> None:
        kind = type(value)
        if isinstance(value, logging.Logger):
            self._put("logger")
            return
        if kind.__module__ == "typing" or isinstance(value, types.GenericAlias | types.UnionType):
            self._put("typing", repr(value))
            return
        if self._is_strict:
            refuse_impure(kind.__module__)
        self.write(kind)
        raw = io.BytesIO()
        try:
            _StatePickler(raw, self).dump(value)
        except Unfingerprintable:
            raise
        except Exception as error:  # pickling runs code of any class
            if self._is_strict:
                raise Unfingerprintable(f"{kind.__module__}.{kind.__qualname__} cannot be hashed") from error
        else:
            self._put("state", raw.getvalue())

    def _version(self, module: str) -> str:
        """Return what stands for the code of a module; nothing where nothing does and the code is trusted."""
        try:
            return version_of(module)
        except Unfingerprintable as error:
            self._refuse(str(error))
            return ""

    def _refuse(self, reason: str) -> None:
        if self._is_strict:
            raise Unfingerprintable(reason)


class _StatePickler(pickle.Pickler):
    """Pickles the state of an object, and hands functions and classes in it to the writer."""

    def __init__(self, file: io.BytesIO, writer: _Writer) -> None:
        super().__init__(file, protocol=5)
        self._writer = writer

    def persistent_id(self, value: object) -> str | None:
        """Write what pickle would only name."""
        if isinstance(value, types.FunctionType | type | types.ModuleType | types.CodeType | np.ufunc):
            self._writer.write(value)
            return "written"
        return None


def _parts_of(value: Any) -> tuple[object, ...]:
    if isinstance(value, property):
        return value.fget, value.fset, value.fdel
    return (value.func if isinstance(value, functools.cached_property) else value.__func__,)


def _is_native_function(value: object) -> bool:
    kind = type(value)
    return callable(value) and kind.__name__ in (
        "cython_function_or_method",
        "fused_cython_function",
        "_ArrayFunctionDispatcher",
    )
