"""The Dagster assets of research: an optimisation and a walk-forward of a strategy, each one step that drives workers.

Points are rows of a table, never runs or partitions. What is searched is configuration of the run, which the launchpad
asks for. The searches are imported when one runs.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg
from pydantic import Field

from trading_dagster.orchestration.backtest_asset import asset_key
from trading_dagster.orchestration.failure import explain_failures
from trading_dagster.orchestration.resource import BacktestStore
from trading_dagster.orchestration.step import read_stored_universe
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters

if TYPE_CHECKING:
    from trading_dagster.research.optimiser import OptimiserOptions

Result: TypeAlias = "dg.MaterializeResult[Any]"

GROUP = "research"
DESCRIPTIONS = {
    "optimisation": "Parameters that promise most, looked for by proposals: the best points, and a page of figures.",
    "walk_forward": "Parameters chosen on one range and traded on the next, window after window, as one curve.",
}


class SearchConfig(dg.Config):
    """What to search, and how."""

    settings: list[str] = Field(
        default_factory=list,
        description='Ranges of parameters such as "fast_bars=Integer(5,50)", "share=Real(0.5,1)" or "rule=[a,b]"; '
        'a single value such as "fast_bars=12" changes a parameter.',
    )
    objective: str = Field(default="sharpe", description="What to look for: sharpe, profit, calmar, max-drawdown ...")
    iterations: int = Field(default=100, description="Points to try; of a walk-forward in each window.")
    min_trades: int = Field(default=50, description="Choose only points with more trades than this.")
    batch_size: int = Field(default=8, description="Points that are proposed at once.")
    seed: int = Field(default=1, description="Same seed and batch size, same points.")
    rounding: str = Field(default="0.01", description="What numbers of Real are multiples of.")
    timeout_s: float = Field(default=600.0, description="Seconds that a backtest may take; 0 is no limit.")
    max_workers: int = Field(default=0, description="Processes; 0 is one for each processor core.")

    def read(self, strategy: StrategyModule, results: Path) -> tuple[StrategyParameters, "OptimiserOptions"]:
        """Return prepared parameters and options; raises BadInput saying what is wrong and what to do."""
        from trading_dagster.research.search_setting import SearchSetting

        setting = SearchSetting(
            objective=self.objective,
            iterations=self.iterations,
            min_trades=self.min_trades,
            batch_size=self.batch_size,
            seed=self.seed,
            rounding=self.rounding,
            timeout_s=self.timeout_s,
            max_workers=self.max_workers or None,
            result_path=results,
        )
        return setting.read(strategy.parameters, self.settings)


class WalkForwardConfig(SearchConfig):
    """What to search, how, and on which windows."""

    train_days: float = Field(default=180.0, description="Days that parameters are chosen on.")
    test_days: float = Field(default=60.0, description="Days that are traded with them.")
    anchored: bool = Field(default=False, description="Choose on everything since the start.")


def build_search_assets(
    strategy: StrategyModule, *, owners: Sequence[str] = ("team:strategies",)
) -> list[dg.AssetsDefinition]:
    """Return the research assets of a strategy; their group is not the strategy's, for they need configuration."""
    return [_optimisation_asset(strategy, owners), _walk_forward_asset(strategy, owners)]


def _specify(strategy: StrategyModule, name: str, owners: Sequence[str]) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key(strategy, name),
        deps=[asset_key(strategy, "universe")],
        description=f"{DESCRIPTIONS[name]}\n\nStrategy: {strategy.description}",
        group_name=GROUP,
        owners=list(owners),
        kinds={"python", "plotly"},
        code_version=strategy.source_hash()[:12],
    )


def _optimisation_asset(strategy: StrategyModule, owners: Sequence[str]) -> dg.AssetsDefinition:
    spec = _specify(strategy, "optimisation", owners)

    @dg.multi_asset(name=f"{strategy.id}__optimisation", specs=[spec], can_subset=False)
    def optimisation(context: dg.AssetExecutionContext, config: SearchConfig, store: BacktestStore) -> Iterator[Result]:
        from trading_dagster.orchestration.search_metadata import describe_optimisation, log_batch
        from trading_dagster.research.optimiser import optimise_strategy

        folder = store.folder(strategy)
        with explain_failures():
            parameters, options = config.read(strategy, folder.search / "results")
            universe = read_stored_universe(strategy, folder)
            found = optimise_strategy(strategy, universe, parameters, options, on_batch=log_batch(context, config))
            metadata = describe_optimisation(found, universe, strategy.name, config.objective, folder.search)
        yield dg.MaterializeResult(spec.key, metadata=metadata)

    return optimisation


def _walk_forward_asset(strategy: StrategyModule, owners: Sequence[str]) -> dg.AssetsDefinition:
    spec = _specify(strategy, "walk_forward", owners)

    @dg.multi_asset(name=f"{strategy.id}__walk_forward", specs=[spec], can_subset=False)
    def walk_forward(
        context: dg.AssetExecutionContext, config: WalkForwardConfig, store: BacktestStore
    ) -> Iterator[Result]:
        from trading_dagster.orchestration.search_metadata import describe_walk_forward, log_window
        from trading_dagster.research.walk_forward import WalkForwardOptions, walk_strategy_forward

        folder = store.folder(strategy)
        train, test = timedelta(days=config.train_days), timedelta(days=config.test_days)
        with explain_failures():
            parameters, options = config.read(strategy, folder.search / "results")
            universe = read_stored_universe(strategy, folder)
            walk = WalkForwardOptions(train, test, config.anchored)
            result = walk_strategy_forward(strategy, universe, parameters, options, walk, on_window=log_window(context))
            metadata = describe_walk_forward(result, config.objective, folder.search)
        yield dg.MaterializeResult(spec.key, metadata=metadata)

    return walk_forward
