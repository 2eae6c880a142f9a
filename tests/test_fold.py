"""State is a fold of its ledger, money is conserved, and cutting a backtest changes nothing."""

from datetime import timedelta
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_strategy import START, Parameters, decide_by_seed, deposit_sometimes, describe, make_universe

from trading_dagster.backtest import BacktestRun, plan_backtest, segment_writer
from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.segment_writer import PartitionWindow
from trading_dagster.domain.error import (
    LedgerError,
    ParameterTypeInvalid,
    PartitionPredecessorMissing,
    SnapshotOutdated,
    StorageFailed,
)
from trading_dagster.domain.state import State
from trading_dagster.execution.wallet import check_wallet
from trading_dagster.storage.event_codec import EventDecoder, encode_event
from trading_dagster.storage.segment import write_segment

SEEDS = st.integers(min_value=0, max_value=10_000)
SLOW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def plan_of(seed, *, hook=deposit_sometimes, parameters=Parameters):
    return plan_backtest(
        decide_trades=decide_by_seed(seed),
        universe=make_universe(seed),
        parameters=parameters,
        execution_test_hook=hook,
    )


def run_whole(plan):
    run = BacktestRun(plan)
    run.advance(plan.cycle_count)
    return run, *run.take_segment()


@SLOW
@given(SEEDS)
def test_replaying_the_ledger_gives_the_same_state(seed):
    run, events, _ = run_whole(plan_of(seed))
    assert describe(State.replay(events, run.marks)) == describe(run.state)


@SLOW
@given(SEEDS)
def test_events_survive_their_json_form(seed):
    plan = plan_of(seed)
    _, events, _ = run_whole(plan)
    lines = [encode_event(event) for event in events]
    decoded = EventDecoder(plan.universe.pairs).decode_all(lines)
    assert decoded == events
    assert [encode_event(event) for event in decoded] == lines
    introduced = {e.pair for e in decoded if type(e).__name__ == "PairIntroduced"}
    assert all(any(pair is known for known in plan.universe.pairs) for pair in introduced)


@SLOW
@given(SEEDS)
def test_money_is_conserved(seed):
    """Cash is deposits less redemptions less buys plus sells, exactly; the wallet holds what the ledger says."""
    run, _, samples = run_whole(plan_of(seed))
    state = run.state
    trades = [t for t in state.portfolio.get_all_trades() if t.fill is not None]
    flows = sum((u.quantity for u in state.portfolio.reserve.balance_updates.values()), Decimal(0))
    spent = sum((t.fill.reserve for t in trades if t.is_buy()), Decimal(0))
    earned = sum((t.fill.reserve for t in trades if t.is_sell()), Decimal(0))
    assert abs(flows - spent + earned - state.portfolio.reserve.quantity) < Decimal("1e-18")
    check_wallet(state, run.wallet)
    assert all(balance >= 0 for balance in run.wallet.balances.values())
    profit = sum(p.get_total_profit_usd() for p in state.portfolio.get_all_positions())
    assert state.portfolio.calculate_total_equity() == pytest.approx(float(flows) + profit, rel=1e-9)
    assert (samples.frame["cash"] >= 0).all()


@SLOW
@given(SEEDS)
def test_recorded_equity_is_what_the_portfolio_says_at_each_cycle(seed):
    """The samples made all at once afterwards equal, bit for bit, the valuation asked for at each cycle."""
    seen = {}

    def watch(hook_input):
        seen[hook_input.timestamp] = hook_input.state.portfolio.calculate_total_equity()

    plan = plan_backtest(
        decide_trades=decide_by_seed(seed),
        after_strategy_tick=watch,
        universe=make_universe(seed),
        parameters=Parameters,
    )
    _, _, samples = run_whole(plan)
    first = samples.frame.drop_duplicates("timestamp", keep="last").set_index("timestamp")["equity"]
    instants = samples.frame["timestamp"].duplicated(keep=False)
    at_cycles = {time: first[time] for time in seen if not instants[samples.frame["timestamp"] == time].any()}
    assert at_cycles
    assert at_cycles == {time: seen[time] for time in at_cycles}


def windows_at(cuts):
    edges = [START, *(START + timedelta(hours=4 * cut) for cut in sorted(cuts)), Parameters.backtest_end]
    return [
        PartitionWindow(f"{n:03d}", start, end)
        for n, (start, end) in enumerate(zip(edges, edges[1:], strict=False))
        if start < end
    ]


@pytest.mark.parametrize("restart", [False, True])
def test_a_piece_without_a_decision_keeps_the_equity_of_the_decision_before(tmp_path, restart):
    plan = plan_of(1)
    _, _, samples = run_whole(plan)
    equity = pd.Series(samples.columns["equity"], index=samples.columns["timestamp"])
    edges = [START, START + timedelta(hours=81), START + timedelta(hours=83), Parameters.backtest_end]
    windows = [PartitionWindow(str(n), *edge) for n, edge in enumerate(zip(edges, edges[1:], strict=False))]
    backtest = PartitionedBacktest(plan, tmp_path / "pieces", windows)
    keys = [window.key for window in windows]
    outcomes = []
    for some in [[key] for key in keys] if restart else [keys]:
        backtest = PartitionedBacktest(plan, tmp_path / "pieces", windows) if restart else backtest
        outcomes += backtest.run(some)
    assert [outcome.cycles for outcome in outcomes] == [21, 0, 99]
    assert outcomes[1].open_positions > 0
    assert outcomes[1].snapshot.equity == equity[START + timedelta(hours=80)] > float(outcomes[1].snapshot.cash)


@SLOW
@given(SEEDS, st.sets(st.integers(min_value=1, max_value=119), min_size=1, max_size=9), st.booleans())
def test_cutting_a_backtest_anywhere_changes_no_bit(tmp_path_factory, seed, cuts, restart):
    plan = plan_of(seed)
    run, _, samples = run_whole(plan)
    windows = windows_at(cuts)
    folder = tmp_path_factory.mktemp("cut")
    if restart:
        outcomes = [
            outcome
            for window in windows
            for outcome in PartitionedBacktest(plan_of(seed), folder, windows).run([window.key])
        ]
    else:
        outcomes = list(PartitionedBacktest(plan, folder, windows).run([w.key for w in windows]))
    equity = pd.concat([o.tables["equity"].frame for o in outcomes], ignore_index=True)
    pd.testing.assert_frame_equal(equity, samples.frame, check_exact=True)
    result = PartitionedBacktest(plan, folder, windows).load_result()
    assert describe(result.state) == describe(run.state)
    trades = pd.concat([o.tables["trades"].frame for o in outcomes], ignore_index=True)
    pd.testing.assert_frame_equal(trades, result.trades, check_exact=True)


def test_one_cycle_partitions_equal_the_whole(tmp_path):
    class Short(Parameters):
        backtest_end = START + timedelta(days=5)

    plan = plan_of(7, parameters=Short)
    _, _, samples = run_whole(plan)
    edges = [START + timedelta(hours=4 * n) for n in range(31)]
    windows = [PartitionWindow(f"{n:03d}", a, b) for n, (a, b) in enumerate(zip(edges, edges[1:], strict=False))]
    outcomes = list(PartitionedBacktest(plan, tmp_path, windows).run([w.key for w in windows]))
    assert len(outcomes) == plan.cycle_count == 30
    pd.testing.assert_frame_equal(
        pd.concat([o.tables["equity"].frame for o in outcomes], ignore_index=True), samples.frame, check_exact=True
    )


def test_running_a_partition_again_writes_the_same_bytes(tmp_path):
    windows = windows_at({30, 60})
    parts = PartitionedBacktest(plan_of(3), tmp_path, windows)
    list(parts.run([w.key for w in windows]))
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    list(PartitionedBacktest(plan_of(3), tmp_path, windows).run(["001"]))
    after = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert before == after
    assert {s.status for s in parts.status()} == {"current"}


@pytest.mark.parametrize(("longest_s", "on_disk"), [(-1.0, ["000"]), (60.0, ["000", "001", "002"])])
def test_partitions_are_written_together_when_they_take_little_time(tmp_path, monkeypatch, longest_s, on_disk):
    monkeypatch.setattr(segment_writer, "LONGEST_UNWRITTEN_S", longest_s)
    windows = windows_at({30, 60})
    parts = PartitionedBacktest(plan_of(3), tmp_path, windows)
    outcomes = parts.run([w.key for w in windows])
    assert next(outcomes).window.key == "000"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == on_disk
    assert [outcome.window.key for outcome in outcomes] == ["001", "002"]
    assert {s.status for s in parts.status()} == {"current"}


def test_partitions_written_before_the_disk_was_full_are_reported(tmp_path, monkeypatch):
    def write(folder, content, snapshot):
        if folder.name == "001":
            raise StorageFailed("full")
        return write_segment(folder, content, snapshot)

    monkeypatch.setattr(segment_writer, "write_segment", write)
    windows = windows_at({30, 60})
    parts = PartitionedBacktest(plan_of(3), tmp_path, windows)
    outcomes = parts.run([w.key for w in windows])
    assert next(outcomes).window.key == "000"
    with pytest.raises(StorageFailed, match="full"):
        next(outcomes)
    assert [s.status for s in parts.status()] == ["current", "missing", "missing"]


def test_ledger_line_with_more_than_one_event_is_refused():
    line = '{"event":"CycleCompleted"}'
    with pytest.raises(LedgerError, match="more than one value"):
        EventDecoder().decode(f"{line} {line}")


def test_partition_without_its_predecessor_is_refused(tmp_path):
    parts = PartitionedBacktest(plan_of(3), tmp_path, windows_at({30, 60}))
    with pytest.raises(PartitionPredecessorMissing, match="000 has not been run"):
        next(parts.run(["001"]))
    assert not list(tmp_path.iterdir())


def test_changed_early_partition_makes_later_ones_outdated(tmp_path):
    windows = windows_at({30, 60})
    list(PartitionedBacktest(plan_of(3), tmp_path, windows).run([w.key for w in windows]))
    other = PartitionedBacktest(plan_of(3, hook=lambda *a: None), tmp_path, windows)
    list(other.run(["000"]))
    assert [s.status for s in other.status()] == ["current", "outdated", "outdated"]
    with pytest.raises(SnapshotOutdated, match="run 001 and the partitions after it again"):
        next(other.run(["002"]))
    with pytest.raises(SnapshotOutdated):
        other.load_result()
    list(other.run(["001", "002"]))
    assert {s.status for s in other.status()} == {"current"}


def test_tampered_ledger_is_refused(tmp_path):
    windows = windows_at({30})
    parts = PartitionedBacktest(plan_of(3), tmp_path, windows)
    list(parts.run(["000"]))
    ledger = tmp_path / "000" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace("10000", "20000"))
    with pytest.raises(LedgerError, match="was changed after it was written"):
        next(parts.run(["001"]))


def test_strategy_start_marked_before_a_cut_is_kept_after_it(tmp_path):
    def decide_trades(input):
        if input.cycle == 30:
            input.state.mark_ready(input.timestamp)
        return []

    plan = plan_backtest(decide_trades=decide_trades, universe=make_universe(1), parameters=Parameters)
    run, _, _ = run_whole(plan)
    for key in ("000", "001"):
        list(PartitionedBacktest(plan, tmp_path, windows_at({60})).run([key]))
    cut = PartitionedBacktest(plan, tmp_path, windows_at({60})).load_result().state
    assert cut.get_strategy_time_range() == run.state.get_strategy_time_range()
    assert run.state.get_strategy_time_range()[0] == START + timedelta(hours=4 * 29)


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    folder = tmp_path / "parts"
    leftover = folder / ".000.abc.tmp"
    leftover.mkdir(parents=True)
    (leftover / "trades.parquet").write_bytes(b"half")
    (folder / ".000.abc.tmp.old").mkdir()
    windows = windows_at({30})
    list(PartitionedBacktest(plan_of(3), folder, windows).run(["000"]))
    assert [path.name for path in folder.iterdir()] == ["000"]


def test_parameter_that_is_another_text_in_every_process_is_refused(tmp_path):
    class Odd(Parameters):
        model = object()

    with pytest.raises(ParameterTypeInvalid, match=r"Parameters\.model is <object object at .*use plain values"):
        PartitionedBacktest(plan_of(3, parameters=Odd), tmp_path, windows_at({30}))
