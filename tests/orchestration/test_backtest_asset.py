"""The assets of a backtest: what is recorded, what is refused, and that a failure leaves what was done before."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.segment_table import segment_tables
from trading_dagster.domain.error import LedgerError, PartitionPredecessorMissing, SnapshotOutdated, StrategyFailed
from trading_dagster.orchestration.backtest_asset import PARTITIONED, asset_key
from trading_dagster.orchestration.driver import BacktestDriver
from trading_dagster.orchestration.failure import explain_failures
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.orchestration.step import open_backtest
from trading_dagster.statistics.table import Table
from trading_dagster.storage.segment import write_segment
from trading_dagster.strategy.module import StrategyModule, load_strategy_file

pytestmark = pytest.mark.dagster
MONTHS = ["2018-01", "2018-02", "2018-03", "2018-04", "2018-05"]


def materialized(driver: BacktestDriver, instance: dg.DagsterInstance, name: str = "portfolio") -> list[str]:
    return sorted(instance.get_materialized_partitions(asset_key(driver.strategy, name)))


def checks(driver: BacktestDriver, instance: dg.DagsterInstance, asset: str) -> dict[str, bool]:
    """Return the newest evaluations of the checks of an asset."""
    found: dict[str, bool] = {}
    for run in instance.get_runs():  # newest first
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
            assert entry.dagster_event is not None
            evaluation: Any = entry.dagster_event.event_specific_data
            if evaluation.asset_key == asset_key(driver.strategy, asset):
                found.setdefault(evaluation.check_name, evaluation.passed)
    return found


def metadata_of(driver: BacktestDriver, instance: dg.DagsterInstance, key: str) -> dict[str, Any]:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key(driver.strategy, "portfolio"), asset_partitions=[key]), limit=1
    ).records
    materialization = records[0].asset_materialization
    assert materialization is not None
    return {name: value.value for name, value in materialization.metadata.items()}


def stored_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def prepare(driver: BacktestDriver) -> None:
    driver.materialize(["universe", "indicators"])


def test_whole_dag_gives_the_result_of_one_piece(
    driver: BacktestDriver, instance: dg.DagsterInstance, short_strategy: StrategyModule
) -> None:
    result = driver.run_all()

    whole = run_backtest(short_strategy, progress=False)
    assert len(whole.trades) > 20
    assert result.trades.equals(whole.trades)
    assert result.samples.equals(whole.samples)
    for name in PARTITIONED:
        assert materialized(driver, instance, name) == MONTHS
    for asset, expected in {
        "universe": {"candle_schema", "candle_quality"},
        "indicators": {"no_lookahead"},
        "portfolio": {"never_negative", "ledger_replays", "chain_unbroken"},
    }.items():
        assert checks(driver, instance, asset) == dict.fromkeys(expected, True)
    assert "Sortino" in driver.folder.report.read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(pd.read_parquet(driver.folder.positions), whole.positions)


def test_a_single_run_of_everything_records_each_partition_and_what_follows(
    driver: BacktestDriver, instance: dg.DagsterInstance
) -> None:
    driver.materialize(["universe", "indicators", *PARTITIONED, "statistics", "report"], MONTHS)

    assert materialized(driver, instance) == MONTHS
    assert instance.get_latest_materialization_event(asset_key(driver.strategy, "report")) is not None


def test_partitions_carry_numbers_hashes_and_a_picture(driver: BacktestDriver, instance: dg.DagsterInstance) -> None:
    prepare(driver)
    driver.materialize(PARTITIONED, MONTHS)

    first, second, last = (metadata_of(driver, instance, key) for key in ("2018-01", "2018-02", "2018-05"))

    assert first["began_from"] == "genesis"
    assert second["began_from"] == first["snapshot"]
    assert {"equity_usd", "return", "cash_usd", "trades", "fees_usd", "open_positions"} <= set(second)
    assert last["equity_curve"].startswith("![")
    assert first["span"] == "2018-01-10 00:00:00 to 2018-02-01 00:00:00"
    assert last["span"] == "2018-05-01 00:00:00 to 2018-05-20 00:00:00"


def test_a_partition_run_again_alone_has_the_same_bytes_and_later_ones_continue(driver: BacktestDriver) -> None:
    prepare(driver)
    driver.materialize(PARTITIONED, MONTHS[:3])
    folder = driver.folder.partitions("month")
    before = stored_files(folder)

    driver.materialize(PARTITIONED, ["2018-02"])

    assert stored_files(folder) == before
    driver.materialize(PARTITIONED, MONTHS[3:])
    assert {entry.status for entry in driver.open().status()} == {"current"}


def test_two_runs_of_the_same_inputs_have_the_same_bytes(
    driver: BacktestDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver.run_all()
    first = stored_files(driver.folder.partitions("month"))
    monkeypatch.setenv("TRADING_DAGSTER_ARTEFACTS", str(tmp_path / "second"))

    driver.run_all()

    assert stored_files(driver.folder.partitions("month")) == first


def test_a_partition_without_its_predecessor_is_refused(driver: BacktestDriver, instance: dg.DagsterInstance) -> None:
    prepare(driver)
    driver.materialize(PARTITIONED, ["2018-01"])

    with pytest.raises(PartitionPredecessorMissing, match=r"2018-02 has not been run: run it first"):
        driver.materialize(PARTITIONED, ["2018-03"])

    assert materialized(driver, instance) == ["2018-01"]


def test_the_failure_shown_is_the_engines_message(driver: BacktestDriver, instance: dg.DagsterInstance) -> None:
    prepare(driver)

    with pytest.raises(PartitionPredecessorMissing):
        driver.materialize(PARTITIONED, ["2018-04"])

    run = instance.get_runs(limit=1)[0]
    (failure,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    data: Any = failure.dagster_event.event_specific_data if failure.dagster_event else None
    assert data.user_failure_data.description.startswith("Partition 2018-01 has not been run")


def test_a_refusal_is_a_failure_that_is_not_retried() -> None:
    with pytest.raises(dg.Failure, match="run it again") as caught, explain_failures():
        raise SnapshotOutdated("run it again")

    assert caught.value.allow_retries is False


def test_a_strategy_that_raises_keeps_the_partitions_before(
    short_strategy: StrategyModule, instance: dg.DagsterInstance
) -> None:
    failing = short_strategy.with_parameters({"fail_at": datetime(2018, 3, 5, 8)})
    driver = BacktestDriver(failing, instance, SilentProgress())
    prepare(driver)

    with pytest.raises(StrategyFailed, match=r"(?s)2018-03-05.*wishful thinking") as caught:
        driver.materialize(PARTITIONED, MONTHS)

    assert "cycle" in str(caught.value).lower()
    assert materialized(driver, instance) == ["2018-01", "2018-02"]
    assert [entry.status for entry in driver.open().status()] == ["current"] * 2 + ["missing"] * 3


def test_a_changed_strategy_file_is_refused_until_its_universe_is_built_again(
    driver: BacktestDriver, short_file: Path, instance: dg.DagsterInstance
) -> None:
    prepare(driver)
    driver.materialize(PARTITIONED, MONTHS[:2])
    short_file.write_text(short_file.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    changed = BacktestDriver(load_strategy_file(short_file), instance, SilentProgress())

    with pytest.raises(SnapshotOutdated, match=r"strategy changed since short/universe.*materialize short/universe"):
        changed.materialize(PARTITIONED, ["2018-03"])

    changed.materialize(["universe"])
    with pytest.raises(SnapshotOutdated, match=r"short/indicators.*materialize short/indicators"):
        changed.materialize(PARTITIONED, ["2018-03"])

    changed.materialize(["indicators"])
    with pytest.raises(SnapshotOutdated, match=r"2018-01.*run it again"):
        changed.materialize(PARTITIONED, ["2018-03"])
    changed.materialize(PARTITIONED, ["2018-01"])
    assert checks(changed, instance, "portfolio")["chain_unbroken"] is False


def test_nothing_runs_before_its_universe(driver: BacktestDriver) -> None:
    with pytest.raises(SnapshotOutdated, match="short/universe has not been materialized"):
        driver.materialize(PARTITIONED, MONTHS)


def open_with_deposit(*arguments: Any) -> PartitionedBacktest:
    """Open the same backtest with a deposit: another result from equal inputs, as from a strategy that is random."""

    def deposit(cycle: int, timestamp: datetime, state: Any, sync: Any) -> None:
        if cycle == 5:
            sync.simulate_funding(timestamp, 100)

    opened = open_backtest(*arguments)
    plan = replace(opened.plan, execution_test_hook=deposit)
    return PartitionedBacktest(plan, opened.folder, opened.windows)


def test_later_partitions_refuse_a_predecessor_with_another_result(
    driver: BacktestDriver, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(driver)
    driver.materialize(PARTITIONED, MONTHS[:3])
    with monkeypatch.context() as patch:
        patch.setattr("trading_dagster.orchestration.backtest_asset.open_backtest", open_with_deposit)
        driver.materialize(PARTITIONED, ["2018-01"])

    with pytest.raises(SnapshotOutdated, match=r"2018-02 continues from a result of its predecessor"):
        driver.materialize(PARTITIONED, ["2018-04"])

    assert checks(driver, instance, "portfolio")["chain_unbroken"] is False
    assert [entry.status for entry in driver.open().status()][:3] == ["current", "outdated", "outdated"]


@pytest.mark.parametrize(
    ("table", "column", "wrong", "check"),
    [("trades", "fee", 12.5, "ledger_replays"), ("equity", "cash", -0.01, "never_negative")],
)
def test_checks_find_tables_that_the_ledger_does_not_give(
    driver: BacktestDriver,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    column: str,
    wrong: float,
    check: str,
) -> None:
    def spoil(*arguments: Any) -> dict[str, Table]:
        tables = segment_tables(*arguments)
        columns = tables[table].columns
        values = [*columns[column][:-1], wrong] if len(columns[column]) else []
        tables[table] = replace(tables[table], columns={**columns, column: values})
        return tables

    prepare(driver)
    with monkeypatch.context() as patch:
        patch.setattr("trading_dagster.backtest.segment_writer.segment_tables", spoil)
        driver.materialize(PARTITIONED, MONTHS[:2])
    found = checks(driver, instance, "portfolio")
    driver.materialize(PARTITIONED, MONTHS[2:3])
    found_later = checks(driver, instance, "portfolio")  # from the tables on disk

    assert (found[check], found_later[check]) == (False, False)
    assert found["chain_unbroken"]


def test_check_refuses_a_ledger_that_is_not_what_was_written(
    driver: BacktestDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_spoil(folder: Path, *content: Any) -> Any:
        snapshot = write_segment(folder, *content)
        ledger = folder / "ledger.jsonl"
        ledger.write_bytes(ledger.read_bytes().replace(b'"closing":true', b'"closing":null'))
        return snapshot

    prepare(driver)
    monkeypatch.setattr("trading_dagster.backtest.segment_writer.write_segment", write_and_spoil)

    with pytest.raises(LedgerError, match="was changed after it was written: run this part again"):
        driver.materialize(PARTITIONED, MONTHS[:3])


def test_an_indicator_that_looks_ahead_stops_the_backtest(short_file: Path, instance: dg.DagsterInstance) -> None:
    text = short_file.read_text(encoding="utf-8").replace(".mean()\n", ".mean().shift(-2)\n")
    short_file.write_text(text, encoding="utf-8")
    driver = BacktestDriver(load_strategy_file(short_file), instance, SilentProgress())

    with pytest.raises(Exception, match=r"'mean.*looks ahead"):
        driver.run_all()

    assert checks(driver, instance, "indicators") == {"no_lookahead": False}
    assert materialized(driver, instance) == []
    with pytest.raises(SnapshotOutdated, match="short/indicators has not been materialized"):
        driver.materialize(PARTITIONED, MONTHS)
