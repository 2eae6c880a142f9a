"""Reads from a syntax tree which names a strategy imports and defines."""

from __future__ import annotations

import importlib

import libcst as cst
from libcst.helpers import get_full_name_for_node

from trading_dagster.porting.finding import Facts
from trading_dagster.porting.vocabulary import PACKAGES, load_object
from trading_dagster.porting.vocabulary_table import IDENTIFIERS

OWN_PACKAGE = "trading_dagster"
TECHNICAL_PACKAGE = "pandas_ta"
TECHNICAL_MODULE = "trading_dagster.strategy.technical"


def root_of(node: cst.Import | cst.ImportFrom | cst.ImportAlias) -> str:
    """Return the first word of what is imported, "" for a relative import."""
    if isinstance(node, cst.ImportFrom):
        name = None if node.relative else get_full_name_for_node(node.module) if node.module else None
    elif isinstance(node, cst.ImportAlias):
        name = get_full_name_for_node(node.name)
    else:
        name = None
    return (name or "").split(".")[0]


def local_name(alias: cst.ImportAlias) -> str:
    """Return the name under which a file uses what it imports."""
    if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
        return alias.asname.name.value
    return get_full_name_for_node(alias.name) or ""


class FactCollector(cst.CSTVisitor):
    """Adds what a tree says to facts."""

    def __init__(self, facts: Facts) -> None:
        """Add to the facts given."""
        super().__init__()
        self.facts = facts

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:  # noqa: N802 - libcst's name
        """Note what the file defines."""
        self.facts.defined.add(node.name.value)

    def visit_ClassDef(self, node: cst.ClassDef) -> None:  # noqa: N802 - libcst's name
        """Note what the file defines."""
        self.facts.defined.add(node.name.value)

    def visit_Import(self, node: cst.Import) -> None:  # noqa: N802 - libcst's name
        """Note under which name the file has its indicators."""
        for alias in node.names:
            self.facts.is_strategy |= root_of(alias) in (*PACKAGES, OWN_PACKAGE)
            if root_of(alias) == TECHNICAL_PACKAGE:
                self.facts.technical.add(local_name(alias))
                self.facts.uses_technical = True

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:  # noqa: N802 - libcst's name
        """Note what local names stand for."""
        root = root_of(node)
        module = get_full_name_for_node(node.module) if node.module else None
        if root == TECHNICAL_PACKAGE or module == TECHNICAL_MODULE:
            self.facts.uses_technical = True
        if root not in (*PACKAGES, OWN_PACKAGE):
            return
        self.facts.is_strategy = True
        if isinstance(node.names, cst.ImportStar):
            return
        for alias in node.names:
            name = str(alias.name.value)
            is_own = root == OWN_PACKAGE
            found = _own_object(str(module), name) if is_own else load_object(IDENTIFIERS.get(name, name))
            if name == "technical" and is_own:
                self.facts.technical.add(local_name(alias))
                self.facts.uses_technical = True
            elif found is not None:
                self.facts.imported[local_name(alias)] = found
                self.facts.imported[IDENTIFIERS.get(local_name(alias), local_name(alias))] = found


def _own_object(module: str, name: str) -> object:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
