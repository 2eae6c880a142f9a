"""What porting a file gives: its new text, and what is left for a person to change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that porting could not map.

    Attributes:
        cell: Number of the notebook's cell from 1, 0 in a module.
        line: Line in the ported file or in the cell, from 1.
        what: The name, call or argument.
        why: The reason, and what to do.
    """

    cell: int
    line: int
    what: str
    why: str

    def __str__(self) -> str:
        """Return "line 3: what: why"."""
        place = f"cell {self.cell}, line {self.line}" if self.cell else f"line {self.line}"
        return f"{place}: {self.what}: {self.why}"


@dataclass(frozen=True, slots=True)
class Ported:
    """A ported text; findings in the order of the file."""

    text: str
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class Facts:
    """What a file, or all cells of a notebook, says about names.

    Attributes:
        imported: Object by local name, of names imported from the other vocabulary or from this package.
        defined: Functions and classes the file defines itself.
        technical: Local names under which the file reaches technical indicators.
        uses_technical: Whether the file has indicators from there in any way.
        is_strategy: Whether the file uses either vocabulary at all.
    """

    imported: dict[str, Any] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    technical: set[str] = field(default_factory=set)
    uses_technical: bool = False
    is_strategy: bool = False
