"""The client on several endpoints: fallback, lag, wrong chains, pinned reads, mapped errors."""

from __future__ import annotations

from typing import Any

import pytest
from evm.deployment import Market
from evm.node import CHAIN_ID, Faults, run_proxy
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import (
    BadConfiguration,
    BlockUnavailable,
    CallReverted,
    ContractMissing,
    EvmError,
    NodeAnswerInvalid,
    NodeRefused,
    NodeUnavailable,
    WrongChain,
)
from trading_dagster.evm.abi import Function, event_topic, revert_reason
from trading_dagster.evm.block import parse_receipt
from trading_dagster.evm.client import ClientSetting, EvmClient
from trading_dagster.evm.endpoint import HttpEndpoint, map_error
from trading_dagster.evm.erc20 import read_balance, transfer

NOBODY = "0x" + "12" * 20


class FakeEndpoint:
    """An endpoint that answers from a table; a value that is an error is raised."""

    def __init__(self, name: str, answers: dict[str, Any]) -> None:
        self.name = name
        self.answers = {"eth_chainId": hex(CHAIN_ID), "eth_blockNumber": "0x64"} | answers
        self.asked: list[str] = []

    def request(self, method: str, parameters: list[Any]) -> Any:
        self.asked.append(method)
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client_of(*endpoints: FakeEndpoint, **setting: Any) -> EvmClient:
    return EvmClient(endpoints, CHAIN_ID, ClientSetting(**setting), sleep=lambda seconds: None)


def test_second_endpoint_answers_when_the_first_does_not():
    first = FakeEndpoint("first", {"eth_gasPrice": NodeUnavailable("down"), "eth_getBalance": NodeUnavailable("down")})
    second = FakeEndpoint("second", {"eth_getBalance": "0x7"})
    assert client_of(first, second).read_balance(NOBODY, 5) == 7


def test_endpoint_that_lags_is_not_used():
    slow = FakeEndpoint("slow", {"eth_blockNumber": "0x60", "eth_getBalance": "0x1"})
    fast = FakeEndpoint("fast", {"eth_getBalance": "0x2"})
    assert client_of(slow, fast, max_lag=3).read_balance(NOBODY, 5) == 2
    assert "eth_getBalance" not in slow.asked
    assert client_of(slow, fast, max_lag=4).read_balance(NOBODY, 5) == 1


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class TimedEndpoint(FakeEndpoint):
    """A node of a chain with four blocks a second, which takes some seconds to answer."""

    def __init__(self, name: str, answers: dict[str, Any], time: Time, takes_s: float) -> None:
        super().__init__(name, answers)
        self.time, self.takes_s = time, takes_s

    def request(self, method: str, parameters: list[Any]) -> Any:
        self.time.now += self.takes_s
        answer = super().request(method, parameters)
        return hex(1_000 + int(4 * self.time.now)) if method == "eth_blockNumber" else answer


def test_quick_endpoint_does_not_lag_because_another_is_slow():
    time = Time()
    quick = TimedEndpoint("quick", {"eth_getBalance": "0x1"}, time, 0.1)
    slow = TimedEndpoint("slow", {"eth_getBalance": "0x2"}, time, 8.0)
    client = EvmClient([quick, slow], CHAIN_ID, ClientSetting(max_lag=20), sleep=lambda s: None, clock=time)
    assert [client.read_balance(NOBODY, 5) for _ in range(3)] == [1, 1, 1]


def test_endpoint_that_does_not_answer_is_not_waited_for_at_each_check():
    time = Time()
    good = TimedEndpoint("good", {"eth_getBalance": "0x1"}, time, 0.1)
    dead = TimedEndpoint("dead", {"eth_chainId": NodeUnavailable("timed out")}, time, 10.0)
    client = EvmClient([good, dead], CHAIN_ID, ClientSetting(), sleep=lambda s: None, clock=time)
    while time.now < 55:
        client.read_balance(NOBODY, 5)
    assert len(dead.asked) == 1
    while time.now < 120:
        client.read_balance(NOBODY, 5)
    assert len(dead.asked) == 2
    good.answers |= dict.fromkeys(("eth_blockNumber", "eth_getBalance"), NodeUnavailable("down"))
    dead.answers |= {"eth_chainId": hex(CHAIN_ID), "eth_getBalance": "0x2"}
    time.now += 6
    assert client.read_balance(NOBODY, 5) == 2, "it is asked all the same when no other answers"


def test_endpoint_of_another_chain_stops_everything():
    with pytest.raises(WrongChain, match="other serves chain 1, not 31337"):
        client_of(FakeEndpoint("good", {}), FakeEndpoint("other", {"eth_chainId": "0x1"})).connect()


def test_wrong_chain_behind_http(market: Market):
    with run_proxy(market.node, Faults(chain_id=56)) as url, pytest.raises(WrongChain, match="chain 56"):
        market.client(url).connect()


def test_endpoint_that_is_down_at_connect_is_verified_when_it_comes_back():
    other = FakeEndpoint("other", {"eth_chainId": NodeUnavailable("down"), "eth_getBalance": "0x9"})
    good = FakeEndpoint("good", {"eth_getBalance": "0x3"})
    client = EvmClient([other, good], CHAIN_ID, ClientSetting(health_check_s=0), sleep=lambda seconds: None)
    assert client.read_balance(NOBODY, 5) == 3
    other.answers["eth_chainId"] = "0x1"
    with pytest.raises(WrongChain):
        client.read_balance(NOBODY, 5)


def test_all_endpoints_down_is_said_after_the_retries():
    dead = FakeEndpoint("dead", {"eth_chainId": NodeUnavailable("dead did not answer")})
    waits: list[float] = []
    client = EvmClient([dead], CHAIN_ID, ClientSetting(retries=3, backoff_s=1), sleep=waits.append)
    with pytest.raises(NodeUnavailable, match="dead did not answer"):
        client.read_balance(NOBODY, 5)
    assert waits == [1, 2, 4]


def test_faulty_node_is_read_through(market: Market):
    with run_proxy(market.node, Faults(share=0.3, seed=5)) as url:
        client = market.client(url, setting=ClientSetting(retries=8, backoff_s=0.001))
        head = client.connect()
        balances = {client.read_balance(market.owner, head) for _ in range(40)}
    assert len(balances) == 1


def test_reads_are_pinned_to_their_block(market: Market):
    client = market.client()
    before = client.connect()
    market.node.do(market.owner, market.usd, transfer(market.usd, NOBODY, 5).data)
    after = client.read_head()
    assert read_balance(client, market.usd, NOBODY, before) == 0
    assert read_balance(client, market.usd, NOBODY, after) == 5
    market.node.mine(5)
    market.node.rpc("anvil_reorg", 6, [])
    with pytest.raises(BlockUnavailable):
        read_balance(client, market.usd, NOBODY, after)


def test_revert_and_missing_contract_are_told_apart(market: Market):
    client = market.client()
    head = client.connect()
    with pytest.raises(CallReverted, match="balance too small"):
        client.call_raw(market.usd, transfer(market.usd, market.owner, 1).data, head, NOBODY)
    with pytest.raises(ContractMissing, match="no such contract"):
        read_balance(client, NOBODY, market.owner, head)
    with pytest.raises(BlockUnavailable):
        client.read_block(10**9)


def test_url_is_in_no_error_and_no_text():
    endpoint = HttpEndpoint("http://127.0.0.1:9/v3/SECRETKEY", timeout_s=0.2)
    with pytest.raises(NodeUnavailable) as caught:
        endpoint.request("eth_chainId", [])
    assert "SECRETKEY" not in repr(endpoint) + str(caught.value)
    assert caught.value.__context__ is None
    with pytest.raises(BadConfiguration, match="NO_SUCH_VARIABLE"):
        HttpEndpoint.from_environment("NO_SUCH_VARIABLE")
    with pytest.raises(BadConfiguration, match="no http"):
        HttpEndpoint("ws://somewhere")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"code": 3, "message": "execution reverted: no", "data": "0x"}, CallReverted),
        ({"code": -32000, "message": "header not found"}, BlockUnavailable),
        ({"code": -32000, "message": "missing trie node abc"}, BlockUnavailable),
        ({"code": -32005, "message": "limit exceeded"}, NodeUnavailable),
        ({"code": 0, "message": "Too Many Requests"}, NodeUnavailable),
        ({"code": -32601, "message": "the method does not exist"}, NodeRefused),
        ("text", NodeRefused),
    ],
)
def test_errors_are_mapped_once(body: Any, kind: type[EvmError]):
    assert type(map_error(body, "here")) is kind


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=70) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["status", "logs", "blockNumber", "transactionHash"]), inner)
        ),
        max_leaves=8,
    )
)
def test_garbage_is_no_receipt(body: Any):
    with pytest.raises(NodeAnswerInvalid):
        parse_receipt(body)


def test_topics_and_selectors_are_those_of_the_standard():
    assert event_topic("Transfer(address,address,uint256)") == (
        "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    )
    assert Function("transfer", ("address", "uint256")).selector.hex() == "a9059cbb"
    assert revert_reason("0x4e487b71" + "11".rjust(64, "0")) == "panic 0x11"
