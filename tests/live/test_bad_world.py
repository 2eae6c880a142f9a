"""Each way the world can be bad, through whole live cycles on a chain: what is told, what is traded, how it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from evm.conftest import deployed, evm_packages, market, rig  # noqa: F401 - fixtures
from evm.node import run_proxy
from live.bad_world import HOUR, REVERTING, BadWorld, DatabaseHolder, Outage, full_disk
from live.evm_wallet import life  # noqa: F401 - fixture
from live.world import Steps

from trading_dagster.domain.error import (
    ChainHalted,
    ClockSkewed,
    ContractMissing,
    DataTooOld,
    ExecutorBusy,
    LeaseLost,
    LedgerBusy,
    NodeUnavailable,
    StorageFailed,
    StrategyFailed,
    UncleanState,
    WrongChain,
)
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.domain.transaction import Planned
from trading_dagster.evm.alarm import Step
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.repair import retry
from trading_dagster.live.retry_gate import release_wallet
from trading_dagster.live.revaluation import revalue
from trading_dagster.live.session import open_session
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

SUCCESS, FAILED, DISCARDED = TradeStatus.success, TradeStatus.failed, TradeStatus.discarded
BROADCASTED, PLANNED = TradeStatus.broadcasted, TradeStatus.planned


@pytest.fixture
def world(life, rig, tmp_path: Path) -> Iterator[BadWorld]:  # noqa: F811
    outage = Outage()
    with run_proxy(rig.market.node, outage) as url:
        world = BadWorld(life, rig, url, outage, tmp_path)
        yield world
        world.close()


def statuses(world: BadWorld) -> list[TradeStatus]:
    return [trade.get_status() for trade in world.trades()]


# -- nodes ------------------------------------------------------------------------------------------------------------


def test_no_node_for_an_hour_before_the_decision(world: BadWorld):
    world.go_down()
    for _ in range(2):
        with pytest.raises(NodeUnavailable):
            run_cycle(world.open())
    world.require_alarm("node", "the decision ended with NodeUnavailable", "No endpoint of chain 31337 answers")
    world.pass_hour()
    world.come_back()
    world.run()
    world.require_swaps(1)
    world.require_trading_goes_on(1)


def test_nodes_that_stop_within_a_decision(world: BadWorld):
    for answers in range(2, 100, 3):
        world.outage.answers_left = answers
        steps = Steps(world.open())
        try:
            steps.decide()
            break
        except (NodeUnavailable, StrategyFailed):
            assert world.trades() == []
    assert answers > 10
    world.require_alarm("node", "the decision ended with NodeUnavailable")
    world.require_alarm("failure", "the decision ended with StrategyFailed", "NodeUnavailable: .* did not answer")
    world.outage.answers_left = None
    world.run()
    world.require_swaps(1)


@pytest.mark.parametrize(
    ("step", "is_mined"),
    [(Step.planned, False), (Step.persisted, False), (Step.sent, False), (Step.sent, True), (Step.receipt_seen, True)],
)
def test_no_node_for_an_hour_while_a_swap_is_under_way(world: BadWorld, step: Step, is_mined: bool):
    world.at_step(step, world.go_down)
    steps = world.decide_and_execute(world.hurry())
    assert statuses(world) == [BROADCASTED]
    for ask in (steps.complete, lambda: check_triggers(world.open())):
        with pytest.raises(NodeUnavailable):
            ask()
    world.require_alarm("node", "No endpoint of chain 31337 answers")
    world.require_alarm("unclean_state", "the end of .* is not known yet")
    if is_mined:
        world.node.mine()
    elif step is Step.sent:
        (record,) = world.venues[-2].journal.list_unfinished(world.rig.account)
        world.node.rpc("anvil_dropTransaction", record.newest.tx_hash)
    world.pass_hour()
    world.come_back()
    world.run()
    assert statuses(world) == [SUCCESS if is_mined else FAILED]
    if not is_mined:
        world.require_message("freeze", "it expired before it was", "release or close the position")
        assert retry(world.open()).is_complete
    world.require_swaps(1)
    world.require_trading_goes_on(1)


def test_decision_that_grew_old_while_no_node_answered_is_not_sent(world: BadWorld):
    live = world.open(swap_timeout_s=0.2, max_decision_age=HOUR)
    Steps(live).decide()
    world.at_step(Step.planned, world.go_down)
    Steps(live).execute()
    world.pass_hour()
    world.come_back()
    world.run()
    assert FAILED in statuses(world)
    world.require_swaps(0)


def test_no_node_for_an_hour_at_the_end_of_the_cycle(world: BadWorld):
    steps = world.decide_and_execute()
    world.go_down()
    for step in (steps.complete, lambda: check_triggers(world.open())):
        with pytest.raises(NodeUnavailable):
            step()
    world.require_alarm("node", "the end of the cycle ended with NodeUnavailable", "the trigger check ended")
    world.move_price(eth=100)
    world.pass_hour()
    world.come_back()
    (sold,) = check_triggers(world.open()).trades
    assert sold.is_stop_loss()
    assert steps.complete().status is CycleStatus.done
    world.require_swaps(2)
    world.require_trading_goes_on(2)


def test_nodes_of_another_chain(world: BadWorld):
    world.outage.chain_id = 5
    with pytest.raises(WrongChain):
        run_cycle(world.open())
    world.require_alarm("failure", "serves chain 5, not 31337: correct the endpoint or the deployment")
    world.outage.chain_id = 0
    world.run()
    world.require_swaps(1)


def test_receipt_does_not_come(world: BadWorld):
    world.outage.hides_receipts = True
    steps = world.decide_and_execute(world.hurry())
    world.node.mine(200)
    for _ in range(2):
        with pytest.raises(UncleanState):
            steps.complete()
    world.next_day()
    with pytest.raises(UncleanState, match="nothing new is decided"):
        run_cycle(world.hurry())
    world.require_alarm("unclean_state", "the end of .* is not known yet", "look at the node and the gas balance")
    assert statuses(world) == [BROADCASTED]
    assert world.count_swaps() == 1
    world.outage.hides_receipts = False
    world.run()
    assert statuses(world) == [SUCCESS, SUCCESS]
    world.require_swaps(2)


# -- chain ------------------------------------------------------------------------------------------------------------


def limits(world: BadWorld, ahead: timedelta) -> dict[str, object]:
    """Return a venue's settings that compare blocks with a clock that shows a later time than the newest block."""
    wall = ManualClock(datetime.fromtimestamp(world.node.timestamp(), UTC) + ahead)
    return {"max_head_age": timedelta(minutes=4), "max_clock_skew": timedelta(minutes=1), "wall_clock": wall}


def test_chain_that_stands_still_gets_no_decision(world: BadWorld):
    with pytest.raises(ChainHalted):
        run_cycle(world.open(**limits(world, HOUR)))
    world.require_alarm("node", "the decision ended with ChainHalted", "is 1:00:00 old.*look at a block explorer")
    run_cycle(world.open(**limits(world, timedelta(seconds=30))))
    world.require_swaps(1)
    world.next_day()
    with pytest.raises(ChainHalted):
        check_triggers(world.open(**limits(world, HOUR)))
    world.require_trading_goes_on(1)


def test_chain_that_stops_with_a_swap_under_way_is_looked_at_only(world: BadWorld):
    world.is_standing = True
    steps = world.decide_and_execute(world.hurry())
    halted = limits(world, HOUR)
    for _ in range(2):
        with pytest.raises(UncleanState):
            Steps(world.open(swap_timeout_s=0.2, **halted), steps.at).complete()
    world.require_alarm("node", "the chain stands still", "1:00:00 old")
    world.require_alarm("unclean_state", "is not known yet")
    world.is_standing = False
    world.node.mine(5)  # the swap is mined, but blocks are still an hour behind
    world.clock.moment += timedelta(days=1)
    with pytest.raises(ChainHalted):
        run_cycle(world.open(**halted))
    world.require_swaps(1)
    assert world.state().decision is None, "what was under way is over, and nothing new was decided"
    run_cycle(world.open(**limits(world, timedelta(0))))
    world.require_swaps(2)


def test_chain_that_stops_before_a_swap_is_signed_gets_no_signature(world: BadWorld):
    world.at_step(Step.planned, world.go_down)
    steps = world.decide_and_execute(world.hurry())
    world.come_back()
    world.is_standing = True
    with pytest.raises(UncleanState):
        Steps(world.open(swap_timeout_s=0.2, **limits(world, HOUR)), steps.at).complete()
    (record,) = world.live.venue.journal.list_unfinished(world.rig.account)
    assert isinstance(record, Planned)
    world.require_alarm("node", "the chain stands still")
    world.is_standing = False
    world.run()
    world.require_swaps(1)


def test_chain_that_stops_before_the_execution_leaves_trades_planned(world: BadWorld):
    steps = Steps(world.live)
    steps.decide()
    with pytest.raises(ChainHalted):
        Steps(world.open(**limits(world, HOUR)), steps.at).execute()
    assert statuses(world) == [PLANNED]
    steps.execute()
    steps.complete()
    world.require_swaps(1)


def test_clock_behind_the_chain(world: BadWorld):
    with pytest.raises(ClockSkewed):
        run_cycle(world.open(**limits(world, -HOUR)))
    world.require_alarm("failure", "the decision ended with ClockSkewed", "1:00:00 in the future.*run a time service")
    world.run()
    world.require_swaps(1)


def test_clock_that_is_set_back_decides_nothing_again(world: BadWorld):
    world.run()
    world.require_trading_goes_on(1)
    for back in (timedelta(hours=5), timedelta(days=1)):
        world.clock.moment -= back
        run_cycle(world.open())
    world.require_swaps(2)
    world.clock.moment += timedelta(days=1, hours=5)
    world.require_trading_goes_on(2)


def test_clock_that_is_ahead_of_the_candles(world: BadWorld):
    world.candles_end = world.live.newest_decision_at()
    world.clock.moment += timedelta(days=1)
    with pytest.raises(DataTooOld):
        world.run()
    world.require_alarm("data_lag", "the decision ended with DataTooOld", "Bring the data up to date")
    assert world.trades() == []
    world.candles_end = None
    world.run()
    world.require_swaps(1)


# -- wallet -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("comes_in_time", [True, False])
def test_no_gas(world: BadWorld, comes_in_time: bool):
    world.set_gas(10**12)
    world.is_standing = True
    steps = world.decide_and_execute(world.hurry())
    with pytest.raises(UncleanState):
        steps.complete()
    world.require_alarm("low_gas", "native tokens are left for gas, there should be 0.01: send some", "waits: .* wei")
    assert world.count_swaps() == 0
    if not comes_in_time:
        world.node.mine(130)
        steps.execute()
        assert statuses(world) == [FAILED]
    world.set_gas(10**19)
    world.is_standing = False
    world.run()
    if not comes_in_time:
        world.require_message("freeze", "it expired before it was signed")
        assert retry(world.open()).is_complete
    world.require_swaps(1)
    world.require_trading_goes_on(1)


def test_allowance_is_missing(world: BadWorld):
    world.allow(0)
    world.run()
    world.require_swaps(1)
    assert world.reporter.alarms == []


def test_wallet_is_used_by_somebody_else(world: BadWorld):
    world.run()
    theirs = world.sign_elsewhere()
    for _ in range(2):
        world.next_day()
        world.run()
    world.require_alarm("wallet", f"was used by {theirs}", "move the funds if the key is known to others")
    world.require_alarm("kill_switch", "is dropped, the wallet is halted")
    assert statuses(world) == [SUCCESS, DISCARDED, DISCARDED]
    world.require_swaps(1)
    release_wallet(world.open(), "it was a colleague, who stopped")
    world.require_trading_goes_on(1)


def test_somebody_else_takes_the_nonce_of_a_swap(world: BadWorld):
    world.run()
    world.next_day()
    world.at_step(Step.persisted, world.sign_elsewhere)
    world.run()
    world.require_alarm("wallet", "not by us")
    assert statuses(world) == [SUCCESS, FAILED]
    world.require_swaps(1)
    release_wallet(world.open(), "the second signer is gone")
    world.node.mine(150)
    assert retry(world.open()).is_complete
    world.require_swaps(2)
    world.require_trading_goes_on(2)


# -- pool, token, router ----------------------------------------------------------------------------------------------


def test_pool_without_liquidity(world: BadWorld):
    with world.dry_pool(), pytest.raises(StrategyFailed):
        world.run()
    world.require_alarm("failure", "the decision ended with StrategyFailed", "PoolEmpty")
    assert world.trades() == []
    world.run()
    with world.dry_pool():
        assert check_triggers(world.open()).unpriced == (1,)
        assert revalue(world.open()).position_equity == 0
    world.require_alarm(
        "data_lag", "there is no price for position #1", "its stop loss and take profit cannot be checked"
    )
    world.require_swaps(1)
    world.require_trading_goes_on(1)


def test_pool_that_dries_up_after_the_decision(world: BadWorld):
    require_frozen_then_retried(world, world.dry_pool(), "INSUFFICIENT_LIQUIDITY")


def test_router_reverts(world: BadWorld):
    router = world.market.uniswap.router
    require_frozen_then_retried(world, world.code(router, REVERTING), "refused: the simulation reverted")


def test_exchange_without_code(world: BadWorld):
    router = world.market.uniswap.router
    require_frozen_then_retried(world, world.code(router, "0x"), f"never sent: .* has no code at {router}")


def require_frozen_then_retried(world: BadWorld, trouble, reason: str) -> None:
    """Let the second buy of a token meet trouble after its decision."""
    world.run()
    world.next_day()
    steps = Steps(world.live)
    steps.decide()
    with trouble:
        steps.execute()
    assert statuses(world) == [SUCCESS, FAILED]
    world.require_message("freeze", reason, "Look into it, then release or close the position")
    steps.complete()
    world.require_swaps(1)
    world.node.mine(150)
    assert retry(world.open()).is_complete
    world.require_swaps(2)
    world.require_trading_goes_on(2)


def test_token_without_code(world: BadWorld):
    token = world.market.eth
    with world.code(token, "0x"):
        world.run()
        world.require_message("cycle", "was not run: .*was not probed, so it may not be bought")
    world.require_swaps(0)
    world.require_trading_goes_on(0)
    world.next_day()
    with world.code(token, "0x"), pytest.raises(ContractMissing):
        world.run()
    world.require_alarm("failure", "the decision ended with ContractMissing", token)
    world.run()
    world.require_swaps(2)


def test_token_begins_to_tax_transfers(world: BadWorld):
    taxing = world.node.rpc("eth_getCode", world.market.tax, "latest")
    with world.code(world.market.eth, taxing):
        world.run()
        world.require_message("cycle", "was not run: .*tax")
        world.require_swaps(0)
    world.require_trading_goes_on(0)
    world.next_day()
    with world.code(world.market.eth, taxing):
        world.run()
        assert statuses(world) == [SUCCESS, FAILED]
        world.require_message("freeze", "INSUFFICIENT_OUTPUT_AMOUNT")
        world.require_swaps(1)
    world.node.mine(150)
    assert retry(world.open()).is_complete
    world.require_swaps(2)


@pytest.mark.parametrize("step", [None, Step.persisted])
def test_price_moves_beyond_the_slippage(world: BadWorld, step: Step | None):
    world.run()
    world.next_day()
    if step is not None:
        world.at_step(step, lambda: world.move_price(usd=400_000))
    steps = Steps(world.live)
    steps.decide()
    if step is None:
        world.move_price(usd=400_000)
    steps.execute()
    steps.complete()
    world.require_message("freeze", "INSUFFICIENT_OUTPUT_AMOUNT")
    assert statuses(world) == [SUCCESS, FAILED]
    world.require_swaps(1)
    world.node.mine(150)
    assert retry(world.open()).is_complete
    world.require_swaps(2)
    world.require_trading_goes_on(2)


# -- machine ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [None, Step.planned, Step.signed, Step.persisted, Step.sent, Step.finish_decided])
def test_disk_is_full(world: BadWorld, step: Step | None):
    world.run()
    world.next_day()
    steps = Steps(world.live)
    steps.decide()
    with full_disk() as fill:
        if step is None:
            fill()
        else:
            world.at_step(step, fill)
        with pytest.raises(StorageFailed):
            steps.execute()
    world.require_alarm("failure", "the execution ended with StorageFailed", "[Ff]ull")
    world.run()
    world.require_swaps(2)
    world.require_trading_goes_on(2)


@pytest.mark.parametrize("step", [None, Step.persisted, Step.finish_decided])
def test_database_is_locked(world: BadWorld, step: Step | None):
    holder = DatabaseHolder(world.database)
    with SqlLedgerStore(world.database, busy_timeout_s=0.3) as store:
        steps = Steps(world.open(store=store))
        steps.decide()
        if step is None:
            holder.lock()
        else:
            world.at_step(step, holder.lock)
        with pytest.raises(LedgerBusy):
            steps.execute()
        holder.release()
    world.require_alarm("failure", "the execution ended with LedgerBusy", "locked by another process.*end the process")
    world.run()
    world.require_swaps(1)
    world.require_trading_goes_on(1)


def test_second_executor_waits_and_says_who_is_at_work(world: BadWorld):
    live = replace(world.live, wait_s=0.6)
    reserve = Steps(live).universe.get_reserve_asset()
    with (
        open_session(live.store, live.id, reserve_asset=reserve, created_at=live.clock.now()),
        pytest.raises(ExecutorBusy),
    ):
        run_cycle(live)
    world.require_alarm("failure", "the decision ended with ExecutorBusy", "strategy:wallet")
    world.run()
    world.require_swaps(1)


@pytest.mark.parametrize("step", [Step.planned, Step.signing_began, Step.persisted, Step.sent, Step.finish_decided])
def test_executor_that_wakes_after_another_took_over_does_nothing(world: BadWorld, step: Step):
    def take_over() -> None:
        world.pause_beyond_the_lease()
        world.run()

    world.at_step(step, take_over)
    steps = Steps(world.open(lease_s=60))
    steps.decide()
    with pytest.raises(LeaseLost):
        steps.execute()
    world.require_alarm("failure", "the execution ended with LeaseLost")
    world.require_swaps(1)
    world.require_trading_goes_on(1)
