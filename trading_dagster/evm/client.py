"""A JSON-RPC client over several endpoints of one chain: retries, falls back, and refuses nodes that lag behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from trading_dagster.domain.error import (
    BadConfiguration,
    BlockUnavailable,
    CallReverted,
    ContractMissing,
    NodeAnswerInvalid,
    NodeError,
    NodeRefused,
    NodeUnavailable,
    WrongChain,
)
from trading_dagster.evm.abi import Function
from trading_dagster.evm.block import (
    BlockHeader,
    BlockReference,
    Receipt,
    SentTransaction,
    parse_header,
    parse_quantity,
    parse_receipt,
    parse_transactions,
    to_parameter,
)
from trading_dagster.evm.endpoint import Endpoint

T = TypeVar("T")
METHOD_MISSING = -32601
RESTS = 12
"""For how many health checks one that did not answer is left alone while another does: each try may take its time."""


@dataclass(frozen=True, slots=True)
class ClientSetting:
    """How patient a client is. ``max_lag`` is in blocks, the rest in seconds."""

    max_lag: int = 3
    retries: int = 3
    backoff_s: float = 0.25
    health_check_s: float = 5.0


@dataclass(frozen=True, slots=True)
class BroadcastAnswer:
    """What an endpoint said to a transaction; not to be trusted, only shown."""

    endpoint: str
    is_accepted: bool
    message: str


class EvmClient:
    """Reads and sends through the first good endpoint; every read of state names the block it is pinned to."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        chain_id: int,
        setting: ClientSetting = ClientSetting(),
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use endpoints in the order of preference; nothing is sent before the first request."""
        if not endpoints:
            raise BadConfiguration("An EVM client needs at least one JSON-RPC endpoint")
        self.chain_id = chain_id
        self._endpoints = tuple(endpoints)
        self._setting = setting
        self._sleep = sleep
        self._clock = clock
        self._verified: set[int] = set()
        self._usable: list[Endpoint] = []
        self._checked_at = float("-inf")
        self._resting_until: dict[int, float] = {}

    def connect(self) -> BlockHeader:
        """Check the chain id of every endpoint that answers; return the head. Raises WrongChain, NodeUnavailable."""
        self._check_health()
        return self.read_head()

    # Reads

    def read_head(self) -> BlockHeader:
        """Return the newest block."""
        return self._read("eth_getBlockByNumber", ["latest", False], _required(parse_header, "the newest block"))

    def read_block(self, number: int) -> BlockHeader:
        """Return the canonical block of a number; raises BlockUnavailable when there is none."""
        return self._read("eth_getBlockByNumber", [hex(number), False], _required(parse_header, f"block {number}"))

    def read_block_transactions(self, number: int) -> tuple[BlockHeader, tuple[SentTransaction, ...]]:
        """Return the canonical block of a number with its transactions."""

        def parse(body: Any) -> tuple[BlockHeader, tuple[SentTransaction, ...]]:
            return parse_header(body), parse_transactions(body)

        return self._read("eth_getBlockByNumber", [hex(number), True], _required(parse, f"block {number}"))

    def read_transaction_count(self, address: str, block: BlockReference) -> int:
        """Return how many transactions an address has sent: its next nonce."""
        return self._read(
            "eth_getTransactionCount", [address, to_parameter(block)], lambda body: parse_quantity(body, "nonce")
        )

    def read_balance(self, address: str, block: BlockReference) -> int:
        """Return the native balance, in wei."""
        return self._read(
            "eth_getBalance", [address, to_parameter(block)], lambda body: parse_quantity(body, "balance")
        )

    def read_receipt(self, tx_hash: str) -> Receipt | None:
        """Return a receipt, or None when the node knows none: which does not mean that there is none."""

        def parse(body: Any) -> Receipt | None:
            is_pending = isinstance(body, Mapping) and body.get("blockHash") is None
            return None if body is None or is_pending else parse_receipt(body)

        receipt = self._read("eth_getTransactionReceipt", [tx_hash], parse)
        if receipt is not None and receipt.tx_hash != tx_hash:
            raise NodeAnswerInvalid(f"The receipt asked for is of {tx_hash}, the node's of {receipt.tx_hash}")
        return receipt

    def read_priority_fee(self) -> int:
        """Return the node's advice for the fee to the block's producer, wei per gas; 0 when it gives none."""
        try:
            return self._read("eth_maxPriorityFeePerGas", [], lambda body: parse_quantity(body, "priority fee"))
        except NodeRefused as error:
            if error.code == METHOD_MISSING:
                return 0
            raise

    def has_code(self, address: str, block: BlockReference) -> bool:
        """Tell whether there is a contract at an address."""
        code: str = self._read("eth_getCode", [address, to_parameter(block)], _parse_data)
        return code != "0x"

    def estimate_gas(self, sender: str, to: str, data: str, value: int, block: BlockReference) -> int:
        """Return the gas a transaction would use; raises CallReverted."""
        call = {"from": sender, "to": to, "data": data, "value": hex(value)}
        return self._read("eth_estimateGas", [call, to_parameter(block)], lambda body: parse_quantity(body, "gas"))

    def call(self, to: str, function: Function, arguments: Sequence[Any], block: BlockReference) -> tuple[Any, ...]:
        """Call a function without sending; raises CallReverted, ContractMissing."""
        try:
            return function.decode(self.call_raw(to, function.encode(*arguments), block), to)
        except NodeAnswerInvalid:
            if self.has_code(to, block):
                raise
            raise ContractMissing(f"{to} has no code at that block: check address and chain") from None

    def call_raw(self, to: str, data: str, block: BlockReference, sender: str | None = None) -> str:
        """Call with encoded data; return the answer, hexadecimal."""
        call = {"to": to, "data": data} | ({"from": sender} if sender else {})
        return self._read("eth_call", [call, to_parameter(block)], _parse_data)

    def read(self, method: str, parameters: list[Any], parse: Callable[[Any], T]) -> T:
        """Return the parsed answer to a read that has no method of its own here; ``parse`` raises NodeAnswerInvalid."""
        return self._read(method, parameters, parse)

    # Sending

    def broadcast(self, raw: bytes) -> tuple[BroadcastAnswer, ...]:
        """Send a signed transaction to every usable endpoint, once; never raises, for no answer can be trusted."""
        try:
            endpoints = self._good_endpoints()
        except NodeError:
            endpoints = list(self._endpoints)
        return tuple(_broadcast_to(endpoint, raw) for endpoint in endpoints)

    # Endpoints

    def _read(self, method: str, parameters: list[Any], parse: Callable[[Any], T]) -> T:
        failure: NodeError = NodeUnavailable("No endpoint was asked")
        for attempt in range(self._setting.retries + 1):
            if attempt:
                self._sleep(self._setting.backoff_s * 2 ** (attempt - 1))
            try:
                endpoints = self._good_endpoints()
            except NodeUnavailable as error:
                failure = error
                continue
            for endpoint in endpoints:
                try:
                    return parse(endpoint.request(method, parameters))
                except CallReverted:
                    raise
                except NodeError as error:
                    failure = error
            if isinstance(failure, NodeRefused | BlockUnavailable) and attempt:
                break
        raise failure

    def _good_endpoints(self) -> list[Endpoint]:
        if self._clock() - self._checked_at >= self._setting.health_check_s or not self._usable:
            self._check_health()
        return list(self._usable)

    def _check_health(self) -> None:
        now, everybody = self._clock(), range(len(self._endpoints))
        awake = [index for index in everybody if self._resting_until.get(index, now) <= now]
        heights, failures = self._ask_heights(awake)
        if not heights:
            more, other = self._ask_heights([index for index in everybody if index not in awake])
            heights, failures = more, failures + other
        best = max(heights.values(), default=0)
        for index in [index for index, height in heights.items() if best - height > self._setting.max_lag]:
            # Others were asked after it, and one that is slow to answer makes the rest look old: it is asked once more.
            heights |= self._ask_heights([index])[0]
        good = [index for index, height in heights.items() if best - height <= self._setting.max_lag]
        self._usable = [self._endpoints[index] for index in good]
        self._checked_at = self._clock()
        if not good:
            raise NodeUnavailable(f"No endpoint of chain {self.chain_id} answers: {'; '.join(failures)}")

    def _ask_heights(self, indices: Sequence[int]) -> tuple[dict[int, int], list[str]]:
        """Return the newest block of each endpoint that answers, and what is wrong with the others, which then rest."""
        heights: dict[int, int] = {}
        failures = []
        for index in indices:
            endpoint = self._endpoints[index]
            try:
                self._verify_chain(index, endpoint)
                heights[index] = parse_quantity(endpoint.request("eth_blockNumber", []), "block number")
            except (NodeError, CallReverted) as error:
                failures.append(str(error))
                self._resting_until[index] = self._clock() + RESTS * self._setting.health_check_s
        return heights, failures

    def _verify_chain(self, index: int, endpoint: Endpoint) -> None:
        if index in self._verified:
            return
        chain_id = parse_quantity(endpoint.request("eth_chainId", []), "chain id")
        if chain_id != self.chain_id:
            raise WrongChain(
                f"{endpoint.name} serves chain {chain_id}, not {self.chain_id}: correct the endpoint or the deployment"
            )
        self._verified.add(index)


def _broadcast_to(endpoint: Endpoint, raw: bytes) -> BroadcastAnswer:
    try:
        answer = endpoint.request("eth_sendRawTransaction", ["0x" + raw.hex()])
    except (NodeError, CallReverted) as error:
        return BroadcastAnswer(endpoint.name, is_accepted=False, message=str(error))
    return BroadcastAnswer(endpoint.name, is_accepted=True, message=str(answer))


def _required(parse: Callable[[Any], T], what: str) -> Callable[[Any], T]:
    def parse_or_raise(body: Any) -> T:
        if body is None:
            raise BlockUnavailable(f"The node does not know {what}")
        return parse(body)

    return parse_or_raise


def _parse_data(body: Any) -> str:
    if not isinstance(body, str) or not body.startswith("0x"):
        raise NodeAnswerInvalid(f"The node's answer is {body!r}: expected hexadecimal data")
    return body
