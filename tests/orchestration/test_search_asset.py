"""The assets of research: a search runs inside one step, shows what it found, and says what is wrong."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from trading_dagster.orchestration.backtest_asset import asset_key, build_backtest_assets
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.orchestration.resource import BacktestStore, CandleData
from trading_dagster.orchestration.search_asset import build_search_assets
from trading_dagster.strategy.module import StrategyModule

pytestmark = pytest.mark.dagster
SEARCH: dict[str, Any] = {
    "settings": ["bars=Integer(10,60)"], "objective": "profit", "iterations": 5, "min_trades": 2, "max_workers": 1,
}  # fmt: skip


def run(
    strategy: StrategyModule, instance: dg.DagsterInstance, name: str, config: dict[str, Any], universe: bool = True
) -> dg.ExecuteInProcessResult:
    assets = [*build_backtest_assets(strategy), *build_search_assets(strategy)]
    keys = [asset_key(strategy, "universe")] * universe + [asset_key(strategy, name)]
    return dg.materialize(
        assets,
        selection=keys,
        instance=instance,
        resources={"store": BacktestStore(), "data": CandleData(), "progress": SilentProgress()},
        run_config={"ops": {f"{strategy.id}__{name}": {"config": config}}},
        raise_on_error=False,
    )


def metadata_of(result: dg.ExecuteInProcessResult, strategy: StrategyModule, name: str) -> dict[str, Any]:
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == asset_key(strategy, name)]
    return {key: value.value for key, value in event.materialization.metadata.items()}


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.get_step_failure_events()
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    return failure.description or ""


def test_an_optimisation_shows_what_it_found_and_goes_on_from_what_it_kept(
    short_strategy: StrategyModule, instance: dg.DagsterInstance
) -> None:
    result = run(short_strategy, instance, "optimisation", SEARCH)
    found = metadata_of(result, short_strategy, "optimisation")

    assert result.success
    assert found["points"] == 5
    assert found["points_from_earlier_searches"] == 0
    assert found["best"].startswith("bars=")
    assert f"| {found['best'].removeprefix('bars=')} |" in found["table"]
    assert found["importance_bars"] == 1.0
    assert found["progress"].startswith("![Progress of the search](data:image/png")
    assert "<h2>Best point</h2>" in Path(found["path"]).read_text(encoding="utf-8")
    again = run(short_strategy, instance, "optimisation", SEARCH | {"iterations": 7}, universe=False)
    more = metadata_of(again, short_strategy, "optimisation")
    assert (more["points"], more["points_from_earlier_searches"]) == (7, 5)
    assert more["best_profit"] >= found["best_profit"]


def test_a_walk_forward_shows_its_windows(short_strategy: StrategyModule, instance: dg.DagsterInstance) -> None:
    config = SEARCH | {"train_days": 60, "test_days": 40, "iterations": 3}
    result = run(short_strategy, instance, "walk_forward", config)
    shown = metadata_of(result, short_strategy, "walk_forward")

    assert result.success
    assert shown["window_count"] == 2
    assert shown["windows"].count("\n") >= 3
    assert shown["last_choice"].startswith("bars=")
    assert "sharpe" in shown
    assert shown["equity_of_windows"].startswith("![Equity out of sample](data:image/png")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "nothing to optimise"),
        ({"settings": ["bras=Integer(1,2)"]}, "Did you mean 'bars'"),
        (SEARCH | {"objective": "luck"}, "use one of profit"),
        (SEARCH | {"min_trades": 10_000}, "None of 5 points can be chosen"),
    ],
)
def test_a_search_that_cannot_be_says_why(
    short_strategy: StrategyModule, instance: dg.DagsterInstance, config: dict[str, Any], message: str
) -> None:
    result = run(short_strategy, instance, "optimisation", config)

    assert not result.success
    assert message in failure_of(result)


def test_a_search_without_a_universe_says_what_to_materialize(
    short_strategy: StrategyModule, instance: dg.DagsterInstance
) -> None:
    result = run(short_strategy, instance, "optimisation", SEARCH, universe=False)

    assert not result.success
    assert f"materialize {short_strategy.id}/universe" in failure_of(result)
