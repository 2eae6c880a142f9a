"""The Dagster assets of a backtest: universe, indicators, decisions, trades, portfolio, statistics, report."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import dagster as dg

from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.run import rare_collections
from trading_dagster.backtest.segment_writer import PartitionOutcome
from trading_dagster.market.feed import Feed
from trading_dagster.orchestration.backtest_check import (
    check_candles,
    check_causality,
    check_charts,
    check_portfolio,
    specify_checks,
)
from trading_dagster.orchestration.failure import explain_failures
from trading_dagster.orchestration.market_asset import find_market_deps
from trading_dagster.orchestration.metadata import (
    describe_indicators,
    describe_partition,
    describe_report,
    describe_result,
    describe_universe,
    picture_coverage,
    picture_equity,
    picture_indicators,
)
from trading_dagster.orchestration.partition import Grain, choose_grain, define_partitions
from trading_dagster.orchestration.progress import Progress
from trading_dagster.orchestration.resource import BacktestStore, CandleData
from trading_dagster.orchestration.step import (
    accept_indicators,
    build_universe,
    find_lookahead_in,
    open_backtest,
    plan_stored,
)
from trading_dagster.storage.file import write_frame
from trading_dagster.strategy.module import StrategyModule

Result: TypeAlias = "dg.MaterializeResult[Any] | dg.AssetCheckResult"

DATA_VERSION_TAG = "dagster/data_version"
PARTITIONED = ("decisions", "trades", "portfolio")
DESCRIPTIONS = {
    "universe": "Pairs and candles that the strategy trades on, stored so that every later step reads the same.",
    "indicators": "All indicators over the whole universe, checked against looking ahead, kept on disk.",
    "decisions": "What decide_trades decided in each cycle.",
    "trades": "The trades executed, with price, quantity, fee and profit.",
    "portfolio": "Equity after each cycle, and the snapshot from which the next partition continues.",
    "statistics": "Key figures, the trade summary and the positions of the whole backtest, beside buying and holding.",
    "charts": "The charts that the strategy registers in create_charts: a page of all of them, and pictures here.",
    "report": "The whole backtest as one HTML file that opens without the network.",
}


def build_backtest_assets(
    strategy: StrategyModule,
    *,
    grain: Grain | str | None = None,
    owners: Sequence[str] = ("team:strategies",),
    feeds: Sequence[Feed] = (),
) -> list[dg.AssetsDefinition]:
    """Return the assets of a strategy's backtest, under its id as key prefix and group.

    Args:
        strategy: The loaded strategy file.
        grain: Length of the partitions; None takes ``Parameters.backtest_partition``, or months.
        owners: Owners as Dagster writes them.
        feeds: Market data there is; the universe depends on what it reads of it.

    Raises:
        BadInput: The strategy's range or partition length is unusable.
    """
    chosen = choose_grain(strategy.parameters, grain)
    assets = [
        _universe_asset(strategy, owners, find_market_deps(strategy.parameters, feeds)),
        _indicators_asset(strategy, owners),
        _partitioned_assets(strategy, owners, chosen),
        _statistics_asset(strategy, owners, chosen),
        _report_asset(strategy, owners, chosen),
    ]
    return assets if strategy.create_charts is None else [*assets, _charts_asset(strategy, owners, chosen)]


def asset_key(strategy: StrategyModule, name: str) -> dg.AssetKey:
    """Return the key of an asset of a strategy."""
    return dg.AssetKey([strategy.id, name])


def specify_asset(
    strategy: StrategyModule,
    name: str,
    kind: str,
    *,
    owners: Sequence[str],
    deps: Sequence[str] = (),
    more_deps: Sequence[dg.AssetDep] = (),
    skippable: bool = False,
) -> dg.AssetSpec:
    """Return the specification of an asset of a strategy; ``deps`` are names of its other assets."""
    return dg.AssetSpec(
        asset_key(strategy, name),
        deps=[*(asset_key(strategy, dep) for dep in deps), *more_deps],
        description=f"{DESCRIPTIONS[name]}\n\nStrategy: {strategy.description}",
        group_name=strategy.id,
        owners=list(owners),
        kinds={"python", kind},
        code_version=strategy.source_hash()[:12],
        skippable=skippable,
    )


def _universe_asset(
    strategy: StrategyModule, owners: Sequence[str], market: Sequence[dg.AssetDep]
) -> dg.AssetsDefinition:
    spec = specify_asset(strategy, "universe", "numpy", owners=owners, more_deps=market)

    @dg.multi_asset(
        name=f"{strategy.id}__universe",
        specs=[spec],
        check_specs=specify_checks(spec.key, "universe"),
        can_subset=False,
    )
    def universe(store: BacktestStore, data: CandleData) -> Iterator[Result]:
        with explain_failures():
            built = build_universe(strategy, store.folder(strategy), data)
        yield dg.MaterializeResult(
            spec.key,
            metadata={**describe_universe(built), **picture_coverage(built)},
            data_version=dg.DataVersion(built.get_cache_key()),
        )
        yield from check_candles(built, spec.key)

    return universe


def _indicators_asset(strategy: StrategyModule, owners: Sequence[str]) -> dg.AssetsDefinition:
    spec = specify_asset(strategy, "indicators", "pandas", owners=owners, deps=["universe"])

    @dg.multi_asset(
        name=f"{strategy.id}__indicators",
        specs=[spec],
        check_specs=specify_checks(spec.key, "indicators"),
        can_subset=False,
    )
    def indicators(store: BacktestStore) -> Iterator[Result]:
        folder = store.folder(strategy)
        with explain_failures():
            plan = plan_stored(strategy, folder)
            findings = find_lookahead_in(plan)
        yield check_causality(findings, spec.key)
        if findings:
            raise dg.Failure(description="\n".join(map(str, findings)), allow_retries=False)
        accept_indicators(plan, folder)
        yield dg.MaterializeResult(
            spec.key,
            metadata={
                **describe_indicators(plan.indicators, plan.universe),
                **picture_indicators(plan.indicators, plan.universe),
            },
        )

    return indicators


def _partitioned_assets(strategy: StrategyModule, owners: Sequence[str], grain: Grain) -> dg.AssetsDefinition:
    portfolio = asset_key(strategy, "portfolio")
    before = dg.AssetDep(portfolio, partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1))

    def spec(name: str, dep: str, *more_deps: dg.AssetDep) -> dg.AssetSpec:
        return specify_asset(strategy, name, "parquet", owners=owners, deps=[dep], more_deps=more_deps, skippable=True)

    specs = [spec("decisions", "indicators"), spec("trades", "decisions"), spec("portfolio", "trades", before)]

    @dg.multi_asset(
        name=f"{strategy.id}__backtest",
        specs=specs,
        check_specs=specify_checks(portfolio, "portfolio"),
        partitions_def=define_partitions(strategy.parameters, grain),
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=False,
    )
    def backtest(
        context: dg.AssetExecutionContext, store: BacktestStore, progress: dg.ResourceParam[Progress]
    ) -> Iterator[Result]:
        folder, keys = store.folder(strategy), context.partition_keys
        with explain_failures(), folder.writing(), rare_collections():
            partitions = open_backtest(strategy, folder, grain)
            with progress.bar(", ".join(PARTITIONED), "cycle") as advance:
                for outcomes in partitions.run_together(keys, advance):
                    record_partitions(context, strategy, partitions, outcomes)
            checks = check_portfolio(partitions, portfolio)
        if asset_key(strategy, "statistics") in context.job_def.asset_layer.executable_asset_keys:
            yield from (dg.MaterializeResult(each.key) for each in specs)  # it waits for these outputs in this run
        yield from checks

    return backtest


def record_partitions(
    context: dg.AssetExecutionContext,
    strategy: StrategyModule,
    partitions: PartitionedBacktest,
    outcomes: Sequence[PartitionOutcome],
) -> None:
    """Log the materializations of partitions, whose files are on disk: they stay when a later one fails.

    All are described before the first is logged: what Dagster does in between makes each slower. The last partition of
    a run shows the equity of all partitions up to it; painting it for each would take longer than the backtest.
    """
    keys = [outcome.window.key for outcome in outcomes]
    described = [
        describe_partition(outcome, partitions.folder / key) for key, outcome in zip(keys, outcomes, strict=True)
    ]
    if keys and keys[-1] == context.partition_keys[-1]:
        described[-1]["portfolio"] |= picture_equity(partitions, keys[-1], strategy.name)
    for key, outcome, by_asset in zip(keys, outcomes, described, strict=True):
        tags = {DATA_VERSION_TAG: outcome.snapshot.hash()}
        for name, metadata in by_asset.items():
            event = dg.AssetMaterialization(asset_key(strategy, name), partition=key, metadata=metadata, tags=tags)
            context.log_event(event)
            context.add_asset_metadata(metadata, asset_key=event.asset_key, partition_key=key)


def _statistics_asset(strategy: StrategyModule, owners: Sequence[str], grain: Grain) -> dg.AssetsDefinition:
    spec = specify_asset(strategy, "statistics", "pandas", owners=owners, deps=["portfolio"])

    @dg.multi_asset(name=f"{strategy.id}__statistics", specs=[spec], can_subset=False)
    def statistics(store: BacktestStore) -> Iterator[Result]:
        folder = store.folder(strategy)
        with explain_failures():
            result = open_backtest(strategy, folder, grain).load_result()
            table = result.statistics.map(str).reset_index()
            write_frame(table, folder.statistics)
            write_frame(result.positions, folder.positions)
        yield dg.MaterializeResult(spec.key, metadata={"dagster/row_count": len(table), **describe_result(result)})

    return statistics


def _report_asset(strategy: StrategyModule, owners: Sequence[str], grain: Grain) -> dg.AssetsDefinition:
    spec = specify_asset(strategy, "report", "plotly", owners=owners, deps=["statistics"])

    @dg.multi_asset(name=f"{strategy.id}__report", specs=[spec], can_subset=False)
    def report(store: BacktestStore) -> Iterator[Result]:
        folder = store.folder(strategy)
        with explain_failures():
            result = open_backtest(strategy, folder, grain).load_result()
            path = result.report(folder.report)
        yield dg.MaterializeResult(spec.key, metadata=describe_report(result, path))

    return report


def _charts_asset(strategy: StrategyModule, owners: Sequence[str], grain: Grain) -> dg.AssetsDefinition:
    spec = specify_asset(strategy, "charts", "plotly", owners=owners, deps=["statistics"])

    @dg.multi_asset(
        name=f"{strategy.id}__charts",
        specs=[spec],
        check_specs=specify_checks(spec.key, "charts"),
        can_subset=False,
    )
    def charts(store: BacktestStore) -> Iterator[Result]:
        from trading_dagster.orchestration.chart_metadata import describe_charts  # plotly is loaded only here

        folder = store.folder(strategy)
        with explain_failures():
            result = open_backtest(strategy, folder, grain).load_result()
            files = result.save_charts(folder.charts)
        rendered = result.rendered_charts
        yield dg.MaterializeResult(spec.key, metadata=describe_charts(rendered, files))
        yield check_charts([each.error for each in rendered if each.error], spec.key)

    return charts
