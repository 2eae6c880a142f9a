"""Ports the code cells of a notebook; its other cells, its outputs and its layout stay as they are."""

from __future__ import annotations

import json
import re
from typing import Any

import libcst as cst

from trading_dagster.domain.error import StrategyModuleNotValid
from trading_dagster.porting.finding import Facts, Finding, Ported
from trading_dagster.porting.rewrite import collect_facts, port_text

# Lines that IPython understands and Python does not: magics, shell commands, questions.
_MAGIC = re.compile(r"^(?P<indent>[ \t]*)(?P<line>(?:[%!?]|[\w., ]+=\s*[%!])[^\n]*|[\w.]+\?{1,2}[ \t]*)$", re.MULTILINE)
_OF_PYTHON = frozenset(("%%capture", "%%prun", "%%time", "%%timeit"))


def port_notebook(text: str, where: str) -> Ported:
    """Port a notebook; names imported in one cell count in all.

    Raises:
        StrategyModuleNotValid: The file is no notebook.
    """
    notebook = _read(text, where)
    facts, cells = Facts(), []
    findings: list[Finding] = []
    for number, cell in enumerate(notebook["cells"], 1):
        source = _source_of(cell)
        if cell.get("cell_type") != "code" or _is_other_language(source):
            continue
        masked, magics = _mask(source)
        try:
            collect_facts(masked, facts)
        except cst.ParserSyntaxError as error:
            findings.append(Finding(number, error.raw_line, "cell", f"it does not parse: {error.message}"))
            continue
        cells.append((number, cell, masked, magics))
    has_changed = False
    for number, cell, masked, magics in cells:
        ported = port_text(masked, facts, number)
        findings += ported.findings
        if ported.text != masked:
            has_changed = True
            source = _unmask(ported.text, magics)
            cell["source"] = source.splitlines(keepends=True) if isinstance(cell["source"], list) else source
    return Ported(_write(notebook, text) if has_changed else text, tuple(sorted(findings)))


def _read(text: str, where: str) -> dict[str, Any]:
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise StrategyModuleNotValid(f"{where} is no notebook: {error}") from error
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise StrategyModuleNotValid(f"{where} is no notebook of format 4: it has no list of cells")
    return notebook


def _write(notebook: dict[str, Any], original: str) -> str:
    """Return the notebook's JSON in the layout of the original."""
    indent = re.search(r"^\{\n([ \t]+)", original)
    written = json.dumps(notebook, indent=indent[1] if indent else None, ensure_ascii=original.isascii())
    return written + ("\n" if original.endswith("\n") else "")


def _source_of(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return "".join(source) if isinstance(source, list) else str(source)


def _is_other_language(source: str) -> bool:
    first = source.lstrip().split("\n", 1)[0].split()
    return bool(first) and first[0].startswith("%%") and first[0] not in _OF_PYTHON


def _mask(source: str) -> tuple[str, list[str]]:
    """Return Python of as many lines, and the lines that were none."""
    magics: list[str] = []

    def hide(match: re.Match[str]) -> str:
        magics.append(match["line"])
        return f"{match['indent']}pass  #:magic {len(magics) - 1}:"

    return _MAGIC.sub(hide, source), magics


def _unmask(text: str, magics: list[str]) -> str:
    return re.sub(r"pass  #:magic (\d+):", lambda match: magics[int(match[1])], text)
