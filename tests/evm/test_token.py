"""Tokens on a node: metadata, balances of many at one block, flows out of receipts."""

from __future__ import annotations

import pytest
from evm.deployment import Market, Rig

from trading_dagster.domain.error import CallReverted, ContractMissing, NodeAnswerInvalid
from trading_dagster.domain.transaction import LogEntry
from trading_dagster.evm.abi import Function
from trading_dagster.evm.erc20 import approve, read_allowance, read_asset, read_balance, transfer
from trading_dagster.evm.multicall import Multicall, Read
from trading_dagster.evm.token_flow import TRANSFER_TOPIC, TokenFlow, read_fill, read_flows

NOBODY = "0x" + "12" * 20
WALLET = "0x" + "34" * 20
TOKEN = "0x" + "56" * 20


def log(sender: str, to: str, amount: int, token: str = TOKEN, extra: tuple[str, ...] = ()) -> LogEntry:
    topics = (TRANSFER_TOPIC, "0x" + "0" * 24 + sender[2:], "0x" + "0" * 24 + to[2:], *extra)
    return LogEntry(token, topics, "0x" + f"{amount:064x}", 0)


def test_metadata_is_read(market: Market):
    client = market.client()
    asset = read_asset(client, market.btc, client.connect())
    assert (asset.token_symbol, asset.decimals, asset.address) == ("BTC", 8, market.btc)
    with pytest.raises(ContractMissing):
        read_asset(client, NOBODY, client.connect())


def test_allowance_is_what_was_approved(market: Market):
    client = market.client()
    market.node.do(market.owner, market.usd, approve(market.usd, NOBODY, 77).data)
    assert read_allowance(client, market.usd, market.owner, NOBODY, client.connect()) == 77


def test_many_balances_at_one_block_equal_single_reads(market: Market):
    client = market.client()
    head = client.connect()
    tokens = [market.usd, market.eth, market.btc, market.tax]
    market.node.do(market.owner, market.usd, transfer(market.usd, NOBODY, 5).data)

    many = Multicall(client, market.aggregator, batch=3).read_balances(tokens, market.owner, head)

    assert many == {token: read_balance(client, token, market.owner, head) for token in tokens}


def test_target_without_code_is_an_error_and_not_zero(market: Market):
    client = market.client()
    with pytest.raises(ContractMissing, match=NOBODY):
        Multicall(client, market.aggregator).read_balances([market.usd, NOBODY], market.owner, client.connect())
    with pytest.raises(ContractMissing):
        Multicall(client, NOBODY).read_balances([market.usd], market.owner, client.connect())


def test_read_that_reverts_names_its_target(market: Market):
    client = market.client()
    move = Function("transferFrom", ("address", "address", "uint256"), ("bool",))
    with pytest.raises(CallReverted, match=r"transferFrom.*allowance too small"):
        Multicall(client, market.aggregator).read([Read(market.usd, move, (market.owner, NOBODY, 1))], client.connect())


def test_flows_are_netted_for_the_wallet_only():
    logs = [log(WALLET, NOBODY, 10), log(NOBODY, WALLET, 3), log(NOBODY, NOBODY, 99), log(WALLET, WALLET, 1)]
    assert read_flows(logs, WALLET) == {TOKEN: TokenFlow(TOKEN, received=4, sent=11)}
    assert read_fill(logs, WALLET, TOKEN, "0x" + "78" * 20).amount_in == 7


def test_nft_transfer_is_no_flow_and_broken_data_is_refused():
    assert read_flows([log(WALLET, NOBODY, 10, extra=("0x" + "0" * 64,))], WALLET) == {}
    broken = LogEntry(TOKEN, log(WALLET, NOBODY, 1).topics, "0x", 3)
    with pytest.raises(NodeAnswerInvalid, match="event 3"):
        read_flows([broken], WALLET)


def test_approval_is_executed_like_any_intent(rig: Rig):
    executor = rig.executor(sleep=lambda seconds: rig.market.node.mine())
    call = approve(rig.market.eth, rig.market.uniswap.router, 123)
    executor.execute([call.to_intent("approve-eth", rig.account)], timeout_s=20)
    client = rig.market.client()
    router = rig.market.uniswap.router
    assert read_allowance(client, rig.market.eth, rig.wallet.address, router, client.connect()) == 123
