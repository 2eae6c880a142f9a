"""A live cycle as Dagster runs: whatever is run again, at whatever step, trades once."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from orchestration.live_deployment import at, aware
from orchestration.live_repository import make_live_job, unit_of

from trading_dagster.domain.event import CycleCompleted, CycleDecided, CycleSkipped, TradeExecuted
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.progress import read_progress
from trading_dagster.orchestration.live_asset import ASSETS
from trading_dagster.orchestration.live_unit import DECISION_TAG, SKIP_TAG, STRATEGY_TAG, LiveUnit
from trading_dagster.storage.event_codec import EventDecoder

pytestmark = pytest.mark.dagster
DESCRIBERS = {
    "universe": "describe_universe",
    "indicators": "describe_indicators",
    "decisions": "describe_decision",
    "trades": "describe_trades",
    "statistics": "describe_statistics",
}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[LiveUnit, ManualClock]]:
    unit, clock = unit_of(str(tmp_path))
    yield unit, clock
    unit.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def run(instance: dg.DagsterInstance, tmp_path: Path) -> Any:
    """Return a function that runs a cycle, whole or some of its assets."""

    def execute(*, tags: dict[str, str] | None = None, assets: tuple[str, ...] = (), **named: Any) -> Any:
        job = make_live_job(str(tmp_path))
        selection = [dg.AssetKey(["live", "flip", name]) for name in assets] or None
        return job.execute_in_process(
            instance=instance, raise_on_error=False, tags=tags, asset_selection=selection, **named
        )

    return execute


def reexecute_from_failure(instance: dg.DagsterInstance, run_id: str, folder: Path) -> bool:
    options = dg.ReexecutionOptions.from_failure(run_id, instance)
    job = dg.build_reconstructable_job("orchestration.live_repository", "make_live_job", (str(folder),))
    with dg.execute_job(job, instance, reexecution_options=options) as result:
        return result.success


def events(unit: LiveUnit, kind: type) -> list[Any]:
    decoder = EventDecoder(())
    return [e for e in decoder.decode_all(row.body for row in unit.open().store.read(unit.id)) if isinstance(e, kind)]


def metadata(instance: dg.DagsterInstance, name: str) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey(["live", "flip", name]))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_a_run_is_one_cycle_in_five_steps(live: Any, run: Any, instance: dg.DagsterInstance) -> None:
    unit, _ = live

    result = run()

    assert result.success
    assert {event.step_key for event in result.get_step_success_events()} == {f"live_flip__{name}" for name in ASSETS}
    assert read_progress(unit.open()).last_decision_at == at(0)
    assert [event.decision_at for event in events(unit, CycleDecided)] == [aware(0)]
    assert len(events(unit, TradeExecuted)) == 1
    assert len(events(unit, CycleCompleted)) == 1
    tags = instance.get_runs()[0].tags
    assert tags[STRATEGY_TAG] == "flip"
    assert tags[DECISION_TAG] == "2018-03-01T00:00:00"


def test_the_ui_shows_what_was_done(live: Any, run: Any, instance: dg.DagsterInstance) -> None:
    _, clock = live
    run()
    clock.moment = aware(1, 10)
    run()

    assert metadata(instance, "universe")["pairs"] == 1
    assert metadata(instance, "indicators")["indicators"] == 1
    decision, trades, statistics = (metadata(instance, name) for name in ("decisions", "trades", "statistics"))
    assert decision["cycle"] == 2
    assert decision["sells"] == 1
    assert decision["delay_seconds"] == 600
    assert "BTC-USD" in decision["decision"]
    assert trades["executed"] == 1
    assert "success" in trades["trades"]
    assert statistics["equity_curve"].startswith("![")
    assert 9_900 < statistics["equity_usd"] < 10_100
    assert statistics["closed_positions"] == 1


def test_assets_are_not_partitioned_and_tell_who_and_what(live: Any, tmp_path: Path) -> None:
    job = make_live_job(str(tmp_path))

    for name in ASSETS:
        node = job.asset_layer.get(dg.AssetKey(["live", "flip", name]))
        assert node.partitions_def is None
        assert node.group_name == "live_flip"
        assert node.owners
        assert node.kinds
        assert node.description


def test_running_a_decided_time_again_changes_nothing(live: Any, run: Any) -> None:
    unit, _ = live
    run()
    before = unit.open().store.head("flip")

    assert run().success
    assert run(tags={DECISION_TAG: at(0).isoformat()}).success

    assert unit.open().store.head("flip") == before


def test_two_runs_at_once_decide_and_trade_once(live: Any, tmp_path: Path) -> None:
    unit, _ = live
    results: list[Any] = []

    def execute() -> None:
        with dg.DagsterInstance.ephemeral() as own:
            results.append(make_live_job(str(tmp_path)).execute_in_process(instance=own, raise_on_error=False))

    threads = [threading.Thread(target=execute) for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [result.success for result in results] == [True, True]
    assert len(events(unit, CycleDecided)) == 1
    assert len(events(unit, TradeExecuted)) == 1
    assert len(events(unit, CycleCompleted)) == 1


@pytest.mark.parametrize("step", ASSETS)
@pytest.mark.parametrize("way", ["whole run", "from failure"])
def test_a_run_that_dies_after_a_step_is_run_again_and_trades_once(
    live: Any,
    run: Any,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    way: str,
) -> None:
    unit, clock = live
    run()
    clock.moment = aware(1, 5)
    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise RuntimeError("the power went out")

        patch.setattr(f"trading_dagster.orchestration.live_asset.{DESCRIBERS[step]}", die)
        failed = run()
    assert not failed.success
    clock.moment = aware(1, 20)

    if way == "whole run":
        tags = instance.get_runs(limit=1)[0].tags
        assert run(tags={DECISION_TAG: tags[DECISION_TAG]}).success
    else:
        assert reexecute_from_failure(instance, failed.run_id, tmp_path)

    assert [event.decision_at for event in events(unit, CycleDecided)] == [aware(0), aware(1)]
    assert [event.trade_id for event in events(unit, TradeExecuted)] == [1, 2]
    assert len(events(unit, CycleCompleted)) == 2
    assert read_progress(unit.open()).open_decision_at is None


@pytest.mark.parametrize("step", ASSETS)
def test_a_run_that_died_is_finished_by_the_next_cycle(
    live: Any, run: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    unit, clock = live
    with monkeypatch.context() as patch:
        patch.setattr(f"trading_dagster.orchestration.live_asset.{DESCRIBERS[step]}", None)
        assert not run().success
    clock.moment = aware(1, 5)

    assert run().success

    progress = read_progress(unit.open())
    assert (progress.last_decision_at, progress.open_decision_at) == (at(1), None)
    trades = [event.trade_id for event in events(unit, TradeExecuted)]
    assert trades == sorted(set(trades))
    assert len(events(unit, CycleCompleted)) == len(events(unit, CycleDecided))


def test_steps_run_alone_work_on_the_newest_universe(live: Any, run: Any) -> None:
    unit, clock = live
    assert run(assets=("universe",)).success
    clock.moment = aware(0, 50)

    assert run(assets=("decisions",)).success
    assert run(assets=("trades", "statistics")).success

    assert [event.decision_at for event in events(unit, CycleDecided)] == [aware(0)]
    assert len(events(unit, TradeExecuted)) == 1


def test_a_step_before_any_universe_says_what_to_do(live: Any, run: Any) -> None:
    result = run(assets=("decisions",))

    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "materialize live/flip/universe first" in failure.step_failure_data.user_failure_data.description


def test_trades_without_a_decision_are_refused(live: Any, run: Any) -> None:
    unit, _ = live
    run(assets=("universe",))

    assert not run(assets=("trades",)).success
    assert events(unit, TradeExecuted) == []


def test_a_decision_time_too_long_ago_is_recorded_as_skipped(live: Any, run: Any) -> None:
    unit, clock = live
    run()
    clock.moment = aware(3, 10)

    result = run(tags={DECISION_TAG: at(1).isoformat()})

    assert result.success
    assert not result.asset_materializations_for_node("live_flip__universe")
    (skipped,) = events(unit, CycleSkipped)
    assert skipped.decision_at == aware(1)
    assert "2:10:00 late" in skipped.reason
    assert len(events(unit, CycleDecided)) == 1


def test_missed_decision_times_are_recorded_and_the_newest_is_traded(live: Any, run: Any) -> None:
    unit, clock = live
    run()
    clock.moment = aware(5, 10)

    assert run().success

    (skipped,) = events(unit, CycleSkipped)
    assert skipped.decision_at == aware(4)
    assert "4 decision times from 2018-03-01 01:00:00 to 2018-03-01 04:00:00 were missed" in skipped.reason
    assert [event.decision_at for event in events(unit, CycleDecided)] == [aware(0), aware(5)]


def test_a_run_that_is_to_skip_decides_nothing(live: Any, run: Any) -> None:
    unit, _ = live

    assert run(tags={DECISION_TAG: at(0).isoformat(), SKIP_TAG: "no candles"}).success

    assert [event.reason for event in events(unit, CycleSkipped)] == ["no candles"]
    assert events(unit, CycleDecided) == []
    assert run().success
    assert events(unit, CycleDecided) == []


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("tomorrow", "write a UTC time"),
        ("2018-03-01T00:10:00", "no decision time of 1h cycles"),
        ("2018-03-01T05:00:00", "in the future"),
        ("2018-03-01T00:00:00+00:00", "zone-aware"),
    ],
)
def test_a_decision_time_that_cannot_be_is_refused(live: Any, run: Any, asked: str, expected: str) -> None:
    config = {"ops": {"live_flip__universe": {"config": {"decision_at": asked}}}}

    result = run(run_config=config)

    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert expected in failure.step_failure_data.user_failure_data.description


def test_old_universes_are_removed(live: Any, run: Any) -> None:
    unit, clock = live
    for hour in range(6):
        clock.moment = aware(hour, 5)
        assert run().success

    kept = sorted(path.name for path in (unit.home.root / "flip" / "cycles").iterdir())
    assert kept == ["2018-03-01T030000", "2018-03-01T040000", "2018-03-01T050000"]
    assert len(events(unit, TradeExecuted)) == 6
