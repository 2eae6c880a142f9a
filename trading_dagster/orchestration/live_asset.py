"""The Dagster assets of a deployment and the job that runs a cycle: from universe to statistics.

They are not partitioned, so that no backfill can reach them. Each is a step of its own that may be run again: what was
done is found in the ledger, and the decision time travels with the run.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import dagster as dg

from trading_dagster.orchestration.failure import explain_failures
from trading_dagster.orchestration.live_chart import describe_shown
from trading_dagster.orchestration.live_metadata import (
    describe_decision,
    describe_statistics,
    describe_time,
    describe_trades,
)
from trading_dagster.orchestration.live_process import mark_process
from trading_dagster.orchestration.live_step import (
    calculate_step,
    complete_step,
    decide_step,
    execute_step,
    read_decision_time,
    start_cycle,
)
from trading_dagster.orchestration.live_unit import DECISION_TAG, SKIP_TAG, LiveUnit
from trading_dagster.orchestration.metadata import (
    Metadata,
    describe_indicators,
    describe_universe,
    picture_coverage,
    picture_indicators,
)

Result: TypeAlias = "dg.MaterializeResult[Any]"
ASSETS = ("universe", "indicators", "decisions", "trades", "statistics")
KINDS = {"universe": "numpy", "indicators": "pandas", "decisions": "python", "trades": "python", "statistics": "plotly"}
DESCRIPTIONS = {
    "universe": "Pairs and candles up to the decision time; decision times that were missed are recorded as skipped.",
    "indicators": "All indicators over the universe of the decision time.",
    "decisions": "What decide_trades decided: treasury and accounts checked, the plan in the ledger. Decided once.",
    "trades": "What came of the decided trades: approved, executed, each with its transaction.",
    "statistics": "The cycle's end: accounts checked, equity, positions, key figures, what the strategy said and drew.",
}


class CycleConfig(dg.Config):
    """What may be set in the launchpad for a cycle."""

    decision_at: str | None = None
    """UTC time such as 2024-01-31T12:00:00; empty is the run's tag, or the newest decision time."""


def build_live_assets(unit: LiveUnit, *, owners: Sequence[str] = ("team:strategies",)) -> list[dg.AssetsDefinition]:
    """Return the five assets of a deployment."""
    return [
        _universe_asset(unit, owners),
        _step_asset(unit, owners, "indicators", _calculate),
        _step_asset(unit, owners, "decisions", _decide),
        _step_asset(unit, owners, "trades", _execute),
        _step_asset(unit, owners, "statistics", _complete),
    ]


def build_cycle_job(unit: LiveUnit) -> Any:
    """Return the job that runs a whole cycle; it is run again by itself when it fails, as often as the file says."""
    retries = {"dagster/max_retries": str(unit.deployment.retries), "dagster/retry_strategy": "ALL_STEPS"}
    return dg.define_asset_job(
        unit.group,
        selection=[unit.key(name) for name in ASSETS],
        description=f"One decision cycle of {unit.id}. Running it again is safe: a decision time is decided once.",
        tags={**unit.tags, **retries},
        executor_def=dg.in_process_executor,
    )


def _specify(unit: LiveUnit, name: str, owners: Sequence[str]) -> dg.AssetSpec:
    before = ASSETS[ASSETS.index(name) - 1] if name != ASSETS[0] else None
    return dg.AssetSpec(
        unit.key(name),
        deps=[unit.key(before)] if before else [],
        description=f"{DESCRIPTIONS[name]}\n\nDeployment {unit.id} ({unit.deployment.mode}): {unit.module.description}",
        group_name=unit.group,
        owners=list(owners),
        kinds={"python", KINDS[name]},
        code_version=unit.module.source_hash()[:12],
        skippable=name == ASSETS[0],
    )


def _universe_asset(unit: LiveUnit, owners: Sequence[str]) -> dg.AssetsDefinition:
    spec = _specify(unit, "universe", owners)

    @dg.multi_asset(name=f"{unit.group}__universe", specs=[spec], can_subset=False)
    def universe(context: dg.AssetExecutionContext, config: CycleConfig) -> Iterator[Result]:
        mark_process(context)
        with explain_failures():
            asked = config.decision_at or _tagged(context, DECISION_TAG)
            live = unit.open()
            decision_at = read_decision_time(asked, live) if asked else live.newest_decision_at()
            _tag(context, decision_at)
            start = start_cycle(unit, decision_at, _tagged(context, SKIP_TAG))
        if start.skipped is not None:
            context.log.warning(f"{unit.id} at {decision_at} is skipped: {start.skipped}")
            return
        yield dg.MaterializeResult(
            spec.key,
            metadata={
                **describe_time(decision_at, live.now()),
                "missed_before": start.missed,
                **describe_universe(start.universe),
            },
            data_version=dg.DataVersion(start.universe.get_cache_key()),
        )

    return universe


def _step_asset(
    unit: LiveUnit, owners: Sequence[str], name: str, step: Callable[[LiveUnit, datetime], Metadata]
) -> dg.AssetsDefinition:
    """Return the asset of a step after the first: it works on the run's decision time and tells what came of it."""
    spec = _specify(unit, name, owners)

    @dg.multi_asset(name=f"{unit.group}__{name}", specs=[spec], can_subset=False)
    def run_step(context: dg.AssetExecutionContext) -> Iterator[Result]:
        with explain_failures():
            decision_at = _decision_time(context, unit)
            metadata = step(unit, decision_at)
        yield dg.MaterializeResult(spec.key, metadata={**describe_time(decision_at, unit.open().now()), **metadata})

    return run_step


def _calculate(unit: LiveUnit, decision_at: datetime) -> Metadata:
    universe, results = calculate_step(unit, decision_at)
    return describe_indicators(results, universe)


def _decide(unit: LiveUnit, decision_at: datetime) -> Metadata:
    return describe_decision(decide_step(unit, decision_at))


def _execute(unit: LiveUnit, decision_at: datetime) -> Metadata:
    return describe_trades(execute_step(unit, decision_at))


def _complete(unit: LiveUnit, decision_at: datetime) -> Metadata:
    report = complete_step(unit, decision_at)
    universe, results = calculate_step(unit, decision_at)
    pictures = {**picture_coverage(universe), **picture_indicators(results, universe)}
    live = unit.open()  # painted when all is traded
    return {**describe_statistics(live, report), **pictures, **describe_shown(live, universe, results)}


def _tagged(context: dg.AssetExecutionContext, tag: str) -> str | None:
    """Return what the run was given as a tag, or what its first step gave it: the stored run knows both."""
    run = context.instance.get_run_by_id(context.run.run_id)
    return (context.run.tags if run is None else run.tags).get(tag)


def _tag(context: dg.AssetExecutionContext, decision_at: datetime) -> None:
    """Make the decision time part of the run: its later steps, retries and re-executions work on the same one."""
    context.instance.add_run_tags(context.run.run_id, {DECISION_TAG: decision_at.isoformat()})


def _decision_time(context: dg.AssetExecutionContext, unit: LiveUnit) -> datetime:
    """Return the run's decision time; of a run that begins after the first step, that of the newest universe."""
    tagged = _tagged(context, DECISION_TAG)
    if tagged is not None:
        return read_decision_time(tagged, unit.open())
    newest = unit.home.find_newest_universe(unit.id)
    if newest is None:
        raise dg.Failure(
            description=f"{unit.id} has no universe yet: materialize {unit.key('universe').to_user_string()} first",
            allow_retries=False,
        )
    _tag(context, newest)
    return newest
