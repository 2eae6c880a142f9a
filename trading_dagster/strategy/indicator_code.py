"""What compiled code refers to, and what stands for the code of a module."""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# fmt: off
LIBRARIES = frozenset((
    "joblib", "networkx", "numba", "numexpr", "numpy", "pandas", "patsy", "polars", "pyarrow", "pytz", "scipy",
    "sklearn", "statsmodels", "talib", "tqdm",
))
"""Packages of which the version stands for the code; others are followed into their functions."""

IMPURE_BUILTINS = frozenset((
    "__import__", "compile", "eval", "exec", "globals", "input", "locals", "open", "vars",
))
IMPURE_MODULES = frozenset((
    "aiohttp", "asyncio", "ccxt", "duckdb", "ftplib", "glob", "http", "httpx", "io", "os", "pathlib", "random",
    "requests", "secrets", "shutil", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time",
    "urllib", "urllib3", "uuid", "web3",
))
IMPURE_ATTRIBUTES = frozenset((
    "fromfile", "genfromtxt", "loadtxt", "memmap", "now", "random", "read_bytes", "read_clipboard", "read_csv",
    "read_excel", "read_feather", "read_fwf", "read_hdf", "read_html", "read_json", "read_orc", "read_parquet",
    "read_pickle", "read_sql", "read_sql_query", "read_sql_table", "read_table", "read_text", "read_xml", "today",
    "urlopen", "utcnow",
))
# fmt: on


class Unfingerprintable(Exception):
    """A value whose influence on a result cannot be hashed; the message says which."""


@functools.cache
def library_versions() -> str:
    """Return the versions of Python and of the libraries every indicator may rest on."""
    names = ("numpy", "pandas", "TA-Lib")
    return " ".join((sys.version, platform.machine(), *(f"{name} {_distribution_version(name)}" for name in names)))


@dataclass(frozen=True, slots=True)
class CodeUse:
    """What compiled code does with names outside of itself.

    Attributes:
        globals: The names it reads from its module, in order of first use.
        imports: The modules it imports when it runs: level (0 is absolute) and name.
        changes_globals: Whether it assigns to a global name.
    """

    globals: tuple[str, ...]
    imports: tuple[tuple[int, str], ...]
    changes_globals: bool


@functools.lru_cache(maxsize=4_096)
def use_of(code: types.CodeType) -> CodeUse:
    """Return what code uses; kept, because disassembling is most of what a fingerprint costs."""
    names: dict[str, None] = {}
    imports: list[tuple[int, str]] = []
    constants: list[Any] = []
    changes_globals = False
    for instruction in dis.get_instructions(code):
        match instruction.opname:
            case "LOAD_GLOBAL" | "LOAD_NAME":
                names[instruction.argval] = None
            case "LOAD_CONST" | "LOAD_SMALL_INT":
                constants.append(instruction.argval)
            case "IMPORT_NAME":
                level = constants[-2] if len(constants) > 1 and isinstance(constants[-2], int) else 0
                imports.append((level, str(instruction.argval)))
            case "STORE_GLOBAL":
                changes_globals = True
    return CodeUse(tuple(names), tuple(imports), changes_globals)


def imported_modules(code: types.CodeType, scope: Mapping[str, Any]) -> Iterator[str]:
    """Yield the full names of the modules that code imports when it runs."""
    for level, name in use_of(code).imports:
        if level:
            yield importlib.util.resolve_name("." * level + name, scope.get("__package__") or "")
        else:
            yield name
            yield name.partition(".")[0]


def is_library(module: str) -> bool:
    """Tell whether a version stands for the code of a module."""
    top = module.partition(".")[0]
    return top in LIBRARIES or top == "builtins" or (top in sys.stdlib_module_names and top != "__main__")


def refuse_impure(module: str) -> None:
    """Raise Unfingerprintable for a module whose results depend on more than arguments."""
    if module.partition(".")[0] in IMPURE_MODULES or module.startswith("numpy.random"):
        raise Unfingerprintable(f"module {module} reads what no key can cover: files, clocks, networks or chance")


@functools.cache
def version_of(module: str) -> str:
    """Return what stands for a module's code: its version, else a hash of its file.

    Raises:
        Unfingerprintable: It has neither, or its file cannot be read, as within an archive.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return ""  # the version of Python is in every key
    loaded = sys.modules.get(top)
    version = getattr(loaded, "__version__", None) or _distribution_version(top)
    if version:
        return str(version)
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file:
        raise Unfingerprintable(f"module {module} has neither version nor file")
    try:
        return hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise Unfingerprintable(f"the file of module {module}, {file}, cannot be read") from error


def _distribution_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
