"""The names the package promises exist, and type checkers see the same ones."""

import ast
import importlib
from pathlib import Path

import pytest

import trading_dagster as td
from trading_dagster.domain.error import TradingDagsterError

STUB = Path(td.__file__).with_suffix(".pyi")


def stub_imports() -> dict[str, tuple[str, str]]:
    tree = ast.parse(STUB.read_text())
    return {
        alias.asname: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
        if alias.asname
    }


@pytest.mark.parametrize("name", td.__all__)
def test_public_name_can_be_used(name):
    assert getattr(td, name) is not None


def test_stub_names_what_the_module_loads():
    stub = stub_imports()
    errors = {name for name, (module, _) in stub.items() if module == "trading_dagster.domain.error"}
    assert set(stub) - errors == set(td.__all__) - {"__version__"}
    for name, (module, original) in stub.items():
        try:
            expected = getattr(importlib.import_module(module), original)
        except AttributeError:
            expected = importlib.import_module(f"{module}.{original}")
        assert getattr(td, name) is expected, name


def test_every_error_is_reachable_and_typed():
    stub = stub_imports()

    def tree(error):
        yield error
        for child in error.__subclasses__():
            yield from tree(child)

    ours = {e for e in tree(TradingDagsterError) if e.__module__ == "trading_dagster.domain.error"}
    assert {e.__name__ for e in ours} <= set(stub)
    assert all(getattr(td, e.__name__) is e for e in ours)


def test_unknown_name_says_so():
    with pytest.raises(AttributeError, match="no attribute 'run_backtets'"):
        td.run_backtets  # noqa: B018
