"""``backtest --charts`` writes the strategy's own charts, and says which of them failed."""

from pathlib import Path

from cli.conftest import STRATEGIES, Run


def test_charts_are_written_and_failures_told(run: Run, tmp_path: Path) -> None:
    text = (STRATEGIES / "momentum_alpha.py").read_text(encoding="utf-8")
    broken = text.replace("return standard.signal_comparison(", "return standard.no_such_chart(")
    assert broken != text
    file = tmp_path / "charted.py"
    file.write_text(broken, encoding="utf-8")

    code, output, errors = run("backtest", file, "--no-progress", "--charts", "out")

    assert code == 0
    assert f"Charts: {tmp_path / 'out' / 'index.html'} and " in output
    assert "Warning: Chart 'momentum_of_pairs' raised AttributeError" in errors
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"index.html", "equity_curve.png", "performance_metrics.csv", "alpha_model_diagnostics.csv"} <= names
    assert "momentum_of_pairs.png" not in names
    assert "no_such_chart" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_strategy_without_charts_is_told_before_it_runs(run: Run, ema_cross: Path, tmp_path: Path) -> None:
    code, output, errors = run("backtest", ema_cross, "--no-progress", "--charts", "out")

    assert (code, output) == (2, "")
    assert "ema_cross has no create_charts" in errors
    assert not (tmp_path / "out").exists()


def test_file_in_the_way_is_told_before_it_runs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")

    code, _, errors = run("backtest", STRATEGIES / "momentum_alpha.py", "--no-progress", "--charts", "out")

    assert code == 2
    assert "--charts out is a file: name a folder" in errors
