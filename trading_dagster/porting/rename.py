"""Renames within one function: an argument, or an attribute of its argument."""

from __future__ import annotations

import libcst as cst
import libcst.matchers as m


class ArgumentRename(cst.CSTTransformer):
    """Renames a local name; attributes and keywords of that name are something else."""

    def __init__(self, old: str, new: str) -> None:
        """Rename ``old`` to ``new``."""
        super().__init__()
        self._old, self._new = old, new

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:  # noqa: N802 - libcst's name
        """Rename a name."""
        return updated_node.with_changes(value=self._new) if original_node.value == self._old else updated_node

    def leave_Attribute(  # noqa: N802 - libcst's name
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        """Keep the attribute's own name."""
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:  # noqa: N802 - libcst's name
        """Keep the keyword of a call."""
        return updated_node.with_changes(keyword=original_node.keyword)


class AttributeRename(cst.CSTTransformer):
    """Renames an attribute of one name."""

    def __init__(self, owner: str, old: str, new: str) -> None:
        """Rename ``owner.old`` to ``owner.new``."""
        super().__init__()
        self._owner, self._old, self._new = owner, old, new

    def leave_Attribute(  # noqa: N802 - libcst's name
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        """Rename an attribute."""
        if m.matches(original_node, m.Attribute(value=m.Name(self._owner), attr=m.Name(self._old))):
            return updated_node.with_changes(attr=cst.Name(self._new))
        return updated_node


def argument_names(function: cst.FunctionDef) -> list[str]:
    """Return the names of a function's arguments, stars left out."""
    parameters = function.params
    return [p.name.value for p in (*parameters.posonly_params, *parameters.params, *parameters.kwonly_params)]


def uses_name(node: cst.CSTNode, name: str) -> bool:
    """Tell whether a local of a name is used; attributes and keywords do not count."""
    attributes = {id(a.attr) for a in m.findall(node, m.Attribute()) if isinstance(a, cst.Attribute)}
    keywords = {id(a.keyword) for a in m.findall(node, m.Arg()) if isinstance(a, cst.Arg)}
    return any(id(found) not in attributes | keywords for found in m.findall(node, m.Name(name)))
