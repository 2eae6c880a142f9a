"""Ports the text of a strategy module: imports, aliases and calls, its formatting and comments kept."""

from __future__ import annotations

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from trading_dagster.domain.error import StrategyModuleNotValid
from trading_dagster.porting.call_check import check_function, check_method
from trading_dagster.porting.call_rewrite import BINANCE, SINGLE_PAIR, add_client, pack_description
from trading_dagster.porting.fact import FactCollector
from trading_dagster.porting.finding import Facts, Finding, Ported
from trading_dagster.porting.import_line import NO_INDICATOR, rewrite_import, rewrite_import_from
from trading_dagster.porting.rename import ArgumentRename, AttributeRename, argument_names, uses_name
from trading_dagster.porting.vocabulary import explain_missing_method, missing_methods
from trading_dagster.porting.vocabulary_table import ATTRIBUTES, IDENTIFIERS
from trading_dagster.porting.word_check import check_column, check_member
from trading_dagster.strategy import technical


def port_module(text: str, where: str) -> Ported:
    """Port a module; what it says already stays as it is, so that porting twice changes nothing.

    Args:
        text: The module's source.
        where: Name of the file, for messages.

    Raises:
        StrategyModuleNotValid: The text does not parse.
    """
    facts = Facts()
    try:
        collect_facts(text, facts)
        return port_text(text, facts)
    except cst.ParserSyntaxError as error:
        raise StrategyModuleNotValid(f"{where}, line {error.raw_line}, does not parse: {error.message}") from error


def collect_facts(text: str, facts: Facts) -> None:
    """Add what a text says about names; raises libcst's ParserSyntaxError."""
    cst.parse_module(text).visit(FactCollector(facts))


def port_text(text: str, facts: Facts, cell: int = 0) -> Ported:
    """Port a module or a notebook's cell whose facts are known; raises libcst's ParserSyntaxError."""
    tree = cst.parse_module(text)
    rewritten = MetadataWrapper(tree).visit(_Rewriter(facts))
    # Findings are looked for in the result, so that their lines are those of the file a person goes on with.
    result = rewritten.code
    if result != text:
        collect_facts(result, facts)
    judge = _Rewriter(facts, cell)
    MetadataWrapper(cst.parse_module(result)).visit(judge)
    return Ported(result, tuple(sorted(set(judge.findings))))


class _Rewriter(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, facts: Facts, cell: int = 0) -> None:
        super().__init__()
        self._facts = facts
        self._cell = cell
        self._functions: list[cst.FunctionDef] = []
        self.findings: list[Finding] = []

    # -- statements -----------------------------------------------------------------------------------------------

    def leave_Import(  # noqa: N802 - libcst's name
        self, original_node: cst.Import, updated_node: cst.Import
    ) -> cst.Import | cst.FlattenSentinel[cst.BaseSmallStatement]:
        made = rewrite_import(updated_node, lambda what, why: self._report(original_node, what, why))
        return updated_node if made == [updated_node] else cst.FlattenSentinel(made)

    def leave_ImportFrom(  # noqa: N802 - libcst's name
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom | cst.FlattenSentinel[cst.BaseSmallStatement]:
        made = rewrite_import_from(updated_node, lambda what, why: self._report(original_node, what, why))
        return made[0] if len(made) == 1 else cst.FlattenSentinel(made)

    def leave_SimpleStatementLine(  # noqa: N802 - libcst's name
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine]:
        if len(original_node.body) > 1 or len(updated_node.body) == 1:
            return updated_node
        lines = [cst.SimpleStatementLine([part]) for part in updated_node.body]
        lines[0] = updated_node.with_changes(body=lines[0].body)
        return cst.FlattenSentinel(lines)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:  # noqa: N802 - libcst's name
        self._functions.append(node)

    def leave_FunctionDef(  # noqa: N802 - libcst's name
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        self._functions.pop()
        name, arguments = original_node.name.value, argument_names(original_node)
        changed: cst.CSTNode = updated_node
        if name == "create_trading_universe" and "ts" in arguments and not uses_name(original_node, "timestamp"):
            changed = updated_node.visit(ArgumentRename("ts", "timestamp"))  # type: ignore[assignment]
        elif name == "decide_trades" and len(arguments) == 1:
            changed = updated_node.visit(AttributeRename(arguments[0], "universe", "strategy_universe"))  # type: ignore[assignment]
        assert isinstance(changed, cst.FunctionDef)
        return changed

    # -- names ----------------------------------------------------------------------------------------------------

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:  # noqa: N802 - libcst's name
        new = IDENTIFIERS.get(original_node.value) if self._facts.is_strategy else None
        return updated_node if new is None else updated_node.with_changes(value=new)

    def leave_SimpleString(  # noqa: N802 - libcst's name
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.SimpleString:
        new = IDENTIFIERS.get(original_node.raw_value) if self._facts.is_strategy else None
        if new is None:
            self._note_column(original_node, str(original_node.raw_value))
            return updated_node
        return updated_node.with_changes(value=original_node.value.replace(original_node.raw_value, new))

    def visit_FormattedStringText(self, node: cst.FormattedStringText) -> None:  # noqa: N802 - libcst's name
        self._note_column(node, node.value)

    def leave_Attribute(  # noqa: N802 - libcst's name
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        name = updated_node.attr.value
        if not self._facts.is_strategy or name in self._facts.defined:
            return updated_node
        owner = original_node.value.value if isinstance(original_node.value, cst.Name) else None
        name = ATTRIBUTES.get(name, name)
        if owner in self._facts.technical and not hasattr(technical, name):
            self._report(original_node.attr, f"{owner}.{name}", NO_INDICATOR)
        elif name == "ta" and self._facts.uses_technical:
            self._report(
                original_node.attr, ".ta", "frames have no indicators here: call the function with its columns"
            )
        elif name in missing_methods():
            self._report(original_node.attr, f".{name}", explain_missing_method(name))
        elif owner in self._facts.imported and owner not in self._facts.defined:
            self._note(original_node.attr, check_member(str(owner), self._facts.imported[str(owner)], name))
        return updated_node if name == updated_node.attr.value else updated_node.with_changes(attr=cst.Name(name))

    # -- calls ----------------------------------------------------------------------------------------------------

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:  # noqa: N802 - libcst's name
        if not self._facts.is_strategy:
            return updated_node
        problem = None
        if isinstance(updated_node.func, cst.Name):
            name = updated_node.func.value
            client = self._client()
            if name == BINANCE and client is not None and name in self._facts.imported:
                updated_node = add_client(updated_node, client)
            if name in self._facts.imported and name not in self._facts.defined:
                problem = check_function(name, self._facts.imported[name], updated_node.args)
        elif isinstance(updated_node.func, cst.Attribute):
            name = updated_node.func.attr.value
            if name == SINGLE_PAIR:
                updated_node = pack_description(updated_node)
            if name not in self._facts.defined:
                problem = check_method(name, updated_node.args)
        self._note(original_node, problem)
        return updated_node

    def _client(self) -> str | None:
        """Return how the function that loads the universe names the client it was given."""
        for function in self._functions:
            if function.name.value == "create_trading_universe":
                arguments = argument_names(function)
                if "client" in arguments:
                    return "client"
                return f"{arguments[0]}.client" if len(arguments) == 1 else None
        return None

    def _note(self, node: cst.CSTNode, problem: tuple[str, str] | None) -> None:
        if problem is not None and self._facts.is_strategy:
            self._report(node, *problem)

    def _note_column(self, node: cst.CSTNode, text: str) -> None:
        if self._facts.uses_technical:
            self._note(node, check_column(text))

    def _report(self, node: cst.CSTNode, what: str, why: str) -> None:
        place = self.get_metadata(PositionProvider, node)
        assert isinstance(place, CodeRange)
        self.findings.append(Finding(self._cell, place.start.line, what, why))
