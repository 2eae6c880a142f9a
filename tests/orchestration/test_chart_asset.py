"""The asset of a strategy's own charts: pictures and tables in its metadata, a page on disk, a warning for failures."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.charts import rendering
from trading_dagster.charts.figure_picture import paint_figure
from trading_dagster.orchestration.backtest_asset import asset_key, build_backtest_assets
from trading_dagster.orchestration.driver import BacktestDriver
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.strategy.chart import ChartKind, ChartRegistry
from trading_dagster.strategy.module import load_strategy_file

pytestmark = [pytest.mark.dagster, pytest.mark.slow]

STRATEGIES = Path(__file__).parents[2] / "strategies"


def broken_charts(timestamp, parameters, strategy_universe, execution_context) -> ChartRegistry:
    charts = load_strategy_file(STRATEGIES / "momentum_alpha.py").create_charts(
        timestamp, parameters, strategy_universe, execution_context
    )

    @charts.define(ChartKind.state_all_pairs)
    def broken(input):
        """Fail."""
        raise KeyError("nothing")

    return charts


def test_charts_are_shown_and_failures_told(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    painted = []

    def paint(figure, **options):
        painted.append(figure)
        return paint_figure(figure, **options)

    monkeypatch.setattr(rendering, "paint_figure", paint)
    strategy = replace(load_strategy_file(STRATEGIES / "momentum_alpha.py"), create_charts=broken_charts)
    driver = BacktestDriver(strategy, instance, SilentProgress())

    result = driver.run_all()

    key = asset_key(strategy, "charts")
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    metadata = {name: entry.value for name, entry in event.asset_materialization.metadata.items()}
    assert (metadata["charts"], metadata["failed"]) == (11, 1)
    assert "Chart 'broken' raised KeyError: 'nothing'" in metadata["broken"]
    image = metadata["equity_curve"].split("base64,", 1)[1].rstrip(")")
    assert Image.open(io.BytesIO(base64.b64decode(image))).size[0] == 900
    assert "| LTC-USD |" in metadata["trading_pair_breakdown"]
    assert "Sharpe" in metadata["performance_metrics"]
    page = driver.folder.charts / "index.html"
    assert "chart-equity_curve" in page.read_text(encoding="utf-8")
    assert (driver.folder.charts / "equity_curve.png").is_file()
    assert len(painted) == len(list(driver.folder.charts.glob("*.png")))  # the metadata shows the same pictures
    whole = run_backtest(strategy, progress=False)
    assert result.state.visualisation.plots == whole.state.visualisation.plots
    assert result.render_chart("alpha_model_diagnostics").equals(whole.render_chart("alpha_model_diagnostics"))
    check = instance.event_log_storage.get_latest_asset_check_execution_by_key([dg.AssetCheckKey(key, "all_drawn")])[
        dg.AssetCheckKey(key, "all_drawn")
    ]
    evaluation = check.event.dagster_event.event_specific_data
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN


def test_strategy_without_charts_has_no_asset_of_them() -> None:
    names = {
        key.path[-1]
        for asset in build_backtest_assets(load_strategy_file(STRATEGIES / "ema_cross.py"))
        for key in asset.keys
    }
    assert "charts" not in names
    assert "report" in names
