"""Write docs/examples.md: every strategy of strategies/ with its key figures and the picture of its equity.

python .ci/write_examples.py writes the page and its pictures; with --check it writes nothing and fails when the page or
a picture is not what the strategies give today.
"""

import argparse
import ast
import sys
from collections.abc import Iterable
from pathlib import Path

import trading_dagster as td
from trading_dagster.charts.sketch import sketch_equity
from trading_dagster.orchestration.key_figure import calculate_key_figures, key_figure_rows, to_markdown

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "examples.md"
PICTURES = ROOT / "docs" / "pictures"
HEAD = """\
# Example strategies

One file each, in [`strategies/`](../strategies). Every number below comes out of the file as it is, on the candles that
come with the package; `trading-dagster backtest strategies/NAME.py --report report.html` shows each trade. They are
examples of how to say something, not advice: most were chosen because the idea is known, not because it pays.

This page is written by `python .ci/write_examples.py`.
"""


def main(arguments: Iterable[str] | None = None) -> int:
    """Write the page, or with --check compare it; return 1 when it is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when the page is not up to date")
    is_check = parser.parse_args(arguments if arguments is None else list(arguments)).check
    parts, wrong = [HEAD], []
    PICTURES.mkdir(exist_ok=True)
    kept = set()
    for path in sorted((ROOT / "strategies").glob("*.py")):
        result = td.run_backtest(path, progress=False)
        hold = {f"Hold {result.universe.pairs[0].get_ticker()}": result.buy_and_hold}
        picture = PICTURES / f"{path.stem}.svg"
        kept.add(picture)
        if not is_check:
            picture.write_bytes(sketch_equity(result.equity_curve, hold, title=path.stem))
        elif not picture.exists():
            wrong.append(f"{picture.relative_to(ROOT)} does not exist")
        parts.append(describe(path, result))
        print(f"{path.stem}: {len(result.trades)} trades, {result.equity_curve.iloc[-1]:,.2f} USD")
    stale = sorted(set(PICTURES.glob("*.svg")) - kept)
    wrong += [f"{path.relative_to(ROOT)} belongs to no strategy" for path in stale]
    text = "\n".join(parts)
    if not is_check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        wrong.append(f"{PAGE.relative_to(ROOT)} is not what the strategies give")
    for finding in wrong:
        print(f"{finding}: run python .ci/write_examples.py")
    return 1 if wrong else 0


def describe(path: Path, result: td.BacktestResult) -> str:
    """Return the section of one strategy as markdown."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    rows = key_figure_rows(result, calculate_key_figures(result))
    lines = [f"## {path.stem}", "", docstring, ""]
    lines += [f"[`strategies/{path.name}`](../strategies/{path.name})", "", to_markdown(rows), ""]
    lines += [f"![Equity and drawdown of {path.stem}](pictures/{path.stem}.svg)", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
