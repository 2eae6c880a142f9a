"""More than twenty strategies in the old import style: ported, they run, and nothing is left to do."""

from __future__ import annotations

import pytest
from porting.conftest import OLD_STRATEGIES

from trading_dagster.backtest import run_backtest
from trading_dagster.porting.rewrite import port_module

FILES = sorted(OLD_STRATEGIES.glob("*.py"))


def test_there_are_twenty_strategies():
    assert len(FILES) >= 20


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_ported_strategy_trades(file, client, tmp_path):
    ported = port_module(file.read_text(encoding="utf-8"), file.name)
    target = tmp_path / file.name
    target.write_text(ported.text, encoding="utf-8")

    assert ported.findings == ()
    assert "tradeexecutor" not in ported.text
    result = run_backtest(target, client=client, progress=False)
    assert len(result.trades) > 0
    assert result.equity_curve.iloc[-1] > 0


def test_charts_of_a_ported_strategy_are_drawn(client, tmp_path):
    target = tmp_path / "charts_version.py"
    target.write_text(port_module((OLD_STRATEGIES / target.name).read_text(encoding="utf-8"), target.name).text)

    result = run_backtest(target, client=client, progress=False)

    assert "from trading_dagster.charts.standard_chart import" in target.read_text(encoding="utf-8")
    assert {each.chart.id: each.error for each in result.rendered_charts} == dict.fromkeys(
        ("equity_curve_with_benchmark", "equity_curve_with_drawdown", "performance_metrics", "trading_metrics",
         "trading_pair_price_and_trades", "last_messages"), "",
    )  # fmt: skip
    figure = result.render_chart("equity_curve_with_benchmark")
    assert [trace.name for trace in figure.data] == ["Strategy", "BTC"]


def test_older_versions_of_one_strategy_trade_alike(client, tmp_path):
    results = []
    for version in ("version_0_1", "version_0_2", "version_0_3", "version_0_4"):
        target = tmp_path / f"{version}.py"
        target.write_text(port_module((OLD_STRATEGIES / target.name).read_text(encoding="utf-8"), version).text)
        results.append(run_backtest(target, client=client, progress=False))

    assert len(results[0].trades) == 17
    assert all(result.equity_curve.equals(results[0].equity_curve) for result in results)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_porting_twice_changes_nothing(file):
    once = port_module(file.read_text(encoding="utf-8"), file.name)

    assert once.text != file.read_text(encoding="utf-8")
    assert port_module(once.text, file.name) == once


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_comments_and_length_are_kept(file):
    text = file.read_text(encoding="utf-8")
    ported = port_module(text, file.name).text

    comments = [line.split("#", 1)[1] for line in text.splitlines() if "#" in line]
    assert [line.split("#", 1)[1] for line in ported.splitlines() if "#" in line] == comments
    assert text.split("trading_strategy_engine_version")[-1].count("\n") <= ported.count("\n")
