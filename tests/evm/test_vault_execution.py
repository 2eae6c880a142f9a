"""A vault is traded for by the same execution as a hot wallet: the same scenarios hold, and investors come and go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import evm.test_execution as hot_wallet
import pytest
from evm.deployment import FAST
from evm.fund import SHARE, USD, Fund
from evm.test_execution import SHORT, trade_id_of
from evm.test_transaction import kinds
from evm.trader import AT, STRATEGY, Trader

from trading_dagster.domain.error import CallReverted, NodeUnavailable
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.evm.alarm import AlarmKind
from trading_dagster.evm.balance import WalletBalances
from trading_dagster.evm.erc20 import approve, read_allowance, transfer
from trading_dagster.evm.erc4626 import VaultTreasury
from trading_dagster.evm.first_buy import FirstBuyCheck
from trading_dagster.evm.multicall import Multicall
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.uniswap_v2 import UniswapV2Deployment, UniswapV2Dex
from trading_dagster.evm.vault_report import VaultBalances, VaultReporter, report_intent_id

CASH = 1_000_000


@dataclass
class VaultTrader(Trader):
    """Trades for a vault in which an investor has put a million; the wallet has gas and nothing else."""

    vault: Fund | None = None

    @property
    def account(self) -> TradingAccount:
        deployment = self.vault.deployment
        return TradingAccount(self.rig.account, deployment.vault, deployment.wrap_call)

    def treasury(self) -> VaultTreasury:
        return self.vault.treasury(self.client)

    def sync(self) -> list[Decimal]:
        self.rig.market.node.mine(FAST.confirmations)
        return [u.quantity for u in self.treasury().sync_treasury(to_naive(self.now), self.state)]

    def balances(self) -> VaultBalances:
        multicall = Multicall(self.client, self.rig.market.aggregator)
        held = WalletBalances(self.client, multicall, self.account.address, FAST.confirmations)
        return VaultBalances(self.client, held, self.treasury(), self.state, FAST.confirmations)

    def reporter(self, **more: Any) -> VaultReporter:
        parts = {"deadline_s": 120, "timeout_s": 20, "forbid_signing": lambda intent: ""} | more
        executor = self.rig.executor(client=self.client, sleep=self.mine)
        return VaultReporter(
            client=self.client,
            executor=executor,
            journal=self.rig.journal,
            deployment=self.vault.deployment,
            treasury=self.treasury(),
            alarm=self.rig.alarms.append,
            **parts,
        )


@pytest.fixture
def trader(fund: Fund) -> VaultTrader:
    rig, market = fund.rig, fund.market
    node, wallet, usd = market.node, rig.wallet.address, market.usd
    node.rpc("anvil_impersonateAccount", wallet)
    node.do(wallet, usd, transfer(usd, market.owner, 10**12).data)
    allowed = fund.deployment.wrap_call(approve(usd, market.uniswap.router, 2**256 - 1))
    node.do(wallet, allowed.to, allowed.data)
    node.rpc("anvil_stopImpersonatingAccount", wallet)
    fund.deposit(fund.alice, CASH * USD)
    trader = VaultTrader(rig, vault=fund)
    trader.fund()
    return trader


@pytest.mark.parametrize(
    "scenario",
    [
        hot_wallet.test_buy_and_sell_are_filled_as_quoted_to_the_unit,
        hot_wallet.test_two_pools_are_one_trade,
        hot_wallet.test_taxed_token_is_booked_as_it_arrived,
        hot_wallet.test_price_that_moved_too_far_fails_the_trade_and_the_others_go_on,
        hot_wallet.test_price_that_moves_between_signing_and_mining_reverts,
        hot_wallet.test_allowance_is_exact_and_what_is_left_of_another_is_taken_back_first,
        hot_wallet.test_neighbours_of_one_side_are_sent_together_under_one_approval,
        hot_wallet.test_swap_that_is_not_mined_before_its_deadline_is_cancelled,
        hot_wallet.test_nothing_is_planned_signed_or_booked_before_the_ledger_has_what_came_before,
        hot_wallet.test_unfinished_trade_is_gone_on_with_once,
        hot_wallet.test_trade_begun_and_never_planned_is_sent_while_its_decision_is_fresh,
        hot_wallet.test_trade_begun_and_never_planned_is_dropped_when_its_decision_is_old,
        hot_wallet.test_reorg_that_changes_nothing_books_nothing,
        hot_wallet.test_reorg_that_changes_a_fill_is_booked_as_a_correction,
        hot_wallet.test_reorg_that_undoes_a_fill_gives_the_cash_back,
        hot_wallet.test_reorg_that_makes_a_failed_trade_succeed_is_booked_too,
    ],
    ids=lambda scenario: scenario.__name__.removeprefix("test_"),
)
def test_what_holds_for_a_hot_wallet_holds_for_a_vault(trader: VaultTrader, scenario: Callable[[Trader], None]):
    scenario(trader)


def test_allowances_are_the_vaults_and_tokens_never_pass_through_the_wallet(trader: VaultTrader):
    market, wallet = trader.rig.market, trader.rig.wallet.address
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    sell = trader.sell(trader.state.portfolio.open_positions[buy.position_id])
    trader.execute(sell)

    assert [buy.get_status(), sell.get_status()] == [TradeStatus.success] * 2
    approval = trader.rig.journal.find(f"{trade_id_of(sell)}/approve")
    assert approval.intent.to == trader.account.address
    assert approval.intent.function == "execute(address,bytes) of approve(address,uint256)"
    head = trader.client.read_head()
    assert read_allowance(trader.client, market.eth, wallet, market.uniswap.router, head) == 0
    multicall = Multicall(trader.client, market.aggregator)
    assert multicall.read_balances([market.usd, market.eth], wallet, head) == {market.usd: 0, market.eth: 0}


def test_exchange_that_the_guard_does_not_allow_fails_the_trade_unsigned(trader: VaultTrader):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    other = UniswapV2Dex(UniswapV2Deployment(trader.rig.market.uniswap.factory, trader.rig.market.aggregator))
    trader.routes = RouteTable(other, trader.pairs.usd, trader.pairs.all)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.failed
    assert "spender is not allowed" in buy.failure
    assert trader.rig.journal.find(f"{trade_id_of(buy)}/approve").attempts == ()
    assert trader.rig.journal.find(trade_id_of(buy)) is None
    trader.require_books_equal_chain()


def test_first_buy_is_probed_with_the_vaults_money(trader: VaultTrader):
    market = trader.rig.market
    with_wallet, with_vault = (
        FirstBuyCheck(trader.client, address, aggregator=market.aggregator)
        for address in (trader.rig.wallet.address, trader.account.address)
    )
    first, second = trader.buy(trader.pairs.eth_usd, 1_000), trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(first, first_buy=with_wallet)
    trader.execute(second, first_buy=with_vault)
    assert "has 0" in first.failure
    assert second.get_status() is TradeStatus.success
    trader.require_books_equal_chain()


def test_redemption_larger_than_cash_waits_until_a_sale_is_booked(trader: VaultTrader):
    fund, state = trader.vault, trader.state
    buy = trader.buy(trader.pairs.eth_usd, 60_000)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.success
    with pytest.raises(CallReverted):
        fund.redeem(fund.alice, 970_000 * SHARE)  # the vault has 940 000 and says so itself
    sell = trader.sell(state.portfolio.open_positions[buy.position_id], slippage=0.05)
    trader.execute(sell, setting=SHORT)
    fund.market.node.mine(FAST.confirmations)  # the approval is deep enough
    assert trader.resume(setting=SHORT) == [sell]
    assert sell.get_status() is TradeStatus.broadcasted
    fund.market.node.mine()  # the sale has brought money, which the ledger does not know yet
    fund.redeem(fund.alice, 970_000 * SHARE)

    assert trader.sync() == []
    assert state.portfolio.reserve.quantity == 940_000
    assert trader.resume() == []
    assert sell.get_status() is TradeStatus.success
    usd = trader.pairs.usd
    assert trader.balances().read_balances([usd]) == {usd: state.portfolio.reserve.quantity}, "it still waits"
    assert trader.sync() == [Decimal(-970_000)]
    assert trader.sync() == []
    trader.require_books_equal_chain()


def test_flows_the_ledger_waits_for_are_no_difference_but_a_gift_is(trader: VaultTrader):
    fund, usd, eth = trader.vault, trader.pairs.usd, trader.pairs.eth_usd.base
    market = fund.market
    fund.deposit(fund.bob, 5 * USD)
    fund.redeem(fund.alice, 3 * SHARE)
    market.node.mine(FAST.confirmations)
    assert trader.balances().read_balances([usd, eth]) == {usd: CASH, eth: 0}
    assert trader.balances().read_balances([eth]) == {eth: 0}
    market.node.do(market.owner, usd.address, transfer(usd.address, trader.account.address, 7 * USD).data)
    market.node.mine(FAST.confirmations)
    assert trader.balances().read_balances([usd]) == {usd: CASH + 7}


def test_report_counts_cash_positions_and_flows_that_wait(trader: VaultTrader):
    fund, at = trader.vault, to_naive(trader.now)
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    fund.deposit(fund.bob, 250 * USD)
    marks = _Marks(5_000.0)
    trader.state.use_marks(marks)

    trader.reporter().report(at, trader.state)

    held = trader.state.portfolio.open_positions[buy.position_id].quantity
    assert fund.status().total_assets == int((CASH - 1_000 + 250 + held * 5_000) * USD)
    marks.price = 6_000.0
    trader.reporter().report(at, trader.state)
    assert len(_reports(trader)) == 1, "a decision time is reported once"
    assert fund.status().total_assets == int((CASH - 1_000 + 250 + held * 5_000) * USD)
    assert trader.rig.alarms == []


def test_deposit_after_a_report_costs_what_was_reported(trader: VaultTrader):
    fund, state = trader.vault, trader.state
    trader.execute(trader.buy(trader.pairs.eth_usd, 1_000))
    state.use_marks(_Marks(40_000.0))
    trader.reporter().report(to_naive(trader.now), state)
    before = fund.status()
    fund.deposit(fund.bob, 500 * USD)
    assert trader.sync() == [Decimal(500)]

    after, update = fund.status(), state.portfolio.reserve.balance_updates
    minted = after.shares - before.shares
    price = before.total_assets / USD / float(before.shares)
    assert price > 1.008
    assert float(500 / minted) == pytest.approx(price, rel=1e-12)
    assert [u.cause for u in update.values()] == [BalanceUpdateCause.deposit] * 2
    assert state.sync.treasury.share_count == after.shares
    assert [e.share_price for e in state.new_events if hasattr(e, "share_price")] == [1.0, pytest.approx(price)]


def test_report_that_was_planned_before_a_crash_is_gone_on_with(trader: VaultTrader):
    at = to_naive(trader.now)
    trader.reporter(timeout_s=0).report(at, trader.state)  # what a killed process leaves: sent, its end not booked
    assert [a.kind for a in trader.rig.alarms] == [AlarmKind.assets_unreported]
    trader.state.portfolio.add_cash(Decimal(1))  # another number now: what was planned counts
    trader.reporter().report(at, trader.state)
    assert len(_reports(trader)) == 1
    assert trader.vault.status().total_assets == CASH * USD


def test_report_is_refused_when_an_investor_was_faster_and_nothing_stops(trader: VaultTrader):
    fund, market = trader.vault, trader.rig.market
    reporter = trader.reporter()
    read, told = reporter.executor.execute, []

    def race(intents: Any, timeout_s: float) -> Any:
        fund.redeem(fund.alice, 10 * SHARE)
        told.append(market.node.head())
        return read(intents, timeout_s)

    reporter.executor.execute = race
    reporter.report(to_naive(trader.now), trader.state)
    assert told
    assert kinds(trader.rig) == [AlarmKind.assets_unreported]
    assert "shares were made or redeemed since" in trader.rig.alarms[0].text
    assert fund.status().total_assets == (CASH - 10) * USD


def test_kill_switch_stops_reports_at_once(trader: VaultTrader):
    trader.reporter(forbid_signing=lambda intent: "stop").report(to_naive(trader.now), trader.state)
    assert _reports(trader) == []
    assert trader.rig.alarms[0].text.endswith("what it is worth: stop")


def test_halted_wallet_and_dead_node_report_nothing_and_say_why(trader: VaultTrader):
    at, journal = to_naive(trader.now), trader.rig.journal
    reporter = trader.reporter()

    def fail(*_: object) -> None:
        raise NodeUnavailable("no node")

    trader.client.read_head, alive = fail, trader.client.read_head
    reporter.report(at, trader.state)
    trader.client.read_head = alive
    journal.open_wallet(trader.rig.account, 0, 1)
    journal.halt(trader.rig.account, "somebody else signs", 1)
    reporter.report(at, trader.state)
    assert [a.text.split(": ")[-1] for a in trader.rig.alarms] == ["no node", "somebody else signs"]
    assert journal.find(report_intent_id(STRATEGY, at)) is None


def test_nothing_is_reported_while_nobody_has_a_share(trader: VaultTrader):
    trader.vault.redeem(trader.vault.alice, CASH * SHARE)
    trader.reporter().report(to_naive(trader.now), trader.state)
    assert trader.rig.journal.find(report_intent_id(STRATEGY, to_naive(trader.now))) is None
    assert trader.rig.alarms == []


@dataclass
class _Marks:
    """Says what a token is worth."""

    price: float

    def price_of(self, pair: Any) -> float:
        return self.price

    def priced_at(self) -> Any:
        return to_naive(AT)


def _reports(trader: VaultTrader) -> list[Any]:
    finished = trader.rig.journal.list_finished(trader.rig.account, 0)
    return [record for record in finished if record.intent.intent_id.startswith("report/")]
