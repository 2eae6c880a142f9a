"""Writes the table of gaps into docs/porting.md: python -m trading_dagster.porting.page docs/porting.md."""

from __future__ import annotations

import sys
from pathlib import Path

from trading_dagster.porting.usage import count_calls, find_gaps

BEGIN = "<!-- gaps: written by python -m trading_dagster.porting.page docs/porting.md -->"
END = "<!-- end of gaps -->"


def render_gaps() -> str:
    """Return the table as markdown, between its marks."""
    here, total = count_calls()
    lines = [BEGIN, f"{here} of the {total} calls of the ranking are here. These are not:", ""]
    lines += ["| rank | call | why |", "|---|---|---|"]
    lines += [f"| {gap.rank or '-'} | `{gap.call}` | {gap.why} |" for gap in find_gaps()]
    return "\n".join([*lines, END])


def replace_gaps(page: str) -> str:
    """Return a page with its table as the code has it now."""
    before, rest = page.split(BEGIN, 1)
    return before + render_gaps() + rest.split(END, 1)[1]


def main(path: Path) -> None:
    """Rewrite the table of a page."""
    path.write_text(replace_gaps(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
