"""Runs calls on a node's copy of the chain, one after the other, and throws the copy away.

Two ways, the first that a node knows is used: ``eth_simulateV1`` runs real calls in blocks; ``eth_call`` with a state
override puts Multicall3's code at the sender's address, so that one call makes all the others in the sender's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from trading_dagster.domain.error import BadInput, ContractMissing, NodeAnswerInvalid, NodeRefused
from trading_dagster.evm.abi import decode_values, revert_reason
from trading_dagster.evm.block import BlockHeader, to_parameter
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.multicall import AGGREGATE3, MULTICALL3

NO_WAY = "The node knows neither eth_simulateV1 nor eth_call with a state override"


class SimulationMethod(Enum):
    """How calls were simulated."""

    simulate_v1 = "eth_simulateV1"
    """As from an account without code, in blocks that follow each other."""
    state_override = "eth_call"
    """As from a contract, all in one block: a token may treat that unlike a wallet."""


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """A call to make; ``data`` is hexadecimal."""

    to: str
    data: str


@dataclass(frozen=True, slots=True)
class SimulatedAnswer:
    """What a call did. ``data`` is what it returned, hexadecimal; ``reason`` says why it failed, else it is empty."""

    is_success: bool
    data: str
    reason: str


def simulate(
    client: EvmClient,
    blocks: Sequence[Sequence[SimulatedCall]],
    sender: str,
    at: BlockHeader,
    *,
    method: SimulationMethod = SimulationMethod.simulate_v1,
    aggregator: str = MULTICALL3,
) -> tuple[list[SimulatedAnswer], SimulationMethod]:
    """Make calls in the sender's name after a block; return their answers in order, and how they were made.

    Each sequence is a block of its own where the node can. A call that fails does not stop the next ones. Raises
    NodeRefused when the node knows neither way, ContractMissing when it knows the second and there is no Multicall3.
    """
    if not any(blocks):
        raise BadInput("There is nothing to simulate: give at least one call")
    if method is SimulationMethod.simulate_v1:
        try:
            return _simulate_blocks(client, blocks, sender, at), method
        except NodeRefused:
            pass  # the node does not know it, or not in this form
    calls = [call for block in blocks for call in block]
    return _simulate_override(client, calls, sender, at, aggregator), SimulationMethod.state_override


def _simulate_blocks(
    client: EvmClient, blocks: Sequence[Sequence[SimulatedCall]], sender: str, at: BlockHeader
) -> list[SimulatedAnswer]:
    asked = [{"calls": [{"from": sender, "to": call.to, "data": call.data} for call in block]} for block in blocks]

    def parse(body: Any) -> list[SimulatedAnswer]:
        if not isinstance(body, list) or len(body) != len(blocks):
            raise NodeAnswerInvalid(f"The node simulated no {len(blocks)} blocks: {str(body)[:200]}")
        answers = [answer for block in body for answer in _parse_block(block)]
        if len(answers) != sum(len(block) for block in blocks):
            raise NodeAnswerInvalid(f"The node simulated {len(answers)} calls of {sum(map(len, blocks))}")
        return answers

    parameters = [{"blockStateCalls": asked, "validation": False}, to_parameter(at)]
    return client.read("eth_simulateV1", parameters, parse)


def _parse_block(body: Any) -> list[SimulatedAnswer]:
    calls = body.get("calls") if isinstance(body, Mapping) else None
    if not isinstance(calls, list):
        raise NodeAnswerInvalid(f"The node's simulated block has no calls: {str(body)[:200]}")
    return [_parse_call(call) for call in calls]


def _parse_call(body: Any) -> SimulatedAnswer:
    fields = body if isinstance(body, Mapping) else {}
    data, status = fields.get("returnData"), fields.get("status")
    if not isinstance(data, str) or not data.startswith("0x") or status not in ("0x0", "0x1"):
        raise NodeAnswerInvalid(f"The node's simulated call is {str(body)[:200]}")
    if status == "0x1":
        return SimulatedAnswer(is_success=True, data=data, reason="")
    error = fields.get("error")
    message = error.get("message") if isinstance(error, Mapping) else ""
    return SimulatedAnswer(is_success=False, data=data, reason=_reason(data, str(message or "")))


def _simulate_override(
    client: EvmClient, calls: Sequence[SimulatedCall], sender: str, at: BlockHeader, aggregator: str
) -> list[SimulatedAnswer]:
    code = client.read("eth_getCode", [aggregator, to_parameter(at)], _parse_hexadecimal)
    if code == "0x":
        raise ContractMissing(f"{aggregator} has no code: a simulation on this node needs Multicall3; name its address")
    packed = [(call.to, True, bytes.fromhex(call.data[2:])) for call in calls]
    call = {"from": sender, "to": sender, "data": AGGREGATE3.encode(packed)}
    try:
        answer = client.read("eth_call", [call, to_parameter(at), {sender: {"code": code}}], _parse_hexadecimal)
    except NodeRefused as error:
        raise NodeRefused(f"{NO_WAY} ({error}): use another node", error.code) from error
    if answer == "0x":
        raise NodeRefused(f"{NO_WAY} (it leaves the override out): use another node")
    (results,) = decode_values(AGGREGATE3.outputs, bytes.fromhex(answer[2:]), "the simulation")
    if len(results) != len(calls):
        raise NodeAnswerInvalid(f"The node simulated {len(results)} calls of {len(calls)}")
    return [
        SimulatedAnswer(
            is_success=is_success, data="0x" + data.hex(), reason="" if is_success else _reason("0x" + data.hex(), "")
        )
        for is_success, data in results
    ]


def _parse_hexadecimal(body: Any) -> str:
    if not isinstance(body, str) or not body.startswith("0x"):
        raise NodeAnswerInvalid(f"The node's answer is {body!r}: expected hexadecimal data")
    return body


def _reason(data: str, message: str) -> str:
    return revert_reason(data) or message or "reverted without a reason"
