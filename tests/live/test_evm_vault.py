"""Whole live cycles for a vault: the same venue and strategy as for a hot wallet, with investors who come and go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from evm.conftest import deployed, evm_packages, fund, market, rig, vault_code  # noqa: F401 - fixtures
from evm.fund import SET_MANAGER, SHARE, USD, Fund
from live.evm_wallet import life, next_day  # noqa: F401 - fixture
from live.world import Steps, load

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.evm.alarm import AlarmKind
from trading_dagster.evm.vault_report import report_intent_id
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.revaluation import check_live_accounts, sync_treasury
from trading_dagster.live.wallet_check import check_wallet


@pytest.fixture
def managed(life: SimpleNamespace, fund: Fund) -> Iterator[SimpleNamespace]:  # noqa: F811
    """Give a strategy whose wallet manages a vault with a hundred thousand dollars of Alice's."""
    fund.deposit(fund.alice, 100_000 * USD)
    fund.market.node.mine(5)
    venue = replace(life.venue, vault=fund.deployment)
    live = replace(life.live, venue=venue)
    yield SimpleNamespace(**vars(life) | {"live": live, "venue": venue}, fund=fund)
    venue.journal.close()


def reports(managed: SimpleNamespace) -> list[Any]:
    finished = managed.venue.journal.list_finished(managed.venue.account, 0)
    return [record for record in finished if record.intent.intent_id.startswith("report/")]


def require_clean(managed: SimpleNamespace) -> None:
    table = check_live_accounts(managed.live)
    assert [row.difference for row in table.rows] == [Decimal(0)] * len(table.rows)


def test_cycles_buy_add_and_close_for_the_vault_and_report_what_it_is_worth(managed: SimpleNamespace):
    live, vault = managed.live, managed.fund
    for number in (1, 2, 3):
        report = run_cycle(live)
        assert report.status is CycleStatus.done
        require_clean(managed)
        assert vault.status().total_assets == int(Decimal(str(round(report.sample.equity, 9))) * USD)
        assert len(reports(managed)) == number
        next_day(managed)
    state = load(live)
    trades = state.portfolio.get_all_trades()
    assert [t.get_status() for t in trades] == [TradeStatus.success] * 3
    assert not state.portfolio.open_positions
    assert vault.status().total_assets == int(state.portfolio.reserve.quantity * USD), "all is cash, so it is exact"
    assert state.portfolio.reserve.quantity < 100_000
    assert managed.alarms == []


def test_deposit_and_redemption_between_cycles_are_booked_once_at_the_reported_price(managed: SimpleNamespace):
    live, vault = managed.live, managed.fund
    run_cycle(live)
    before = vault.status()
    vault.deposit(vault.bob, 10_000 * USD)
    vault.redeem(vault.alice, 500 * SHARE)
    after = vault.status()
    next_day(managed)
    require_clean(managed)
    booked = sync_treasury(live)
    assert [u.quantity for u in booked] == [10_000, Decimal(after.total_assets - before.total_assets) / USD - 10_000]
    minted = after.shares - before.shares + 500
    assert minted > 10_000, "shares were worth less after fees"
    assert float(10_000 / minted) == pytest.approx(before.total_assets / USD / float(before.shares), rel=1e-12)
    assert sync_treasury(live) == []
    run_cycle(live)
    require_clean(managed)
    assert len(load(live).portfolio.reserve.balance_updates) == 3
    assert load(live).sync.treasury.share_count == vault.status().shares


def test_investors_who_come_in_the_middle_of_a_cycle_do_not_stop_it(managed: SimpleNamespace):
    vault, steps = managed.fund, Steps(managed.live)
    steps.decide()
    vault.deposit(vault.bob, 1_000 * USD)
    managed.market.node.mine(5)
    steps.execute()
    vault.redeem(vault.alice, 2_000 * SHARE)
    report = steps.complete()

    assert report.status is CycleStatus.done
    assert managed.alarms == []
    assert vault.status().total_assets == pytest.approx((report.sample.equity - 1_000) * USD, rel=1e-7)
    next_day(managed)
    assert [u.quantity for u in sync_treasury(managed.live)] == [1_000, -2_000]
    require_clean(managed)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["execute", "complete"])
def test_step_that_was_killed_at_any_save_is_gone_on_with(
    managed: SimpleNamespace, step: str, monkeypatch: pytest.MonkeyPatch
):
    """Killed before and after each save; each life goes one save further than the last."""
    store_type = type(managed.store)
    append, seen = store_type.append, {"saves": 0, "kill_at": 0, "after": False}

    def killing(store: Any, *arguments: Any, **more: Any) -> Any:
        seen["saves"] += 1
        is_last = seen["saves"] == seen["kill_at"]
        if is_last and not seen["after"]:
            raise Killed
        result = append(store, *arguments, **more)
        if is_last:
            raise Killed
        return result

    monkeypatch.setattr(store_type, "append", killing)
    steps = Steps(managed.live)
    steps.decide()
    if step == "complete":
        steps.execute()
    kills = 0
    for kill_at, after in ((at, after) for at in range(1, 20) for after in (False, True)):
        seen.update(saves=0, kill_at=kill_at, after=after)
        try:
            getattr(steps, step)()
        except Killed:
            kills += 1
        else:
            break
    seen.update(kill_at=0)
    assert kills >= 2
    steps.execute()
    steps.complete()

    (trade,) = load(managed.live).portfolio.get_all_trades()
    assert trade.get_status() is TradeStatus.success
    assert [r.intent.intent_id for r in reports(managed)] == [report_intent_id("wallet", steps.at)]
    swaps = managed.venue.journal.list_finished(managed.venue.account, 0)
    assert len([r for r in swaps if r.intent.intent_id.startswith("trade/")]) == 2, "an approval and a swap"
    require_clean(managed)


def test_kill_switch_during_a_cycle_ends_it_without_a_report(managed: SimpleNamespace):
    steps = Steps(managed.live)
    steps.decide()
    steps.execute()
    stopped = replace(managed.venue, forbid_signing=lambda intent: "stop")
    steps.live = replace(managed.live, venue=stopped)
    assert steps.complete().status is CycleStatus.done
    stopped.journal.close()
    assert reports(managed) == []
    assert [alarm.kind for alarm in managed.alarms] == [AlarmKind.assets_unreported]


def test_preflight_refuses_who_is_not_the_manager_and_another_asset(managed: SimpleNamespace):
    market, vault = managed.market, managed.fund  # noqa: F811
    report = check_wallet(managed.live)
    assert (report.vault, report.address) == (vault.deployment.vault, managed.venue.wallet.address)
    assert [balance.quantity for balance in report.balances] == [Decimal(100_000), Decimal(0)]
    pair = load_pair(managed)
    with pytest.raises(BadConfiguration, match="the strategy's reserve is ETH"):
        managed.venue.preflight([pair.base, pair.quote])
    market.node.do(market.owner, vault.deployment.vault, SET_MANAGER.encode(vault.bob))
    for check in (lambda: managed.venue.preflight([pair.quote]), lambda: run_cycle(managed.live)):
        with pytest.raises(BadConfiguration, match=f"may not trade for vault .* whose asset manager is {vault.bob}"):
            check()


def load_pair(managed: SimpleNamespace) -> Any:
    return Steps(managed.live).universe.pairs[0]
