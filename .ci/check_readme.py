"""Check that README.md is true: its strategy trades in a backtest, and every file it names exists."""

import re
import sys
import tempfile
from pathlib import Path

import trading_dagster as td

README = Path("README.md")
STRATEGY = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
NAMED_PATH = re.compile(r"`([\w.]+/[\w./]*|[\w-]+\.(?:py|toml|yaml|txt))`")


def main() -> int:
    """Print what is not true and return 1 if anything is not."""
    text = README.read_text(encoding="utf-8")
    names = {*LINK.findall(text), *NAMED_PATH.findall(text)}
    untrue = [f"{README} names {name}, which does not exist" for name in sorted(names) if not Path(name).exists()]
    strategy = STRATEGY.search(text)
    if strategy is None:
        untrue.append(f"{README} shows no strategy")
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "readme_strategy.py")
            path.write_text(strategy.group(1), encoding="utf-8")
            result = td.run_backtest(path, progress=False)
        print(f"the strategy trades {len(result.trades)} times, to {result.equity_curve.iloc[-1]:,.2f} USD")
        if result.trades.empty:
            untrue.append(f"the strategy of {README} never trades")
    for finding in untrue:
        print(finding)
    return 1 if untrue else 0


if __name__ == "__main__":
    sys.exit(main())
