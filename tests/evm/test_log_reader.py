"""Ranges of blocks adapt to what a node allows; malformed answers are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trading_dagster.domain.error import NodeAnswerInvalid, NodeRefused, NodeUnavailable
from trading_dagster.evm.client import ClientSetting, EvmClient
from trading_dagster.evm.endpoint import map_error
from trading_dagster.evm.log_batch import DATA_BYTES, EventShape, decode_logs
from trading_dagster.evm.log_reader import LogReader, SpanSetting

POOL = "0x" + "ab" * 20
SHAPE = EventShape("0x" + "11" * 32, 3, 2)
TOPICAL = EventShape("0x" + "22" * 32, 4, 1, with_topic=True)
QUICK = ClientSetting(retries=0, health_check_s=1e9)


def make_log(block: int, index: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "address": POOL,
        "topics": [SHAPE.topic],
        "data": "0x" + f"{block:064x}" + f"{index:064x}",
        "blockNumber": hex(block),
        "logIndex": hex(index),
        "blockHash": "0x" + f"{block:064x}",
        "transactionHash": "0x" + f"{block:063x}f",
        "removed": False,
    } | more


class Node:
    """Has one log a block, and limits."""

    name = "node"

    def __init__(self, refuse: Any = lambda first, last: None, answer: Any = lambda logs: logs) -> None:
        self.refuse, self.answer = refuse, answer
        self.asked: list[tuple[int, int]] = []

    def request(self, method: str, parameters: list[Any]) -> Any:
        if method != "eth_getLogs":
            return hex(1 if method == "eth_chainId" else 10**9)
        first, last = (int(parameters[0][name], 16) for name in ("fromBlock", "toBlock"))
        self.asked.append((first, last))
        refusal = self.refuse(first, last)
        if refusal is not None:
            raise refusal if isinstance(refusal, Exception) else map_error(refusal, "node")
        return self.answer([make_log(block) for block in range(first, last + 1)])


def read(node: Node, last: int, **setting: int) -> np.ndarray:
    client = EvmClient([node], 1, QUICK, sleep=lambda _: None)
    pieces = list(LogReader(client, [SHAPE], SpanSetting(**setting)).read({POOL: 0}, 1, last))
    assert [piece.first for piece in pieces] == [1, *(piece.last + 1 for piece in pieces[:-1])]
    return np.concatenate([piece.logs.block for piece in pieces])


@pytest.mark.parametrize(
    "refusal",
    [
        {"code": -32005, "message": "query returned more than 10000 results"},
        {"code": -32600, "message": "exceed maximum block range: 50"},
        {"code": -32602, "message": "Log response size exceeded. this block range should work: [0x1, 0x20]"},
        NodeUnavailable("timed out"),
        NodeAnswerInvalid("cut off"),
    ],
    ids=str,
)
def test_ranges_shrink_to_what_the_node_allows_and_nothing_is_lost(refusal: Any) -> None:
    node = Node(lambda first, last: refusal if last - first + 1 > 50 else None)
    blocks = read(node, 1_500, first=400)
    assert blocks.tolist() == list(range(1, 1_501))
    refused = [span for span in node.asked if span[1] - span[0] + 1 > 50]
    assert len(refused) < 12
    assert len(node.asked) < 80


def test_ranges_grow_when_answers_are_small() -> None:
    node = Node(answer=lambda _: [])
    read(node, 100_000, first=10)
    assert len(node.asked) < 20


def test_a_node_that_refuses_one_block_is_an_error() -> None:
    with pytest.raises(NodeRefused, match="block range"):
        read(Node(lambda *_: {"code": 1, "message": "block range not allowed"}), 10)


def test_an_answer_of_a_round_number_of_logs_is_read_again_in_halves() -> None:
    node = Node(answer=lambda logs: logs[:1000])
    assert read(node, 2_500, first=1_800).tolist() == list(range(1, 2_501))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda log: log | {"removed": True},
        lambda log: log | {"data": log["data"][:-2]},
        lambda log: log | {"topics": ["0x" + "33" * 32]},
        lambda log: log | {"topics": []},
        lambda log: log | {"address": "0x" + "cd" * 20},
        lambda log: log | {"blockHash": None},
        lambda log: log | {"blockNumber": "seven"},
        lambda log: {},
        lambda log: "log",
    ],
)
def test_a_malformed_log_is_refused(spoil: Any) -> None:
    with pytest.raises(NodeAnswerInvalid, match="log"):
        decode_logs([make_log(1), spoil(make_log(2))], {POOL: 0}, [SHAPE])


def test_a_log_given_twice_and_an_answer_that_is_no_list_are_refused() -> None:
    with pytest.raises(NodeAnswerInvalid, match="twice"):
        decode_logs([make_log(1), make_log(1)], {POOL: 0}, [SHAPE])
    with pytest.raises(NodeAnswerInvalid, match="expected a list"):
        decode_logs({"a": 1}, {POOL: 0}, [SHAPE])


def test_logs_are_columns_in_the_order_they_happened() -> None:
    topical = make_log(2, 1, topics=[TOPICAL.topic, "0x" + "77" * 32], data="0x" + "88" * 32, blockTimestamp="0x64")
    batch = decode_logs([topical, make_log(2, 0), make_log(1, 9)], {POOL: 5}, [SHAPE, TOPICAL])
    assert batch.block.tolist() == [1, 2, 2]
    assert batch.log_index.tolist() == [9, 0, 1]
    assert batch.kind.tolist() == [3, 3, 4]
    assert batch.owner.tolist() == [5, 5, 5]
    assert batch.timestamp.tolist() == [-1, -1, 100]
    assert bytes(batch.data[2]) == (b"\x77" * 32 + b"\x88" * 32).ljust(DATA_BYTES, b"\0")
    assert bytes(batch.block_hash[0]) == (1).to_bytes(32, "big")
