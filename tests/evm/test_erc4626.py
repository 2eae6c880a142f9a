"""A vault on a node: flows become balance updates once, shares follow, trades go through the guard."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from evm.deployment import FAST, PATIENT
from evm.fund import DEPOSIT, NOW, REDEEM, SHARE, TAKE_FEE, USD, Fund
from evm.node import CHAIN_ID

from trading_dagster.domain.error import BadConfiguration, BadInput, ContractMissing, NodeRefused
from trading_dagster.domain.event import Event, StateCreated
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import to_units
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.transaction import OutcomeStatus
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.evm import erc4626
from trading_dagster.evm.abi import ContractCall, Function
from trading_dagster.evm.balance import WalletBalances
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Hop, Route
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.erc20 import approve, read_balance, transfer
from trading_dagster.evm.erc4626 import VaultDeployment, VaultFlow, read_flows, read_vault, require_managed
from trading_dagster.evm.multicall import AGGREGATE3, Multicall
from trading_dagster.evm.token_flow import read_fill
from trading_dagster.evm.uniswap_v2 import UniswapV2Dex


def test_deposits_and_redemptions_become_updates_with_their_logs(fund: Fund):
    state = fund.state()
    first = fund.deposit(fund.alice, 1_000 * USD)
    assert [update.tx_hash for update in fund.sync(state)] == [first]
    second, third = fund.deposit(fund.bob, 500 * USD), fund.redeem(fund.alice, 400 * SHARE)

    updates = fund.sync(state)

    assert [(u.tx_hash, u.quantity, u.cause, u.owner_address) for u in updates] == [
        (second, Decimal(500), BalanceUpdateCause.deposit, fund.bob),
        (third, Decimal(-400), BalanceUpdateCause.redemption, fund.alice),
    ]
    receipts = [fund.market.node.rpc("eth_getTransactionReceipt", u.tx_hash) for u in updates]
    for update, receipt in zip(updates, receipts, strict=True):
        assert update.log_index in [int(log["logIndex"], 16) for log in receipt["logs"]]
        mined = fund.market.node.rpc("eth_getBlockByNumber", receipt["blockNumber"], False)
        assert update.block_mined_at == to_naive(datetime.fromtimestamp(int(mined["timestamp"], 16), UTC))
        assert update.strategy_cycle_included_at == to_naive(NOW)
    assert state.portfolio.reserve.quantity == 1_100
    assert state.portfolio.reserve.initial_deposit == 1_000


def test_deposit_that_a_reorg_moved_to_another_block_and_log_counts_once(fund: Fund, monkeypatch: pytest.MonkeyPatch):
    state = fund.state()
    fund.deposit(fund.alice, 1_000 * USD)
    fund.sync(state)
    fund.deposit(fund.bob, 500 * USD)
    assert [update.quantity for update in fund.sync(state)] == [500]

    def mined_later(client: EvmClient, vault: VaultDeployment, first: int, last: int, **more: Any) -> list[VaultFlow]:
        flows = read_flows(client, vault, vault.first_block, last)
        return [replace(flow, log_index=flow.log_index + 7, block_number=last) for flow in flows]

    monkeypatch.setattr(erc4626, "read_flows", mined_later)

    assert fund.sync(state) == []
    assert fund.treasury().read_unbooked(state, fund.status().block) == 0
    assert state.portfolio.reserve.quantity == 1_500


def test_deposit_that_a_reorg_put_below_what_was_read_is_booked(fund: Fund):
    state, node, vault = fund.state(), fund.market.node, fund.deployment.vault
    node.do(fund.market.owner, fund.market.usd, transfer(fund.market.usd, fund.bob, 500 * USD).data)
    node.do(fund.bob, fund.market.usd, approve(fund.market.usd, vault, 500 * USD).data)
    fund.deposit(fund.alice, 1_000 * USD)
    node.mine(10)
    fund.sync(state)
    call = {"from": fund.bob, "to": vault, "data": DEPOSIT.encode(500 * USD, fund.bob)}
    node.rpc("anvil_reorg", 6, [[call, 0]])
    (mined,) = [flow for flow in read_flows(fund.market.client(), fund.deployment, 0, node.head()) if flow.shares > 0][
        1:
    ]
    assert mined.block_number <= state.sync.treasury.last_block_scanned

    assert [update.quantity for update in fund.sync(state)] == [500]
    assert fund.sync(state) == []
    assert state.sync.treasury.share_count == 1_500


def test_ledger_and_chain_agree_to_the_unit(fund: Fund):
    state, client = fund.state(), fund.market.client()
    fund.deposit(fund.alice, 1_234_567_891)
    fund.redeem(fund.alice, 333_333_333_333_333_333_333)
    fund.sync(state)
    vault, head = fund.deployment.vault, client.read_head()
    assert to_units(state.portfolio.reserve.quantity, 6) == read_balance(client, fund.market.usd, vault, head)
    fund.market.node.mine(FAST.confirmations)
    balances = WalletBalances(client, Multicall(client, fund.market.aggregator), vault, FAST.confirmations)
    reserve = state.portfolio.reserve
    assert balances.read_balances([reserve.asset]) == {reserve.asset: reserve.quantity}
    status = read_vault(client, fund.deployment, head)
    assert status.total_assets == read_balance(client, fund.market.usd, vault, head)
    assert (status.asset, status.shares) == (fund.market.usd, state.sync.treasury.share_count)


def test_the_same_log_counts_once_after_a_crash_before_and_after_saving(fund: Fund):
    state = fund.state()
    fund.deposit(fund.alice, 1_000 * USD)
    events: list[Event] = []
    lost = fund.state()
    assert len(fund.sync(lost)) == 1  # killed before this was stored
    assert len(fund.sync(state)) == 1
    events += state.take_events()
    for _ in range(3):
        assert fund.sync(state) == []
    again = State.replay(events)  # started again from what was stored
    assert fund.sync(again) == []
    assert again.portfolio.reserve.quantity == 1_000
    fund.deposit(fund.alice, 1 * USD)
    assert len(fund.sync(again)) == 1
    assert again.portfolio.reserve.quantity == 1_001


def test_two_deposits_in_one_transaction_are_two_updates(fund: Fund):
    market, vault = fund.market, fund.deployment.vault
    node, owner, usd = market.node, market.owner, market.usd
    node.do(owner, usd, transfer(usd, market.aggregator, 30 * USD).data)
    calls = [
        (usd, False, bytes.fromhex(approve(usd, vault, 30 * USD).data[2:])),
        (vault, False, bytes.fromhex(DEPOSIT.encode(10 * USD, fund.alice)[2:])),
        (vault, False, bytes.fromhex(DEPOSIT.encode(20 * USD, fund.bob)[2:])),
    ]
    node.do(owner, market.aggregator, AGGREGATE3.encode(calls))
    state = fund.state()

    updates = fund.sync(state)

    assert len({u.tx_hash for u in updates}) == 1
    assert len({u.log_index for u in updates}) == 2
    assert [(u.owner_address, u.quantity) for u in updates] == [(fund.alice, 10), (fund.bob, 20)]


def test_unconfirmed_deposit_waits_and_a_reorged_one_never_counts(fund: Fund):
    state, node = fund.state(), fund.market.node
    fund.deposit(fund.alice, 1_000 * USD)
    assert fund.treasury().sync_treasury(to_naive(NOW), state) == []
    node.rpc("anvil_reorg", 1, [])
    assert fund.sync(state) == []
    assert state.portfolio.reserve.quantity == 0
    fund.deposit(fund.alice, 7 * USD)
    assert [u.quantity for u in fund.sync(state)] == [7]


def test_share_count_is_the_vaults_even_when_fees_are_taken_in_shares(fund: Fund):
    state, client = fund.state(), fund.market.client()
    fund.deposit(fund.alice, 1_000 * USD)
    assert fund.report("report-1", 2_000 * USD).outcome.status is OutcomeStatus.confirmed
    fund.deposit(fund.bob, 1_000 * USD)
    fund.market.node.rpc("anvil_impersonateAccount", fund.rig.wallet.address)
    fund.market.node.do(fund.rig.wallet.address, fund.deployment.vault, TAKE_FEE.encode(15 * SHARE))

    fund.sync(state)

    assert state.sync.treasury.share_count == Decimal(1_515)
    events = state.take_events()
    assert State.replay(events).sync.treasury.share_count == Decimal(1_515), "a fee without a log is in the ledger"
    fund.sync(state)
    assert state.take_events() == [], "and is there once"
    status = read_vault(client, fund.deployment, client.read_head())
    assert (status.shares, status.total_assets) == (1_515, 3_000 * USD)


def test_redemption_of_cash_the_ledger_has_not_booked_yet_waits_with_what_follows(fund: Fund):
    """The vault sold for cash and paid it out, and the ledger does not know of the sale yet."""
    state, market = fund.state(), fund.market
    fund.deposit(fund.alice, 1_000 * USD)
    fund.sync(state)
    market.node.do(market.owner, market.usd, transfer(market.usd, fund.deployment.vault, 500 * USD).data)
    fund.report("report-1", 1_500 * USD)
    fund.redeem(fund.alice, 1_000 * SHARE)
    fund.deposit(fund.bob, 100 * USD)

    assert fund.sync(state) == []
    assert fund.sync(state) == []

    assert state.portfolio.reserve.quantity == 1_000
    assert state.sync.treasury.pending_redemptions == 1_400, "what the ledger's cash must not be spent for"
    state.portfolio.add_cash(Decimal(500))  # what booking the sale does
    assert [u.quantity for u in fund.sync(state)] == [Decimal(-1_500), Decimal(100)]
    assert state.sync.treasury.pending_redemptions == 0


def test_block_of_which_a_part_waits_is_read_again_and_its_other_part_counts_once(fund: Fund):
    state, market, vault, node = fund.state(), fund.market, fund.deployment.vault, fund.market.node
    fund.deposit(fund.alice, 1_000 * USD)
    fund.sync(state)
    node.do(market.owner, market.usd, transfer(market.usd, vault, 500 * USD).data)
    fund.report("report-1", 1_500 * USD)
    node.do(market.owner, market.usd, transfer(market.usd, fund.bob, 100 * USD).data)
    node.do(fund.bob, market.usd, approve(market.usd, vault, 100 * USD).data)
    tip = {"maxPriorityFeePerGas": hex(5 * 10**9), "maxFeePerGas": hex(20 * 10**9)}  # so that it comes first
    node.send(fund.bob, vault, DEPOSIT.encode(100 * USD, fund.bob), **tip)
    node.send(fund.alice, vault, REDEEM.encode(1_000 * SHARE, fund.alice, fund.alice))
    node.mine()

    assert [u.quantity for u in fund.sync(state)] == [100]
    assert fund.sync(state) == []

    state.portfolio.add_cash(Decimal(500))  # what booking a sale does
    assert [u.quantity for u in fund.sync(state)] == [-1_500]
    assert fund.sync(state) == []


def test_manager_trades_through_the_vault(fund: Fund):
    market, client, vault = fund.market, fund.market.client(), fund.deployment.vault
    fund.deposit(fund.alice, 10_000 * USD)
    dex = UniswapV2Dex(market.uniswap)
    route = Route((Hop(market.usd, market.eth),))
    approval = fund.run("approve", fund.deployment.wrap_call(approve(market.usd, dex.spender, 5_000 * USD)))
    assert approval.outcome.status is OutcomeStatus.confirmed
    quote = dex.quote(client, route, 5_000 * USD, client.read_head())
    deadline = quote.block.timestamp + 600
    call = fund.deployment.wrap_call(dex.build_swap(route, 5_000 * USD, quote.amount_out, vault, deadline))

    record = fund.run("swap", call)

    fill = read_fill(record.outcome.logs, vault, market.usd, market.eth)
    assert (fill.amount_in, fill.amount_out) == (5_000 * USD, quote.amount_out)
    assert record.intent.expires_at == deadline
    assert record.intent.function.startswith("execute(address,bytes) of swapExactTokens")
    assert read_balance(client, market.eth, vault, client.read_head()) == quote.amount_out
    assert read_fill(record.outcome.logs, fund.rig.wallet.address, market.usd, market.eth).amount_out == 0


def test_guard_refuses_before_anything_is_signed(fund: Fund):
    market = fund.market
    fund.deposit(fund.alice, 10_000 * USD)
    theft = transfer(market.usd, fund.rig.wallet.address, 10_000 * USD)
    record = fund.run("theft", fund.deployment.wrap_call(theft))
    assert (record.outcome.status, record.attempts) == (OutcomeStatus.refused, ())
    assert "target is not allowed" in record.outcome.reason
    record = fund.run("approve", fund.deployment.wrap_call(approve(market.usd, fund.bob, 1)))
    assert "spender is not allowed" in record.outcome.reason


def test_reason_of_a_swap_that_reverts_comes_through_the_vault(fund: Fund):
    market = fund.market
    fund.deposit(fund.alice, 10_000 * USD)
    dex = UniswapV2Dex(market.uniswap)
    fund.run("approve", fund.deployment.wrap_call(approve(market.usd, dex.spender, 5_000 * USD)))
    deadline = market.client().connect().timestamp + 600
    swap = dex.build_swap(Route((Hop(market.usd, market.eth),)), USD, 10**30, fund.deployment.vault, deadline)
    record = fund.run("swap", fund.deployment.wrap_call(swap))
    assert record.outcome.status is OutcomeStatus.refused
    assert "INSUFFICIENT_OUTPUT_AMOUNT" in record.outcome.reason


class Narrow:
    """A node that gives the logs of few blocks at once."""

    def __init__(self, url: str, most: int) -> None:
        self.name = "narrow"
        self.asked: list[int] = []
        self._endpoint = HttpEndpoint(url)
        self._most = most

    def request(self, method: str, parameters: list[Any]) -> Any:
        if method == "eth_getLogs":
            span = int(parameters[0]["toBlock"], 16) - int(parameters[0]["fromBlock"], 16) + 1
            self.asked.append(span)
            if span > self._most:
                raise NodeRefused(f"{span} blocks are more than {self._most}", -32602)
        return self._endpoint.request(method, parameters)


def test_ranges_a_node_refuses_are_asked_for_in_pieces(fund: Fund):
    node = fund.market.node
    hashes = []
    for _ in range(4):
        hashes.append(fund.deposit(fund.alice, 10 * USD))
        node.mine(7)
    narrow = Narrow(node.url, most=6)
    client = EvmClient([narrow], CHAIN_ID, PATIENT)

    flows = read_flows(client, fund.deployment, fund.deployment.first_block, node.head())

    assert [flow.tx_hash for flow in flows] == hashes
    assert max(narrow.asked) > 6
    with pytest.raises(NodeRefused):
        read_flows(EvmClient([Narrow(node.url, most=0)], CHAIN_ID, PATIENT), fund.deployment, 1, 5)


def test_blocks_that_were_read_are_not_read_again_for_ever(fund: Fund):
    state, node = fund.state(), fund.market.node
    narrow = Narrow(node.url, most=10**9)
    client = EvmClient([narrow], CHAIN_ID, PATIENT)
    fund.deposit(fund.alice, 10 * USD)
    events: list[Event] = []
    for _ in range(10):
        node.mine(30)
        fund.sync(state, client, span=50)
        events += state.take_events()
        state = State.replay(events)
    again = 10 * erc4626.READ_AGAIN * FAST.confirmations
    assert sum(narrow.asked) < 2 * (node.head() - fund.deployment.first_block) + again
    assert state.portfolio.reserve.quantity == 10


def test_wrong_vault_is_refused(fund: Fund):
    market = fund.market
    state = State(StateCreated(NOW, "fund", AssetIdentifier(CHAIN_ID, market.eth, "ETH", 18)))
    with pytest.raises(BadConfiguration, match="the strategy's reserve is ETH"):
        fund.sync(state)
    with pytest.raises(ContractMissing):
        fund.sync(fund.state(), deployment=VaultDeployment("0x" + "12" * 20, 0))
    with pytest.raises(BadConfiguration, match="needs a function"):
        VaultDeployment(market.usd, 0, execute=Function("run", ("bytes",)))
    with pytest.raises(BadConfiguration, match="first block"):
        VaultDeployment(market.usd, -1)


def test_calls_that_no_manager_may_make_are_refused(fund: Fund):
    paid = ContractCall(fund.market.usd, "0x12345678", "pay()", {}, value=1)
    with pytest.raises(BadInput, match="tokens only"):
        fund.deployment.wrap_call(paid)
    with pytest.raises(BadInput, match="negative"):
        fund.deployment.report_assets(-1, 1, 1)


def test_report_for_another_number_of_shares_or_too_late_is_refused(fund: Fund):
    """Who redeems before a report is mined would leave what was counted for him to the others."""
    fund.deposit(fund.alice, 1_000 * USD)
    counted = int(fund.status().shares * SHARE)
    fund.redeem(fund.alice, 500 * SHARE)
    record = fund.report("report-1", 1_000 * USD, counted)
    assert record.outcome.status is OutcomeStatus.refused
    assert "shares were made or redeemed since" in record.outcome.reason
    late = fund.deployment.report_assets(1_000 * USD, 500 * SHARE, fund.status().block.timestamp - 1)
    assert "expired" in fund.run("report-2", late).outcome.reason
    assert fund.status().total_assets == 500 * USD


def test_vault_is_traded_for_by_its_manager_in_its_asset_only(fund: Fund):
    client, market, wallet = fund.market.client(), fund.market, fund.rig.wallet.address
    usd, eth = (AssetIdentifier(CHAIN_ID, *token) for token in ((market.usd, "USD", 6), (market.eth, "ETH", 18)))
    head = client.read_head()
    assert require_managed(client, fund.deployment, usd, wallet, head).manager == wallet
    with pytest.raises(BadConfiguration, match=f"whose asset manager is {wallet}: give the manager's key"):
        require_managed(client, fund.deployment, usd, fund.bob, head)
    with pytest.raises(BadConfiguration, match="the strategy's reserve is ETH"):
        require_managed(client, fund.deployment, eth, wallet, head)
    with pytest.raises(
        BadConfiguration, match=r"is no ERC-4626 vault that tells its manager\(\) .*correct the vault's"
    ):
        require_managed(client, VaultDeployment(market.usd, 0), usd, wallet, head)
