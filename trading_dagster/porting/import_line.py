"""Rewrites one import statement: each name goes to the module that has it here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import libcst as cst
from libcst.helpers import get_full_name_for_node

from trading_dagster.porting.fact import TECHNICAL_MODULE, TECHNICAL_PACKAGE, root_of
from trading_dagster.porting.vocabulary import PACKAGES, explain_missing, find_home
from trading_dagster.strategy import technical

Report = Callable[[str, str], None]

SEARCH_PACKAGE = "skopt"
SEARCH_NAMES: dict[str, tuple[str | None, str]] = {
    **{name: ("trading_dagster", name) for name in ("Categorical", "Integer", "Real")},
    "space": ("trading_dagster.strategy", "dimension"),
}
"""What strategies import from the package that proposed points there: module and name here."""

NO_INDICATOR = "trading_dagster.technical does not have it: write it with talib or pandas"


def rewrite_import_from(node: cst.ImportFrom, report: Report) -> list[cst.ImportFrom]:
    """Return the statements that take the place of one; what is missing stays where it is, and is reported."""
    root = root_of(node)
    module = (get_full_name_for_node(node.module) if node.module else None) or ""
    if root not in (*PACKAGES, TECHNICAL_PACKAGE, SEARCH_PACKAGE):
        return [node]
    if isinstance(node.names, cst.ImportStar):
        report(f"from {module} import *", "name what is used, and port again")
        return [node]
    groups: dict[str, list[cst.ImportAlias]] = {}
    for alias in node.names:
        name = str(alias.name.value)
        home, own_name = _home_of(root, name)
        if home is None:
            report(f"{module}.{name}", NO_INDICATOR if root == TECHNICAL_PACKAGE else explain_missing(name, module))
            groups.setdefault(module, []).append(alias)
        else:
            groups.setdefault(home, []).append(_named(alias, own_name))
    last = node.names[-1]
    is_split = len(groups) > 1
    return [
        _with_aliases(node, target, aliases, keeps_end=not is_split or _ends_with(aliases, last))
        for target, aliases in groups.items()
    ]


def rewrite_import(node: cst.Import, report: Report) -> list[cst.BaseSmallStatement]:
    """Return the statements that take the place of an ``import``; the technical indicators have a counterpart."""
    kept: list[cst.ImportAlias] = []
    made: list[cst.BaseSmallStatement] = []
    for alias in node.names:
        name = get_full_name_for_node(alias.name) or ""
        if name == TECHNICAL_PACKAGE:
            asname = alias.asname or cst.AsName(cst.Name(TECHNICAL_PACKAGE))
            made.append(cst.ImportFrom(cst.Name("trading_dagster"), [cst.ImportAlias(cst.Name("technical"), asname)]))
            continue
        if root_of(alias) in PACKAGES:
            report(f"import {name}", "a module has no counterpart: import names with `from ... import`, port again")
        kept.append(alias)
    if not made:
        return [node]
    if not kept:
        return made
    kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return [node.with_changes(names=kept), *made]


def _home_of(root: str, name: str) -> tuple[str | None, str]:
    if root == TECHNICAL_PACKAGE:
        return (TECHNICAL_MODULE if hasattr(technical, name) else None), name
    if root == SEARCH_PACKAGE:
        return SEARCH_NAMES.get(name, (None, name))
    home = find_home(name)
    return (None, name) if home is None else (home.module, home.name)


def _named(alias: cst.ImportAlias, own_name: str) -> cst.ImportAlias:
    """Return an alias for the name here, under which the file keeps its own."""
    name = str(alias.name.value)
    if own_name == name:
        return alias
    return alias.with_changes(name=cst.Name(own_name), asname=alias.asname or cst.AsName(cst.Name(name)))


def _ends_with(aliases: Sequence[cst.ImportAlias], last: cst.ImportAlias) -> bool:
    return aliases[-1].comma is last.comma


def _with_aliases(
    node: cst.ImportFrom, module: str, aliases: Sequence[cst.ImportAlias], *, keeps_end: bool
) -> cst.ImportFrom:
    end, rpar = aliases[-1], node.rpar
    if not keeps_end or rpar is None:
        comma = end.comma
        space = comma.whitespace_after if isinstance(comma, cst.Comma) else None
        if rpar is not None and isinstance(comma, cst.Comma) and isinstance(space, cst.ParenthesizedWhitespace):
            ended = space.with_changes(last_line=cst.SimpleWhitespace(""))
            end = end.with_changes(comma=comma.with_changes(whitespace_after=ended))
        else:
            end = end.with_changes(comma=cst.MaybeSentinel.DEFAULT)
        if rpar is not None and not keeps_end:
            rpar = rpar.with_changes(whitespace_before=cst.SimpleWhitespace(""))
    expression = cst.parse_expression(module)
    assert isinstance(expression, cst.Name | cst.Attribute)
    return node.with_changes(module=expression, names=[*aliases[:-1], end], rpar=rpar)
