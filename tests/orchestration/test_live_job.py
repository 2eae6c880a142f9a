"""The jobs beside the cycle: checks, approvals, the kill switch; and that no secret is in what a run leaves."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from orchestration.live_deployment import at, aware, make_unit
from orchestration.live_repository import STRATEGY_FILE, make_definitions

from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.progress import read_progress
from trading_dagster.orchestration.live_unit import STRATEGY_TAG, WALLET_TAG, LiveUnit
from trading_dagster.storage.control_store import SqlApprovalStore
from trading_dagster.storage.strategy_ledger import StrategyLedger

pytestmark = pytest.mark.dagster
KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
SECRET_PATH = "AbCdEfGhIjKlMnOpQrStUvWx"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[LiveUnit, ManualClock]]:
    unit, clock = make_unit(tmp_path, extra="parameters: {stop_loss_pct: 0.999}\n")
    yield unit, clock
    unit.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(unit: LiveUnit, instance: dg.DagsterInstance, what: str = "", **config: Any) -> Any:
    job = make_definitions(unit).resolve_job_def(unit.name(what) if what else unit.group)
    run_config = {"ops": {f"{unit.name(what)}_op": {"config": config}}} if config else None
    return job.execute_in_process(instance=instance, raise_on_error=False, run_config=run_config)


@pytest.fixture
def elsewhere() -> Iterator[dg.DagsterInstance]:
    """Return a second Dagster home: one in memory is not fit for two threads."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def metadata(result: Any) -> dict[str, Any]:
    (event,) = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT]
    return {name: value.value for name, value in event.event_specific_data.metadata.items()}


def failure(result: Any) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)


def open_positions(unit: LiveUnit) -> int:
    state = StrategyLedger(unit.observe().store, unit.id).load()
    assert state is not None
    return len(state.portfolio.open_positions)


def test_a_trigger_check_closes_what_fires_and_only_once(
    live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance
) -> None:
    unit, clock = live
    run_cycle(unit.open(), at(0))
    quiet = metadata(run(unit, instance, "trigger_check"))
    clock.moment = aware(24 * 7)  # a week later the price is lower
    fired = metadata(run(unit, instance, "trigger_check"))
    again = metadata(run(unit, instance, "trigger_check"))

    assert (quiet["watched_positions"], quiet["executed"]) == (1, 0)
    assert fired["executed"] == 1
    assert (again["watched_positions"], again["executed"]) == (0, 0)
    assert open_positions(unit) == 0


def test_revaluation_adds_a_sample_and_a_point_in_the_plot(
    live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance
) -> None:
    unit, clock = live
    run_cycle(unit.open(), at(0))
    clock.moment = aware(0, 50)

    assert metadata(run(unit, instance, "revaluation"))["open_positions"] == 1

    assert len(unit.observe().store.read_samples(unit.id)) == 2
    event = instance.get_latest_materialization_event(unit.key("statistics"))
    assert event is not None
    assert event.asset_materialization is not None
    assert 9_900 < float(event.asset_materialization.metadata["equity_usd"].value) < 10_100  # type: ignore[arg-type]


def test_treasury_and_accounts_are_looked_at(live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance) -> None:
    unit, _ = live

    assert metadata(run(unit, instance, "treasury")) == {"recorded": 1}
    assert metadata(run(unit, instance, "treasury")) == {"recorded": 0}
    accounts = metadata(run(unit, instance, "account_check"))

    assert accounts["mismatches"] == 0
    assert "| USD |" in accounts["accounts"]


def test_all_positions_are_closed_when_it_is_confirmed(
    live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance
) -> None:
    unit, clock = live
    run_cycle(unit.open(), at(0))
    clock.moment = aware(1)

    assert "set it to true" in failure(run(unit, instance, "close_all", confirm=False))
    assert open_positions(unit) == 1
    assert metadata(run(unit, instance, "close_all", confirm=True))["executed"] == 1

    assert open_positions(unit) == 0
    assert metadata(run(unit, instance, "close_all", confirm=True))["executed"] == 0


def test_the_kill_switch_stops_decisions_until_it_is_off(
    live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance
) -> None:
    unit, clock = live
    assert run(unit, instance).success
    assert "turned by somebody for a reason" in failure(run(unit, instance, "kill_switch", on=True))

    switched = metadata(run(unit, instance, "kill_switch", on=True, by="Ada", reason="odd prices"))
    clock.moment = aware(1)
    stopped = run(unit, instance)
    run(unit, instance, "kill_switch", on=False, by="Ada", reason="all is well")
    clock.moment = aware(2)

    assert switched["may_trade"] is False
    assert "by Ada: odd prices" in switched["switches"]
    assert stopped.success
    assert open_positions(unit) == 1
    assert run(unit, instance).success
    assert open_positions(unit) == 0
    assert read_progress(unit.observe()).last_decision_at == at(2)


def test_a_cycle_waits_for_an_approval_that_is_launched_meanwhile(
    tmp_path: Path, instance: dg.DagsterInstance, elsewhere: dg.DagsterInstance
) -> None:
    unit, _ = make_unit(tmp_path, extra="approval: {mode: manual, deadline_minutes: 20}\n")
    assert metadata(run(unit, instance, "approve", digest=""))["waiting"] == 0
    results: list[Any] = []
    cycle = threading.Thread(daemon=True, target=lambda: results.append(run(unit, elsewhere)))
    cycle.start()
    store = SqlApprovalStore(unit.observe().store.database)  # type: ignore[attr-defined]
    waiting: Any = ()
    while not waiting and cycle.is_alive():
        waiting = store.list_waiting(unit.id)

    listed = metadata(run(unit, instance, "approve", digest=""))
    digest = waiting[0].request.digest[:12]
    assert f"Digest `{digest}`" in listed["requests"]
    assert "BTC-USD" in listed["requests"]
    assert "begin with 'ffffffff'" in failure(run(unit, instance, "approve", digest="ffffffff", by="Ada"))
    answered = metadata(run(unit, instance, "approve", digest=digest, by="Ada"))
    cycle.join()

    assert answered["verdict"] == "approved"
    assert results[0].success
    assert open_positions(unit) == 1
    unit.close()


def test_rejected_trades_are_dropped(
    tmp_path: Path, instance: dg.DagsterInstance, elsewhere: dg.DagsterInstance
) -> None:
    unit, _ = make_unit(tmp_path, extra="approval: {mode: manual, deadline_minutes: 20}\n")
    results: list[Any] = []
    cycle = threading.Thread(daemon=True, target=lambda: results.append(run(unit, elsewhere)))
    cycle.start()
    store = SqlApprovalStore(unit.observe().store.database)  # type: ignore[attr-defined]
    waiting: Any = ()
    while not waiting and cycle.is_alive():
        waiting = store.list_waiting(unit.id)

    run(unit, instance, "approve", digest=waiting[0].request.digest, by="Ada", reject=True, comment="too much")
    cycle.join()

    assert results[0].success
    assert open_positions(unit) == 0
    unit.close()


def test_what_an_operator_orders_is_not_queued_behind_cycles(tmp_path: Path) -> None:
    unit, _ = make_unit(tmp_path, extra="approval: {mode: manual, deadline_minutes: 20}\n")
    definitions = make_definitions(unit)

    def lane(what: str) -> str | None:
        return definitions.resolve_job_def(unit.name(what) if what else unit.group).tags.get(STRATEGY_TAG)

    assert {lane(what) for what in ("", "revaluation", "treasury", "account_check", "close_all")} == {"flip"}
    assert lane("trigger_check") == "flip/trigger_check"
    assert lane("approve") is None
    assert lane("kill_switch") is None
    unit.close()


def test_no_secret_is_in_what_a_failed_run_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SECRET_RPC", f"http://localhost:1/{SECRET_PATH}")
    monkeypatch.setenv("SECRET_KEY", f"0x{KEY}")
    monkeypatch.setenv("SECRET_NOTIFY", f"json://localhost:1/{SECRET_PATH}")
    (tmp_path / "flip.py").write_text(STRATEGY_FILE.replace('"coinbase", "BTC", "USD"', '"uniswap-v2", "WBTC", "USDC"')
        .replace("ChainId.centralised_exchange", "ChainId.anvil"), encoding="utf-8")  # fmt: skip
    file = tmp_path / "flip.yaml"
    file.write_text(
        f"""
strategy: flip.py
mode: live
clock: {{kind: replay, start: 2018-03-01T00:30:00Z}}
chain: {{name: local, rpc_envs: [SECRET_RPC]}}
exchange: {{kind: uniswap_v2, factory: "0x{"4" * 40}", router: "0x{"5" * 40}"}}
wallet: {{key_env: SECRET_KEY}}
notify_env: SECRET_NOTIFY
pairs:
  - data: BTC/USD@coinbase
    base: {{symbol: WBTC, address: "0x{"1" * 40}", decimals: 8}}
    quote: {{symbol: USDC, address: "0x{"2" * 40}", decimals: 6}}
    pool: "0x{"3" * 40}"
""",
        encoding="utf-8",
    )
    unit = LiveUnit(read_deployment(file), LiveHome(tmp_path / "home"), ManualClock(aware(0, 30)))
    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder), overrides={"telemetry": {"enabled": False}}) as instance:
        result = run(unit, instance)
        said = failure(result)
        stored = [entry.to_json() for entry in instance.all_logs(result.run_id)]
        stored += [str(each.tags) + str(each.run_config) for each in instance.get_runs()]
    unit.close()

    assert "localhost:1" in said
    assert unit.tags[WALLET_TAG] == "env:SECRET_KEY"
    left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    texts = [*stored, said, caplog.text, repr(unit.deployment), *(body.decode("latin-1") for body in left)]
    for secret in (KEY, SECRET_PATH):
        assert not any(secret in text for text in texts)
